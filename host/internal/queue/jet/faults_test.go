package jet_test

import (
	"context"
	"database/sql"
	"fmt"
	"io"
	"net"
	"sync"
	"testing"
	"time"

	"github.com/nats-io/nats-server/v2/server"

	"github.com/arw-project/arw/abi"
	"github.com/arw-project/arw/host/internal/queue"
	"github.com/arw-project/arw/host/internal/queue/jet"
)

// serve starts a server with a port of this machine; 0 takes any.
func serve(t testing.TB, dir string, port int) *server.Server {
	t.Helper()
	s, err := server.NewServer(&server.Options{Host: "127.0.0.1", Port: cmpOr(port, server.RANDOM_PORT), JetStream: true, StoreDir: dir, SyncAlways: true, NoSigs: true, NoLog: true})
	if err != nil {
		t.Fatal(err)
	}
	s.Start()
	if !s.ReadyForConnections(20 * time.Second) {
		t.Fatal("the server is not ready")
	}
	return s
}

func cmpOr(a, b int) int {
	if a != 0 {
		return a
	}
	return b
}

func down(s *server.Server) { s.Shutdown(); s.WaitForShutdown() }

// relay stands between a client and a server, and can be cut.
type relay struct {
	ln net.Listener
	to string

	mu    sync.Mutex
	cut   bool
	conns []net.Conn
}

func newRelay(t testing.TB, to string) *relay {
	t.Helper()
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	r := &relay{ln: ln, to: to}
	t.Cleanup(func() { ln.Close(); r.set(true) })
	go func() {
		for {
			c, err := ln.Accept()
			if err != nil {
				return
			}
			go r.join(c)
		}
	}()
	return r
}

func (r *relay) join(c net.Conn) {
	s, err := net.Dial("tcp", r.to)
	r.mu.Lock()
	if err != nil || r.cut {
		r.mu.Unlock()
		c.Close()
		if s != nil {
			s.Close()
		}
		return
	}
	r.conns = append(r.conns, c, s)
	r.mu.Unlock()
	go func() { io.Copy(s, c); s.Close() }()
	io.Copy(c, s)
	c.Close()
}

func (r *relay) set(cut bool) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.cut = cut; cut {
		for _, c := range r.conns {
			c.Close()
		}
		r.conns = nil
	}
}

// running is a queue with its clockwork on.
func running(t testing.TB, url string, o jet.Options) *jet.Queue {
	t.Helper()
	link, err := jet.Dial(context.Background(), jet.Server{URLs: []string{url}})
	if err != nil {
		t.Fatal(err)
	}
	if o.Record == nil {
		o.Record = record(t, t.TempDir())
	}
	q, err := jet.Open(context.Background(), link, o)
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan error, 1)
	go func() { done <- q.Run(ctx, nil) }()
	t.Cleanup(func() {
		cancel()
		<-done
		q.Close()
	})
	return q
}

// wrote is an Also that does nothing but be there: what it belongs to is in the record.
func wrote(*sql.Tx) error { return nil }

func take(t testing.TB, q *jet.Queue) queue.Lease {
	t.Helper()
	end := time.After(60 * time.Second)
	for {
		changed := q.Changed()
		ls, err := q.Take(t.Context(), queue.Ask{For: time.Minute})
		if len(ls) == 1 {
			return ls[0]
		}
		if err != nil && abi.CodeOf(err) != abi.Unavailable {
			t.Fatal(err)
		}
		select {
		case <-changed:
		case <-end:
			t.Fatalf("nothing to take: %v, %+v", err, q.Stats())
		}
	}
}

// throughBreak holds two jobs over a break, ends one and puts a third in while it lasts, and finds everything in its place after.
func throughBreak(t *testing.T, q *jet.Queue, breakIt, mend func()) {
	t.Helper()
	for i := range 3 {
		if _, err := q.Put(t.Context(), queue.Job{ID: fmt.Sprint("j", i), Lane: "a"}, nil, wrote); err != nil {
			t.Fatal(err)
		}
	}
	kept, ended := take(t, q), take(t, q)
	breakIt()
	if _, err := q.End(t.Context(), ended, queue.End{How: queue.Done, Also: wrote}); err != nil {
		t.Fatalf("an end that is in the record: %v", err)
	}
	if _, err := q.Put(t.Context(), queue.Job{ID: "new", Lane: "a"}, nil, wrote); err != nil {
		t.Fatalf("a job that is in the record: %v", err)
	}
	if _, err := q.Put(t.Context(), queue.Job{ID: "nowhere", Lane: "a"}, nil, nil); abi.CodeOf(err) != abi.Unavailable {
		t.Fatalf("a job that is nowhere: %v", err)
	}
	mend()
	seen := map[string]bool{}
	for range 2 {
		l := take(t, q)
		if seen[l.ID] || l.ID == kept.ID || l.ID == ended.ID || l.ID == "nowhere" {
			t.Fatalf("%q came again", l.ID)
		}
		seen[l.ID] = true
		if _, err := q.End(t.Context(), l, queue.End{How: queue.Done, Also: wrote}); err != nil {
			t.Fatal(err)
		}
	}
	if !seen["new"] {
		t.Fatalf("came %v", seen)
	}
	if lost, err := q.Renew(t.Context(), time.Minute, kept); err != nil || len(lost) != 0 {
		t.Fatalf("the holder lost it: %+v, %v", lost, err)
	}
	if _, err := q.End(t.Context(), kept, queue.End{How: queue.Done, Also: wrote}); err != nil {
		t.Fatal(err)
	}
	if ls, err := q.Take(t.Context(), queue.Ask{Max: 9}); err != nil || len(ls) != 0 {
		t.Fatalf("took %+v, %v", ls, err)
	}
}

func TestTheServerStartsAgainInMidJob(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	s := serve(t, dir, 0)
	port := s.Addr().(*net.TCPAddr).Port
	q := running(t, s.ClientURL(), jet.Options{Name: "again", Wait: time.Second})
	throughBreak(t, q, func() { down(s) }, func() {
		again := serve(t, dir, port)
		t.Cleanup(func() { down(again) })
	})
}

// The break lasts longer than the server waits for a sign of life, so that it gives everything out again, to the same process.
func TestAPartitionInMidJob(t *testing.T) {
	t.Parallel()
	s := serve(t, t.TempDir(), 0)
	t.Cleanup(func() { down(s) })
	r := newRelay(t, s.Addr().String())
	const wait = 300 * time.Millisecond
	q := running(t, "nats://"+r.ln.Addr().String(), jet.Options{Name: "cut", Wait: wait})
	watch := running(t, s.ClientURL(), jet.Options{Name: "clock", Wait: wait})
	throughBreak(t, q, func() { r.set(true) }, func() {
		// A lease of another queue, twice as long as the server waits, runs out: the server has missed us by then.
		if _, err := watch.Put(t.Context(), queue.Job{ID: "tick", Lane: "a"}, nil, nil); err != nil {
			t.Fatal(err)
		}
		for range 2 {
			if ls, err := watch.Take(t.Context(), queue.Ask{For: 2 * wait}); err != nil || len(ls) != 1 {
				take(t, watch)
			}
		}
		r.set(false)
	})
}

func TestWhatIsRefusedBeforeAnythingIsSent(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		name string
		s    jet.Server
		code abi.Code
	}{
		{"no address", jet.Server{}, abi.Invalid},
		{"no URL", jet.Server{URLs: []string{"host:4222"}}, abi.Invalid},
		{"a password in an address", jet.Server{URLs: []string{"tls://u:p@host:4222"}}, abi.Invalid},
		{"in clear beyond this machine", jet.Server{URLs: []string{"nats://192.0.2.1:4222"}}, abi.Denied},
		{"the second in clear", jet.Server{URLs: []string{"tls://192.0.2.1:4222", "nats://192.0.2.2:4222"}}, abi.Denied},
		{"nobody there", jet.Server{URLs: []string{"nats://127.0.0.1:1"}}, abi.Unavailable},
	} {
		t.Run(c.name, func(t *testing.T) {
			if _, err := jet.Dial(t.Context(), c.s); abi.CodeOf(err) != c.code {
				t.Fatalf("got %v, want %s", err, c.code)
			}
		})
	}
}
