package starts_test

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/arw-project/arw/abi"
	"github.com/arw-project/arw/host/internal/starts"
)

// clock is a clock that a test sets.
type clock struct{ t time.Time }

func (c *clock) now() time.Time { return c.t }

func open(t *testing.T, path string, c *clock, told string) *starts.Book {
	t.Helper()
	b, err := starts.Open(path, starts.Limits{Crashes: 3, Window: 10 * time.Minute}, told, c.now)
	if err != nil {
		t.Fatal(err)
	}
	return b
}

func TestTooManyCrashesMakeItSafe(t *testing.T) {
	t.Parallel()
	cases := []struct {
		name string
		// each step is one start: how long after the one before, and whether that one had ended well
		steps []struct {
			after time.Duration
			ended bool
		}
		safe bool
	}{
		{"the first start", steps("0"), false},
		{"two crashes", steps("0 1m! 1m!"), false},
		{"three crashes", steps("0 1m! 1m! 1m!"), true},
		{"three crashes with a good end between", steps("0 1m! 1m 1m! 1m!"), true},
		{"three crashes in three hours", steps("0 1h! 1h! 1h!"), false},
		{"good ends alone", steps("0 1s 1s 1s 1s 1s"), false},
		{"a clock that was set back", steps("0 1m! 1m! -48h!"), false},
		{"a good end after it is no way out", steps("0 1m! 1m! 1m! 1h 1h"), true},
	}
	for _, c := range cases {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			path, clk := filepath.Join(t.TempDir(), "starts.json"), &clock{time.Date(2026, 1, 1, 0, 0, 0, 0, time.UTC)}
			var b *starts.Book
			for _, s := range c.steps {
				if b != nil && s.ended {
					if err := b.End(); err != nil {
						t.Fatal(err)
					}
				}
				clk.t = clk.t.Add(s.after)
				b = open(t, path, clk, "")
			}
			if got := b.Safe(); (got != nil) != c.safe {
				t.Errorf("safe: %+v", got)
			}
		})
	}
}

// steps reads "1m!" as a start a minute later that finds a crash.
func steps(text string) (out []struct {
	after time.Duration
	ended bool
}) {
	for _, s := range strings.Fields(text) {
		d, crash := strings.CutSuffix(s, "!")
		after, _ := time.ParseDuration(d)
		out = append(out, struct {
			after time.Duration
			ended bool
		}{after, !crash})
	}
	return out
}

func TestAPersonLetsItGo(t *testing.T) {
	t.Parallel()
	path, clk := filepath.Join(t.TempDir(), "starts.json"), &clock{time.Date(2026, 1, 1, 0, 0, 0, 0, time.UTC)}
	for range 4 {
		open(t, path, clk, "")
	}
	b := open(t, path, clk, "")
	s := b.Safe()
	if s == nil || len(s.Crashes) != 3 || s.Reason == "" {
		t.Fatalf("safe: %+v", s)
	}
	if err := b.Leave(); err != nil || b.Safe() != nil {
		t.Fatal(err, b.Safe())
	}
	if err := b.Leave(); abi.CodeOf(err) != abi.Conflict {
		t.Errorf("twice: %v", err)
	}
	if _, ended, safe, err := starts.Peek(path); ended || safe != nil || err != nil {
		t.Errorf("the file says ended %v, safe %+v (%v)", ended, safe, err)
	}
	if got := open(t, path, clk, "").Safe(); got != nil { // one crash more, the older ones are forgiven
		t.Errorf("safe: %+v", got)
	}
}

func TestToldToBeSafe(t *testing.T) {
	t.Parallel()
	path, clk := filepath.Join(t.TempDir(), "starts.json"), &clock{time.Now()}
	b := open(t, path, clk, "a person asked for it")
	if s := b.Safe(); s == nil || s.Reason != "a person asked for it" {
		t.Errorf("safe: %+v", s)
	}
	if err := b.End(); err != nil {
		t.Fatal(err)
	}
	if s := open(t, path, clk, "").Safe(); s == nil {
		t.Error("the next start forgot it")
	}
}

// A file that cannot be read counts as a crash, and no file as none.
func TestADamagedFileIsACrash(t *testing.T) {
	t.Parallel()
	for _, damage := range []string{"", "{", `{"schema":2}`, "\x00\x00"} {
		path := filepath.Join(t.TempDir(), "starts.json")
		if err := os.WriteFile(path, []byte(damage), 0o600); err != nil {
			t.Fatal(err)
		}
		if _, _, _, err := starts.Peek(path); abi.CodeOf(err) != abi.Corrupt {
			t.Errorf("%q: %v", damage, err)
		}
		b, err := starts.Open(path, starts.Limits{Crashes: 1}, "", nil)
		if err != nil || b.Safe() == nil {
			t.Errorf("%q: %v %+v", damage, err, b.Safe())
		}
		if err := b.End(); err != nil {
			t.Error(err)
		}
	}
	if at, ended, safe, err := starts.Peek(filepath.Join(t.TempDir(), "none")); !at.IsZero() || !ended || safe != nil || err != nil {
		t.Error(at, ended, safe, err)
	}
}

func TestNoLimit(t *testing.T) {
	t.Parallel()
	path := filepath.Join(t.TempDir(), "starts.json")
	for range 9 {
		b, err := starts.Open(path, starts.Limits{Crashes: -1}, "", nil)
		if err != nil || b.Safe() != nil {
			t.Fatal(err, b.Safe())
		}
	}
}
