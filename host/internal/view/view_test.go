package view_test

import (
	"context"
	"database/sql"
	"encoding/json"
	"errors"
	"fmt"
	"math/rand/v2"
	"path/filepath"
	"reflect"
	"slices"
	"strings"
	"sync"
	"testing"

	"github.com/arw-project/arw/abi"
	"github.com/arw-project/arw/host/internal/db"
	"github.com/arw-project/arw/host/internal/journal"
	"github.com/arw-project/arw/host/internal/view"
)

type fixture struct {
	db      *db.DB
	journal *journal.Journal
	*view.View
}

func open(t testing.TB, dir string) fixture {
	t.Helper()
	d, err := db.Open(context.Background(), filepath.Join(dir, "arw.db"), []db.Migration{{Owner: "journal", Steps: journal.Schema}, {Owner: "view", Steps: view.Schema}})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = d.Close() })
	j, err := journal.Open(context.Background(), d)
	if err != nil {
		t.Fatal(err)
	}
	return fixture{d, j, view.Open(d, j)}
}

func wantCode(t *testing.T, err error, code abi.Code, parts ...string) {
	t.Helper()
	if abi.CodeOf(err) != code {
		t.Fatalf("error %v has code %v, want %v", err, abi.CodeOf(err), code)
	}
	for _, p := range parts {
		if !strings.Contains(err.Error(), p) {
			t.Errorf("error %q does not mention %q", err, p)
		}
	}
}

// patchEvent is the event's body as a client would decode it.
type patchEvent struct {
	ID      string
	Version int64
	Deleted bool
	Patch   []struct {
		Op, Path string
		Value    any
	}
}

func events(t testing.TB, j *journal.Journal, after int64) (all []patchEvent, records []journal.Record) {
	t.Helper()
	for {
		page, err := j.Read(t.Context(), after, 0, journal.Filter{Prefixes: []string{view.EventKind}})
		if err != nil {
			t.Fatal(err)
		}
		if len(page) == 0 {
			return all, records
		}
		for _, r := range page {
			var e patchEvent
			if err := json.Unmarshal(r.Body, &e); err != nil {
				t.Fatal(err)
			}
			all, records, after = append(all, e), append(records, r), r.ID
		}
	}
}

// applied applies a patch to a decoded document by the words of RFC 6902, knowing nothing of how the patch was made.
func applied(t testing.TB, doc any, e patchEvent) any {
	t.Helper()
	for _, o := range e.Patch {
		doc = applyOne(t, doc, strings.Split(o.Path, "/")[1:], o.Op, o.Value)
	}
	return doc
}

func applyOne(t testing.TB, doc any, path []string, op string, val any) any {
	t.Helper()
	if len(path) == 0 {
		if op == "remove" {
			t.Fatal("a patch removes the whole document")
		}
		return val
	}
	key := strings.ReplaceAll(strings.ReplaceAll(path[0], "~1", "/"), "~0", "~")
	o, ok := doc.(map[string]any)
	if !ok {
		t.Fatalf("%s %q: not an object but %v", op, path, doc)
	}
	_, there := o[key]
	switch {
	case len(path) > 1 && !there, len(path) == 1 && op != "add" && !there:
		t.Fatalf("%s %q: there is no such member", op, path)
	case len(path) > 1:
		o[key] = applyOne(t, o[key], path[1:], op, val)
	case op == "remove":
		delete(o, key)
	case op == "add" && there:
		t.Fatalf("add %q: there is one", path)
	default:
		o[key] = val
	}
	return o
}

func decode(t testing.TB, b []byte) (v any) {
	t.Helper()
	if err := json.Unmarshal(b, &v); err != nil {
		t.Fatalf("%v in %s", err, b)
	}
	return v
}

func TestAChangeIsADocumentAVersionAndAnEvent(t *testing.T) {
	t.Parallel()
	v := open(t, t.TempDir())
	by := view.Cause{Corr: "cor_1", Actor: "ada", Project: "p", Pack: "arw/research", Action: "act_1"}
	n, err := v.Change(t.Context(), by, "leases", func(e *view.Edit) error {
		e.Set(map[string]any{"state": "live"}, "items", "lea_1")
		return nil
	})
	if err != nil || n != 1 {
		t.Fatal(n, err)
	}
	n, err = v.Change(t.Context(), by, "leases", func(e *view.Edit) error {
		e.Set("revoked", "items", "lea_1", "state")
		e.Set(json.RawMessage(`[ 1, {"a": 2} ]`), "list~/")
		return nil
	})
	if err != nil || n != 2 {
		t.Fatal(n, err)
	}
	doc, err := v.Get(t.Context(), "leases")
	if err != nil {
		t.Fatal(err)
	}
	if string(doc.Body) != `{"items":{"lea_1":{"state":"revoked"}},"list~/":[1,{"a":2}]}` || doc.ETag != `"state-leases-v2"` || doc.Version != 2 || doc.ID != "leases" {
		t.Errorf("%+v %s", doc, doc.Body)
	}
	_, records := events(t, v.journal, 0)
	if len(records) != 2 {
		t.Fatalf("%d events", len(records))
	}
	for i, want := range []string{
		`{"id":"leases","version":1,"patch":[{"op":"add","path":"","value":{"items":{"lea_1":{"state":"live"}}}}]}`,
		`{"id":"leases","version":2,"patch":[{"op":"replace","path":"/items/lea_1/state","value":"revoked"},{"op":"add","path":"/list~0~1","value":[1,{"a":2}]}]}`,
	} {
		if r := records[i]; string(r.Body) != want || r.Corr != by.Corr || r.Actor != by.Actor || r.Project != by.Project || r.Pack != by.Pack || r.Action != by.Action {
			t.Errorf("event %d is %+v\n%s\nwant\n%s", i, r, r.Body, want)
		}
	}
}

func TestWhatChangesNothingIsNoChange(t *testing.T) {
	t.Parallel()
	v := open(t, t.TempDir())
	put := func(doc string) int64 {
		n, err := v.Put(t.Context(), view.Cause{}, "d", json.RawMessage(doc))
		if err != nil {
			t.Fatal(err)
		}
		return n
	}
	put(`{"a":{"b":1},"c":[1,2]}`)
	if n := put(` { "c" : [1, 2], "a":{"b":1} } `); n != 1 {
		t.Errorf("the same document written otherwise made version %d", n)
	}
	n, err := v.Change(t.Context(), view.Cause{}, "d", func(e *view.Edit) error {
		e.Set(1, "a", "b")
		e.Remove("x")
		e.Remove("a", "x", "y")
		return nil
	})
	if n != 1 || err != nil {
		t.Errorf("version %d, %v", n, err)
	}
	if err := v.Delete(t.Context(), view.Cause{}, "never"); err != nil {
		t.Error(err)
	}
	if all, _ := events(t, v.journal, 0); len(all) != 1 {
		t.Errorf("%d events", len(all))
	}
}

func TestPutPatchesOnlyWhatDiffers(t *testing.T) {
	t.Parallel()
	cases := []struct{ name, from, to, patch string }{
		{"member", `{"a":1,"b":{"c":2,"d":"a longer value that is not repeated"}}`, `{"a":1,"b":{"c":3,"d":"a longer value that is not repeated"}}`, `[{"op":"replace","path":"/b/c","value":3}]`},
		{"added and removed", `{"a":1,"k":"a longer value that is not repeated in the patch, so that it pays"}`, `{"b":1,"k":"a longer value that is not repeated in the patch, so that it pays"}`, `[{"op":"remove","path":"/a"},{"op":"add","path":"/b","value":1}]`},
		{"array is one value", `{"a":[1,2,3],"k":"a longer value that is not repeated"}`, `{"a":[1,2],"k":"a longer value that is not repeated"}`, `[{"op":"replace","path":"/a","value":[1,2]}]`},
		{"whole when that is much shorter", "{" + members(500, 1) + "}", "{" + members(500, 2) + "}", `[{"op":"replace","path":"","value":{` + members(500, 2) + "}}]"},
		{"to no object", `{"a":1}`, `[]`, `[{"op":"replace","path":"","value":[]}]`},
		{"names to escape", `{"a/b":{"~":{"\"\n":"a longer value so that a small patch pays","x":1}}}`, `{"a/b":{"~":{"\"\n":"a longer value so that a small patch pays","x":2}}}`, `[{"op":"replace","path":"/a~1b/~0/x","value":2}]`},
	}
	v := open(t, t.TempDir())
	for _, c := range cases {
		t.Run(c.name, func(t *testing.T) {
			last := v.journal.Last()
			id := strings.ReplaceAll(c.name, " ", "_")
			for _, doc := range []string{c.from, c.to} {
				if _, err := v.Put(t.Context(), view.Cause{}, id, json.RawMessage(doc)); err != nil {
					t.Fatal(err)
				}
			}
			_, records := events(t, v.journal, last)
			if want := `{"id":"` + id + `","version":2,"patch":` + c.patch + `}`; string(records[1].Body) != want {
				t.Errorf("got  %s\nwant %s", records[1].Body, want)
			}
		})
	}
}

// members is n members of an object, sorted, all with one value.
func members(n, val int) string {
	all := make([]string, n)
	for i := range all {
		all[i] = fmt.Sprintf(`"%04d":%d`, i, val)
	}
	return strings.Join(all, ",")
}

func TestRefusals(t *testing.T) {
	t.Parallel()
	v := open(t, t.TempDir())
	boom := errors.New("boom")
	if _, err := v.Put(t.Context(), view.Cause{}, "d", json.RawMessage(`{"a":1}`)); err != nil {
		t.Fatal(err)
	}
	set := func(val any, path ...string) func(*view.Edit) error {
		return func(e *view.Edit) error { e.Set(true, "before"); e.Set(val, path...); e.Set(true, "after"); return nil }
	}
	deep := strings.Repeat(`{"a":`, 200) + "1" + strings.Repeat("}", 200)
	cases := []struct {
		name, id string
		fn       func(*view.Edit) error
		code     abi.Code
		says     string
	}{
		{"fn fails", "d", func(e *view.Edit) error { e.Set(2, "a"); return boom }, abi.Internal, "boom"},
		{"through a number", "d", set(1, "a", "b"), abi.Invalid, `"/a" is not an object`},
		{"does not marshal", "d", set(func() {}, "b"), abi.Invalid, "marshal"},
		{"not JSON", "d", set(json.RawMessage(`{`), "b"), abi.Invalid, "not JSON"},
		{"name twice", "d", set(json.RawMessage(`[{"x":1,"x":2}]`), "b"), abi.Invalid, "twice"},
		{"not UTF-8", "d", set(json.RawMessage("\"\xff\""), "b"), abi.Invalid, "UTF-8"},
		{"name not UTF-8", "d", set(1, "\xff"), abi.Invalid, "UTF-8"},
		{"too deep", "d", set(json.RawMessage(deep), "b"), abi.Invalid, "deeper"},
		{"remove everything", "d", func(e *view.Edit) error { e.Remove(); return nil }, abi.Invalid, "whole document"},
		{"too large", "d", set(strings.Repeat("x", view.MaxDoc), "b"), abi.TooLarge, "1000000"},
		{"empty name", "", set(1, "b"), abi.Invalid, "name a document"},
		{"name with a quote", `d"`, set(1, "b"), abi.Invalid, "name a document"},
		{"name in capitals", "D", set(1, "b"), abi.Invalid, "name a document"},
		{"name that climbs", "../d", set(1, "b"), abi.Invalid, "name a document"},
		{"long name", strings.Repeat("d", view.MaxID+1), set(1, "b"), abi.Invalid, "name a document"},
	}
	for _, c := range cases {
		t.Run(c.name, func(t *testing.T) {
			_, err := v.Change(t.Context(), view.Cause{}, c.id, c.fn)
			wantCode(t, err, c.code, c.says)
			doc, err := v.Get(t.Context(), "d")
			if err != nil || doc.Version != 1 || string(doc.Body) != `{"a":1}` {
				t.Errorf("the document became %s at version %d, %v", doc.Body, doc.Version, err)
			}
		})
	}
	_, err := v.Get(t.Context(), "never")
	wantCode(t, err, abi.NotFound, `"never"`)
	if all, _ := events(t, v.journal, 0); len(all) != 1 {
		t.Errorf("refused changes were journaled: %d events", len(all))
	}
}

func TestDeleteAndMakeAgain(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	v := open(t, dir)
	must := func(err error) {
		t.Helper()
		if err != nil {
			t.Fatal(err)
		}
	}
	_, err := v.Put(t.Context(), view.Cause{}, "d", json.RawMessage(`{"a":1}`))
	must(err)
	must(v.Delete(t.Context(), view.Cause{}, "d"))
	for range 2 {
		_, err = v.Get(t.Context(), "d")
		wantCode(t, err, abi.NotFound)
		if heads, err := v.List(t.Context(), ""); err != nil || len(heads) != 0 {
			t.Errorf("listed %+v, %v", heads, err)
		}
		must(v.db.Close())
		v = open(t, dir) // absence must survive too
	}
	n, err := v.Put(t.Context(), view.Cause{}, "d", json.RawMessage(`{"b":1}`))
	if err != nil || n != 3 {
		t.Errorf("made again at version %d, %v; want 3, lest an old ETag match", n, err)
	}
	all, _ := events(t, v.journal, 0)
	var doc any
	for _, e := range all {
		doc = applied(t, doc, e)
		if e.Deleted != (e.Version == 2) || e.Deleted && doc != nil {
			t.Errorf("version %d: deleted %v, %v", e.Version, e.Deleted, doc)
		}
	}
}

func TestList(t *testing.T) {
	t.Parallel()
	v := open(t, t.TempDir())
	for _, id := range []string{"b", "a.x", "a.y", "a"} {
		if _, err := v.Put(t.Context(), view.Cause{}, id, json.RawMessage(`1`)); err != nil {
			t.Fatal(err)
		}
	}
	for prefix, want := range map[string]string{"": "a a.x a.y b", "a.": "a.x a.y", "c": "", "%": ""} {
		heads, err := v.List(t.Context(), prefix)
		if err != nil {
			t.Fatal(err)
		}
		var got []string
		for _, h := range heads {
			got = append(got, h.ID)
			if h.Version != 1 || h.ETag != view.ETag(h.ID, 1) {
				t.Errorf("%+v", h)
			}
		}
		if strings.Join(got, " ") != want {
			t.Errorf("prefix %q gives %q, want %q", prefix, got, want)
		}
	}
}

// TestPatchesEqualDocumentsAtEveryVersion drives random changes, some of which are undone, alone or with their group,
// through reopenings, and holds every version a reader can get against what a client has who only applies patches.
func TestPatchesEqualDocumentsAtEveryVersion(t *testing.T) {
	t.Parallel()
	for seed := range uint64(6) {
		t.Run(fmt.Sprint(seed), func(t *testing.T) {
			t.Parallel()
			dir := t.TempDir()
			rnd := rand.New(rand.NewPCG(seed, 9))
			v := open(t, dir)
			rest := map[string]map[int64]any{"a": {}, "b": {}}
			for step := range 150 {
				id := []string{"a", "b"}[rnd.IntN(2)]
				if err := randomStep(v, rnd, id); err != nil && !errors.Is(err, errUndo) && abi.CodeOf(err) != abi.Invalid && abi.CodeOf(err) != abi.Internal {
					t.Fatal(err)
				}
				if step%40 == 39 {
					if err := v.db.Close(); err != nil {
						t.Fatal(err)
					}
					v = open(t, dir)
				}
				doc, err := v.Get(t.Context(), id)
				if err == nil {
					rest[id][doc.Version] = decode(t, doc.Body)
				} else if abi.CodeOf(err) != abi.NotFound {
					t.Fatal(err)
				}
			}
			client, versions := map[string]any{}, map[string]int64{}
			all, _ := events(t, v.journal, 0)
			for _, e := range all {
				if e.Version != versions[e.ID]+1 {
					t.Fatalf("%s: version %d follows %d", e.ID, e.Version, versions[e.ID])
				}
				client[e.ID], versions[e.ID] = applied(t, client[e.ID], e), e.Version
				if want, ok := rest[e.ID][e.Version]; ok && !reflect.DeepEqual(client[e.ID], want) {
					t.Fatalf("%s at version %d: patches give %v, a reader got %v", e.ID, e.Version, client[e.ID], want)
				}
			}
			for id, seen := range rest {
				for version := range seen {
					if version > versions[id] {
						t.Errorf("%s: a reader saw version %d, the last event is of %d", id, version, versions[id])
					}
				}
			}
		})
	}
}

var errUndo = errors.New("undo")

// randomStep changes a document in one of the ways there are.
func randomStep(v fixture, rnd *rand.Rand, id string) error {
	ctx := context.Background()
	key := func() string { return []string{"x", "y", "z/1", "~", "é\""}[rnd.IntN(5)] }
	edit := func(e *view.Edit) error {
		for range 1 + rnd.IntN(4) {
			path := []string{key(), key(), key()}[:1+rnd.IntN(3)]
			if rnd.IntN(3) == 0 {
				e.Remove(path...)
			} else {
				e.Set(randomValue(rnd, 2), path...)
			}
		}
		return nil
	}
	switch rnd.IntN(12) {
	case 0:
		return v.Delete(ctx, view.Cause{}, id)
	case 1, 2:
		doc, _ := json.Marshal(randomValue(rnd, 4))
		_, err := v.Put(ctx, view.Cause{}, id, doc)
		return err
	case 3: // undone alone, after two changes in one transaction
		return v.db.Write(ctx, func(tx *sql.Tx) error {
			_, _ = v.ChangeTx(tx, view.Cause{}, id, edit)
			_, _ = v.ChangeTx(tx, view.Cause{}, id, edit)
			return errUndo
		})
	case 4: // undone with its group
		return v.db.Write(ctx, func(tx *sql.Tx) error {
			_, _ = v.ChangeTx(tx, view.Cause{}, id, edit)
			return tx.Rollback()
		})
	default:
		_, err := v.Change(ctx, view.Cause{}, id, edit)
		return err
	}
}

func randomValue(rnd *rand.Rand, depth int) any {
	switch n := rnd.IntN(8); {
	case n < 4 && depth > 0:
		o := map[string]any{}
		for range rnd.IntN(4) {
			o[[]string{"x", "y", "z/1", "~", "é\""}[rnd.IntN(5)]] = randomValue(rnd, depth-1)
		}
		return o
	case n == 4:
		return []any{rnd.IntN(3), map[string]any{"k": nil}}
	case n == 5:
		return strings.Repeat("long <text> ", rnd.IntN(60))
	case n == 6:
		return nil
	}
	return rnd.IntN(5)
}

// TestReadersAmongWriters has readers take documents while many writers change them: a version never goes back and what
// an event announced can be read.
func TestReadersAmongWriters(t *testing.T) {
	t.Parallel()
	v := open(t, t.TempDir())
	ctx, cancel := context.WithCancel(t.Context())
	const writers, each = 8, 40
	var wg, readers sync.WaitGroup
	readers.Go(func() {
		for r, err := range v.journal.Follow(ctx, 0, journal.Filter{Prefixes: []string{view.EventKind}}) {
			if err != nil {
				t.Error(err)
				return
			}
			var e patchEvent
			if err := json.Unmarshal(r.Body, &e); err != nil {
				t.Error(err)
			}
			if doc, err := v.Get(context.Background(), e.ID); err != nil || doc.Version < e.Version {
				t.Errorf("event of version %d was seen before the document, which is at %d, %v", e.Version, doc.Version, err)
			}
			if e.Version == writers*each {
				return
			}
		}
	})
	for w := range writers {
		wg.Go(func() {
			last := int64(0)
			for i := range each {
				n, err := v.Change(ctx, view.Cause{}, "d", func(e *view.Edit) error { e.Set(i, fmt.Sprint(w)); return nil })
				if err != nil {
					t.Error(err)
				}
				doc, err := v.Get(ctx, "d")
				if err != nil || doc.Version < n || doc.Version < last {
					t.Errorf("wrote version %d, saw %d, then %d, %v", n, last, doc.Version, err)
				}
				last = doc.Version
			}
		})
	}
	wg.Wait()
	readers.Wait()
	cancel()
	doc, err := v.Get(t.Context(), "d")
	if err != nil || doc.Version != writers*each {
		t.Fatal(doc.Version, err)
	}
	var got map[string]int
	if err := json.Unmarshal(doc.Body, &got); err != nil || len(got) != writers || slices.ContainsFunc([]string{"0", "7"}, func(k string) bool { return got[k] != each-1 }) {
		t.Errorf("%v, %v", got, err)
	}
}
