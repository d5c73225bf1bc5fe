package supervise_test

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"net"
	"net/http"
	"os"
	"os/exec"
	"os/signal"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/arw-project/arw/abi"
	"github.com/arw-project/arw/host/internal/infer"
	"github.com/arw-project/arw/host/internal/infer/infertest"
	"github.com/arw-project/arw/host/internal/infer/openai"
	"github.com/arw-project/arw/host/internal/infer/supervise"
)

// The test binary is the runtime too: "-arw-runtime SOCKET KEYFILE MODE STARTS", and a host that crashes: "-arw-host DIR".
func TestMain(m *testing.M) {
	if len(os.Args) > 1 && os.Args[1] == "-arw-runtime" {
		serve(os.Args[2], os.Args[3], os.Args[4], os.Args[5])
		return
	}
	if len(os.Args) > 1 && os.Args[1] == "onnx-worker" {
		os.Exit(work(os.Args[2:]))
	}
	if len(os.Args) > 1 && os.Args[1] == "-arw-host" {
		crash(os.Args[2])
		return
	}
	os.Exit(m.Run())
}

// serve is the fake runtime as a process. The mode is the name of the "model".
func serve(socket, keyFile, mode, starts string) {
	f, err := os.OpenFile(starts, os.O_APPEND|os.O_CREATE|os.O_WRONLY, 0o600)
	if err != nil {
		panic(err)
	}
	fmt.Fprintln(f, os.Getpid())
	_ = f.Close()
	fmt.Println("runtime begins in mode", mode, "env", os.Environ())
	if strings.HasPrefix(mode, "dead") {
		fmt.Println("cannot load the model\x1b[31m")
		os.Exit(3)
	}
	if mode == "stubborn" {
		signal.Ignore(syscall.SIGTERM)
		child := exec.Command("sleep", "1000") // of the same group
		if err := child.Start(); err != nil {
			panic(err)
		}
		fmt.Println("child", child.Process.Pid)
	}
	key, err := os.ReadFile(keyFile)
	if err != nil {
		panic(err)
	}
	s := infertest.New("llama")
	s.Key, s.Pace, s.Slotted = strings.TrimSpace(string(key)), 2*time.Millisecond, filepath.Join(filepath.Dir(socket), "slots")
	began := time.Now()
	l, err := net.Listen("unix", socket)
	if err != nil {
		panic(err)
	}
	_ = http.Serve(l, http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.URL.Path == "/health" && (mode == "hung" || mode == "slow" && time.Since(began) < 300*time.Millisecond) {
			w.WriteHeader(503)
			return
		}
		s.ServeHTTP(w, r)
	}))
}

type bench struct {
	*supervise.Supervisor
	dir, starts string

	mu   sync.Mutex
	seen []supervise.Status
}

func config(dir string) (supervise.Config, string) {
	self, err := os.Executable()
	if err != nil {
		panic(err)
	}
	starts := filepath.Join(dir, "starts")
	return supervise.Config{
		Dir: filepath.Join(dir, "run"), Drain: 5 * time.Second, Term: 300 * time.Millisecond,
		Launch: map[string]supervise.Launch{"fake": {Dialect: openai.Llama, Health: "/health", Args: func(_ *supervise.Profile, model, socket, keyFile string) []string {
			return []string{"-arw-runtime", socket, keyFile, filepath.Base(model), starts}
		}}},
	}, self
}

func open(t testing.TB, change func(*supervise.Config)) *bench {
	t.Helper()
	// A socket's path is short; t.TempDir's is not.
	dir, err := os.MkdirTemp("", "arw")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = os.RemoveAll(dir) })
	cfg, _ := config(dir)
	b := &bench{dir: dir, starts: filepath.Join(dir, "starts")}
	cfg.Changed = func(st supervise.Status) {
		b.mu.Lock()
		defer b.mu.Unlock()
		b.seen = append(b.seen, st)
	}
	if change != nil {
		change(&cfg)
	}
	if b.Supervisor, err = supervise.Open(cfg); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = b.Close() })
	return b
}

func want(mode string) supervise.Want {
	self, _ := os.Executable()
	sum := sha256.Sum256([]byte(mode))
	return supervise.Want{Digest: "sha256:" + hex.EncodeToString(sum[:]), File: "/models/" + mode, Size: 1 << 20,
		Profile: supervise.Profile{Name: "test", Runtime: "fake", Binary: self, Slots: 2, Queue: 100}}
}

func (b *bench) pids(t *testing.T) (out []int) {
	t.Helper()
	text, err := os.ReadFile(b.starts)
	if err != nil {
		t.Fatal(err)
	}
	for _, f := range strings.Fields(string(text)) {
		n, _ := strconv.Atoi(f)
		out = append(out, n)
	}
	return out
}

// alive tells a running process from a zombie, which signal 0 does not.
func alive(pid int) bool {
	text, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", pid))
	return err == nil && !strings.Contains(string(text), ") Z ") && !strings.Contains(string(text), ") X ")
}

func use(t *testing.T, b *bench, w supervise.Want) {
	t.Helper()
	l, err := b.Lend(t.Context(), w)
	if err != nil {
		t.Fatal(err)
	}
	defer l.Release()
	a, err := infer.Collect(l.Model.Info().Engine, infer.Generate(t.Context(), l.Model, &infer.Request{Prompt: infer.Prompt{Text: "a b c"}, MaxTokens: 4}))
	if err != nil || a.Usage.Output != 4 {
		t.Fatalf("%+v, %v", a, err)
	}
}

func TestFiftyFirstRequestsStartOneProcess(t *testing.T) {
	t.Parallel()
	b := open(t, nil)
	var wg sync.WaitGroup
	for range 50 {
		wg.Go(func() { use(t, b, want("slow")) })
	}
	wg.Wait()
	if got := len(b.pids(t)); got != 1 {
		t.Errorf("%d starts", got)
	}
	if st := b.List()[0]; st.State != supervise.Ready || st.Generation != 1 || st.Requests != 0 || st.Severity != "ok" {
		t.Errorf("%+v", st)
	}
}

// The environment holds no secret, the folder and key are the user's alone, and arguments are the profile's.
func TestAProcessSeesNothingOfTheHost(t *testing.T) {
	t.Parallel()
	b := open(t, nil)
	use(t, b, want("plain"))
	log, err := b.Logs(b.List()[0].ID)
	if err != nil || !strings.Contains(strings.Join(log, "\n"), "env [PATH=/usr/local/bin:/usr/bin:/bin") || strings.Contains(strings.Join(log, "\n"), "HOME=") {
		t.Errorf("log %q, %v", log, err)
	}
	info, err := os.Stat(filepath.Join(b.dir, "run"))
	if err != nil || info.Mode().Perm() != 0o700 {
		t.Errorf("folder %v, %v", info.Mode(), err)
	}
	limits, err := os.ReadFile(fmt.Sprintf("/proc/%d/limits", b.pids(t)[0]))
	if err != nil || !strings.Contains(string(limits), "Max open files            1024") || !strings.Contains(string(limits), "Max core file size        0") {
		t.Errorf("limits\n%s%v", limits, err)
	}
}

func TestStopDrainsThenStartsAnew(t *testing.T) {
	t.Parallel()
	b := open(t, nil)
	l, err := b.Lend(t.Context(), want("plain"))
	if err != nil {
		t.Fatal(err)
	}
	parts := 0
	var stopped sync.WaitGroup
	for _, err := range infer.Generate(t.Context(), l.Model, &infer.Request{Prompt: infer.Prompt{Text: "a"}, MaxTokens: 50}) {
		if err != nil {
			t.Fatal(err)
		}
		if parts++; parts == 1 {
			stopped.Go(func() {
				if err := b.Stop(t.Context(), b.List()[0].ID); err != nil {
					t.Error(err)
				}
			})
		}
	}
	l.Release()
	stopped.Wait()
	if parts < 50 {
		t.Errorf("a running answer was cut off after %d parts", parts)
	}
	first := b.pids(t)[0]
	if alive(first) || b.List()[0].State != supervise.Stopped {
		t.Errorf("alive %v, %+v", alive(first), b.List()[0])
	}
	use(t, b, want("plain"))
	if st := b.List()[0]; st.Generation != 2 || len(b.pids(t)) != 2 {
		t.Errorf("%+v", st)
	}
}

// A stop that outlasts the drain cancels what runs; a process that ignores TERM is killed with its children.
func TestAStubbornRuntimeIsKilledWithItsGroup(t *testing.T) {
	t.Parallel()
	b := open(t, func(c *supervise.Config) { c.Drain = 50 * time.Millisecond })
	l, err := b.Lend(t.Context(), want("stubborn"))
	if err != nil {
		t.Fatal(err)
	}
	defer l.Release()
	var last error
	begun := make(chan struct{})
	ended := make(chan struct{})
	go func() {
		defer close(ended)
		first := true
		for _, last = range infer.Generate(t.Context(), l.Model, &infer.Request{Prompt: infer.Prompt{Text: "a"}, MaxTokens: 500}) {
			if first {
				close(begun)
				first = false
			}
		}
	}()
	<-begun
	if err := b.Stop(t.Context(), b.List()[0].ID); err != nil {
		t.Fatal(err)
	}
	<-ended
	if abi.CodeOf(last) != abi.Unavailable || !strings.Contains(last.Error(), "stopped by hand") {
		t.Errorf("the answer ended with %v", last)
	}
	log, _ := b.Logs(b.List()[0].ID)
	for _, line := range log {
		if text, ok := strings.CutPrefix(line, "child "); ok {
			child, _ := strconv.Atoi(text)
			if alive(child) {
				t.Errorf("child %d lives", child)
			}
			return
		}
	}
	t.Errorf("no child in %q", log)
}

func TestAKilledRuntimeFailsItsRequestsAndComesBack(t *testing.T) {
	t.Parallel()
	b := open(t, nil)
	l, err := b.Lend(t.Context(), want("plain"))
	if err != nil {
		t.Fatal(err)
	}
	for _, err = range infer.Generate(t.Context(), l.Model, &infer.Request{Prompt: infer.Prompt{Text: "a"}, MaxTokens: 500}) {
		_ = syscall.Kill(b.pids(t)[0], syscall.SIGKILL)
	}
	l.Release()
	if abi.CodeOf(err) != abi.Unavailable {
		t.Errorf("the answer ended with %v", err)
	}
	// The socket may break before the process is known to have ended; then the first loan is of the dead one.
	for b.List()[0].Generation < 2 || b.List()[0].State != supervise.Ready {
		l, err := b.Lend(t.Context(), want("plain"))
		if err == nil {
			l.Release()
		} else if abi.CodeOf(err) != abi.Unavailable {
			t.Fatal(err)
		}
		runtimePause()
	}
	use(t, b, want("plain"))
	if st := b.List()[0]; st.Generation != 2 || st.Restarts != supervise.Failures-1 || st.Severity != "warning" {
		t.Errorf("%+v", st)
	}
}

func runtimePause() { <-time.After(20 * time.Millisecond) }

func TestARuntimeThatDoesNotStartRests(t *testing.T) {
	t.Parallel()
	b := open(t, nil)
	_, err := b.Lend(t.Context(), want("dead"))
	if abi.CodeOf(err) != abi.Unavailable || !strings.Contains(err.Error(), "exit status 3") {
		t.Fatalf("got %v", err)
	}
	log, _ := b.Logs(b.List()[0].ID)
	if text := strings.Join(log, "\n"); !strings.Contains(text, "cannot load the model") || strings.Contains(text, "\x1b") {
		t.Errorf("log %q", log)
	}
	if _, err = b.Lend(t.Context(), want("dead")); abi.CodeOf(err) != abi.Unavailable || !strings.Contains(err.Error(), "rests for") {
		t.Errorf("asked again at once: %v", err)
	}
	if st := b.List()[0]; st.State != supervise.Failed || st.Severity != "error" || st.Restarts != supervise.Failures-1 || len(b.pids(t)) != 1 {
		t.Errorf("%+v", st)
	}
}

func TestARuntimeThatIsNeverReadyIsGivenUp(t *testing.T) {
	t.Parallel()
	b := open(t, nil)
	w := want("hung")
	w.Profile.Grace = 300_000_000
	if _, err := b.Lend(t.Context(), w); abi.CodeOf(err) != abi.Unavailable || !strings.Contains(err.Error(), "not ready within 300ms") {
		t.Errorf("got %v", err)
	}
	if pid := b.pids(t)[0]; alive(pid) {
		t.Errorf("%d lives", pid)
	}
}

func TestMemoryIsMadeByStoppingTheLeastRecentlyUsed(t *testing.T) {
	t.Parallel()
	b := open(t, func(c *supervise.Config) { c.Memory = 200 << 20 }) // two of 66 MiB and what they really take
	use(t, b, want("one"))
	use(t, b, want("two"))
	use(t, b, want("one"))
	use(t, b, want("three"))
	use(t, b, want("four"))
	states := map[string]supervise.State{}
	b.mu.Lock()
	for _, st := range b.seen {
		states[st.Model] = st.State
	}
	b.mu.Unlock()
	if states[want("two").Digest] != supervise.Stopped || states[want("four").Digest] != supervise.Ready {
		t.Errorf("%v", states)
	}
	w := want("giant")
	w.Size = 1 << 30
	if _, err := b.Lend(t.Context(), w); abi.CodeOf(err) != abi.Busy {
		t.Errorf("more than there is: %v", err)
	}
}

func TestTwoHostsCannotShareAFolder(t *testing.T) {
	t.Parallel()
	b := open(t, nil)
	cfg, _ := config(b.dir)
	if _, err := supervise.Open(cfg); abi.CodeOf(err) != abi.Conflict {
		t.Errorf("got %v", err)
	}
}

func TestAFullQueueRefuses(t *testing.T) {
	t.Parallel()
	b := open(t, nil)
	w := want("plain")
	w.Profile.Queue = 1
	for range 3 {
		l, err := b.Lend(t.Context(), w)
		if err != nil {
			t.Fatal(err)
		}
		defer l.Release()
	}
	if _, err := b.Lend(t.Context(), w); abi.CodeOf(err) != abi.Busy {
		t.Errorf("got %v", err)
	}
}

// crash is a host that starts a runtime, says so, and waits to be killed.
func crash(dir string) {
	cfg, _ := config(dir)
	s, err := supervise.Open(cfg)
	if err != nil {
		panic(err)
	}
	if _, err := s.Lend(context.Background(), want("stubborn")); err != nil {
		panic(err)
	}
	fmt.Println("ready")
	select {}
}

// After a host was killed nothing of its runtimes is left, neither processes nor sockets, once the next one is open.
func TestACrashedHostLeavesNothing(t *testing.T) {
	t.Parallel()
	dir, err := os.MkdirTemp("", "arw")
	if err != nil {
		t.Fatal(err)
	}
	defer os.RemoveAll(dir)
	cfg, self := config(dir)
	host := exec.Command(self, "-arw-host", dir)
	out, err := host.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := host.Start(); err != nil {
		t.Fatal(err)
	}
	if n, err := out.Read(make([]byte, 16)); n == 0 {
		t.Fatal(err)
	}
	_ = host.Process.Kill()
	_ = host.Wait()
	s, err := supervise.Open(cfg)
	if err != nil {
		t.Fatal(err)
	}
	defer s.Close()
	b := &bench{dir: dir, starts: filepath.Join(dir, "starts")}
	for pid := b.pids(t)[0]; alive(pid); {
		runtimePause()
	}
	if left, _ := filepath.Glob(filepath.Join(dir, "run", "r*")); len(left) != 0 {
		t.Errorf("left %q", left)
	}
}

func TestProfilesAreTypedFields(t *testing.T) {
	t.Parallel()
	for _, c := range []struct{ name, src, says string }{
		{"args", "[profile.a]\nruntime=\"llama\"\nbinary=\"/bin/x\"\nargs=[\"--tools\"]\n", "args"},
		{"runtime", "[profile.a]\nruntime=\"sh\"\nbinary=\"/bin/sh\"\n", "is not llama"},
		{"binary", "[profile.a]\nruntime=\"llama\"\nbinary=\"llama-server\"\n", "absolute"},
		{"range", "[profile.a]\nruntime=\"llama\"\nbinary=\"/bin/x\"\nslots=0x7fffffff\n", "1 to 256"},
		{"cache", "[profile.a]\nruntime=\"llama\"\nbinary=\"/bin/x\"\ncache_type=\"f16 --tools all\"\n", "q8_0"},
		{"name", "[profile.\"A b\"]\nruntime=\"llama\"\nbinary=\"/bin/x\"\n", "name"},
	} {
		if _, err := supervise.ParseProfiles("runtimes.toml", []byte(c.src)); abi.CodeOf(err) != abi.Invalid || !strings.Contains(err.Error(), c.says) {
			t.Errorf("%s: %v", c.name, err)
		}
	}
	got, err := supervise.ParseProfiles("runtimes.toml", []byte("[profile.small]\nruntime=\"llama\"\nbinary=\"/bin/x\"\ncontext=512\nidle=\"5m\"\n"))
	if p := got["small"]; err != nil || p.Name != "small" || p.Context != 512 || p.Slots != 2 || time.Duration(p.Idle) != 5*time.Minute {
		t.Errorf("%+v, %v", p, err)
	}
}
