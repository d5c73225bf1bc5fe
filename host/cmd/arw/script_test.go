package main

import (
	"bytes"
	"context"
	"encoding/base64"
	"encoding/json"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/rogpeppe/go-internal/testscript"

	"github.com/arw-project/arw/host/api"
	"github.com/arw-project/arw/host/internal/author"
	"github.com/arw-project/arw/host/internal/infer/onnx/onnxtest"
	"github.com/arw-project/arw/sdk/go/client"
)

const moduleRoot = "../../.."

func TestMain(m *testing.M) {
	testscript.Main(m, map[string]func(){"arw": main})
}

// TestStories runs the stories of testdata/script: each drives the real program as a person would, with real packs built
// by the real toolchain. Commands beyond testscript's own are documented at their functions below.
func TestStories(t *testing.T) {
	packs := sync.OnceValues(func() (string, error) { return buildPacks(t) })
	dir, err := packs()
	if err != nil {
		t.Fatal(err)
	}
	units, err := filepath.Abs(filepath.Join(moduleRoot, "packs", "research", "units"))
	if err != nil {
		t.Fatal(err)
	}
	real, err := filepath.Abs(filepath.Join(moduleRoot, "signing", "testdata", "real")) // signatures by real Sigstore services
	if err != nil {
		t.Fatal(err)
	}
	stories(t, filepath.Join(moduleRoot, "testdata", "script"), filepath.Join(dir, "cache"), map[string]string{"PACKS": dir, "UNITS": units, "REAL": real})
}

// stories runs the scripts of a folder.
func stories(t *testing.T, scripts, cache string, variables map[string]string) {
	testscript.Run(t, testscript.Params{
		Dir:                 scripts,
		UpdateScripts:       os.Getenv("ARW_UPDATE") != "",
		RequireExplicitExec: true,
		RequireUniqueNames:  true,
		Setup: func(env *testscript.Env) error {
			for name, value := range variables {
				env.Setenv(name, value)
			}
			env.Setenv("ARW_STATE_DIR", filepath.Join(env.WorkDir, "state"))
			env.Setenv("HOME", filepath.Join(env.WorkDir, "home"))
			env.Setenv("NO_COLOR", "1")
			env.Setenv("ARW_CACHE_DIR", cache) // compiling a Go guest takes seconds: once is enough
			for _, name := range []string{"GOCACHE", "GOMODCACHE", "GOPATH", "GOROOT"} {
				out, err := exec.Command("go", "env", name).Output()
				if err != nil {
					return err
				}
				env.Setenv(name, strings.TrimSpace(string(out)))
			}
			env.Setenv("GOFLAGS", "-mod=mod -buildvcs=false")
			env.Setenv("GOPROXY", "off")
			return nil
		},
		Cmds: map[string]func(*testscript.TestScript, bool, []string){
			"ready": ready, "address": address, "cut": cut, "stray": stray, "dockerlogin": dockerLogin, "flip": flip,
			"until": untilEvent, "liar": liar, "occupy": occupy, "component": component, "big": big, "ingest": ingest,
			"labelled": labelled, "mcp": mcpClient, "lastaction": lastAction, "unmark": unmark, "encoder": encoderFiles,
		},
	})
}

// buildPacks builds the shipped packs and the hostile one once for all stories.
func buildPacks(t *testing.T) (string, error) {
	dir := t.TempDir()
	for name, src := range map[string]string{
		"research": "packs/research", "collaboration": "packs/collaboration", "federation": "packs/federation", "hostile": "testdata/guests/hostile", "watch": "sdk/go/examples/watch",
	} {
		src := filepath.Join(moduleRoot, filepath.FromSlash(src))
		f, err := author.Open(src)
		if err != nil {
			return "", err
		}
		to := filepath.Join(dir, name)
		if err := os.MkdirAll(to, 0o755); err != nil {
			return "", err
		}
		if _, err := f.Build(context.Background(), author.BuildOptions{}); err != nil {
			return "", err
		}
		files, err := f.Files()
		if err != nil {
			return "", err
		}
		for _, file := range files {
			at := filepath.Join(to, filepath.FromSlash(file.Name))
			if err := os.MkdirAll(filepath.Dir(at), 0o755); err != nil {
				return "", err
			}
			if err := os.WriteFile(at, file.Data, 0o644); err != nil {
				return "", err
			}
		}
	}
	return dir, nil
}

// encoderFiles MODEL TOKENIZER writes a tiny ONNX encoder and its tokenizer.json.
func encoderFiles(ts *testscript.TestScript, _ bool, args []string) {
	ts.Check(os.WriteFile(ts.MkAbs(args[0]), onnxtest.New(7, false).File(), 0o600))
	ts.Check(os.WriteFile(ts.MkAbs(args[1]), onnxtest.Tokenizer(), 0o600))
}

// unmark FROM TO copies a file and makes the marks of an archive of lines that begin with "=- ".
func unmark(ts *testscript.TestScript, _ bool, args []string) {
	raw, err := os.ReadFile(ts.MkAbs(args[0]))
	ts.Check(err)
	ts.Check(os.MkdirAll(filepath.Dir(ts.MkAbs(args[1])), 0o755))
	ts.Check(os.WriteFile(ts.MkAbs(args[1]), bytes.ReplaceAll(raw, []byte("\n=- "), []byte("\n-- ")), 0o644))
}

// eventually asks until it is so, or the time is over; it is how a story waits for another process.
func eventually(ts *testscript.TestScript, what string, so func() bool) {
	deadline := time.NewTimer(60 * time.Second)
	defer deadline.Stop()
	tick := time.NewTicker(20 * time.Millisecond)
	defer tick.Stop()
	for {
		select {
		case <-deadline.C:
			ts.Fatalf("%s did not happen", what)
		case <-tick.C:
			if so() {
				return
			}
		}
	}
}

// ready waits until the host of the state directory (or of the one named) answers.
func ready(ts *testscript.TestScript, _ bool, args []string) {
	c := storyClient(ts, args)
	eventually(ts, "the host's start", func() bool {
		cl, ok := c()
		if !ok {
			return false
		}
		_, err := cl.Health(context.Background())
		return err == nil
	})
}

func storyClient(ts *testscript.TestScript, args []string) func() (*client.Client, bool) {
	dir := ts.Getenv("ARW_STATE_DIR")
	if len(args) > 0 {
		dir = ts.MkAbs(args[0])
	}
	return func() (*client.Client, bool) {
		raw, err := os.ReadFile(filepath.Join(dir, addressFile))
		if err != nil {
			return nil, false
		}
		return client.New(strings.TrimSpace(string(raw)), ""), true
	}
}

// until KIND waits until the running host has journaled an event of the kind.
func untilEvent(ts *testscript.TestScript, _ bool, args []string) {
	c, ok := storyClient(ts, nil)()
	if !ok || len(args) != 1 {
		ts.Fatalf("usage: until KIND, beside a running host")
	}
	ctx, cancel := context.WithTimeout(context.Background(), 60*time.Second)
	defer cancel()
	for ev, err := range c.Events(ctx, client.Follow{Replay: 1 << 20, Prefixes: []string{args[0]}}) {
		ts.Check(err)
		if ev.Kind == args[0] {
			return
		}
	}
	ts.Fatalf("no event %s came", args[0])
}

// flip GLOB [OFFSET] flips one bit of the one file that matches: in its middle, or at the offset.
func flip(ts *testscript.TestScript, _ bool, args []string) {
	names, err := filepath.Glob(ts.MkAbs(args[0]))
	ts.Check(err)
	if len(names) == 0 {
		ts.Fatalf("flip: nothing matches %s", args[0])
	}
	name := names[0]
	for _, n := range names { // of several, the largest: the module among the blobs
		if size(ts, n) > size(ts, name) {
			name = n
		}
	}
	raw, err := os.ReadFile(name)
	ts.Check(err)
	at := len(raw) / 2
	if len(args) > 1 {
		at, err = strconv.Atoi(args[1])
		ts.Check(err)
	}
	raw[at] ^= 1
	ts.Check(os.Chmod(name, 0o644))
	ts.Check(os.WriteFile(name, raw, 0o644))
}

func size(ts *testscript.TestScript, name string) int64 {
	info, err := os.Stat(name)
	ts.Check(err)
	return info.Size()
}

// liar MODE VAR starts a registry that misbehaves (hang, truncate, swap, error) and puts its address into VAR.
func liar(ts *testscript.TestScript, _ bool, args []string) {
	mode := args[0]
	stop := make(chan struct{})
	ts.Defer(func() { close(stop) })
	serveHTTP(ts, args[1], http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		switch mode {
		case "hang":
			select {
			case <-stop:
			case <-r.Context().Done():
			}
		case "truncate":
			w.Header().Set("Content-Length", "100000")
			w.Header().Set("Content-Type", "application/vnd.oci.image.manifest.v1+json")
			_, _ = w.Write([]byte(`{"schemaVersion":2`))
		case "swap":
			w.Header().Set("Content-Type", "application/vnd.oci.image.manifest.v1+json")
			_, _ = w.Write([]byte(`{"schemaVersion":2,"mediaType":"application/vnd.oci.image.manifest.v1+json","config":{},"layers":[]}`))
		default:
			http.Error(w, "no", http.StatusInternalServerError)
		}
	}))
}

func serveHTTP(ts *testscript.TestScript, variable string, h http.Handler) {
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	ts.Check(err)
	srv := &http.Server{Handler: h, ReadHeaderTimeout: time.Minute}
	done := make(chan struct{})
	go func() { defer close(done); _ = srv.Serve(ln) }()
	ts.Defer(func() { _ = srv.Close(); <-done })
	ts.Setenv(variable, ln.Addr().String())
}

// address FILE VAR waits for the address that a server leaves in a file and puts it into VAR.
func address(ts *testscript.TestScript, _ bool, args []string) {
	var raw []byte
	eventually(ts, "the address in "+args[0], func() bool {
		var err error
		raw, err = os.ReadFile(ts.MkAbs(args[0]))
		return err == nil && len(raw) > 0
	})
	ts.Setenv(args[1], string(raw))
}

// cut FILE takes the second half of a file away.
func cut(ts *testscript.TestScript, _ bool, args []string) {
	ts.Check(os.Truncate(ts.MkAbs(args[0]), size(ts, ts.MkAbs(args[0]))/2))
}

// stray DIR puts a blob into a layout that nothing refers to.
func stray(ts *testscript.TestScript, _ bool, args []string) {
	name := filepath.Join(ts.MkAbs(args[0]), "2cf24dba5fb0a30e26e83b2ac5b9e29e1b161e5c1fa7425e73043362938b9824")
	ts.Check(os.WriteFile(name, []byte("hello"), 0o644))
}

// dockerLogin FILE HOST USER TOKENFILE writes what docker login would.
func dockerLogin(ts *testscript.TestScript, _ bool, args []string) {
	auth := args[2] + ":" + strings.TrimSpace(ts.ReadFile(args[3]))
	doc, err := json.Marshal(map[string]any{"auths": map[string]any{args[1]: map[string]string{"auth": base64.StdEncoding.EncodeToString([]byte(auth))}}})
	ts.Check(err)
	ts.Check(os.WriteFile(ts.MkAbs(args[0]), doc, 0o600))
}

// occupy VAR takes a port and puts its address into VAR.
func occupy(ts *testscript.TestScript, _ bool, args []string) {
	serveHTTP(ts, args[0], http.NotFoundHandler())
}

// component FILE writes the head of a WebAssembly component.
func component(ts *testscript.TestScript, _ bool, args []string) {
	ts.Check(os.WriteFile(ts.MkAbs(args[0]), []byte{0, 'a', 's', 'm', 0x0d, 0, 1, 0}, 0o644))
}

// big FILE MEGABYTES writes a JSON object with one long string.
func big(ts *testscript.TestScript, _ bool, args []string) {
	n, err := strconv.Atoi(args[1])
	ts.Check(err)
	body := append([]byte(`{"s":"`), bytes.Repeat([]byte("x"), n<<20)...)
	ts.Check(os.WriteFile(ts.MkAbs(args[0]), append(body, `"}`...), 0o644))
}

// ingest DIR MINIMUM calls research.ingest until it is done, and wants at least so many files.
func ingest(ts *testscript.TestScript, _ bool, args []string) {
	least, err := strconv.Atoi(args[1])
	ts.Check(err)
	c, ok := storyClient(ts, nil)()
	if !ok {
		ts.Fatalf("ingest: no host is running")
	}
	input, err := json.Marshal(map[string]string{"dir": args[0]})
	ts.Check(err)
	for range 1000 {
		act, err := c.Submit(context.Background(), api.SubmitAction{Kind: "research.ingest", Input: input}, true)
		ts.Check(err)
		if act.Error != nil {
			ts.Fatalf("ingest: %s: %s", act.Error.Code, act.Error.Message)
		}
		var out struct {
			Files, Passages int
			Done            bool
		}
		ts.Check(json.Unmarshal(act.Output, &out))
		if !out.Done {
			continue
		}
		ts.Logf("%d files, %d passages", out.Files, out.Passages)
		if out.Files < least {
			ts.Fatalf("ingest: %d files, want at least %d", out.Files, least)
		}
		return
	}
	ts.Fatalf("ingest: it does not end")
}
