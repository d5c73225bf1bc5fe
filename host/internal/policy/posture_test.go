package policy_test

import (
	"testing"

	"github.com/arw-project/arw/abi"
	"github.com/arw-project/arw/host/internal/policy"
)

// What each posture makes of the same questions.
func TestPostures(t *testing.T) {
	t.Parallel()
	pack := policy.Pack{Name: "alice/notes", Signers: []string{"alice"}}
	verified := map[string]any{"verified": true}
	link := func(c string, scope ...string) policy.Request {
		return policy.Request{Action: policy.ActionLink, Pack: pack, Capability: c, Scope: scope, Context: verified}
	}
	questions := map[string]policy.Request{
		"keys": link("kv"), "read": link("fs", "read:/srv"), "write": link("fs", "write:/srv"), "own words": link("event", "notes."),
		"override": {Action: policy.ActionLoad, Pack: pack, Context: map[string]any{"override": true}},
		"agent":    {Action: policy.ActionCall, Pack: pack, Tool: "t", Effects: "open_world", Actor: "agent:mcp", Context: verified},
		"granting": {Action: policy.ActionGrant, Pack: pack, Capability: "fs", Scope: []string{"read:/srv"}, Actor: "operator", Context: verified},
		"others":   {Action: policy.ActionGrant, Pack: pack, Capability: "fs", Scope: []string{"read:/srv"}, Actor: "agent:mcp", Context: verified},
	}
	want := map[string]map[string]policy.Outcome{
		policy.Base: {"keys": "allow", "read": "ask", "write": "ask", "own words": "allow", "override": "allow", "agent": "allow", "granting": "allow", "others": "deny"},
		"relaxed":   {"keys": "allow", "read": "allow", "write": "ask", "own words": "allow", "override": "allow", "agent": "allow", "granting": "allow", "others": "deny"},
		"standard":  {"keys": "allow", "read": "ask", "write": "ask", "own words": "allow", "override": "allow", "agent": "allow", "granting": "allow", "others": "deny"},
		"strict":    {"keys": "allow", "read": "ask", "write": "deny", "own words": "ask", "override": "deny", "agent": "deny", "granting": "allow", "others": "deny"},
		"trial":     {"keys": "allow", "read": "deny", "write": "deny", "own words": "allow", "override": "allow", "agent": "allow", "granting": "deny", "others": "deny"},
	}
	for _, name := range policy.Postures() {
		sources, err := policy.Posture(name)
		if err != nil {
			t.Fatal(err)
		}
		set, err := policy.Load(sources)
		if err != nil {
			t.Fatal(err)
		}
		for question, r := range questions {
			d := set.Decide(r)
			if d.Outcome != want[name][question] || len(d.Errors) > 0 {
				t.Errorf("%s, %s: %s (%s), want %s", name, question, d.Outcome, d.Reason, want[name][question])
			}
			if d.Outcome == policy.Ask && (d.Hold > 0) != (name != policy.Base) {
				t.Errorf("%s, %s: it waits %s", name, question, d.Hold)
			}
		}
	}
	if _, err := policy.Posture("lax"); abi.CodeOf(err) != abi.Invalid {
		t.Errorf("a posture that is none: %v", err)
	}
	if _, err := policy.Load([]policy.Source{{Name: "mine.cedar", Text: []byte(`@id("arw.posture.mine") permit (principal, action == Action::"link", resource);`)}}); err == nil {
		t.Error("a file of the operator's took one of our names")
	}
}
