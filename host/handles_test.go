package host_test

import (
	"bytes"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/arw-project/arw/abi"
	"github.com/arw-project/arw/host/hosttest"
	"github.com/arw-project/arw/host/internal/lease"
	"github.com/arw-project/arw/host/internal/pack"
)

// TestALargeFilePassesByHandle moves 100 MB through a pack that may have 8 MiB, from one leased folder to another.
func TestALargeFilePassesByHandle(t *testing.T) {
	t.Parallel()
	h := hosttest.New(t, hosttest.Options{})
	h.Install(hosttest.Mover(t))
	from, to := t.TempDir(), t.TempDir()
	data := bytes.Repeat([]byte("0123456789"), 10_000_000)
	if err := os.WriteFile(filepath.Join(from, "large"), data, 0o600); err != nil {
		t.Fatal(err)
	}
	h.Grant("test/mover", abi.FS, "read:"+from, "write:"+to)
	input := fmt.Sprintf(`{"from":%q,"to":%q}`, filepath.Join(from, "large"), filepath.Join(to, "below", "copy"))
	if out := h.MustCall("mover.move", input); out != `{"bytes":100000000,"code":"ok"}` {
		t.Fatal(out)
	}
	if got, err := os.ReadFile(filepath.Join(to, "below", "copy")); err != nil || !bytes.Equal(got, data) {
		t.Errorf("the copy has %d bytes: %v", len(got), err)
	}
	// Outside of the leases nothing opens, and a link that leads out is no way.
	h.FailCall("mover.move", fmt.Sprintf(`{"from":%q,"to":%q}`, filepath.Join(to, "copy"), filepath.Join(from, "x")), abi.NotFound)
	h.FailCall("mover.move", fmt.Sprintf(`{"from":"/etc/passwd","to":%q}`, filepath.Join(to, "x")), abi.Denied)
	h.FailCall("mover.move", fmt.Sprintf(`{"from":%q,"to":%q}`, filepath.Join(from, "large"), filepath.Join(from, "x")), abi.Denied)
	if err := os.Symlink("/etc/passwd", filepath.Join(from, "link")); err != nil {
		t.Fatal(err)
	}
	h.FailCall("mover.move", fmt.Sprintf(`{"from":%q,"to":%q}`, filepath.Join(from, "link"), filepath.Join(to, "x")), abi.Denied)
	if left, _ := filepath.Glob(filepath.Join(to, "*x*")); len(left) > 0 {
		t.Errorf("left: %s", left)
	}
}

// TestALeaseEndsBetweenTwoReads: a lease that is revoked while a file is open ends the next read, and so does a spent budget.
func TestALeaseEndsBetweenTwoReads(t *testing.T) {
	t.Parallel()
	h := hosttest.New(t, hosttest.Options{})
	h.Install(hosttest.Mover(t))
	dir := t.TempDir()
	file := filepath.Join(dir, "f")
	if err := os.WriteFile(file, make([]byte, 100_000), 0o600); err != nil {
		t.Fatal(err)
	}
	l := h.Grant("test/mover", abi.FS, "read:"+dir)
	a := h.Submit("mover.again", fmt.Sprintf(`{"from":%q}`, file))
	hosttest.Eventually(t, "it has read something", func() bool {
		for _, live := range h.Services().Leases.List(lease.Filter{State: lease.Live}) {
			if live.ID == l.ID && live.Used.Bytes > 0 {
				return true
			}
		}
		return false
	})
	if _, err := h.Services().Leases.Revoke(t.Context(), "", l.ID, "operator", "enough"); err != nil {
		t.Fatal(err)
	}
	if a = h.Wait(a.ID); !strings.Contains(string(a.Output), `"code":"lease_revoked"`) {
		t.Errorf("after a revocation: %s %+v", a.Output, a.Failure)
	}
	if _, err := h.Services().Packs.Grant(t.Context(), "", "operator", pack.Grant{Pack: "test/mover", Capability: abi.FS, Scope: []string{"read:" + dir}, Bytes: 250_000}); err != nil {
		t.Fatal(err)
	}
	if out := h.MustCall("mover.again", fmt.Sprintf(`{"from":%q}`, file)); !strings.Contains(out, `"code":"budget_exhausted"`) {
		t.Errorf("with 250,000 bytes: %s", out)
	}
}
