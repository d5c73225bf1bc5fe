package local_test

import (
	"bufio"
	"context"
	"database/sql"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"strconv"
	"strings"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"github.com/arw-project/arw/abi"
	"github.com/arw-project/arw/host/internal/db"
	"github.com/arw-project/arw/host/internal/queue"
	"github.com/arw-project/arw/host/internal/queue/local"
)

// guillotine kills this very process at the nth point at which a transaction is about to be committed, or has just been.
type guillotine struct{ left atomic.Int64 }

func (g *guillotine) Seal(*sql.Tx) error { g.fall(); return nil }
func (g *guillotine) Commit()            { g.fall() }
func (g *guillotine) Mark()              {}
func (g *guillotine) Undo()              {}
func (g *guillotine) Abort()             {}
func (g *guillotine) Closed()            {}
func (g *guillotine) fall() {
	if g.left.Add(-1) == 0 {
		_ = syscall.Kill(os.Getpid(), syscall.SIGKILL)
		select {} // the signal is on its way: nothing more may happen
	}
}

// play is a life with every step of a queue. It says each step before it begins and after it was acknowledged.
func play(q queue.Queue) error {
	ctx := context.Background()
	put := func(id string) error {
		_, err := q.Put(ctx, queue.Job{ID: id, Lane: "a", Attempts: 9}, nil, nil)
		return err
	}
	end := func(how queue.Move) func() error {
		return func() error {
			ls, err := q.Take(ctx, queue.Ask{For: time.Hour})
			if err != nil || len(ls) != 1 {
				return errors.Join(err, fmt.Errorf("took %d", len(ls)))
			}
			fmt.Println("taken", ls[0].ID)
			_, err = q.End(ctx, ls[0], queue.End{How: how, Why: "so"})
			return err
		}
	}
	for _, step := range []struct {
		name string
		do   func() error
	}{
		{"put a", func() error { return put("a") }}, {"put b", func() error { return put("b") }}, {"put c", func() error { return put("c") }},
		{"done a", end(queue.Done)}, {"bury b", end(queue.Bury)}, {"again c", end(queue.Again)}, {"put d", func() error { return put("d") }},
		{"cancel d", func() error { return q.Cancel(ctx, "d", nil) }},
		{"requeue b", func() error { return q.Requeue(ctx, "b", queue.Job{ID: "b2", Lane: "a"}, nil) }},
		{"hold", func() error { return q.Hold(ctx, true, nil) }}, {"release", func() error { return q.Hold(ctx, false, nil) }},
		{"done c", end(queue.Done)}, {"bury b2", end(queue.Bury)}, {"drop b2", func() error { return q.Drop(ctx, "b2", nil) }},
	} {
		fmt.Println("begin", step.name)
		if err := step.do(); err != nil {
			return fmt.Errorf("%s: %w", step.name, err)
		}
		fmt.Println("end", step.name)
	}
	fmt.Println("over")
	return nil
}

// The child is killed at every point of every commit of a life; the parent finds every acknowledged step, and the one that was
// under way done or not done, but never half.
func TestKillAtEveryWrite(t *testing.T) {
	if dir := os.Getenv("ARW_TEST_QUEUE_DIR"); dir != "" {
		n, err := strconv.Atoi(os.Getenv("ARW_TEST_QUEUE_POINT"))
		if err != nil {
			t.Fatal(err)
		}
		q, d := open(t, dir, local.Options{})
		g := &guillotine{}
		g.left.Store(int64(n))
		d.Watch(g)
		if err := play(q); err != nil {
			t.Fatal(err)
		}
		d.Close()
		return
	}
	t.Parallel()
	points := 0
	for over := false; !over; points++ {
		dir := t.TempDir()
		cmd := exec.Command(os.Args[0], "-test.run=^TestKillAtEveryWrite$")
		cmd.Env = append(os.Environ(), "ARW_TEST_QUEUE_DIR="+dir, "ARW_TEST_QUEUE_POINT="+strconv.Itoa(points+1))
		out, err := cmd.StdoutPipe()
		if err != nil {
			t.Fatal(err)
		}
		if err := cmd.Start(); err != nil {
			t.Fatal(err)
		}
		var ended []string
		begun := ""
		for lines := bufio.NewScanner(out); lines.Scan(); {
			word, rest, _ := strings.Cut(lines.Text(), " ")
			switch word {
			case "begin":
				begun = rest
			case "end":
				ended, begun = append(ended, rest), ""
			case "over":
				over = true
			}
		}
		err = cmd.Wait()
		if over != (err == nil) {
			t.Fatalf("point %d: %v, over %v", points+1, err, over)
		}
		after(t, dir, ended, begun)
	}
	if points < 28 {
		t.Fatalf("%d points; the life has 14 steps of two commits or one", points)
	}
}

// after reopens what a kill left and holds it to the steps that were acknowledged; begun may be done or not.
func after(t *testing.T, dir string, ended []string, begun string) {
	t.Helper()
	q, d := open(t, dir, local.Options{})
	defer d.Close()
	got := map[string]queue.State{}
	for _, s := range []queue.State{queue.Ready, queue.Leased, queue.Dead} {
		infos, err := q.List(t.Context(), s, "", 100)
		if err != nil {
			t.Fatal(err)
		}
		for _, i := range infos {
			got[i.ID] = s
		}
	}
	want := func(steps []string) map[string]queue.State {
		out := map[string]queue.State{}
		for _, s := range steps {
			verb, id, _ := strings.Cut(s, " ")
			switch verb {
			case "put":
				out[id] = queue.Ready
			case "done", "cancel", "drop":
				delete(out, id)
			case "bury":
				out[id] = queue.Dead
			case "requeue":
				delete(out, id)
				out["b2"] = queue.Ready
			}
		}
		return out
	}
	less, more := want(ended), want(append(ended[:len(ended):len(ended)], begun))
	if g := fmt.Sprint(got); g != fmt.Sprint(less) && g != fmt.Sprint(more) {
		t.Fatalf("after %v in %q: %v, want %v or %v", ended, begun, got, less, more)
	}
	if q.Stats().Leased != 0 {
		t.Fatal("a lease outlived its holder")
	}
}

// The clock is set ten hours forward, and back: no lease ends, no job comes early or late, by it.
func TestTheClockJumps(t *testing.T) {
	t.Parallel()
	for _, jump := range []time.Duration{10 * time.Hour, -10 * time.Hour} {
		var shift atomic.Int64
		q, d := open(t, t.TempDir(), local.Options{Wall: func() time.Time { return time.Now().Round(0).Add(time.Duration(shift.Load())) }})
		ctx, cancel := context.WithCancel(t.Context())
		done := make(chan error, 1)
		go func() { done <- q.Run(ctx, nil) }()
		wall := func(in time.Duration) time.Time { return time.Now().Round(0).Add(in) }
		for _, j := range []queue.Job{
			{ID: "held", Lane: "a"}, {ID: "short", Lane: "a"}, {ID: "later", Lane: "a", NotBefore: wall(time.Hour)}, {ID: "dated", Lane: "b", Deadline: wall(time.Hour)},
		} {
			if _, err := q.Put(t.Context(), j, nil, nil); err != nil {
				t.Fatal(err)
			}
		}
		only := func(lane string) func(string) bool { return func(l string) bool { return l == lane } }
		held, err := q.Take(t.Context(), queue.Ask{For: time.Minute, Slot: only("a")})
		if err != nil || len(held) != 1 {
			t.Fatal(held, err)
		}
		if _, err := q.Take(t.Context(), queue.Ask{For: 150 * time.Millisecond, Slot: only("a")}); err != nil {
			t.Fatal(err)
		}
		shift.Store(int64(jump))
		var again []queue.Lease
		for len(again) == 0 { // the short one runs out, as it would have
			changed := q.Changed()
			if again, err = q.Take(t.Context(), queue.Ask{Slot: only("a")}); err != nil {
				t.Fatal(err)
			}
			if len(again) == 0 {
				<-changed
			}
		}
		if again[0].ID != "short" || again[0].Attempt != 2 {
			t.Fatalf("%s: came %+v", jump, again[0])
		}
		if lost, err := q.Renew(t.Context(), time.Minute, held...); err != nil || len(lost) != 0 {
			t.Fatalf("%s: the lease is lost: %v", jump, err)
		}
		if st := q.Stats(); st.Delayed != 1 || st.Dead != 0 || st.Ready != 1 {
			t.Fatalf("%s: %+v", jump, st)
		}
		cancel()
		<-done
		d.Close()
	}
}

// The disk is full for a while: steps fail with StorageFull and change nothing, and go on when there is room.
func TestTheDiskIsFull(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	q, d := open(t, dir, local.Options{})
	defer d.Close()
	put := func(id string) error {
		_, err := q.Put(t.Context(), queue.Job{ID: id, Lane: "a"}, nil, nil)
		return err
	}
	if err := errors.Join(put("a"), put("b")); err != nil {
		t.Fatal(err)
	}
	held, err := q.Take(t.Context(), queue.Ask{For: time.Hour})
	if err != nil || len(held) != 1 {
		t.Fatal(held, err)
	}
	var full atomic.Bool
	d.Watch(&stopper{&full})
	full.Store(true)
	for name, step := range map[string]func() error{
		"put":    func() error { return put("c") },
		"take":   func() error { _, err := q.Take(t.Context(), queue.Ask{}); return err },
		"end":    func() error { _, err := q.End(t.Context(), held[0], queue.End{How: queue.Done}); return err },
		"cancel": func() error { return q.Cancel(t.Context(), "b", nil) },
		"hold":   func() error { return q.Hold(t.Context(), true, nil) },
	} {
		if err := step(); abi.CodeOf(err) != abi.StorageFull {
			t.Fatalf("%s on a full disk: %v", name, err)
		}
	}
	if st := q.Stats(); st.Ready != 1 || st.Leased != 1 || st.Held {
		t.Fatalf("%+v", st)
	}
	full.Store(false)
	if _, err := q.End(t.Context(), held[0], queue.End{How: queue.Done}); err != nil {
		t.Fatal(err)
	}
	if ls, err := q.Take(t.Context(), queue.Ask{}); err != nil || len(ls) != 1 || ls[0].ID != "b" {
		t.Fatalf("%+v, %v", ls, err)
	}
}

// stopper fails every commit while full, as SQLite does when it cannot extend its log.
type stopper struct{ full *atomic.Bool }

func (s *stopper) Seal(*sql.Tx) error {
	if s.full.Load() {
		return abi.Errorf(abi.StorageFull, "commit: no room")
	}
	return nil
}
func (*stopper) Commit() {}
func (*stopper) Mark()   {}
func (*stopper) Undo()   {}
func (*stopper) Abort()  {}
func (*stopper) Closed() {}

var _ db.Watcher = (*stopper)(nil)
