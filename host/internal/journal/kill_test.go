//go:build unix

package journal_test

import (
	"bufio"
	"context"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"testing"

	"github.com/arw-project/arw/host/internal/db"
	"github.com/arw-project/arw/host/internal/journal"
)

// TestMain lets TestKilledWhileWriting start this binary again as the process it kills.
func TestMain(m *testing.M) {
	if dir := os.Getenv("ARW_JOURNAL_DIR"); dir != "" {
		fmt.Fprintln(os.Stderr, writeForEver(dir))
		os.Exit(1)
	}
	os.Exit(m.Run())
}

// writeForEver appends from 256 goroutines and reports "id writer number" on standard output once an event is durable.
func writeForEver(dir string) error {
	d, err := db.Open(context.Background(), filepath.Join(dir, "arw.db"), schema)
	if err != nil {
		return err
	}
	j, err := journal.Open(context.Background(), d)
	if err != nil {
		return err
	}
	failed := make(chan error)
	for w := range 256 {
		go func() {
			for n := 0; ; n++ {
				r, err := j.Append(context.Background(), journal.Event{Kind: "kill.event", Body: map[string]int{"w": w, "n": n}})
				if err == nil {
					_, err = fmt.Printf("%d %d %d\n", r[0].ID, w, n) // one write, shorter than a pipe's atomic size
				}
				if err != nil {
					failed <- err
				}
			}
		}()
	}
	return <-failed
}

// runAndKill starts the writers, kills them after n acknowledgements and returns all that came out of the pipe.
func runAndKill(t *testing.T, dir string, n int) (acked []string) {
	t.Helper()
	self, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	cmd := exec.CommandContext(t.Context(), self)
	cmd.Env = append(os.Environ(), "ARW_JOURNAL_DIR="+dir)
	cmd.Stderr = os.Stderr
	out, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	for lines := bufio.NewScanner(out); lines.Scan(); {
		if acked = append(acked, lines.Text()); len(acked) == n {
			if err := cmd.Process.Kill(); err != nil { // SIGKILL
				t.Fatal(err)
			}
		}
	}
	_ = cmd.Wait()
	return acked
}

func TestKilledWhileWriting(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	all := map[int64]string{}
	for round := range 4 {
		for _, line := range runAndKill(t, dir, 100+round*137) {
			var id int64
			var w, n int
			if _, err := fmt.Sscanf(line, "%d %d %d", &id, &w, &n); err != nil {
				t.Fatalf("%q: %v", line, err)
			}
			all[id] = fmt.Sprintf(`{"n":%d,"w":%d}`, n, w)
		}
		// First as the killed process left it, then as the next one opens it.
		rep, err := journal.VerifyFile(t.Context(), filepath.Join(dir, "arw.db"), nil)
		if err != nil || rep.Count < int64(len(all)) {
			t.Fatalf("round %d: %+v, %v; %d events were acknowledged", round, rep, err, len(all))
		}
		d, j := open(t, dir)
		wantChain(t, j, rep.Count)
		found := 0
		for r, err := range j.Follow(t.Context(), 0, journal.Filter{}) {
			if err != nil {
				t.Fatal(err)
			}
			if body, ok := all[r.ID]; ok {
				if found++; string(r.Body) != body {
					t.Errorf("round %d: event %d is %s, but %s was acknowledged", round, r.ID, r.Body, body)
				}
			}
			if r.ID == j.Last() {
				break
			}
		}
		if found != len(all) {
			t.Errorf("round %d: %d of %d acknowledged events are there", round, found, len(all))
		}
		if err := d.Close(); err != nil {
			t.Fatal(err)
		}
	}
}
