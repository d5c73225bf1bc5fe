package wasm_test

import (
	"context"
	"os"
	"os/exec"
	"path/filepath"
	"sync"
	"testing"

	"github.com/arw-project/arw/abi"
	"github.com/arw-project/arw/host/internal/wasm"
)

// built keeps what buildGo made, by folder.
var built sync.Map

// buildGo builds a guest in Go, once.
func buildGo(tb testing.TB, dir string) []byte {
	tb.Helper()
	once, _ := built.LoadOrStore(dir, sync.OnceValues(func() ([]byte, error) {
		tmp, err := os.MkdirTemp("", "guest")
		if err != nil {
			return nil, err
		}
		defer os.RemoveAll(tmp)
		out := filepath.Join(tmp, "guest.wasm")
		cmd := exec.Command("go", "build", "-buildmode=c-shared", "-ldflags=-s -w", "-o", out, ".")
		cmd.Dir = dir
		cmd.Env = append(os.Environ(), "GOOS=wasip1", "GOARCH=wasm", "GOFLAGS=-buildvcs=false")
		if msg, err := cmd.CombinedOutput(); err != nil {
			return msg, err
		}
		return os.ReadFile(out)
	}))
	bin, err := once.(func() ([]byte, error))()
	if err != nil {
		tb.Fatalf("build the Go guest %s: %v\n%s", dir, err, bin)
	}
	return bin
}

// goGuest builds testdata/guest.
func goGuest(tb testing.TB) []byte {
	tb.Helper()
	return buildGo(tb, "testdata/guest")
}

// openGate lets everything pass.
type openGate struct{}

func (openGate) Use(_ context.Context, _ abi.Capability, target string, _ int) (string, error) {
	return target, nil
}

// mapKV is a key space in memory.
type mapKV struct {
	mu sync.Mutex
	m  map[string][]byte
}

func (k *mapKV) Get(_ context.Context, key []byte) ([]byte, error) {
	k.mu.Lock()
	defer k.mu.Unlock()
	v, ok := k.m[string(key)]
	if !ok {
		return nil, abi.Errorf(abi.NotFound, "no key %q", key)
	}
	return v, nil
}

func (k *mapKV) Put(_ context.Context, key, val []byte) error {
	k.mu.Lock()
	defer k.mu.Unlock()
	k.m[string(key)] = append([]byte(nil), val...)
	return nil
}

func (k *mapKV) Delete(_ context.Context, key []byte) error {
	k.mu.Lock()
	defer k.mu.Unlock()
	delete(k.m, string(key))
	return nil
}

func (k *mapKV) List(_ context.Context, prefix, after []byte, limit int) ([]abi.KVEntry, bool, error) {
	return nil, false, nil
}

func (k *mapKV) Batch(ctx context.Context, ops []abi.KVOp) error {
	for _, op := range ops {
		if op.Delete {
			k.Delete(ctx, op.Key)
		} else {
			k.Put(ctx, op.Key, op.Val)
		}
	}
	return nil
}

// TestMain keeps what tests compile in one folder: most of them use the same few guests.
func TestMain(m *testing.M) {
	dir, err := os.MkdirTemp("", "wasm-cache")
	if err != nil {
		panic(err)
	}
	sharedCache = dir
	code := m.Run()
	os.RemoveAll(dir)
	os.Exit(code)
}

var sharedCache string

// open opens an engine. One that names no cache uses that of all tests; a test about compiling names its own.
func open(tb testing.TB, o wasm.Options) *wasm.Engine {
	tb.Helper()
	if o.CacheDir == "" {
		o.CacheDir = sharedCache
	}
	e, err := wasm.Open(o)
	if err != nil {
		tb.Fatal(err)
	}
	tb.Cleanup(func() {
		if err := e.Close(); err != nil {
			tb.Error(err)
		}
	})
	return e
}

func load(tb testing.TB, e *wasm.Engine, spec wasm.Spec) *wasm.Program {
	tb.Helper()
	p, err := e.Load(tb.Context(), spec)
	if err != nil {
		tb.Fatal(err)
	}
	tb.Cleanup(func() {
		if err := p.Close(context.Background()); err != nil {
			tb.Error(err)
		}
	})
	return p
}
