package host_test

import (
	"context"
	"encoding/json"
	"fmt"
	"iter"
	"strings"
	"testing"
	"time"

	"github.com/arw-project/arw/abi"
	"github.com/arw-project/arw/host"
	"github.com/arw-project/arw/host/api"
	"github.com/arw-project/arw/host/hosttest"
	"github.com/arw-project/arw/host/internal/action"
	"github.com/arw-project/arw/host/internal/infer"
	"github.com/arw-project/arw/host/internal/infer/infertest"
	"github.com/arw-project/arw/host/internal/journal"
	"github.com/arw-project/arw/host/internal/lease"
	"github.com/arw-project/arw/host/internal/pack"
)

// gated is a model whose tokens the test lets go one by one.
type gated struct {
	infer.Model
	tokens chan string
	freed  chan struct{}
}

func (gated) Info() infer.Info {
	return infer.Info{Engine: infer.Engine{Name: "gated", Kind: infer.Neural}, Can: infer.Can{Generate: true}}
}

func (g gated) Generate(ctx context.Context, _ *infer.Request) iter.Seq2[infer.Part, error] {
	return func(yield func(infer.Part, error) bool) {
		defer func() { g.freed <- struct{}{} }()
		for {
			select {
			case text := <-g.tokens:
				if !yield(infer.Part{Text: text}, nil) {
					return
				}
			case <-ctx.Done():
				yield(infer.Part{}, abi.Errorf(abi.CodeOf(ctx.Err()), "ask: %w", ctx.Err()))
				return
			}
		}
	}
}

// thinkers is a host with the pack thinker, the models "talker" and "embedder" on fake runtimes, and "gated".
func thinkers(t *testing.T, policies map[string]string) (*hosttest.Host, *infertest.Server, gated) {
	t.Helper()
	talker, embedder := infertest.New("vllm"), infertest.New("llama")
	embedder.Embeds = true
	slow := gated{tokens: make(chan string), freed: make(chan struct{}, 1)}
	models := map[string]infer.Model{"talker": hosttest.Model(t, talker), "embedder": hosttest.Model(t, embedder), "gated": slow}
	h := hosttest.New(t, hosttest.Options{Policies: policies, Config: func(c *host.Config) { c.Models = models; c.ModelsEvery = time.Millisecond }})
	h.Install(hosttest.Thinker(t))
	return h, talker, slow
}

func grant(t *testing.T, h *hosttest.Host, b lease.Budget, scope ...string) lease.Lease {
	t.Helper()
	l, err := h.Services().Packs.Grant(t.Context(), "", "operator", pack.Grant{Pack: "test/thinker", Capability: abi.Infer, Scope: scope, Budget: b, TTL: time.Hour})
	if err != nil {
		t.Fatal(err)
	}
	return l
}

func used(t *testing.T, h *hosttest.Host, l lease.Lease) lease.Budget {
	t.Helper()
	now, err := h.Services().Leases.Get(l.ID)
	if err != nil {
		t.Fatal(err)
	}
	return now.Used
}

// A pack asks under its lease, in every way; what it used is on the lease, in the journal under its name, and in the usage.
func TestAPackAsksModels(t *testing.T) {
	t.Parallel()
	h, _, _ := thinkers(t, nil)
	ask := `{"model":"talker","prompt":"say it","max_tokens":5,"seed":1}`
	if a := h.FailCall("thinker.think", ask, abi.Denied); !strings.Contains(a.Failure.Hint, "arw lease grant test/thinker infer --scope") {
		t.Errorf("without a lease: %+v", a.Failure)
	}
	l := grant(t, h, lease.Budget{}, "talker", "embedder")
	var got struct {
		Text string          `json:"text"`
		How  abi.InferResult `json:"how"`
	}
	out := h.MustCall("thinker.think", ask)
	if err := json.Unmarshal([]byte(out), &got); err != nil || len(strings.Fields(got.Text)) != 5 {
		t.Fatalf("got %s, %v", out, err)
	}
	want := abi.InferResult{InferEngine: abi.InferEngine{Engine: "vllm", Kind: "neural", Model: "talker"}, Finish: "length", Usage: abi.InferUsage{Prompt: 3, Output: 5}}
	if got.How != want {
		t.Errorf("it ended %+v, want %+v", got.How, want)
	}
	if u := used(t, h, l); u.Calls != 1 || u.Tokens != 8 {
		t.Errorf("the lease has used %+v", u)
	}
	if out := h.MustCall("thinker.embed", `{"model":"embedder","texts":["a","b"]}`); strings.Count(out, "[") != 3 || !strings.Contains(out, `"engine_kind":"neural"`) {
		t.Errorf("vectors %s", out)
	}
	if out := h.MustCall("thinker.rank", `{"model":"embedder","query":"a","documents":["a","b"]}`); !strings.Contains(out, `"scores":[`) {
		t.Errorf("scores %s", out)
	}
	if out := h.MustCall("thinker.tokens", `{"model":"talker","prompt":"one two","count":true}`); !strings.Contains(out, `"count":3`) || strings.Contains(out, `"tokens"`) {
		t.Errorf("count %s", out)
	}
	h.FailCall("thinker.think", `{"model":"gated","prompt":"a"}`, abi.Denied)
	h.FailCall("thinker.think", `{"model":"none","prompt":"a"}`, abi.NotFound)
	h.FailCall("thinker.think", `{"prompt":"a"}`, abi.NoModel) // there are several and none is the default
	h.FailCall("thinker.think", `{"model":"talker","prompt":"`+strings.Repeat("more ", 600)+`"}`, abi.TooLarge)
	h.FailCall("thinker.think", `{"model":"talker","prompt":"a","schema":{"type":"string","minLength":50},"max_tokens":9}`, abi.ToolFailed)
	h.FailCall("thinker.embed", `{"model":"talker","texts":["a"]}`, abi.Unsupported)
	if a := h.FailCall("thinker.still", ask, abi.Denied); !strings.Contains(a.Failure.Message, `effects = "reads"`) {
		t.Errorf("a pure tool: %+v", a.Failure)
	}
	kinds := map[string]int{}
	for _, e := range h.Events(journal.Filter{Prefixes: []string{"infer."}}) {
		if e.Pack != "test/thinker" || e.Action == "" {
			t.Errorf("nobody's %s: %+v", e.Kind, e)
		}
		kinds[e.Kind]++
	}
	if fmt.Sprint(kinds) != "map[infer.done:4 infer.failed:5 infer.refused:2]" {
		t.Errorf("events %v", kinds)
	}
	hosttest.Eventually(t, "the usage names the pack", func() bool {
		doc, err := h.Services().View.Get(t.Context(), "usage")
		var u api.ModelUsage
		return err == nil && json.Unmarshal(doc.Body, &u) == nil && u.Packs["test/thinker"].Calls == 4 && u.Packs["test/thinker"].Failed == 5
	})
}

// Prompt caches of two packs' projects are apart: the runtime is told another salt, and never the name.
func TestAPacksPromptsAreSaltedByPackAndProject(t *testing.T) {
	t.Parallel()
	h, talker, _ := thinkers(t, nil)
	grant(t, h, lease.Budget{}, "talker")
	in := []byte(`{"model":"talker","prompt":"same","max_tokens":1}`)
	for _, r := range []action.Request{{Kind: "thinker.think", Input: in, Project: "one"}, {Kind: "thinker.think", Input: in, Project: "two"}, {Kind: "thinker.think", Input: in, Project: "one"}, {Kind: "infer.generate", Input: in, Project: "one"}} {
		a, _, err := h.Services().Actions.Submit(t.Context(), r)
		if err != nil {
			t.Fatal(err)
		}
		if a = h.Wait(a.ID); a.State != action.Completed {
			t.Fatalf("%+v", a.Failure)
		}
	}
	var salts []string
	for _, b := range talker.Bodies() {
		if s, ok := b["cache_salt"].(string); ok && b["prompt"] == "same" {
			salts = append(salts, s)
		}
	}
	if len(salts) != 4 || salts[0] == salts[1] || salts[0] != salts[2] || salts[3] == salts[0] || strings.Contains(strings.Join(salts, ""), "one") {
		t.Errorf("salts %q", salts)
	}
}

// A lease's tokens are counted as they come: the prompt before anything is made, then each token, until one is not covered.
func TestABudgetOfTokensEndsAnAnswerInItsMiddle(t *testing.T) {
	t.Parallel()
	h, talker, _ := thinkers(t, nil)
	l := grant(t, h, lease.Budget{Tokens: 10}, "talker")
	out := h.MustCall("thinker.hear", `{"model":"talker","prompt":"one two three","max_tokens":100}`)
	var got struct{ Text, Code, Msg string }
	if err := json.Unmarshal([]byte(out), &got); err != nil || got.Code != "budget_exhausted" || len(strings.Fields(got.Text)) != 6 {
		t.Errorf("with 10 tokens: %s, %v", out, err)
	}
	if u := used(t, h, l); u.Tokens != 10 {
		t.Errorf("the lease has used %+v", u)
	}
	if out := h.MustCall("thinker.hear", `{"model":"talker","prompt":"a"}`); !strings.Contains(out, "budget_exhausted") || strings.Contains(out, `"text":" `) {
		t.Errorf("after that: %s", out)
	}
	for _, b := range talker.Bodies() { // those of the adapter's own probe have other prompts
		if n, ok := b["max_tokens"].(float64); ok && n > 10 && b["prompt"] == "one two three" {
			t.Errorf("the runtime was asked for %v tokens", n)
		}
	}
	grant(t, h, lease.Budget{}, "talker")
	if out := h.MustCall("thinker.hear", `{"model":"talker","prompt":"one two three","max_tokens":100,"budget_tokens":5}`); !strings.Contains(out, "budget_exhausted") {
		t.Errorf("with its own bound: %s", out)
	}
}

// What a person takes back ends an answer with its next token.
func TestARevokedLeaseEndsAnAnswerInItsMiddle(t *testing.T) {
	t.Parallel()
	h, _, slow := thinkers(t, nil)
	l := grant(t, h, lease.Budget{}, "gated")
	a := h.Submit("thinker.hear", `{"model":"gated","prompt":"a"}`)
	slow.tokens <- "one "
	hosttest.Eventually(t, "the first token is counted", func() bool { return used(t, h, l).Tokens == 1 })
	if _, err := h.Services().Leases.Revoke(t.Context(), "", l.ID, "operator", "enough"); err != nil {
		t.Fatal(err)
	}
	slow.tokens <- "two"
	<-slow.freed
	if a = h.Wait(a.ID); string(a.Output) != `{"text":"one ","code":"lease_revoked","msg":`+afterMsg(a.Output) {
		t.Errorf("got %s %+v", a.Output, a.Failure)
	}
	es := h.Events(journal.Filter{Prefixes: []string{"infer."}})
	if len(es) != 1 || es[0].Kind != "infer.failed" || !strings.Contains(string(es[0].Body), `"code":"lease_revoked"`) || !strings.Contains(string(es[0].Body), `"completion_tokens":2`) {
		t.Errorf("events %+v", es)
	}
}

func afterMsg(out []byte) string {
	_, rest, _ := strings.Cut(string(out), `"msg":`)
	return rest
}

// A guest that leaves, a caller that cancels and a time that is over free the runtime's slot before the call has ended.
func TestLeavingAnAnswerFreesTheModel(t *testing.T) {
	t.Parallel()
	h, _, slow := thinkers(t, nil)
	grant(t, h, lease.Budget{}, "gated")
	left := h.Submit("thinker.leave", `{"model":"gated","prompt":"a"}`)
	slow.tokens <- "one"
	if a := h.Wait(left.ID); string(a.Output) != `{"text":"one","code":""}` {
		t.Errorf("left: %s %+v", a.Output, a.Failure)
	}
	select {
	case <-slow.freed:
	default:
		t.Error("the call is over and the model is still asked")
	}
	cancelled := h.Submit("thinker.hear", `{"model":"gated","prompt":"a"}`)
	slow.tokens <- "one"
	if _, err := h.Services().Actions.Cancel(t.Context(), cancelled.ID, "operator", ""); err != nil {
		t.Fatal(err)
	}
	<-slow.freed
	if a := h.Wait(cancelled.ID); a.State != action.Cancelled {
		t.Errorf("cancelled: %s %+v", a.State, a.Failure)
	}
	late := h.Submit("thinker.hear", `{"model":"gated","prompt":"a","timeout_ms":1}`)
	<-slow.freed
	if a := h.Wait(late.ID); !strings.Contains(string(a.Output), `"code":"deadline"`) {
		t.Errorf("late: %s %+v", a.Output, a.Failure)
	}
}

// An answer is recorded like every host call, and comes out of the record again without a model.
func TestAnAnswerIsReplayed(t *testing.T) {
	t.Parallel()
	h, talker, _ := thinkers(t, nil)
	grant(t, h, lease.Budget{}, "talker")
	a, _, err := h.Services().Actions.Submit(t.Context(), action.Request{Kind: "thinker.think", Input: []byte(`{"model":"talker","prompt":"a","max_tokens":5}`), Record: true})
	if err != nil {
		t.Fatal(err)
	}
	if a = h.Wait(a.ID); a.State != action.Completed {
		t.Fatalf("%+v", a.Failure)
	}
	asked := len(talker.Bodies())
	r, err := h.Services().Packs.Replay(t.Context(), pack.Replay{Record: a.Record.Digest})
	if err != nil || !r.Equal || len(talker.Bodies()) != asked {
		t.Errorf("replayed %+v, %v; the runtime was asked %d times", r, err, len(talker.Bodies())-asked)
	}
}

// Cedar is asked beside the lease, and its budget bounds one request.
func TestCedarForbidsAPackAModel(t *testing.T) {
	t.Parallel()
	h, _, _ := thinkers(t, map[string]string{"site.cedar": `
@id("site.no_talker")
@reason("nobody's pack asks the embedder")
forbid (principal is Pack, action == Action::"infer", resource == Model::"embedder");

@id("site.small")
@reason("small answers")
@budget_tokens("4")
permit (principal is Pack, action == Action::"infer", resource == Model::"talker");`})
	grant(t, h, lease.Budget{}, "talker", "embedder")
	if a := h.FailCall("thinker.embed", `{"model":"embedder","texts":["a"]}`, abi.Denied); !strings.Contains(a.Failure.Message, "nobody's pack") {
		t.Errorf("refused with %+v", a.Failure)
	}
	if out := h.MustCall("thinker.hear", `{"model":"talker","prompt":"one two","max_tokens":100}`); !strings.Contains(out, "budget_exhausted") {
		t.Errorf("with a policy's 4 tokens: %s", out)
	}
}

// A quota holds packs as it holds people: it ends an answer in its middle, and a restart resets none.
func TestAQuotaOfTokensHoldsPacks(t *testing.T) {
	t.Parallel()
	h, _, _ := thinkers(t, nil)
	grant(t, h, lease.Budget{}, "talker")
	h.WriteState("quotas.toml", "schema = 1\n[[quota]]\nid = \"packs\"\non = \"infer\"\nper = \"pack\"\nwindow = \"30d\"\ntokens = 20\nreason = \"enough\"\n")
	h.Restart()
	ask := `{"model":"talker","prompt":"one two","max_tokens":9}`
	h.MustCall("thinker.think", ask) // 3 and 9
	var got struct{ Text, Code, Msg string }
	for range 2 {
		out := h.MustCall("thinker.hear", ask)
		if err := json.Unmarshal([]byte(out), &got); err != nil {
			t.Fatal(err)
		}
	}
	if got.Code != "budget_exhausted" || !strings.Contains(got.Msg, "packs") {
		t.Errorf("beyond it: %+v", got)
	}
	h.MustCall("infer.generate", ask) // nobody's pack
	h.Restart()
	if out := h.MustCall("thinker.hear", ask); !strings.Contains(out, "budget_exhausted") {
		t.Errorf("after a restart: %s", out)
	}
}
