package kv_test

import (
	"bytes"
	"database/sql"
	"path/filepath"
	"testing"

	"github.com/arw-project/arw/abi"
	"github.com/arw-project/arw/host/internal/db"
	"github.com/arw-project/arw/host/internal/kv"
)

// What a pack stored in one project is not there in another, whatever it does there.
func TestProjectsAreApart(t *testing.T) {
	t.Parallel()
	_, s := open(t, t.TempDir())
	a, b := s.Space("x/y", "a"), s.Space("x/y", "b")
	must(t, a.Put(t.Context(), []byte("k"), []byte("of a")))
	if _, err := b.Get(t.Context(), []byte("k")); abi.CodeOf(err) != abi.NotFound {
		t.Errorf("get: %v", err)
	}
	if keys, _, err := b.List(t.Context(), nil, nil, 0); err != nil || len(keys) != 0 {
		t.Errorf("list: %v %v", keys, err)
	}
	must(t, b.Delete(t.Context(), []byte("k")))
	must(t, b.Put(t.Context(), []byte("k"), []byte("of b")))
	if got, err := a.Get(t.Context(), []byte("k")); err != nil || string(got) != "of a" {
		t.Errorf("got %q %v", got, err)
	}
	if n, size, err := s.Usage(t.Context(), "x/y"); err != nil || n != 2 || size != 2*(1+4+kv.Overhead) {
		t.Errorf("usage %d %d %v", n, size, err)
	}
	must(t, s.Drop(t.Context(), "x/y"))
	if n, _, err := s.Usage(t.Context(), "x/y"); err != nil || n != 0 {
		t.Errorf("after drop: %d %v", n, err)
	}
}

// The bound is the pack's: many projects are no way around it.
func TestProjectsShareTheBound(t *testing.T) {
	t.Parallel()
	_, s := open(t, t.TempDir())
	s.Limit(1000)
	must(t, s.Space("x/y", "a").Put(t.Context(), []byte("k"), bytes.Repeat([]byte("v"), 600)))
	if err := s.Space("x/y", "b").Put(t.Context(), []byte("k"), bytes.Repeat([]byte("v"), 600)); abi.CodeOf(err) != abi.TooLarge {
		t.Fatalf("got %v", err)
	}
	must(t, s.Space("x/z", "b").Put(t.Context(), []byte("k"), bytes.Repeat([]byte("v"), 600)))
}

// What was stored before there were projects belongs to the default one.
func TestWhatWasBeforeBelongsToTheDefault(t *testing.T) {
	t.Parallel()
	path := filepath.Join(t.TempDir(), "old.db")
	old, err := db.Open(t.Context(), path, []db.Migration{{Owner: "kv", Steps: kv.Schema[:1]}})
	must(t, err)
	must(t, old.Write(t.Context(), func(tx *sql.Tx) error {
		_, err := tx.Exec(`INSERT INTO kv_space (id, pack, bytes) VALUES (7, 'x/y', 66); INSERT INTO kv VALUES (7, CAST('k' AS BLOB), CAST('v' AS BLOB))`)
		return err
	}))
	must(t, old.Close())
	now, err := db.Open(t.Context(), path, []db.Migration{{Owner: "kv", Steps: kv.Schema}})
	must(t, err)
	defer now.Close()
	s := kv.Open(now)
	if got, err := s.Space("x/y", "").Get(t.Context(), []byte("k")); err != nil || string(got) != "v" {
		t.Errorf("got %q %v", got, err)
	}
	if _, err := s.Space("x/y", "a").Get(t.Context(), []byte("k")); abi.CodeOf(err) != abi.NotFound {
		t.Errorf("in a project: %v", err)
	}
	if _, size, err := s.Usage(t.Context(), "x/y"); err != nil || size != 66 {
		t.Errorf("usage %d %v", size, err)
	}
	must(t, s.Drop(t.Context(), "x/y")) // and goes with its space
	must(t, now.Write(t.Context(), func(tx *sql.Tx) error {
		var n int
		if err := tx.QueryRow(`SELECT count(*) FROM kv`).Scan(&n); err != nil || n != 0 {
			t.Errorf("%d keys stay, %v", n, err)
		}
		return nil
	}))
}
