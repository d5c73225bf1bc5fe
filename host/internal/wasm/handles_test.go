package wasm_test

import (
	"context"
	"encoding/binary"
	"fmt"
	"io"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/arw-project/arw/abi"
	"github.com/arw-project/arw/host/internal/wasm"
)

// The sequence guest makes the host calls that its input lists, one after another in one call, and answers with all
// statuses and a part of its memory.
const (
	seqOut  = 70_000 // where the statuses go
	seqData = 80_000 // where the input's own bytes are not, for buffers
	seqLen  = 20_000
	seqStep = 28 // bytes of one call: the function's index and six words

	seqPathAt, seqPath       = 1000, "/"
	seqRequestAt, seqRequest = 1100, `{"url":"https://x/"}`
)

var seqFuncs = []string{"fs.open", "fs.create", "stream.read", "stream.write", "stream.send", "stream.close", "io.take", "http.open", "http.response", "http.connect", "http.receive", "http.send"}

func seqGuest() []byte {
	m := guest(2, -1)
	m.bytes(seqPathAt, seqPath)
	m.bytes(seqRequestAt, seqRequest)
	var fns []uint64
	for _, name := range seqFuncs {
		f := function(name)
		fns = append(fns, m.imp(abi.ModulePrefix+string(f.Capability), f.Name, strings.Repeat("i", len(f.Params)), "l"))
	}
	m.abiAlloc()
	var cases []byte
	for i, name := range seqFuncs {
		code := get(5)
		for k := range function(name).Params {
			code = cat(code, get(4), load32(4+4*k))
		}
		cases = cat(cases, get(4), load32(0), i32c(i), eq32, iff(code, callf(fns[i]), store64(0)))
	}
	m.fn("arw_call", "iiii", "l", "ii", // local 4: the call to make; 5: where its status goes
		get(2), set(4), i32c(seqOut), set(5),
		block(loop(
			get(4), i32c(seqStep), add32, get(2), get(3), add32, op(0x4b), brif(1), // > u: no whole call is left
			cases,
			get(4), i32c(seqStep), add32, set(4), get(5), i32c(8), add32, set(5), br(0),
		)),
		i32c(seqOut-1), i32c(1), store8(0),
		packed(i32c(seqOut-1), i32c(1+seqLen)))
	return m.build()
}

// hostCall is one call of a sequence; a string among the arguments becomes pointer and length.
type hostCall struct {
	fn   string
	args []any
}

// sequence runs the calls and gives their statuses and the memory behind seqOut.
func sequence(t testing.TB, p *wasm.Program, req wasm.Call, calls ...hostCall) ([]abi.Status, []byte) {
	t.Helper()
	req.Tool = "t"
	base := 4096 + len(req.Tool)
	var words, texts []byte
	for _, c := range calls {
		words = binary.LittleEndian.AppendUint32(words, uint32(index(seqFuncs, c.fn)))
		n := 0
		word := func(v int) { words = binary.LittleEndian.AppendUint32(words, uint32(v)); n++ }
		for _, a := range c.args {
			switch a := a.(type) {
			case int:
				word(a)
			case string:
				at := strings.Index(string(texts), a)
				if at < 0 {
					at = len(texts)
					texts = append(texts, a...)
				}
				word(base + len(calls)*seqStep + at)
				word(len(a))
			}
		}
		for n < 6 {
			word(0)
		}
	}
	if len(texts) >= seqStep {
		t.Fatalf("%d bytes of text would be read as a call", len(texts))
	}
	req.Input = append(words, texts...)
	r, err := p.Call(t.Context(), req)
	if err != nil {
		t.Fatal(err)
	}
	var statuses []abi.Status
	for i := range calls {
		statuses = append(statuses, abi.Status(binary.LittleEndian.Uint64(r.Body[8*i:])))
	}
	return statuses, r.Body
}

func index(list []string, s string) int {
	for i, x := range list {
		if x == s {
			return i
		}
	}
	panic(s)
}

// tray is a folder in memory that counts what is open.
type tray struct {
	wasm.FS
	mu    sync.Mutex
	files map[string]string
	open  int
}

func (f *tray) OpenFile(_ context.Context, _, path string) (wasm.File, error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	text, ok := f.files[path]
	if !ok {
		return nil, abi.Errorf(abi.NotFound, "there is no file %q", path)
	}
	f.open++
	return &trayFile{tray: f, left: strings.NewReader(text)}, nil
}

func (f *tray) CreateFile(_ context.Context, _, path string) (wasm.Draft, error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.open++
	return &trayFile{tray: f, path: path}, nil
}

type trayFile struct {
	*tray
	path string
	left io.Reader
	data strings.Builder
}

func (f *trayFile) Read(_ context.Context, buf []byte) (int, error) { return f.left.Read(buf) }
func (f *trayFile) Write(_ context.Context, part []byte) error {
	f.data.Write(part)
	return nil
}
func (f *trayFile) Commit(context.Context) error {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.files[f.path] = f.data.String()
	return nil
}
func (f *trayFile) Close() error {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.open--
	return nil
}

// ending is a gate whose lease ends with a use.
type ending struct {
	left int
	log  []string
}

func (g *ending) Use(_ context.Context, _ abi.Capability, target string, n int) (string, error) {
	g.log = append(g.log, fmt.Sprintf("%s %d", target, n))
	if g.left--; g.left < 0 {
		return "", abi.Errorf(abi.LeaseRevoked, "the lease was revoked")
	}
	return "scope", nil
}

// TestFileHandles is what a guest can do with files by handle, and what it cannot.
func TestFileHandles(t *testing.T) {
	t.Parallel()
	open, create := hostCall{"fs.open", []any{"/a", seqData, 4}}, hostCall{"fs.create", []any{"/b", seqData, 4}}
	read := func(h, n int) hostCall { return hostCall{"stream.read", []any{h, seqData, n}} }
	write := func(h int, s string) hostCall { return hostCall{"stream.write", []any{h, s}} }
	shut := func(h int) hostCall { return hostCall{"stream.close", []any{h}} }
	many := func(n int, more ...hostCall) (all []hostCall) {
		for range n {
			all = append(all, open)
		}
		return append(all, more...)
	}
	const ok, invalid, revoked = abi.OK, abi.Invalid, abi.LeaseRevoked
	tests := []struct {
		name  string
		calls []hostCall
		uses  int // after so many the lease is revoked; 0: never
		codes []abi.Code
		b     string // what /b holds in the end
		gate  string // what the gate was asked, where it matters
	}{
		{name: "read to the end", calls: []hostCall{open, read(2, 4), read(2, 4), read(2, 4), shut(2)}, codes: []abi.Code{ok, ok, ok, ok, ok}, b: "old",
			gate: "read:/a 0; read:/a 4; read:/a 4; read:/a 4"},
		{name: "write and close", calls: []hostCall{create, write(2, "ne"), write(2, "w"), shut(2)}, codes: []abi.Code{ok, ok, ok, ok}, b: "new",
			gate: "write:/b 0; write:/b 2; write:/b 1; write:/b 0"},
		{name: "write JSON", calls: []hostCall{create, {"stream.send", []any{2, `{}`}}, {"stream.send", []any{2, `{`}}, shut(2)}, codes: []abi.Code{ok, ok, invalid, ok}, b: "{}"},
		{name: "not closed", calls: []hostCall{create, write(2, "new")}, codes: []abi.Code{ok, ok}, b: "old"},
		{name: "an empty file", calls: []hostCall{create, shut(2)}, codes: []abi.Code{ok, ok}, b: ""},
		{name: "no such file", calls: []hostCall{{"fs.open", []any{"/none", seqData, 4}}, read(2, 4)}, codes: []abi.Code{abi.NotFound, invalid}, b: "old"},
		{name: "relative", calls: []hostCall{{"fs.open", []any{"a", seqData, 4}}, {"fs.create", []any{"a", seqData, 4}}}, codes: []abi.Code{invalid, invalid}, b: "old"},
		{name: "closed twice", calls: []hostCall{open, shut(2), shut(2), read(2, 4)}, codes: []abi.Code{ok, ok, invalid, invalid}, b: "old"},
		{name: "a number is given once", calls: []hostCall{open, shut(2), open, read(2, 4), read(3, 4)}, codes: []abi.Code{ok, ok, ok, invalid, ok}, b: "old"},
		{name: "the wrong way", calls: []hostCall{open, create, write(2, "x"), read(3, 4), shut(3)}, codes: []abi.Code{ok, ok, invalid, invalid, ok}, b: ""},
		{name: "neither is a request", calls: []hostCall{open, {"http.response", []any{2, seqData, 64}}, {"http.receive", []any{2, seqData, 64}}, {"http.send", []any{2, 1, "x"}}}, codes: []abi.Code{ok, invalid, invalid, invalid}, b: "old"},
		{name: "no room", calls: []hostCall{open, read(2, 0)}, codes: []abi.Code{ok, invalid}, b: "old"},
		{name: "too many", calls: many(16, open, shut(5), open, open), codes: append(slicesOf(ok, 16), abi.Busy, ok, ok, abi.Busy), b: "old"},
		{name: "a handle that waits", calls: []hostCall{{"fs.open", []any{"/a", seqData, 3}}, {"io.take", []any{seqData, 4}}, read(2, 4)}, codes: []abi.Code{abi.More, ok, ok}, b: "old"},
		{name: "revoked before", calls: []hostCall{open, read(2, 4)}, uses: -1, codes: []abi.Code{revoked, invalid}, b: "old"},
		{name: "revoked between reads", calls: []hostCall{open, read(2, 2), read(2, 2), shut(2)}, uses: 2, codes: []abi.Code{ok, ok, revoked, ok}, b: "old"},
		{name: "revoked between writes", calls: []hostCall{create, write(2, "x"), write(2, "y"), shut(2)}, uses: 2, codes: []abi.Code{ok, ok, revoked, revoked}, b: "old"},
		{name: "revoked before it is in its place", calls: []hostCall{create, write(2, "x"), shut(2), shut(2)}, uses: 2, codes: []abi.Code{ok, ok, revoked, invalid}, b: "old"},
	}
	e := openEngine(t)
	p := load(t, e, wasm.Spec{Name: "t/p", Module: seqGuest()})
	for _, tc := range tests {
		t.Run(tc.name, func(t *testing.T) {
			fs, gate := &tray{files: map[string]string{"/a": "abcdef", "/b": "old"}}, &ending{left: 1000}
			if tc.uses != 0 {
				gate.left = max(tc.uses, 0)
			}
			got, _ := sequence(t, p, wasm.Call{Effects: abi.OpenWorld, Gate: gate, Host: wasm.Host{FS: fs, HTTP: recHTTP{&recorder{}}}}, tc.calls...)
			for i, s := range got {
				if want := tc.codes[i]; s.Code() != want {
					t.Errorf("call %d, %s%v: %s, want %s", i, tc.calls[i].fn, tc.calls[i].args, s.Code(), want)
				}
			}
			if fs.files["/b"] != tc.b {
				t.Errorf("/b holds %q, want %q", fs.files["/b"], tc.b)
			}
			if fs.open != 0 {
				t.Errorf("%d files are still open", fs.open)
			}
			if log := strings.Join(gate.log, "; "); tc.gate != "" && log != tc.gate {
				t.Errorf("the gate was asked %s", log)
			}
		})
	}
}

func slicesOf(c abi.Code, n int) (all []abi.Code) {
	for range n {
		all = append(all, c)
	}
	return all
}

func openEngine(t testing.TB) *wasm.Engine { return open(t, wasm.Options{}) }

// TestFileEffects: opening needs reads, creating writes, as the manifest of the tool declares them.
func TestFileEffects(t *testing.T) {
	t.Parallel()
	p := load(t, openEngine(t), wasm.Spec{Name: "t/p", Module: seqGuest()})
	calls := []hostCall{{"fs.open", []any{"/a", seqData, 4}}, {"fs.create", []any{"/b", seqData, 4}}}
	for effects, want := range map[abi.Effect][2]abi.Code{abi.Pure: {abi.Denied, abi.Denied}, abi.Reads: {abi.OK, abi.Denied}, abi.Writes: {abi.OK, abi.OK}} {
		fs := &tray{files: map[string]string{"/a": "x"}}
		got, _ := sequence(t, p, wasm.Call{Effects: effects, Gate: openGate{}, Host: wasm.Host{FS: fs}}, calls...)
		if got[0].Code() != want[0] || got[1].Code() != want[1] {
			t.Errorf("%s: %s and %s", effects, got[0].Code(), got[1].Code())
		}
	}
}

// TestFileHandlesReplay: what was read by handle is in the record, and a replay touches no file.
func TestFileHandlesReplay(t *testing.T) {
	t.Parallel()
	p := load(t, openEngine(t), wasm.Spec{Name: "t/p", Module: seqGuest()})
	var in []byte
	for _, words := range [][]int{{0, seqPathAt, 1, seqData, 4}, {1, seqPathAt, 1, seqData + 8, 4}, {2, 2, seqData + 16, 4}, {3, 3, seqData + 16, 4}, {5, 3}, {2, 2, seqData + 16, 9}, {0, seqPathAt, 9, seqData, 4}} {
		for k := range 7 {
			w := 0
			if k < len(words) {
				w = words[k]
			}
			in = binary.LittleEndian.AppendUint32(in, uint32(w))
		}
	}
	fs := &tray{files: map[string]string{"/": "abcdef"}}
	rec, reply, err := recorded(t, p, wasm.Call{Tool: "t", Input: in, Effects: abi.Writes, Gate: openGate{}, Host: wasm.Host{FS: fs}})
	if err != nil || fs.files["/"] != "abcd" {
		t.Fatalf("%q %v", fs.files["/"], err)
	}
	fs.files["/"] = "gone"
	r, err := p.Replay(t.Context(), rec, false, 0, wasm.Limits{})
	if err != nil || !r.Equal || string(r.Reply) != string(reply.Body) || fs.files["/"] != "gone" {
		t.Errorf("%+v %v", r.Divergence, err)
	}
}

// FuzzHandles makes any sequence of calls about handles: whatever it is, each gets a status of the contract, the call ends
// well, and nothing is open behind it.
func FuzzHandles(f *testing.F) {
	for _, seed := range [][]byte{{}, {0, 2, 5}, {1, 3, 5, 5}, {7, 3, 8, 2, 5}, {9, 11, 10, 10, 5}, {0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0}} {
		f.Add(seed, uint32(2), uint32(64))
	}
	e := openEngine(f)
	p := load(f, e, wasm.Spec{Name: "t/fuzz", Module: seqGuest()})
	f.Fuzz(func(t *testing.T, which []byte, handle, size uint32) {
		var in []byte
		for i, w := range which[:min(len(which), 100)] {
			name := seqFuncs[int(w)%len(seqFuncs)]
			in = binary.LittleEndian.AppendUint32(in, uint32(int(w)%len(seqFuncs)))
			for k := range 6 {
				in = binary.LittleEndian.AppendUint32(in, seqWord(name, k, handle+uint32(w)/uint32(len(seqFuncs))*uint32(i&1), size))
			}
		}
		fs := &tray{files: map[string]string{"/": "abcdef"}}
		rec := &recorder{value: []byte("0123456789")}
		r, err := p.Call(t.Context(), wasm.Call{Tool: "t", Input: in, Effects: abi.OpenWorld, Gate: openGate{}, Host: wasm.Host{FS: fs, HTTP: recHTTP{rec}}, Limits: wasm.Limits{Gas: 1e9, Time: time.Minute}})
		if err != nil {
			t.Fatalf("%v: %v", which, err)
		}
		if fs.open != 0 {
			t.Fatalf("%v: %d files are open", which, fs.open)
		}
		opens := 0
		for _, l := range rec.log {
			switch {
			case strings.HasPrefix(l, "open "), strings.HasPrefix(l, "connect "):
				opens++
			case l == "closed":
				opens--
			}
		}
		if opens != 0 {
			t.Fatalf("%v: %d requests are open", which, opens)
		}
		for i := range len(in) / seqStep {
			if c := abi.Status(binary.LittleEndian.Uint64(r.Body[8*i:])).Code(); !known(c) {
				t.Fatalf("call %d of %v answers with code %d", i, which, c)
			}
		}
	})
}

// seqWord is the word of an argument: paths and requests that are good now and then, handles that were given and others.
func seqWord(name string, k int, handle, size uint32) uint32 {
	f := function(name)
	if k >= len(f.Params) {
		return 0
	}
	switch p := f.Params[k]; {
	case p == "handle":
		return handle % 24
	case p == "path":
		return seqPathAt
	case p == "req":
		return seqRequestAt
	case p == "path_len":
		return 1
	case p == "req_len":
		return uint32(len(seqRequest))
	case strings.HasSuffix(p, "_cap"):
		return size
	case p == "out":
		return seqData
	}
	return size
}
