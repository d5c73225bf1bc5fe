package serve

import (
	"context"
	"errors"
	"iter"
	"strings"
	"testing"

	"github.com/arw-project/arw/abi"
	"github.com/arw-project/arw/host/internal/infer"
)

// counting is a model whose tokens are words; it notes what it was made to read.
type counting struct {
	tokenize bool
	read     int
}

func (c *counting) Info() infer.Info {
	return infer.Info{Engine: infer.Engine{Name: "test", Kind: infer.Neural}, Can: infer.Can{Embed: true, Rerank: true, Tokenize: c.tokenize}}
}

func (c *counting) Generate(context.Context, *infer.Request) iter.Seq2[infer.Part, error] { return nil }

func (c *counting) Tokenize(_ context.Context, p infer.Prompt) ([]int32, error) {
	return make([]int32, len(strings.Fields(p.Text))), nil
}

func (c *counting) Embed(_ context.Context, texts []string) (v infer.Vectors, err error) {
	for _, t := range texts {
		c.read++
		v.Values = append(v.Values, []float32{1})
		v.Usage.Prompt += int64(len(strings.Fields(t)))
	}
	return v, nil
}

func (c *counting) Rerank(_ context.Context, q string, docs []string) (s infer.Scores, err error) {
	for _, d := range docs {
		c.read++
		s.Values = append(s.Values, 1)
		s.Usage.Prompt += int64(len(strings.Fields(q + " " + d)))
	}
	return s, nil
}

// What a budget does not cover is refused before a model reads it; what it covers is charged once, by what was counted.
func TestABudgetIsHeldBeforeTextsAreRead(t *testing.T) {
	short := errors.New("the account is short")
	for _, c := range []struct {
		name, kind, input string
		tokenize          bool
		budget            infer.Budget
		account           int64 // tokens that the account has
		read              int
		spent             int64
		fails             bool
	}{
		{"embed within", Embed, `{"texts":["a b","c"]}`, true, infer.Budget{Tokens: 3}, 100, 2, 3, false},
		{"embed beyond", Embed, `{"texts":["a b","c d"]}`, true, infer.Budget{Tokens: 3}, 100, 0, 0, true},
		{"embed beyond the account", Embed, `{"texts":["a b","c"]}`, true, infer.Budget{Tokens: 9}, 2, 0, 0, true},
		{"rerank within", Rerank, `{"query":"q","documents":["a","b"]}`, true, infer.Budget{Tokens: 4}, 100, 2, 4, false},
		{"rerank beyond", Rerank, `{"query":"q","documents":["a","b"]}`, true, infer.Budget{Tokens: 3}, 100, 0, 0, true},
		{"beyond in money", Embed, `{"texts":["a b"]}`, true, infer.Budget{Money: 1, Price: infer.Price{In: 1_000_000}}, 100, 0, 0, true},
		{"nobody can count before", Embed, `{"texts":["a b","c d"]}`, false, infer.Budget{Tokens: 3}, 100, 2, 4, true},
		{"no budget", Embed, `{"texts":["a b","c d"]}`, true, infer.Budget{}, 100, 2, 4, false},
	} {
		t.Run(c.name, func(t *testing.T) {
			m := &counting{tokenize: c.tokenize}
			ask, err := Check(c.kind, []byte(c.input))
			if err != nil {
				t.Fatal(err)
			}
			ask.Budget = c.budget
			var spent int64
			var o Outcome
			_, err = o.answer(t.Context(), m, Call{Kind: c.kind, Spend: func(tokens, _ int64) error {
				if spent+tokens > c.account {
					return short
				}
				spent += tokens
				return nil
			}}, ask)
			if (err != nil) != c.fails || m.read != c.read || spent != c.spent {
				t.Fatalf("read %d texts and spent %d tokens, want %d and %d; %v", m.read, spent, c.read, c.spent, err)
			}
			if err != nil && !errors.Is(err, short) && abi.CodeOf(err) != abi.BudgetExhausted {
				t.Fatal(err)
			}
		})
	}
}
