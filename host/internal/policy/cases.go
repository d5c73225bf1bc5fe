package policy

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"regexp"
	"slices"
	"strings"

	"github.com/arw-project/arw/abi"
)

// Case is one question with the answer it must get.
type Case struct {
	Name    string  `json:"case"`
	Request Request `json:"request"`
	Want    Want    `json:"want"`
}

// Want is what a decision must be. Outcome is compared always, the rest where it is given; Reason and each of Errors is
// a text that must occur in the decision's.
type Want struct {
	Outcome  Outcome  `json:"outcome"`
	Policies []string `json:"policies,omitempty"`
	TTL      string   `json:"ttl,omitempty"`
	Budget   *Budget  `json:"budget,omitempty"`
	Reason   string   `json:"reason,omitempty"`
	Errors   []string `json:"errors,omitempty"`
}

// Result is how one case went; Wrong is empty when it passed.
type Result struct {
	File  string   `json:"file"`
	Case  string   `json:"case"`
	Got   Decision `json:"got"`
	Wrong []string `json:"wrong,omitempty"`
}

// Test runs an archive of cases: a txtar text that holds policy files ("*.cedar"), which are added to base, and the
// cases ("cases.json", a list of Case). An archive that holds "problems.txt" instead says that loading must fail with
// exactly those lines. A malformed archive, or policies that do not load, are an *abi.Error with code Invalid.
func Test(base []Source, archive Source) ([]Result, error) {
	files := map[string][]byte{}
	policies := slices.Clone(base)
	for _, f := range txtar(archive.Text) {
		if _, twice := files[f.Name]; twice {
			return nil, abi.Errorf(abi.Invalid, "test policies %q: two files named %q", archive.Name, f.Name)
		}
		files[f.Name] = f.Text
		switch {
		case strings.HasSuffix(f.Name, ".cedar"):
			policies = append(policies, f)
		case f.Name != "cases.json" && f.Name != "problems.txt":
			return nil, abi.Errorf(abi.Invalid, "test policies %q: what is %q?", archive.Name, f.Name).
				WithHint("an archive holds *.cedar, cases.json and problems.txt")
		}
	}
	set, err := Load(policies)
	if want, expected := files["problems.txt"]; expected {
		return []Result{{File: archive.Name, Case: "problems", Wrong: compareProblems(err, string(want))}}, nil
	}
	if err != nil {
		return nil, err
	}
	cases, err := parseCases(archive.Name, files["cases.json"])
	if err != nil {
		return nil, err
	}
	results := make([]Result, len(cases))
	for i, c := range cases {
		got := set.Decide(c.Request)
		results[i] = Result{File: archive.Name, Case: c.Name, Got: got, Wrong: c.Want.compare(got)}
	}
	return results, nil
}

func parseCases(archive string, text []byte) ([]Case, error) {
	var cases []Case
	dec := json.NewDecoder(bytes.NewReader(text))
	dec.DisallowUnknownFields()
	err := dec.Decode(&cases)
	if err == nil {
		if _, more := dec.Token(); !errors.Is(more, io.EOF) {
			err = errors.New("something follows the list")
		}
	}
	if err != nil {
		line := 1 + bytes.Count(text[:min(int(dec.InputOffset()), len(text))], []byte("\n"))
		return nil, abi.Errorf(abi.Invalid, "test policies %q: cases.json:%d: %w", archive, line, err)
	}
	if len(cases) == 0 {
		return nil, abi.Errorf(abi.Invalid, "test policies %q: no cases", archive)
	}
	return cases, nil
}

func compareProblems(err error, want string) []string {
	var got []string
	if e, ok := errors.AsType[*abi.Error](err); ok {
		problems, _ := e.Detail.([]Problem)
		for _, p := range problems {
			got = append(got, p.String())
		}
	}
	wanted := strings.Split(strings.TrimSpace(want), "\n")
	if slices.Equal(got, wanted) {
		return nil
	}
	return []string{fmt.Sprintf("problems:\n got:\n%s\nwant:\n%s", strings.Join(got, "\n"), strings.Join(wanted, "\n"))}
}

// compare lists how a decision differs from what was wanted.
func (w Want) compare(got Decision) (wrong []string) {
	differ := func(what string, got, want any) {
		wrong = append(wrong, fmt.Sprintf("%s: %v, want %v", what, got, want))
	}
	if got.Outcome != w.Outcome {
		differ("outcome", got.Outcome, w.Outcome)
	}
	if w.Policies != nil && !slices.Equal(got.Policies, w.Policies) {
		differ("policies", got.Policies, w.Policies)
	}
	if w.TTL != "" {
		if ttl, err := ParseTTL(w.TTL); err != nil || ttl != got.TTL {
			differ("ttl", got.TTL, w.TTL)
		}
	}
	if w.Budget != nil && *w.Budget != got.Budget {
		differ("budget", got.Budget, *w.Budget)
	}
	if !strings.Contains(got.Reason, w.Reason) {
		differ("reason", got.Reason, w.Reason)
	}
	for _, e := range w.Errors {
		if !slices.ContainsFunc(got.Errors, func(g string) bool { return strings.Contains(g, e) }) {
			differ("errors", got.Errors, e)
		}
	}
	if len(w.Errors) == 0 && len(got.Errors) > 0 {
		differ("errors", got.Errors, "none")
	}
	return wrong
}

var marker = regexp.MustCompile(`(?m)^-- (\S(?:.*\S)?) --[ \t]*\r?\n?`)

// txtar splits an archive in Go's txtar format; what stands before the first marker is a comment.
func txtar(text []byte) []Source {
	var files []Source
	marks := marker.FindAllSubmatchIndex(text, -1)
	for i, m := range marks {
		end := len(text)
		if i+1 < len(marks) {
			end = marks[i+1][0]
		}
		files = append(files, Source{Name: string(text[m[2]:m[3]]), Text: text[m[1]:end]})
	}
	return files
}
