package main

import (
	"encoding/json"
	"slices"
	"testing"
	"time"

	"github.com/arw-project/arw/abi"
	"github.com/arw-project/arw/sdk/go/guest"
)

// under is a memory whose hygiene document is that JSON; "" is none.
func under(doc string) *guest.Memory {
	m := &guest.Memory{Config: map[string]json.RawMessage{}}
	if doc != "" {
		m.Config[hygieneDoc] = []byte(doc)
	}
	return m
}

func TestWhatIsSaidAgainIsNotWrittenAgain(t *testing.T) {
	t.Parallel()
	for doc, want := range map[string][]string{
		"":                             {"buy milk", "buy milk", "Buy  Milk\nand bread"},
		`{"dedup":["hash"]}`:           {"buy milk", "Buy  Milk\nand bread"},
		`{"dedup":["title"]}`:          {"Buy  Milk\nand bread"},
		`{"dedup":["hash","title"]}`:   {"Buy  Milk\nand bread"},
		`{"dedup":[],"keep_days":1}`:   {"buy milk", "buy milk", "Buy  Milk\nand bread"},
		`{"dedup":[],"keep_days":365}`: {"buy milk", "buy milk", "Buy  Milk\nand bread"},
	} {
		m := under(doc)
		first := write(t, m, "a", "buy milk")
		again := write(t, m, "a", "buy milk")
		write(t, m, "a", "Buy  Milk\nand bread")
		write(t, m, "b", "buy milk") // another project's
		if got := texts(t, m, "a"); !slices.Equal(got, want) {
			t.Errorf("under %s there are %q, want %q", doc, got, want)
		}
		if got := texts(t, m, "b"); !slices.Equal(got, []string{"buy milk"}) {
			t.Errorf("under %s the other project has %q", doc, got)
		}
		if same := first.ID == again.ID; same != (len(m.Events) == 3) {
			t.Errorf("under %s: said again it is the same note: %v, and there are %d events", doc, same, len(m.Events))
		}
	}
}

func TestOldNotesShowNoMoreAndAreNotLost(t *testing.T) {
	t.Parallel()
	m := under(`{"keep_days":30,"dedup":["hash"]}`)
	old := write(t, m, "a", "old news")
	m.Clock = m.Clock.AddDate(0, 0, 31)
	write(t, m, "a", "new")
	if got := texts(t, m, "a"); !slices.Equal(got, []string{"new"}) {
		t.Errorf("there are %q", got)
	}
	if again := write(t, m, "a", "old news"); again.ID == old.ID {
		t.Error("what shows no more was answered as if it did")
	}
	m.Config[hygieneDoc] = []byte(`{}`)
	if got := texts(t, m, "a"); !slices.Equal(got, []string{"old news", "new", "old news"}) {
		t.Errorf("with the unit reverted there are %q", got)
	}
}

// A page may hold nothing that shows, and still lead on.
func TestPagesPassOverWhatDoesNotShow(t *testing.T) {
	t.Parallel()
	m := under(`{"keep_days":30}`)
	for range 5 {
		write(t, m, "a", "old")
	}
	m.Clock = m.Clock.AddDate(0, 0, 31)
	write(t, m, "a", "new")
	page, err := listNotes(m.Call(), Page{Project: "a", Limit: 2})
	if err != nil || len(page.Notes) != 0 || !page.More || page.Next == "" {
		t.Fatalf("the first page is %+v, %v", page, err)
	}
	if got := texts(t, m, "a"); !slices.Equal(got, []string{"new"}) {
		t.Errorf("there are %q", got)
	}
}

func TestNotesWithoutTheirConfiguration(t *testing.T) {
	t.Parallel()
	for code, fails := range map[abi.Code]bool{abi.Denied: false, abi.LeaseRevoked: false, abi.Unavailable: true} {
		m := under(`{"dedup":["hash"]}`)
		m.Clock = time.Date(2026, 11, 24, 0, 0, 0, 0, time.UTC)
		m.Deny = func(function string) error {
			if function == "config.get" {
				return abi.Errorf(code, "no")
			}
			return nil
		}
		if _, err := appendNote(m.Call(), NewNote{Project: "a", Text: "x"}); fails != (err != nil) {
			t.Errorf("%s: %v", code, err)
		}
	}
}
