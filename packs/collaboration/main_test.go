package main

import (
	"encoding/json"
	"fmt"
	"os"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/arw-project/arw/abi"
	"github.com/arw-project/arw/manifests"
	"github.com/arw-project/arw/sdk/go/guest"
)

func TestMain(m *testing.M) {
	main()
	m.Run()
}

func TestManifestAndCodeAgree(t *testing.T) {
	t.Parallel()
	src, err := os.ReadFile("pack.toml")
	if err != nil {
		t.Fatal(err)
	}
	pack, err := manifests.ParsePack("pack.toml", src)
	if err != nil {
		t.Fatal(err)
	}
	infos := guest.Describe()
	if len(infos) != len(pack.Tools) {
		t.Errorf("the code has %d tools, the manifest %d", len(infos), len(pack.Tools))
	}
	for _, info := range infos {
		tool, ok := pack.Tool(info.ID)
		if !ok {
			t.Errorf("the manifest has no tool %q", info.ID)
			continue
		}
		if err := info.Check(tool.Input.JSON(), tool.Output.JSON()); err != nil {
			t.Error(err)
		}
	}
}

// write appends a note, with a clock that moves on.
func write(t *testing.T, m *guest.Memory, project, text string) Note {
	t.Helper()
	if m.Clock.IsZero() {
		m.Clock = time.Date(2026, 11, 24, 0, 0, 0, 0, time.UTC)
	}
	m.Clock = m.Clock.Add(10 * time.Millisecond)
	n, err := appendNote(m.Call(), NewNote{Project: project, Text: text, Author: "Ada"})
	if err != nil {
		t.Fatal(err)
	}
	return n
}

func texts(t *testing.T, m *guest.Memory, project string) []string {
	t.Helper()
	var all []string
	for after, more := "", true; more; {
		page, err := listNotes(m.Call(), Page{Project: project, After: after, Limit: 2})
		if err != nil {
			t.Fatal(err)
		}
		for _, n := range page.Notes {
			all = append(all, n.Text)
			after = n.ID
		}
		if page.Next != "" {
			after = page.Next
		}
		more = page.More
	}
	return all
}

func shownNow(t *testing.T, m *guest.Memory) summary {
	t.Helper()
	var s summary
	if err := m.Call().State().Get("collaboration.notes", &s); err != nil {
		t.Fatal(err)
	}
	return s
}

func TestNotesKeepTheirOrderAndProject(t *testing.T) {
	t.Parallel()
	m := &guest.Memory{}
	first := write(t, m, "a", "one")
	write(t, m, "b", "other")
	write(t, m, "a", "two")
	m.Clock = m.Clock.Add(-time.Hour) // somebody sets the clock back
	last := write(t, m, "a", "three")
	if got := texts(t, m, "a"); !slices.Equal(got, []string{"one", "two", "three"}) {
		t.Errorf("notes of a: %q", got)
	}
	if got := texts(t, m, "b"); !slices.Equal(got, []string{"other"}) {
		t.Errorf("notes of b: %q", got)
	}
	if s := shownNow(t, m); s["a"].Notes != 3 || s["a"].LastID != last.ID || s["b"].Notes != 1 {
		t.Errorf("read model %+v", s)
	}
	if !strings.HasPrefix(first.ID, "note_") || first.Author != "Ada" || first.Time.IsZero() {
		t.Errorf("first note %+v", first)
	}
	if len(m.Events) != 4 || m.Events[0].Kind != "collaboration.note.appended" || !strings.Contains(string(m.Events[0].Body), first.ID) {
		t.Errorf("events %s", m.Events)
	}
}

// TestCallsBesideEachOtherLoseNothing lets a second call happen between any two host functions of the first.
func TestCallsBesideEachOtherLoseNothing(t *testing.T) {
	t.Parallel()
	alone := &guest.Memory{}
	write(t, alone, "a", "x")
	steps := 0
	for _, n := range alone.Calls {
		steps += n
	}
	for cut := range steps {
		m, step, inside := &guest.Memory{}, 0, false
		m.Deny = func(string) error {
			if step++; step == cut+1 && !inside {
				inside = true
				defer func(deny func(string) error) { m.Deny = deny }(m.Deny)
				m.Deny = nil
				write(t, m, "a", "second")
				write(t, m, "b", "third")
			}
			return nil
		}
		write(t, m, "a", "first")
		if got := texts(t, m, "a"); len(got) != 2 {
			t.Errorf("cut at %d: %q", cut, got)
		}
		if s := shownNow(t, m); s["a"].Notes != 2 || s["b"].Notes != 1 {
			t.Errorf("cut at %d: the read model says %+v", cut, s)
		}
	}
}

// TestACallThatIsCutOffLosesNothing cuts a call at every host function and then appends once more.
func TestACallThatIsCutOffLosesNothing(t *testing.T) {
	t.Parallel()
	for cut := range 12 {
		m, step := &guest.Memory{}, 0
		write(t, m, "a", "before")
		m.Deny = func(string) error {
			if step++; step > cut {
				return abi.Errorf(abi.LeaseRevoked, "the lease was revoked")
			}
			return nil
		}
		_, err := appendNote(m.Call(), NewNote{Project: "a", Text: "cut"})
		m.Deny = nil
		write(t, m, "a", "after")
		got := texts(t, m, "a")
		if err == nil && !slices.Contains(got, "cut") {
			t.Errorf("cut at %d: the call answered and its note is gone: %q", cut, got)
		}
		if err != nil && abi.CodeOf(err) != abi.LeaseRevoked {
			t.Errorf("cut at %d: %v", cut, err)
		}
		if s := shownNow(t, m); s["a"].Notes != len(got) {
			t.Errorf("cut at %d: %d notes, the read model says %d", cut, len(got), s["a"].Notes)
		}
	}
}

func TestCountingStaysCheap(t *testing.T) {
	t.Parallel()
	m := &guest.Memory{Clock: time.Date(2026, 11, 24, 0, 0, 0, 0, time.UTC)}
	for i := range 1500 {
		n := Note{ID: fmt.Sprintf("note_%08x-0000-7000-8000-%012x", 0x0190_0000, i), Project: "a"}
		raw, err := json.Marshal(n)
		if err != nil {
			t.Fatal(err)
		}
		if err := m.Call().KV().Put(notePrefix("a")+n.ID, raw); err != nil {
			t.Fatal(err)
		}
	}
	write(t, m, "a", "first")
	tally, err := readTally(m.Call().KV(), "a")
	if err != nil || tally.Notes != 1501 || tally.Settled != 1500 {
		t.Fatalf("tally %+v, %v", tally, err)
	}
	before := m.Calls["kv.list"]
	write(t, m, "a", "second")
	if s := shownNow(t, m); s["a"].Notes != 1502 || m.Calls["kv.list"]-before > 4 {
		t.Errorf("%d notes in %d lists", s["a"].Notes, m.Calls["kv.list"]-before)
	}
}

func TestPagesEndBeforeTheOutputLimit(t *testing.T) {
	t.Parallel()
	m := &guest.Memory{}
	big := strings.Repeat("x", 900<<10)
	for range 4 {
		write(t, m, "a", big)
	}
	page, err := listNotes(m.Call(), Page{Project: "a"})
	if err != nil || len(page.Notes) != 2 || !page.More {
		t.Errorf("%d notes, more %v, %v", len(page.Notes), page.More, err)
	}
}

func TestADamagedNoteIsSaid(t *testing.T) {
	t.Parallel()
	m := &guest.Memory{Keys: map[string][]byte{"n/a/note_1": []byte("{")}}
	if _, err := listNotes(m.Call(), Page{Project: "a"}); abi.CodeOf(err) != abi.Corrupt {
		t.Errorf("list answers %v", err)
	}
	m = &guest.Memory{Keys: map[string][]byte{"p/a": []byte("{")}}
	if _, err := appendNote(m.Call(), NewNote{Project: "a", Text: "x"}); abi.CodeOf(err) != abi.Corrupt || len(m.Keys) != 1 {
		t.Errorf("append answers %v, keys %v", err, m.Keys)
	}
}
