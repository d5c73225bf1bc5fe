// Package hosttest starts a whole host in a temporary folder: real database, real engine, real signatures by a key made
// for the test, and a registry in a directory. Nothing is faked, so what passes here passes in the house.
package hosttest

import (
	"context"
	"crypto/sha256"
	_ "embed"
	"encoding/hex"
	"fmt"
	"log/slog"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/arw-project/arw/abi"
	"github.com/arw-project/arw/host"
	"github.com/arw-project/arw/host/internal/action"
	"github.com/arw-project/arw/host/internal/journal"
	"github.com/arw-project/arw/host/internal/lease"
	"github.com/arw-project/arw/host/internal/pack"
	"github.com/arw-project/arw/registry"
	"github.com/arw-project/arw/signing"
)

// Options change what New makes; the zero value trusts the test's key for every namespace Namespaces names.
type Options struct {
	// Namespaces the test's key may sign for; nil means "test" and "arw".
	Namespaces []string
	// Policies are files of the policy folder, by name.
	Policies map[string]string
	// Config is changed before each Open.
	Config func(*host.Config)
	// Stopped leaves the host opened but not running.
	Stopped bool
}

// Host is a host under test. Its methods fail the test instead of returning errors, except where the name says Try.
type Host struct {
	*host.Host
	t    testing.TB
	opts Options
	stop func()

	State    string       // the state directory
	Location string       // of the registry: "dir:…"
	Key      *signing.Key // the one trust.toml names
}

// New makes and starts a host; it is stopped and closed when the test ends.
func New(t testing.TB, o Options) *Host {
	t.Helper()
	dir := t.TempDir()
	h := &Host{t: t, opts: o, State: filepath.Join(dir, "state"), Location: "dir:" + filepath.Join(dir, "registry"), stop: func() {}}
	key, err := signing.GenerateKey()
	if err != nil {
		t.Fatal(err)
	}
	h.Key = key
	if o.Namespaces == nil {
		o.Namespaces = []string{"test", "arw"}
	}
	h.write("keys/test.pub", string(key.PublicPEM()))
	trust := "schema = 1\n[signer.test]\nkey = \"keys/test.pub\"\ntlog = 0\n"
	for _, ns := range o.Namespaces {
		trust += fmt.Sprintf("[[rule]]\npacks = %q\nsigners = [\"test\"]\nthreshold = 1\n", ns+"/*")
	}
	h.write("trust.toml", trust)
	for name, text := range o.Policies {
		h.write("policy/"+name, text)
	}
	h.Start()
	t.Cleanup(h.Stop)
	return h
}

func (h *Host) write(name, text string) {
	h.t.Helper()
	path := filepath.Join(h.State, filepath.FromSlash(name))
	if err := os.MkdirAll(filepath.Dir(path), 0o700); err != nil {
		h.t.Fatal(err)
	}
	if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
		h.t.Fatal(err)
	}
}

// WriteState writes a file of the state directory; it counts from the next Start on.
func (h *Host) WriteState(name, text string) { h.t.Helper(); h.write(name, text) }

// Config is the configuration the host is opened with.
func (h *Host) Config() host.Config {
	cfg := host.Config{
		StateDir: h.State, CacheDir: cacheDir(h.t), Registries: []string{h.Location}, Version: "test",
		Log: slog.New(slog.NewTextHandler(h.t.Output(), &slog.HandlerOptions{Level: slog.LevelError})),
	}
	if h.opts.Config != nil {
		h.opts.Config(&cfg)
	}
	return cfg
}

// Start opens the state directory, and runs the host unless Options.Stopped.
func (h *Host) Start() {
	h.t.Helper()
	h.Host = Open(h.t, h.Config())
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan error, 1)
	if h.opts.Stopped {
		done <- nil
	} else {
		go func() { done <- h.Host.Run(ctx) }()
	}
	h.stop = sync.OnceFunc(func() {
		cancel()
		if err := <-done; err != nil {
			h.t.Errorf("run host: %v", err)
		}
		h.checkEvents()
		if err := h.Host.Close(); err != nil {
			h.t.Errorf("close host: %v", err)
		}
	})
}

// Open opens a host or fails the test.
func Open(t testing.TB, cfg host.Config) *host.Host {
	t.Helper()
	h, err := host.Open(context.Background(), cfg)
	if err != nil {
		t.Fatal(err)
	}
	return h
}

// Stop stops and closes the host; stopping twice is once.
func (h *Host) Stop() { h.stop() }

// Restart stops the host and starts it again on the same state.
func (h *Host) Restart() { h.t.Helper(); h.Stop(); h.Start() }

// Artifact is a pack to be published.
type Artifact struct {
	TOML   string
	Module []byte
	Files  []registry.File // beside the two
	Keys   []*signing.Key  // who signs; nil means the host's own key, empty means nobody
	// Name and Version as published; empty means as TOML says.
	Name, Version string
}

// Publish pushes and signs a pack and returns its reference and manifest digest.
func (h *Host) Publish(a Artifact) (ref, digest string) {
	h.t.Helper()
	ctx := context.Background()
	reg, err := registry.Open(h.Location, registry.Options{Replace: true})
	if err != nil {
		h.t.Fatal(err)
	}
	if a.Name == "" {
		a.Name = tomlString(a.TOML, "name")
	}
	if a.Version == "" {
		a.Version = tomlString(a.TOML, "version")
	}
	if a.Keys == nil {
		a.Keys = []*signing.Key{h.Key}
	}
	files := append([]registry.File{
		{Name: tomlString(a.TOML, "file"), MediaType: registry.MediaWasm, Data: a.Module},
		{Name: "pack.toml", MediaType: registry.MediaPackTOML, Data: []byte(a.TOML)},
	}, a.Files...)
	if digest, err = reg.Push(ctx, a.Name, a.Version, files, nil, nil); err != nil {
		h.t.Fatal(err)
	}
	for _, key := range a.Keys {
		bundle, err := signing.Sign(ctx, key, digest)
		if err != nil {
			h.t.Fatal(err)
		}
		if _, err := reg.Attach(ctx, a.Name, digest, bundle, signing.PredicateSign); err != nil {
			h.t.Fatal(err)
		}
	}
	return a.Name + ":" + a.Version, digest
}

// tomlString finds the first string value of a key, wherever it stands: enough for manifests written by tests.
func tomlString(toml, key string) string {
	for line := range strings.Lines(toml) {
		if k, v, ok := strings.Cut(line, "="); ok && strings.TrimSpace(k) == key {
			return strings.Trim(strings.TrimSpace(v), `"`)
		}
	}
	return ""
}

// Install publishes and installs a pack.
func (h *Host) Install(a Artifact) *pack.Verdict {
	h.t.Helper()
	ref, _ := h.Publish(a)
	v, err := h.TryInstall(ref, pack.Options{By: "operator"})
	if err != nil {
		h.t.Fatal(err)
	}
	return v
}

// TryInstall installs what is published.
func (h *Host) TryInstall(ref string, o pack.Options) (*pack.Verdict, error) {
	return h.Services().Packs.Install(context.Background(), ref, o)
}

// Grant gives an installed pack a lease as the operator.
func (h *Host) Grant(name string, c abi.Capability, scope ...string) lease.Lease {
	h.t.Helper()
	l, err := h.Services().Packs.Grant(context.Background(), "", "operator", pack.Grant{Pack: name, Capability: c, Scope: scope, TTL: time.Hour, Reason: "for the test"})
	if err != nil {
		h.t.Fatal(err)
	}
	return l
}

// ServeAt runs the API of a stopped host, and all that goes on behind it, until stop or the end of the test.
func (h *Host) ServeAt(ln net.Listener) (stop func()) {
	h.t.Helper()
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan error, 1)
	go func() { done <- h.Serve(ctx, ln) }()
	stop = sync.OnceFunc(func() {
		cancel()
		if err := <-done; err != nil {
			h.t.Errorf("serve: %v", err)
		}
	})
	h.t.Cleanup(stop)
	return stop
}

// Submit submits an action as the operator.
func (h *Host) Submit(kind, input string) action.Action {
	h.t.Helper()
	a, _, err := h.Services().Actions.Submit(context.Background(), action.Request{Kind: kind, Input: []byte(input), Actor: "operator"})
	if err != nil {
		h.t.Fatalf("submit %s: %v", kind, err)
	}
	return a
}

// Call submits an action as the operator and waits for its end.
func (h *Host) Call(kind, input string) action.Action {
	h.t.Helper()
	return h.Wait(h.Submit(kind, input).ID)
}

// Wait waits for an action's end.
func (h *Host) Wait(id string) action.Action {
	h.t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
	defer cancel()
	a, err := h.Services().Actions.Wait(ctx, id)
	if err != nil {
		h.t.Fatalf("wait for %s: %v", id, err)
	}
	return a
}

// MustCall is Call for a tool that must succeed; it returns the output.
func (h *Host) MustCall(kind, input string) string {
	h.t.Helper()
	a := h.Call(kind, input)
	if a.State != action.Completed {
		h.t.Fatalf("%s %s: %s: %+v", kind, input, a.State, a.Failure)
	}
	return string(a.Output)
}

// FailCall is Call for a tool that must fail with a code.
func (h *Host) FailCall(kind, input string, want abi.Code) action.Action {
	h.t.Helper()
	a := h.Call(kind, input)
	if a.State != action.Failed || a.Failure.Code != want {
		h.t.Fatalf("%s %s: got %s %+v, want failed with %s", kind, input, a.State, a.Failure, want)
	}
	return a
}

// Events reads the journal.
func (h *Host) Events(f journal.Filter) []journal.Record {
	h.t.Helper()
	rs, err := h.Services().Journal.Read(context.Background(), 0, 10_000, f)
	if err != nil {
		h.t.Fatal(err)
	}
	return rs
}

// Eventually polls a condition and fails the test when it does not come true within a minute.
func Eventually(t testing.TB, what string, cond func() bool) {
	t.Helper()
	end := time.Now().Add(time.Minute)
	tick := time.NewTicker(2 * time.Millisecond)
	defer tick.Stop()
	for !cond() {
		if time.Now().After(end) {
			t.Fatalf("timed out: %s", what)
		}
		<-tick.C
	}
}

//go:embed testdata/sink/main.go
var sink string

// SinkTOML is the manifest of the pack Sink is the module of, at one version. It asks for everything.
func SinkTOML(version string) string { return strings.ReplaceAll(sinkTOML, "VERSION", version) }

//go:embed testdata/sink/pack.toml
var sinkTOML string

// Sink is the module of a pack with a tool for every host function and every way to misbehave.
func Sink(t testing.TB) []byte { return Build(t, sink) }

// SinkPack is the two together, at version 1.0.0.
func SinkPack(t testing.TB) Artifact { return Artifact{TOML: SinkTOML("1.0.0"), Module: Sink(t)} }

var (
	builds   = map[string]func() ([]byte, error){}
	buildsMu sync.Mutex
)

// Build compiles the source of a guest's one main file with the plain Go toolchain. It may import what the module of
// this test may import, the guest SDK above all. Equal sources are built once in a process.
func Build(t testing.TB, source string) []byte {
	t.Helper()
	root := moduleRoot(t)
	buildsMu.Lock()
	build := builds[source]
	if build == nil {
		build = sync.OnceValues(func() ([]byte, error) { return compile(root, source) })
		builds[source] = build
	}
	buildsMu.Unlock()
	module, err := build()
	if err != nil {
		t.Fatal(err)
	}
	return module
}

// BuildFolder compiles the guest in a folder of this module, named from its root, and reads the folder's pack.toml.
func BuildFolder(t testing.TB, folder string) Artifact {
	t.Helper()
	root := moduleRoot(t)
	toml, err := os.ReadFile(filepath.Join(root, folder, "pack.toml"))
	if err != nil {
		t.Fatal(err)
	}
	out := filepath.Join(t.TempDir(), "main.wasm")
	if err := build(root, "./"+folder, out); err != nil {
		t.Fatal(err)
	}
	module, err := os.ReadFile(out)
	if err != nil {
		t.Fatal(err)
	}
	a := Artifact{TOML: string(toml), Module: module}
	units, err := filepath.Glob(filepath.Join(root, folder, "units", "*.toml"))
	if err != nil {
		t.Fatal(err)
	}
	for _, name := range units {
		data, err := os.ReadFile(name)
		if err != nil {
			t.Fatal(err)
		}
		a.Files = append(a.Files, registry.File{Name: "units/" + filepath.Base(name), MediaType: registry.MediaFile, Data: data})
	}
	return a
}

func compile(root, source string) ([]byte, error) {
	dir, err := os.MkdirTemp("", "arw-guest-")
	if err != nil {
		return nil, err
	}
	defer os.RemoveAll(dir)
	if err := os.WriteFile(filepath.Join(dir, "main.go"), []byte(source), 0o600); err != nil {
		return nil, err
	}
	out := filepath.Join(dir, "main.wasm")
	if err := build(root, filepath.Join(dir, "main.go"), out); err != nil {
		return nil, err
	}
	return os.ReadFile(out)
}

func build(root, what, out string) error {
	cmd := exec.Command("go", "build", "-buildmode=c-shared", "-trimpath", "-ldflags=-s -w", "-o", out, what)
	cmd.Dir = root
	cmd.Env = append(os.Environ(), "GOOS=wasip1", "GOARCH=wasm")
	if said, err := cmd.CombinedOutput(); err != nil {
		return fmt.Errorf("build guest: %w\n%s", err, said)
	}
	return nil
}

// moduleRoot is the folder of go.mod, found from where this file was compiled or the test runs.
func moduleRoot(t testing.TB) string {
	t.Helper()
	_, file, _, _ := runtime.Caller(0)
	starts := []string{filepath.Dir(file)}
	if wd, err := os.Getwd(); err == nil {
		starts = append(starts, wd)
	}
	for _, dir := range starts {
		for ; dir != filepath.Dir(dir); dir = filepath.Dir(dir) {
			if _, err := os.Stat(filepath.Join(dir, "go.mod")); err == nil {
				return dir
			}
		}
	}
	t.Fatal("hosttest: no go.mod above the test")
	return ""
}

// cacheDir keeps compiled code from one test to the next: compiling a Go guest takes seconds. It is the user's own, as
// the engine demands.
func cacheDir(t testing.TB) string {
	base, err := os.UserCacheDir()
	if err != nil {
		return t.TempDir()
	}
	sum := sha256.Sum256([]byte(runtime.Version()))
	return filepath.Join(base, "arw-hosttest", hex.EncodeToString(sum[:4]))
}
