package db_test

import (
	"context"
	"errors"
	"os"
	"path/filepath"
	"testing"

	"github.com/arw-project/arw/abi"
	"github.com/arw-project/arw/host/internal/db"
)

func TestReadOnlyBesideTheWriter(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	d := open(t, dir)
	if err := put(t.Context(), d, "a"); err != nil {
		t.Fatal(err)
	}
	r, err := db.OpenReadOnly(t.Context(), filepath.Join(dir, "arw.db"))
	if err != nil {
		t.Fatal(err)
	}
	defer r.Close()
	for n := range 3 {
		var got int
		if err := r.Read().QueryRow("SELECT count(*) FROM item").Scan(&got); err != nil || got != n+1 {
			t.Errorf("%d rows, %v; want %d", got, err, n+1)
		}
		if err := put(t.Context(), d, string(rune('b'+n))); err != nil {
			t.Fatal(err)
		}
	}
	_, err = r.Read().Exec("DELETE FROM item")
	if err == nil {
		t.Error("a read-only database was written to")
	}
	wantCode(t, r.Explain("remove items", err), abi.Unavailable, "remove items", r.Path())
}

func TestReadOnlyMakesNoFile(t *testing.T) {
	t.Parallel()
	path := filepath.Join(t.TempDir(), "absent.db")
	_, err := db.OpenReadOnly(t.Context(), path)
	wantCode(t, err, abi.NotFound, path)
	if _, err := os.Stat(path); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("a file was made: %v", err)
	}
}

// countReadOnly is what a child process does on a medium that cannot be written.
func countReadOnly(dir string) error {
	r, err := db.OpenReadOnly(context.Background(), filepath.Join(dir, "arw.db"))
	if err != nil {
		return err
	}
	defer r.Close()
	var n int
	if err := r.Read().QueryRow("SELECT count(*) FROM item").Scan(&n); err != nil {
		return err
	}
	if n != 1 {
		return errors.New("the row is not there")
	}
	return nil
}
