package cas_test

import (
	"bufio"
	"context"
	"crypto/rand"
	"fmt"
	"io"
	"os"
	"os/exec"
	"strings"
	"syscall"
	"testing"

	"github.com/arw-project/arw/abi"
	"github.com/arw-project/arw/host/internal/cas"
)

// TestMain lets the tests start this binary again as a process that can be killed or run out of room.
func TestMain(m *testing.M) {
	dir := os.Getenv("ARW_CAS_DIR")
	switch os.Getenv("ARW_CAS_CHILD") {
	case "":
		os.Exit(m.Run())
	case "store":
		storeForEver(dir)
	case "full":
		if err := runOutOfRoom(dir); err != nil {
			fmt.Fprintln(os.Stderr, err)
			os.Exit(1)
		}
	}
}

func childCommand(t *testing.T, what, dir string) *exec.Cmd {
	t.Helper()
	self, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	cmd := exec.CommandContext(t.Context(), self)
	cmd.Env = append(os.Environ(), "ARW_CAS_CHILD="+what, "ARW_CAS_DIR="+dir)
	return cmd
}

// storeForEver writes random blobs from four goroutines and tells each digest when it is stored.
func storeForEver(dir string) {
	s, err := cas.Open(dir)
	if err != nil {
		panic(err)
	}
	for range 4 {
		go func() {
			for {
				digest, _, err := s.Put(context.Background(), io.LimitReader(rand.Reader, 200_000))
				if err != nil {
					panic(err)
				}
				fmt.Println(digest)
			}
		}()
	}
	select {}
}

func TestKilledInTheMiddle(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	for round := range 3 {
		cmd := childCommand(t, "store", dir)
		out, err := cmd.StdoutPipe()
		if err != nil {
			t.Fatal(err)
		}
		if err := cmd.Start(); err != nil {
			t.Fatal(err)
		}
		var acked []string
		lines := bufio.NewScanner(out)
		for lines.Scan() {
			if acked = append(acked, lines.Text()); len(acked) == 10 {
				if err := cmd.Process.Kill(); err != nil {
					t.Fatal(err)
				}
			}
		}
		_ = cmd.Wait()
		s := open(t, dir)
		for _, digest := range acked {
			if len(digest) != len(cas.Digest(nil)) { // the pipe's last line may be cut
				continue
			}
			if _, err := s.Get(digest); err != nil {
				t.Errorf("round %d: an acknowledged blob is lost: %v", round, err)
			}
		}
		for _, f := range blobs(t, dir) {
			sum := f[strings.LastIndexByte(f, '/')+1:]
			if _, err := s.Get("sha256:" + sum); err != nil {
				t.Errorf("round %d: %q is visible but not whole: %v", round, f, err)
			}
		}
	}
}

// runOutOfRoom limits the size of files: the system's answer differs from a full disk's only in its number.
func runOutOfRoom(dir string) error {
	s, err := cas.Open(dir)
	if err != nil {
		return err
	}
	var old syscall.Rlimit
	if err := syscall.Getrlimit(syscall.RLIMIT_FSIZE, &old); err != nil {
		return err
	}
	if err := syscall.Setrlimit(syscall.RLIMIT_FSIZE, &syscall.Rlimit{Cur: 100_000, Max: old.Max}); err != nil {
		return err
	}
	data := make([]byte, 200_000)
	if _, err := s.PutBytes(context.Background(), data); abi.CodeOf(err) != abi.StorageFull {
		return fmt.Errorf("a full disk was reported as %v: %w", abi.CodeOf(err), err)
	}
	if ok, err := s.Has(cas.Digest(data)); ok || err != nil {
		return fmt.Errorf("half a blob is visible: %v", err)
	}
	if err := syscall.Setrlimit(syscall.RLIMIT_FSIZE, &old); err != nil {
		return err
	}
	_, err = s.PutBytes(context.Background(), data)
	return err
}

func TestFullDisk(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	if out, err := childCommand(t, "full", dir).CombinedOutput(); err != nil {
		t.Errorf("%v\n%s", err, out)
	}
	if files := blobs(t, dir); len(files) != 1 {
		t.Errorf("files %q, want the one blob", files)
	}
}
