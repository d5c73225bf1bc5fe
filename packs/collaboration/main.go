// Command collaboration is the pack arw/collaboration: notes that people and agents of one project share, in order and
// for good. What memory/hygiene says hides notes that are old or said again; it deletes none.
//
// Calls run beside each other and the key space has no compare-and-swap, so nothing here depends on reading a number and
// writing the next one: a note's id is its time and chance, and its key is written once. What is counted is counted from
// the keys. Keys: "n/<project>/<id>" a note, "p/<project>" the project's tally; see tally.go.
package main

import (
	"time"

	"github.com/arw-project/arw/abi"
	"github.com/arw-project/arw/sdk/go/guest"
	"github.com/arw-project/arw/sdk/go/guest/codec"
)

func main() {
	guest.Tool("collab.note.append", appendNote)
	guest.Tool("collab.note.list", listNotes)
	guest.Prepare[appended]()
	guest.Prepare[summary]()
}

// Note is one note as it is stored and answered.
type Note struct {
	ID      string    `json:"id"`
	Project string    `json:"project"`
	Text    string    `json:"text"`
	Author  string    `json:"author,omitempty"`
	Time    time.Time `json:"time"`
}

var noteJSON = codec.For[Note]()

// NewNote is the input of collab.note.append.
type NewNote struct {
	Project string `json:"project"`
	Text    string `json:"text"`
	Author  string `json:"author,omitempty"`
}

// appended is the body of the event collaboration.note.appended.
type appended struct {
	ID      string    `json:"id"`
	Project string    `json:"project"`
	Author  string    `json:"author,omitempty"`
	Time    time.Time `json:"time"`
}

// appendNote stores a note before it tells anybody of it. A call that is cut off in between leaves a note that the next
// one counts.
func appendNote(c *guest.Call, in NewNote) (Note, error) {
	now, err := c.Now()
	if err != nil {
		return Note{}, err
	}
	h, err := readHygiene(c)
	if err != nil {
		return Note{}, err
	}
	if said, ok, err := h.same(c.KV(), in.Project, in.Text, now); err != nil || ok {
		return said, err
	}
	t, err := readTally(c.KV(), in.Project)
	if err != nil {
		return Note{}, err
	}
	id, err := newID(c, now, t.LastID)
	if err != nil {
		return Note{}, err
	}
	note := Note{ID: id, Project: in.Project, Text: in.Text, Author: in.Author, Time: now.Truncate(time.Millisecond)}
	raw, err := noteJSON.Append(nil, &note)
	if err != nil {
		return Note{}, err
	}
	if err := c.KV().Put(notePrefix(in.Project)+note.ID, raw); err != nil {
		return Note{}, err
	}
	if err := h.remember(c.KV(), note); err != nil {
		return Note{}, err
	}
	if err := show(c, note); err != nil {
		return Note{}, err
	}
	return note, c.Emit("collaboration.note.appended", appended{note.ID, note.Project, note.Author, note.Time})
}

func notePrefix(project string) string { return "n/" + project + "/" }

// Page asks for notes.
type Page struct {
	Project string `json:"project"`
	After   string `json:"after,omitempty"`
	Limit   int    `json:"limit,omitempty"`
}

// Notes answers it; the last note's id asks for the page behind.
type Notes struct {
	Notes []Note `json:"notes"`
	More  bool   `json:"more"`
	Next  string `json:"next,omitempty"` // asks for the page behind, where the page's last note did not show
}

// pageSize is the limit of a page without one, pageBytes what ends a page early: it stays below the output limit.
const (
	pageSize  = 100
	pageBytes = 2 << 20
)

func listNotes(c *guest.Call, in Page) (Notes, error) {
	limit := in.Limit
	if limit == 0 {
		limit = pageSize
	}
	h, err := readHygiene(c)
	if err != nil {
		return Notes{}, err
	}
	var now time.Time
	if h.KeepDays > 0 {
		if now, err = c.Now(); err != nil {
			return Notes{}, err
		}
	}
	prefix := notePrefix(in.Project)
	keys, more, err := c.KV().List(prefix, prefix+in.After, limit)
	if err != nil {
		return Notes{}, err
	}
	out, size := Notes{Notes: make([]Note, 0, len(keys)), More: more}, 0
	for i, k := range keys {
		if size += k.Size; size > pageBytes && i > 0 {
			out.More = true
			break
		}
		n, err := readNote(c.KV(), k.Name)
		if err != nil {
			return Notes{}, err
		}
		visible, err := h.shows(c.KV(), n, now)
		if err != nil {
			return Notes{}, err
		}
		if visible {
			out.Notes = append(out.Notes, n)
		}
		out.Next = n.ID
	}
	if !out.More || len(out.Notes) > 0 && out.Notes[len(out.Notes)-1].ID == out.Next {
		out.Next = "" // the last note's own id asks on
	}
	return out, nil
}

func readNote(kv guest.KV, key string) (n Note, err error) {
	raw, err := kv.Get(key)
	if err != nil {
		return n, err
	}
	if err := noteJSON.Decode(raw, &n); err != nil {
		return n, guest.Errorf(abi.Corrupt, "read note %q: %w", key, err)
	}
	return n, nil
}
