package pack_test

import (
	"encoding/json"
	"strings"
	"testing"

	"github.com/arw-project/arw/abi"
	"github.com/arw-project/arw/host/api"
	"github.com/arw-project/arw/host/hosttest"
	"github.com/arw-project/arw/host/internal/action"
	"github.com/arw-project/arw/host/internal/journal"
	"github.com/arw-project/arw/host/internal/review"
)

// recalling is the sink with tools whose answers may be given again.
func recalling(t *testing.T, o hosttest.Options) *hosttest.Host {
	t.Helper()
	h := hosttest.New(t, o)
	recall := func(id, effects string) []string {
		return []string{`id = "` + id + `"`, `id = "` + id + `"` + "\nrecall = { question = \"/key\", near = 0.8, same = \"/got\", ttl = \"10m\" }"}
	}
	toml := hosttest.SinkTOML("1.0.0")
	for _, id := range []string{"sink.get", "sink.now", "sink.list", "sink.echo"} {
		toml = change(t, toml, recall(id, "")...)
	}
	h.Install(hosttest.Artifact{TOML: toml, Module: hosttest.Sink(t)})
	return h
}

// by calls a tool as somebody, in a project, and checks where its answer came from.
func by(t *testing.T, h *hosttest.Host, who, project, kind, input, want string) string {
	t.Helper()
	a, _, err := h.Services().Actions.Submit(t.Context(), action.Request{Kind: kind, Input: json.RawMessage(input), Actor: who, Project: project})
	if err != nil {
		t.Fatal(err)
	}
	end := h.Wait(a.ID)
	if end.State != action.Completed || end.Usage.Cache != want {
		t.Fatalf("%s %s as %s in %q: %s, cache %q, want %q (%+v)", kind, input, who, project, end.State, end.Usage.Cache, want, end.Failure)
	}
	return string(end.Output)
}

const ann, bob = "person:ann", "person:bob"

func TestAnAnswerIsGivenAgainToOnePersonInOneProject(t *testing.T) {
	t.Parallel()
	h := recalling(t, hosttest.Options{})
	for _, project := range []string{"", "thesis"} {
		by(t, h, ann, project, "sink.put", `{"key":"the colour of a house","val":"red in `+project+`"}`, "bypass")
		by(t, h, ann, project, "sink.put", `{"key":"houses: colour","val":"red in `+project+`"}`, "bypass")
	}
	by(t, h, ann, "", "sink.get", `{"key":"the colour of a house"}`, "miss")
	if got := by(t, h, ann, "", "sink.get", `{"key":"the colour of a house"}`, "hit"); got != `{"got":"red in "}` {
		t.Fatalf("got %s", got)
	}
	by(t, h, bob, "", "sink.get", `{"key":"the colour of a house"}`, "miss")
	if got := by(t, h, ann, "thesis", "sink.get", `{"key":"the colour of a house"}`, "miss"); got != `{"got":"red in thesis"}` {
		t.Fatalf("got %s of another project", got)
	}
	got := h.Services().Recall
	if _, all, _, _ := got.Stats(); all.Exact != 1 || all.Misses != 3 || all.Audits != 0 {
		t.Fatalf("counted %+v", all)
	}
	by(t, h, ann, "", "sink.put", `{"key":"colour of the houses","val":"red in "}`, "bypass")
	by(t, h, ann, "", "sink.get", `{"key":"the colour of a house"}`, "miss") // something was written
	by(t, h, ann, "", "sink.get", `{"key":"colour of the houses"}`, "miss")  // an audit
	if _, all, _, _ := got.Stats(); all.Audits != 1 || all.False != 0 {
		t.Fatalf("after an audit: %+v", all)
	}
	if answer := by(t, h, ann, "", "sink.get", `{"key":"what colour is the house"}`, "near"); answer != `{"got":"red in "}` {
		t.Fatalf("got %s", answer) // there is no such key: the answer is that of another question
	}
	h.FailCall("sink.get", `{"key":"what colour is the house in 1999"}`, abi.NotFound)
	hosttest.Eventually(t, "the events are journaled", func() bool {
		near, audited := 0, 0
		for _, r := range h.Events(journal.Filter{Prefixes: []string{"recall"}}) {
			if strings.Contains(string(r.Body), "colour") || strings.Contains(string(r.Body), "red") {
				t.Fatalf("an event tells of a question: %s", r.Body)
			}
			if strings.Contains(string(r.Body), `"near","cosine"`) {
				near++
			}
			if r.Kind == "recall.audited" && strings.Contains(string(r.Body), `"agreed":true`) {
				audited++
			}
		}
		return near == 1 && audited == 1
	})
}

func TestAnAnswerThatNoLongerStandsIsMadeAnew(t *testing.T) {
	t.Parallel()
	h := recalling(t, hosttest.Options{})
	h.Grant(sinkName, abi.Action, "test/sink:sink.get")
	get := func(want string) string { return by(t, h, ann, "", "sink.get", `{"key":"k"}`, want) }
	put := func(project, val string) {
		by(t, h, bob, project, "sink.put", `{"key":"k","val":"`+val+`"}`, "bypass")
	}
	put("", "1")
	get("miss")
	get("hit")
	put("thesis", "2") // another project's write changes nothing here
	get("hit")
	put("", "2")
	if got := get("miss"); got != `{"got":"2"}` {
		t.Fatalf("got %s", got)
	}
	get("hit")
	// A change that waited for a person is a write when it is let in.
	w, err := h.Services().Reviews.Queue(t.Context(), api.Held{Kind: review.World, Pack: sinkName, Source: "node", From: "operator"}, []api.Change{{Op: "put", Store: "kv", Name: "k", Text: "3"}})
	if err != nil {
		t.Fatal(err)
	}
	get("hit")
	if _, err := h.Services().Reviews.Decide(t.Context(), "", "operator", review.World, api.DecideHeld{ID: w.ID, Decision: "apply", Force: true}); err != nil {
		t.Fatal(err)
	}
	if got := get("miss"); got != `{"got":"3"}` {
		t.Fatalf("got %s", got)
	}
	by(t, h, ann, "", "sink.call", `{"tool":"test/sink:sink.get","input":"{'key':'k'}"}`, "bypass")
	if _, all, _, _ := h.Services().Recall.Stats(); all.Exact != 4 {
		t.Fatalf("%d exact answers: a call that a tool makes is made for nobody known", all.Exact)
	}
	if _, err := h.Services().Leases.Revoke(t.Context(), "cor_x", leaseOf(t, h, abi.Log).ID, "operator", "enough"); err != nil {
		t.Fatal(err)
	}
	get("miss") // other leases
	get("hit")
	if _, err := h.Services().Leases.Revoke(t.Context(), "cor_x", leaseOf(t, h, abi.KV).ID, "operator", "enough"); err != nil {
		t.Fatal(err)
	}
	h.FailCall("sink.get", `{"key":"k"}`, abi.LeaseRevoked)
}

func TestWhatCannotBeLookedAtAgainIsNotGivenAgain(t *testing.T) {
	t.Parallel()
	h := recalling(t, hosttest.Options{})
	for range 2 {
		by(t, h, ann, "", "sink.now", `{}`, "miss")
	}
	by(t, h, ann, "", "sink.echo", `{"n":1}`, "miss") // a pure tool: what it needs is in the input
	by(t, h, ann, "", "sink.echo", `{"n":1}`, "hit")
}

// A manifest's wish for tokens and money of models is what its lease is bounded by, and what the verdict shows.
func TestAManifestAsksForTokensAndMoney(t *testing.T) {
	t.Parallel()
	h := hosttest.New(t, hosttest.Options{})
	v := h.Install(hosttest.Artifact{Module: hosttest.Sink(t), TOML: change(t, hosttest.SinkTOML("1.0.0"),
		"[capabilities.kv]\n", "[capabilities.kv]\nbudget = { tokens = 1000, usd_micros = 250_000 }\n")})
	if b := leaseOf(t, h, abi.KV).Budget; b.Tokens != 1000 || b.Money != 250_000 {
		t.Errorf("the lease has %+v", b)
	}
	for _, l := range v.Links {
		if l.Capability == string(abi.KV) && (l.Tokens != 1000 || l.Money != 250_000) {
			t.Errorf("the verdict shows %+v", l)
		}
	}
}
