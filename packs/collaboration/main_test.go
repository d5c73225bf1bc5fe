package main

import (
	"testing"

	"github.com/arw-project/arw/abi"
	"github.com/arw-project/arw/sdk/go/guest"
)

func TestNotesKeepTheirOrderAndProject(t *testing.T) {
	t.Parallel()
	m := &guest.Memory{}
	c := m.Call()
	for _, in := range []NewNote{{"a", "one", "Ada"}, {"b", "other", ""}, {"a", "two", ""}, {"a", "three", ""}} {
		if _, err := appendNote(c, in); err != nil {
			t.Fatal(err)
		}
	}
	first, err := listNotes(c, Page{Project: "a", Limit: 2})
	if err != nil || len(first.Notes) != 2 || !first.More || first.Notes[0].Text != "one" || first.Notes[0].Author != "Ada" || first.Notes[1].Text != "two" {
		t.Fatalf("first page = %+v, %v", first, err)
	}
	rest, err := listNotes(c, Page{Project: "a", After: first.Notes[1].ID})
	if err != nil || len(rest.Notes) != 1 || rest.More || rest.Notes[0].Text != "three" {
		t.Fatalf("second page = %+v, %v", rest, err)
	}
	var counts map[string]Summary
	if err := c.State().Get("collaboration.notes", &counts); err != nil || counts["a"].Notes != 3 || counts["b"].Notes != 1 {
		t.Errorf("read model = %+v, %v", counts, err)
	}
	if len(m.Events) != 4 || m.Events[0].Kind != "collaboration.note.appended" {
		t.Errorf("events = %v", m.Events)
	}
}

func TestARefusedWriteLeavesNothing(t *testing.T) {
	t.Parallel()
	m := &guest.Memory{Deny: func(f string) error {
		if f == "kv.batch" {
			return abi.Errorf(abi.LeaseRevoked, "the lease was revoked")
		}
		return nil
	}}
	if _, err := appendNote(m.Call(), NewNote{Project: "a", Text: "x"}); abi.CodeOf(err) != abi.LeaseRevoked {
		t.Fatalf("append answers %v", err)
	}
	if len(m.Keys) != 0 || len(m.Events) != 0 {
		t.Errorf("left behind: keys %v, events %v", m.Keys, m.Events)
	}
}
