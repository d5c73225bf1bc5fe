package pack_test

import (
	"strings"
	"testing"

	"github.com/arw-project/arw/abi"
	"github.com/arw-project/arw/host/hosttest"
	"github.com/arw-project/arw/host/internal/action"
	"github.com/arw-project/arw/host/internal/journal"
	"github.com/arw-project/arw/host/internal/pack"
)

const aToken = "ghp_abcdefghijklmnopqrstuvwxyzABCDEFGHIJ"

// TestObligedToRedact: where the deciding policy says so, what a tool answers is given out, and kept, without secrets; agents alone here.
func TestObligedToRedact(t *testing.T) {
	t.Parallel()
	h := installed(t, hosttest.Options{Policies: map[string]string{"redact.cedar": `@id("local.redact") @obligation("log,redact") @reason("agents see no secrets")
permit (principal is Agent, action == Action::"call", resource);`}})
	call := func(actor, kind, input string) action.Action {
		a, _, err := h.Services().Actions.Submit(t.Context(), action.Request{Kind: kind, Input: []byte(input), Actor: actor})
		if err != nil {
			t.Fatal(err)
		}
		return h.Wait(a.ID)
	}
	in := `{"n":1,"token":"` + aToken + `"}`
	if a := call("operator", "sink.echo", in); !strings.Contains(string(a.Output), aToken) {
		t.Fatalf("a person: %s %+v", a.Output, a.Failure)
	}
	a := call("agent:bot", "sink.echo", in)
	if a.State != action.Completed || strings.Contains(string(a.Output), aToken) || !strings.Contains(string(a.Output), `"n":1`) {
		t.Fatalf("an agent: %s %+v", a.Output, a.Failure)
	}
	again, err := h.Services().Actions.Get(t.Context(), a.ID)
	if err != nil || strings.Contains(string(again.Output), aToken) {
		t.Errorf("what is kept: %s, %v", again.Output, err)
	}
	if rs := h.Events(journal.Filter{Prefixes: []string{"policy.decision"}, Action: a.ID}); len(rs) != 1 || !strings.Contains(string(rs[0].Body), `"redact":true`) {
		t.Errorf("journal: %+v", rs)
	}
}

// TestObligedToSayWhy: nobody grants without a reason, by hand or by an answer.
func TestObligedToSayWhy(t *testing.T) {
	t.Parallel()
	h := installed(t, hosttest.Options{Policies: map[string]string{"why.cedar": `@id("local.why") @obligation("reason_required") @reason("leases are explained here")
permit (principal is Person, action == Action::"grant", resource) when { principal.operator };
@id("local.wait") @mode("ask") @hold("5m") permit (principal, action == Action::"link", resource == Capability::"fs");`}})
	for _, reason := range []string{"", " \n"} {
		_, err := h.Services().Packs.Grant(t.Context(), "", "operator", pack.Grant{Pack: sinkName, Capability: abi.FS, Scope: []string{"read:/srv"}, Reason: reason})
		wantCode(t, err, abi.Invalid)
	}
	if _, err := h.Services().Packs.Grant(t.Context(), "", "operator", pack.Grant{Pack: sinkName, Capability: abi.FS, Scope: []string{"read:/srv"}, Reason: "to read"}); err != nil {
		t.Fatal(err)
	}
	_, input := fileWith(t, "hello")
	a := h.Submit("sink.read", input)
	p := pending(t, h, 1)[0]
	_, err := h.Services().Packs.Answer(t.Context(), "", "operator", p.ID, true, "once", "", nil)
	wantCode(t, err, abi.Invalid)
	answer(t, h, p.ID, true, "once") // because
	if end := h.Wait(a.ID); end.State != action.Completed {
		t.Fatalf("%+v", end.Failure)
	}
}
