// Command peers measures the engine beside what else a Go program could call plugins with, all in one run: the engine it
// stands on without ours, the Extism SDK, go-plugin over gRPC, and a child process over pipes. It prints one table.
//
// It is a module of its own, so that the product does not depend on its peers.
package main

import (
	"context"
	_ "embed"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"time"
)

//go:embed testdata/small.wasm
var smallGuest []byte

//go:embed testdata/extism.wasm
var extismGuest []byte

// request is what every path is asked: 45 bytes in, one look-up at the host, 44 bytes out.
const (
	request = `{"id":7,"method":"get","key":"user:42","n":3}`
	value   = "Ada Lovelace, 12 Dorset Sq"
	answer  = `{"id":7,"value":"` + value + `"}`
)

var table = map[string]string{"user:42": value}

func main() {
	switch os.Getenv(childVar) {
	case "plugin":
		servePlugin()
		return
	case "pipe":
		servePipe()
		return
	}
	if err := run(context.Background()); err != nil {
		fmt.Fprintln(os.Stderr, "peers:", err)
		os.Exit(1)
	}
}

const childVar = "ARW_PEERS_CHILD"

// row is one line of the table.
type row struct{ what, arw, peer, ratio, aim string }

func run(ctx context.Context) error {
	dir, err := os.MkdirTemp("", "peers")
	if err != nil {
		return err
	}
	defer os.RemoveAll(dir)
	goGuest, err := buildGo(dir)
	if err != nil {
		return err
	}
	var rows []row
	for _, part := range []func(context.Context, string, []byte) ([]row, error){calls, states, hostCalls, starts, memory, cores} {
		more, err := part(ctx, dir, goGuest)
		if err != nil {
			return err
		}
		rows = append(rows, more...)
	}
	fmt.Println("| what | arw | peer | ratio | aim |")
	fmt.Println("|---|---|---|---|---|")
	for _, r := range rows {
		fmt.Printf("| %s | %s | %s | %s | %s |\n", r.what, r.arw, r.peer, r.ratio, r.aim)
	}
	return nil
}

func buildGo(dir string) ([]byte, error) {
	out := filepath.Join(dir, "guest.wasm")
	cmd := exec.Command("go", "build", "-buildmode=c-shared", "-ldflags=-s -w", "-o", out, "./host/internal/wasm/testdata/guest")
	cmd.Dir = filepath.Join("..", "..", "..", "..")
	cmd.Env = append(os.Environ(), "GOOS=wasip1", "GOARCH=wasm", "GOFLAGS=-buildvcs=false")
	if msg, err := cmd.CombinedOutput(); err != nil {
		return nil, fmt.Errorf("build the Go guest: %w\n%s", err, msg)
	}
	return os.ReadFile(out)
}

// rounds of every measurement, the paths taking turns; the shortest counts, since everything else on the machine only adds.
const (
	rounds = 5
	turn   = 80 * time.Millisecond
)

// path is one way to do the same thing.
type path struct {
	name string
	call func() error
}

// race runs the paths in turns and tells the time of one call of each.
func race(paths ...path) ([]time.Duration, error) {
	best := make([]time.Duration, len(paths))
	for range rounds {
		for i, p := range paths {
			n := 1
			for {
				start := time.Now()
				for range n {
					if err := p.call(); err != nil {
						return nil, fmt.Errorf("%s: %w", p.name, err)
					}
				}
				took := time.Since(start)
				if each := took / time.Duration(n); best[i] == 0 || each < best[i] {
					best[i] = each
				}
				if took > turn/2 || n > 1<<22 {
					break
				}
				n *= 2
			}
		}
	}
	return best, nil
}

// show prints a duration with three digits.
func show(d time.Duration) string {
	switch {
	case d < 10*time.Microsecond:
		return fmt.Sprintf("%.2f µs", float64(d)/1e3)
	case d < 10*time.Millisecond:
		return fmt.Sprintf("%.1f µs", float64(d)/1e3)
	}
	return fmt.Sprintf("%.1f ms", float64(d)/1e6)
}

func times(peer, ours time.Duration) string {
	return fmt.Sprintf("%.3g×", float64(peer)/float64(ours))
}
