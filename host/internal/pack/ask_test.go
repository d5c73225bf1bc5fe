package pack_test

import (
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/arw-project/arw/abi"
	"github.com/arw-project/arw/host"
	"github.com/arw-project/arw/host/hosttest"
	"github.com/arw-project/arw/host/internal/action"
	"github.com/arw-project/arw/host/internal/journal"
	"github.com/arw-project/arw/host/internal/lease"
	"github.com/arw-project/arw/host/internal/prompt"
)

// asking makes uses of files and tools wait for a person.
const asking = `@id("local.wait") @mode("ask") @hold("%s") @ttl("2h") @reason("the operator sits at this host")
permit (principal, action == Action::"link", resource) when { [Capability::"fs", Capability::"action"].contains(resource) };`

func waiting(t *testing.T, hold string, change func(*host.Config)) *hosttest.Host {
	t.Helper()
	return installed(t, hosttest.Options{Policies: map[string]string{"wait.cedar": fmt.Sprintf(asking, hold)}, Config: change})
}

// pending waits for n prompts and returns them.
func pending(t *testing.T, h *hosttest.Host, n int) []prompt.Prompt {
	t.Helper()
	var list []prompt.Prompt
	hosttest.Eventually(t, fmt.Sprintf("%d prompts wait", n), func() bool {
		var err error
		if list, err = h.Services().Prompts.List(t.Context(), prompt.Pending); err != nil {
			t.Fatal(err)
		}
		return len(list) == n
	})
	return list
}

func answer(t *testing.T, h *hosttest.Host, id string, allow bool, terms string, scope ...string) prompt.Prompt {
	t.Helper()
	p, err := h.Services().Packs.Answer(t.Context(), "", "operator", id, allow, terms, "because", scope)
	if err != nil {
		t.Fatal(err)
	}
	return p
}

func fileWith(t *testing.T, text string) (name, input string) {
	t.Helper()
	name = filepath.Join(t.TempDir(), "a.txt")
	if err := os.WriteFile(name, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	return name, fmt.Sprintf(`{"path":%q}`, name)
}

func TestHeldCallGoesOnAfterTheAnswer(t *testing.T) {
	t.Parallel()
	h := waiting(t, "5m", nil)
	name, input := fileWith(t, "hello")
	a := h.Submit("sink.read", input)
	p := pending(t, h, 1)[0]
	want := prompt.Ask{
		Pack: sinkName, Version: "1.0.0", Digest: p.Digest, Tool: "sink.read", Capability: abi.FS, Target: "read:" + name, Scope: []string{"read:" + name},
		Why: "to read and write what it is told", Rule: p.Rule, Policies: []string{"arw.link.ask", "local.wait"}, TTL: 2 * time.Hour,
		Actor: "operator", Corr: a.Corr, Where: lease.Where{Action: a.ID}, Hold: 5 * time.Minute, Clean: true,
	}
	if got, wanted := asJSON(t, p.Ask), asJSON(t, want); got != wanted || !strings.Contains(p.Rule, "sits at this host") {
		t.Fatalf("got\n%s\nwant\n%s", got, wanted)
	}
	if p.TTLMS != 2*3600*1000 || p.Expires.Sub(p.Created) != 5*time.Minute || len(p.Waiting) != 1 || p.Waiting[0] != a.ID {
		t.Fatalf("got %s", asJSON(t, p))
	}
	doc, err := h.Services().View.Get(t.Context(), prompt.ViewID)
	if err != nil || !strings.Contains(string(doc.Body), p.ID) {
		t.Fatalf("read model: %s, %v", doc.Body, err)
	}
	done := answer(t, h, p.ID, true, "once")
	if a = h.Wait(a.ID); a.State != action.Completed || string(a.Output) != `{"got":"hello"}` {
		t.Fatalf("got %+v %+v", a, a.Failure)
	}
	rs := h.Events(journal.Filter{Prefixes: []string{"policy.prompt", "policy.allow"}})
	if len(rs) != 2 || rs[0].Kind != prompt.KindAsked || rs[0].Corr != a.Corr || rs[0].Action != a.ID || rs[1].Kind != prompt.KindAllowed || rs[1].Actor != "operator" {
		t.Fatalf("events: %s", asJSON(t, rs))
	}
	l, err := h.Services().Leases.Get(done.Answer.Leases[0])
	if err != nil || l.By != "operator" || l.Action != a.ID || l.Reason != "because" {
		t.Fatalf("lease: %s, %v", asJSON(t, l), err)
	}
	// Once was for that action: the next one asks again.
	h.Submit("sink.read", input)
	if q := pending(t, h, 1)[0]; q.ID == p.ID {
		t.Fatal("the same prompt")
	}
}

func TestAnswersHoldAsLongAsTheySay(t *testing.T) {
	t.Parallel()
	for _, tc := range []struct {
		terms           string
		project         string
		serves, refuses action.Request // of the next calls
	}{
		{terms: "15m", serves: action.Request{Project: "default"}, refuses: action.Request{Project: "b"}}, // a folder belongs to one project
		{terms: "calls=2", serves: action.Request{}},
		{terms: "project", project: "a", serves: action.Request{Project: "a"}, refuses: action.Request{Project: "b"}},
	} {
		t.Run(tc.terms, func(t *testing.T) {
			t.Parallel()
			h := waiting(t, "5m", nil)
			_, input := fileWith(t, "hello")
			submit := func(r action.Request) action.Action {
				r.Kind, r.Input, r.Actor = "sink.read", []byte(input), "operator"
				a, _, err := h.Services().Actions.Submit(t.Context(), r)
				if err != nil {
					t.Fatal(err)
				}
				return a
			}
			first := submit(action.Request{Project: tc.project})
			p := pending(t, h, 1)[0]
			answer(t, h, p.ID, true, tc.terms)
			if a := h.Wait(first.ID); a.State != action.Completed {
				t.Fatalf("got %+v", a.Failure)
			}
			if a := h.Wait(submit(tc.serves).ID); a.State != action.Completed {
				t.Fatalf("the next: %+v", a.Failure)
			}
			if tc.refuses.Project != "" {
				submit(tc.refuses)
				pending(t, h, 1)
			}
		})
	}
	t.Run("terms that do not fit", func(t *testing.T) {
		t.Parallel()
		h := waiting(t, "5m", nil)
		_, input := fileWith(t, "x")
		h.Submit("sink.read", input)
		p := pending(t, h, 1)[0]
		for terms, code := range map[string]abi.Code{"session": abi.Invalid, "project": abi.Invalid, "for ever": abi.Invalid, "calls=0": abi.Invalid, "367d": abi.Invalid} {
			if _, err := h.Services().Packs.Answer(t.Context(), "", "operator", p.ID, true, terms, "", nil); abi.CodeOf(err) != code {
				t.Errorf("%s: %v", terms, err)
			}
		}
		for _, scope := range []string{"everything:/", "read:relative"} {
			if _, err := h.Services().Packs.Answer(t.Context(), "", "operator", p.ID, true, "15m", "", []string{scope}); abi.CodeOf(err) != abi.Invalid {
				t.Errorf("scope %s: %v", scope, err)
			}
		}
		pending(t, h, 1) // still waiting
	})
}

func TestNoIsAnAnswer(t *testing.T) {
	t.Parallel()
	h := waiting(t, "5m", nil)
	_, input := fileWith(t, "hello")
	a := h.Submit("sink.read", input)
	answer(t, h, pending(t, h, 1)[0].ID, false, "15m")
	if a = h.Wait(a.ID); a.State != action.Failed || a.Failure.Code != abi.Denied || !strings.Contains(a.Failure.Message, "said no") {
		t.Fatalf("got %+v", a.Failure)
	}
	// The same question is not asked again, also not after a restart.
	for range 2 {
		if got := h.FailCall("sink.read", input, abi.Denied); !strings.Contains(got.Failure.Message, "not asked again") {
			t.Fatalf("got %+v", got.Failure)
		}
		h.Restart()
	}
	pending(t, h, 0)
	rs := h.Events(journal.Filter{Prefixes: []string{"policy."}})
	if kinds := kindsOf(rs); kinds != "policy.prompt policy.deny" {
		t.Fatalf("events: %s", kinds)
	}
}

func kindsOf(rs []journal.Record) string {
	var kinds []string
	for _, r := range rs {
		kinds = append(kinds, r.Kind)
	}
	return strings.Join(kinds, " ")
}

func TestSilenceIsNo(t *testing.T) {
	t.Parallel()
	h := waiting(t, "1s", nil)
	_, input := fileWith(t, "hello")
	a := h.FailCall("sink.read", input, abi.Denied)
	if !strings.Contains(a.Failure.Message, "nobody answered") {
		t.Fatalf("got %+v", a.Failure)
	}
	p := h.Events(journal.Filter{Prefixes: []string{prompt.KindExpired}})
	if len(p) != 1 || p[0].Actor != "host" {
		t.Fatalf("events: %s", asJSON(t, p))
	}
	var doc prompt.Prompt
	if err := json.Unmarshal(p[0].Body, &doc); err != nil {
		t.Fatal(err)
	}
	if _, err := h.Services().Packs.Answer(t.Context(), "", "operator", doc.ID, true, "15m", "", nil); abi.CodeOf(err) != abi.Conflict {
		t.Fatalf("an answer too late: %v", err)
	}
}

// Many calls with one question make one prompt, and a call's own time stands still while it waits.
func TestTheSameQuestionIsAskedOnce(t *testing.T) {
	t.Parallel()
	h := installed(t, hosttest.Options{Policies: map[string]string{"wait.cedar": fmt.Sprintf(asking, "5m")}, Config: func(c *host.Config) { c.Workers = 2 }})
	_, input := fileWith(t, "hello")
	var ids []string
	for range 5 { // more than there are workers
		ids = append(ids, h.Submit("sink.read", input).ID)
	}
	var p prompt.Prompt
	hosttest.Eventually(t, "all wait", func() bool {
		p = pending(t, h, 1)[0]
		return len(p.Waiting) == 5
	})
	if got := h.MustCall("sink.echo", `{"n":1}`); got != `{"n":1}` { // those who wait hold nobody up
		t.Fatal(got)
	}
	answer(t, h, p.ID, true, "once")
	for _, id := range ids {
		if a := h.Wait(id); a.State != action.Completed {
			t.Fatalf("%s: %+v", id, a.Failure)
		}
	}
	if rs := h.Events(journal.Filter{Prefixes: []string{prompt.KindAsked}}); len(rs) != 1 {
		t.Fatalf("%d prompts", len(rs))
	}
}

func TestACancelledCallStopsWaiting(t *testing.T) {
	t.Parallel()
	h := waiting(t, "5m", nil)
	_, input := fileWith(t, "hello")
	a := h.Submit("sink.read", input)
	p := pending(t, h, 1)[0]
	if got, err := h.Services().Actions.Cancel(t.Context(), a.ID, "operator", "enough"); err != nil || got.State != action.Cancelled {
		t.Fatalf("got %+v, %v", got, err)
	}
	if _, err := h.Services().Packs.Answer(t.Context(), "", "operator", p.ID, true, "once", "", nil); abi.CodeOf(err) != abi.Conflict {
		t.Fatalf("once for nobody: %v", err)
	}
	answer(t, h, p.ID, true, "15m")
	h.MustCall("sink.read", input)
}

// A host that stops in the middle of a question asks it again under the same ids; what had begun to do something fails.
func TestPromptsOutliveARestart(t *testing.T) {
	t.Parallel()
	h := waiting(t, "5m", func(c *host.Config) { c.Limits.Grace = time.Millisecond })
	_, input := fileWith(t, "hello")
	a := h.Submit("sink.read", input)
	p := pending(t, h, 1)[0]
	h.Restart()
	hosttest.Eventually(t, "the call waits again", func() bool {
		q := pending(t, h, 1)[0]
		return q.ID == p.ID && len(q.Waiting) == 1 && q.Waiting[0] == a.ID
	})
	hosttest.Eventually(t, "it runs again", func() bool {
		got, err := h.Services().Actions.Get(t.Context(), a.ID)
		return err == nil && got.State == action.Running
	})
	answer(t, h, p.ID, true, "once")
	if got := h.Wait(a.ID); got.State != action.Completed || got.Corr != a.Corr || string(got.Output) != `{"got":"hello"}` {
		t.Fatalf("got %+v %+v", got, got.Failure)
	}
	if kinds := kindsOf(h.Events(journal.Filter{Prefixes: []string{"actions."}, Action: a.ID})); kinds != "actions.submitted actions.running actions.queued actions.running actions.completed" {
		t.Fatalf("events: %s", kinds)
	}
}

// A pack that asks too much is refused without a question, and the journal says so once.
func TestFloodsOfQuestionsAreStopped(t *testing.T) {
	t.Parallel()
	h := waiting(t, "5m", func(c *host.Config) { c.Workers, c.Limits.PerPack = 16, 16 })
	for i := range prompt.MaxPendingPack {
		h.Submit("sink.read", fmt.Sprintf(`{"path":"/nowhere/%d"}`, i))
	}
	pending(t, h, prompt.MaxPendingPack)
	for range 3 {
		if a := h.FailCall("sink.read", `{"path":"/nowhere/else"}`, abi.Denied); !strings.Contains(a.Failure.Message, "nobody was asked") {
			t.Fatalf("got %+v", a.Failure)
		}
	}
	pending(t, h, prompt.MaxPendingPack)
	if rs := h.Events(journal.Filter{Prefixes: []string{prompt.KindFlood}}); len(rs) != 1 || rs[0].Pack != sinkName {
		t.Fatalf("events: %s", asJSON(t, rs))
	}
}

// Nobody but the operator can answer, by whatever name: the lease an answer would make is refused by the policies.
func TestNobodyElseCanAnswer(t *testing.T) {
	t.Parallel()
	h := waiting(t, "5m", nil)
	_, input := fileWith(t, "hello")
	h.Submit("sink.read", input)
	p := pending(t, h, 1)[0]
	for _, actor := range []string{"agent:mcp", "agent:local", "pack:" + sinkName, "person:bob"} {
		if _, err := h.Services().Packs.Answer(t.Context(), "", actor, p.ID, true, "15m", "", nil); err == nil {
			t.Errorf("%s could allow it", actor)
		}
	}
	if ls := live(h, sinkName); len(ls) != len(live(h, sinkName)) || leasesOn(h, abi.FS) != 0 {
		t.Fatalf("leases: %s", asJSON(t, ls))
	}
	pending(t, h, 1)
}

func leasesOn(h *hosttest.Host, c abi.Capability) (n int) {
	for _, l := range h.Services().Leases.List(lease.Filter{}) {
		if l.Capability == c {
			n++
		}
	}
	return n
}

func TestDeclaredGrantsAnswerForAHostThatNobodySitsAt(t *testing.T) {
	t.Parallel()
	folder := t.TempDir()
	file := filepath.Join(folder, "a.txt")
	if err := os.WriteFile(file, []byte("hello"), 0o600); err != nil {
		t.Fatal(err)
	}
	h := installed(t, hosttest.Options{})
	input := fmt.Sprintf(`{"path":%q}`, file)
	h.FailCall("sink.read", input, abi.Denied)
	h.WriteState("grants.toml", fmt.Sprintf("schema = 1\n[[grant]]\npack = \"test/*\"\ncapability = \"fs\"\nscope = [%q]\nttl = \"1h\"\ncalls = 2\nreason = \"the nightly job\"\n", "read:"+folder))
	h.Restart()
	for range 3 { // the third takes a second lease of two calls
		h.MustCall("sink.read", input)
	}
	if n := leasesOn(h, abi.FS); n != 2 {
		t.Fatalf("%d leases", n)
	}
	for _, l := range h.Services().Leases.List(lease.Filter{}) {
		if l.Capability == abi.FS && (l.By != "operator" || l.Reason != "grants.toml: the nightly job" || l.Budget.Calls != 2) {
			t.Fatalf("lease: %s", asJSON(t, l))
		}
	}
	h.FailCall("sink.read", `{"path":"/etc/hosts"}`, abi.Denied)
	h.FailCall("sink.write", fmt.Sprintf(`{"path":%q,"data":"x"}`, file), abi.Denied)
}

func TestBrokenGrantsStopTheStart(t *testing.T) {
	t.Parallel()
	h := hosttest.New(t, hosttest.Options{})
	h.Stop()
	good := "schema = 1\n[[grant]]\npack = \"a/b\"\ncapability = \"kv\"\nttl = \"1h\"\nreason = \"r\"\n"
	for name, text := range map[string]string{
		"an unknown key": good + "scopes = []\n", "no schema": strings.TrimPrefix(good, "schema = 1\n"), "a pack that is any": strings.Replace(good, "a/b", "*/*", 1),
		"a scope that is none": strings.Replace(good, "\"kv\"", "\"fs\"\nscope = [\"delete:/\"]", 1), "no reason": strings.Replace(good, "\"r\"", "\"\"", 1),
		"for ever": strings.Replace(good, "1h", "100000h", 1), "less than nothing": good + "calls = -1\n", "no TOML": "grant grant",
	} {
		h.WriteState("grants.toml", text)
		got, err := host.Open(context.Background(), h.Config())
		if err == nil {
			err = errors.Join(errors.New("it opened"), got.Close())
		}
		if abi.CodeOf(err) != abi.Invalid || !strings.Contains(err.Error(), "grants.toml:") {
			t.Errorf("%s: %v", name, err)
		}
	}
	h.WriteState("grants.toml", good)
	if err := os.Chmod(filepath.Join(h.State, "grants.toml"), 0o622); err != nil {
		t.Fatal(err)
	}
	if _, err := host.Open(context.Background(), h.Config()); abi.CodeOf(err) != abi.Invalid {
		t.Errorf("a file that others may write: %v", err)
	}
	if err := os.Chmod(filepath.Join(h.State, "grants.toml"), 0o600); err != nil {
		t.Fatal(err)
	}
	h.Start()
}

// A tool that confines itself is refused what the pack as a whole holds.
func TestToolsConfineThemselves(t *testing.T) {
	t.Parallel()
	h := hosttest.New(t, hosttest.Options{})
	a := hosttest.SinkPack(t)
	a.TOML = change(t, a.TOML, "id = \"sink.get\"\n", "id = \"sink.get\"\ncapabilities = [\"log\"]\n", "id = \"sink.put\"\n", "id = \"sink.put\"\ncapabilities = [\"kv\"]\n")
	h.Install(a)
	h.MustCall("sink.put", `{"key":"k","val":"v"}`)
	if got := h.FailCall("sink.get", `{"key":"k"}`, abi.Denied); !strings.Contains(got.Failure.Message, "confines") || got.Failure.Hint == "" {
		t.Fatalf("got %+v", got.Failure)
	}
	if rs := h.Events(journal.Filter{Prefixes: []string{"leases.denied"}}); len(rs) != 1 {
		t.Fatalf("events: %s", asJSON(t, rs))
	}
}

// Policies can speak of single files; the shipped ones do not, and then nobody pays for the question.
func TestPoliciesSpeakOfFiles(t *testing.T) {
	t.Parallel()
	folder := t.TempDir()
	h := installed(t, hosttest.Options{Policies: map[string]string{"open.cedar": fmt.Sprintf(`@id("local.private") @reason("this is private") @obligation("log")
forbid (principal in Publisher::"test", action == Action::"open", resource in Path::%q);
@id("local.readonly") forbid (principal, action == Action::"open", resource) when { context.write && resource.name like "*.lock" };`, folder+"/private")}})
	for name := range map[string]bool{"a.txt": true, "private/b.txt": true, "x.lock": true} {
		if err := errors.Join(os.MkdirAll(filepath.Dir(filepath.Join(folder, name)), 0o700), os.WriteFile(filepath.Join(folder, name), []byte("t"), 0o600)); err != nil {
			t.Fatal(err)
		}
	}
	h.Grant(sinkName, abi.FS, "write:"+folder)
	path := func(name string) string { return fmt.Sprintf(`{"path":%q,"data":"n"}`, folder+"/"+name) }
	h.MustCall("sink.read", path("a.txt"))
	h.MustCall("sink.read", path("x.lock"))
	h.FailCall("sink.write", path("x.lock"), abi.Denied)
	if a := h.FailCall("sink.read", path("private/b.txt"), abi.Denied); !strings.Contains(cmp.Or(a.Failure.Message), "private") {
		t.Fatalf("got %+v", a.Failure)
	}
	h.FailCall("sink.read", path("private/../private/b.txt"), abi.Denied)
	if rs := h.Events(journal.Filter{Prefixes: []string{"policy.decision"}}); len(rs) != 2 {
		t.Fatalf("events: %s", asJSON(t, rs))
	}
}
