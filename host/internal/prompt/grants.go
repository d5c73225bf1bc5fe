package prompt

import (
	"fmt"
	"strings"
	"time"

	"github.com/arw-project/arw/abi"
	"github.com/arw-project/arw/host/internal/lease"
	"github.com/arw-project/arw/manifests/strict"
)

// GrantsFile is the name of the file of declared grants in the state directory.
const GrantsFile = "grants.toml"

// Declared is one grant that the operator wrote down beforehand: the answer to a question, for hosts that nobody sits at.
type Declared struct {
	Pack       string         `json:"pack"`             // namespace/name, or namespace/*
	Digest     string         `json:"digest,omitempty"` // of the one version it is for; empty: any
	Capability abi.Capability `json:"capability"`
	Scope      []string       `json:"scope"`
	Project    string         `json:"project,omitempty"`
	TTL        time.Duration  `json:"-"`
	Budget     lease.Budget   `json:"budget,omitzero"`
	Reason     string         `json:"reason"`
}

// Grants are the declared grants of a host. The zero value declares none. It never changes.
type Grants struct{ list []Declared }

// List copies them.
func (g *Grants) List() []Declared {
	if g == nil {
		return nil
	}
	return append([]Declared(nil), g.list...)
}

// For finds the first grant that answers a question.
func (g *Grants) For(a Ask) (Declared, bool) {
	if g == nil {
		return Declared{}, false
	}
	for _, d := range g.list {
		namespace, any := strings.CutSuffix(d.Pack, "/*")
		named := d.Pack == a.Pack || any && strings.HasPrefix(a.Pack, namespace+"/")
		if !named || d.Digest != "" && d.Digest != a.Digest || d.Capability != a.Capability || d.Project != "" && d.Project != a.Project {
			continue
		}
		if len(d.Scope) == 0 && len(a.Scope) == 0 || len(d.Scope) > 0 && len(a.Scope) > 0 && lease.Covers(a.Capability, d.Scope, a.Scope) == nil {
			return d, true
		}
	}
	return Declared{}, false
}

type rawGrants struct {
	Schema int        `toml:"schema,required"`
	Grants []rawGrant `toml:"grant"`
}

type rawGrant struct {
	Pack       string   `toml:"pack,required"`
	Digest     string   `toml:"digest"`
	Capability string   `toml:"capability,required"`
	Scope      []string `toml:"scope"`
	Project    string   `toml:"project"`
	TTL        string   `toml:"ttl,required"`
	Calls      int64    `toml:"calls"`
	Bytes      int64    `toml:"bytes"`
	Tokens     int64    `toml:"tokens"`
	Gas        int64    `toml:"gas"`
	USDMicros  int64    `toml:"usd_micros"`
	Reason     string   `toml:"reason,required"`
}

// ParseGrants reads grants.toml. Nothing in it may be unknown, mistyped or out of bounds: a grant that does not mean what it
// seems to is worse than none. The error is an *abi.Error with code Invalid that holds every problem with its line.
func ParseGrants(file string, src []byte) (*Grants, error) {
	var raw rawGrants
	lines, err := strict.Decode(file, src, &raw)
	problems, ok := err.(strict.Problems)
	if err != nil && !ok {
		return nil, abi.Errorf(abi.Internal, "read grants %q: %w", file, err)
	}
	if err == nil && raw.Schema != 1 {
		problems = append(problems, lines.Problem(fmt.Sprintf("this host reads schema 1, not %d", raw.Schema), "", "schema"))
	}
	g := &Grants{}
	for i, r := range raw.Grants {
		d, wrong := r.declared()
		if wrong != "" && lines != nil {
			problems = append(problems, lines.Problem(wrong, "", "grant", i))
		}
		g.list = append(g.list, d)
	}
	if len(problems) > 0 {
		return nil, abi.Errorf(abi.Invalid, "read grants: %w", problems).WithDetail(problems).
			WithHint("mend the named lines; until then nothing of the file holds")
	}
	return g, nil
}

// declared checks one grant; what is wrong with it is the second answer.
func (r *rawGrant) declared() (Declared, string) {
	d := Declared{
		Pack: r.Pack, Digest: r.Digest, Capability: abi.Capability(r.Capability), Scope: r.Scope, Project: r.Project, Reason: r.Reason,
		Budget: lease.Budget{Calls: r.Calls, Bytes: r.Bytes, Tokens: r.Tokens, Gas: r.Gas, Money: r.USDMicros},
	}
	namespace, name, ok := strings.Cut(r.Pack, "/")
	if !ok || namespace == "" || strings.ContainsAny(namespace, "* ") || name == "" || name != "*" && strings.ContainsAny(name, "*/ ") {
		return d, fmt.Sprintf("pack is namespace/name or namespace/*, not %q", r.Pack)
	}
	if err := lease.CheckScope(d.Capability, r.Scope); err != nil {
		return d, err.Error()
	}
	var err error
	if d.TTL, err = time.ParseDuration(r.TTL); err != nil || d.TTL < lease.MinTTL || d.TTL > lease.MaxTTL {
		return d, fmt.Sprintf("ttl is a duration of 1s to 8784h, not %q", r.TTL)
	}
	for side, n := range map[string]int64{"calls": r.Calls, "bytes": r.Bytes, "tokens": r.Tokens, "gas": r.Gas, "usd_micros": r.USDMicros} {
		if n < 0 || n > lease.MaxBudget {
			return d, fmt.Sprintf("%s lies between 0 (no bound) and 2^60", side)
		}
	}
	if strings.TrimSpace(r.Reason) == "" || len(r.Reason) > 1000 {
		return d, "reason says in 1 to 1000 bytes why, for whoever reads the journal"
	}
	return d, ""
}
