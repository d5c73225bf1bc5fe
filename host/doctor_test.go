package host_test

import (
	"net"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/arw-project/arw/host"
	"github.com/arw-project/arw/host/api"
	"github.com/arw-project/arw/host/hosttest"
)

// examined looks at a host's state; the findings that are bad, and all of them.
func examined(t *testing.T, h *hosttest.Host, change func(*host.Checkup)) (bad []string, all []api.Finding) {
	t.Helper()
	c := host.Checkup{Config: h.Config(), Deep: true}
	c.Config.TrustFile, c.Config.PolicyDir = filepath.Join(h.State, "trust.toml"), filepath.Join(h.State, "policy")
	if change != nil {
		change(&c)
	}
	all = host.Doctor(t.Context(), c)
	for _, f := range all {
		if f.State != api.FindingOK && f.Next == "" {
			t.Errorf("%s is %s and nothing can be done: %s", f.Check, f.State, f.Message)
		}
		if f.State == api.FindingBad {
			bad = append(bad, f.Check)
		}
	}
	return bad, all
}

// Each thing that can be broken is found, and nothing else is.
func TestDoctorFindsWhatIsBroken(t *testing.T) {
	t.Parallel()
	taken, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = taken.Close() })
	rot := func(t *testing.T, h *hosttest.Host, glob string) {
		t.Helper()
		names, err := filepath.Glob(filepath.Join(h.State, filepath.FromSlash(glob)))
		if err != nil || len(names) == 0 {
			t.Fatal(glob, err)
		}
		raw, err := os.ReadFile(names[0])
		if err == nil {
			for i := len(raw) / 2; i < len(raw)/2+len(raw)/4; i++ {
				raw[i] ^= 0x5a
			}
			err = os.WriteFile(names[0], raw, 0o600)
		}
		if err != nil {
			t.Fatal(err)
		}
	}
	chmod := func(t *testing.T, h *hosttest.Host, name string, mode os.FileMode) {
		t.Helper()
		if err := os.Chmod(filepath.Join(h.State, name), mode); err != nil {
			t.Fatal(err)
		}
	}
	cases := []struct {
		name string
		harm func(*testing.T, *hosttest.Host)
		with func(*host.Checkup)
		bad  []string
	}{
		{"nothing", nil, nil, nil},
		{"others may look in", func(t *testing.T, h *hosttest.Host) { chmod(t, h, ".", 0o755) }, nil, []string{"state"}},
		{"others may read the credential", func(t *testing.T, h *hosttest.Host) { chmod(t, h, "operator.token", 0o644) }, nil, []string{"keys"}},
		{"a private key is open", func(t *testing.T, h *hosttest.Host) {
			h.WriteState("keys/build.key", "secret")
			chmod(t, h, "keys/build.key", 0o640)
		}, nil, []string{"keys"}},
		{"a page of the database rotted", func(t *testing.T, h *hosttest.Host) { rot(t, h, "arw.db") }, nil, []string{"database"}},
		{"a blob rotted", func(t *testing.T, h *hosttest.Host) { rot(t, h, "cas/sha256/*/*") }, nil, []string{"blobs"}},
		{"a trust policy with a fault", func(_ *testing.T, h *hosttest.Host) { h.WriteState("trust.toml", "schema = 1\nx = 2\n") }, nil, []string{"trust"}},
		{"a policy with a fault", func(_ *testing.T, h *hosttest.Host) { h.WriteState("policy/bad.cedar", "permit (") }, nil, []string{"policy"}},
		{"a port that is taken", nil, func(c *host.Checkup) { c.Listen = []string{taken.Addr().String()} }, []string{"ports"}},
		{"a port that the host itself has", nil, func(c *host.Checkup) { c.Listen, c.Running = []string{taken.Addr().String()}, true }, nil},
		{"a memory of starts with a fault", func(_ *testing.T, h *hosttest.Host) { h.WriteState("starts.json", "{") }, nil, []string{"starts"}},
		{"safe mode", func(_ *testing.T, h *hosttest.Host) {
			h.WriteState("starts.json", `{"schema":1,"started":"2026-01-01T00:00:00Z","safe":{"reason":"it died"}}`)
		}, nil, []string{"starts"}},
		{"models with a fault", func(_ *testing.T, h *hosttest.Host) { h.WriteState("models.toml", "x") }, nil, []string{"runtimes"}},
	}
	sink := hosttest.SinkPack(t)
	for _, c := range cases {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			h := hosttest.New(t, hosttest.Options{Stopped: true})
			h.Install(sink)
			h.Stop()
			chmod(t, h, ".", 0o700)
			if c.harm != nil {
				c.harm(t, h)
			}
			if bad, all := examined(t, h, c.with); !slices.Equal(bad, c.bad) {
				t.Errorf("bad are %q, want %q: %+v", bad, c.bad, all)
			}
		})
	}
}

func TestDoctorOfNoHostAtAll(t *testing.T) {
	t.Parallel()
	dir := filepath.Join(t.TempDir(), "none")
	found := host.Doctor(t.Context(), host.Checkup{Config: host.Config{StateDir: dir, TrustFile: filepath.Join(dir, "trust.toml"), PolicyDir: filepath.Join(dir, "policy")}})
	for _, f := range found {
		if f.State == api.FindingBad {
			t.Errorf("bad: %+v", f)
		}
	}
	if _, err := os.Lstat(dir); err == nil || !strings.Contains(found[0].Message, "not there") {
		t.Errorf("it made one, or says otherwise: %+v", found[0])
	}
}
