package policy

import (
	"bytes"
	"cmp"
	"errors"
	"fmt"
	"slices"
	"strings"

	"github.com/arw-project/arw/abi"
	cedar "github.com/cedar-policy/cedar-go"
	"github.com/cedar-policy/cedar-go/x/exp/ast"
	"github.com/cedar-policy/cedar-go/x/exp/schema"
	"github.com/cedar-policy/cedar-go/x/exp/schema/resolved"
	"github.com/cedar-policy/cedar-go/x/exp/schema/validate"
)

// Bounds of one source. The nesting bound keeps the parser's recursion far from the end of the stack.
const (
	MaxSource  = 256 << 10
	MaxNesting = 64
)

// Problem is one complaint about a policy file.
type Problem struct {
	File string `json:"file"`
	Line int    `json:"line"`
	Msg  string `json:"msg"`
	Hint string `json:"hint,omitempty"`
}

// String is "file:line: message; hint".
func (p Problem) String() string {
	s := fmt.Sprintf("%s:%d: %s", p.File, p.Line, p.Msg)
	if p.Hint != "" {
		s += "; " + p.Hint
	}
	return s
}

// Load makes a set of the default policies and the given files, in the order of their names. A file adds; it cannot
// replace a policy or undo a forbid. Every problem of every file is collected into one *abi.Error with code Invalid
// whose Detail is the []Problem. The texts are kept: do not change them afterwards.
func Load(files []Source) (*Set, error) {
	user := slices.Clone(files)
	slices.SortStableFunc(user, func(a, b Source) int { return cmp.Compare(a.Name, b.Name) })
	l, err := newLoader(append([]Source{Default()}, user...))
	if err != nil {
		return nil, err
	}
	for i, src := range l.set.sources {
		l.source(i, src)
	}
	if len(l.problems) > 0 {
		return nil, l.err()
	}
	slices.Sort(l.set.args)
	l.set.args = slices.Compact(l.set.args)
	l.set.digest = digestOf(l.set.sources)
	return l.set, nil
}

type loader struct {
	set      *Set
	words    vocabulary
	check    *validate.Validator
	problems []Problem
}

func newLoader(sources []Source) (*loader, error) {
	shape, err := resolveSchema()
	if err != nil {
		return nil, err
	}
	words := newVocabulary(shape)
	set := &Set{sources: sources, byID: map[string]int{}, shards: map[string]shard{}, capabilities: words.enums["Capability"]}
	return &loader{set: set, words: words, check: validate.New(shape)}, nil
}

func resolveSchema() (*resolved.Schema, error) {
	var s schema.Schema
	s.SetFilename("arw.cedarschema")
	if err := s.UnmarshalCedar([]byte(schemaText)); err != nil {
		return nil, abi.Errorf(abi.Internal, "load policies: the schema: %w", err)
	}
	shape, err := s.Resolve()
	if err != nil {
		return nil, abi.Errorf(abi.Internal, "load policies: the schema: %w", err)
	}
	return shape, nil
}

// err is all problems as one error.
func (l *loader) err() error {
	lines := make([]string, len(l.problems))
	for i, p := range l.problems {
		lines[i] = p.String()
	}
	return abi.Errorf(abi.Invalid, "load policies: %s", strings.Join(lines, "\n")).
		WithHint("mend the named lines; the host does not start with a broken policy file").
		WithDetail(l.problems)
}

func (l *loader) add(file string, line int, hint, format string, args ...any) {
	l.problems = append(l.problems, Problem{File: file, Line: line, Msg: fmt.Sprintf(format, args...), Hint: hint})
}

// source parses and checks one file and adds its policies to the set.
func (l *loader) source(i int, src Source) {
	if i > 0 {
		if twin := slices.IndexFunc(l.set.sources[:i], func(s Source) bool { return s.Name == src.Name }); twin >= 0 {
			l.add(src.Name, 1, "", "two policy files have this name")
			return
		}
	}
	if line, msg := tooBig(src.Text); msg != "" {
		l.add(src.Name, line, "", "%s", msg)
		return
	}
	list, err := cedar.NewPolicyListFromBytes(src.Name, src.Text)
	if err != nil {
		line, msg := parseProblem(src.Text, err)
		l.add(src.Name, line, "", "%s", msg)
		return
	}
	for n, p := range list {
		end := len(src.Text)
		if n+1 < len(list) {
			end = list[n+1].Position().Offset
		}
		start := p.Position()
		l.policy(excerpt{src.Name, start.Line, string(src.Text[start.Offset:end])}, p)
	}
}

// policy checks one policy and adds it, unless it has a problem.
func (l *loader) policy(at excerpt, p *cedar.Policy) {
	before := len(l.problems)
	tree := tree(p)
	rule := Rule{Effect: "forbid", File: at.file, Line: at.line, Actions: l.actionsOf(tree)}
	if p.Effect() == cedar.Permit {
		rule.Effect = "permit"
	}
	l.annotations(at, tree, &rule)
	l.names(at, tree)
	if err := l.checker(rule.Args).Policy("", tree); err != nil {
		l.schemaProblems(at, err)
	}
	if len(l.problems) > before {
		return
	}
	l.take(p, rule)
}

// take adds a policy to the set, in front of the actions it can speak about.
func (l *loader) take(p *cedar.Policy, rule Rule) {
	l.set.byID[rule.ID] = len(l.set.rules)
	l.set.rules = append(l.set.rules, rule)
	e := entry{id: cedar.PolicyID(rule.ID), policy: p, args: rule.Args}
	for _, a := range rule.Args {
		e.head = headOf(p)
		l.set.args = append(l.set.args, a.Name)
	}
	for _, action := range rule.Actions {
		l.set.shards[action] = append(l.set.shards[action], e)
	}
}

func tree(p *cedar.Policy) *ast.Policy { return (*ast.Policy)(p.AST()) }

// actionsOf lists the actions a policy's head lets it speak about, so that a decision evaluates only policies that
// could match it. A head whose shape is not known here, or that names a group, counts for all.
func (l *loader) actionsOf(tree *ast.Policy) []string {
	var named []string
	switch head := tree.Action.(type) {
	case ast.ScopeTypeEq:
		named = []string{string(head.Entity.ID)}
	case ast.ScopeTypeInSet:
		for _, uid := range head.Entities {
			named = append(named, string(uid.ID))
		}
	default:
		return l.words.actions
	}
	if slices.ContainsFunc(named, func(a string) bool { return l.words.groups[a] }) {
		return l.words.actions // what lies in a group, Cedar knows
	}
	return slices.DeleteFunc(slices.Clone(l.words.actions), func(a string) bool { return !slices.Contains(named, a) })
}

// names refuses entity literals that the schema's enumerations do not hold; Cedar's own validator lets them pass, and a
// forbid on a misspelt capability would never match.
func (l *loader) names(at excerpt, tree *ast.Policy) {
	look := func(uid cedar.EntityUID) {
		values, isEnum := l.words.enums[string(uid.Type)]
		if !isEnum || slices.Contains(values, string(uid.ID)) {
			return
		}
		lit := uid.String()
		l.add(at.file, at.find(lit), nearest(string(uid.ID), values), "unknown %s", lit)
	}
	if head, ok := tree.Principal.(ast.ScopeTypeEq); ok {
		look(head.Entity)
	}
	switch head := tree.Resource.(type) {
	case ast.ScopeTypeEq:
		look(head.Entity)
	case ast.ScopeTypeIn:
		look(head.Entity)
	case ast.ScopeTypeIsIn:
		look(head.Entity)
	}
	for _, c := range tree.Conditions {
		ast.Inspect(ast.NewNode(c.Body), func(n ast.IsNode) bool {
			if v, ok := n.(ast.NodeValue); ok {
				if uid, ok := v.Value.(cedar.EntityUID); ok {
					look(uid)
				}
			}
			return true
		})
	}
}

// schemaProblems adds the validator's complaints, each at the line that holds the name it quotes.
func (l *loader) schemaProblems(at excerpt, err error) {
	all := flatten(err)
	for _, e := range all {
		msg := e.Error()
		if len(all) > 1 && strings.HasPrefix(msg, "unable to find an applicable action") {
			continue // follows from the misspelt name beside it
		}
		quoted := ""
		if _, rest, ok := strings.Cut(msg, "`"); ok {
			quoted, _, _ = strings.Cut(rest, "`")
		}
		hint := l.words.hint(msg, quoted)
		if name := lastWord(quoted); strings.HasPrefix(msg, "attribute") && strings.Contains(at.text, "context.args."+name) {
			hint = fmt.Sprintf("declare it: @args(%q)", name+": Long")
		}
		l.add(at.file, at.find(quoted), hint, "%s", strings.ReplaceAll(msg, "`", ""))
	}
}

func flatten(err error) []error {
	var many interface{ Unwrap() []error }
	if !errors.As(err, &many) {
		return []error{err}
	}
	var all []error
	for _, e := range many.Unwrap() {
		all = append(all, flatten(e)...)
	}
	return all
}

// tooBig checks the bounds of a source before the parser sees it; strings and comments do not nest.
func tooBig(text []byte) (line int, msg string) {
	if len(text) > MaxSource {
		return 1, fmt.Sprintf("the file has %d bytes, more than %d", len(text), MaxSource)
	}
	depth, line, quoted := 0, 1, false
	for i := 0; i < len(text); i++ {
		switch c := text[i]; {
		case c == '\n':
			line++
		case quoted && c == '\\':
			i++
		case c == '"':
			quoted = !quoted
		case !quoted && c == '/' && i+1 < len(text) && text[i+1] == '/':
			if end := bytes.IndexByte(text[i:], '\n'); end >= 0 {
				i += end - 1
			} else {
				i = len(text)
			}
		case !quoted && bytes.IndexByte([]byte("([{"), c) >= 0:
			if depth++; depth > MaxNesting {
				return line, fmt.Sprintf("brackets nest more than %d deep", MaxNesting)
			}
		case !quoted && bytes.IndexByte([]byte(")]}"), c) >= 0:
			depth--
		}
	}
	return 0, ""
}
