package journal_test

import (
	"bytes"
	"context"
	"database/sql"
	"errors"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"

	"github.com/arw-project/arw/abi"
	"github.com/arw-project/arw/host/internal/db"
	"github.com/arw-project/arw/host/internal/journal"
)

// sealed makes, once, the file of a journal of 1,500 events (more than one page of the verifier).
var sealed = sync.OnceValues(func() (file []byte, head string) {
	dir, err := os.MkdirTemp("", "journal")
	must(err)
	defer os.RemoveAll(dir)
	path := filepath.Join(dir, "arw.db")
	d, err := db.Open(context.Background(), path, schema)
	must(err)
	j, err := journal.Open(context.Background(), d)
	must(err)
	events := make([]journal.Event, 1500)
	for i := range events {
		events[i].Kind = []string{"service.start", "service.stop"}[i%2]
	}
	_, err = j.Append(context.Background(), events...)
	must(err)
	rep, err := j.Verify(context.Background())
	must(err)
	must(d.Close())
	file, err = os.ReadFile(path)
	must(err)
	return file, rep.Head
})

func must(err error) {
	if err != nil {
		panic(err)
	}
}

// stopped is a copy of the sealed journal that nothing has open.
func stopped(t *testing.T) (path string, head string) {
	t.Helper()
	file, head := sealed()
	path = filepath.Join(t.TempDir(), "arw.db")
	if err := os.WriteFile(path, file, 0o600); err != nil {
		t.Fatal(err)
	}
	return path, head
}

// tamper runs SQL on a database file behind arw's back.
func tamper(t *testing.T, path string, statements ...string) {
	t.Helper()
	raw, err := sql.Open("sqlite", path)
	if err != nil {
		t.Fatal(err)
	}
	for _, s := range statements {
		if _, err := raw.Exec(s); err != nil {
			t.Fatalf("%s: %v", s, err)
		}
	}
	if err := raw.Close(); err != nil {
		t.Fatal(err)
	}
}

func TestVerifyNamesTheFirstBadEvent(t *testing.T) {
	t.Parallel()
	cases := []struct {
		name string
		sql  []string
		bad  int64
	}{
		{"nothing", nil, 0},
		{"kind", []string{"UPDATE event SET kind = 'service.health' WHERE id = 700"}, 700},
		{"time", []string{"UPDATE event SET time_ms = time_ms + 1 WHERE id = 1"}, 1},
		{"body", []string{`UPDATE event SET body = '{"n":2}' WHERE id = 1500`}, 1500},
		{"white space in the body", []string{`UPDATE event SET body = '{ }' WHERE id = 3`}, 3},
		{"salt", []string{"UPDATE event SET salt = randomblob(16) WHERE id = 1001"}, 1001},
		{"moved between fields", []string{"UPDATE event SET kind = 'service', corr = '.start' WHERE id = 5"}, 5},
		{"name added", []string{"UPDATE event SET actor = 'eve' WHERE id = 6"}, 6},
		{"hash", []string{"UPDATE event SET hash = randomblob(32) WHERE id = 1000"}, 1000},
		{"hash of another length", []string{"UPDATE event SET hash = x'00' WHERE id = 2"}, 2},
		{"prev", []string{"UPDATE event SET prev = zeroblob(32) WHERE id = 9"}, 9},
		{"removed", []string{"DELETE FROM event WHERE id = 1000"}, 1000},
		{"first removed", []string{"DELETE FROM event WHERE id = 1"}, 1},
		{"last removed", []string{"DELETE FROM event WHERE id = 1500"}, 1500},
		{"end removed", []string{"DELETE FROM event WHERE id > 40"}, 41},
		{"all removed", []string{"DELETE FROM event"}, 1},
		{"removed and numbered anew", []string{"DELETE FROM event WHERE id = 10", "UPDATE event SET id = id - 1 WHERE id > 10"}, 10},
		{"two exchanged", []string{"UPDATE event SET id = -1 WHERE id = 20", "UPDATE event SET id = 20 WHERE id = 21", "UPDATE event SET id = 21 WHERE id = -1"}, 20},
		{"content of two exchanged", []string{"UPDATE event SET kind = (SELECT kind FROM event AS o WHERE o.id = 2991 - event.id) WHERE id IN (1495, 1496)"}, 1495},
		{"inserted at the end", []string{"INSERT INTO event SELECT 1501, time_ms, kind, corr, actor, project, pack, action, salt, hash, randomblob(32), body FROM event WHERE id = 1500"}, 1501},
		{"copy of the last at the end", []string{"INSERT INTO event SELECT 1501, time_ms, kind, corr, actor, project, pack, action, salt, prev, hash, body FROM event WHERE id = 1500"}, 1501},
		{"inserted before the beginning", []string{"INSERT INTO event SELECT 0, time_ms, kind, corr, actor, project, pack, action, salt, prev, hash, body FROM event WHERE id = 1"}, 1},
		{"head moved back", []string{"UPDATE event_head SET id = 1000, hash = (SELECT hash FROM event WHERE id = 1000)"}, 1001},
		{"head's hash", []string{"UPDATE event_head SET hash = randomblob(32)"}, 1500},
	}
	for _, c := range cases {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			path, head := stopped(t)
			tamper(t, path, c.sql...)
			rep, err := journal.VerifyFile(t.Context(), path, nil)
			if c.bad == 0 {
				if err != nil || !rep.OK || rep.Count != 1500 || rep.Head != head {
					t.Errorf("%+v, %v", rep, err)
				}
				return
			}
			wantCode(t, err, abi.Corrupt, path)
			if rep.OK || rep.Bad != c.bad || rep.Why == "" {
				t.Errorf("%+v, want event %d", rep, c.bad)
			}
			if e, ok := errors.AsType[*abi.Error](err); !ok || e.Detail != rep {
				t.Errorf("the error does not carry the report: %+v", e)
			}
		})
	}
}

func TestAJournalThatLostItsEndIsNotOpened(t *testing.T) {
	t.Parallel()
	for _, c := range []string{"DELETE FROM event WHERE id > 1499", "UPDATE event_head SET hash = randomblob(32)", "DELETE FROM event_head"} {
		t.Run(c, func(t *testing.T) {
			t.Parallel()
			path, _ := stopped(t)
			tamper(t, path, c)
			d, err := db.Open(t.Context(), path, schema)
			if err != nil {
				t.Fatal(err)
			}
			defer d.Close()
			_, err = journal.Open(t.Context(), d)
			wantCode(t, err, abi.Corrupt)
			if _, err := journal.VerifyFile(t.Context(), path, nil); abi.CodeOf(err) != abi.Corrupt {
				t.Errorf("verify: %v", err)
			}
		})
	}
}

// TestARewrittenJournalDiffersFromANotedHead shows the limit of the chain: whoever can write the file can rewrite all of
// it, and then only a head that was noted elsewhere tells.
func TestARewrittenJournalDiffersFromANotedHead(t *testing.T) {
	t.Parallel()
	path, noted := stopped(t)
	dir := t.TempDir()
	d, j := open(t, dir)
	addMany(t, j, 1500)
	if err := d.Close(); err != nil {
		t.Fatal(err)
	}
	rep, err := journal.VerifyFile(t.Context(), filepath.Join(dir, "arw.db"), nil)
	if err != nil || rep.Head == noted {
		t.Errorf("%+v, %v; noted %s of %s", rep, err, noted, path)
	}
}

func TestVerifyFileBesideARunningDaemon(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	_, j := open(t, dir)
	addMany(t, j, 10)
	done := make(chan struct{})
	go func() {
		defer close(done)
		for range 30 {
			addMany(t, j, 50)
		}
	}()
	for running := true; running; {
		select {
		case <-done:
			running = false
		default:
		}
		rep, err := journal.VerifyFile(t.Context(), filepath.Join(dir, "arw.db"), nil)
		if err != nil || rep.Count < 10 {
			t.Fatalf("%+v, %v", rep, err)
		}
	}
	wantChain(t, j, 10+30*50)
}

func TestVerifyFileChangesNothing(t *testing.T) {
	t.Parallel()
	path, _ := stopped(t)
	before, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	if err := os.Chmod(path, 0o400); err != nil {
		t.Fatal(err)
	}
	if _, err := journal.VerifyFile(t.Context(), path, nil); err != nil {
		t.Error(err)
	}
	if after, err := os.ReadFile(path); err != nil || !bytes.Equal(before, after) {
		t.Errorf("the file changed, %v", err)
	}
}

func TestVerifyFilesThatHoldNoJournal(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	other := filepath.Join(dir, "other.db")
	tamper(t, other, "CREATE TABLE t (x)")
	text := filepath.Join(dir, "text")
	if err := os.WriteFile(text, []byte(strings.Repeat("no database ", 1000)), 0o600); err != nil {
		t.Fatal(err)
	}
	for path, code := range map[string]abi.Code{filepath.Join(dir, "absent"): abi.NotFound, other: abi.Incompatible, text: abi.Corrupt} {
		_, err := journal.VerifyFile(t.Context(), path, nil)
		wantCode(t, err, code, path)
	}
	if _, err := os.Stat(filepath.Join(dir, "absent")); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("a file was made: %v", err)
	}
}

// TestADamagedPageIsNamedAsAnEvent overwrites a page in the middle of the table: the walk names where it stopped.
func TestADamagedPageIsNamedAsAnEvent(t *testing.T) {
	t.Parallel()
	path, _ := stopped(t)
	b, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	for at := len(b) / 2 / 4096 * 4096; at < len(b); at += 4096 {
		copy(b[at:at+4096], bytes.Repeat([]byte{0xff}, 4096))
	}
	if err := os.WriteFile(path, b, 0o600); err != nil {
		t.Fatal(err)
	}
	rep, err := journal.VerifyFile(t.Context(), path, nil)
	wantCode(t, err, abi.Corrupt, path)
	if rep.Bad < 2 || rep.Bad > 1500 || rep.Bad != rep.Last+1 {
		t.Errorf("%+v", rep)
	}
}
