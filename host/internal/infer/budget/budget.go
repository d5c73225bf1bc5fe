// Package budget keeps one promise: what models cost a pack, a project, a person or everybody within a window of time does not
// exceed what the operator wrote down, not even by the token that comes next.
//
// Rules stand in budgets.toml. Windows are cut from the first second of 1970, so that a day is a day of UTC; totals are kept
// in memory and made again from the journal at a start, by whoever opens the Book. A Book is safe for concurrent use and does no
// I/O.
package budget

import (
	"fmt"
	"slices"
	"sync"
	"time"

	"github.com/arw-project/arw/abi"
	"github.com/arw-project/arw/manifests/strict"
)

// Whose a budget may be.
const (
	All     = "all"
	Pack    = "pack"
	Project = "project"
	Actor   = "actor" // "operator", "person:NAME", "agent:NAME"
	Model   = "model"
)

// Rule is one [[budget]]. With an empty Name everybody of the kind has one of their own.
type Rule struct {
	Of     string          `toml:"of,required" json:"of"`
	Name   string          `toml:"name" json:"name,omitempty"`
	Window strict.Duration `toml:"window,required" json:"-"`
	Tokens int64           `toml:"tokens" json:"tokens,omitempty"`         // in and out; 0: no bound
	Money  int64           `toml:"usd_micros" json:"usd_micros,omitempty"` // 0: no bound
}

// Use is who uses a model.
type Use struct{ Pack, Project, Actor, Model string }

func (u Use) name(of string) string {
	return map[string]string{All: "all", Pack: u.Pack, Project: u.Project, Actor: u.Actor, Model: u.Model}[of]
}

// total is what one name has used of one rule in a window.
type total struct {
	window        int64 // which
	tokens, money int64
}

// Book counts.
type Book struct {
	rules []Rule

	mu     sync.Mutex
	totals []map[string]total // by rule
	now    func() time.Time
}

// MaxWindow is the longest of a rule.
const MaxWindow = 31 * 24 * time.Hour

// Parse reads budgets.toml. The clock nil is the real one. The error is Invalid and names every problem with its line.
func Parse(name string, src []byte, now func() time.Time) (*Book, error) {
	var f struct {
		Budget []Rule `toml:"budget"`
	}
	lines, err := strict.Decode(name, src, &f)
	problems, _ := err.(strict.Problems)
	if err != nil && problems == nil {
		return nil, abi.Errorf(abi.Internal, "read budgets %q: %w", name, err)
	}
	for i, r := range f.Budget {
		if lines == nil {
			break
		}
		bad := func(field, format string, args ...any) {
			problems = append(problems, lines.Problem(fmt.Sprintf(format, args...), "", "budget", i, field))
		}
		if !slices.Contains([]string{All, Pack, Project, Actor, Model}, r.Of) {
			bad("of", "%.40q is not all, pack, project, actor or model", r.Of)
		}
		if d := time.Duration(r.Window); d < time.Minute || d > MaxWindow {
			bad("window", "a window is 1m to 744h")
		}
		if r.Tokens < 0 || r.Money < 0 || r.Tokens == 0 && r.Money == 0 {
			bad("tokens", "a budget bounds tokens or usd_micros, and neither is negative")
		}
	}
	if err := problems.Err(); err != nil {
		return nil, abi.Errorf(abi.Invalid, "read budgets:\n%w", err)
	}
	if now == nil {
		now = time.Now
	}
	b := &Book{rules: f.Budget, totals: make([]map[string]total, len(f.Budget)), now: now}
	for i := range b.totals {
		b.totals[i] = map[string]total{}
	}
	return b, nil
}

// Since is how far back uses matter; the zero time when there is no rule.
func (b *Book) Since() (t time.Time) {
	for _, r := range b.rules {
		if w := b.now().Truncate(time.Duration(r.Window)); t.IsZero() || w.Before(t) {
			t = w
		}
	}
	return t
}

func (r *Rule) window(at time.Time) int64 { return at.UnixNano() / int64(r.Window) }

// each calls do with every rule that a use counts against and its total; the caller holds mu.
func (b *Book) each(u Use, at time.Time, do func(r *Rule, name string, t total) (total, error)) error {
	for i := range b.rules {
		r := &b.rules[i]
		name := u.name(r.Of)
		if name == "" || r.Name != "" && r.Name != name || r.window(at) != r.window(b.now()) {
			continue // nobody's, somebody else's, or over
		}
		t := b.totals[i][name]
		if w := r.window(at); t.window != w {
			t = total{window: w}
		}
		t, err := do(r, name, t)
		if err != nil {
			return err
		}
		if len(b.totals[i]) >= 10_000 { // names that came and went
			for n, old := range b.totals[i] {
				if old.window != t.window {
					delete(b.totals[i], n)
				}
			}
		}
		b.totals[i][name] = t
	}
	return nil
}

func spent(r *Rule, name string, t total) error {
	over := r.Tokens > 0 && t.tokens >= r.Tokens || r.Money > 0 && t.money >= r.Money
	if !over {
		return nil
	}
	return exhausted(r, name)
}

func exhausted(r *Rule, name string) error {
	return abi.Errorf(abi.BudgetExhausted, "ask a model: the budget of %s %q for %v is spent", r.Of, name, time.Duration(r.Window)).
		WithHint("wait for the next window, or have the operator raise it in budgets.toml")
}

// Left is the least that is left of the budgets of a use; 0 is no bound. Errors: BudgetExhausted when one is spent.
func (b *Book) Left(u Use) (tokens, money int64, err error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	least := func(a, c int64) int64 {
		if a == 0 || c < a {
			return c
		}
		return a
	}
	err = b.each(u, b.now(), func(r *Rule, name string, t total) (total, error) {
		if err := spent(r, name, t); err != nil {
			return t, err
		}
		if r.Tokens > 0 {
			tokens = least(tokens, r.Tokens-t.tokens)
		}
		if r.Money > 0 {
			money = least(money, r.Money-t.money)
		}
		return t, nil
	})
	return tokens, money, err
}

// Spend counts a use against every budget of it, or, when one does not cover it, against none. Errors: BudgetExhausted.
func (b *Book) Spend(u Use, tokens, money int64) error {
	b.mu.Lock()
	defer b.mu.Unlock()
	at := b.now()
	err := b.each(u, at, func(r *Rule, name string, t total) (total, error) {
		if r.Tokens > 0 && t.tokens+tokens > r.Tokens || r.Money > 0 && t.money+money > r.Money {
			return t, exhausted(r, name)
		}
		return t, nil
	})
	if err == nil {
		b.add(u, at, tokens, money)
	}
	return err
}

// Count adds what was used at a time, whatever the budgets say: it happened.
func (b *Book) Count(u Use, at time.Time, tokens, money int64) {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.add(u, at, tokens, money)
}

func (b *Book) add(u Use, at time.Time, tokens, money int64) {
	_ = b.each(u, at, func(_ *Rule, _ string, t total) (total, error) { // the function never fails
		t.tokens, t.money = t.tokens+tokens, t.money+money
		return t, nil
	})
}

// Line is one budget and what is used of it.
type Line struct {
	Rule
	WindowMS int64     `json:"window_ms"`
	Whose    string    `json:"whose"`
	Tokens   int64     `json:"used_tokens"`
	Money    int64     `json:"used_usd_micros"`
	Resets   time.Time `json:"resets"`
}

// List is what is used of each budget in the present window.
func (b *Book) List() []Line {
	b.mu.Lock()
	defer b.mu.Unlock()
	out, now := []Line{}, b.now()
	for i := range b.rules {
		r := b.rules[i]
		w := r.window(now)
		resets := time.Unix(0, (w+1)*int64(r.Window)).UTC()
		for name, t := range b.totals[i] {
			if t.window == w {
				out = append(out, Line{r, time.Duration(r.Window).Milliseconds(), name, t.tokens, t.money, resets})
			}
		}
	}
	slices.SortFunc(out, func(a, b Line) int { return slices.Compare([]string{a.Of, a.Whose}, []string{b.Of, b.Whose}) })
	return out
}
