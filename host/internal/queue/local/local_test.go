package local_test

import (
	"context"
	"path/filepath"
	"testing"

	"github.com/arw-project/arw/host/internal/db"
	"github.com/arw-project/arw/host/internal/queue"
	"github.com/arw-project/arw/host/internal/queue/local"
	"github.com/arw-project/arw/host/internal/queue/queuetest"
)

func open(t testing.TB, dir string, o local.Options) (*local.Queue, *db.DB) {
	t.Helper()
	d, err := db.Open(context.Background(), filepath.Join(dir, "arw.db"), []db.Migration{{Owner: "queue", Steps: local.Schema}})
	if err != nil {
		t.Fatal(err)
	}
	q, err := local.Open(context.Background(), d, o)
	if err != nil {
		t.Fatal(err)
	}
	return q, d
}

// owner closes the database with the queue.
type owner struct {
	*local.Queue
	db *db.DB
}

func (o owner) Close() error { return o.db.Close() }

func TestContract(t *testing.T) {
	t.Parallel()
	queuetest.Run(t, func(t testing.TB) queuetest.Bench {
		dir := t.TempDir()
		return queuetest.Bench{Open: func(t testing.TB) queue.Queue {
			q, d := open(t, dir, local.Options{})
			return owner{q, d}
		}}
	})
}
