package view

import (
	"context"
	"database/sql"
	"encoding/json"
	"strconv"

	"github.com/arw-project/arw/abi"
	"github.com/arw-project/arw/host/internal/journal"
)

// Cause says on whose behalf a document changes; it becomes part of the event.
type Cause struct{ Corr, Actor, Project, Pack, Action string }

// Change lets fn describe a change to a document (a new one begins as null at version 0) and makes it durable together
// with its event. It returns the version there is now; when fn changed nothing, there is no new one and no event. fn runs
// inside db.Write, under its rules. Errors: fn's own, Invalid for a name or an operation that is not possible, TooLarge
// for a document above MaxDoc, those of db.Write.
func (v *View) Change(ctx context.Context, by Cause, id string, fn func(*Edit) error) (version int64, err error) {
	err = v.db.Write(ctx, func(tx *sql.Tx) error {
		version, err = v.ChangeTx(tx, by, id, fn)
		return err
	})
	if err != nil {
		return 0, err
	}
	return version, nil
}

// ChangeTx is Change as part of tx, which must be the transaction of a running db.Write. Return its error from the
// function.
func (v *View) ChangeTx(tx *sql.Tx, by Cause, id string, fn func(*Edit) error) (version int64, err error) {
	now, err := v.current(tx, id)
	if err != nil {
		return 0, err
	}
	e := &Edit{root: now.root, clean: v.clean}
	if err := fn(e); err != nil {
		return 0, err
	}
	if e.err != nil {
		return 0, abi.Errorf(abi.Invalid, "change document %q: %w", id, e.err)
	}
	if len(e.ops) == 0 {
		return now.version, nil
	}
	if e.root.size > MaxDoc {
		return 0, abi.Errorf(abi.TooLarge, "change document %q: it would have %d bytes, at most %d are allowed", id, e.root.size, MaxDoc).
			WithHint("keep the bulk in keys or blobs and the document to what is shown")
	}
	// Small patches say what changed; a large one that is longer than the document helps nobody.
	if whole := []op{{"replace", "", e.root}}; patchSize(e.ops) > max(patchSize(whole), 4096) {
		e.ops = whole
	}
	if now.root == nil { // no document yet, so nothing to replace
		e.ops = []op{{"add", "", e.root}}
	}
	return v.write(tx, by, now, e.root, e.ops)
}

// Put replaces a document by doc, a JSON value; only what differs becomes part of the patch. Returns and errors are
// Change's, and Invalid for text that is not JSON.
func (v *View) Put(ctx context.Context, by Cause, id string, doc json.RawMessage) (version int64, err error) {
	root, err := parseClean(doc, v.clean) // not on the writer's goroutine
	if err != nil {
		return 0, abi.Errorf(abi.Invalid, "put document %q: %w", id, err)
	}
	return v.Change(ctx, by, id, replaced(root))
}

// PutTx is Put as part of tx, under the rules of ChangeTx.
func (v *View) PutTx(tx *sql.Tx, by Cause, id string, doc json.RawMessage) (version int64, err error) {
	root, err := parseClean(doc, v.clean)
	if err != nil {
		return 0, abi.Errorf(abi.Invalid, "put document %q: %w", id, err)
	}
	return v.ChangeTx(tx, by, id, replaced(root))
}

func replaced(root *node) func(*Edit) error {
	return func(e *Edit) error {
		if e.root == nil {
			e.ops = []op{{"add", "", root}}
		} else {
			e.ops = diff(nil, "", e.root, root)
		}
		e.root = root
		return nil
	}
}

// GetTx is the document as the transaction of a running db.Write sees it.
func (v *View) GetTx(tx *sql.Tx, id string) (doc json.RawMessage, found bool, err error) {
	now, err := v.current(tx, id)
	if err != nil || now.root == nil {
		return nil, false, err
	}
	return now.root.appendTo(make([]byte, 0, now.root.size)), true, nil
}

// Delete removes a document. Its versions go on if one of the same name is made later. Removing what is not there
// changes nothing.
func (v *View) Delete(ctx context.Context, by Cause, id string) error {
	return v.db.Write(ctx, func(tx *sql.Tx) error {
		now, err := v.current(tx, id)
		if err != nil || now.root == nil {
			return err
		}
		_, err = v.write(tx, by, now, nil, []op{{"replace", "", leaf([]byte("null"))}})
		return err
	})
}

// current is the document as the running transaction sees it.
func (v *View) current(tx *sql.Tx, id string) (*state, error) {
	if err := checkID(id); err != nil {
		return nil, err
	}
	if s := v.pending[id]; s != nil {
		return s, nil
	}
	v.mu.RLock()
	s := v.docs[id]
	v.mu.RUnlock()
	if s != nil {
		return s, nil
	}
	s, err := load(context.Background(), tx, id)
	return s, v.db.Explain(`read document "`+id+`"`, err)
}

// checkID holds a name to characters that are safe in a URL's path and in an ETag.
func checkID(id string) error {
	ok := id != "" && len(id) <= MaxID
	for i := range len(id) {
		c := id[i]
		ok = ok && (c >= 'a' && c <= 'z' || c >= '0' && c <= '9' || i > 0 && (c == '.' || c == '_' || c == '-' || c == '/' || c == ':'))
	}
	if !ok {
		return abi.Errorf(abi.Invalid, "name a document %.200q: a name has 1 to %d of a-z, 0-9 and, not at the beginning, . _ - / :", id, MaxID)
	}
	return nil
}

// write stores one new version with its event and notes it for Commit or Undo.
func (v *View) write(tx *sql.Tx, by Cause, old *state, root *node, ops []op) (int64, error) {
	next := &state{id: old.id, version: old.version + 1, root: root}
	patch := appendPatch(make([]byte, 0, patchSize(ops)), ops)
	if _, err := v.journal.AppendTx(tx, journal.Event{
		Kind: EventKind, Corr: by.Corr, Actor: by.Actor, Project: by.Project, Pack: by.Pack, Action: by.Action,
		Body: eventBody(next, patch),
	}); err != nil {
		return 0, err
	}
	whole := root == nil || ops[0].path == ""
	next.behind = old.behind + len(patch)
	var err error
	// Writing the text once the patches outweigh it keeps both the cost per change and the cost of loading in proportion.
	if whole || next.behind > max(root.size, 4096) {
		next.behind = 0
		err = v.store(tx, next)
	} else {
		err = v.run(tx, "INSERT INTO view_patch (view, version, patch) VALUES (?, ?, ?)", next.id, next.version, string(patch))
		if err == nil {
			err = v.run(tx, "UPDATE view SET version = ? WHERE id = ?", next.version, next.id)
		}
	}
	if err != nil {
		return 0, v.db.Explain(`change document "`+next.id+`"`, err)
	}
	v.undo = append(v.undo, change{next.id, v.pending[next.id]})
	v.pending[next.id] = next
	return next.version, nil
}

func eventBody(s *state, patch []byte) json.RawMessage {
	b := make([]byte, 0, len(patch)+len(s.id)+64)
	b = appendQuoted(append(b, `{"id":`...), s.id)
	b = strconv.AppendInt(append(b, `,"version":`...), s.version, 10)
	if s.root == nil {
		b = append(b, `,"deleted":true`...)
	}
	return append(append(append(b, `,"patch":`...), patch...), '}')
}

// store writes the text of a document, in place of its patches.
func (v *View) store(tx *sql.Tx, s *state) error {
	var body any
	if s.root != nil {
		body = string(s.root.appendTo(make([]byte, 0, s.root.size)))
	}
	err := v.run(tx, "INSERT INTO view (id, version, body) VALUES (?, ?, ?) ON CONFLICT DO UPDATE SET version = excluded.version, body = excluded.body", s.id, s.version, body)
	if err != nil {
		return err
	}
	return v.run(tx, "DELETE FROM view_patch WHERE view = ?", s.id)
}

func (v *View) run(tx *sql.Tx, query string, args ...any) error {
	stmt, err := v.db.Stmt(tx, query)
	if err == nil {
		_, err = stmt.Exec(args...)
	}
	return err
}

// change is what was pending for a document before.
type change struct {
	id  string
	was *state
}

// watcher keeps the documents in memory in step with the disk.
type watcher struct{ v *View }

func (w watcher) Mark() { w.v.marked = len(w.v.undo) }

func (w watcher) Undo() {
	for n := len(w.v.undo); n > w.v.marked; n-- {
		c := w.v.undo[n-1]
		if w.v.pending[c.id] = c.was; c.was == nil {
			delete(w.v.pending, c.id)
		}
		w.v.undo = w.v.undo[:n-1]
	}
}

func (watcher) Seal(*sql.Tx) error { return nil }

func (w watcher) Commit() {
	w.v.mu.Lock()
	for id, s := range w.v.pending {
		w.v.docs[id] = s
	}
	w.v.mu.Unlock()
	w.reset()
}

// Abort forgets the documents concerned: whether the disk has their new versions is unknown until it is asked again.
func (w watcher) Abort() {
	w.v.mu.Lock()
	for id := range w.v.pending {
		delete(w.v.docs, id)
	}
	w.v.mu.Unlock()
	w.reset()
}

func (w watcher) reset() {
	clear(w.v.pending)
	clear(w.v.undo)
	w.v.undo = w.v.undo[:0]
}

func (watcher) Closed() {}
