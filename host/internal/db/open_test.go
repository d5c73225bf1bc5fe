package db_test

import (
	"bytes"
	"context"
	"database/sql"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"sync"
	"testing"

	"github.com/arw-project/arw/abi"
	"github.com/arw-project/arw/host/internal/db"
)

// TestMain lets the tests start this binary again as another process that does one thing (see child).
func TestMain(m *testing.M) {
	if what := os.Getenv("ARW_DB_CHILD"); what != "" {
		os.Exit(child(what, os.Getenv("ARW_DB_DIR")))
	}
	os.Exit(m.Run())
}

func child(what, dir string) int {
	var err error
	switch what {
	case "open":
		var d *db.DB
		if d, err = db.Open(context.Background(), filepath.Join(dir, "arw.db"), schema); err == nil {
			err = d.Close()
		}
	default:
		err = systemChild(what, dir)
	}
	if err != nil {
		fmt.Fprintf(os.Stderr, "%s: %v (%s)\n", abi.CodeOf(err), err, abi.HintOf(err))
		return 1
	}
	return 0
}

func childCommand(t *testing.T, what, dir string) *exec.Cmd {
	t.Helper()
	self, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	cmd := exec.CommandContext(t.Context(), self)
	cmd.Env = append(os.Environ(), "ARW_DB_CHILD="+what, "ARW_DB_DIR="+dir)
	return cmd
}

func TestTwoDaemonsOnOneDirectory(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	d := open(t, dir)

	_, err := db.Open(t.Context(), filepath.Join(dir, "arw.db"), schema)
	wantCode(t, err, abi.Conflict, dir, strconv.Itoa(os.Getpid()))

	out, err := childCommand(t, "open", dir).CombinedOutput()
	if err == nil || !bytes.Contains(out, fmt.Appendf(nil, "conflict: open state directory %q: process %d is using it", dir, os.Getpid())) {
		t.Errorf("another process was let in or not told why: %v %s", err, out)
	}
	if err := d.Close(); err != nil {
		t.Fatal(err)
	}
	if out, err := childCommand(t, "open", dir).CombinedOutput(); err != nil {
		t.Errorf("the lock outlived its holder: %v %s", err, out)
	}
}

// A process that is just being started holds a copy of every open file, so that closing alone would not free the lock.
func TestTheLockIsFreeOnceClosedWhileOtherProcessesStart(t *testing.T) {
	t.Parallel()
	ctx, stop := context.WithCancel(t.Context())
	var starts sync.WaitGroup
	for range 4 {
		starts.Go(func() {
			for ctx.Err() == nil {
				_ = exec.Command("true").Run()
			}
		})
	}
	dir := t.TempDir()
	for range 100 {
		d, err := db.Open(t.Context(), filepath.Join(dir, "arw.db"), schema)
		if err != nil {
			t.Error(err)
			break
		}
		if err := d.Close(); err != nil {
			t.Error(err)
		}
	}
	stop()
	starts.Wait()
}

func TestMigrations(t *testing.T) {
	t.Parallel()
	one := "CREATE TABLE one (x INTEGER); INSERT INTO one VALUES (1)"
	two := "CREATE TABLE two (x INTEGER); INSERT INTO one VALUES (2)"
	first := []db.Migration{{Owner: "a", Steps: []string{one}}}
	cases := []struct {
		name string
		then []db.Migration
		code abi.Code
		says string
		rows int
	}{
		{"nothing new", first, abi.OK, "", 1},
		{"a step more", []db.Migration{{Owner: "a", Steps: []string{one, two}}}, abi.OK, "", 2},
		{"an owner more", append(first, db.Migration{Owner: "b", Steps: []string{two}}), abi.OK, "", 2},
		{"an older program", []db.Migration{{Owner: "a"}}, abi.Incompatible, "step 1", 1},
		{"a changed step", []db.Migration{{Owner: "a", Steps: []string{one + " "}}}, abi.Incompatible, "not the one", 1},
		{"a broken step", []db.Migration{{Owner: "a", Steps: []string{one, two + "; NONSENSE"}}}, abi.Internal, "step 2", 1},
		{"an owner twice", append(first, first...), abi.Internal, "twice", 1},
	}
	for _, c := range cases {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			path := filepath.Join(t.TempDir(), "arw.db")
			reopen := func(m []db.Migration) (rows int, err error) {
				d, err := db.Open(t.Context(), path, m)
				if err != nil {
					return 0, err
				}
				defer d.Close()
				return rows, d.Read().QueryRow("SELECT count(*) FROM one").Scan(&rows)
			}
			if _, err := reopen(first); err != nil {
				t.Fatal(err)
			}
			rows, err := reopen(c.then)
			if c.code == abi.OK {
				if err != nil || rows != c.rows {
					t.Fatalf("%d rows, %v; want %d", rows, err, c.rows)
				}
				return
			}
			wantCode(t, err, c.code, c.says)
			if rows, err = reopen(first); err != nil || rows != c.rows {
				t.Errorf("after the refusal: %d rows, %v; want %d", rows, err, c.rows)
			}
		})
	}
}

func TestFilesThatAreNotOurs(t *testing.T) {
	t.Parallel()
	cases := []struct {
		name string
		make func(t *testing.T, path string)
		code abi.Code
	}{
		{"text", func(t *testing.T, path string) {
			write(t, path, bytes.Repeat([]byte("not a database\n"), 1000))
		}, abi.Corrupt},
		{"another program's database", func(t *testing.T, path string) {
			other, err := sql.Open("sqlite", path)
			if err != nil {
				t.Fatal(err)
			}
			defer other.Close()
			if _, err := other.Exec("CREATE TABLE theirs (x)"); err != nil {
				t.Fatal(err)
			}
		}, abi.Incompatible},
		{"a folder", func(t *testing.T, path string) {
			if err := os.Mkdir(path, 0o700); err != nil {
				t.Fatal(err)
			}
		}, abi.Internal},
	}
	for _, c := range cases {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			path := filepath.Join(t.TempDir(), "arw.db")
			c.make(t, path)
			before, _ := os.ReadFile(path)
			_, err := db.Open(t.Context(), path, schema)
			wantCode(t, err, c.code, path)
			if after, _ := os.ReadFile(path); !bytes.Equal(before, after) {
				t.Error("the refused file was written to")
			}
		})
	}
}

func write(t *testing.T, path string, b []byte) {
	t.Helper()
	if err := os.WriteFile(path, b, 0o600); err != nil {
		t.Fatal(err)
	}
}

func TestADamagedPageIsNamed(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	path := filepath.Join(dir, "arw.db")
	d := open(t, dir)
	for i := range 2000 {
		if i%500 == 0 {
			if err := d.Write(t.Context(), func(tx *sql.Tx) error {
				for k := range 500 {
					if _, err := tx.Exec("INSERT INTO item VALUES (?, randomblob(100))", fmt.Sprintf("%06d", i+k)); err != nil {
						return err
					}
				}
				return nil
			}); err != nil {
				t.Fatal(err)
			}
		}
	}
	if err := d.Close(); err != nil {
		t.Fatal(err)
	}
	b, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	for page := 20; page*4096 < len(b); page += 2 { // the first pages hold the schema: damage the data behind
		copy(b[page*4096:], bytes.Repeat([]byte{0xff}, 64))
	}
	write(t, path, b)

	d = open(t, dir)
	var n int
	err = d.Explain("count items", d.Read().QueryRow("SELECT sum(length(body)) FROM item").Scan(&n))
	wantCode(t, err, abi.Corrupt, "count items", path)
	if hint := abi.HintOf(err); hint == abi.Corrupt.Info().Next {
		t.Errorf("no next step of its own: %q", hint)
	}
	if err := d.Read().QueryRow("SELECT count(*) FROM migration").Scan(&n); err != nil {
		t.Errorf("what is not damaged is not served any more: %v", err)
	}
}
