package pack_test

import (
	"strings"
	"testing"

	"github.com/arw-project/arw/abi"
	"github.com/arw-project/arw/host/hosttest"
	"github.com/arw-project/arw/host/internal/action"
	"github.com/arw-project/arw/host/internal/journal"
	"github.com/arw-project/arw/host/internal/pack"
	"github.com/arw-project/arw/host/internal/prompt"
)

// twoPeople makes uses of files wait for two.
const twoPeople = `@id("local.two") @mode("ask") @hold("5m") @approvals("2") @reason("two pairs of eyes")
permit (principal, action == Action::"link", resource == Capability::"fs");`

// says is a person's yes.
func says(who, terms string) prompt.Answer {
	return prompt.Answer{Allow: true, By: "operator", Who: who, For: terms, Reason: "because"}
}

// TestTwoPeople: one yes keeps the call waiting, another of the same person counts for nothing, a yes to something else neither; it
// outlives a restart; the second person's yes makes the lease.
func TestTwoPeople(t *testing.T) {
	t.Parallel()
	h := installed(t, hosttest.Options{Policies: map[string]string{"two.cedar": twoPeople}})
	_, input := fileWith(t, "hello")
	a := h.Submit("sink.read", input)
	p := pending(t, h, 1)[0]
	if p.Approvals != 2 {
		t.Fatalf("the prompt does not tell how many: %s", asJSON(t, p))
	}
	got, err := h.Services().Packs.AnswerAs(t.Context(), "", p.ID, says("ann", "15m"))
	if err != nil || got.State != prompt.Pending || len(got.Agreed) != 1 || got.Agreed[0].Who != "ann" || got.Answer != nil {
		t.Fatalf("%s, %v", asJSON(t, got), err)
	}
	for _, again := range []prompt.Answer{says("ann", "15m"), says("bob", "1h")} {
		_, err := h.Services().Packs.AnswerAs(t.Context(), "", p.ID, again)
		wantCode(t, err, abi.Conflict)
	}
	if l := live(h, sinkName); strings.Contains(asJSON(t, l), `"fs"`) {
		t.Fatalf("one person gave a lease: %s", asJSON(t, l))
	}
	if rs := h.Events(journal.Filter{Prefixes: []string{prompt.KindAgreed}}); len(rs) != 1 || !strings.Contains(string(rs[0].Body), `"who":"ann"`) {
		t.Errorf("journal: %s", asJSON(t, rs))
	}
	doc, err := h.Services().View.Get(t.Context(), prompt.ViewID)
	if err != nil || !strings.Contains(string(doc.Body), `"who":"ann"`) {
		t.Errorf("read model: %s, %v", doc.Body, err)
	}
	h.Restart()
	got, err = h.Services().Packs.AnswerAs(t.Context(), "", p.ID, says("bob", "15m"))
	if err != nil || got.State != prompt.Allowed || len(got.Agreed) != 2 || len(got.Answer.Leases) != 1 {
		t.Fatalf("%s, %v", asJSON(t, got), err)
	}
	if end := h.Wait(a.ID); end.State != action.Completed || end.Corr != a.Corr {
		t.Fatalf("%+v %+v", end, end.Failure)
	}
}

// TestOneNoIsEnoughAndNobodyGrantsAlone: a no ends a prompt that somebody said yes to; a grant by hand, a grant in a file and a policy on
// the grant do not stand for the second person.
func TestOneNoIsEnoughAndNobodyGrantsAlone(t *testing.T) {
	t.Parallel()
	h := installed(t, hosttest.Options{Policies: map[string]string{"two.cedar": twoPeople, "grant.cedar": `@id("local.pairs") @approvals("2") @reason("no lease on keys by one")
permit (principal is Person, action == Action::"grant", resource == Capability::"kv") when { principal.operator };`}})
	h.WriteState(prompt.GrantsFile, "schema = 1\n[[grant]]\npack = \"test/*\"\ncapability = \"fs\"\nscope = [\"read:*\"]\nttl = \"1h\"\nreason = \"beforehand\"\n")
	if _, err := h.ReloadPolicy(t.Context(), "", "operator"); err != nil {
		t.Fatal(err)
	}
	for _, g := range []pack.Grant{{Pack: sinkName, Capability: abi.FS, Scope: []string{"read:/srv"}, Reason: "alone"}, {Pack: sinkName, Capability: abi.KV, Reason: "alone"}} {
		_, err := h.Services().Packs.Grant(t.Context(), "", "operator", g)
		wantCode(t, err, abi.Denied)
		if !strings.Contains(err.Error(), "2 different people") {
			t.Errorf("%v", err)
		}
	}
	_, input := fileWith(t, "hello")
	a := h.Submit("sink.read", input)
	p := pending(t, h, 1)[0] // which the file has not answered
	if _, err := h.Services().Packs.AnswerAs(t.Context(), "", p.ID, says("ann", "")); err != nil {
		t.Fatal(err)
	}
	no := says("bob", "")
	no.Allow = false
	if got, err := h.Services().Packs.AnswerAs(t.Context(), "", p.ID, no); err != nil || got.State != prompt.Denied {
		t.Fatalf("%s, %v", asJSON(t, got), err)
	}
	if end := h.Wait(a.ID); end.Failure == nil || end.Failure.Code != abi.Denied {
		t.Fatalf("%+v", end)
	}
}

// TestOneOfTwoIsNoInTime: when a prompt's time is over, one yes of two is no.
func TestOneOfTwoIsNoInTime(t *testing.T) {
	t.Parallel()
	h := installed(t, hosttest.Options{Policies: map[string]string{"two.cedar": strings.ReplaceAll(twoPeople, "5m", "1s")}})
	_, input := fileWith(t, "hello")
	a := h.Submit("sink.read", input)
	p := pending(t, h, 1)[0]
	if _, err := h.Services().Packs.AnswerAs(t.Context(), "", p.ID, says("ann", "")); err != nil && abi.CodeOf(err) != abi.Conflict { // a slow machine is late
		t.Fatal(err)
	}
	if end := h.Wait(a.ID); end.Failure == nil || end.Failure.Code != abi.Denied || !strings.Contains(end.Failure.Message, "in time") {
		t.Fatalf("%+v", end)
	}
}

// TestWhoSaysYesHasLooked: where the policies want it, a yes names the preview that was looked at, and other policies in force make it
// another.
func TestWhoSaysYesHasLooked(t *testing.T) {
	t.Parallel()
	h := installed(t, hosttest.Options{Policies: map[string]string{"look.cedar": strings.ReplaceAll(twoPeople, `@approvals("2")`, `@obligation("preview")`)}})
	_, input := fileWith(t, "hello")
	a := h.Submit("sink.read", input)
	p := pending(t, h, 1)[0]
	_, err := h.Services().Packs.AnswerAs(t.Context(), "", p.ID, says("ann", ""))
	wantCode(t, err, abi.Conflict)
	seen, err := h.Services().Packs.PreviewPrompt(t.Context(), p.ID)
	if err != nil || seen.Target != p.Target || seen.Digest == "" {
		t.Fatalf("%s, %v", asJSON(t, seen), err)
	}
	if again, err := h.Services().Packs.PreviewPrompt(t.Context(), p.ID); err != nil || again.Digest != seen.Digest {
		t.Fatalf("a second look: %s, %v", asJSON(t, again), err)
	}
	h.WriteState("policy/more.cedar", `@id("local.more") forbid (principal, action == Action::"call", resource == Tool::"a/b:c");`)
	if _, err := h.ReloadPolicy(t.Context(), "", "operator"); err != nil {
		t.Fatal(err)
	}
	yes := says("ann", "")
	yes.Seen = seen.Digest
	_, err = h.Services().Packs.AnswerAs(t.Context(), "", p.ID, yes)
	wantCode(t, err, abi.Conflict)
	if seen, err = h.Services().Packs.PreviewPrompt(t.Context(), p.ID); err != nil {
		t.Fatal(err)
	}
	yes.Seen = seen.Digest
	if got, err := h.Services().Packs.AnswerAs(t.Context(), "", p.ID, yes); err != nil || got.Answer.Seen != seen.Digest {
		t.Fatalf("%s, %v", asJSON(t, got), err)
	}
	if end := h.Wait(a.ID); end.State != action.Completed {
		t.Fatalf("%+v", end.Failure)
	}
}
