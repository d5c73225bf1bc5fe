// Command collaboration is the pack arw/collaboration: notes that people and agents of one project share, in order and
// for good.
//
// Keys: "next" holds the id of the next note (decimal), "n/<project>/<id, 12 digits>" a note as JSON, "count/<project>" a
// project's summary. A note and the counters that belong to it are written in one batch, so a call that is cut off
// leaves either all of it or nothing.
package main

import (
	"encoding/json"
	"fmt"
	"strconv"
	"time"

	"github.com/arw-project/arw/abi"
	"github.com/arw-project/arw/sdk/go/guest"
)

func main() {
	guest.Tool("collab.note.append", appendNote)
	guest.Tool("collab.note.list", listNotes)
}

// Note is one note as it is stored and answered.
type Note struct {
	ID      int64     `json:"id"`
	Project string    `json:"project"`
	Text    string    `json:"text"`
	Author  string    `json:"author,omitempty"`
	Time    time.Time `json:"time"`
}

// NewNote is the input of collab.note.append.
type NewNote struct {
	Project string `json:"project"`
	Text    string `json:"text"`
	Author  string `json:"author"`
}

// Summary is what the read model says of one project.
type Summary struct {
	Notes int64     `json:"notes"`
	Last  time.Time `json:"last"`
}

func appendNote(c *guest.Call, in NewNote) (Note, error) {
	kv := c.KV()
	id, err := number(kv, "next")
	if err != nil {
		return Note{}, err
	}
	now, err := c.Now()
	if err != nil {
		return Note{}, err
	}
	note := Note{ID: id + 1, Project: in.Project, Text: in.Text, Author: in.Author, Time: now.Truncate(time.Millisecond)}
	raw, err := json.Marshal(note)
	if err != nil {
		return Note{}, err
	}
	count, err := number(kv, "count/"+in.Project)
	if err != nil {
		return Note{}, err
	}
	var b guest.Batch
	b.Put(noteKey(in.Project, note.ID), raw)
	b.Put("next", strconv.AppendInt(nil, note.ID, 10))
	b.Put("count/"+in.Project, strconv.AppendInt(nil, count+1, 10))
	if err := kv.Apply(&b); err != nil {
		return Note{}, err
	}
	if err := show(c, note, count+1); err != nil {
		return Note{}, err
	}
	return note, c.Emit("collaboration.note.appended", map[string]any{"id": note.ID, "project": note.Project, "author": note.Author})
}

// show updates the read model with one project's new count.
func show(c *guest.Call, note Note, count int64) error {
	all := map[string]Summary{}
	if err := c.State().Get("collaboration.notes", &all); err != nil && abi.CodeOf(err) != abi.NotFound {
		return err
	}
	all[note.Project] = Summary{Notes: count, Last: note.Time}
	return c.State().Put("collaboration.notes", all)
}

func number(kv guest.KV, key string) (int64, error) {
	raw, err := kv.Get(key)
	if abi.CodeOf(err) == abi.NotFound {
		return 0, nil
	}
	if err != nil {
		return 0, err
	}
	n, err := strconv.ParseInt(string(raw), 10, 64)
	if err != nil {
		return 0, guest.Errorf(abi.Corrupt, "read %q: %w", key, err)
	}
	return n, nil
}

func noteKey(project string, id int64) string { return fmt.Sprintf("n/%s/%012d", project, id) }

// Page asks for notes.
type Page struct {
	Project string `json:"project"`
	After   int64  `json:"after"`
	Limit   int    `json:"limit"`
}

// Notes answers it; the last note's id asks for the page behind.
type Notes struct {
	Notes []Note `json:"notes"`
	More  bool   `json:"more"`
}

func listNotes(c *guest.Call, in Page) (Notes, error) {
	limit := in.Limit
	if limit == 0 {
		limit = 100
	}
	kv := c.KV()
	keys, more, err := kv.List("n/"+in.Project+"/", noteKey(in.Project, in.After), limit)
	if err != nil {
		return Notes{}, err
	}
	out := Notes{Notes: make([]Note, 0, len(keys)), More: more}
	for _, k := range keys {
		raw, err := kv.Get(k.Name)
		if err != nil {
			return Notes{}, err
		}
		var n Note
		if err := json.Unmarshal(raw, &n); err != nil {
			return Notes{}, guest.Errorf(abi.Corrupt, "read note %q: %w", k.Name, err)
		}
		out.Notes = append(out.Notes, n)
	}
	return out, nil
}
