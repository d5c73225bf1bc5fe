package stream_test

import (
	"bytes"
	"context"
	"errors"
	"io"
	"math/rand/v2"
	"strings"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/arw-project/arw/abi"
	"github.com/arw-project/arw/host/internal/stream"
)

func TestNothingAttached(t *testing.T) {
	t.Parallel()
	if p := stream.New(nil); p != nil {
		t.Error(p)
	}
	if p := stream.New([]string{"output"}); p.In != nil || p.Out == nil {
		t.Error(p)
	}
}

// TestInputArrivesOnceAndInOrder sends pieces of random sizes, some of them twice.
func TestInputArrivesOnceAndInOrder(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		in := stream.New([]string{"input"}).In
		want := make([]byte, 1<<20)
		rng := rand.NewChaCha8([32]byte{})
		rng.Read(want)
		go func() {
			r := rand.New(rng)
			for off := 0; off < len(want); {
				n := min(1+r.IntN(5000), len(want)-off)
				next, err := in.Give(t.Context(), int64(off), bytes.Clone(want[off:off+n]), off+n == len(want))
				if err != nil || next != int64(off+n) {
					t.Errorf("at %d: %d, %v", off, next, err)
					return
				}
				if again, err := in.Give(t.Context(), int64(off), want[off:off+n], false); abi.CodeOf(err) != abi.Conflict || again != next {
					t.Errorf("sent twice at %d: %d, %v", off, again, err)
				}
				off += n
			}
		}()
		var got []byte
		buf := make([]byte, 3000)
		for {
			n, err := in.Read(t.Context(), buf)
			if err == io.EOF {
				break
			}
			if err != nil {
				t.Fatal(err)
			}
			got = append(got, buf[:n]...)
		}
		if !bytes.Equal(got, want) {
			t.Error("other bytes arrived")
		}
		if in.Offset() != int64(len(want)) {
			t.Error(in.Offset())
		}
	})
}

func TestInputWaitsForItsReader(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		in := stream.New([]string{"input"}).In
		ctx, cancel := context.WithTimeout(t.Context(), time.Second)
		defer cancel()
		if _, err := in.Give(ctx, 0, []byte("one"), false); err != nil {
			t.Fatal(err)
		}
		if next, err := in.Give(ctx, 3, []byte("two"), false); abi.CodeOf(err) != abi.Deadline || next != 3 {
			t.Errorf("%d, %v", next, err)
		}
		if _, err := in.Give(t.Context(), 3, make([]byte, stream.MaxChunk+1), false); abi.CodeOf(err) != abi.TooLarge {
			t.Error(err)
		}
		given := make(chan error)
		go func() { _, err := in.Give(t.Context(), 3, []byte("two"), false); given <- err }()
		synctest.Wait()
		if err := in.Close(); err != nil {
			t.Fatal(err)
		}
		if err := <-given; abi.CodeOf(err) != abi.Cancelled {
			t.Errorf("a giver whose reader left: %v", err)
		}
		if _, err := in.Read(t.Context(), make([]byte, 1)); err != io.EOF {
			t.Error(err)
		}
	})
}

func TestInputEnds(t *testing.T) {
	t.Parallel()
	in := stream.New([]string{"input"}).In
	if _, err := in.Give(t.Context(), 0, nil, true); err != nil {
		t.Fatal(err)
	}
	if _, err := in.Give(t.Context(), 0, nil, true); err != nil {
		t.Errorf("the end said twice: %v", err)
	}
	if _, err := in.Give(t.Context(), 0, []byte("x"), true); abi.CodeOf(err) != abi.Conflict {
		t.Errorf("bytes behind the end: %v", err)
	}
	if _, err := in.Read(t.Context(), make([]byte, 1)); err != io.EOF {
		t.Error(err)
	}
}

// TestASlowTakerMakesASlowWriter holds the queue to its bound.
func TestASlowTakerMakesASlowWriter(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		out := stream.New([]string{"output"}).Out
		var written atomic.Int64
		go func() {
			for range 100 {
				if err := out.Write(t.Context(), abi.FrameBytes, make([]byte, 100<<10)); err != nil {
					t.Error(err)
				}
				written.Add(1)
			}
			out.Close()
		}()
		synctest.Wait()
		if written.Load() > 12 {
			t.Errorf("%d parts of 100 KiB were taken from the guest and by nobody else", written.Load())
		}
		if err := out.Take(); err != nil {
			t.Fatal(err)
		}
		if err := out.Take(); abi.CodeOf(err) != abi.Conflict {
			t.Errorf("a second taker: %v", err)
		}
		n := int64(0)
		for {
			time.Sleep(time.Second)
			if _, err := out.Next(t.Context()); err != nil {
				break
			}
			if n++; written.Load() > n+13 {
				t.Fatalf("%d written, %d taken", written.Load(), n)
			}
		}
		if n != 100 {
			t.Errorf("%d parts", n)
		}
	})
}

func TestATakerThatLeaves(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		out := stream.New([]string{"output"}).Out
		blocked := make(chan error)
		go func() {
			for {
				if err := out.Write(t.Context(), abi.FrameJSON, make([]byte, 1<<20)); err != nil {
					blocked <- err
					return
				}
			}
		}()
		synctest.Wait()
		out.Leave()
		if err := <-blocked; abi.CodeOf(err) != abi.Cancelled || !strings.Contains(err.Error(), "went away") {
			t.Error(err)
		}
		ctx, cancel := context.WithTimeout(t.Context(), time.Second)
		defer cancel()
		if _, err := out.Next(ctx); !errors.Is(err, context.DeadlineExceeded) {
			t.Error(err)
		}
	})
}

func TestHubKeepsWhatNobodyTookYet(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var h stream.Hub
		p := stream.New([]string{"input", "output"})
		h.Add("a", p)
		if err := p.Out.Write(t.Context(), abi.FrameBytes, []byte("late")); err != nil {
			t.Fatal(err)
		}
		h.End("a")
		h.End("unknown")
		time.Sleep(stream.Linger / 2)
		late := h.Get("a")
		if late == nil {
			t.Fatal("it is gone")
		}
		if part, err := late.Out.Next(t.Context()); err != nil || string(part.Body) != "late" {
			t.Error(part, err)
		}
		if _, err := late.Out.Next(t.Context()); err != io.EOF {
			t.Error(err)
		}
		time.Sleep(stream.Linger)
		synctest.Wait()
		if h.Get("a") != nil {
			t.Error("it is still there")
		}
		taken := stream.New([]string{"output"})
		h.Add("b", taken)
		_ = taken.Out.Take()
		if h.End("b"); h.Get("b") != nil {
			t.Error("a stream with its taker is kept")
		}
	})
}
