package recall

import (
	"context"
	"encoding/json"
	"fmt"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/arw-project/arw/abi"
	"github.com/arw-project/arw/host/internal/infer"
	"github.com/arw-project/arw/manifests"
)

// rig is a cache with a clock of its own and a tool that counts its runs.
type rig struct {
	t    *testing.T
	r    *Recall
	at   time.Time
	rule manifests.Recall
	runs int
	say  func(q string) string // the answer to a question
	dep  string                // what the answers are made from, as it is now
	keep bool
}

func newRig(t *testing.T, l Limits) *rig {
	k := &rig{t: t, at: time.Unix(1_700_000_000, 0), keep: true, dep: "1"}
	k.rule = manifests.Recall{Question: "/query", Near: 0.8, Empty: "/results", Same: "/results", TTL: 10 * time.Minute}
	k.say = func(string) string { return `{"results":["a"]}` }
	k.r = New(Options{Limits: l, Now: func() time.Time { return k.at }})
	return k
}

var alice = Space{Pack: "acme/find", Digest: "sha256:1", Tool: "find", Project: "", Person: "person:alice"}

func (k *rig) call(of Space, input string) (string, Outcome) {
	k.t.Helper()
	a, out, err := k.r.Do(k.t.Context(), Call{
		Space: of, Input: []byte(input), Rule: &k.rule, Env: "env",
		Holds: func(_ context.Context, deps []Dep) bool {
			for _, d := range deps {
				if d.Mark != k.dep {
					return false
				}
			}
			return true
		},
		Run: func(context.Context) (Answer, error) {
			k.runs++
			var in struct{ Query string }
			_ = json.Unmarshal([]byte(input), &in)
			return Answer{Kind: abi.FrameJSON, Body: []byte(k.say(in.Query)), Deps: []Dep{{What: "kv", Mark: k.dep}}, Keep: k.keep}, nil
		},
	})
	if err != nil {
		k.t.Fatal(err)
	}
	return string(a.Body), out
}

func (k *rig) ask(q string) Outcome {
	k.t.Helper()
	in, _ := json.Marshal(map[string]any{"query": q, "k": 3})
	_, out := k.call(alice, string(in))
	return out
}

func (k *rig) want(q string, want Outcome) {
	k.t.Helper()
	if got := k.ask(q); got != want {
		k.t.Fatalf("%q: %q, want %q", q, got, want)
	}
}

func TestANearQuestionIsAnsweredAndEveryEighthIsMadeAnew(t *testing.T) {
	k := newRig(t, Limits{})
	k.want("How do I revoke a lease?", Miss)
	k.want("How do I revoke a lease?", Exact)
	k.want("how can I revoke the leases", Audit)    // the first of a space is compared
	k.want("how can Anna revoke leases", Miss)      // another name
	k.want("how can I revoke expired leases", Miss) // another word: who only counts words does not know what it changes
	near, audits := 0, 0
	for i := range 24 {
		switch k.ask(strings.Repeat("please ", i+1) + "how can I revoke leases") {
		case Near:
			near++
		case Audit:
			audits++
		}
	}
	if near != 21 || audits != 3 {
		t.Fatalf("%d near and %d audits of 24, want 21 and 3", near, audits)
	}
}

func TestOtherInputsAndOtherSpacesShareNothing(t *testing.T) {
	k := newRig(t, Limits{})
	k.want("How do I revoke a lease?", Miss)
	if _, out := k.call(alice, `{"query":"How do I revoke a lease?","k":4}`); out != Miss {
		t.Fatalf("another k: %q", out)
	}
	for name, change := range map[string]func(*Space){
		"pack": func(s *Space) { s.Pack = "acme/other" }, "version": func(s *Space) { s.Digest = "sha256:2" }, "tool": func(s *Space) { s.Tool = "other" },
		"project": func(s *Space) { s.Project = "thesis" }, "person": func(s *Space) { s.Person = "person:bob" },
	} {
		of := alice
		change(&of)
		if _, out := k.call(of, `{"query":"How do I revoke a lease?","k":3}`); out != Miss {
			t.Errorf("another %s: %q", name, out)
		}
	}
	// The same document in other spelling is the same input.
	if _, out := k.call(alice, `{ "k": 3.0, "query":"How do I revoke a lease?"}`); out != Exact {
		t.Fatalf("another spelling: %q", out)
	}
}

func TestWhatNoLongerHoldsIsNotGiven(t *testing.T) {
	k := newRig(t, Limits{})
	k.say = func(string) string { return `{"results":[]}` }
	k.want("where is the cat", Miss)
	k.want("where is the cat", Empty)
	k.dep = "2" // something was written
	k.want("where is the cat", Miss)
	k.want("where is the cat", Empty)
	k.at = k.at.Add(10 * time.Minute)
	k.want("where is the cat", Miss)
	k.at = k.at.Add(-time.Hour) // the clock was set back: nobody knows how old it is
	k.want("where is the cat", Miss)
	k.want("where is the cat", Empty)
	if n := k.r.Forget(func(s Space) bool { return s.Person == "person:bob" }); n != 0 {
		t.Fatalf("%d of another person's", n)
	}
	k.want("where is the cat", Empty)
	if n := k.r.Forget(func(s Space) bool { return s.Person == "person:alice" }); n != 1 {
		t.Fatalf("forgot %d, want 1", n)
	}
	k.want("where is the cat", Miss)
	k.keep = false
	k.dep = "3"
	k.want("where is the cat", Miss)
	k.want("where is the cat", Miss)
}

func TestWhatIsForgottenWhileItIsMadeIsNotKept(t *testing.T) {
	k := newRig(t, Limits{})
	k.say = func(string) string { k.r.Forget(func(Space) bool { return false }); return `{"results":["a"]}` }
	k.want("where is the cat", Miss)
	k.want("where is the cat", Miss)
}

func TestWrongAnswersRaiseTheThresholdAndThenLetTheSpaceRest(t *testing.T) {
	k := newRig(t, Limits{Rest: time.Minute})
	k.rule.Near = 0.5
	k.say = func(q string) string { return fmt.Sprintf(`{"results":[%q]}`, q) } // every question has its own answer
	k.want("revoke a lease", Miss)
	k.want("lease, revoke", Audit)
	spaces, _, _, _ := k.r.Stats()
	if s := spaces[0]; s.False != 1 || s.Audits != 1 || s.Threshold <= 0.5 || s.Threshold > top {
		t.Fatalf("after one wrong answer: %+v", s)
	}
	asked := 0
	for q := range permutations(k) {
		asked++
		if out := k.ask(q); out == Near {
			t.Fatalf("%q was answered in doubt", q)
		}
		if spaces, _, _, _ = k.r.Stats(); !spaces[0].Rests.IsZero() {
			break
		}
	}
	if spaces[0].Rests.IsZero() || spaces[0].False != wrongs+1 {
		t.Fatalf("it does not rest after %d: %+v", asked, spaces[0])
	}
	k.want("the lease: revoke", Miss) // equal words, at rest
	k.want("the lease: revoke", Exact)
	k.at = k.at.Add(time.Minute)
	spaces, _, _, _ = k.r.Stats()
	if !spaces[0].Rests.IsZero() {
		t.Fatal("it rests for ever")
	}
	k.want("a lease: revoke", Audit) // nothing is given before it was compared
}

// permutations asks things that are near whatever the threshold: the same words with other small ones.
func permutations(k *rig) func(func(string) bool) {
	return func(yield func(string) bool) {
		for i := range 20 {
			if !yield(strings.Repeat("the ", i+2) + "lease, revoke") {
				return
			}
		}
	}
}

func TestItIsBounded(t *testing.T) {
	k := newRig(t, Limits{Entries: 4})
	for i := range 10 {
		k.want(fmt.Sprintf("word%d", i), Miss)
	}
	if _, all, n, _ := k.r.Stats(); n != 4 || all.Evicted != 6 {
		t.Fatalf("%d entries, %d evicted", n, all.Evicted)
	}
	k.want("word6", Exact) // used last, so it stays
	k.want("word10", Miss)
	k.want("word6", Exact)
	k.want("word7", Miss)
	k.r.Bound(Limits{Bytes: 3000})
	if _, _, n, size := k.r.Stats(); size > 3000 || n == 0 {
		t.Fatalf("%d entries of %d bytes", n, size)
	}
	k.say = func(string) string { return `{"results":["` + strings.Repeat("x", 2000) + `"]}` }
	k.want("large", Miss)
	k.want("large", Miss)
	k.r.Bound(Limits{Off: true})
	if _, _, n, size := k.r.Stats(); n != 0 || size != 0 {
		t.Fatalf("%d entries of %d bytes in a cache that is off", n, size)
	}
	k.want("word6", Bypass)
}

// model places questions where the test says.
type model struct {
	name string
	at   map[string][]float32
	down bool
}

func (m *model) Embed(_ context.Context, _ Space, _, q string) (Vector, error) {
	if m.down {
		return Vector{}, abi.Errorf(abi.Unavailable, "ask model %q: it is down", m.name)
	}
	return Vector{Engine: infer.Engine{Name: "onnx", Kind: infer.Neural, Model: m.name}, Values: m.at[q]}, nil
}

func TestVectorsOfTwoEnginesAreNeverCompared(t *testing.T) {
	k := newRig(t, Limits{Audit: 1000})
	m := &model{name: "one", at: map[string][]float32{
		"put a permit away": {1, 2, 3}, "discard a lease": {1, 2, 3.01}, "discard a lease in 3 days": {1, 2, 3}, "the weather": {3, -1, 0},
	}}
	k.r = New(Options{Now: func() time.Time { return k.at }, Neural: m, Limits: Limits{Audit: 1000}})
	k.want("put a permit away", Miss)
	k.want("discard a lease", Audit)          // other words, near for the model
	k.want("discard a lease in 3 days", Miss) // near for the model, not for the verifier
	k.want("the weather", Miss)
	m.name = "two"
	k.r.Forget(func(Space) bool { return true })
	k.want("put a permit away", Miss)
	m.name = "one"
	k.want("discard a lease", Miss)
	m.down = true
	k.want("discard the lease", Miss) // words are counted, and there are none to compare with
	k.want("discard leases", Audit)
}

func TestTheVerifierSeesWhatAVectorDoesNot(t *testing.T) {
	for _, c := range []struct {
		a, b          string
		loose, strict bool
	}{
		{"How do I revoke a lease?", "how can I revoke the leases", true, true},
		{"discard a lease", "put a lease away", true, false},
		{"events since 2020", "events since 2021", false, false},
		{"a timeout of 5 ms", "a timeout of 5 s", false, false},
		{"from 3 to 5", "from 5 to 3", false, false},
		{"trains from Rome to Paris", "trains from Paris to Rome", false, false},
		{"how to mend a tyre", "mend a tyre", true, true},
		{"send it to Anna", "send it from Anna", false, false},
		{"grow by 1.5", "grow by 15", false, false},
		{"add -5", "add 5", false, false},
		{"may it be cached", "may it not be cached", false, false},
		{"it is cached", "it isn't cached", false, false},
		{"it is cached", "it isn’t cached", false, false},
		{"which Anna wrote it", "which Bruno wrote it", false, false},
		{"what does Cedar say", "what does cedar say", true, true},
		{"find `a b`", "find `a c`", false, false},
		{`find "exact words"`, `find “exact words”`, true, true},
		{"before the upgrade", "after the upgrade", false, false},
		{"who signs packs", "when are packs signed", false, false},
		{"open host.go", "open kv.go", false, false},
		{"the limit in March", "the limit in April", false, false},
		{"100% of them", "100 of them", false, false},
		{"enable the cache", "disable the cache", false, false},
		{"qui signe", "qui ne signe pas", true, false}, // other languages: words alone decide
	} {
		a, b := wordsOf(c.a), wordsOf(c.b)
		for _, order := range [][2]words{{a, b}, {b, a}} {
			if got := same(order[0], order[1], false); got != c.loose {
				t.Errorf("%q and %q: %v, want %v\n%+v\n%+v", c.a, c.b, got, c.loose, a, b)
			}
			if got := same(order[0], order[1], true); got != c.strict {
				t.Errorf("%q and %q, the same words: %v, want %v\n%+v\n%+v", c.a, c.b, got, c.strict, a, b)
			}
		}
	}
}

func TestSimHashLeavesOutNothingThatIsNear(t *testing.T) {
	var p planes
	missed, kept, far := 0, 0, 0
	texts := strings.Fields("lease pack journal policy signer registry queue memory slot token budget quota model runtime vector cache")
	for i := range texts {
		for j := range texts {
			a := lexicalVector(texts[i] + " grant revoke person project host " + texts[j])
			b := lexicalVector(texts[j] + " grant revoke person project host " + texts[i])
			c := lexicalVector("seven swans swim silently southwards " + texts[j])
			if cosine(a.Values, b.Values) >= 0.8 {
				kept++
				if distance(p.simhash(a.Values), p.simhash(b.Values)) > reachOf(0.8) {
					missed++
				}
			}
			if cosine(a.Values, c.Values) < 0.2 && distance(p.simhash(a.Values), p.simhash(c.Values)) > reachOf(0.92) {
				far++
			}
		}
	}
	if missed > 0 || kept < 100 || far < 200 {
		t.Fatalf("of %d near pairs %d were left out; %d far ones were", kept, missed, far)
	}
}

func TestManyAtOnce(t *testing.T) {
	k := newRig(t, Limits{Entries: 8})
	var wg sync.WaitGroup
	for g := range 8 {
		wg.Go(func() {
			for i := range 200 {
				in := fmt.Sprintf(`{"query":"word%d of the list","k":1}`, (i*7+g)%20)
				_, _, err := k.r.Do(t.Context(), Call{Space: alice, Input: []byte(in), Rule: &k.rule, Env: "e",
					Holds: func(context.Context, []Dep) bool { return i%5 != 0 },
					Run: func(context.Context) (Answer, error) {
						return Answer{Kind: abi.FrameJSON, Body: []byte(in), Keep: true}, nil
					}})
				if err != nil {
					t.Error(err)
				}
				if i%50 == 0 {
					k.r.Forget(func(Space) bool { return g == 0 })
				}
			}
		})
	}
	wg.Wait()
	spaces, _, n, _ := k.r.Stats()
	if n > 8 || len(spaces) > 1 {
		t.Fatalf("%d entries in %d spaces", n, len(spaces))
	}
}

func FuzzQuestions(f *testing.F) {
	for _, s := range []string{`How do I "quote`, "a «b» `c", "-5 +3 50% isn't Ünïcode 漢字", "\xff\x00", ""} {
		f.Add(s, s)
	}
	f.Fuzz(func(t *testing.T, a, b string) {
		x, y := wordsOf(a), wordsOf(b)
		if same(x, y, true) != same(y, x, true) || same(x, y, false) != same(y, x, false) {
			t.Fatalf("%q and %q: the verifier is not symmetric", a, b)
		}
		if !same(x, x, true) {
			t.Fatalf("%q is not the same as itself", a)
		}
		if same(x, y, true) && !same(x, y, false) {
			t.Fatalf("%q and %q: strict lets pass what loose does not", a, b)
		}
	})
}
