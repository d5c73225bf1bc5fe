package main

import (
	"fmt"
	"os"
	"path/filepath"
	"reflect"
	"strings"
	"testing"

	"github.com/arw-project/arw/abi"
	"github.com/arw-project/arw/sdk/go/guest"
)

// corpusDir writes files below a new folder.
func corpusDir(t testing.TB, files map[string]string) string {
	t.Helper()
	dir := t.TempDir()
	for name, text := range files {
		writeFile(t, filepath.Join(dir, name), text)
	}
	return dir
}

func writeFile(t testing.TB, name, text string) {
	t.Helper()
	if err := os.MkdirAll(filepath.Dir(name), 0o755); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(name, []byte(text), 0o644); err != nil {
		t.Fatal(err)
	}
}

// ingestAll calls until it is done.
func ingestAll(t testing.TB, m *guest.Memory, dir string) IngestOut {
	t.Helper()
	for range 1000 {
		out, err := ingest(m.Call(), IngestIn{Dir: dir})
		if err != nil {
			t.Fatal(err)
		}
		if out.Done {
			return out
		}
	}
	t.Fatal("the ingest does not end")
	return IngestOut{}
}

func ask(t testing.TB, m *guest.Memory, query string, k int) SearchOut {
	t.Helper()
	out, err := search(m.Call(), SearchIn{Query: query, K: k})
	if err != nil {
		t.Fatal(err)
	}
	return out
}

var kitchen = map[string]string{
	"leases.md":        "# Leases\n\nA lease says who may do what until when.\n\n## Ending\n\nExpiry, revocation or an empty budget ends a lease at once.\n",
	"cooking/soup.txt": "Boil the potatoes for twenty minutes.\n\nServe with bread.\n",
	"page.html":        "<html><head><title>Gas</title><script>lease lease lease</script></head><body><h1>Gas</h1><p>Gas counts instructions of a guest.</p></body></html>",
	"code.go":          "// Package code keeps time.\npackage code\n\n// ParseDuration reads a span of time such as 8h.\nfunc ParseDuration() {\n\t// this lease is not documentation\n}\n",
	"data.bin":         "\x00\x01",
	"image.txt":        "\x00\x00binary lease",
}

func TestSearchFindsTheAnswerAndWhereItStands(t *testing.T) {
	t.Parallel()
	dir := corpusDir(t, kitchen)
	m := &guest.Memory{Folders: []string{dir}}
	out := ingestAll(t, m, dir)
	if out.Files != 4 || out.Added != 4 || out.Passed != 1 || out.Skipped != 0 {
		t.Fatalf("ingest = %+v, want 4 files and image.txt passed over", out)
	}
	for query, want := range map[string]struct{ pointer, heading, snippet string }{
		"what ends a lease":       {"leases.md:7-7", "Ending", "revocation"},
		"potatoes":                {"cooking/soup.txt:1-3", "", "potatoes"},
		"instruction counting":    {"page.html", "Gas", "Gas counts"},
		"duration":                {"code.go:4-4", "", "ParseDuration"},
		"PARSE durations of time": {"code.go:4-4", "", "ParseDuration"},
	} {
		got := ask(t, m, query, 1)
		if len(got.Results) != 1 {
			t.Errorf("%q: %d results", query, len(got.Results))
			continue
		}
		r := got.Results[0]
		if !strings.Contains(r.Pointer, want.pointer) || !strings.Contains(r.Heading, want.heading) || !strings.Contains(r.Snippet, want.snippet) || len(r.SHA256) != 64 {
			t.Errorf("%q: got %+v, want %+v", query, r, want)
		}
	}
	if got := ask(t, m, "lease", 10); got.Matched != 2 {
		t.Errorf("lease is in %d passages, want the 2 of leases.md: scripts, code and binaries do not count", got.Matched)
	}
	if _, err := search(m.Call(), SearchIn{Query: "of the"}); abi.CodeOf(err) != abi.Invalid {
		t.Errorf("a query of stop words answers %v", err)
	}
}

func TestDiversityPrefersWhatIsNew(t *testing.T) {
	t.Parallel()
	files := map[string]string{"other.md": "A lease of flats ends yearly."}
	for i := range 5 {
		files[fmt.Sprintf("same%d.md", i)] = "A lease ends at the budget."
	}
	dir := corpusDir(t, files)
	m := &guest.Memory{Folders: []string{dir}}
	ingestAll(t, m, dir)
	got := ask(t, m, "lease ends", 2)
	if !strings.Contains(got.Results[0].Path, "same") || !strings.Contains(got.Results[1].Path, "other") {
		t.Errorf("got %s then %s, want a copy and then the other text", got.Results[0].Path, got.Results[1].Path)
	}
	plain, err := search(m.Call(), SearchIn{Query: "lease ends", K: 2, Lambda: 1})
	if err != nil || !strings.Contains(plain.Results[1].Path, "same") {
		t.Errorf("with lambda 1 the second is %+v (%v), want another copy", plain.Results, err)
	}
}

// answers is what a person sees of an index, for comparing two.
func answers(t *testing.T, m *guest.Memory, dir string) map[string][]string {
	t.Helper()
	got := map[string][]string{}
	for _, q := range []string{"lease", "budget", "potatoes bread", "gas instructions", "alpha", "beta gamma", "time"} {
		for _, r := range ask(t, m, q, 20).Results {
			got[q] = append(got[q], fmt.Sprintf("%s %.3f", strings.TrimPrefix(r.Pointer, dir), r.Score))
		}
	}
	return got
}

func TestReingestIsIncrementalAndEqualsAFreshOne(t *testing.T) {
	t.Parallel()
	dir := corpusDir(t, kitchen)
	m := &guest.Memory{Folders: []string{dir}}
	ingestAll(t, m, dir)
	if again := ingestAll(t, m, dir); again.Skipped != 4 || again.Added+again.Changed+again.Removed != 0 {
		t.Fatalf("nothing changed, yet %+v", again)
	}
	writeFile(t, filepath.Join(dir, "leases.md"), "# Leases\n\nOnly the budget is told of here, and alpha.\n")
	writeFile(t, filepath.Join(dir, "new.md"), "beta and gamma")
	if err := os.Remove(filepath.Join(dir, "cooking", "soup.txt")); err != nil {
		t.Fatal(err)
	}
	out := ingestAll(t, m, dir)
	if out.Added != 1 || out.Changed != 1 || out.Removed != 1 || out.Skipped != 2 {
		t.Fatalf("after three changes: %+v", out)
	}
	if got := ask(t, m, "potatoes", 5); len(got.Results) != 0 {
		t.Errorf("the removed file is still found: %+v", got.Results)
	}
	fresh := &guest.Memory{Folders: []string{dir}}
	ingestAll(t, fresh, dir)
	if got, want := answers(t, m, dir), answers(t, fresh, dir); !reflect.DeepEqual(got, want) {
		t.Errorf("the updated index answers\n%v\na fresh one\n%v", got, want)
	}
	if len(m.Events) != 3 || m.Events[0].Kind != "research.ingested" {
		t.Errorf("events = %v", m.Events)
	}
}

func TestACutOffCallLosesNothing(t *testing.T) {
	t.Parallel()
	files := map[string]string{}
	for i := range 60 {
		files[fmt.Sprintf("f%02d.md", i)] = strings.Repeat(fmt.Sprintf("alpha%d beta lease budget %d.\n\n", i%7, i), 30)
	}
	dir := corpusDir(t, files)
	clean := &guest.Memory{Folders: []string{dir}}
	ingestAll(t, clean, dir)
	want := answers(t, clean, dir)
	for _, after := range []int{1, 3, 10, 40, 100, 150} {
		m := &guest.Memory{Folders: []string{dir}}
		calls := 0
		m.Deny = func(string) error {
			if calls++; calls == after {
				return abi.Errorf(abi.LeaseExpired, "cut off")
			}
			return nil
		}
		_, first := ingest(m.Call(), IngestIn{Dir: dir})
		m.Deny = nil
		ingestAll(t, m, dir)
		if got := answers(t, m, dir); !reflect.DeepEqual(got, want) {
			t.Errorf("cut off at host call %d (%v): got %v, want %v", after, first, got, want)
		}
	}
}

func TestManyBatchesAreMergedWithoutChangingAnAnswer(t *testing.T) {
	t.Parallel()
	dir := corpusDir(t, kitchen)
	m := &guest.Memory{Folders: []string{dir}}
	for i := range 2*maxLoose + 5 {
		writeFile(t, filepath.Join(dir, "changing.md"), fmt.Sprintf("lease number %d of alpha and beta", i))
		ingestAll(t, m, dir)
	}
	chunks := 0
	for key := range m.Keys {
		if strings.Contains(key, "/s/lease/") {
			chunks++
		}
	}
	if chunks > maxLoose+1 {
		t.Errorf("the postings of one word lie in %d values, want at most %d", chunks, maxLoose+1)
	}
	fresh := &guest.Memory{Folders: []string{dir}}
	ingestAll(t, fresh, dir)
	if got, want := answers(t, m, dir), answers(t, fresh, dir); !reflect.DeepEqual(got, want) {
		t.Errorf("after merging: %v\nwant %v", got, want)
	}
}

func TestForgetLeavesNothingOfAFolder(t *testing.T) {
	t.Parallel()
	dir, other := corpusDir(t, kitchen), corpusDir(t, map[string]string{"kept.md": "a lease that stays"})
	m := &guest.Memory{Folders: []string{dir, other}}
	ingestAll(t, m, dir)
	ingestAll(t, m, other)
	out, err := forget(m.Call(), ForgetIn{Dir: dir})
	if err != nil || out.Removed != 4 || !out.Done {
		t.Fatalf("forget = %+v, %v", out, err)
	}
	got := ask(t, m, "lease", 10)
	if len(got.Results) != 1 || !strings.HasSuffix(got.Results[0].Path, "kept.md") {
		t.Errorf("after forgetting: %+v", got.Results)
	}
	all, err := corpora(m.Call(), CorporaIn{})
	if err != nil || len(all.Corpora) != 1 || all.Passages != 1 {
		t.Errorf("corpora = %+v, %v", all, err)
	}
}

func TestDamagedPostingsAreSaid(t *testing.T) {
	t.Parallel()
	dir := corpusDir(t, kitchen)
	m := &guest.Memory{Folders: []string{dir}}
	ingestAll(t, m, dir)
	for key := range m.Keys {
		if strings.Contains(key, "/s/lease/") {
			m.Keys[key] = []byte{0xff}
		}
	}
	if _, err := search(m.Call(), SearchIn{Query: "lease"}); abi.CodeOf(err) != abi.Corrupt {
		t.Errorf("search answers %v, want corrupt", err)
	}
}

func FuzzReadBack(f *testing.F) {
	f.Add(appendPassage(nil, stored{passage{1, 2, "h", "t"}, "/p"}))
	f.Add(appendPostings(nil, []posting{{1, 2, 3}, {9, 1, 3}}))
	f.Fuzz(func(_ *testing.T, raw []byte) {
		m := &guest.Memory{Keys: map[string][]byte{"p/x/d/00000001": raw}}
		x := &index{kv: m.Call().KV(), prefix: "p/x/"}
		_, _ = x.passage(1)
		_, _ = x.readPostings(nil, raw)
	})
}
