package policy

import (
	"fmt"
	"maps"
	"path"
	"slices"
	"strings"
	"time"

	"github.com/arw-project/arw/abi"
	cedar "github.com/cedar-policy/cedar-go"
)

// Pack is what is known of a pack when it is judged. Namespace may be empty (it is the first half of Name); otherwise it
// must be that half. Signers, KeyIDs and Identities name those whose signatures satisfied the trust policy.
type Pack struct {
	Name       string   `json:"name"`
	Namespace  string   `json:"namespace,omitempty"`
	Version    string   `json:"version,omitempty"`
	Digest     string   `json:"digest,omitempty"`
	Signers    []string `json:"signers,omitempty"`
	KeyIDs     []string `json:"keys,omitempty"`
	Identities []string `json:"identities,omitempty"`
}

// Request is one question. Pack is always the pack concerned: the one that loads, links, is called, or is granted to.
// Link and grant name a Capability and the Scope asked for; call names a Tool and its Effects; call and grant name the
// Actor: "operator", "person:NAME", "agent:NAME" or "pack:NAMESPACE/NAME", for which Caller then describes that pack.
//
// Context may hold the facts "verified", "override", "ask", "optional", "tainted" and "risky" (bool), "reason" and "by" (string), "markers" ([]string) and "ttl"
// (time.Duration or a text of ParseTTL); an absent fact is false, empty or zero, an unknown one makes Decide refuse.
type Request struct {
	Action     string         `json:"action"`
	Pack       Pack           `json:"pack"`
	Capability string         `json:"capability,omitempty"`
	Scope      []string       `json:"scope,omitempty"`
	Tool       string         `json:"tool,omitempty"`
	Effects    string         `json:"effects,omitempty"`
	Actor      string         `json:"actor,omitempty"`
	Caller     *Pack          `json:"caller,omitempty"`
	Dest       *Dest          `json:"dest,omitempty"`
	Path       string         `json:"path,omitempty"`    // open: absolute and clean
	Write      bool           `json:"write,omitempty"`   // open
	Model      string         `json:"model,omitempty"`   // infer
	Unit       *Unit          `json:"unit,omitempty"`    // promote
	Capsule    *Capsule       `json:"capsule,omitempty"` // adopt
	Project    string         `json:"project,omitempty"`
	Args       map[string]any `json:"args,omitempty"` // call: the arguments that the tool's input schema names; JSON values
	Context    map[string]any `json:"context,omitempty"`
}

// Dest is where a request of the action egress goes. Domain is the registrable domain of Host, Path as it is sent.
type Dest struct {
	Method string `json:"method"`
	Scheme string `json:"scheme"`
	Host   string `json:"host"`
	Domain string `json:"domain"`
	Port   int64  `json:"port"`
	Path   string `json:"path"`
}

// Unit is a logic unit that is to be promoted, and the scope that it was tried in.
type Unit struct {
	ID       string   `json:"id"`
	Version  string   `json:"version"`
	Digest   string   `json:"digest"`
	Category string   `json:"category"`
	Slots    []string `json:"slots,omitempty"`
	From     string   `json:"from"`
}

// Capsule is a policy capsule whose issuer's signature is good, as it would be adopted. Widens says that it denies less than
// the one of its id that holds; Again, that this very version ended here before its time.
type Capsule struct {
	ID        string   `json:"id"`
	Issuer    string   `json:"issuer"`
	Version   int64    `json:"version"`
	Propagate string   `json:"propagate"`
	Denies    []string `json:"denies"`
	HopsLeft  int64    `json:"hops_left"`
	Widens    bool     `json:"widens,omitempty"`
	Again     bool     `json:"again,omitempty"`
}

// entities are the few things one request speaks about.
type entities []cedar.Entity

// Get implements cedar.EntityGetter.
func (e entities) Get(uid cedar.EntityUID) (cedar.Entity, bool) {
	for i := range e {
		if e[i].UID == uid {
			return e[i], true
		}
	}
	return cedar.Entity{}, false
}

// question is a request in Cedar's words.
type question struct {
	request  cedar.Request
	entities entities
}

func (q *question) add(typ cedar.EntityType, id string, parent cedar.EntityUID, attrs cedar.RecordMap, others ...cedar.EntityUID) cedar.EntityUID {
	e := cedar.Entity{UID: cedar.NewEntityUID(typ, cedar.String(id)), Attributes: cedar.NewRecord(attrs)}
	if !parent.IsZero() {
		e.Parents = cedar.NewEntityUIDSet(append(others, parent)...)
	}
	if _, known := q.entities.Get(e.UID); !known {
		q.entities = append(q.entities, e)
	}
	return e.UID
}

// cedar translates a request. The result always fits arw.cedarschema; what cannot fit is an error.
func (r *Request) cedar(capabilities []string) (*question, error) {
	q := &question{entities: make(entities, 0, 6)}
	pack, err := q.pack(&r.Pack)
	if err != nil {
		return nil, err
	}
	project := q.add("Project", r.Project, cedar.EntityUID{}, cedar.RecordMap{"name": cedar.String(r.Project)})
	facts, err := r.facts(pack, project)
	if err != nil {
		return nil, err
	}
	q.request = cedar.Request{Principal: pack, Action: cedar.NewEntityUID("Action", cedar.String(r.Action)), Context: facts}
	if r.Action == ActionCall || r.Action == ActionGrant || r.Action == ActionPromote || r.Action == ActionAdopt {
		if q.request.Principal, err = q.actor(r); err != nil {
			return nil, err
		}
	}
	if (r.Action == ActionEgress || r.Action == ActionInfer) && r.Actor != "" && !strings.HasPrefix(r.Actor, "pack:") {
		if q.request.Principal, err = q.actor(r); err != nil {
			return nil, err
		}
	}
	switch r.Action {
	case ActionEgress:
		if r.Dest == nil || r.Dest.Host == "" {
			return nil, fmt.Errorf("a request for egress names its destination")
		}
		domain := q.add("Domain", r.Dest.Domain, cedar.EntityUID{}, nil)
		q.request.Resource = q.add("Host", r.Dest.Host, domain, cedar.RecordMap{"name": cedar.String(r.Dest.Host), "domain": cedar.String(r.Dest.Domain)})
	case ActionOpen:
		if !path.IsAbs(r.Path) || path.Clean(r.Path) != r.Path {
			return nil, fmt.Errorf("a request to open names an absolute path in its plain form, not %q", r.Path)
		}
		q.request.Resource = q.path(r.Path)
	case ActionInfer:
		if r.Model == "" {
			return nil, fmt.Errorf("a request to infer names its model")
		}
		q.request.Resource = q.add("Model", r.Model, cedar.EntityUID{}, cedar.RecordMap{"name": cedar.String(r.Model)})
	case ActionPromote:
		if r.Unit == nil || r.Unit.ID == "" {
			return nil, fmt.Errorf("a request to promote names its unit")
		}
		q.request.Resource = q.unit(r.Unit)
	case ActionAdopt:
		if r.Capsule == nil || r.Capsule.ID == "" {
			return nil, fmt.Errorf("a request to adopt names its capsule")
		}
		q.request.Resource = q.capsule(r.Capsule)
	case ActionLoad:
		q.request.Resource = cedar.NewEntityUID("Node", "local")
	case ActionLink, ActionGrant, ActionRemember:
		if !slices.Contains(capabilities, r.Capability) {
			return nil, fmt.Errorf("there is no capability %q; %s", r.Capability, nearest(r.Capability, capabilities))
		}
		q.request.Resource = cedar.NewEntityUID("Capability", cedar.String(r.Capability))
	case ActionCall:
		if r.Tool == "" || !slices.Contains(abi.EffectNames[:], r.Effects) {
			return nil, fmt.Errorf("a call names a tool and its effects, not %q and %q", r.Tool, r.Effects)
		}
		q.request.Resource = q.add("Tool", r.Pack.Name+":"+r.Tool, pack,
			cedar.RecordMap{"id": cedar.String(r.Tool), "effects": cedar.String(r.Effects)})
	default:
		return nil, fmt.Errorf("the action %q is none of load, link, call, grant, promote, adopt, egress, open, infer and remember", r.Action)
	}
	return q, nil
}

// path adds the entity of a path and of every folder it lies in.
func (q *question) path(name string) cedar.EntityUID {
	var above cedar.EntityUID
	if name != "/" {
		above = q.path(path.Dir(name))
	}
	return q.add("Path", name, above, cedar.RecordMap{"name": cedar.String(name)})
}

func (q *question) unit(u *Unit) cedar.EntityUID {
	return q.add("Unit", u.ID, cedar.EntityUID{}, cedar.RecordMap{
		"id": cedar.String(u.ID), "version": cedar.String(u.Version), "digest": cedar.String(u.Digest),
		"category": cedar.String(u.Category), "slots": set(u.Slots), "from": cedar.String(u.From),
	})
}

func (q *question) capsule(c *Capsule) cedar.EntityUID {
	return q.add("Capsule", c.ID, cedar.EntityUID{}, cedar.RecordMap{
		"id": cedar.String(c.ID), "issuer": cedar.String(c.Issuer), "version": cedar.Long(c.Version), "propagate": cedar.String(c.Propagate),
		"denies": set(c.Denies), "hops_left": cedar.Long(c.HopsLeft), "widens": cedar.Boolean(c.Widens), "again": cedar.Boolean(c.Again),
	})
}

// pack adds the entity of a pack and of its namespace.
func (q *question) pack(p *Pack) (cedar.EntityUID, error) {
	namespace, short, ok := strings.Cut(p.Name, "/")
	if !ok || namespace == "" || short == "" || strings.Contains(short, "/") {
		return cedar.EntityUID{}, fmt.Errorf("the pack %q is not named NAMESPACE/NAME", p.Name)
	}
	if p.Namespace != "" && p.Namespace != namespace {
		return cedar.EntityUID{}, fmt.Errorf("the pack %q does not lie in the namespace %q", p.Name, p.Namespace)
	}
	words := []string{namespace, short, strings.ReplaceAll(namespace, "-", "_"), strings.ReplaceAll(short, "-", "_")}
	parent := q.add("Namespace", namespace, cedar.EntityUID{}, nil)
	publishers := make([]cedar.EntityUID, len(p.Signers))
	for i, s := range p.Signers {
		publishers[i] = q.add("Publisher", s, cedar.EntityUID{}, nil)
	}
	return q.add("Pack", p.Name, parent, cedar.RecordMap{
		"name":       cedar.String(p.Name),
		"namespace":  cedar.String(namespace),
		"version":    cedar.String(p.Version),
		"digest":     cedar.String(p.Digest),
		"words":      set(words),
		"signers":    set(p.Signers),
		"keys":       set(p.KeyIDs),
		"identities": set(p.Identities),
	}, publishers...), nil
}

// actor adds the entity of whoever asks.
func (q *question) actor(r *Request) (cedar.EntityUID, error) {
	kind, name, _ := strings.Cut(r.Actor, ":")
	switch {
	case r.Actor == "operator":
		return q.add("Person", r.Actor, cedar.EntityUID{}, cedar.RecordMap{"name": cedar.String(r.Actor), "operator": cedar.True}), nil
	case kind == "person" && name != "" && name != "operator":
		return q.add("Person", name, cedar.EntityUID{}, cedar.RecordMap{"name": cedar.String(name), "operator": cedar.False}), nil
	case kind == "agent" && name != "":
		return q.add("Agent", name, cedar.EntityUID{}, cedar.RecordMap{"name": cedar.String(name)}), nil
	case kind == "pack":
		if r.Caller == nil || r.Caller.Name != name {
			return cedar.EntityUID{}, fmt.Errorf("the actor %q needs its pack described as the caller", r.Actor)
		}
		if name == r.Pack.Name && r.Caller.Digest != r.Pack.Digest {
			return cedar.EntityUID{}, fmt.Errorf("the pack %q is described twice, with two digests", name)
		}
		return q.pack(r.Caller)
	}
	return cedar.EntityUID{}, fmt.Errorf("the actor %q is none of operator, person:NAME, agent:NAME and pack:NAMESPACE/NAME", r.Actor)
}

// facts builds the context, the same record for every action.
func (r *Request) facts(pack, project cedar.EntityUID) (cedar.Record, error) {
	facts := cedar.RecordMap{
		"pack": pack, "project": project, "write": cedar.Boolean(r.Write),
		"verified": cedar.False, "override": cedar.False, "ask": cedar.False, "optional": cedar.False,
		"scope": set(r.Scope), "heads": set(Heads(r.Scope)),
		"args": cedar.NewRecord(nil), "effects": cedar.String(r.Effects), "reason": cedar.String(""),
		"ttl":    cedar.NewDuration(0),
		"method": cedar.String(""), "scheme": cedar.String(""), "path": cedar.String(""), "port": cedar.Long(0),
		"by": cedar.String(""), "tainted": cedar.False, "risky": cedar.False, "markers": set(nil),
	}
	if d := r.Dest; d != nil {
		facts["method"], facts["scheme"], facts["path"], facts["port"] = cedar.String(d.Method), cedar.String(d.Scheme), cedar.String(d.Path), cedar.Long(d.Port)
	}
	for _, key := range slices.Sorted(maps.Keys(r.Context)) {
		value, err := fact(key, r.Context[key])
		if err != nil {
			return cedar.Record{}, err
		}
		facts[cedar.String(key)] = value
	}
	return cedar.NewRecord(facts), nil
}

// fact checks one entry of Request.Context.
func fact(key string, value any) (cedar.Value, error) {
	switch key {
	case "verified", "override", "ask", "optional", "tainted", "risky":
		if b, ok := value.(bool); ok {
			return cedar.Boolean(b), nil
		}
	case "markers":
		if all, ok := value.([]string); ok {
			return set(all), nil
		}
	case "reason", "by":
		if s, ok := value.(string); ok {
			return cedar.String(s), nil
		}
	case "ttl":
		switch v := value.(type) {
		case time.Duration:
			return cedar.NewDuration(v), nil
		case string:
			d, err := ParseTTL(v)
			if err != nil {
				return nil, fmt.Errorf("the fact \"ttl\": %w", err)
			}
			return cedar.NewDuration(d), nil
		}
	default:
		return nil, fmt.Errorf("there is no fact %q; there are ask, by, markers, optional, override, reason, risky, tainted, ttl and verified", key)
	}
	return nil, fmt.Errorf("the fact %q cannot be a %T", key, value)
}

// Heads is the first word of each entry of a scope, sorted and each once: "read" of "read:/srv/docs", "research" of
// "research.done", "arw" of "arw/research:*".
func Heads(scope []string) []string {
	heads := make([]string, 0, len(scope))
	for _, entry := range scope {
		if end := strings.IndexAny(entry, ".:/"); end >= 0 {
			entry = entry[:end]
		}
		heads = append(heads, entry)
	}
	slices.Sort(heads)
	return slices.Compact(heads)
}

func set(words []string) cedar.Set {
	values := make([]cedar.Value, len(words))
	for i, w := range words {
		values[i] = cedar.String(w)
	}
	return cedar.NewSet(values...)
}
