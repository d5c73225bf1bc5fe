//go:build linux

package server_test

import (
	"bufio"
	"bytes"
	"flag"
	"fmt"
	"net"
	"net/http"
	"os"
	"os/exec"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"github.com/arw-project/arw/host/internal/journal"
	"github.com/arw-project/arw/host/internal/server"
)

var (
	loadClients = flag.Int("load-clients", 50, "streams of TestLoadEvents")
	loadRate    = flag.Int("load-rate", 100, "events a second")
	loadEvents  = flag.Int("load-events", 200, "events in all")
)

// TestLoadEvents gives every event to every stream of a process of clients, and prints what it took: make load-events.
func TestLoadEvents(t *testing.T) {
	e := still(t, server.Options{})
	j := e.Services().Journal
	self, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	idle := rss(t)
	cmd := exec.CommandContext(t.Context(), self, "-test.run=^TestLoadClients$", "-test.v")
	cmd.Env = append(os.Environ(), "ARW_LOAD="+strings.TrimPrefix(e.base, "http://")+" "+strconv.Itoa(*loadClients))
	cmd.Stderr = os.Stderr
	out, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	lines := bufio.NewScanner(out)
	for lines.Scan() && !strings.HasPrefix(lines.Text(), "ready") {
	}
	open := rss(t)
	cpu, begun := used(t), time.Now()
	beat := time.NewTicker(10 * time.Millisecond)
	defer beat.Stop()
	for sent := 0; sent < *loadEvents; <-beat.C { // as many as are due, each an append of its own
		var wg sync.WaitGroup
		for due := min(*loadEvents, int(time.Since(begun).Seconds()*float64(*loadRate))+1); sent < due; sent++ {
			wg.Go(func() {
				body := map[string]any{"ns": time.Now().UnixNano(), "text": strings.Repeat("x", 150)}
				if _, err := j.Append(t.Context(), journal.Event{Kind: "load.event", Body: body}); err != nil {
					t.Error(err)
				}
			})
		}
		wg.Wait()
	}
	took := time.Since(begun)
	e.note("load.end")
	result := ""
	for lines.Scan() {
		if text, ok := strings.CutPrefix(lines.Text(), "result "); ok {
			result = text
		}
	}
	if err := cmd.Wait(); err != nil || result == "" {
		t.Fatalf("the clients ended with %v, %q", err, result)
	}
	if want := fmt.Sprintf(" %d deliveries", *loadEvents**loadClients); !strings.HasSuffix(result, want) {
		t.Errorf("%s, want%s", result, want)
	}
	spent := (used(t) - cpu).Seconds()
	deliveries := float64(*loadEvents * *loadClients)
	fmt.Printf("load-events: %d streams, %d events at %.0f/s; append to client %s; host %d MB (%d MB without streams, %.0f KB a stream when open), %.2f processors, %.1f us of them a delivery\n",
		*loadClients, *loadEvents, float64(*loadEvents)/took.Seconds(), result, rss(t)>>20, idle>>20, float64(open-idle)/1024/float64(*loadClients), spent/took.Seconds(), spent/deliveries*1e6)
}

// TestLoadClients is the other process of TestLoadEvents.
func TestLoadClients(t *testing.T) {
	var address string
	var n int
	if _, err := fmt.Sscanf(os.Getenv("ARW_LOAD"), "%s %d", &address, &n); err != nil {
		t.Skip("it is started by TestLoadEvents")
	}
	var wg, ready sync.WaitGroup
	var got atomic.Int64
	buckets := make([]atomic.Int64, 100_000) // of 100 µs
	for range n {
		conn, err := net.Dial("tcp", address)
		if err != nil {
			t.Fatal(err)
		}
		fmt.Fprintf(conn, "GET /events?prefix=load HTTP/1.1\r\nHost: %s\r\n\r\n", address)
		ready.Add(1)
		wg.Go(func() {
			defer conn.Close()
			resp, err := http.ReadResponse(bufio.NewReaderSize(conn, 2048), nil)
			if err != nil {
				t.Error(err)
				return
			}
			for r := bufio.NewReaderSize(resp.Body, 2048); ; {
				line, err := r.ReadSlice('\n')
				switch {
				case err != nil:
					t.Error(err)
					return
				case bytes.HasPrefix(line, []byte("event: service.connected")):
					ready.Done()
				case bytes.HasPrefix(line, []byte("event: load.end")):
					return
				}
				if at := bytes.Index(line, []byte(`"ns":`)); at > 0 {
					ns, _ := strconv.ParseInt(string(bytes.SplitN(line[at+5:], []byte(","), 2)[0]), 10, 64)
					buckets[min(int64(len(buckets)-1), max(0, time.Now().UnixNano()-ns)/100_000)].Add(1)
					got.Add(1)
				}
			}
		})
	}
	ready.Wait()
	fmt.Println("ready")
	wg.Wait()
	at := func(q float64) (ms float64) {
		for i, left := 0, int64(q*float64(got.Load())); i < len(buckets); i++ {
			if left -= buckets[i].Load(); left <= 0 {
				return float64(i+1) / 10
			}
		}
		return 0
	}
	fmt.Printf("result p50 %.1f ms, p99 %.1f ms, %d deliveries\n", at(.5), at(.99), got.Load())
}

// rss is the resident memory of this process, in bytes.
func rss(t *testing.T) int64 {
	t.Helper()
	raw, err := os.ReadFile("/proc/self/statm")
	if err != nil {
		t.Fatal(err)
	}
	pages, err := strconv.ParseInt(strings.Fields(string(raw))[1], 10, 64)
	if err != nil {
		t.Fatal(err)
	}
	return pages * int64(os.Getpagesize())
}

// used is the processor time of this process.
func used(t *testing.T) time.Duration {
	t.Helper()
	var u syscall.Rusage
	if err := syscall.Getrusage(syscall.RUSAGE_SELF, &u); err != nil {
		t.Fatal(err)
	}
	return time.Duration(u.Utime.Nano() + u.Stime.Nano())
}
