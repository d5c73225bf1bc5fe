package quota

import (
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"regexp"
	"slices"
	"strings"
	"time"

	"github.com/arw-project/arw/abi"
	"github.com/arw-project/arw/host/internal/policy"
	"github.com/arw-project/arw/manifests/strict"
)

// File is the name of the file of quotas in the state directory.
const File = "quotas.toml"

// Bounds of a rule.
const (
	MaxRules  = 256
	MinWindow = time.Second
	MaxWindow = 366 * 24 * time.Hour
)

// Rule is one quota: per subject, in each window, at most Limit of what it is on.
type Rule struct {
	ID     string        `json:"id"`
	On     string        `json:"on"`  // Call, or a capability
	Per    string        `json:"per"` // pack, person, project, publisher, host
	Of     string        `json:"of"`  // which of these; * stands for any run of characters
	Window time.Duration `json:"window"`
	Limit  Amount        `json:"limit"`
	Near   int           `json:"near"` // percent of a side at which it is told
	Reason string        `json:"reason"`
}

// Rules are those of a file. The zero value has none. It never changes.
type Rules struct {
	list   []Rule
	digest string
}

// Digest names the file they were read from; empty for the zero value.
func (r *Rules) Digest() string {
	if r == nil {
		return ""
	}
	return r.digest
}

func (r *Rules) find(id string) *Rule {
	if i := slices.IndexFunc(r.list, func(q Rule) bool { return q.ID == id }); i >= 0 {
		return &r.list[i]
	}
	return nil
}

type rawRules struct {
	Schema int       `toml:"schema,required"`
	Quotas []rawRule `toml:"quota"`
}

type rawRule struct {
	ID     string `toml:"id,required"`
	On     string `toml:"on,required"`
	Per    string `toml:"per,required"`
	Of     string `toml:"of"`
	Window string `toml:"window,required"`
	Calls  int64  `toml:"calls"`
	Bytes  string `toml:"bytes"`
	Tokens int64  `toml:"tokens"`
	Gas    int64  `toml:"gas"`
	USD    string `toml:"usd"`
	Near   *int   `toml:"near"`
	Reason string `toml:"reason,required"`
}

var ruleID = regexp.MustCompile(`^[a-z0-9][a-z0-9._-]{0,62}$`)

// Pers are the accounts a rule may keep.
var Pers = []string{"pack", "person", "project", "publisher", "host"}

// measured says which sides the host can count for what a rule is on.
func measured(on string) []string {
	switch on {
	case Call:
		return []string{"calls", "bytes", "gas"}
	case "infer":
		return []string{"calls", "tokens", "usd"}
	}
	if slices.ContainsFunc(abi.Functions, func(f abi.Func) bool { return string(f.Capability) == on && !f.Capability.Ambient() }) {
		return []string{"calls", "bytes"}
	}
	return nil
}

// Parse reads quotas.toml. Nothing in it may be unknown, mistyped or out of bounds, and no side may stand there that is not counted: a
// bound that does not hold is worse than none. The error is an *abi.Error with code Invalid that holds every problem with its line.
func Parse(file string, src []byte) (*Rules, error) {
	var raw rawRules
	lines, err := strict.Decode(file, src, &raw)
	problems, ok := err.(strict.Problems)
	if err != nil && !ok {
		return nil, abi.Errorf(abi.Internal, "read quotas %q: %w", file, err)
	}
	if err == nil && raw.Schema != 1 {
		problems = append(problems, lines.Problem(fmt.Sprintf("this host reads schema 1, not %d", raw.Schema), "", "schema"))
	}
	if len(raw.Quotas) > MaxRules && lines != nil {
		problems = append(problems, lines.Problem(fmt.Sprintf("at most %d quotas, found %d", MaxRules, len(raw.Quotas)), "", "quota", MaxRules))
	}
	sum := sha256.Sum256(src)
	out := &Rules{digest: "sha256:" + hex.EncodeToString(sum[:])}
	for i, r := range raw.Quotas {
		rule, key, wrong := r.rule()
		if wrong == "" && out.find(rule.ID) != nil {
			key, wrong = "id", fmt.Sprintf("the id %q stands here twice", rule.ID)
		}
		if wrong != "" && lines != nil {
			problems = append(problems, lines.Problem(wrong, "", "quota", i, key))
		}
		out.list = append(out.list, rule)
	}
	if len(problems) > 0 {
		return nil, abi.Errorf(abi.Invalid, "read quotas: %w", problems).WithDetail(problems).
			WithHint("mend the named lines; until then nothing of the file holds")
	}
	return out, nil
}

// rule checks one rule; wrong says what is not right with which key.
func (r *rawRule) rule() (out Rule, key, wrong string) {
	out = Rule{ID: r.ID, On: r.On, Per: r.Per, Of: r.Of, Near: 80, Reason: r.Reason, Limit: Amount{Calls: r.Calls, Tokens: r.Tokens, Gas: r.Gas}}
	if out.Of == "" {
		out.Of = "*"
	}
	if r.Near != nil {
		out.Near = *r.Near
	}
	can := measured(r.On)
	switch {
	case !ruleID.MatchString(r.ID):
		return out, "id", "an id is 1 to 63 of a-z 0-9 . _ -, not beginning with a mark"
	case can == nil:
		return out, "on", fmt.Sprintf("on is \"call\", \"infer\" or a capability such as \"http\", not %q", r.On)
	case !slices.Contains(Pers, r.Per):
		return out, "per", fmt.Sprintf("per is one of %s, not %q", strings.Join(Pers, ", "), r.Per)
	case len(r.Of) > 256 || strings.Count(r.Of, "*") > 8:
		return out, "of", "of has at most 256 bytes and 8 stars"
	case out.Near < 1 || out.Near > 100:
		return out, "near", "near is a percentage of 1 to 100"
	case strings.TrimSpace(r.Reason) == "" || len(r.Reason) > 500:
		return out, "reason", "reason says in 1 to 500 bytes why, for whoever is refused"
	}
	var err error
	if out.Window, err = policy.ParseTTL(r.Window); err != nil {
		return out, "window", `a window looks like "1m", "24h" or "7d" and lies between 1s and 366d`
	}
	if r.Bytes != "" {
		if out.Limit.Bytes, err = policy.ParseBytes(r.Bytes); err != nil {
			return out, "bytes", err.Error()
		}
	}
	if r.USD != "" {
		if out.Limit.Money, err = policy.ParseMoney(r.USD); err != nil {
			return out, "usd", err.Error()
		}
	}
	return r.sides(out, can)
}

// sides checks that there is a bound, and none that nobody counts.
func (r *rawRule) sides(out Rule, can []string) (Rule, string, string) {
	given := false
	for _, side := range []struct {
		key string
		n   int64
	}{{"calls", r.Calls}, {"bytes", out.Limit.Bytes}, {"tokens", r.Tokens}, {"gas", r.Gas}, {"usd", out.Limit.Money}} {
		switch {
		case side.n == 0:
		case side.n < 0 || side.n > policy.MaxBudgetCalls && side.key != "bytes" && side.key != "usd":
			return out, side.key, fmt.Sprintf("%s is a whole number from 1 to %d", side.key, policy.MaxBudgetCalls)
		case !slices.Contains(can, side.key):
			return out, side.key, fmt.Sprintf("%s are not counted for %q; counted are %s", side.key, r.On, strings.Join(can, ", "))
		default:
			given = true
		}
	}
	if !given {
		return out, "id", "a quota bounds at least one of " + strings.Join(can, ", ")
	}
	return out, "", ""
}
