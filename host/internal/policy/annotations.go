package policy

import (
	"errors"
	"fmt"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/cedar-policy/cedar-go/x/exp/ast"
)

// Bounds of what an annotation may say.
const (
	MinTTL         = time.Second
	MaxTTL         = 366 * 24 * time.Hour
	DefaultTTL     = 24 * time.Hour // of a permitted link whose policies name none
	MaxBudgetCalls = int64(1e15)
	MaxBudgetBytes = int64(1) << 50
	MaxHold        = 24 * time.Hour // that a use waits for a person
	MaxApprovals   = 16             // people who must agree
)

const (
	modeAsk   = "ask"
	modeAllow = "allow"
)

// obligations are the words of @obligation that this host can keep; the others it knows only well enough to refuse them.
const (
	obligeLog    = "log"
	obligeRedact = "redact"
	obligeReason = "reason_required"
	obligeLook   = "preview"
)

var (
	obligations = []string{obligeLog, obligeLook, obligeReason, obligeRedact}
	unkept      = map[string]string{
		"two_person": `say how many: @approvals("2")`,
	}
)

var (
	annotationNames = []string{"approvals", "args", "budget_bytes", "budget_calls", "budget_gas", "budget_tokens", "budget_usd", "hold", "id", "mode", "obligation", "reason", "ttl"}
	policyID        = regexp.MustCompile(`^[A-Za-z0-9][A-Za-z0-9._-]{0,127}$`)
)

// annotations reads a policy's annotations into its rule. Keys beginning with "x_" are the author's own.
func (l *loader) annotations(at excerpt, tree *ast.Policy, rule *Rule) {
	for _, a := range tree.Annotations {
		key, value := string(a.Key), string(a.Value)
		if strings.HasPrefix(key, "x_") {
			continue
		}
		if !slices.Contains(annotationNames, key) {
			l.add(at.file, at.find("@"+key), nearest(key, annotationNames)+" (a name of your own begins with x_)",
				"unknown annotation @%s", key)
			continue
		}
		if err := rule.annotate(key, value); err != nil {
			l.add(at.file, at.find("@"+key), "", "@%s(%q): %v", key, value, err)
		}
		if misplaced := rule.misplaced(key); misplaced != "" {
			l.add(at.file, at.find("@"+key), "", "@%s %s", key, misplaced)
		}
	}
	if needs := rule.people(); needs != "" && slices.Equal(rule.Actions, []string{ActionLink}) && rule.Mode != modeAsk {
		l.add(at.file, at.find(needs), `add @mode("ask")`, "%s on a link is about the people who are asked, and this policy asks nobody", needs)
	}
	l.identity(at, rule)
}

// annotate stores one annotation.
func (r *Rule) annotate(key, value string) (err error) {
	switch key {
	case "id":
		r.ID = value
		if !policyID.MatchString(value) {
			return errors.New("an id is at most 128 letters, digits, dots, dashes and underscores")
		}
	case "reason":
		r.Reason = value
		if value == "" || len(value) > 500 {
			return errors.New("a reason has 1 to 500 bytes")
		}
	case "mode":
		r.Mode = value
		if value != modeAsk && value != modeAllow {
			return errors.New(`the modes are "ask" and "allow"`)
		}
	case "ttl":
		r.TTL, err = ParseTTL(value)
	case "budget_calls":
		r.Budget.Calls, err = parseCalls(value)
	case "budget_bytes":
		r.Budget.Bytes, err = ParseBytes(value)
	case "budget_tokens":
		r.Budget.Tokens, err = parseCount(value, "tokens")
	case "budget_gas":
		r.Budget.Gas, err = parseCount(value, "gas")
	case "budget_usd":
		r.Budget.Money, err = ParseMoney(value)
	case "approvals":
		if r.Approvals, err = strconv.Atoi(value); err != nil || r.Approvals < 1 || r.Approvals > MaxApprovals {
			return fmt.Errorf("a number of people is a whole number from 1 to %d", MaxApprovals)
		}
	case "args":
		r.Args, err = parseArgs(value)
	case "hold":
		if r.Hold, err = ParseTTL(value); err == nil && r.Hold > MaxHold {
			err = errors.New("a person is waited for at most 24h")
		}
	case "obligation":
		for word := range strings.SplitSeq(value, ",") {
			if err := r.oblige(word); err != nil {
				return err
			}
		}
	}
	return err
}

// oblige notes one obligation. One that is not kept is none, so it is refused.
func (r *Rule) oblige(word string) error {
	why, known := unkept[word]
	switch {
	case word == obligeLog:
		r.Log = true
	case word == obligeRedact:
		r.Redact = true
	case word == obligeReason:
		r.NeedsReason = true
	case word == obligeLook:
		r.Preview = true
	case known:
		return errors.New(why)
	default:
		return errors.New("there is no such obligation: " + nearest(word, obligations))
	}
	if action := map[string]string{obligeRedact: ActionCall, obligeReason: ActionGrant, obligeLook: ActionLink}[word]; action != "" && (r.Effect != "permit" || !slices.Equal(r.Actions, []string{action})) {
		return fmt.Errorf("%s belongs on a permit whose action == Action::%q", word, action)
	}
	return nil
}

// people is the annotation by which a policy wants something of those who are asked; "" when none does.
func (r *Rule) people() string {
	switch {
	case r.Approvals > 1:
		return "@approvals"
	case r.Preview:
		return "@obligation"
	}
	return ""
}

// misplaced says why an annotation means nothing on this policy, "" when it does.
func (r *Rule) misplaced(key string) string {
	switch key {
	case "id", "reason", "obligation":
		return ""
	case "approvals":
		if r.Effect != "permit" || len(r.Actions) != 1 || !slices.Contains([]string{ActionGrant, ActionLink, ActionPromote}, r.Actions[0]) {
			return `belongs on a permit whose action == Action::"link", Action::"grant" or Action::"promote"`
		}
		return ""
	case "args":
		if !slices.Equal(r.Actions, []string{ActionCall}) {
			return `belongs on a policy whose action == Action::"call"`
		}
		return ""
	case "mode", "hold":
		if r.Effect != "permit" || !slices.Equal(r.Actions, []string{ActionLink}) {
			return `belongs on a permit whose action == Action::"link"`
		}
		return ""
	}
	if r.Effect != "permit" {
		return "belongs on a permit: a forbid gives nothing that could be bounded"
	}
	if (key == "budget_tokens" || key == "budget_usd") && slices.Contains(r.Actions, ActionInfer) {
		return ""
	}
	if !slices.Contains(r.Actions, ActionLink) && !slices.Contains(r.Actions, ActionGrant) {
		return `bounds a lease, and this policy speaks of neither Action::"link" nor Action::"grant"`
	}
	return ""
}

// identity checks that the rule has an id that nobody else has.
func (l *loader) identity(at excerpt, rule *Rule) {
	if rule.ID == "" {
		l.add(at.file, at.line, `put @id("local.what-it-does") in front of it`, "this policy has no @id")
		return
	}
	if twin, taken := l.set.byID[rule.ID]; taken {
		other := l.set.rules[twin]
		l.add(at.file, at.find("@id"), "a file adds policies and replaces none; choose another id",
			"the id %q is taken by %s:%d", rule.ID, other.File, other.Line)
		return
	}
	if strings.HasPrefix(rule.ID, "arw.") && !shipped(at.file) {
		l.add(at.file, at.find("@id"), fmt.Sprintf("for example %q", "local."+strings.TrimPrefix(rule.ID, "arw.")),
			"the id %q begins with \"arw.\", which is kept for the shipped policies", rule.ID)
	}
}

// ParseTTL reads a lifetime: a number of days ("7d") or a Go duration ("36h", "1h30m"), between MinTTL and MaxTTL.
func ParseTTL(s string) (time.Duration, error) {
	d, err := time.ParseDuration(s)
	if days, ok := strings.CutSuffix(s, "d"); ok {
		var n int
		n, err = strconv.Atoi(days)
		d = time.Duration(min(max(n, 0), 1000)) * 24 * time.Hour
	}
	if err != nil {
		return 0, errors.New(`a lifetime looks like "30m", "24h" or "7d"`)
	}
	if d < MinTTL || d > MaxTTL {
		return 0, errors.New("a lifetime lies between 1s and 366d")
	}
	return d, nil
}

func parseCalls(s string) (int64, error) { return parseCount(s, "calls") }

func parseCount(s, what string) (int64, error) {
	n, err := strconv.ParseInt(s, 10, 64)
	if err != nil || n < 1 || n > MaxBudgetCalls {
		return 0, fmt.Errorf("a number of %s is a whole number from 1 to %d", what, MaxBudgetCalls)
	}
	return n, nil
}

var money = regexp.MustCompile(`^([0-9]{1,9})(?:\.([0-9]{1,6}))?$`)

// ParseMoney reads an amount of US dollars, "12" or "0.50", as millionths of one: more than zero, below a thousand million dollars.
func ParseMoney(s string) (int64, error) {
	m := money.FindStringSubmatch(s)
	if m == nil {
		return 0, errors.New(`an amount of dollars looks like "12" or "0.50"`)
	}
	whole, _ := strconv.ParseInt(m[1], 10, 64)
	part, _ := strconv.ParseInt((m[2] + "000000")[:6], 10, 64)
	if whole == 0 && part == 0 {
		return 0, errors.New("an amount of dollars is more than zero")
	}
	return whole*1e6 + part, nil
}

// ParseBytes reads a size: a whole number, alone or with B, KiB, MiB, GiB or TiB, from 1 byte to MaxBudgetBytes.
func ParseBytes(s string) (int64, error) {
	wrong := errors.New(`a size looks like "4096", "64KiB", "16MiB" or "1GiB" and lies between 1B and 1024TiB`)
	digits := strings.TrimRight(s, "BKMGTi")
	shift, known := map[string]uint{"": 0, "B": 0, "KiB": 10, "MiB": 20, "GiB": 30, "TiB": 40}[s[len(digits):]]
	n, err := strconv.ParseInt(digits, 10, 64)
	if !known || err != nil || n < 1 || n > MaxBudgetBytes>>shift {
		return 0, wrong
	}
	return n << shift, nil
}
