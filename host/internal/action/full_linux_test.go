package action_test

import (
	"context"
	"log/slog"
	"os"
	"os/exec"
	"os/signal"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	"github.com/arw-project/arw/abi"
	"github.com/arw-project/arw/host/internal/action"
	"github.com/arw-project/arw/host/internal/db"
	"github.com/arw-project/arw/host/internal/journal"
	"github.com/arw-project/arw/host/internal/queue/local"
)

// The disk fills up while a tool runs. Its answer must not be lost: the action stays running until there is room, and
// then ends as what it was. The child does it to itself, by a file size limit.
func TestFullDiskDelaysTheEndAndLosesNothing(t *testing.T) {
	if dir := os.Getenv("ARW_TEST_FULL_DIR"); dir != "" {
		fillUp(t, dir)
		return
	}
	t.Parallel()
	cmd := exec.Command(os.Args[0], "-test.run=^TestFullDiskDelaysTheEndAndLosesNothing$")
	cmd.Env = append(os.Environ(), "ARW_TEST_FULL_DIR="+t.TempDir())
	if out, err := cmd.CombinedOutput(); err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
}

// alarm passes on the first error that is logged.
type alarm struct {
	slog.Handler
	rang chan string
}

func (a alarm) Handle(_ context.Context, r slog.Record) error {
	select {
	case a.rang <- r.Message:
	default:
	}
	return nil
}

func fillUp(t *testing.T, dir string) {
	signal.Ignore(syscall.SIGXFSZ)
	ctx := context.Background()
	d, err := db.Open(ctx, filepath.Join(dir, "arw.db"), []db.Migration{{Owner: "journal", Steps: journal.Schema}, {Owner: "action", Steps: action.Schema}, {Owner: "queue", Steps: local.Schema}})
	if err != nil {
		t.Fatal(err)
	}
	defer d.Close()
	j, err := journal.Open(ctx, d)
	if err != nil {
		t.Fatal(err)
	}
	bell := alarm{slog.NewTextHandler(os.Stderr, nil), make(chan string, 1)}
	r := &tools{}
	q, err := local.Open(ctx, d, local.Options{})
	if err != nil {
		t.Fatal(err)
	}
	e, err := action.Open(ctx, d, j, r, action.Config{Line: q}, slog.New(bell))
	if err != nil {
		t.Fatal(err)
	}
	b := &bench{Executor: e, tools: r, jrn: j, db: d}
	var before syscall.Rlimit
	if err := syscall.Getrlimit(syscall.RLIMIT_FSIZE, &before); err != nil {
		t.Fatal(err)
	}
	r.set("a/b:t", tool{run: func(context.Context, action.Job) (action.Result, error) {
		log, err := os.Stat(filepath.Join(dir, "arw.db-wal"))
		if err != nil {
			return action.Result{}, err
		}
		limit := syscall.Rlimit{Cur: uint64(log.Size()), Max: before.Max}
		return action.Result{Kind: abi.FrameJSON, Body: raw(strings.Repeat("x", 1<<20))}, syscall.Setrlimit(syscall.RLIMIT_FSIZE, &limit)
	}})
	b.start(t)
	defer b.stop()
	a := b.submit(t, action.Request{Kind: "t"})
	<-bell.rang
	if got, err := b.Get(ctx, a.ID); err != nil || got.State != action.Running {
		t.Fatalf("while the disk is full: %+v, %v", got, err)
	}
	_, _, err = b.Submit(ctx, action.Request{Kind: "t", Input: raw(strings.Repeat("x", 1<<20))})
	wantCode(t, err, abi.StorageFull)
	if err := syscall.Setrlimit(syscall.RLIMIT_FSIZE, &before); err != nil {
		t.Fatal(err)
	}
	if end := b.wait(t, a.ID); end.State != action.Completed || len(end.Output) != 1<<20+2 {
		t.Fatalf("with room again: %s, %d bytes", end.State, len(end.Output))
	}
}
