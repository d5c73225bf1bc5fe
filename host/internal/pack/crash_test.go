package pack_test

import (
	"context"
	"os"
	"os/exec"
	"strings"
	"syscall"
	"testing"

	"github.com/arw-project/arw/host"
	"github.com/arw-project/arw/host/hosttest"
	"github.com/arw-project/arw/host/internal/pack"
)

// TestKillDuringInstall kills the host at every step of an install, of a first one and of an upgrade, and looks at what
// the next start makes of it: the pack is installed or it is not, and either way the host is well.
func TestKillDuringInstall(t *testing.T) {
	if step := os.Getenv("ARW_TEST_KILL_STEP"); step != "" {
		installAndDie(t, step)
		return
	}
	t.Parallel()
	for _, step := range []string{"resolve", "pull", "verify", "manifest", "inspect", "admit", "compare", "store", "load", "examples", "commit", "done"} {
		t.Run(step, func(t *testing.T) {
			t.Parallel()
			for _, before := range []string{"", "1.0.0"} {
				killAt(t, step, before)
			}
		})
	}
}

func killAt(t *testing.T, step, before string) {
	h := hosttest.New(t, hosttest.Options{})
	if before != "" {
		h.Install(hosttest.Artifact{TOML: hosttest.SinkTOML(before), Module: hosttest.Sink(t)})
		h.MustCall("sink.put", `{"key":"a","val":"b"}`)
	}
	ref, _ := h.Publish(hosttest.Artifact{TOML: hosttest.SinkTOML("2.0.0"), Module: hosttest.Sink(t)})
	cfg := h.Config()
	h.Stop()
	cmd := exec.Command(os.Args[0], "-test.run=^TestKillDuringInstall$")
	cmd.Env = append(os.Environ(), "ARW_TEST_KILL_STEP="+step, "ARW_TEST_KILL_STATE="+cfg.StateDir, "ARW_TEST_KILL_CACHE="+cfg.CacheDir,
		"ARW_TEST_KILL_REF="+h.Location+"//"+ref)
	out, err := cmd.CombinedOutput()
	if status, ok := cmd.ProcessState.Sys().(syscall.WaitStatus); !ok || !status.Signaled() || status.Signal() != syscall.SIGKILL {
		t.Fatalf("the child was to be killed at %q: %v\n%s", step, err, out)
	}
	h.Start()
	want := before
	if step == "done" {
		want = "2.0.0"
	}
	info, err := h.Services().Packs.Get(sinkName)
	switch {
	case want == "" && err == nil:
		t.Fatalf("half installed: %s", asJSON(t, info))
	case want == "":
		absent(t, h, sinkName)
	case err != nil || info.Version != want:
		t.Fatalf("want version %q, have %s, %v", want, asJSON(t, info), err)
	}
	if n := len(live(h, sinkName)); want != "" && n != 6 {
		t.Fatalf("%d leases", n)
	}
	if before != "" {
		if got := h.MustCall("sink.get", `{"key":"a"}`); got != `{"got":"b"}` {
			t.Fatalf("got %s", got)
		}
	}
	if v, err := h.TryInstall(ref, pack.Options{}); err != nil || v.Version != "2.0.0" {
		t.Fatalf("install again: %v, %v", v, err)
	}
	h.MustCall("sink.echo", `{"n":1}`)
	if rep, err := h.Services().Journal.Verify(t.Context()); err != nil {
		t.Fatalf("journal: %+v, %v", rep, err)
	}
}

func installAndDie(t *testing.T, step string) {
	ctx := context.Background()
	h := hosttest.Open(t, host.Config{StateDir: os.Getenv("ARW_TEST_KILL_STATE"), CacheDir: os.Getenv("ARW_TEST_KILL_CACHE")})
	_, err := h.Services().Packs.Install(ctx, os.Getenv("ARW_TEST_KILL_REF"), pack.Options{Step: func(s string) {
		if s == step {
			syscall.Kill(os.Getpid(), syscall.SIGKILL)
			select {}
		}
	}})
	t.Fatalf("it went on to %v (%s)", err, strings.Join(os.Args, " "))
}
