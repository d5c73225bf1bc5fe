package journal_test

import (
	"bytes"
	"database/sql"
	"encoding/json"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"

	"github.com/arw-project/arw/abi"
	"github.com/arw-project/arw/host/internal/journal"
)

// TestADamagedPageIsNamedAndTheRestIsServed overwrites leaf pages in the middle of the table: a follower gets everything
// else and is told which records it does not get, and writing goes on.
func TestADamagedPageIsNamedAndTheRestIsServed(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	d, j := openSigned(t, dir)
	sign(t, j)
	for range 10 { // ten records of about a page each stand between many small ones
		addMany(t, j, 100)
		if _, err := j.Append(t.Context(), journal.Event{Kind: "big", Body: map[string]string{"s": "mark" + strings.Repeat("x", 3000)}}); err != nil {
			t.Fatal(err)
		}
	}
	last := j.Last()
	if err := d.Close(); err != nil {
		t.Fatal(err)
	}
	path := filepath.Join(dir, "arw.db")
	raw, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	at := bytes.Index(raw, []byte("markxxx")) / 4096 * 4096 // the leaf of the first
	copy(raw[at:at+4096], bytes.Repeat([]byte{0xff}, 4096))
	if err := os.WriteFile(path, raw, 0o600); err != nil {
		t.Fatal(err)
	}
	_, j = openSigned(t, dir) // the host starts all the same
	seen, damaged := int64(0), int64(0)
	for r, err := range j.Follow(t.Context(), 0, journal.Filter{}) {
		if err != nil {
			t.Fatal(err)
		}
		if r.Kind == journal.GapKind {
			var g journal.Gap
			if err := json.Unmarshal(r.Body, &g); err != nil || g.Reason != journal.GapDamaged || g.From != seen+1 {
				t.Fatalf("gap %s behind %d, %v", r.Body, seen, err)
			}
			damaged += g.Count
			seen = g.To
		} else if seen++; r.ID != seen {
			t.Fatalf("event %d, want %d", r.ID, seen)
		}
		if seen == last {
			break
		}
	}
	if damaged == 0 || damaged > 100 {
		t.Errorf("%d records are called damaged", damaged)
	}
	rep, err := j.Verify(t.Context())
	wantCode(t, err, abi.Corrupt)
	if rep.Bad < 1 || rep.Bad > last {
		t.Errorf("%+v", rep)
	}
	add(t, j, "still.written")
}

// gate is a disk that is as slow as the test wants: the commit waits for it.
type gate struct{ open, entered chan struct{} }

func (gate) Mark() {}
func (gate) Undo() {}
func (g gate) Seal(*sql.Tx) error {
	select {
	case g.entered <- struct{}{}:
	default:
	}
	<-g.open
	return nil
}
func (gate) Commit() {}
func (gate) Abort()  {}
func (gate) Closed() {}

// TestASlowDiskShowsNothingEarly holds that what is not durable is not seen, that readers do not wait for the disk, and
// that those who waited share few commits.
func TestASlowDiskShowsNothingEarly(t *testing.T) {
	t.Parallel()
	d, j := open(t, t.TempDir())
	addMany(t, j, 10)
	before := d.Stats()
	g := gate{make(chan struct{}), make(chan struct{}, 1)}
	d.Watch(g)
	const writers = 256
	var wg sync.WaitGroup
	for range writers {
		wg.Go(func() {
			if _, err := j.Append(t.Context(), journal.Event{Kind: "slow.event"}); err != nil {
				t.Error(err)
			}
		})
	}
	<-g.entered // a commit hangs in the disk
	if page, err := j.Read(t.Context(), 0, 0, journal.Filter{}); err != nil || len(page) != 10 || j.Last() != 10 {
		t.Errorf("%d records are read, the last is %d, %v", len(page), j.Last(), err)
	}
	close(g.open)
	wg.Wait()
	after := d.Stats()
	if j.Last() != 10+writers || after.Commits-before.Commits > writers/4 {
		t.Errorf("last %d, %d commits", j.Last(), after.Commits-before.Commits)
	}
	wantChain(t, j, 10+writers)
}
