package layout_test

import (
	"bufio"
	"context"
	"fmt"
	"io"
	"math/rand/v2"
	"os"
	"os/exec"
	"strings"
	"testing"
	"time"

	"github.com/arw-project/arw/registry/layout"
)

// childDir is how a killed child learns where to push; it is set for no other process.
const childDir = "ARW_TEST_PUSH_INTO"

func TestMain(m *testing.M) {
	if dir := os.Getenv(childDir); dir != "" {
		pushForever(dir)
	}
	if dir := os.Getenv(childServe); dir != "" {
		serveForever(dir)
	}
	os.Exit(m.Run())
}

// pushForever pushes version after version, each of a few blobs, and says so after each.
func pushForever(dir string) {
	ctx := context.Background()
	d, err := layout.Open(dir)
	if err != nil {
		panic(err)
	}
	r, err := d.Repo("acme/echo")
	if err != nil {
		panic(err)
	}
	old, _ := r.Tags()
	for n := len(old); ; n++ {
		layer := fmt.Sprintf("layer %d %s", n, strings.Repeat("x", 100_000))
		for _, blob := range []string{"{}", layer} {
			if err := r.PutBlob(ctx, sha256Of([]byte(blob)), strings.NewReader(blob)); err != nil {
				panic(err)
			}
		}
		if _, err := r.PutManifest(ctx, mediaManifest, imageOf(layer), layout.Put{Tag: fmt.Sprintf("0.%d.0", n)}); err != nil {
			panic(err)
		}
		fmt.Printf("0.%d.0\n", n)
	}
}

// TestKill kills a process in the middle of its pushes, again and again, and looks at what is left each time: every
// version that was reported is there, and everything that is there is whole.
func TestKill(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	told := map[string]bool{}
	for range 25 {
		cmd := exec.Command(os.Args[0])
		cmd.Env = append(os.Environ(), childDir+"="+dir)
		out, err := cmd.StdoutPipe()
		if err != nil {
			t.Fatal(err)
		}
		if err := cmd.Start(); err != nil {
			t.Fatal(err)
		}
		lines := bufio.NewReader(out)
		for range rand.IntN(4) {
			line, err := lines.ReadString('\n')
			if err != nil {
				t.Fatal(err)
			}
			told[strings.TrimSpace(line)] = true
		}
		timer := time.AfterFunc(rand.N(8*time.Millisecond), func() { cmd.Process.Kill() })
		rest, _ := io.ReadAll(lines) // to the end, which the kill makes
		timer.Stop()
		_ = cmd.Wait()
		for line := range strings.Lines(string(rest)) {
			if v, whole := strings.CutSuffix(line, "\n"); whole {
				told[v] = true
			}
		}
		checkWhole(t, dir, told)
	}
	r := repo(t, openDir(t, dir), "acme/echo")
	if n, err := r.Dir().Expire(t.Context(), 0); err != nil {
		t.Errorf("expired %d, %v", n, err)
	}
	checkWhole(t, dir, told)
	t.Logf("%d versions survived 25 kills", len(told))
}

func checkWhole(t *testing.T, dir string, told map[string]bool) {
	t.Helper()
	r := repo(t, openDir(t, dir), "acme/echo")
	if !r.Exists() {
		if len(told) > 0 {
			t.Fatal("the repository is gone")
		}
		return
	}
	tags, err := r.Tags()
	if err != nil {
		t.Fatal(err)
	}
	there := map[string]bool{}
	for _, tag := range tags {
		there[tag] = true
		_, raw, err := r.Manifest(tag)
		if err != nil {
			t.Fatal(err)
		}
		for _, l := range layersOf(t, raw) {
			if err := r.CheckBlob(l); err != nil {
				t.Fatalf("version %s: %v", tag, err)
			}
		}
	}
	for v := range told {
		if !there[v] {
			t.Fatalf("version %s was reported and is not there", v)
		}
	}
}

// TestStartingProcesses: a process being started holds every open file of this one for a moment, locks included; that must
// not look like another writer.
func TestStartingProcesses(t *testing.T) {
	t.Parallel()
	ctx, stop := context.WithCancel(t.Context())
	done := make(chan struct{})
	go func() {
		defer close(done)
		for ctx.Err() == nil {
			_ = exec.Command(os.Args[0], "-test.run=^$").Run()
		}
	}()
	r := repo(t, openDir(t, t.TempDir()), "acme/echo")
	for n := range 150 {
		blob := fmt.Sprint(n)
		if err := r.PutBlob(t.Context(), sha256Of([]byte(blob)), strings.NewReader(blob)); err != nil {
			t.Errorf("blob %d: %v", n, err)
			break
		}
	}
	stop()
	<-done
}
