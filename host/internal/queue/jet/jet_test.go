package jet_test

import (
	"context"
	"fmt"
	"path/filepath"
	"sync/atomic"
	"testing"
	"time"

	"github.com/arw-project/arw/host/internal/db"
	"github.com/arw-project/arw/host/internal/queue"
	"github.com/arw-project/arw/host/internal/queue/jet"
	"github.com/arw-project/arw/host/internal/queue/jet/embedded"
	"github.com/arw-project/arw/host/internal/queue/queuetest"
)

// record is a database for what is written beside a step.
func record(t testing.TB, dir string) func(context.Context, queue.Also) error {
	t.Helper()
	d, err := db.Open(context.Background(), filepath.Join(dir, "arw.db"), nil)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { d.Close() })
	return func(ctx context.Context, also queue.Also) error { return d.Write(ctx, also) }
}

func TestContract(t *testing.T) {
	t.Parallel()
	s, err := embedded.Start(t.TempDir(), false)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { s.Close() })
	var n atomic.Int64
	queuetest.Run(t, func(t testing.TB) queuetest.Bench {
		name, rec := fmt.Sprint("t", n.Add(1)), record(t, t.TempDir())
		const wait = 600 * time.Millisecond
		return queuetest.Bench{Again: wait, Open: func(t testing.TB) queue.Queue {
			link, err := jet.Dial(context.Background(), jet.Server{Pipe: s.Conn})
			if err != nil {
				t.Fatal(err)
			}
			q, err := jet.Open(context.Background(), link, jet.Options{Name: name, Wait: wait, Record: rec})
			if err != nil {
				t.Fatal(err)
			}
			return q
		}}
	})
}
