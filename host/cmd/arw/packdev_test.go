package main

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/arw-project/arw/abi"
	"github.com/arw-project/arw/host/api"
	"github.com/arw-project/arw/host/internal/author"
	"github.com/arw-project/arw/sdk/go/client"
)

// session is "arw pack dev" running in this process; its lines of JSON are what it said.
type session struct {
	t     testing.TB
	lines chan devEvent
	stop  context.CancelFunc
	done  chan int
	said  *strings.Builder // on standard error
	ready devEvent
}

func develop(t testing.TB, args ...string) *session {
	t.Helper()
	ctx, cancel := context.WithCancel(context.Background())
	out, in := io.Pipe()
	s := &session{t: t, lines: make(chan devEvent, 100), stop: cancel, done: make(chan int, 1), said: &strings.Builder{}}
	env := map[string]string{"ARW_CACHE_DIR": cacheDir(t), "NO_COLOR": "1"}
	go func() {
		s.done <- run(ctx, append([]string{"--json", "pack", "dev"}, args...), streams{in: strings.NewReader(""), out: in, err: s.said, env: func(k string) string { return env[k] }})
		in.Close()
	}()
	go func() {
		defer close(s.lines)
		for lines := bufio.NewScanner(out); lines.Scan(); {
			var e devEvent
			if json.Unmarshal(lines.Bytes(), &e) == nil {
				s.lines <- e
			}
		}
	}()
	t.Cleanup(func() { s.end() })
	s.ready = s.next("ready")
	return s
}

// cacheDir keeps compiled code from one test to the next.
func cacheDir(t testing.TB) string {
	base, err := os.UserCacheDir()
	if err != nil {
		return t.TempDir()
	}
	return filepath.Join(base, "arw-hosttest", "dev")
}

// next waits for an event of one of the kinds and fails on any other but "changed".
func (s *session) next(kinds ...string) devEvent {
	s.t.Helper()
	timeout := time.NewTimer(2 * time.Minute)
	defer timeout.Stop()
	for {
		select {
		case e, ok := <-s.lines:
			switch {
			case !ok:
				s.t.Fatalf("the session ended: code %d, %s", <-s.done, s.said)
			case e.Event == "changed" && !slices.Contains(kinds, "changed"):
				continue
			case !slices.Contains(kinds, e.Event):
				s.t.Fatalf("got %+v, want %q", e, kinds)
			}
			return e
		case <-timeout.C:
			s.t.Fatalf("no event %q came", kinds)
		}
	}
}

// end is Ctrl-C.
func (s *session) end() int {
	s.stop()
	for range s.lines {
	}
	code := <-s.done
	s.done <- code
	return code
}

// client speaks to the session's host as a person would, with what lies in its state.
func (s *session) client() *client.Client {
	s.t.Helper()
	token, err := os.ReadFile(filepath.Join(s.ready.State, "operator.token"))
	if err != nil {
		s.t.Fatal(err)
	}
	return client.New(s.ready.Address, strings.TrimSpace(string(token)))
}

func (s *session) call(tool, input string) (string, error) {
	s.t.Helper()
	act, err := s.client().Submit(s.t.Context(), api.SubmitAction{Kind: tool, Input: json.RawMessage(input)}, true)
	if err != nil {
		return "", err
	}
	if act.Error != nil {
		code, _ := abi.CodeByName(act.Error.Code)
		return "", abi.Errorf(code, "%s", act.Error.Message)
	}
	return string(act.Output), nil
}

func (s *session) answers(tool, input, want string) {
	s.t.Helper()
	got, err := s.call(tool, input)
	if err != nil || !strings.Contains(got, want) {
		s.t.Fatalf("%s %s: %s, %v; want %s", tool, input, got, err, want)
	}
}

func edit(t testing.TB, file, old, new string) {
	t.Helper()
	src, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	if !strings.Contains(string(src), old) {
		t.Fatalf("%s has no %q", file, old)
	}
	if err := os.WriteFile(file, []byte(strings.ReplaceAll(string(src), old, new)), 0o644); err != nil {
		t.Fatal(err)
	}
}

// TestPackDev is an author's afternoon: edit, see the new answer, break the build, widen what is asked for, go home.
func TestPackDev(t *testing.T) {
	t.Parallel()
	dir := filepath.Join(t.TempDir(), "hello")
	if _, err := author.Init(dir, "acme/hello", "go"); err != nil {
		t.Fatal(err)
	}
	main, tests, manifest := filepath.Join(dir, "main.go"), filepath.Join(dir, "tests", "greet.txtar"), filepath.Join(dir, "pack.toml")
	s := develop(t, dir)
	first := s.next("served")
	if first.Tests == nil || first.Tests.Passed != 4 || len(first.Changes) == 0 {
		t.Fatalf("%+v", first)
	}
	s.answers("hello.greet", `{"name":"Ada"}`, "Hello, Ada!")

	// A build that breaks, then a case that fails, then a manifest that does not read: the old build goes on.
	edit(t, main, "times++", "times+")
	broken := s.next("failed")
	if broken.Step != "build" || broken.Digest != first.Digest || !strings.Contains(broken.Error, "main.go:") {
		t.Fatalf("%+v", broken)
	}
	s.answers("hello.greet", `{"name":"Ada"}`, "Hello, Ada!")
	edit(t, main, "times+\n", "times++\n")
	s.next("same")
	edit(t, main, `"Hello, "`, `"Hi, "`)
	if e := s.next("failed"); e.Step != "test" || e.Tests.Failed == 0 || e.Digest != first.Digest {
		t.Fatalf("%+v", e)
	}
	s.answers("hello.greet", `{"name":"Ada"}`, "Hello, Ada!")
	edit(t, manifest, `effects = "writes"`, `effects = "all"`)
	if e := s.next("failed"); e.Step != "manifest" || !strings.Contains(e.Error, "pack.toml:") {
		t.Fatalf("%+v", e)
	}

	// Mended, it swaps; what the old build stored is still there.
	edit(t, tests, "Hello, Ada!", "Hi, Ada!")
	s.next("failed")
	edit(t, manifest, "output = { text = \"Hello, Ada!\"", "output = { text = \"Hi, Ada!\"")
	s.next("failed")
	edit(t, manifest, `effects = "all"`, `effects = "writes"`)
	second := s.next("served")
	if second.Digest == first.Digest || len(second.Changes) != 0 {
		t.Fatalf("%+v", second)
	}
	t.Logf("save to served: %v", second.Took)
	s.answers("hello.greet", `{"name":"Ada"}`, "Hi, Ada!")

	// Asking for more is said, and not given.
	edit(t, main, "key := \"times/\" + in.Name", "if _, err := c.FS().Stat(\"/etc\"); err != nil {\n\t\treturn Reply{}, err\n\t}\n\tkey := \"times/\" + in.Name")
	if e := s.next("failed"); e.Step != "build" || !strings.Contains(e.Next, "[capabilities.fs]") {
		t.Fatalf("%+v", e)
	}
	for _, name := range []string{tests, filepath.Join(dir, "tests", "refused.txtar")} {
		if err := os.Remove(name); err != nil {
			t.Fatal(err)
		}
	}
	edit(t, manifest, "# What the pack may ask", "[capabilities.fs]\nscope = [\"read:/etc\"]\nreason = \"looks at a folder\"\nask = true\n\n# What the pack may ask")
	var wide devEvent
	for wide.Version == "" || len(wide.Changes) == 0 { // the removals may have been seen before the edit
		wide = s.next("served", "failed")
	}
	if c := wide.Changes[0]; !c.Wider || !strings.Contains(c.What, "read:/etc") || len(wide.Pending) == 0 || !strings.Contains(strings.Join(wide.Pending, "\n"), " acme/hello ") {
		t.Fatalf("%+v", wide)
	}
	if _, err := s.call("hello.greet", `{"name":"Ada"}`); abi.CodeOf(err) != abi.Denied {
		t.Fatalf("the new capability was used without leave: %v", err)
	}

	// The end leaves nothing: no host, no state, and the key's trust is told in the journal before.
	if !slices.Contains(s.kinds(), "service.dev.start") {
		t.Error("the session's trust is not in the journal")
	}
	if code := s.end(); code != 0 {
		t.Errorf("code %d: %s", code, s.said)
	}
	if _, err := os.Stat(s.ready.State); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("the state is still there: %v", err)
	}
	if _, err := http.Get(s.ready.Address + "/healthz"); err == nil {
		t.Error("the host still answers")
	}
}

// kinds are those of all events so far.
func (s *session) kinds() []string {
	s.t.Helper()
	ctx, cancel := context.WithCancel(s.t.Context())
	defer cancel()
	var kinds []string
	for ev, err := range s.client().Events(ctx, client.Follow{Replay: 1 << 20, Prefixes: []string{"service.", "pack.installed"}}) {
		if err != nil {
			break
		}
		kinds = append(kinds, ev.Kind)
		if ev.Kind == "pack.installed" {
			break
		}
	}
	return kinds
}

// BenchmarkPackDev is the author's loop in Go: a save, and the call that answers as the sources now say. What the steps
// take is of the last round.
func BenchmarkPackDev(b *testing.B) {
	dir := filepath.Join(b.TempDir(), "hello")
	if _, err := author.Init(dir, "acme/hello", "go"); err != nil {
		b.Fatal(err)
	}
	s := develop(b, dir)
	s.next("served")
	was := "times++"
	var last devEvent
	for n := 0; b.Loop(); n++ {
		// No call sees it, but no build before had it: neither the compiler's cache nor ours can help.
		is := fmt.Sprintf("times++\n\tif in.Name == %q {\n\t\ttimes--\n\t}", fmt.Sprint(time.Now().UnixNano()))
		edit(b, filepath.Join(dir, "main.go"), was, is)
		was = is
		last = s.next("served")
		s.answers("hello.greet", `{"name":"Ada"}`, "Hello, Ada!")
	}
	b.StopTimer()
	for _, step := range []string{"build", "test", "publish", "install", "all"} {
		if took, err := time.ParseDuration(last.Took[step]); err == nil {
			b.ReportMetric(float64(took.Milliseconds()), step+"-ms")
		}
	}
}
