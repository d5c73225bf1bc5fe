package main

import (
	"encoding/json"
	"errors"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/arw-project/arw/abi"
	"github.com/arw-project/arw/sdk/go/guest"
)

// speaker is a model of a test: what it says is a function of the question and the seed, as with a real one at some
// temperature. It counts what it is asked, and each request takes a second and 100 tokens.
type speaker struct {
	m     *guest.Memory
	says  func(req abi.InferRequest) string
	asked []abi.InferRequest
}

// spoken is a memory with the kitchen's texts, a model, and documents.
func spoken(t *testing.T, docs map[string]string, says func(abi.InferRequest) string) (*guest.Memory, *speaker) {
	t.Helper()
	dir := corpusDir(t, kitchen)
	m := &guest.Memory{Folders: []string{dir}, Clock: time.Date(2026, 11, 26, 0, 0, 0, 0, time.UTC), Config: map[string]json.RawMessage{}}
	ingestAll(t, m, dir)
	for name, doc := range docs {
		m.Config[name] = []byte(doc)
	}
	s := &speaker{m: m, says: says}
	m.Models.Generate = func(req abi.InferRequest) (string, abi.InferResult, error) {
		s.asked = append(s.asked, req)
		if req.BudgetTokens > 0 && req.BudgetTokens < 100 || req.BudgetUSDMicros > 0 && req.BudgetUSDMicros < 1000 {
			return "", abi.InferResult{}, abi.Errorf(abi.BudgetExhausted, "not covered")
		}
		m.Clock = m.Clock.Add(time.Second)
		return says(req), abi.InferResult{InferEngine: abi.InferEngine{Model: "talker"}, Finish: "stop", Usage: abi.InferUsage{Prompt: 90, Output: 10}, USDMicros: 1000}, nil
	}
	return m, s
}

// bySeed answers one of some texts, in turn.
func bySeed(texts ...string) func(abi.InferRequest) string {
	return func(req abi.InferRequest) string { return texts[int(*req.Seed-1)%len(texts)] }
}

const potatoes = "how long do potatoes boil"

func answered(t *testing.T, m *guest.Memory) AnswerOut {
	t.Helper()
	out, err := answer(m.Call(), AnswerIn{Question: potatoes})
	if err != nil {
		t.Fatal(err)
	}
	return out
}

// What recipes/sampling says changes the answer: one sample is taken at its word, five outvote the first.
func TestSamplesVote(t *testing.T) {
	t.Parallel()
	says := bySeed("ANSWER: ten minutes", "ANSWER: twenty minutes", "it is clear.\nanswer: Twenty Minutes.", "ANSWER: 15 minutes", "ANSWER: twenty  minutes")
	for name, c := range map[string]struct {
		doc, want string
		asked     int
		agreement float64
	}{
		"the default":   {`{}`, "ten minutes", 1, 1},
		"no vote":       {`{"samples":5,"temperature":0.8,"vote":"none"}`, "ten minutes", 1, 1},
		"a vote of one": {`{"samples":1,"temperature":0.8,"vote":"majority"}`, "ten minutes", 1, 1},
		"a tie":         {`{"samples":2,"temperature":0.8,"vote":"majority"}`, "ten minutes", 2, 0.5},
		"a majority":    {`{"samples":5,"temperature":0.8,"vote":"majority"}`, "twenty minutes", 5, 0.6},
	} {
		m, s := spoken(t, map[string]string{samplingDoc: c.doc}, says)
		out := answered(t, m)
		if out.Answer != c.want || len(s.asked) != c.asked || out.Agreement != c.agreement || out.Samples != c.asked || out.Tokens != int64(100*c.asked) || out.USDMicros != int64(1000*c.asked) || out.MS != int64(1000*c.asked) {
			t.Errorf("%s: asked %d times it is %+v", name, len(s.asked), out)
		}
		seeds := map[int64]bool{}
		for _, req := range s.asked {
			seeds[*req.Seed] = true
			if c.doc != `{}` && *req.Temperature != 0.8 {
				t.Errorf("%s: the temperature is %v", name, *req.Temperature)
			}
		}
		if len(seeds) != c.asked {
			t.Errorf("%s: the seeds are %v", name, seeds)
		}
	}
}

// The order of seeds is the caller's, so an experiment can pair them.
func TestASeedIsTheCallers(t *testing.T) {
	t.Parallel()
	m, s := spoken(t, nil, bySeed("ANSWER: a", "ANSWER: b"))
	out, err := answer(m.Call(), AnswerIn{Question: potatoes, Seed: 2, Model: "other"})
	if err != nil || out.Answer != "b" || *s.asked[0].Seed != 2 || s.asked[0].Model != "other" {
		t.Errorf("got %+v, %v, asked %+v", out, err, s.asked)
	}
}

// ReAct thinks and searches by turns, and does no more of either than the document lets it, whatever the model says.
func TestReasoningIsBounded(t *testing.T) {
	t.Parallel()
	more := func(req abi.InferRequest) string { return "I want more.\nSEARCH: lease" }
	twice := func(req abi.InferRequest) string {
		if strings.Contains(req.Messages[1].Content, "Expiry, revocation") {
			return "Now I know.\nANSWER: revocation"
		}
		return "What ends it?\nSEARCH: ending a lease"
	}
	for name, c := range map[string]struct {
		doc   string
		says  func(abi.InferRequest) string
		want  string
		asked int
		steps int
	}{
		"direct does not search again": {`{"mode":"direct"}`, more, "I want more.\nSEARCH: lease", 1, 0},
		"react searches, then answers": {`{"mode":"react","max_steps":8}`, twice, "revocation", 2, 2},
		"react ends at its bound":      {`{"mode":"react","max_steps":3}`, more, "", 3, 3},
		"react of one step answers":    {`{"mode":"react","max_steps":1}`, twice, "", 1, 1},
		"a plan is bounded": {`{"mode":"plan","max_steps":3}`, func(abi.InferRequest) string {
			return strings.Repeat("SEARCH: lease\nSEARCH: gas\nSEARCH: duration\n", 9)
		}, "SEARCH", 2, 2},
		"reflection asks once more": {`{"mode":"direct","reflect":true}`, func(req abi.InferRequest) string {
			return fmt.Sprintf("ANSWER: %v", strings.Contains(req.Messages[1].Content, "Answer to check: false"))
		}, "true", 2, 0},
	} {
		m, s := spoken(t, map[string]string{reasoningDoc: c.doc}, c.says)
		out := answered(t, m)
		if !strings.HasPrefix(out.Answer, c.want) || c.want == "" && (out.Answer != "" || !out.Abstained) || len(s.asked) != c.asked || len(out.Steps) != c.steps {
			t.Errorf("%s: asked %d times it is %+v", name, len(s.asked), out)
		}
	}
}

// A bound of tokens, cost or time ends the drawing of samples: those that are there vote, and the answer says that it was cut.
func TestBudgetsEndAnAnswer(t *testing.T) {
	t.Parallel()
	five := `{"samples":5,"temperature":0.8,"vote":"majority"}`
	for name, c := range map[string]struct {
		sampling, budget string
		asked            int
		reached          string
	}{
		"none":              {five, `{}`, 5, ""},
		"tokens, softly":    {five, `{"tokens_soft":300}`, 5, "soft"},
		"tokens":            {five, `{"tokens_soft":100,"tokens_hard":300}`, 3, "hard"},
		"tokens, in a part": {five, `{"tokens_hard":350}`, 4, "hard"}, // the host refuses the fourth
		"time, softly":      {five, `{"ms_soft":2500}`, 5, "soft"},
		"time":              {five, `{"ms_hard":2000}`, 2, "hard"},
		"cost":              {five, `{"cost_usd":0.002}`, 2, "hard"},
		"the recipe's cost": {`{"samples":5,"temperature":0.8,"vote":"majority","cost_usd":0.001}`, `{"cost_usd":0.002}`, 1, "hard"},
	} {
		m, s := spoken(t, map[string]string{samplingDoc: c.sampling, budgetDoc: c.budget}, bySeed("ANSWER: yes"))
		out := answered(t, m)
		if len(s.asked) != c.asked || out.Budget != c.reached || out.Answer != "yes" {
			t.Errorf("%s: asked %d times it is %+v", name, len(s.asked), out)
		}
	}
	m, _ := spoken(t, map[string]string{budgetDoc: `{"tokens_hard":50}`}, bySeed("ANSWER: yes"))
	if out, err := answer(m.Call(), AnswerIn{Question: potatoes}); abi.CodeOf(err) != abi.BudgetExhausted {
		t.Errorf("with too little for one answer: %+v, %v", out, err)
	}
}

// Nothing is made up: without a model, and with one that fails, the answer is its error.
func TestWithoutAModelThereIsNoAnswer(t *testing.T) {
	t.Parallel()
	m, _ := spoken(t, map[string]string{samplingDoc: `{"samples":5,"vote":"majority"}`}, nil)
	for code, fails := range map[abi.Code]error{abi.NoModel: nil, abi.Unavailable: abi.Errorf(abi.Unavailable, "gone")} {
		m.Models.Generate = nil
		if fails != nil {
			m.Models.Generate = func(abi.InferRequest) (string, abi.InferResult, error) { return "half", abi.InferResult{}, fails }
		}
		if out, err := answer(m.Call(), AnswerIn{Question: potatoes}); abi.CodeOf(err) != code || out.Answer != "" {
			t.Errorf("%s: %+v, %v", code, out, err)
		}
	}
}

// Below the confidence that policies/abstention wants there is no answer: of passages before a model is asked, of samples that
// do not agree afterwards.
func TestAnAnswerIsKeptBack(t *testing.T) {
	t.Parallel()
	docs := map[string]string{abstentionDoc: `{"threshold":0.5,"escalate":"human"}`, samplingDoc: `{"samples":3,"vote":"majority"}`}
	m, s := spoken(t, docs, bySeed("ANSWER: a", "ANSWER: b", "ANSWER: c"))
	out := answered(t, m)
	if !out.Abstained || out.Answer != "" || out.Escalate != "human" || len(s.asked) != 3 || len(out.Votes) != 3 {
		t.Errorf("three who do not agree: %+v", out)
	}
	out, err := answer(m.Call(), AnswerIn{Question: "zebras and quaggas on a lease"})
	if err != nil || !out.Abstained || len(s.asked) != 3 {
		t.Errorf("passages that do not tell: %+v, %v, asked %d times", out, err, len(s.asked))
	}
	s.says = bySeed("ANSWER: a")
	m.Models.Generate = func(req abi.InferRequest) (string, abi.InferResult, error) {
		return "ANSWER: a", abi.InferResult{}, nil
	}
	if out = answered(t, m); out.Abstained || out.Answer != "a" || out.Agreement != 1 {
		t.Errorf("three who agree: %+v", out)
	}
}

// context/assembly says what the model is shown of the passages.
func TestPassagesAreAssembledAsTheDocumentSays(t *testing.T) {
	t.Parallel()
	for doc, want := range map[string]struct{ has, lacks string }{
		`{}`:                                    {"- Boil the potatoes for twenty minutes. Serve with bread. [", ""},
		`{"provenance":false}`:                  {"- Boil the potatoes", "soup.txt"},
		`{"format":"jsonl","provenance":false}`: {`{"text":"Boil the potatoes`, "- Boil"},
		`{"item_tokens":2,"provenance":false}`:  {"- Boil the\n", "potatoes for"},
		`{"tokens":3}`:                          {"", "Boil"},
		`{"format":"inline","slots":{"passages":1},"provenance":false}`: {"Boil the potatoes for twenty minutes. Serve with bread. \n", "- "},
	} {
		m, s := spoken(t, map[string]string{assemblyDoc: doc}, bySeed("ANSWER: yes"))
		answered(t, m)
		if got := s.asked[0].Messages[1].Content; !strings.Contains(got, want.has) || want.lacks != "" && strings.Contains(got, want.lacks) {
			t.Errorf("under %s the model is shown %q", doc, got)
		}
	}
}

// What cannot be read for another reason than a missing lease is not taken for the defaults.
func TestAnswersWithoutTheirConfiguration(t *testing.T) {
	t.Parallel()
	for code, fails := range map[abi.Code]bool{abi.Denied: false, abi.LeaseRevoked: false, abi.Unavailable: true} {
		m, _ := spoken(t, nil, bySeed("ANSWER: yes"))
		m.Deny = func(function string) error {
			if function == "config.get" {
				return abi.Errorf(code, "no")
			}
			return nil
		}
		if out, err := answer(m.Call(), AnswerIn{Question: potatoes}); fails != (err != nil) || !fails && out.Answer != "yes" {
			t.Errorf("%s: %+v, %v", code, out, err)
		}
	}
}

func TestAnswersAreComparedByTheirWords(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		a, b string
		same bool
	}{
		{"Forty-two.", "forty  two", true}, {"**Paris**", "paris", true}, {"1.5", "15", false}, {"-4", "4", false}, {"3-4", "3 4", true},
		{"10:30", "1030", false}, {"5 %", "5", false}, {"né", "ne", false}, {"", "?!", true}, {"ΑΒΓ", "αβγ", true},
	} {
		if same := normal(c.a) == normal(c.b); same != c.same {
			t.Errorf("%q and %q: %q, %q", c.a, c.b, normal(c.a), normal(c.b))
		}
	}
}

// FuzzWhatAModelSays: whatever a model says, steps are bounded and nothing it did not say is answered.
func FuzzWhatAModelSays(f *testing.F) {
	for _, s := range []string{"", "SEARCH:", "ANSWER:", "SEARCH: a\nANSWER: b", "search:\xff", "ANSWER:\u00a0", "SEARCH: lease", "\nANSWER: x\nANSWER: y"} {
		f.Add(s)
	}
	m := &guest.Memory{Config: map[string]json.RawMessage{reasoningDoc: []byte(`{"mode":"react","max_steps":3,"reflect":true}`), samplingDoc: []byte(`{"samples":2,"vote":"majority"}`)}}
	f.Fuzz(func(t *testing.T, said string) {
		asked := 0
		m.Models.Generate = func(abi.InferRequest) (string, abi.InferResult, error) { asked++; return said, abi.InferResult{}, nil }
		out, err := answer(m.Call(), AnswerIn{Question: "lease"})
		if err != nil && !errors.As(err, new(*abi.Error)) || asked > 2*(3+1) || out.Answer != "" && !strings.Contains(said, out.Answer) {
			t.Errorf("%q: asked %d times, %+v, %v", said, asked, out, err)
		}
	})
}
