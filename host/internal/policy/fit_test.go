package policy

import (
	"fmt"
	"slices"
	"testing"
	"time"

	"github.com/arw-project/arw/abi"
	cedar "github.com/cedar-policy/cedar-go"
	"github.com/cedar-policy/cedar-go/x/exp/schema/validate"
)

// Decide does not run Cedar's validator on each request; this shows that it need not.
func TestRequestsFitTheSchema(t *testing.T) {
	t.Parallel()
	shape, err := resolveSchema()
	if err != nil {
		t.Fatal(err)
	}
	check := validate.New(shape)
	words := newVocabulary(shape)
	full := Pack{Name: "a/b-c", Namespace: "a", Version: "1.0.0", Digest: "sha256:00", Signers: []string{"s"}, KeyIDs: []string{"k"}, Identities: []string{"i"}}
	facts := map[string]any{"verified": true, "override": true, "ask": true, "optional": true, "reason": "r", "ttl": time.Hour}
	for _, pack := range []Pack{{Name: "a/b"}, full} {
		for _, actor := range []string{"operator", "person:bob", "agent:mcp", "pack:x/y", "pack:" + pack.Name} {
			for _, action := range words.actions {
				for _, context := range []map[string]any{nil, facts} {
					caller := Pack{Name: "x/y"}
					if actor == "pack:"+pack.Name {
						caller = pack
					}
					r := Request{Action: action, Pack: pack, Capability: "fs", Scope: []string{"read:/x"}, Tool: "t", Effects: "reads", Actor: actor, Caller: &caller, Context: context, Dest: &Dest{"GET", "https", "a.b.com", "b.com", 443, "/"}, Path: "/a/b", Model: "m", Unit: &Unit{ID: "u", Version: "1.0.0", Digest: "sha256:00", Category: "policy", Slots: []string{"s"}, From: "workspace"}, Capsule: &Capsule{ID: "c", Issuer: "i", Version: 1, Propagate: "all", Denies: []string{"http:*"}, HopsLeft: 1}, Project: "p"}
					q, err := r.cedar(words.enums["Capability"])
					if err != nil {
						t.Fatalf("%+v: %v", r, err)
					}
					if err := check.Request(q.request); err != nil {
						t.Errorf("%s by %s: %v", action, actor, err)
					}
					for _, e := range q.entities {
						if err := check.Entity(e); err != nil {
							t.Errorf("%s by %s: %v: %v", action, actor, e.UID, err)
						}
					}
				}
			}
		}
	}
}

// Splitting the set by action must not change a decision: every shard holds the policies the whole set would match.
func TestShardsDecideLikeTheWhole(t *testing.T) {
	t.Parallel()
	heads := []string{
		`action`, `action == Action::"link"`, `action in Action::"link"`, `action in [Action::"load", Action::"call"]`,
		`action in [Action::"grant", Action::"link"]`, `action == Action::"call"`,
	}
	text := ""
	for i, head := range heads {
		text += fmt.Sprintf("@id(\"local.%d\") forbid (principal, %s, resource);\n", i, head)
	}
	set, err := Load([]Source{{Name: "f", Text: []byte(text)}})
	if err != nil {
		t.Fatal(err)
	}
	all := map[string]entry{}
	for _, s := range set.shards {
		for _, e := range s {
			all[string(e.id)] = e
		}
	}
	whole := make(shard, len(set.rules))
	for i, rule := range set.rules {
		whole[i] = all[rule.ID]
	}
	for action := range set.shards {
		r := Request{Action: action, Pack: Pack{Name: "a/b"}, Capability: "kv", Tool: "t", Effects: "reads", Actor: "operator", Dest: &Dest{Method: "GET", Scheme: "https", Host: "a.b.com", Domain: "b.com", Port: 443, Path: "/"}, Path: "/a/b", Model: "m", Unit: &Unit{ID: "u", Version: "1.0.0", Digest: "sha256:00", Category: "policy", Slots: []string{"s"}, From: "workspace"}, Capsule: &Capsule{ID: "c", Issuer: "i", Version: 1, Propagate: "all", Denies: []string{"http:*"}, HopsLeft: 1}, Project: "p"}
		q, err := r.cedar(set.capabilities)
		if err != nil {
			t.Fatal(err)
		}
		verdict, why := cedar.Authorize(whole, q.entities, q.request)
		var ids []string
		for _, reason := range why.Reasons {
			ids = append(ids, string(reason.PolicyID))
		}
		if got := set.Decide(r); got.Allowed != bool(verdict) || !slices.Equal(got.Policies, ids) {
			t.Errorf("%s: shard says %v %v, the whole set %v %v", action, got.Allowed, got.Policies, verdict, ids)
		}
	}
}

// The schema names every capability of the ABI; a new one is not linkable before policies can speak of it.
func TestSchemaNamesEveryCapability(t *testing.T) {
	t.Parallel()
	shape, err := resolveSchema()
	if err != nil {
		t.Fatal(err)
	}
	known := newVocabulary(shape).enums["Capability"]
	for _, f := range abi.Functions {
		if !slices.Contains(known, string(f.Capability)) {
			t.Errorf("arw.cedarschema lacks Capability::%q", f.Capability)
		}
	}
}
