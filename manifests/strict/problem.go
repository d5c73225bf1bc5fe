package strict

import (
	"cmp"
	"fmt"
	"slices"
	"strings"
)

// Problem is one complaint about one place of a file.
type Problem struct {
	File string `json:"file"`
	Line int    `json:"line"`           // from 1
	Key  string `json:"key,omitempty"`  // path as written by Path; empty when the whole file is meant
	Msg  string `json:"msg"`            // what is wrong
	Hint string `json:"hint,omitempty"` // what to do about it
}

// String is `pack.toml:12: tools[0].idd: unknown key; did you mean "id"?`.
func (p Problem) String() string {
	var b strings.Builder
	fmt.Fprintf(&b, "%s:%d: ", p.File, p.Line)
	if p.Key != "" {
		b.WriteString(p.Key + ": ")
	}
	b.WriteString(p.Msg)
	if p.Hint != "" {
		b.WriteString("; " + p.Hint)
	}
	return b.String()
}

// Problems is every complaint about a file, as an error with one line for each.
type Problems []Problem

// Error is one line per problem.
func (p Problems) Error() string {
	lines := make([]string, len(p))
	for i, problem := range p {
		lines[i] = problem.String()
	}
	return strings.Join(lines, "\n")
}

// Err sorts the problems by file, line, key and message, drops repetitions and what is beyond MaxProblems, and gives nil
// when there are none. It leaves p alone.
func (p Problems) Err() error {
	if len(p) == 0 {
		return nil
	}
	sorted := slices.Clone(p)
	slices.SortStableFunc(sorted, func(a, b Problem) int {
		return cmp.Or(strings.Compare(a.File, b.File), cmp.Compare(a.Line, b.Line), strings.Compare(a.Key, b.Key),
			strings.Compare(a.Msg, b.Msg))
	})
	sorted = slices.Compact(sorted)
	if more := len(sorted) - MaxProblems; more > 0 {
		last := sorted[len(sorted)-1]
		sorted = append(sorted[:MaxProblems:MaxProblems], Problem{File: last.File, Line: last.Line, Msg: fmt.Sprintf("%d more problems up to here", more)})
	}
	return sorted
}
