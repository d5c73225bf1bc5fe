package journal_test

import (
	"os"
	"strings"
	"testing"

	"github.com/arw-project/arw/host/internal/journal"
)

// TestKindsArriveUnchanged takes a vocabulary of kinds, underscores included, through the journal: each is read back, replayed
// and followed live under the very name it was given, and by the prefix that a reader of the documents would use.
func TestKindsArriveUnchanged(t *testing.T) {
	t.Parallel()
	raw, err := os.ReadFile("testdata/kinds.txt")
	if err != nil {
		t.Fatal(err)
	}
	kinds := strings.Fields(string(raw))
	_, j := open(t, t.TempDir())
	live, err := j.From(0, journal.Filter{})
	if err != nil {
		t.Fatal(err)
	}
	defer live.Close()
	for _, kind := range kinds {
		if _, err := j.Append(t.Context(), journal.Event{Kind: kind}); err != nil {
			t.Errorf("%s: %v", kind, err)
			continue
		}
		page, err := live.Next(t.Context())
		if err != nil || len(page) != 1 || page[0].Kind != kind {
			t.Fatalf("%s: followed as %v, %v", kind, page, err)
		}
	}
	for _, kind := range kinds {
		family, _, _ := strings.Cut(kind, ".")
		for _, prefix := range []string{kind, family + "."} {
			found := 0
			records, err := j.Read(t.Context(), 0, 1000, journal.Filter{Prefixes: []string{prefix}})
			if err != nil {
				t.Fatal(err)
			}
			for i := range records {
				if records[i].Kind == kind {
					found++
				}
			}
			if found != 1 {
				t.Errorf("%s: prefix %q gives it %d times", kind, prefix, found)
			}
		}
	}
}
