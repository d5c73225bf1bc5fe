package view_test

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"math/rand/v2"
	"testing"
	"time"

	"github.com/arw-project/arw/abi"
	"github.com/arw-project/arw/host/internal/journal"
	"github.com/arw-project/arw/host/internal/view"
)

// told applies the patches of a document in the order of the journal and hands every version to see.
func told(t *testing.T, f fixture, id string, see func(version int64, doc []byte)) {
	t.Helper()
	var root *view.Node
	for after := int64(0); ; {
		page, err := f.journal.Read(context.Background(), after, 0, journal.Filter{Prefixes: []string{view.EventKind}})
		if err != nil {
			t.Fatal(err)
		}
		if len(page) == 0 {
			return
		}
		for _, r := range page {
			after = r.ID
			var body struct {
				ID      string
				Version int64
				Patch   json.RawMessage
			}
			if err := json.Unmarshal(r.Body, &body); err != nil {
				t.Fatal(err)
			}
			if body.ID != id {
				continue
			}
			if root, err = view.Apply(root, body.Patch); err != nil {
				t.Fatalf("version %d: %v", body.Version, err)
			}
			see(body.Version, root.Text())
		}
	}
}

// What a reader gets at any version is what the patches give, whatever random changes were gathered in between.
func TestLiveEqualsPatchesAtEveryVersion(t *testing.T) {
	f := open(t, t.TempDir())
	l, err := f.Live(t.Context(), "metrics")
	if err != nil {
		t.Fatal(err)
	}
	rng := rand.New(rand.NewPCG(1, 2))
	read := map[int64]string{}
	for range 200 {
		for range rng.IntN(5) {
			err := l.Change(func(e *view.Edit) error {
				key := fmt.Sprintf("k%02d", rng.IntN(30))
				if rng.IntN(4) == 0 {
					e.Remove("rows", key)
				} else {
					e.Set(map[string]int{"n": rng.IntN(3)}, "rows", key)
				}
				e.Keep(20, "rows")
				return nil
			})
			if err != nil {
				t.Fatal(err)
			}
		}
		if err := l.Flush(t.Context()); err != nil {
			t.Fatal(err)
		}
		if doc, err := f.Get(t.Context(), "metrics"); err == nil {
			read[doc.Version] = string(doc.Body)
		}
	}
	seen := 0
	told(t, f, "metrics", func(version int64, doc []byte) {
		seen++
		if read[version] != string(doc) {
			t.Fatalf("version %d: REST has %s, the patches give %s", version, read[version], doc)
		}
	})
	if seen != len(read) || seen < 100 {
		t.Fatalf("%d versions by patches, %d by REST", seen, len(read))
	}
}

func TestLiveGathersChangesIntoOneVersion(t *testing.T) {
	f := open(t, t.TempDir())
	l, err := f.Live(t.Context(), "hot")
	if err != nil {
		t.Fatal(err)
	}
	before := f.journal.Last()
	for i := range 1000 {
		if err := l.Change(func(e *view.Edit) error { e.Set(i, "n"); return nil }); err != nil {
			t.Fatal(err)
		}
	}
	if f.journal.Last() != before {
		t.Fatal("a change of a live document wrote to the journal")
	}
	if err := errors.Join(l.Flush(t.Context()), l.Flush(t.Context())); err != nil {
		t.Fatal(err)
	}
	if n := f.journal.Last() - before; n != 1 {
		t.Fatalf("%d events for one beat, want 1", n)
	}
	if doc, err := f.Get(t.Context(), "hot"); err != nil || string(doc.Body) != `{"n":999}` || doc.Version != 1 {
		t.Fatalf("got %s, %v", doc.Body, err)
	}
}

func TestLiveRefuses(t *testing.T) {
	f := open(t, t.TempDir())
	_, err := f.Live(t.Context(), "Not A Name")
	wantCode(t, err, abi.Invalid, "Not A Name")
	l, err := f.Live(t.Context(), "doc")
	if err != nil {
		t.Fatal(err)
	}
	if err := l.Put(json.RawMessage(`{"a":1}`)); err != nil {
		t.Fatal(err)
	}
	wantCode(t, l.Put(json.RawMessage(`{`)), abi.Invalid, "doc")
	wantCode(t, l.Change(func(e *view.Edit) error { e.Set(1, "a", "b"); return nil }), abi.Invalid, "doc")
	wantCode(t, l.Change(func(e *view.Edit) error { e.Set(string(make([]byte, view.MaxDoc)), "a"); return nil }), abi.TooLarge, "doc")
	if err := l.Flush(t.Context()); err != nil {
		t.Fatal(err)
	}
	if doc, _ := f.Get(t.Context(), "doc"); string(doc.Body) != `{"a":1}` {
		t.Errorf("refused changes left %s", doc.Body)
	}
}

// count is a projection that counts events by kind, so that telling one twice or not at all shows.
var count = view.Projection{ID: "count", Kinds: []string{"test"}, Fold: func(e *view.Edit, r *journal.Record) error {
	if r.Kind == "test.bad" {
		e.Set(true, "halfway")
		return errors.New("cannot be told")
	}
	var n int
	if _, err := e.Get(&n, "kinds", r.Kind); err != nil {
		return err
	}
	e.Set(n+1, "kinds", r.Kind)
	return nil
}}

// A projection goes on where its durable document ends: after a restart that lost what was not flushed, no event is
// missing in it and none counts twice.
func TestProjectResumesExactlyOnce(t *testing.T) {
	dir := t.TempDir()
	for round := range 3 {
		f := open(t, dir)
		ctx, stop := context.WithCancel(t.Context())
		ended := make(chan error, 1)
		failures := make(chan string, 100)
		go func() {
			ended <- f.Project(ctx, []view.Projection{count}, func(id string, err error) { failures <- err.Error() })
		}()
		for i := range 10 {
			kind := "test.good"
			if i == 5 {
				kind = "test.bad"
			}
			if _, err := f.journal.Append(t.Context(), journal.Event{Kind: kind}, journal.Event{Kind: "other.kind"}); err != nil {
				t.Fatal(err)
			}
		}
		l, err := f.Live(t.Context(), "count")
		if err != nil {
			t.Fatal(err)
		}
		want := fmt.Sprintf(`{"kinds":{"test.good":%d},"through":`, 9*(round+1))
		for doc := ""; len(doc) < len(want) || doc[:len(want)] != want; {
			select {
			case err := <-ended:
				t.Fatalf("the projection ended: %v; it was at %s", err, doc)
			case <-time.After(time.Millisecond):
			}
			if round == 1 { // this round is never flushed: the next one has to tell it again
				_ = l.Change(func(e *view.Edit) error { var b json.RawMessage; _, err := e.Get(&b); doc = string(b); return err })
				continue
			}
			if err := l.Flush(t.Context()); err != nil {
				t.Fatal(err)
			}
			if d, err := f.Get(t.Context(), "count"); err == nil {
				doc = string(d.Body)
			}
		}
		if msg := <-failures; msg != "cannot be told" {
			t.Errorf("failure %q", msg)
		}
		stop()
		if err := <-ended; err != nil {
			t.Fatal(err)
		}
		if err := f.db.Close(); err != nil {
			t.Fatal(err)
		}
	}
}

func TestComputeAgainAfterItsKinds(t *testing.T) {
	f := open(t, t.TempDir())
	ctx, stop := context.WithCancel(t.Context())
	n := 0
	made := make(chan int)
	ended := make(chan error, 1)
	go func() {
		ended <- f.Compute(ctx, time.Millisecond, []view.Computed{{ID: "list", Kinds: []string{"packs"}, Make: func(ctx context.Context) (any, error) {
			n++
			select {
			case made <- n:
			case <-ctx.Done():
			}
			return map[string]int{"n": n}, nil
		}}}, func(id string, err error) { t.Errorf("%s: %v", id, err) })
	}()
	<-made
	if _, err := f.journal.Append(t.Context(), journal.Event{Kind: "other.kind"}, journal.Event{Kind: "packs.installed"}); err != nil {
		t.Fatal(err)
	}
	if got := <-made; got != 2 {
		t.Errorf("made %d times", got)
	}
	stop()
	if err := <-ended; err != nil {
		t.Fatal(err)
	}
}

func TestKeepFlushesAtEveryBeatAndAtTheEnd(t *testing.T) {
	f := open(t, t.TempDir())
	l, err := f.Live(t.Context(), "doc")
	if err != nil {
		t.Fatal(err)
	}
	ctx, stop := context.WithCancel(t.Context())
	ended := make(chan error, 1)
	go func() {
		ended <- f.Keep(ctx, time.Millisecond, func(id string, err error) { t.Errorf("%s: %v", id, err) })
	}()
	set := func(n int) {
		if err := l.Change(func(e *view.Edit) error { e.Set(n, "n"); return nil }); err != nil {
			t.Fatal(err)
		}
	}
	set(1)
	for r, err := range f.journal.Follow(t.Context(), 0, journal.Filter{}) {
		if err != nil || r.Kind != view.EventKind {
			t.Fatal(r.Kind, err)
		}
		break
	}
	set(2)
	stop()
	if err := <-ended; err != nil {
		t.Fatal(err)
	}
	if doc, err := f.Get(t.Context(), "doc"); err != nil || string(doc.Body) != `{"n":2}` {
		t.Errorf("after the end: %s, %v", doc.Body, err)
	}
}

// A document that is not stored yet, because its first beat is still to come, is cleaned like any other.
func TestScrubReachesWhatIsNotStoredYet(t *testing.T) {
	t.Parallel()
	f := open(t, t.TempDir())
	l, err := f.Live(t.Context(), "observations")
	if err != nil {
		t.Fatal(err)
	}
	if err := l.Put(json.RawMessage(`{"reason":"hunter2-and-more"}`)); err != nil {
		t.Fatal(err)
	}
	done, err := f.Scrub(t.Context(), view.Cause{Actor: "operator"}, "hunter2-and-more")
	if err != nil || len(done) != 1 || done[0] != "observations" {
		t.Fatalf("%v %v", done, err)
	}
	if d, err := f.Get(t.Context(), "observations"); err != nil || bytes.Contains(d.Body, []byte("hunter2")) {
		t.Errorf("%s %v", d.Body, err)
	}
}
