package policy

import (
	"errors"
	"fmt"
	"math"
	"regexp"
	"slices"
	"strconv"
	"strings"

	cedar "github.com/cedar-policy/cedar-go"
	publicast "github.com/cedar-policy/cedar-go/ast"
	"github.com/cedar-policy/cedar-go/types"
	"github.com/cedar-policy/cedar-go/x/exp/schema"
	"github.com/cedar-policy/cedar-go/x/exp/schema/validate"
)

// MaxArgs is how many arguments one policy may declare.
const MaxArgs = 32

// Arg is one argument of a tool that a policy speaks of as context.args.NAME.
type Arg struct {
	Name     string `json:"name"`
	Type     string `json:"type"` // one of ArgTypes
	Optional bool   `json:"optional,omitempty"`
}

// ArgTypes are the types that an argument may be declared with.
var ArgTypes = []string{"Bool", "Long", "Set<String>", "String", "decimal"}

// argText reads one declaration: NAME: TYPE, or NAME?: TYPE for one that may be missing.
var argText = regexp.MustCompile(`^\s*([A-Za-z_][A-Za-z0-9_]{0,62})(\?)?\s*:\s*(\S+)\s*$`)

// parseArgs reads the value of @args.
func parseArgs(text string) ([]Arg, error) {
	var args []Arg
	for part := range strings.SplitSeq(text, ",") {
		m := argText.FindStringSubmatch(part)
		if m == nil {
			return nil, fmt.Errorf(`an argument is declared as "amount: Long" or, where it may be missing, "note?: String"`)
		}
		if !slices.Contains(ArgTypes, m[3]) {
			return nil, fmt.Errorf("there is no type %q: %s", m[3], nearest(m[3], ArgTypes))
		}
		if slices.ContainsFunc(args, func(a Arg) bool { return a.Name == m[1] }) {
			return nil, fmt.Errorf("the argument %q is declared twice", m[1])
		}
		if args = append(args, Arg{m[1], m[3], m[2] != ""}); len(args) > MaxArgs {
			return nil, fmt.Errorf("more than %d arguments", MaxArgs)
		}
	}
	return args, nil
}

// noArgs is the fact args in arw.cedarschema, which each policy with @args reads in its own form.
const noArgs = "args: {},"

// checker is the validator for a policy that declares arguments: the schema with their types.
func (l *loader) checker(args []Arg) *validate.Validator {
	if len(args) == 0 {
		return l.check
	}
	var b strings.Builder
	for _, a := range args {
		optional := map[bool]string{true: "?"}[a.Optional]
		fmt.Fprintf(&b, "%s%s: %s, ", strconv.Quote(a.Name), optional, a.Type)
	}
	var s schema.Schema
	if err := s.UnmarshalCedar([]byte(strings.Replace(schemaText, noArgs, "args: {"+b.String()+"},", 1))); err != nil {
		return l.check // which knows no argument, and so refuses the policy
	}
	shape, err := s.Resolve()
	if err != nil {
		return l.check
	}
	return validate.New(shape)
}

// headOf is a policy without its conditions, to ask whether it speaks about a request at all.
func headOf(p *cedar.Policy) *cedar.Policy {
	head := *tree(p)
	head.Conditions = nil
	return cedar.NewPolicyFromAST((*publicast.Policy)(&head))
}

// Args are the names of the arguments that policies of the set speak of, sorted; none: no decision needs any.
func (s *Set) Args() []string { return s.args }

// bind puts into a request the arguments that the policies whose heads admit it declare, each as the type that they say. What is missing,
// of another type, or declared with two types is an error: Cedar would take a comparison with a value of another type for false, so
// that a forbid would not hold.
func (s *Set) bind(q *question, given map[string]any) error {
	declared, args := map[string]entry{}, cedar.RecordMap{}
	for _, e := range s.shards[ActionCall] {
		if len(e.args) == 0 {
			continue
		}
		if _, why := cedar.Authorize(shard{{id: e.id, policy: e.head}}, q.entities, q.request); len(why.Reasons) == 0 {
			continue
		}
		rule := s.rules[s.byID[string(e.id)]]
		for _, a := range e.args {
			if other, taken := declared[a.Name]; taken && other.typeOf(a.Name) != a.Type {
				return fmt.Errorf("the policies %q and %q declare the argument %q with two types", other.id, e.id, a.Name)
			}
			declared[a.Name] = e
			v, ok := given[a.Name]
			if !ok && a.Optional {
				continue
			}
			if !ok {
				return fmt.Errorf("policy %q (%s:%d) wants the argument %q, which the call does not have or the tool's input schema does not name", e.id, rule.File, rule.Line, a.Name)
			}
			value, err := argument(a.Type, v)
			if err != nil {
				return fmt.Errorf("policy %q (%s:%d) wants the argument %q as %s: %w", e.id, rule.File, rule.Line, a.Name, a.Type, err)
			}
			args[cedar.String(a.Name)] = value
		}
	}
	if len(args) > 0 {
		facts := q.request.Context.Map()
		facts["args"] = cedar.NewRecord(args)
		q.request.Context = cedar.NewRecord(facts)
	}
	return nil
}

func (e entry) typeOf(arg string) string {
	for _, a := range e.args {
		if a.Name == arg {
			return a.Type
		}
	}
	return ""
}

// argument converts one JSON value. The error tells no value: what a tool is called with may be a secret.
func argument(typ string, v any) (cedar.Value, error) {
	switch v := v.(type) {
	case bool:
		if typ == "Bool" {
			return cedar.Boolean(v), nil
		}
	case string:
		if typ == "String" {
			return cedar.String(v), nil
		}
	case float64:
		if typ == "Long" && v == math.Trunc(v) && math.Abs(v) < 1<<53 {
			return cedar.Long(v), nil
		}
		if typ == "decimal" {
			if d, err := types.ParseDecimal(decimalText(v)); err == nil {
				return d, nil
			}
			return nil, errors.New("the call gives a number that is no decimal of four digits behind the point")
		}
	case []any:
		words := make([]string, len(v))
		for i, w := range v {
			word, ok := w.(string)
			if !ok {
				return nil, errors.New("the call gives a list that holds something else than text")
			}
			words[i] = word
		}
		if typ == "Set<String>" {
			return set(words), nil
		}
	}
	return nil, errors.New("the call gives something else")
}

// decimalText writes a number as Cedar reads decimals, with a point.
func decimalText(v float64) string {
	s := strconv.FormatFloat(v, 'f', -1, 64)
	if !strings.Contains(s, ".") {
		s += ".0"
	}
	return s
}
