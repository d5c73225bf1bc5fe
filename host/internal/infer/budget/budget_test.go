package budget_test

import (
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/arw-project/arw/abi"
	"github.com/arw-project/arw/host/internal/infer/budget"
)

const rules = `
[[budget]]
of = "pack"
window = "1h"
tokens = 100

[[budget]]
of = "project"
name = "small"
window = "24h"
usd_micros = 50

[[budget]]
of = "all"
window = "24h"
tokens = 1000
`

func book(t *testing.T, src string, now func() time.Time) *budget.Book {
	t.Helper()
	b, err := budget.Parse("budgets.toml", []byte(src), now)
	if err != nil {
		t.Fatal(err)
	}
	return b
}

func TestBudgetsAreRunningTotals(t *testing.T) {
	t.Parallel()
	at := time.Date(2026, 11, 26, 10, 30, 0, 0, time.UTC)
	b := book(t, rules, func() time.Time { return at })
	one, two := budget.Use{Pack: "a/one", Project: "big", Actor: "operator"}, budget.Use{Pack: "a/two", Project: "small"}
	if tokens, money, err := b.Left(one); tokens != 100 || money != 0 || err != nil {
		t.Errorf("left %d %d %v", tokens, money, err)
	}
	if err := b.Spend(one, 60, 0); err != nil {
		t.Fatal(err)
	}
	if err := b.Spend(one, 41, 0); abi.CodeOf(err) != abi.BudgetExhausted || !strings.Contains(err.Error(), `pack "a/one"`) {
		t.Errorf("beyond it: %v", err)
	}
	if err := b.Spend(one, 40, 0); err != nil {
		t.Errorf("what did not fit was counted: %v", err)
	}
	if _, _, err := b.Left(one); abi.CodeOf(err) != abi.BudgetExhausted {
		t.Errorf("spent: %v", err)
	}
	if err := b.Spend(two, 10, 51); abi.CodeOf(err) != abi.BudgetExhausted {
		t.Errorf("money: %v", err)
	}
	if tokens, money, err := b.Left(two); tokens != 100 || money != 50 || err != nil {
		t.Errorf("the other's: %d %d %v", tokens, money, err)
	}
	at = at.Add(time.Hour)
	if tokens, _, err := b.Left(one); tokens != 100 || err != nil {
		t.Errorf("the next hour: %d %v", tokens, err)
	}
	if err := b.Spend(one, 100, 0); err != nil {
		t.Error(err)
	}
	b.Count(two, at.Add(-25*time.Hour), 5000, 5000) // yesterday's
	b.Count(two, at, 799, 0)                        // it happened, above what the pack may
	if err := b.Spend(budget.Use{}, 2, 0); abi.CodeOf(err) != abi.BudgetExhausted || !strings.Contains(err.Error(), `all "all"`) {
		t.Errorf("everybody's: %v", err)
	}
	if l := b.List(); len(l) != 4 || l[0].Of != "all" || l[0].Tokens != 999 || !l[0].Resets.Equal(time.Date(2026, 11, 27, 0, 0, 0, 0, time.UTC)) {
		t.Errorf("%+v", l)
	}
	if got := b.Since(); !got.Equal(time.Date(2026, 11, 26, 0, 0, 0, 0, time.UTC)) {
		t.Errorf("since %v", got)
	}
}

func TestABudgetHoldsUnderContention(t *testing.T) {
	t.Parallel()
	b := book(t, rules, nil)
	var wg sync.WaitGroup
	var spent atomic.Int64
	for range 16 {
		wg.Go(func() {
			for range 100 {
				if b.Spend(budget.Use{Pack: "a/one"}, 1, 0) == nil {
					spent.Add(1)
				}
			}
		})
	}
	wg.Wait()
	if spent.Load() != 100 {
		t.Errorf("%d tokens of 100 were spent", spent.Load())
	}
}

func TestBudgetsAreChecked(t *testing.T) {
	t.Parallel()
	for _, src := range []string{
		"[[budget]]\nof = \"planet\"\nwindow = \"1h\"\ntokens = 1\n", "[[budget]]\nof = \"pack\"\nwindow = \"1s\"\ntokens = 1\n",
		"[[budget]]\nof = \"pack\"\nwindow = \"1h\"\n", "[[budget]]\nof = \"pack\"\nwindow = \"1h\"\ntokens = -1\n", "[[budget]]\nof = \"pack\"\nwindow = \"1h\"\ntoken = 1\n",
	} {
		if _, err := budget.Parse("budgets.toml", []byte(src), nil); abi.CodeOf(err) != abi.Invalid {
			t.Errorf("%q: %v", src, err)
		}
	}
}
