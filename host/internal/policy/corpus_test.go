package policy

import (
	"archive/tar"
	"bytes"
	"compress/gzip"
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	cedar "github.com/cedar-policy/cedar-go"
	"github.com/cedar-policy/cedar-go/x/exp/ast"
	"github.com/cedar-policy/cedar-go/x/exp/schema"
	"github.com/cedar-policy/cedar-go/x/exp/schema/validate"
)

var everyCase = flag.Int("corpus", 16, "run every n-th case of Cedar's corpus; 1 runs all")

// corpusCase is one case of Cedar's public integration corpus.
type corpusCase struct {
	Schema, Policies, Entities string
	ShouldValidate             bool
	Requests                   []struct {
		Description                 string
		Principal, Action, Resource cedar.EntityUID
		Context                     cedar.Record
		Decision                    cedar.Decision
		Reason, Errors              []cedar.PolicyID
	}
}

// unpack reads the corpus out of the module that we link, which carries it.
func unpack(t *testing.T) map[string][]byte {
	t.Helper()
	dir, err := exec.Command("go", "list", "-m", "-f", "{{.Dir}}", "github.com/cedar-policy/cedar-go").Output()
	if err != nil {
		t.Fatal(err)
	}
	packed, err := os.ReadFile(filepath.Join(strings.TrimSpace(string(dir)), "corpus-tests.tar.gz"))
	if err != nil {
		t.Fatal(err)
	}
	plain, err := gzip.NewReader(bytes.NewReader(packed))
	if err != nil {
		t.Fatal(err)
	}
	files := map[string][]byte{}
	for r := tar.NewReader(plain); ; {
		h, err := r.Next()
		if errors.Is(err, io.EOF) {
			return files
		}
		if err != nil {
			t.Fatal(err)
		}
		if h.Typeflag != tar.TypeReg {
			continue
		}
		if files[h.Name], err = io.ReadAll(r); err != nil {
			t.Fatal(err)
		}
	}
}

// tally is what came of a run.
type tally struct {
	cases, valid, invalid, beyond, requests, erring, failedOpen int
}

// TestCedarCorpus runs Cedar's public integration corpus through this package: its loader, its validator, its choice of the policies that can
// speak about an action, and its rule that an error refuses. Where Cedar reports errors this host must deny; everywhere else it must
// decide as Cedar does, by the same policies. `make cedar-corpus` runs all of it.
func TestCedarCorpus(t *testing.T) {
	t.Parallel()
	files := unpack(t)
	var names []string
	for name := range files {
		if strings.HasSuffix(name, ".json") && !strings.HasSuffix(name, ".entities.json") {
			names = append(names, name)
		}
	}
	slices.Sort(names)
	var sum tally
	for i, name := range names {
		if i%*everyCase == 0 {
			playCorpus(t, files, name, &sum)
		}
	}
	t.Logf("%+v of %d cases", sum, len(names))
	if len(names) < 7000 || sum.requests < 7*sum.cases || sum.erring == 0 || sum.valid == 0 || sum.invalid == 0 {
		t.Errorf("the corpus is not what it was: %+v of %d cases", sum, len(names))
	}
}

func playCorpus(t *testing.T, files map[string][]byte, name string, sum *tally) {
	t.Helper()
	var c corpusCase
	if err := json.Unmarshal(files[name], &c); err != nil {
		t.Errorf("%s: %v", name, err)
		return
	}
	sum.cases++
	l, text := corpusLoader(t, files[c.Schema]), files[c.Policies]
	if _, msg := tooBig(text); msg != "" {
		sum.beyond++ // beyond the bounds of this host
		return
	}
	list, err := cedar.NewPolicyListFromBytes("corpus.cedar", text)
	if err != nil {
		t.Errorf("%s: %v", name, err)
		return
	}
	for i, p := range list { // its annotations mean nothing here, and its ids are those that cedar gives
		tree(p).Annotations = []ast.AnnotationType{{Key: "id", Value: cedar.String(fmt.Sprintf("policy%d", i))}}
		l.policy(excerpt{"corpus.cedar", p.Position().Line, string(text)}, p)
	}
	if valid := len(l.problems) == 0; valid != c.ShouldValidate {
		t.Errorf("%s: valid %v, want %v: %v", name, valid, c.ShouldValidate, l.problems)
	}
	if c.ShouldValidate {
		sum.valid++
	} else {
		sum.invalid++
	}
	// What is not valid would stop the start of a host; its decisions are compared all the same, so that an error of evaluation is met.
	set := l.unchecked(list)
	var entities cedar.EntityMap
	if err := json.Unmarshal(files[c.Entities], &entities); err != nil {
		t.Errorf("%s: %v", name, err)
		return
	}
	for _, r := range c.Requests {
		sum.requests++
		got := set.judge(string(r.Action.ID), entities, cedar.Request{Principal: r.Principal, Action: r.Action, Resource: r.Resource, Context: r.Context})
		if len(r.Errors) > 0 {
			if got.Outcome != Deny || len(got.Errors) != len(r.Errors) {
				t.Errorf("%s: %s: %+v, want a denial for %v", name, r.Description, got, r.Errors)
			}
			if sum.erring++; r.Decision == cedar.Allow {
				sum.failedOpen++ // Cedar's own answer, which is not this host's
			}
			continue
		}
		want := []string{}
		for _, id := range r.Reason {
			want = append(want, string(id))
		}
		slices.Sort(want)
		ids := slices.Sorted(slices.Values(got.Policies))
		if (got.Outcome == Allow) != (r.Decision == cedar.Allow) || !slices.Equal(ids, want) || len(got.Errors) > 0 {
			t.Errorf("%s: %s: %s by %q (%q), want %v by %q", name, r.Description, got.Outcome, ids, got.Errors, r.Decision, want)
		}
	}
}

// corpusLoader is a loader for another schema than this host's.
func corpusLoader(t *testing.T, text []byte) *loader {
	t.Helper()
	var s schema.Schema
	if err := s.UnmarshalCedar(text); err != nil {
		t.Fatal(err)
	}
	shape, err := s.Resolve()
	if err != nil {
		t.Fatal(err)
	}
	return &loader{set: &Set{byID: map[string]int{}, shards: map[string]shard{}}, words: newVocabulary(shape), check: validate.New(shape)}
}

// unchecked takes every policy into a set, whatever the validator says of it.
func (l *loader) unchecked(list cedar.PolicyList) *Set {
	l.set = &Set{byID: map[string]int{}, shards: map[string]shard{}}
	for i, p := range list {
		l.take(p, Rule{ID: fmt.Sprintf("policy%d", i), Actions: l.actionsOf(tree(p))})
	}
	return l.set
}

// TestTheSchemaHasNoGroupsOfActions: a request carries no entity of its action, so a policy about a group would match nothing.
func TestTheSchemaHasNoGroupsOfActions(t *testing.T) {
	t.Parallel()
	shape, err := resolveSchema()
	if err != nil {
		t.Fatal(err)
	}
	if w := newVocabulary(shape); len(w.groups) > 0 || len(w.actions) < 9 {
		t.Errorf("%+v", w)
	}
}
