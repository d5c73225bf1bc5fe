package policy_test

import (
	"strings"
	"testing"

	"github.com/arw-project/arw/host/internal/policy"
)

func loaded(t *testing.T, text string) *policy.Set {
	t.Helper()
	set, err := policy.Load([]policy.Source{{Name: "local.cedar", Text: []byte(text)}})
	if err != nil {
		t.Fatal(err)
	}
	return set
}

func TestDiff(t *testing.T) {
	t.Parallel()
	const kept = "@id(\"local.kept\") @ttl(\"1h\") permit (principal, action == Action::\"link\", resource == Capability::\"kv\");\n"
	before := loaded(t, kept+`@id("local.gone") forbid (principal, action == Action::"call", resource == Tool::"a/b:c");
@id("local.less") @ttl("2h") permit (principal, action == Action::"link", resource == Capability::"log");`)
	after := loaded(t, `@id("local.less") @ttl("1h") permit (principal, action == Action::"link", resource == Capability::"log");
// the same, written otherwise
@id("local.kept")
@ttl("1h")
permit (
    principal,
    action == Action::"link",
    resource == Capability::"kv"
);
@id("local.new") @obligation("redact") permit (principal is Agent, action == Action::"call", resource);`)
	cases, err := policy.Cases(policy.Source{Name: "cases", Text: []byte(`[
  {"case": "a tool that was forbidden", "request": {"action": "call", "pack": {"name": "a/b"}, "tool": "c", "effects": "pure", "actor": "operator"}, "want": {"outcome": "deny"}},
  {"case": "an agent's call", "request": {"action": "call", "pack": {"name": "a/b"}, "tool": "d", "effects": "pure", "actor": "agent:x"}, "want": {"outcome": "allow"}},
  {"case": "a person's call", "request": {"action": "call", "pack": {"name": "a/b"}, "tool": "d", "effects": "pure", "actor": "operator"}, "want": {"outcome": "allow"}},
  {"case": "a shorter lease", "request": {"action": "link", "pack": {"name": "a/b"}, "capability": "log", "context": {"verified": true}}, "want": {"outcome": "allow"}},
  {"case": "the same lease", "request": {"action": "link", "pack": {"name": "a/b"}, "capability": "kv", "context": {"verified": true}}, "want": {"outcome": "allow"}}]`)})
	if err != nil {
		t.Fatal(err)
	}
	d := policy.Diff(before, after, cases)
	ids := func(rules []policy.Rule) (out []string) {
		for _, r := range rules {
			out = append(out, r.ID)
		}
		return out
	}
	if got := strings.Join(append(ids(d.Added), ids(d.Removed)...), " "); got != "local.new local.gone" || len(d.Changed) != 1 || d.Changed[0].After.ID != "local.less" || d.Changed[0].Before.TTL <= d.Changed[0].After.TTL {
		t.Errorf("%s; changed %+v", got, d.Changed)
	}
	var shifted []string
	for _, s := range d.Shifts {
		shifted = append(shifted, s.Case)
	}
	if got := strings.Join(shifted, ", "); got != "a tool that was forbidden, an agent's call, a shorter lease" || d.Cases != 5 {
		t.Errorf("shifted: %s of %d", got, d.Cases)
	}
	if d.Shifts[0].Before.Outcome != policy.Deny || d.Shifts[0].After.Outcome != policy.Allow || !d.Shifts[1].After.Redact {
		t.Errorf("%+v", d.Shifts)
	}
	if same := policy.Diff(after, after, cases); !same.Empty() || same.Before != same.After {
		t.Errorf("%+v", same)
	}
	if _, err := policy.Cases(policy.Source{Name: "x", Text: []byte("-- a.cedar --\n")}); err == nil {
		t.Error("an archive without cases is read")
	}
}
