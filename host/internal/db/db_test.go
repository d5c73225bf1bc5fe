package db_test

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"sync"
	"sync/atomic"
	"testing"

	"github.com/arw-project/arw/abi"
	"github.com/arw-project/arw/host/internal/db"
)

var schema = []db.Migration{{Owner: "test", Steps: []string{"CREATE TABLE item (name TEXT PRIMARY KEY, body BLOB) STRICT"}}}

func open(t *testing.T, dir string) *db.DB {
	t.Helper()
	d, err := db.Open(t.Context(), filepath.Join(dir, "arw.db"), schema)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = d.Close() })
	return d
}

func put(ctx context.Context, d *db.DB, name string) error {
	return d.Write(ctx, insert(d, name))
}

func insert(d *db.DB, name string) func(*sql.Tx) error {
	return func(tx *sql.Tx) error {
		s, err := d.Stmt(tx, "INSERT INTO item (name) VALUES (?)")
		if err == nil {
			_, err = s.Exec(name)
		}
		return err
	}
}

func names(t *testing.T, d *db.DB) string {
	t.Helper()
	rows, err := d.Read().Query("SELECT name FROM item ORDER BY name")
	if err != nil {
		t.Fatal(err)
	}
	defer rows.Close()
	var all []string
	for rows.Next() {
		var s string
		if err := rows.Scan(&s); err != nil {
			t.Fatal(err)
		}
		all = append(all, s)
	}
	return strings.Join(all, " ")
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

// hold keeps the writer busy until the returned function is called, so that a test decides what one group holds.
func hold(t *testing.T, d *db.DB) (release func()) {
	t.Helper()
	entered, leave, left := make(chan struct{}), make(chan struct{}), make(chan error, 1)
	go func() {
		left <- d.Write(context.Background(), func(*sql.Tx) error { close(entered); <-leave; return nil })
	}()
	<-entered
	return func() {
		close(leave)
		if err := <-left; err != nil {
			t.Error(err)
		}
	}
}

// group runs the functions as one group and returns their errors in order.
func group(t *testing.T, d *db.DB, fns ...func(*sql.Tx) error) []error {
	t.Helper()
	release := hold(t, d)
	errs := make([]error, len(fns))
	var wg sync.WaitGroup
	for i, fn := range fns {
		wg.Go(func() { errs[i] = d.Write(context.Background(), fn) })
		for d.Queued() < i+1 { // one after the other, so that the order within the group is known
			runtime.Gosched()
		}
	}
	release()
	wg.Wait()
	return errs
}

func TestWriteIsReadBackAndSurvivesReopening(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	d := open(t, dir)
	if err := put(t.Context(), d, "a"); err != nil {
		t.Fatal(err)
	}
	if got := names(t, d); got != "a" {
		t.Errorf("before closing: %q", got)
	}
	if err := d.Close(); err != nil {
		t.Fatal(err)
	}
	if err := d.Close(); err != nil {
		t.Errorf("second Close: %v", err)
	}
	wantCode(t, put(t.Context(), d, "late"), abi.Unavailable, "closed")
	if got := names(t, open(t, dir)); got != "a" {
		t.Errorf("after reopening: %q", got)
	}
}

func TestFilesAreForTheOwnerOnly(t *testing.T) {
	t.Parallel()
	dir := filepath.Join(t.TempDir(), "made", "here")
	d := open(t, dir)
	if err := put(t.Context(), d, "a"); err != nil {
		t.Fatal(err)
	}
	for name, want := range map[string]os.FileMode{"": 0o700, "arw.db": 0o600, "arw.db-wal": 0o600, "lock": 0o600} {
		st, err := os.Stat(filepath.Join(dir, name))
		if err != nil {
			t.Fatal(err)
		}
		if st.Mode().Perm() != want {
			t.Errorf("mode of %q is %v, want %v", name, st.Mode().Perm(), want)
		}
	}
}

func TestWritersShareCommits(t *testing.T) {
	t.Parallel()
	d := open(t, t.TempDir())
	const writers, each = 64, 20
	var wg sync.WaitGroup
	for w := range writers {
		wg.Go(func() {
			for i := range each {
				if err := put(t.Context(), d, fmt.Sprintf("%d/%d", w, i)); err != nil {
					t.Error(err)
				}
			}
		})
	}
	wg.Wait()
	st := d.Stats()
	if st.Writes != writers*each || st.Failed != 0 {
		t.Errorf("stats %+v, want %d writes", st, writers*each)
	}
	if st.Commits*4 > st.Writes {
		t.Errorf("%d commits for %d writes: the group does not form", st.Commits, st.Writes)
	}
}

func TestOneFailureHurtsNobodyElse(t *testing.T) {
	t.Parallel()
	boom := errors.New("boom")
	cases := []struct {
		name string
		bad  func(d *db.DB) func(*sql.Tx) error
		code abi.Code
		says string
	}{
		{"returned error", func(d *db.DB) func(*sql.Tx) error {
			return func(tx *sql.Tx) error { return errors.Join(insert(d, "bad")(tx), boom) }
		}, abi.Internal, "boom"},
		{"typed error", func(d *db.DB) func(*sql.Tx) error {
			return func(tx *sql.Tx) error {
				return errors.Join(insert(d, "bad")(tx), abi.Errorf(abi.NotFound, "look up %q: no such thing", "x"))
			}
		}, abi.NotFound, "no such thing"},
		{"panic", func(d *db.DB) func(*sql.Tx) error {
			return func(tx *sql.Tx) error { _ = insert(d, "bad")(tx); panic("boom") }
		}, abi.Internal, "panicked: boom"},
		{"broken constraint", func(d *db.DB) func(*sql.Tx) error {
			return func(tx *sql.Tx) error { _ = insert(d, "bad")(tx); return insert(d, "bad")(tx) }
		}, abi.Conflict, "UNIQUE"},
	}
	for _, c := range cases {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			d := open(t, t.TempDir())
			errs := group(t, d, insert(d, "first"), c.bad(d), insert(d, "last"))
			if errs[0] != nil || errs[2] != nil {
				t.Errorf("neighbours failed: %v, %v", errs[0], errs[2])
			}
			wantCode(t, errs[1], c.code, c.says)
			if got := names(t, d); got != "first last" {
				t.Errorf("rows %q, want first and last alone", got)
			}
		})
	}
}

func TestAFunctionThatBreaksTheGroupIsSurvived(t *testing.T) {
	t.Parallel()
	cases := []struct {
		name string
		bad  func(*sql.Tx) error
	}{
		{"goexit", func(*sql.Tx) error { runtime.Goexit(); return nil }},
		{"rollback", func(tx *sql.Tx) error { return tx.Rollback() }},
		{"raw rollback", func(tx *sql.Tx) error { _, err := tx.Exec("ROLLBACK"); return err }},
	}
	for _, c := range cases {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			d := open(t, t.TempDir())
			errs := group(t, d, insert(d, "before"), c.bad, insert(d, "after"))
			wantCode(t, errs[0], abi.Internal)
			wantCode(t, errs[1], abi.Internal)
			if errs[2] != nil {
				t.Errorf("the write behind it: %v", errs[2])
			}
			if got := names(t, d); got != "after" {
				t.Errorf("rows %q, want only what was acknowledged", got)
			}
			if err := put(t.Context(), d, "later"); err != nil {
				t.Errorf("the database is not usable any more: %v", err)
			}
		})
	}
}

func TestASureWriteThatFailsTakesItsGroupAlong(t *testing.T) {
	t.Parallel()
	d := open(t, t.TempDir())
	release := hold(t, d)
	errs := make([]error, 3)
	var wg sync.WaitGroup
	for i, write := range []func() error{
		func() error { return put(context.Background(), d, "before") },
		func() error {
			return d.WriteSure(context.Background(), func(*sql.Tx) error { return abi.Errorf(abi.TooLarge, "its own reason") })
		},
		func() error { return d.WriteSure(context.Background(), insert(d, "after")) },
	} {
		wg.Go(func() { errs[i] = write() })
		for d.Queued() < i+1 {
			runtime.Gosched()
		}
	}
	release()
	wg.Wait()
	wantCode(t, errs[0], abi.TooLarge, "another write of the same group", "its own reason")
	if errs[1] == nil || errs[1].Error() != "its own reason" {
		t.Errorf("the one that failed was told %v", errs[1])
	}
	if got := names(t, d); errs[2] != nil || got != "after" {
		t.Errorf("rows %q, %v; want only what was acknowledged", got, errs[2])
	}
}

func TestCancelledBeforeItsTurnIsNotRun(t *testing.T) {
	t.Parallel()
	d := open(t, t.TempDir())
	release := hold(t, d)
	ctx, cancel := context.WithCancel(t.Context())
	var ran atomic.Bool
	got := make(chan error)
	go func() { got <- d.Write(ctx, func(*sql.Tx) error { ran.Store(true); return nil }) }()
	for d.Queued() == 0 {
		runtime.Gosched()
	}
	cancel()
	wantCode(t, <-got, abi.Cancelled)
	release()
	if err := put(t.Context(), d, "after"); err != nil {
		t.Fatal(err)
	}
	if ran.Load() {
		t.Error("the function ran although its caller was told that it had not")
	}
}

func TestCancelledAfterItBeganTellsTheOutcome(t *testing.T) {
	t.Parallel()
	d := open(t, t.TempDir())
	ctx, cancel := context.WithCancel(t.Context())
	err := d.Write(ctx, func(tx *sql.Tx) error { cancel(); return insert(d, "a")(tx) })
	if err != nil {
		t.Fatalf("the write happened but the answer was %v", err)
	}
	if got := names(t, d); got != "a" {
		t.Errorf("rows %q", got)
	}
}

func TestCloseFinishesWhatIsQueued(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	d := open(t, dir)
	release := hold(t, d)
	var wg sync.WaitGroup
	for i := range 10 {
		wg.Go(func() {
			if err := put(context.Background(), d, fmt.Sprint(i)); err != nil {
				t.Error(err)
			}
		})
	}
	for d.Queued() < 10 {
		runtime.Gosched()
	}
	closed := make(chan error)
	go func() { closed <- d.Close() }()
	release()
	wg.Wait()
	if err := <-closed; err != nil {
		t.Fatal(err)
	}
	if got := names(t, open(t, dir)); got != "0 1 2 3 4 5 6 7 8 9" {
		t.Errorf("rows %q", got)
	}
}

func TestStmtOutsideItsWriteIsRefused(t *testing.T) {
	t.Parallel()
	d := open(t, t.TempDir())
	var kept *sql.Tx
	if err := d.Write(t.Context(), func(tx *sql.Tx) error { kept = tx; return nil }); err != nil {
		t.Fatal(err)
	}
	_, err := d.Stmt(kept, "DELETE FROM item")
	wantCode(t, err, abi.Internal, "outside")
}

func TestReadersCannotWrite(t *testing.T) {
	t.Parallel()
	d := open(t, t.TempDir())
	_, err := d.Read().Exec("INSERT INTO item (name) VALUES ('x')")
	if err == nil {
		t.Fatal("a read connection wrote")
	}
	wantCode(t, d.Explain(`put "x"`, err), abi.Unavailable, `put "x"`)
}

func TestAQueryThatIsCancelledSaysSo(t *testing.T) {
	t.Parallel()
	d := open(t, t.TempDir())
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	rows, err := d.Read().QueryContext(ctx, "WITH RECURSIVE n (i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n) SELECT i FROM n")
	if err != nil {
		t.Fatal(err)
	}
	defer rows.Close()
	for rows.Next() { // without the cancelling this never ends
		cancel()
	}
	wantCode(t, d.Explain("count to infinity", rows.Err()), abi.Cancelled, "count to infinity")
}

// recorder writes down what it is told, with the number of committed rows it can see.
type recorder struct {
	mu  sync.Mutex
	log []string
}

func (r *recorder) add(s string) { r.mu.Lock(); defer r.mu.Unlock(); r.log = append(r.log, s) }
func (r *recorder) Mark()        { r.add("mark") }
func (r *recorder) Undo()        { r.add("undo") }
func (r *recorder) Seal(tx *sql.Tx) error {
	r.add("seal")
	_, err := tx.Exec("INSERT OR REPLACE INTO item VALUES ('seal', ?)", []byte(fmt.Sprint(len(r.log))))
	return err
}
func (r *recorder) Commit() { r.add("commit") }
func (r *recorder) Abort()  { r.add("abort") }
func (r *recorder) Closed() { r.add("closed") }

func TestWatchersHearTheFateOfEveryWrite(t *testing.T) {
	t.Parallel()
	d := open(t, t.TempDir())
	rec := &recorder{}
	d.Watch(rec)
	fail := func(*sql.Tx) error { return errors.New("no") }
	group(t, d, insert(d, "a"), fail, insert(d, "b"))
	if got := names(t, d); got != "a b seal" {
		t.Errorf("rows %q: what Seal did is not part of the transaction", got)
	}
	group(t, d, insert(d, "c"), func(tx *sql.Tx) error { return tx.Rollback() })
	if err := d.Close(); err != nil {
		t.Fatal(err)
	}
	// Each group stands behind the write that holds the writer.
	want := "mark seal commit mark mark undo mark seal commit mark seal commit mark mark abort closed"
	if got := strings.Join(rec.log, " "); got != want {
		t.Errorf("heard %q\nwant  %q", got, want)
	}
}
