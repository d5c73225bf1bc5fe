package memo_test

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/arw-project/arw/abi"
	"github.com/arw-project/arw/host/internal/cas"
	"github.com/arw-project/arw/host/internal/db"
	"github.com/arw-project/arw/host/internal/journal"
	"github.com/arw-project/arw/host/internal/memo"
	"github.com/arw-project/arw/manifests/strict"
)

// kit is a cache over real stores; reopen makes another over the same folder.
type kit struct {
	*memo.Memo
	dir  string
	db   *db.DB
	jrn  *journal.Journal
	cas  *cas.Store
	stop func()
}

func open(t testing.TB, dir string, o memo.Options) *kit {
	t.Helper()
	ctx := context.Background()
	d, err := db.Open(ctx, filepath.Join(dir, "arw.db"), []db.Migration{{Owner: "journal", Steps: journal.Schema}, {Owner: "memo", Steps: memo.Schema}})
	if err != nil {
		t.Fatal(err)
	}
	j, err := journal.Open(ctx, d)
	if err != nil {
		t.Fatal(err)
	}
	c, err := cas.Open(filepath.Join(dir, "cas"))
	if err != nil {
		t.Fatal(err)
	}
	m, err := memo.Open(d, j, c, o)
	if err != nil {
		t.Fatal(err)
	}
	run, cancel := context.WithCancel(ctx)
	done := make(chan struct{})
	go func() { defer close(done); _ = m.Run(run, "", nil) }()
	k := &kit{Memo: m, dir: dir, db: d, jrn: j, cas: c}
	k.stop = sync.OnceFunc(func() { cancel(); <-done; d.Close(); c.Close() })
	t.Cleanup(k.stop)
	return k
}

func (k *kit) flush(t testing.TB) {
	t.Helper()
	if err := k.Flush(t.Context()); err != nil {
		t.Fatal(err)
	}
}

func key(input string) memo.Key {
	return memo.Key{Pack: "sha256:aa", Tool: "t", Input: []byte(input), Env: "e", Scope: "s", Project: "p"}
}

// call answers with text and counts its runs.
func call(k memo.Key, runs *atomic.Int64, text string) memo.Call {
	return memo.Call{Key: k, Name: "a/b", Run: func(context.Context) (memo.Value, bool, error) {
		runs.Add(1)
		return memo.Value{Kind: abi.FrameJSON, Body: []byte(text)}, true, nil
	}}
}

func (k *kit) do(t testing.TB, c memo.Call, want memo.Outcome, text string) {
	t.Helper()
	v, o, err := k.Do(t.Context(), c)
	if err != nil || o != want || string(v.Body) != text {
		t.Fatalf("got %s %q %v, want %s %q", o, v.Body, err, want, text)
	}
}

func TestAKeyIsEverythingTheAnswerDependsOn(t *testing.T) {
	t.Parallel()
	base := key(`{"a":1,"b":[2]}`)
	id, err := base.ID()
	if err != nil {
		t.Fatal(err)
	}
	for _, same := range []string{`{"b":[2],"a":1}`, ` { "a" : 1.0, "b" : [2e0] } `} {
		k := key(same)
		if got, err := k.ID(); err != nil || got != id {
			t.Errorf("%s: another key (%v)", same, err)
		}
	}
	for name, change := range map[string]func(*memo.Key){
		"pack": func(k *memo.Key) { k.Pack += "x" }, "tool": func(k *memo.Key) { k.Tool += "x" }, "env": func(k *memo.Key) { k.Env += "x" },
		"scope": func(k *memo.Key) { k.Scope += "x" }, "project": func(k *memo.Key) { k.Project += "x" },
		"input": func(k *memo.Key) { k.Input = []byte(`{"a":1,"b":[3]}`) },
		"shift": func(k *memo.Key) { k.Env, k.Scope = "es", "" }, // same bytes, other parts
	} {
		k := base
		change(&k)
		if got, err := k.ID(); err != nil || got == id {
			t.Errorf("%s does not change the key (%v)", name, err)
		}
	}
	bad := key(`{"a":1,"a":2}`)
	if _, err := bad.ID(); err == nil {
		t.Error("a duplicate member has no canonical form")
	}
}

func TestTheIndexSurvivesARestart(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	var runs atomic.Int64
	k := open(t, dir, memo.Options{})
	k.do(t, call(key(`1`), &runs, `"x"`), memo.Miss, `"x"`)
	k.do(t, call(key(`1`), &runs, `"x"`), memo.Hit, `"x"`)
	k.flush(t)
	rs, err := k.jrn.Read(t.Context(), 0, 10, journal.Filter{Prefixes: []string{memo.EventKind}})
	if err != nil || len(rs) != 2 || !strings.Contains(string(rs[0].Body), `"outcome":"miss"`) || !strings.Contains(string(rs[1].Body), `"outcome":"hit"`) {
		t.Fatalf("events %v %+v", err, rs)
	}
	k.stop()
	k = open(t, dir, memo.Options{})
	k.do(t, call(key(`1`), &runs, `"y"`), memo.Hit, `"x"`)
	if runs.Load() != 1 || !k.Keeps(cas.Digest([]byte(`"x"`))) || k.Keeps(cas.Digest([]byte("other"))) {
		t.Fatalf("%d runs", runs.Load())
	}
}

func TestACorruptBlobIsMadeAgain(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	var runs atomic.Int64
	k := open(t, dir, memo.Options{})
	k.do(t, call(key(`1`), &runs, `"good"`), memo.Miss, `"good"`)
	k.flush(t)
	k.stop()
	sum := strings.TrimPrefix(cas.Digest([]byte(`"good"`)), "sha256:")
	file := filepath.Join(dir, "cas", "sha256", sum[:2], sum)
	if err := os.WriteFile(file, []byte(`"evil"`), 0o600); err != nil {
		t.Fatal(err)
	}
	k = open(t, dir, memo.Options{})
	k.do(t, call(key(`1`), &runs, `"good"`), memo.Miss, `"good"`)
	if s := k.Stats(); s.Corrupt != 1 || runs.Load() != 2 {
		t.Fatalf("%+v after %d runs", s, runs.Load())
	}
}

func TestAgeEndsAnAnswer(t *testing.T) {
	t.Parallel()
	var now atomic.Int64
	now.Store(time.Now().UnixNano())
	p := memo.DefaultPolicy()
	p.TTL = strict.Duration(time.Minute)
	var runs atomic.Int64
	k := open(t, t.TempDir(), memo.Options{Policy: p, Now: func() time.Time { return time.Unix(0, now.Load()) }})
	one := call(key(`1`), &runs, `1`)
	k.do(t, one, memo.Miss, `1`)
	now.Add(int64(59 * time.Second))
	k.do(t, one, memo.Hit, `1`)
	now.Add(int64(time.Second))
	k.do(t, one, memo.Miss, `1`)
	now.Add(-int64(time.Hour)) // the clock jumps back: the age is unknown
	k.do(t, one, memo.Miss, `1`)
	now.Add(int64(10 * time.Hour))
	k.do(t, one, memo.Miss, `1`)
}

func TestErrorsAndAnswersOfTheMomentAreNotKept(t *testing.T) {
	t.Parallel()
	k := open(t, t.TempDir(), memo.Options{})
	runs := 0
	for name, c := range map[string]memo.Call{
		"error": {Key: key(`1`), Run: func(context.Context) (memo.Value, bool, error) {
			runs++
			return memo.Value{}, true, abi.Errorf(abi.ToolFailed, "no")
		}},
		"moment": {Key: key(`2`), Run: func(context.Context) (memo.Value, bool, error) {
			runs++
			return memo.Value{Body: []byte("1")}, false, nil
		}},
	} {
		runs = 0
		for range 3 {
			if _, o, _ := k.Do(t.Context(), c); o != memo.Miss {
				t.Errorf("%s: %s", name, o)
			}
		}
		if runs != 3 {
			t.Errorf("%s: %d runs", name, runs)
		}
	}
}

func TestAHundredEqualCallsRunOnce(t *testing.T) {
	t.Parallel()
	k := open(t, t.TempDir(), memo.Options{})
	var runs atomic.Int64
	var wg sync.WaitGroup
	for range 100 {
		wg.Go(func() {
			if v, _, err := k.Do(t.Context(), call(key(`1`), &runs, `"x"`)); err != nil || string(v.Body) != `"x"` {
				t.Errorf("%q %v", v.Body, err)
			} else {
				v.Body[0] = 0 // the body is the caller's own
			}
		})
	}
	wg.Wait()
	if n := runs.Load(); n != 1 {
		t.Fatalf("%d runs", n)
	}
}

func TestALeadersFate(t *testing.T) {
	t.Parallel()
	failing := func(code abi.Code, upto int64) func(int64, context.Context) error {
		return func(n int64, _ context.Context) error {
			if n <= upto {
				return abi.Errorf(code, "on purpose")
			}
			return nil
		}
	}
	for _, tt := range []struct {
		name   string
		fail   func(run int64, ctx context.Context) error // nil answers
		runs   int64
		failed int // of the 20 followers
	}{
		{"its own cancellation hands over", func(n int64, ctx context.Context) error {
			if n == 1 {
				<-ctx.Done()
				return abi.Errorf(abi.Cancelled, "gone")
			}
			return nil
		}, 2, 0},
		{"a revoked lease is the leader's alone, each time", failing(abi.LeaseRevoked, 3), 4, 2},
		{"a failure is tried once more", failing(abi.ToolFailed, 1), 2, 0},
		{"what always fails is not run by everyone", failing(abi.ToolFailed, 100), 2, 20},
		{"a panic leaves nobody waiting", func(n int64, _ context.Context) error {
			if n == 1 {
				panic("on purpose")
			}
			return nil
		}, 2, 0},
	} {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			k := open(t, t.TempDir(), memo.Options{})
			var runs, failed atomic.Int64
			started, goOn := make(chan struct{}), make(chan struct{})
			c := memo.Call{Key: key(`1`), Run: func(ctx context.Context) (memo.Value, bool, error) {
				n := runs.Add(1)
				if n == 1 {
					close(started)
					<-goOn
				}
				return memo.Value{Body: []byte("1")}, true, tt.fail(n, ctx)
			}}
			leader, cancel := context.WithCancel(t.Context())
			var all sync.WaitGroup
			all.Go(func() {
				defer func() { _ = recover() }()
				_, _, _ = k.Do(leader, c)
			})
			<-started
			for range 20 {
				all.Go(func() {
					if _, _, err := k.Do(t.Context(), c); err != nil {
						failed.Add(1)
					}
				})
			}
			for k.Waiting() < 20 {
				runtime.Gosched()
			}
			if strings.Contains(tt.name, "cancellation") {
				cancel()
			}
			close(goOn)
			all.Wait()
			cancel()
			if runs.Load() != tt.runs || failed.Load() != int64(tt.failed) {
				t.Errorf("%d runs, %d followers failed; want %d and %d", runs.Load(), failed.Load(), tt.runs, tt.failed)
			}
		})
	}
}

func TestANestedEqualCallDoesNotWaitForItself(t *testing.T) {
	t.Parallel()
	k := open(t, t.TempDir(), memo.Options{})
	depth := 0
	var c memo.Call
	c = memo.Call{Key: key(`1`), Run: func(ctx context.Context) (memo.Value, bool, error) {
		if depth++; depth < 4 {
			in := c
			in.NoWait = true
			_, _, err := k.Do(ctx, in)
			return memo.Value{}, false, err
		}
		return memo.Value{}, false, abi.Errorf(abi.DepthExceeded, "deep enough")
	}}
	if _, _, err := k.Do(t.Context(), c); abi.CodeOf(err) != abi.DepthExceeded {
		t.Fatal(err)
	}
}

func TestTheDiskIsBounded(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	p := memo.DefaultPolicy()
	p.Disk, p.Entry = 3000, 2000
	var runs atomic.Int64
	k := open(t, dir, memo.Options{Policy: p})
	for i := range 5 {
		text := fmt.Sprintf("%q", strings.Repeat(fmt.Sprint(i), 1000))
		k.do(t, call(key(fmt.Sprint(i)), &runs, text), memo.Miss, text)
	}
	big := fmt.Sprintf("%q", strings.Repeat("b", 3000))
	k.do(t, call(key(`"big"`), &runs, big), memo.Miss, big)
	k.do(t, call(key(`"big"`), &runs, big), memo.Miss, big)
	k.flush(t)
	k.Bound(t.Context())
	var n int
	if err := k.db.Read().QueryRow(`SELECT count(*) FROM memo`).Scan(&n); err != nil || n != 2 || k.Stats().TooLarge != 2 {
		t.Fatalf("%d rows, %+v, %v", n, k.Stats(), err)
	}
}

func TestACachePolicyIsReadStrictlyAndTheLastGoodOneStays(t *testing.T) {
	t.Parallel()
	for name, tt := range map[string]struct{ src, want string }{
		"unknown key": {"schema = 1\nttll = \"1h\"", "cache.toml:2"}, "no unit": {"schema = 1\nttl = 5", "cache.toml:2"},
		"schema": {"schema = 2", "schema 1"}, "zero": {"schema = 1\nmemory = 0", "off = true"}, "pattern": {"schema = 1\ndeny = [\"[\"]", "pattern"},
	} {
		if _, err := memo.ParsePolicy("cache.toml", []byte(tt.src)); abi.CodeOf(err) != abi.Invalid || !strings.Contains(err.Error(), tt.want) {
			t.Errorf("%s: %v", name, err)
		}
	}
	k := open(t, t.TempDir(), memo.Options{})
	file := filepath.Join(k.dir, "cache.toml")
	write := func(text string) {
		t.Helper()
		if err := os.WriteFile(file, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	var runs atomic.Int64
	write("schema = 1\nttl = \"1h\"\ndeny = [\"a/b:*\"]\n")
	if _, err := k.Reload(file); err != nil {
		t.Fatal(err)
	}
	k.do(t, call(key(`1`), &runs, `1`), memo.Bypass, `1`)
	write("schema = 1\nnonsense")
	if _, err := k.Reload(file); err == nil {
		t.Fatal("nonsense was taken")
	}
	k.do(t, call(key(`1`), &runs, `1`), memo.Bypass, `1`)
	write("schema = 1\nallow = [\"a/b:t\"]\n")
	if _, err := k.Reload(file); err != nil {
		t.Fatal(err)
	}
	k.do(t, call(key(`1`), &runs, `1`), memo.Miss, `1`)
	if err := os.Remove(file); err != nil {
		t.Fatal(err)
	}
	if p, err := k.Reload(file); err != nil || len(p.Allow) != 0 {
		t.Fatal(err)
	}
}

func FuzzPolicy(f *testing.F) {
	f.Add([]byte("schema = 1\nttl = \"1h\"\nallow = [\"a/*:*\"]"))
	f.Add([]byte("schema = 1\nmemory = \"1MiB\"\noff = true"))
	f.Fuzz(func(t *testing.T, src []byte) {
		p, err := memo.ParsePolicy("cache.toml", src)
		if err == nil && (p.Schema != 1 || p.Memory < 1 || p.Disk < 1 || p.Entry < 1 || p.TTL <= 0) {
			t.Fatalf("accepted %+v", p)
		}
		if e, ok := errors.AsType[*abi.Error](err); err != nil && (!ok || e.Code != abi.Invalid) {
			t.Fatalf("%v", err)
		}
	})
}
