package host

import (
	"context"
	"encoding/json"
	"errors"
	"io/fs"
	"os"
	"path/filepath"

	"github.com/arw-project/arw/abi"
	"github.com/arw-project/arw/host/api"
	"github.com/arw-project/arw/host/internal/infer"
	"github.com/arw-project/arw/host/internal/infer/budget"
	"github.com/arw-project/arw/host/internal/infer/serve"
	"github.com/arw-project/arw/host/internal/journal"
)

// openBudgets reads budgets.toml and, when it has rules, makes their totals from the journal, so that a restart resets none.
func (h *Host) openBudgets(ctx context.Context) (*budget.Book, error) {
	name := filepath.Join(h.cfg.StateDir, "budgets.toml")
	src, err := os.ReadFile(name)
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return nil, abi.Errorf(abi.Unavailable, "read budgets: %w", err)
	}
	b, err := budget.Parse(name, src, nil)
	if err != nil || b.Since().IsZero() {
		return b, err
	}
	const page = 1000
	for after := int64(0); ; {
		rs, err := h.parts.Journal.Read(ctx, after, page, journal.Filter{Prefixes: []string{"infer."}, Since: b.Since()})
		if err != nil {
			return nil, err
		}
		for i := range rs {
			var told api.InferEvent
			if after = rs[i].ID; json.Unmarshal(rs[i].Body, &told) == nil {
				b.Count(budget.Use{Pack: rs[i].Pack, Project: rs[i].Project, Actor: rs[i].Actor, Model: told.Model}, rs[i].Time, told.Prompt+told.Output, told.Money)
			}
		}
		if len(rs) < page {
			return b, nil
		}
	}
}

func useOf(by journal.Event, model string) budget.Use {
	return budget.Use{Pack: by.Pack, Project: by.Project, Actor: by.Actor, Model: model}
}

// hold holds a request to the budgets: what is left bounds it before it begins, and each token is counted as it comes.
func (i inference) hold(by journal.Event, c *serve.Call) {
	if i.budgets == nil || i.budgets.Since().IsZero() || c.Kind == serve.Models {
		return
	}
	use, may, spend := useOf(by, ""), c.May, c.Spend
	c.May = func(m serve.Model) (infer.Budget, error) {
		b, err := may(m)
		if err != nil {
			return b, err
		}
		use.Model = m.Name
		tokens, money, err := i.budgets.Left(use)
		if tokens > 0 && (b.Tokens == 0 || tokens < b.Tokens) {
			b.Tokens = tokens
		}
		if money > 0 && (b.Money == 0 || money < b.Money) {
			b.Money = money
		}
		return b, err
	}
	c.Spend = func(tokens, money int64) error {
		if err := i.budgets.Spend(use, tokens, money); err != nil || spend == nil {
			return err
		}
		return spend(tokens, money)
	}
}
