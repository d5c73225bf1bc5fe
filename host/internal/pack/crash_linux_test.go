package pack_test

import (
	"bytes"
	"context"
	"os"
	"os/exec"
	"os/signal"
	"syscall"
	"testing"

	"github.com/arw-project/arw/abi"
	"github.com/arw-project/arw/host"
	"github.com/arw-project/arw/host/hosttest"
	"github.com/arw-project/arw/host/internal/pack"
	"github.com/arw-project/arw/registry"
)

// TestKillDuringRollback kills the host at every step of a rollback: the next start has one version or the other, whole,
// with its leases.
func TestKillDuringRollback(t *testing.T) {
	if step := os.Getenv("ARW_TEST_KILL_ROLLBACK"); step != "" {
		h := hosttest.Open(t, host.Config{StateDir: os.Getenv("ARW_TEST_KILL_STATE"), CacheDir: os.Getenv("ARW_TEST_KILL_CACHE")})
		_, err := h.Services().Packs.Rollback(context.Background(), sinkName, pack.RollbackOptions{Step: func(s string) {
			if s == step {
				syscall.Kill(os.Getpid(), syscall.SIGKILL)
				select {}
			}
		}})
		t.Fatalf("it went on to %v", err)
	}
	t.Parallel()
	for _, step := range []string{"judge", "load", "commit", "done"} {
		t.Run(step, func(t *testing.T) {
			t.Parallel()
			h := installed(t, hosttest.Options{})
			version(t, h, "1.1.0")
			cfg := h.Config()
			h.Stop()
			cmd := exec.Command(os.Args[0], "-test.run=^TestKillDuringRollback$")
			cmd.Env = append(os.Environ(), "ARW_TEST_KILL_ROLLBACK="+step, "ARW_TEST_KILL_STATE="+cfg.StateDir, "ARW_TEST_KILL_CACHE="+cfg.CacheDir)
			out, err := cmd.CombinedOutput()
			if status, ok := cmd.ProcessState.Sys().(syscall.WaitStatus); !ok || !status.Signaled() || status.Signal() != syscall.SIGKILL {
				t.Fatalf("the child was to be killed at %q: %v\n%s", step, err, out)
			}
			h.Start()
			want := "1.1.0"
			if step == "done" {
				want = "1.0.0"
			}
			if got := infoOf(t, h); got.Version != want || len(live(h, sinkName)) != 6 {
				t.Fatalf("want %s: %s, %d leases", want, asJSON(t, got), len(live(h, sinkName)))
			}
			h.MustCall("sink.put", `{"key":"a","val":"b"}`)
			if step != "done" {
				rollback(t, h, pack.RollbackOptions{})
			}
			if rep, err := h.Services().Journal.Verify(t.Context()); err != nil {
				t.Fatalf("journal: %+v, %v", rep, err)
			}
		})
	}
}

// TestFullDiskDuringUpgrade: the upgrade is refused, the old version goes on, and when there is room it works.
func TestFullDiskDuringUpgrade(t *testing.T) {
	if ref := os.Getenv("ARW_TEST_FULL_REF"); ref != "" {
		upgradeOnFullDisk(t, ref)
		return
	}
	t.Parallel()
	h := installed(t, hosttest.Options{})
	big := registry.File{Name: "big.bin", MediaType: registry.MediaFile, Data: bytes.Repeat([]byte{7}, 24<<20)}
	ref, _ := h.Publish(hosttest.Artifact{Module: hosttest.Sink(t), TOML: hosttest.SinkTOML("1.1.0"), Files: []registry.File{big}})
	cfg := h.Config()
	h.Stop()
	cmd := exec.Command(os.Args[0], "-test.run=^TestFullDiskDuringUpgrade$")
	cmd.Env = append(os.Environ(), "ARW_TEST_FULL_REF="+h.Location+"//"+ref, "ARW_TEST_KILL_STATE="+cfg.StateDir, "ARW_TEST_KILL_CACHE="+cfg.CacheDir)
	if out, err := cmd.CombinedOutput(); err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
	h.Start()
	if got := infoOf(t, h); got.Version != "1.1.0" {
		t.Fatalf("info: %s", asJSON(t, got))
	}
}

func upgradeOnFullDisk(t *testing.T, ref string) {
	h := hosttest.Open(t, host.Config{StateDir: os.Getenv("ARW_TEST_KILL_STATE"), CacheDir: os.Getenv("ARW_TEST_KILL_CACHE")})
	defer h.Close()
	m := h.Services().Packs
	signal.Ignore(syscall.SIGXFSZ)
	var before syscall.Rlimit
	if err := syscall.Getrlimit(syscall.RLIMIT_FSIZE, &before); err != nil {
		t.Fatal(err)
	}
	if err := syscall.Setrlimit(syscall.RLIMIT_FSIZE, &syscall.Rlimit{Cur: 16 << 20, Max: before.Max}); err != nil {
		t.Fatal(err)
	}
	v, err := m.Install(context.Background(), ref, pack.Options{})
	if abi.CodeOf(err) != abi.StorageFull || v.Step != "store" || abi.HintOf(err) == "" {
		t.Fatalf("got %v (hint %q), verdict at %q", err, abi.HintOf(err), v.Step)
	}
	info, err := m.Get(sinkName)
	if err != nil || info.Version != "1.0.0" {
		t.Fatalf("%s, %v", asJSON(t, info), err)
	}
	if err := syscall.Setrlimit(syscall.RLIMIT_FSIZE, &before); err != nil {
		t.Fatal(err)
	}
	if _, err := m.Install(context.Background(), ref, pack.Options{}); err != nil {
		t.Fatal(err)
	}
}
