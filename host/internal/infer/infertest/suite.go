package infertest

import (
	"context"
	"encoding/json"
	"errors"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/arw-project/arw/abi"
	"github.com/arw-project/arw/host/internal/infer"
)

// Run holds a model to what infer promises. What Info.Can denies must be refused with Unsupported, the rest must work. It
// judges plumbing, never quality: a model of random weights passes.
func Run(t *testing.T, m infer.Model) {
	info := m.Info()
	if info.Name == "" || info.Model == "" || info.Kind != infer.Neural {
		t.Errorf("the model does not say what it is: %+v", info)
	}
	for _, c := range []struct {
		name string
		can  bool
		run  func(*testing.T, infer.Model)
	}{
		{"Parts", info.Can.Generate, parts}, {"Bounds", info.Can.Generate, bounds}, {"Seed", info.Can.Generate, seed},
		{"Stop", info.Can.Generate, stop}, {"Chat", info.Can.Chat, chat}, {"Grammar", info.Can.Grammar, grammar},
		{"Schema", info.Can.Schema, schema}, {"Cancel", info.Can.Generate, cancel}, {"Budgets", info.Can.Generate, budgets},
		{"Overflow", info.Can.Generate && info.Context > 0, overflow}, {"AtOnce", info.Can.Generate, atOnce},
		{"Tokens", info.Can.Tokenize && info.Can.Generate, tokensMatch}, {"Embed", info.Can.Embed, embed}, {"Rerank", info.Can.Rerank, rerank},
	} {
		if c.can {
			t.Run(c.name, func(t *testing.T) { c.run(t, m) })
		}
	}
	t.Run("Unsupported", func(t *testing.T) { unsupported(t, m) })
	t.Run("BadRequests", func(t *testing.T) { badRequests(t, m) })
}

func text(n int) *infer.Request {
	zero, seed := 0.0, int64(7)
	return &infer.Request{Prompt: infer.Prompt{Text: "The quick brown fox"}, MaxTokens: n, Params: infer.Params{Seed: &seed, Temperature: &zero}}
}

func whole(t *testing.T, m infer.Model, r *infer.Request) infer.Answer {
	t.Helper()
	a, err := infer.Collect(m.Info().Engine, infer.Generate(t.Context(), m, r))
	if err != nil {
		t.Fatal(err)
	}
	return a
}

func refused(t *testing.T, m infer.Model, r *infer.Request, code abi.Code) error {
	t.Helper()
	_, err := infer.Collect(m.Info().Engine, infer.Generate(t.Context(), m, r))
	if abi.CodeOf(err) != code {
		t.Fatalf("error %v has code %v, want %v", err, abi.CodeOf(err), code)
	}
	return err
}

func parts(t *testing.T, m infer.Model) {
	n, last := 0, infer.Part{}
	for p, err := range infer.Generate(t.Context(), m, text(16)) {
		if err != nil {
			t.Fatal(err)
		}
		if last.Finish != "" {
			t.Fatal("a part behind the last")
		}
		if n++; p.Finish == "" && p.Usage != nil {
			t.Error("usage before the end")
		}
		last = p
	}
	if n < 3 {
		t.Errorf("the answer came in %d parts", n)
	}
	if last.Finish == "" || last.Usage == nil || last.Usage.Prompt < 2 || last.Usage.Output < 1 || last.Usage.Doubtful {
		t.Errorf("the last part is %+v with usage %+v", last, last.Usage)
	}
}

func bounds(t *testing.T, m infer.Model) {
	a := whole(t, m, text(5))
	if a.Finish == infer.Length && a.Usage.Output != 5 || a.Usage.Output > 5 {
		t.Errorf("%d tokens of 5, finished by %q", a.Usage.Output, a.Finish)
	}
}

func seed(t *testing.T, m infer.Model) {
	if a, b := whole(t, m, text(12)), whole(t, m, text(12)); a.Text != b.Text || a.Text == "" {
		t.Errorf("one seed gave %q and %q", a.Text, b.Text)
	}
}

func stop(t *testing.T, m infer.Model) {
	full := whole(t, m, text(24)).Text
	at := len(full) / 2
	for at < len(full)-3 && (full[at] >= 0x80 || full[at+2] >= 0x80 || full[at+1] >= 0x80) {
		at++
	}
	mark := strings.ToValidUTF8(full[at:at+3], "")
	if mark == "" {
		t.Skipf("nothing in %q can be a stop text", full)
	}
	r := text(24)
	r.Stop = []string{mark}
	a := whole(t, m, r)
	if a.Finish != infer.Stopped || strings.Contains(a.Text, mark) || !strings.HasPrefix(full, a.Text) {
		t.Errorf("with the stop text %q of %q came %q, finished by %q", mark, full, a.Text, a.Finish)
	}
}

func chat(t *testing.T, m infer.Model) {
	r := text(8)
	r.Prompt = infer.Prompt{Messages: []infer.Message{{Role: "system", Text: "Be short."}, {Role: "user", Text: "Hello there"}}}
	if a := whole(t, m, r); a.Usage.Output < 1 || a.Usage.Prompt < 4 {
		t.Errorf("a chat gave %+v", a)
	}
}

func grammar(t *testing.T, m infer.Model) {
	r := text(16)
	r.Grammar = `root ::= "yes" | "no"`
	if a := whole(t, m, r); a.Text != "yes" && a.Text != "no" {
		t.Errorf("outside the grammar: %q", a.Text)
	}
	r.MaxTokens, r.Grammar = 2, `root ::= "abcdefghijklmnopqrstuvwxyzabcdefghijklmnopqrstuvwxyz"`
	refused(t, m, r, abi.ToolFailed)
}

func schema(t *testing.T, m infer.Model) {
	for _, chat := range []bool{false, true} {
		r := text(64)
		if chat && m.Info().Can.Chat {
			r.Prompt = infer.Prompt{Messages: []infer.Message{{Role: "user", Text: "Which?"}}}
		}
		r.Schema = json.RawMessage(`{"enum":["red","blue"]}`)
		var colour string
		if a := whole(t, m, r); json.Unmarshal([]byte(a.Text), &colour) != nil || colour != "red" && colour != "blue" {
			t.Errorf("outside the schema: %q", a.Text)
		}
		r.MaxTokens, r.Schema = 4, json.RawMessage(`{"type":"string","minLength":200}`)
		err := refused(t, m, r, abi.ToolFailed)
		if e, ok := errors.AsType[*abi.Error](err); !ok || e.Detail == nil {
			t.Errorf("%v does not say that the answer was cut off", err)
		}
	}
}

// cancel leaves more streams than any runtime has slots, and asks once more.
func cancel(t *testing.T, m infer.Model) {
	for range max(4, 2*m.Info().Slots) {
		for _, err := range infer.Generate(t.Context(), m, text(100_000)) {
			if err != nil {
				t.Fatal(err)
			}
			break
		}
	}
	whole(t, m, text(4))
	ctx, end := context.WithCancel(t.Context())
	defer end()
	var err error
	for _, err = range infer.Generate(ctx, m, text(100_000)) {
		if err != nil {
			break
		}
		end()
	}
	// A runtime with a small context may end before it hears of it; it must not end otherwise.
	if err != nil && abi.CodeOf(err) != abi.Cancelled {
		t.Errorf("a cancelled answer ends with %v", err)
	}
}

func budgets(t *testing.T, m infer.Model) {
	r := text(1000)
	r.Budget = infer.Budget{Tokens: 3}
	if a, err := infer.Collect(m.Info().Engine, infer.Generate(t.Context(), m, r)); err == nil && a.Usage.Prompt+a.Usage.Output > 3 || err != nil && abi.CodeOf(err) != abi.BudgetExhausted {
		t.Errorf("beyond three tokens: %+v, %v", a.Usage, err)
	}
	r.Budget = infer.Budget{Time: time.Nanosecond}
	refused(t, m, r, abi.Deadline)
	r.Budget = infer.Budget{Money: 1, Price: infer.Price{In: 1_000_000, Out: 1_000_000}}
	refused(t, m, r, abi.BudgetExhausted)
}

func overflow(t *testing.T, m infer.Model) {
	r := text(4)
	r.Text = strings.Repeat("more words ", m.Info().Context)
	err := refused(t, m, r, abi.TooLarge)
	e, _ := errors.AsType[*abi.Error](err)
	if o, ok := e.Detail.(infer.Overflow); !ok || o.Context != m.Info().Context || o.Prompt <= o.Context {
		t.Errorf("%v has detail %+v", err, e.Detail)
	}
}

func atOnce(t *testing.T, m infer.Model) {
	var wg sync.WaitGroup
	for range 8 {
		wg.Go(func() {
			if a, err := infer.Collect(m.Info().Engine, infer.Generate(t.Context(), m, text(8))); err != nil || a.Usage.Output < 1 {
				t.Errorf("one of eight: %+v, %v", a, err)
			}
		})
	}
	wg.Wait()
}

func tokensMatch(t *testing.T, m infer.Model) {
	prompts := []infer.Prompt{{Text: "The quick brown fox"}, {Messages: []infer.Message{{Role: "user", Text: "Hello there"}}}}
	if !m.Info().Can.Chat {
		prompts = prompts[:1]
	}
	for _, p := range prompts {
		n, err := infer.Count(t.Context(), m, p)
		if err != nil {
			t.Fatal(err)
		}
		r := text(2)
		r.Prompt = p
		if a := whole(t, m, r); int64(n) != a.Usage.Prompt {
			t.Errorf("counted %d tokens, the runtime read %d", n, a.Usage.Prompt)
		}
	}
}

func embed(t *testing.T, m infer.Model) {
	texts := make([]string, 70) // more than one batch
	for i := range texts {
		texts[i] = "text number " + strings.Repeat("x ", i+1)
	}
	texts[69] = texts[0]
	v, err := infer.Embed(t.Context(), m, texts)
	if err != nil {
		t.Fatal(err)
	}
	if v.Engine != m.Info().Engine || len(v.Values[0]) != m.Info().Width {
		t.Errorf("vectors of %+v, %d wide", v.Engine, len(v.Values[0]))
	}
	if far(v.Values[0], v.Values[69]) > 1e-3 || far(v.Values[0], v.Values[1]) == 0 {
		t.Error("vectors do not belong to their texts")
	}
}

func far(a, b []float32) (d float64) {
	for i := range a {
		x := float64(a[i]) - float64(b[i])
		d += x * x
	}
	return d
}

func rerank(t *testing.T, m infer.Model) {
	docs := []string{"about rivers and stone", "about nothing", "about rivers and stone"}
	s, err := infer.Rerank(t.Context(), m, "rivers", docs)
	if err != nil {
		t.Fatal(err)
	}
	if d := s.Values[0] - s.Values[2]; d > 1e-3 || d < -1e-3 {
		t.Errorf("equal documents score %v and %v", s.Values[0], s.Values[2])
	}
}

func unsupported(t *testing.T, m infer.Model) {
	can := m.Info().Can
	check := func(can bool, err error) {
		t.Helper()
		if !can && abi.CodeOf(err) != abi.Unsupported {
			t.Errorf("error %v has code %v, want unsupported", err, abi.CodeOf(err))
		}
	}
	if !can.Generate {
		refused(t, m, text(1), abi.Unsupported)
	}
	if !can.Embed {
		_, err := infer.Embed(t.Context(), m, []string{"a"})
		check(can.Embed, err)
	}
	if !can.Rerank {
		_, err := infer.Rerank(t.Context(), m, "a", []string{"a"})
		check(can.Rerank, err)
	}
	if !can.Tokenize {
		_, err := infer.Tokenize(t.Context(), m, infer.Prompt{Text: "a"})
		check(can.Tokenize, err)
	}
	if can.Generate && !can.Grammar {
		r := text(1)
		r.Grammar = `root ::= "a"`
		refused(t, m, r, abi.Unsupported)
	}
}

func badRequests(t *testing.T, m infer.Model) {
	two := 2.5
	for name, r := range map[string]*infer.Request{
		"nothing":     {},
		"both":        {Prompt: infer.Prompt{Text: "a", Messages: []infer.Message{{Role: "user", Text: "a"}}}},
		"role":        {Prompt: infer.Prompt{Messages: []infer.Message{{Role: "root", Text: "a"}}}},
		"tokens":      {Prompt: infer.Prompt{Text: "a"}, MaxTokens: -1},
		"temperature": {Prompt: infer.Prompt{Text: "a"}, Params: infer.Params{Temperature: &two}},
		"two forms":   {Prompt: infer.Prompt{Text: "a"}, Form: infer.Form{Schema: json.RawMessage(`{}`), Grammar: "root"}},
		"schema":      {Prompt: infer.Prompt{Text: "a"}, Form: infer.Form{Schema: json.RawMessage(`[`)}},
		"utf8":        {Prompt: infer.Prompt{Text: "a\xff"}},
		"empty stop":  {Prompt: infer.Prompt{Text: "a"}, Params: infer.Params{Stop: []string{""}}},
	} {
		t.Run(name, func(t *testing.T) { refused(t, m, r, abi.Invalid) })
	}
}
