package pack_test

import (
	"strings"
	"testing"

	"github.com/arw-project/arw/abi"
	"github.com/arw-project/arw/host/hosttest"
	"github.com/arw-project/arw/host/internal/action"
	"github.com/arw-project/arw/host/internal/journal"
)

// TestPoliciesSeeWhatAToolIsCalledWith: the arguments that the manifest's schema names, of the declared type and with one meaning,
// decide; every other form of them denies, also of an argument that may be missing.
func TestPoliciesSeeWhatAToolIsCalledWith(t *testing.T) {
	t.Parallel()
	h := installed(t, hosttest.Options{Policies: map[string]string{"args.cedar": `@id("local.small") @args("n: Long") @obligation("log") @reason("only small ones")
forbid (principal, action == Action::"call", resource == Tool::"test/sink:sink.echo") unless { context.args.n < 100 };
@id("local.named") @args("other?: Long")
forbid (principal is Agent, action == Action::"call", resource == Tool::"test/sink:sink.echo") when { context.args has other && context.args.other > 1 };`}})
	h.MustCall("sink.echo", `{"n":7}`)
	h.MustCall("sink.echo", `{"n":7,"secret":[1,2]}`)
	h.MustCall("sink.put", `{"key":"a","val":"b"}`) // of which no such policy speaks
	for in, why := range map[string]string{
		`{"n":4100}`:             "only small ones",
		`{}`:                     `wants the argument "n"`,
		`{"n":7,"N":4100}`:       `"n" as Long`,
		`{"n":9007199254740993}`: `"n" as Long`,
	} {
		a := h.FailCall("sink.echo", in, abi.Denied)
		if !strings.Contains(a.Failure.Message+asJSON(t, a.Failure.Detail), why) && !strings.Contains(a.Failure.Message, strings.ReplaceAll(why, `"`, `\"`)) {
			t.Errorf("%s: %s %s", in, a.Failure.Message, asJSON(t, a.Failure.Detail))
		}
		for _, r := range h.Events(journal.Filter{Prefixes: []string{"policy."}, Action: a.ID}) {
			if strings.Contains(string(r.Body), "4100") || strings.Contains(string(r.Body), "9007199254740993") {
				t.Errorf("the journal tells an argument: %s", r.Body)
			}
		}
	}
	agent := func(input string) action.Action {
		a, _, err := h.Services().Actions.Submit(t.Context(), action.Request{Kind: "sink.echo", Input: []byte(input), Actor: "agent:bot"})
		if err != nil {
			t.Fatal(err)
		}
		return h.Wait(a.ID)
	}
	// The schema does not name "other": the call has it, so nobody knows what it would mean.
	if a := agent(`{"n":7,"other":0}`); a.Failure == nil || a.Failure.Code != abi.Denied {
		t.Errorf("an argument that no schema names: %+v", a)
	}
	if a := agent(`{"n":7}`); a.Failure != nil {
		t.Errorf("an agent: %+v", a.Failure)
	}
}
