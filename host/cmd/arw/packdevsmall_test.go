package main

import (
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/arw-project/arw/abi"
	"github.com/arw-project/arw/host"
	"github.com/arw-project/arw/host/internal/author"
	"github.com/arw-project/arw/host/internal/pack"
	"github.com/arw-project/arw/sdk/go/client"
)

// small is a whole pack of a hundred and some bytes, as a compiler of another language might make it: its one tool
// answers with doc.
func small(doc string) []byte {
	const at = 16
	frame := "\x00" + doc
	vec := func(items ...[]byte) []byte { return append([]byte{byte(len(items))}, slices.Concat(items...)...) }
	section := func(id byte, payload []byte) []byte { return append([]byte{id, byte(len(payload))}, payload...) }
	name := func(s string) []byte { return append([]byte{byte(len(s))}, s...) }
	packed := int64(at)<<32 | int64(len(frame))
	var sleb []byte
	for more := true; more; {
		b := byte(packed & 0x7f)
		packed >>= 7
		if more = packed != 0 || b&0x40 != 0; more {
			b |= 0x80
		}
		sleb = append(sleb, b)
	}
	body := func(code ...byte) []byte {
		code = append(append([]byte{0}, code...), 0x0b)
		return append([]byte{byte(len(code))}, code...)
	}
	return slices.Concat([]byte("\x00asm\x01\x00\x00\x00"),
		section(1, vec([]byte{0x60, 1, 0x7f, 1, 0x7f}, []byte{0x60, 4, 0x7f, 0x7f, 0x7f, 0x7f, 1, 0x7e})),
		section(3, vec([]byte{0}, []byte{1})),
		section(5, vec([]byte{0, 2})),
		section(7, vec(append(name("memory"), 2, 0), append(name("arw_alloc"), 0, 0), append(name("arw_call"), 0, 1))),
		section(10, vec(body(0x41, 0x80, 0x80, 4), body(append([]byte{0x42}, sleb...)...))),
		section(11, vec(slices.Concat([]byte{0, 0x41, at, 0x0b, byte(len(frame))}, []byte(frame)))))
}

const smallTOML = `name = "acme/small"
version = "0.1.0"
description = "Answers with a number."
[module]
file = "module.wasm"
abi = "^1.0"
[[tools]]
id = "small.n"
description = "Answers with a number."
`

func put(t *testing.T, name string, data []byte) {
	t.Helper()
	if err := os.MkdirAll(filepath.Dir(name), 0o755); err != nil {
		t.Fatal(err)
	}
	tmp := name + ".new" // as editors and compilers do, so that no half-written file is ever seen
	if err := os.WriteFile(tmp, data, 0o644); err != nil {
		t.Fatal(err)
	}
	if err := os.Rename(tmp, name); err != nil {
		t.Fatal(err)
	}
}

// TestPackDevSmall: a pack that arw does not build is served again when its module changes, in well under a second; the
// state a person named keeps its keys and its other rules, and nothing in it trusts the session afterwards.
func TestPackDevSmall(t *testing.T) {
	t.Parallel()
	dir, state := filepath.Join(t.TempDir(), "small"), filepath.Join(t.TempDir(), "state")
	put(t, filepath.Join(dir, "pack.toml"), []byte(smallTOML))
	put(t, filepath.Join(dir, "module.wasm"), small(`{"n":0}`))
	put(t, filepath.Join(dir, "tests", "n.txtar"), []byte("tool = \"small.n\"\n"))
	put(t, filepath.Join(state, "trust.toml"), []byte("schema = 1\n"))
	s := develop(t, "--state", state, dir)
	s.next("served")
	s.answers("small.n", `{}`, `0`)
	var took []time.Duration
	for i := 1; i <= 9; i++ {
		n := string(rune('0' + i))
		began := time.Now()
		put(t, filepath.Join(dir, "module.wasm"), small(`{"n":`+n+`}`))
		s.next("served")
		took = append(took, time.Since(began))
		s.answers("small.n", `{}`, n)
	}
	slices.Sort(took)
	t.Logf("save to served, 9 times: median %v, most %v", took[4], took[8])
	if took[4] > time.Second {
		t.Errorf("the median from save to served is %v", took[4])
	}
	put(t, filepath.Join(dir, "module.wasm"), []byte("not a module"))
	if e := s.next("failed"); e.Step != "build" || e.Code != abi.Invalid.String() {
		t.Fatalf("%+v", e)
	}
	s.answers("small.n", `{}`, `9`)
	if code := s.end(); code != 0 {
		t.Fatalf("code %d: %s", code, s.said)
	}
	if raw, err := os.ReadFile(filepath.Join(state, "trust.toml")); err != nil || string(raw) != "schema = 1\n" {
		t.Errorf("the state's trust policy is %q, %v", raw, err)
	}
	if found, _ := filepath.Glob(filepath.Join(state, "keys", "*")); len(found) != 0 {
		t.Errorf("the session left %q", found)
	}

	// A second session finds nothing of the first but the journal.
	put(t, filepath.Join(dir, "module.wasm"), small(`{"n":1}`))
	s = develop(t, "--state", state, dir)
	s.next("served")
	kinds := map[string]int{}
	for ev, err := range s.client().Events(t.Context(), client.Follow{Replay: 1 << 20, Prefixes: []string{"service.dev.", "pack."}}) {
		if err != nil {
			t.Fatal(err)
		}
		kinds[ev.Kind]++
		if kinds["service.dev.start"] == 2 && ev.Kind == "pack.installed" {
			break
		}
	}
	if kinds["service.dev.end"] != 1 || kinds["pack.removed"] != 1 {
		t.Errorf("the journal has %v", kinds)
	}
}

// TestPackDevKeepsOff: a session does not touch a pack that was installed for good, nor sign another one than its own.
func TestPackDevKeepsOff(t *testing.T) {
	t.Parallel()
	work := t.TempDir()
	dir, state := filepath.Join(work, "small"), filepath.Join(work, "state")
	put(t, filepath.Join(dir, "pack.toml"), []byte(smallTOML))
	put(t, filepath.Join(dir, "module.wasm"), small(`{"n":0}`))
	arw := func(args ...string) (string, int) {
		var out strings.Builder
		code := run(t.Context(), args, streams{in: strings.NewReader(""), out: &out, err: &out, env: func(k string) string { return map[string]string{"NO_COLOR": "1", "ARW_CACHE_DIR": cacheDir(t)}[k] }})
		return out.String(), code
	}
	for _, args := range [][]string{
		{"key", "generate", "--out", filepath.Join(work, "k")},
		{"--state", state, "trust", "add", "--signer", "k", "--key", filepath.Join(work, "k.pub"), "--packs", "acme/*"},
		{"pack", "push", dir, "--to", "dir:" + filepath.Join(work, "reg"), "--key", filepath.Join(work, "k.key")},
	} {
		if out, code := arw(args...); code != 0 {
			t.Fatalf("%q: %s", args, out)
		}
	}
	installForGood(t, state, "dir:"+filepath.Join(work, "reg"))
	if out, code := arw("--state", state, "pack", "dev", dir); code == 0 || !strings.Contains(out, "installed there for good") {
		t.Fatalf("code %d: %s", code, out)
	}

	s := develop(t, "--no-tests", dir)
	first := s.next("served")
	put(t, filepath.Join(dir, "pack.toml"), []byte(strings.Replace(smallTOML, "acme/small", "acme/other", 1)))
	if e := s.next("failed"); e.Code != abi.Denied.String() || e.Digest != first.Digest || !strings.Contains(e.Error, "acme/other") {
		t.Fatalf("%+v", e)
	}
	if _, err := author.Open(dir); err != nil {
		t.Fatal(err)
	}
}

// installForGood installs the small pack into a state as a person would, with a host that ends again.
func installForGood(t *testing.T, state, registry string) {
	t.Helper()
	h, err := host.Open(t.Context(), host.Config{StateDir: state, Registries: []string{registry}, CacheDir: cacheDir(t), Version: "test"})
	if err != nil {
		t.Fatal(err)
	}
	if _, err := h.Services().Packs.Install(t.Context(), "acme/small:0.1.0", pack.Options{By: "operator"}); err != nil {
		t.Error(err)
	}
	if err := h.Close(); err != nil {
		t.Fatal(err)
	}
}
