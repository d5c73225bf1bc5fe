package serve

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"

	"github.com/arw-project/arw/abi"
	"github.com/arw-project/arw/host/internal/infer"
)

// Ask is the input of an action: what the kind needs, and which model.
type Ask struct {
	Model string `json:"model,omitempty"`
	infer.Request
	Texts     []string `json:"texts,omitempty"`
	Query     string   `json:"query,omitempty"`
	Documents []string `json:"documents,omitempty"`
}

// Check reads an input and says what is wrong with it, without a model.
func Check(kind string, input []byte) (*Ask, error) {
	var a Ask
	dec := json.NewDecoder(bytes.NewReader(input))
	dec.DisallowUnknownFields()
	if err := dec.Decode(&a); err != nil {
		return nil, abi.Errorf(abi.Invalid, "%s: %v", kind, err)
	}
	if kind == Generate {
		return &a, a.Request.Check()
	}
	return &a, nil
}

// Call is one request. All of it but Out is needed.
type Call struct {
	Kind  string
	Input []byte
	// Scope keeps prompt caches apart.
	Scope string
	// May is asked before a model is started or shown: what one request may take of it, or why it is refused.
	May func(Model) (infer.Budget, error)
	// Out takes parts of a generated text as they come; nil takes none.
	Out func(text string) error
}

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
	if c.Kind == Models {
		o.Body, err = json.Marshal(map[string]any{"models": s.shown(c.May)})
		return o, err
	}
	if o.Model, err = s.find(a.Model); err != nil {
		return o, err
	}
	if a.Budget, err = c.May(o.Model); err != nil {
		return o, err
	}
	a.Scope, a.Budget.Price = c.Scope, o.Model.Price()
	model, release, err := s.lend(ctx, o.Model)
	if err != nil {
		return o, err
	}
	defer release()
	o.Engine = model.Info().Engine
	o.Engine.Model = o.Model.Name
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
	switch c.Kind {
	case Generate:
		return o.generate(ctx, m, c.Out, a)
	case Embed:
		v, err := infer.Embed(ctx, m, a.Texts)
		v.Engine, o.Usage = o.Engine, v.Usage
		return &v, errors.Join(err, o.within(a.Budget))
	case Rerank:
		v, err := infer.Rerank(ctx, m, a.Query, a.Documents)
		v.Engine, o.Usage = o.Engine, v.Usage
		return &v, errors.Join(err, o.within(a.Budget))
	case Tokenize:
		tokens, err := infer.Tokenize(ctx, m, a.Prompt)
		return map[string]any{"tokens": tokens, "count": len(tokens)}, err
	}
	return nil, abi.Errorf(abi.NotFound, "%q is no kind of inference", c.Kind)
}

// generate counts what comes, so that an answer that breaks off is accounted for as well.
func (o *Outcome) generate(ctx context.Context, m infer.Model, out func(string) error, a *Ask) (any, error) {
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
