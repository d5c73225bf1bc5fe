package main

import (
	"cmp"
	"time"

	"github.com/arw-project/arw/abi"
	"github.com/arw-project/arw/sdk/go/guest"
)

// The documents that say how an answer is made, beside those of a search.
const (
	samplingDoc  = "recipes/sampling"
	reasoningDoc = "recipes/reasoning"
	assemblyDoc  = "context/assembly"
)

// AnswerIn asks a question of a model that is shown passages.
type AnswerIn struct {
	Question string `json:"question"`
	K        int    `json:"k,omitempty"`     // passages a search shows the model
	Model    string `json:"model,omitempty"` // empty: the host's default
	Seed     int64  `json:"seed,omitempty"`  // sample i has seed + i; 0 is 1
	Project  string `json:"project,omitempty"`
}

// AnswerOut is what came of it. Answer is empty when it was kept back (Abstained).
type AnswerOut struct {
	Answer  string   `json:"answer"`
	Sources []string `json:"sources"` // pointers to the passages that the winning sample was shown
	Mode    string   `json:"mode"`
	Model   string   `json:"model,omitempty"` // that answered
	// Samples are the answers drawn, Votes what they come to, most first; Agreement is the winner's share of the samples.
	Samples   int     `json:"samples"`
	Votes     []Vote  `json:"votes"`
	Agreement float64 `json:"agreement"`
	Steps     []Step  `json:"steps"` // of the winning sample

	Confidence float64 `json:"confidence,omitempty"` // of the passages, see SearchOut
	Abstained  bool    `json:"abstained,omitempty"`
	Escalate   string  `json:"escalate,omitempty"`

	Tokens    int64  `json:"tokens"` // of all prompts and answers
	USDMicros int64  `json:"usd_micros"`
	MS        int64  `json:"ms"`
	Budget    string `json:"budget,omitempty"` // the bound that was reached: "soft" or "hard"
}

// sampling is recipes/sampling.
type sampling struct {
	Samples     int     `json:"samples"`
	Temperature float64 `json:"temperature"`
	Vote        string  `json:"vote"` // "majority", or "none": the first answer stands, so no other is drawn
	CostUSD     float64 `json:"cost_usd"`
}

// reasoning is recipes/reasoning.
type reasoning struct {
	Mode     string `json:"mode"` // direct, react or plan
	MaxSteps int    `json:"max_steps"`
	Reflect  bool   `json:"reflect"`
}

// assembly is context/assembly, as far as it concerns passages.
type assembly struct {
	Tokens     int            `json:"tokens"`
	ItemTokens int            `json:"item_tokens"`
	Format     string         `json:"format"`
	Provenance bool           `json:"provenance"`
	Slots      map[string]int `json:"slots"` // "passages": how many
}

// Bounds of an answer, since documents may ask for more than a call can do.
const (
	maxSamples   = 64
	maxSteps     = 100
	answerTokens = 512 // of one answer of the model
)

// work is an answer that is being made.
type work struct {
	c        *guest.Call
	in       AnswerIn
	how      reasoning
	draw     sampling
	show     assembly
	held     policies
	used     ledger
	model    string
	searched map[string]SearchOut // by query: the samples of one question ask again and again
}

// answer draws samples, each a line of thought of its own, and lets them vote. Without a model it is the host's
// no_model_configured: nothing is made up.
func answer(c *guest.Call, in AnswerIn) (AnswerOut, error) {
	w, err := newWork(c, in)
	if err != nil {
		return AnswerOut{}, err
	}
	out := AnswerOut{Sources: []string{}, Votes: []Vote{}, Steps: []Step{}, Mode: w.how.Mode}
	first, err := w.search(in.Question)
	if err != nil {
		return out, err
	}
	if w.how.Mode == "direct" && first.Abstained { // the other modes may find more
		out.Confidence, out.Abstained, out.Escalate = first.Confidence, true, first.Escalate
		return out, w.settle(&out)
	}
	var drawn []sample
	for i := range w.draw.Samples {
		s, err := w.think(w.in.Seed + int64(i))
		if err == nil {
			drawn = append(drawn, s)
			continue
		}
		if !w.over(err) || len(drawn) == 0 {
			return out, err
		}
		w.used.reached = "hard" // those that are there vote
		break
	}
	w.elect(&out, drawn)
	return out, w.settle(&out)
}

// newWork reads what governs the answer. A document that may not be read leaves the defaults of the host's own documents.
func newWork(c *guest.Call, in AnswerIn) (*work, error) {
	w := &work{c: c, how: reasoning{Mode: "direct", MaxSteps: 8}, draw: sampling{Samples: 1, Temperature: 0.2, Vote: "none"}, searched: map[string]SearchOut{}}
	w.show = assembly{Format: "bullets", Provenance: true}
	in.Seed = cmp.Or(in.Seed, 1)
	for name, into := range map[string]any{samplingDoc: &w.draw, reasoningDoc: &w.how, assemblyDoc: &w.show} {
		if err := optional(c.Config(name, into)); err != nil {
			return nil, err
		}
	}
	var err error
	if w.held, err = readPolicies(c); err != nil {
		return nil, err
	}
	w.draw.Samples = min(max(w.draw.Samples, 1), maxSamples)
	if w.draw.Vote != "majority" {
		w.draw.Samples = 1
	}
	w.how.MaxSteps = min(max(w.how.MaxSteps, 1), maxSteps)
	w.in, w.model = in, in.Model
	w.used, err = w.held.open(c, w.draw.CostUSD)
	return w, err
}

// optional is nil for what a missing document or lease answers.
func optional(err error) error {
	switch abi.CodeOf(err) {
	case abi.OK, abi.NotFound, abi.Denied, abi.LeaseExpired, abi.LeaseRevoked, abi.BudgetExhausted:
		return nil
	}
	return err
}

// search looks for passages as research.search does.
func (w *work) search(query string) (SearchOut, error) {
	if out, known := w.searched[query]; known {
		return out, nil
	}
	out, err := search(w.c, SearchIn{Query: query, K: cmp.Or(w.in.K, w.show.Slots["passages"]), Project: w.in.Project})
	if err == nil {
		w.searched[query] = out
	}
	return out, err
}

// settle tells what was used, and keeps an answer back whose passages, or whose samples, are not sure enough of it.
func (w *work) settle(out *AnswerOut) error {
	now, err := w.c.Now()
	if err != nil {
		return err
	}
	out.MS = now.Sub(w.used.began).Milliseconds()
	out.Tokens, out.USDMicros, out.Budget, out.Model = w.used.tokens, w.used.money, w.used.at(now), w.used.model
	if least := w.held.Threshold; !out.Abstained && (out.Answer == "" || least > 0 && min(out.Agreement, out.Confidence) < least) {
		out.Abstained, out.Answer, out.Escalate = true, "", w.held.Escalate
	}
	return nil
}

// ledger is what an answer has used, within its bounds: zero is none.
type ledger struct {
	began                    time.Time
	tokens, money            int64
	tokensSoft, tokensHard   int64
	msSoft, msHard, moneyMax int64
	reached                  string
	model                    string
}

// open starts the ledger of policies/budget. A recipe's own bound of cost narrows it.
func (p policies) open(c *guest.Call, cost float64) (l ledger, err error) {
	l = ledger{tokensSoft: int64(p.TokensSoft), tokensHard: int64(p.TokensHard), msSoft: p.MSSoft, msHard: p.MSHard}
	for _, usd := range []float64{p.CostUSD, cost} {
		if m := int64(usd * 1e6); usd > 0 && (l.moneyMax == 0 || m < l.moneyMax) {
			l.moneyMax = max(m, 1)
		}
	}
	l.began, err = c.Now()
	return l, err
}

// at is the bound that was reached by now.
func (l *ledger) at(now time.Time) string {
	soft := l.tokensSoft > 0 && l.tokens > l.tokensSoft || l.msSoft > 0 && now.Sub(l.began).Milliseconds() > l.msSoft
	if l.reached == "" && soft {
		return "soft"
	}
	return l.reached
}

// bound holds one request to what is left. BudgetExhausted when that is nothing.
func (l *ledger) bound(c *guest.Call, req *abi.InferRequest) error {
	now, err := c.Now()
	if err != nil {
		return err
	}
	for _, b := range []struct {
		most, used int64
		into       *int64
		what       string
	}{
		{l.tokensHard, l.tokens, &req.BudgetTokens, "tokens"},
		{l.moneyMax, l.money, &req.BudgetUSDMicros, "millionths of a US dollar"},
		{l.msHard, now.Sub(l.began).Milliseconds(), &req.TimeoutMS, "milliseconds"},
	} {
		if b.most == 0 {
			continue
		}
		if *b.into = b.most - b.used; *b.into <= 0 {
			l.reached = "hard"
			return guest.Errorf(abi.BudgetExhausted, "answer: %d %s of %d are used", b.used, b.what, b.most)
		}
	}
	return nil
}

// over reports whether an error is a bound's: of this pack's documents, or the host's own of the lease or the request.
func (w *work) over(err error) bool {
	code := abi.CodeOf(err)
	return code == abi.BudgetExhausted || code == abi.Deadline
}
