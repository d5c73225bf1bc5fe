package serve

import (
	"bytes"
	"cmp"
	"context"
	"encoding/json"
	"errors"

	"github.com/arw-project/arw/abi"
	"github.com/arw-project/arw/host/internal/infer"
	"github.com/arw-project/arw/host/internal/infer/lexical"
	"github.com/arw-project/arw/host/internal/infer/supervise"
)

// Ask is the input of an action: what the kind needs, and which model.
type Ask struct {
	Model string `json:"model,omitempty"`
	infer.Request
	Texts     []string `json:"texts,omitempty"`
	Query     string   `json:"query,omitempty"`
	Documents []string `json:"documents,omitempty"`
	Count     bool     `json:"count,omitempty"` // tokens: their number alone
	Text      string   `json:"text,omitempty"`  // to be shortened
	Sentences int      `json:"sentences,omitempty"`
}

// Check reads an input and says what is wrong with it, without a model.
func Check(kind string, input []byte) (*Ask, error) {
	var a Ask
	dec := json.NewDecoder(bytes.NewReader(input))
	dec.DisallowUnknownFields()
	if err := dec.Decode(&a); err != nil {
		return nil, abi.Errorf(abi.Invalid, "%s: %v", kind, err)
	}
	switch {
	case kind == Generate:
		return &a, a.Request.Check()
	case kind == Extract && (a.Text == "" || len(a.Text) > infer.MaxPrompt || a.Sentences < 0):
		return nil, abi.Errorf(abi.Invalid, `%s: "text" is 1 to %d bytes, "sentences" not negative`, kind, infer.MaxPrompt)
	}
	return &a, nil
}

// Call is one request. Kind, Input, Scope and May are needed.
type Call struct {
	Kind  string
	Input []byte
	// Scope keeps prompt caches apart.
	Scope string
	// May is asked before a model is started or shown: what one request may take of it, or why it is refused.
	May func(Model) (infer.Budget, error)
	// Remote gives the way to a model on somebody else's server; nil gives none.
	Remote func(ctx context.Context, m Model, p supervise.Profile) (infer.Model, error)
	// Began hears what answers, before any of the answer; nil hears nothing.
	Began func(infer.Engine)
	// Out takes parts of a generated text as they come; nil takes none.
	Out func(text string) error
	// Spend counts what is used as it is used: tokens in and out, and millionths of a USD. Its error ends the request in its
	// middle, and the part that was not covered is not given out. nil counts nothing.
	Spend func(tokens, money int64) error
}

// ErrRefused marks a request that may not be: what May answers with it counts as refused, not as failed.
var ErrRefused = errors.New("refused")

// Outcome is what a request came to. Body is the JSON answer. The rest is also known of a request that failed, as far as it
// came; usage that had to be counted here is Doubtful.
type Outcome struct {
	Body   []byte
	Model  Model // zero before one was found
	Engine infer.Engine
	Usage  infer.Usage
	Cost   int64 // millionths of a USD
}

// Run answers one request. Errors: those of May, NoModel, NotFound, DigestMismatch, Corrupt, those of the supervisor and of
// package infer.
func (s *Service) Run(ctx context.Context, c Call) (o Outcome, err error) {
	a, err := Check(c.Kind, c.Input)
	if err != nil {
		return o, err
	}
	if c.Kind != Models {
		defer func() { s.counted.add(&o, errors.Is(err, ErrRefused), err != nil) }()
	}
	if c.Kind == Models {
		o.Body, err = json.Marshal(map[string]any{"models": s.shown(c.May)})
		return o, err
	}
	if c.Kind == Extract { // it asks nobody
		short := lexical.Shorten(a.Text, a.Query, cmp.Or(a.Sentences, 3))
		o.Model, o.Engine = Model{Name: lexical.Extract}, short.Engine
		o.Body, err = json.Marshal(short)
		return o, err
	}
	if o.Model, err = s.Find(a.Model); err != nil {
		return o, err
	}
	if a.Budget, err = c.May(o.Model); err != nil {
		return o, err
	}
	a.Scope, a.Budget.Price = c.Scope, o.Model.Price()
	model, release, err := s.lend(ctx, o.Model, c.Remote)
	if err != nil {
		return o, err
	}
	defer release()
	o.Engine = model.Info().Engine
	o.Engine.Model = o.Model.Name
	if c.Began != nil {
		c.Began(o.Engine)
	}
	result, err := o.answer(ctx, model, c, a)
	o.Cost = a.Budget.Price.Of(o.Usage.Prompt, o.Usage.Output)
	if err != nil {
		return o, err
	}
	o.Body, err = json.Marshal(result)
	return o, err
}

// shown are the models that may be asked: the others are not even named.
func (s *Service) shown(may func(Model) (infer.Budget, error)) []Model {
	out := []Model{}
	for _, m := range s.List() {
		if _, err := may(m); err == nil {
			out = append(out, m)
		}
	}
	return out
}

func (o *Outcome) answer(ctx context.Context, m infer.Model, c Call, a *Ask) (any, error) {
	bill := &meter{spend: c.Spend, price: a.Budget.Price}
	switch c.Kind {
	case Generate:
		if err := bill.prompt(ctx, m, a); err != nil {
			return nil, err
		}
		return o.generate(ctx, m, c.Out, a, bill)
	case Embed:
		if err := o.covered(ctx, m, a, bill, a.Texts); err != nil {
			return nil, err
		}
		v, err := infer.Embed(ctx, m, a.Texts)
		v.Engine, o.Usage = o.Engine, v.Usage
		return &v, errors.Join(err, o.within(a.Budget), bill.see(v.Usage.Prompt, v.Usage.Output))
	case Rerank:
		pairs := make([]string, len(a.Documents))
		for i, d := range a.Documents {
			pairs[i] = a.Query + " " + d
		}
		if err := o.covered(ctx, m, a, bill, pairs); err != nil {
			return nil, err
		}
		v, err := infer.Rerank(ctx, m, a.Query, a.Documents)
		v.Engine, o.Usage = o.Engine, v.Usage
		return &v, errors.Join(err, o.within(a.Budget), bill.see(v.Usage.Prompt, v.Usage.Output))
	case Tokenize:
		tokens, err := infer.Tokenize(ctx, m, a.Prompt)
		got := infer.Tokens{Engine: o.Engine, Tokens: tokens, Count: len(tokens)}
		if a.Count {
			got.Tokens = nil
		}
		return &got, err
	}
	return nil, abi.Errorf(abi.NotFound, "%q is no kind of inference", c.Kind)
}

// covered refuses texts that the budget does not cover before they are read, and charges them. Of a model that cannot count, what they
// took is known afterwards alone, and the answer is refused then (within).
func (o *Outcome) covered(ctx context.Context, m infer.Model, a *Ask, bill *meter, texts []string) error {
	b := a.Budget
	if b.Tokens == 0 && b.Money == 0 {
		return nil
	}
	if !m.Info().Can.Tokenize {
		return nil
	}
	var total int64
	for _, text := range texts {
		if text == "" {
			continue // refused by name when it is asked
		}
		n, err := infer.Count(ctx, m, infer.Prompt{Text: text})
		if err != nil {
			return err
		}
		if total += int64(n); b.Tokens > 0 && total > b.Tokens {
			return abi.Errorf(abi.BudgetExhausted, "ask model %q: the texts have %d tokens and more, the budget of the call is %d", o.Model.Name, total, b.Tokens)
		}
	}
	if cost := b.Price.Of(total, 0); b.Money > 0 && cost > b.Money {
		return abi.Errorf(abi.BudgetExhausted, "ask model %q: it would cost %d millionths of a USD, the budget of the call is %d", o.Model.Name, cost, b.Money)
	}
	return bill.see(total, 0)
}

// generate counts what comes, so that an answer that breaks off is accounted for as well.
func (o *Outcome) generate(ctx context.Context, m infer.Model, out func(string) error, a *Ask, bill *meter) (any, error) {
	var failed error
	got, err := infer.Collect(o.Engine, func(yield func(infer.Part, error) bool) {
		for p, err := range infer.Generate(ctx, m, &a.Request) {
			switch {
			case err != nil:
				o.spent(err)
			case p.Usage != nil:
				o.Usage = *p.Usage
			case p.Text != "":
				o.Usage.Output, o.Usage.Doubtful = o.Usage.Output+1, true
			}
			if err == nil {
				if failed = bill.see(o.Usage.Prompt, o.Usage.Output); failed != nil {
					return
				}
			}
			if out != nil && err == nil && p.Text != "" {
				if failed = out(p.Text); failed != nil {
					return
				}
			}
			if !yield(p, err) {
				return
			}
		}
	})
	if failed != nil {
		return nil, failed
	}
	return &got, err
}

// meter charges what a request takes as it takes it.
type meter struct {
	spend         func(tokens, money int64) error
	price         infer.Price
	in, out       int64 // seen
	tokens, money int64 // charged
}

// prompt charges the prompt before anything is generated, where the runtime can count it.
func (m *meter) prompt(ctx context.Context, model infer.Model, a *Ask) error {
	if m.spend == nil || a.Budget.Tokens == 0 && a.Budget.Money == 0 || !model.Info().Can.Tokenize {
		return nil
	}
	if err := a.Request.Check(); err != nil {
		return err
	}
	n, err := infer.Count(ctx, model, a.Prompt)
	if err != nil {
		return err
	}
	return m.see(int64(n), 0)
}

// see charges what was not charged yet; what was charged too much, since a runtime counts less afterwards, stays charged.
func (m *meter) see(in, out int64) error {
	if m.spend == nil {
		return nil
	}
	m.in, m.out = max(m.in, in), max(m.out, out)
	tokens, money := m.in+m.out-m.tokens, m.price.Of(m.in, m.out)-m.money
	if tokens == 0 && money == 0 {
		return nil
	}
	if err := m.spend(tokens, money); err != nil {
		return err
	}
	m.tokens, m.money = m.tokens+tokens, m.money+money
	return nil
}

// spent reads what an exhausted budget was spent on.
func (o *Outcome) spent(err error) {
	if e, ok := errors.AsType[*abi.Error](err); ok {
		if u, ok := e.Detail.(*infer.Usage); ok {
			o.Usage = *u
		}
	}
}

// within refuses an answer that took more than it might; what it took is known afterwards alone.
func (o *Outcome) within(b infer.Budget) error {
	u := o.Usage
	if n := u.Prompt + u.Output; b.Tokens > 0 && n > b.Tokens {
		return abi.Errorf(abi.BudgetExhausted, "ask model %q: it took %d tokens, the budget of the call was %d", o.Model.Name, n, b.Tokens)
	}
	if cost := b.Price.Of(u.Prompt, u.Output); b.Money > 0 && cost > b.Money {
		return abi.Errorf(abi.BudgetExhausted, "ask model %q: it cost %d millionths of a USD, the budget of the call was %d", o.Model.Name, cost, b.Money)
	}
	return nil
}
