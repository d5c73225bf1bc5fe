package host_test

import (
	"testing"

	"github.com/arw-project/arw/abi"
	"github.com/arw-project/arw/host/hosttest"
	"github.com/arw-project/arw/host/internal/pack"
	"github.com/arw-project/arw/host/internal/policy"
)

// TestRecordedDecisionsAreAskedOfOtherPolicies: what the journal tells of calls and grants is asked again, with the arguments that the
// calls had; what would newly be denied and newly be allowed is listed, and nothing happens.
func TestRecordedDecisionsAreAskedOfOtherPolicies(t *testing.T) {
	t.Parallel()
	h := hosttest.New(t, hosttest.Options{Policies: map[string]string{"now.cedar": `@id("local.no_keys") @reason("nobody reads keys here")
forbid (principal, action == Action::"call", resource == Tool::"test/sink:sink.get");`}})
	h.Install(hosttest.SinkPack(t))
	h.MustCall("sink.echo", `{"n":7}`)
	h.MustCall("sink.echo", `{"n":700}`)
	h.MustCall("sink.echo", `{"n":700}`)
	h.MustCall("sink.put", `{"key":"a","val":"b"}`)
	h.FailCall("sink.get", `{"key":"a"}`, abi.Denied)
	if _, err := h.Services().Packs.Grant(t.Context(), "", "operator", pack.Grant{Pack: "test/sink", Capability: abi.FS, Scope: []string{"read:/srv"}, Reason: "to look"}); err != nil {
		t.Fatal(err)
	}
	before := h.Services().Journal.Last()
	got, err := h.DiffPolicy(t.Context(), []policy.Source{{Name: "other.cedar", Text: []byte(`@id("local.small") @args("n: Long") @reason("only small ones")
forbid (principal, action == Action::"call", resource == Tool::"test/sink:sink.echo") unless { context.args.n < 100 };
@id("local.no_files") forbid (principal, action == Action::"grant", resource == Capability::"fs");`)}}, nil, 0)
	if err != nil {
		t.Fatal(err)
	}
	want := map[string]string{"call sink.echo": "allow deny 2", "call sink.get": "deny allow 1", "grant fs": "allow deny 1"}
	for _, c := range got.Recorded.Changes {
		key := c.Action + " " + c.Tool + c.Capability
		if said := string(c.Was) + " " + string(c.Would.Outcome) + " " + string(rune('0'+c.Times)); want[key] != said || c.Event == 0 || c.Event > before {
			t.Errorf("%s: %s in event %d, want %q", key, said, c.Event, want[key])
		}
		delete(want, key)
	}
	if len(want) > 0 || got.Recorded.Records < 6 || got.Recorded.Asked != 5 {
		t.Errorf("missing %v; %d records, %d asked", want, got.Recorded.Records, got.Recorded.Asked)
	}
	if got, err = h.DiffPolicy(t.Context(), []policy.Source{{Name: "now.cedar", Text: []byte(`@id("local.no_keys") @reason("nobody reads keys here")
forbid (principal, action == Action::"call", resource == Tool::"test/sink:sink.get");`)}}, nil, 0); err != nil || len(got.Recorded.Changes) != 0 {
		t.Errorf("the same policies: %+v, %v", got.Recorded.Changes, err)
	}
}
