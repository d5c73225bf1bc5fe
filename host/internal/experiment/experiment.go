// Package experiment compares ways of doing one thing and says what can be said. Its promise: an experiment never touches
// the live configuration, every variant meets the same items with the same seeds, and a winner is named only where chance
// is no explanation; otherwise the answer is "no clear winner" or why there is none.
//
// The forms are docs/spec/experiment.md.
package experiment

import (
	"context"
	"encoding/json"
	"fmt"
	"math/rand/v2"
	"slices"
	"strings"
	"time"

	"github.com/arw-project/arw/abi"
	"github.com/arw-project/arw/host/internal/logic"
)

// Definition says what is compared.
type Definition struct {
	ID        string    `json:"id"`
	Title     string    `json:"title"`
	Tool      string    `json:"tool"` // called once for each item, seed and variant; it reads and changes nothing
	Project   string    `json:"project,omitempty"`
	Variants  []Variant `json:"variants"` // the first is what the others are compared with
	Items     []Item    `json:"items"`
	Rank      *Rank     `json:"rank,omitempty"`       // where the answer has its list, for metrics of rankings
	Metrics   []string  `json:"metrics"`              // names of Metrics
	Primary   string    `json:"primary"`              // the one that decides
	Seeds     []int64   `json:"seeds,omitempty"`      // each item is done with each; none is one
	SeedField string    `json:"seed_field,omitempty"` // member of the input that the seed is put into
	MinItems  int       `json:"min_items,omitempty"`  // fewer pairs decide nothing; 0 means 30
	Budget    Budget    `json:"budget,omitzero"`
	Models    []string  `json:"models,omitempty"` // that must be there
}

// Variant is the live configuration with units applied, as they would be to the project; none is the live one itself.
type Variant struct {
	Name  string      `json:"name"`
	Units []logic.Use `json:"units,omitempty"`
}

// Item is one input and what is known of the right answer.
type Item struct {
	ID     string             `json:"id"`
	Input  json.RawMessage    `json:"input"`
	Labels map[string]float64 `json:"labels,omitempty"` // grade by key, for rankings; what is not named has none
	Expect json.RawMessage    `json:"expect,omitempty"` // for exact: the whole answer
	Says   string             `json:"says,omitempty"`   // for contains: text that the answer holds
	Unsure *bool              `json:"unsure,omitempty"` // for abstains_rightly: whether the tool should abstain
}

// Rank says where an answer has its list, by JSON pointers: of the list, of an entry's key and of its text. A key stands
// for a label when it is that label or ends in a slash and that label.
type Rank struct {
	List string `json:"list"`
	Key  string `json:"key"`
	Text string `json:"text,omitempty"`
	Cut  string `json:"cut,omitempty"` // taken off a key's end, such as ".md"
}

// Budget ends an experiment before its time; 0 is the default behind it.
type Budget struct {
	Calls int    `json:"calls,omitempty"` // 10,000
	MS    int64  `json:"ms,omitempty"`    // 60,000; at most 600,000
	Gas   uint64 `json:"gas,omitempty"`   // unlimited
}

// Answer is what one call came to.
type Answer struct {
	Body json.RawMessage
	Code string // "ok", or of the failure
	MS   float64
	Gas  uint64
}

// Runner calls tools.
type Runner interface {
	// May refuses a tool that an experiment cannot call: one there is not, or one that changes anything.
	May(tool string) error
	// Call calls a tool once with other documents in the place of the live ones. A failure of the tool is an Answer; the
	// error is for what ends the experiment.
	Call(ctx context.Context, tool, project, by string, input json.RawMessage, docs map[string][]byte) (Answer, error)
}

// Bounds of a definition.
const (
	maxVariants = 8
	maxItems    = 5000
	maxSeeds    = 100
	maxMS       = 600_000
)

func (d *Definition) check() error {
	bad := func(format string, args ...any) error {
		return abi.Errorf(abi.Invalid, "read experiment %q: "+format, append([]any{d.ID}, args...)...)
	}
	if d.MinItems == 0 {
		d.MinItems = 30
	}
	if len(d.Seeds) == 0 {
		d.Seeds = []int64{0}
	}
	if d.Budget.Calls == 0 {
		d.Budget.Calls = 10_000
	}
	if d.Budget.MS == 0 {
		d.Budget.MS = 60_000
	}
	names := map[string]bool{}
	for _, v := range d.Variants {
		if v.Name == "" || names[v.Name] {
			return bad("each variant has a name of its own, %q is none", v.Name)
		}
		names[v.Name] = true
	}
	ids := map[string]bool{}
	for _, it := range d.Items {
		if it.ID == "" || ids[it.ID] || !json.Valid(it.Input) {
			return bad("each item has an id of its own and a JSON input; %q does not", it.ID)
		}
		ids[it.ID] = true
	}
	switch {
	case !idForm(d.ID):
		return bad("an id is 1 to 64 of a to z, 0 to 9, '-', '_' and '.'")
	case d.Tool == "":
		return bad("it names no tool")
	case len(d.Variants) < 2 || len(d.Variants) > maxVariants:
		return bad("it compares 2 to %d variants, not %d", maxVariants, len(d.Variants))
	case len(d.Items) == 0 || len(d.Items) > maxItems || len(d.Seeds) > maxSeeds:
		return bad("it has 1 to %d items and at most %d seeds", maxItems, maxSeeds)
	case d.MinItems < 5:
		return bad("fewer than 5 pairs decide nothing, min_items is %d", d.MinItems)
	case d.Budget.MS < 1 || d.Budget.MS > maxMS || d.Budget.Calls < 1:
		return bad("a budget has at least 1 call, and 1 to %d ms", maxMS)
	case !slices.Contains(d.Metrics, d.Primary):
		return bad("the primary metric %q is not among its metrics", d.Primary)
	case len(d.Seeds) > 1 && d.SeedField == "":
		return bad("several seeds need seed_field, else every call is the same")
	}
	for _, m := range d.Metrics {
		if _, err := metric(m); err != nil {
			return abi.Errorf(abi.Invalid, "read experiment %q: %w", d.ID, err).WithHint("%s", abi.HintOf(err))
		}
		if needsRank(m) && d.Rank == nil {
			return bad("the metric %q is of a ranking, and rank does not say where the answer has one", m)
		}
	}
	return nil
}

func idForm(s string) bool {
	return s != "" && len(s) <= 64 && strings.Trim(s, "abcdefghijklmnopqrstuvwxyz0123456789-_.") == ""
}

// row is one call and its measures, by metric.
type row struct {
	item    string
	seed    int64
	variant int
	code    string
	values  map[string]float64
}

// run makes the calls: item by item, the variants of each in an order drawn by a fixed seed, so that no variant is always
// the one that finds the caches warm. spent says which budget ended it early, "" when none did.
func (d *Definition) run(ctx context.Context, r Runner, by string, docs []map[string][]byte) (rows []row, spent string, err error) {
	ctx, stop := context.WithTimeoutCause(ctx, time.Duration(d.Budget.MS)*time.Millisecond, errSpent)
	defer stop()
	dice := rand.New(rand.NewPCG(1, 2))
	calls, gas := 0, uint64(0)
	for _, it := range d.Items {
		for _, seed := range d.Seeds {
			input, err := d.input(it, seed)
			if err != nil {
				return nil, "", err
			}
			switch {
			case calls+len(d.Variants) > d.Budget.Calls:
				return rows, fmt.Sprintf("the budget of %d calls", d.Budget.Calls), nil
			case d.Budget.Gas > 0 && gas >= d.Budget.Gas:
				return rows, fmt.Sprintf("the budget of %d gas", d.Budget.Gas), nil
			}
			pair := make([]row, len(d.Variants))
			for _, v := range dice.Perm(len(d.Variants)) {
				a, err := r.Call(ctx, d.Tool, d.Project, by, input, docs[v])
				if context.Cause(ctx) == errSpent {
					return rows, fmt.Sprintf("the budget of %d ms", d.Budget.MS), nil
				}
				if err != nil {
					return rows, "", err
				}
				calls++
				gas += a.Gas
				pair[v] = row{it.ID, seed, v, a.Code, d.measure(it, a)}
			}
			rows = append(rows, pair...)
		}
	}
	return rows, "", nil
}

var errSpent = fmt.Errorf("the experiment's time is over")

func (d *Definition) input(it Item, seed int64) (json.RawMessage, error) {
	if d.SeedField == "" {
		return it.Input, nil
	}
	var fields map[string]json.RawMessage
	if err := json.Unmarshal(it.Input, &fields); err != nil {
		return nil, abi.Errorf(abi.Invalid, "read item %q: a seed goes into an object: %w", it.ID, err)
	}
	fields[d.SeedField] = json.RawMessage(fmt.Sprint(seed))
	return json.Marshal(fields)
}
