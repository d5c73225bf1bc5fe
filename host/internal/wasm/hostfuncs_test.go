package wasm_test

import (
	"bytes"
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"strings"
	"testing"
	"time"

	"github.com/arw-project/arw/abi"
	"github.com/arw-project/arw/host/internal/wasm"
)

// The probe calls one host function with the arguments its input begins with, and then io.take. Its reply is both
// statuses and a window of its memory, so that a test sees all that a guest can see.
const (
	memSize   = 2 * 65536
	roomAt    = 4096
	windowAt  = 65536 // where tests have replies written
	windowLen = 2048
	takeAt    = windowAt + 1024
)

func probe(f abi.Func) []byte {
	m := guest(2, -1)
	fn := m.imp(abi.ModulePrefix+string(f.Capability), f.Name, strings.Repeat("i", len(f.Params)), "l")
	take := fn
	if f.Capability != abi.IO {
		take = m.imp("arw:io", "take", "ii", "l")
	}
	m.abiAlloc()
	var args []byte
	for i := range f.Params {
		args = cat(args, get(2), load32(4*i))
	}
	out := windowAt - 32
	m.fn("arw_call", "iiii", "l", "",
		i32c(out), i32c(1), store8(15),
		i32c(out), args, callf(fn), store64(16),
		i32c(out), i32c(takeAt), i32c(windowLen-1024), callf(take), store64(24),
		packed(i32c(out+15), i32c(17+windowLen)))
	return m.build()
}

type probed struct {
	status, take abi.Status
	window       []byte
}

// message is what io.take gave after a refusal.
func (p probed) message() string { return string(p.window[1024 : 1024+p.take.Len()]) }

// data is what the function wrote.
func (p probed) data() string { return string(p.window[:p.status.Len()]) }

// do calls the function: strings among the arguments are put into memory and become pointer and length.
func do(t *testing.T, p *wasm.Program, req wasm.Call, args ...any) probed {
	t.Helper()
	var words, payload []byte
	n := 0
	for _, a := range args {
		if _, ok := a.(string); ok {
			n++
		}
		n++
	}
	at := roomAt + len(req.Tool) + 4*n
	for _, a := range args {
		switch a := a.(type) {
		case string:
			words = binary.LittleEndian.AppendUint32(words, uint32(at+len(payload)))
			words = binary.LittleEndian.AppendUint32(words, uint32(len(a)))
			payload = append(payload, a...)
		case int:
			words = binary.LittleEndian.AppendUint32(words, uint32(a))
		}
	}
	req.Input = append(words, payload...)
	r, err := p.Call(t.Context(), req)
	if err != nil {
		t.Fatalf("%s: %v", req.Tool, err)
	}
	return probed{abi.Status(binary.LittleEndian.Uint64(r.Body)), abi.Status(binary.LittleEndian.Uint64(r.Body[8:])), r.Body[16:]}
}

// recorder is a whole host that writes down what is asked of it, gate first.
type recorder struct {
	log    []string
	refuse error // what the gate answers
	fail   error // what the host answers
	value  []byte
	kind   abi.FrameKind
}

func (r *recorder) note(format string, a ...any) error {
	r.log = append(r.log, fmt.Sprintf(format, a...))
	return r.fail
}

func (r *recorder) Use(_ context.Context, c abi.Capability, target string, n int) (string, error) {
	r.log = append(r.log, fmt.Sprintf("gate %s %q %d", c, target, n))
	return "scope", r.refuse
}

func (r *recorder) host() wasm.Host {
	return wasm.Host{Log: recLog{r}, KV: recKV{r}, Event: recEvent{r}, State: recState{r}, FS: recFS{r}, Clock: recClock{r}, Rand: recRand{r}, Action: recAction{r},
		Secret: recSecret{r}, Archive: recArchive{r}, Config: recConfig{r}, HTTP: recHTTP{r}, Infer: recInfer{r}}
}

type (
	recLog    struct{ *recorder }
	recKV     struct{ *recorder }
	recEvent  struct{ *recorder }
	recState  struct{ *recorder }
	recFS     struct{ *recorder }
	recClock  struct{ *recorder }
	recRand   struct{ *recorder }
	recAction struct{ *recorder }

	recSecret  struct{ *recorder }
	recArchive struct{ *recorder }
	recConfig  struct{ *recorder }
)

func (r recLog) Write(_ context.Context, level int, msg string) error {
	return r.note("log %d %q", level, msg)
}

func (r recKV) Get(_ context.Context, key []byte) ([]byte, error) {
	return r.value, r.note("get %q", key)
}
func (r recKV) Put(_ context.Context, key, val []byte) error { return r.note("put %q %q", key, val) }
func (r recKV) Delete(_ context.Context, key []byte) error   { return r.note("delete %q", key) }
func (r recKV) List(_ context.Context, prefix, after []byte, limit int) ([]abi.KVEntry, bool, error) {
	return []abi.KVEntry{{Key: r.value, Size: 3}}, true, r.note("list %q %q %d", prefix, after, limit)
}
func (r recKV) Batch(_ context.Context, ops []abi.KVOp) error {
	var text string
	for _, op := range ops {
		text += fmt.Sprintf(" %t %s=%s", op.Delete, op.Key, op.Val)
	}
	return r.note("batch%s", text)
}

func (r recEvent) Emit(_ context.Context, kind string, body []byte) error {
	return r.note("emit %s %s", kind, body)
}

func (r recState) Get(_ context.Context, name string) ([]byte, error) {
	return r.value, r.note("state get %s", name)
}
func (r recState) Put(_ context.Context, name string, doc []byte) error {
	return r.note("state put %s %s", name, doc)
}

func (r recFS) List(_ context.Context, scope string, req abi.FSList) ([]abi.FSEntry, bool, error) {
	return []abi.FSEntry{{Path: "/a/b", Size: 4, Mode: "file", MTimeMS: 5}}, false, r.note("fs list %s %+v", scope, req)
}
func (r recFS) Stat(_ context.Context, scope, path string) (abi.FSEntry, error) {
	return abi.FSEntry{Path: path, Size: 4, Mode: "file", MTimeMS: 5}, r.note("fs stat %s %s", scope, path)
}
func (r recFS) Read(_ context.Context, scope, path string, off int64, buf []byte) (int, error) {
	return copy(buf, r.value), r.note("fs read %s %s %d %d", scope, path, off, len(buf))
}
func (r recFS) Write(_ context.Context, scope, path string, data []byte) error {
	return r.note("fs write %s %s %q", scope, path, data)
}
func (r recFS) OpenFile(_ context.Context, scope, path string) (wasm.File, error) {
	return &recFile{recorder: r.recorder, left: r.value}, r.note("fs open %s %s", scope, path)
}
func (r recFS) CreateFile(_ context.Context, scope, path string) (wasm.Draft, error) {
	return &recFile{recorder: r.recorder}, r.note("fs create %s %s", scope, path)
}
func (r recFS) Remove(_ context.Context, scope, path string) error {
	return r.note("fs remove %s %s", scope, path)
}

func (r recClock) Now() time.Time           { r.note("now"); return time.Unix(1, 2) }
func (r recClock) Monotonic() time.Duration { r.note("monotonic"); return 7 }

func (r recRand) Read(p []byte) (int, error) {
	return copy(p, bytes.Repeat([]byte("r"), len(p))), r.note("rand %d", len(p))
}

func (r recSecret) Public(_ context.Context, name string) ([]byte, error) {
	return r.value, r.note("public %s", name)
}
func (r recSecret) MAC(_ context.Context, name string, data []byte) ([]byte, error) {
	return r.value, r.note("mac %s %q", name, data)
}
func (r recSecret) Sign(_ context.Context, name string, data []byte) ([]byte, error) {
	return r.value, r.note("sign %s %q", name, data)
}

func (r recConfig) Get(_ context.Context, name string) ([]byte, error) {
	return r.value, r.note("config %s", name)
}

func (r recArchive) Unpack(_ context.Context, read, write string, req abi.ArchiveUnpack) (abi.ArchiveUnpacked, error) {
	return abi.ArchiveUnpacked{Format: "zip", Files: 2}, r.note("unpack %s %s %s %s", read, write, req.From, req.To)
}

func (r recAction) Call(_ context.Context, tool string, in []byte) (abi.FrameKind, []byte, error) {
	err := r.note("action %s %q", tool, in)
	return r.kind, r.value, err
}

func function(name string) abi.Func {
	for _, f := range abi.Functions {
		if string(f.Capability)+"."+f.Name == name {
			return f
		}
	}
	panic(name)
}

func le64(v uint64) string { return string(binary.LittleEndian.AppendUint64(nil, v)) }

func TestHostFunctions(t *testing.T) {
	t.Parallel()
	big := strings.Repeat("v", 1500)
	batch := "\x01\x01\x00\x00\x00k\x02\x00\x00\x00vv" + "\x02\x01\x00\x00\x00d"
	tests := []struct {
		fn    string
		args  []any
		value string
		want  abi.Status
		data  string // written, or given by io.take after more
		log   string
	}{
		{"log.write", []any{2, "hello"}, "", 0, "", `gate log "" 5; log 2 "hello"`},
		{"kv.get", []any{"key", windowAt, 1024}, "value", abi.MakeStatus(abi.OK, 5), "value", `gate kv "" 0; get "key"`},
		{"kv.get", []any{"key", windowAt, 0}, "", 0, "", `gate kv "" 0; get "key"`},
		{"kv.get", []any{"key", windowAt, 4}, "value", abi.MakeStatus(abi.More, 5), "value", `gate kv "" 0; get "key"`},
		{"kv.put", []any{"key", "val"}, "", 0, "", `gate kv "" 6; put "key" "val"`},
		{"kv.put", []any{memSize, 0, memSize, 0}, "", 0, "", `gate kv "" 0; put "" ""`},
		{"kv.delete", []any{"key"}, "", 0, "", `gate kv "" 0; delete "key"`},
		{"kv.list", []any{`{"prefix":"p","after":"q","limit":7}`, windowAt, 1024}, "kk", abi.MakeStatus(abi.OK, 42),
			`{"keys":[{"key":"kk","size":3}],"more":true}`[:42], `gate kv "" 0; list "p" "q" 7`},
		{"kv.list", []any{`{}`, windowAt, 1024}, "kk", abi.MakeStatus(abi.OK, 42), "", `gate kv "" 0; list "" "" 1000`},
		{"kv.batch", []any{batch}, "", 0, "", `gate kv "" 18; batch false k=vv true d=`},
		{"event.emit", []any{"a.b", `{"x":1}`}, "", 0, "", `gate event "a.b" 7; emit a.b {"x":1}`},
		{"state.get", []any{"n", windowAt, 1024}, big[:1000], abi.MakeStatus(abi.OK, 1000), big[:1000], `gate state "n" 0; state get n`},
		{"state.put", []any{"n", `[]`}, "", 0, "", `gate state "n" 2; state put n []`},
		{"fs.list", []any{`{"path":"/a/../b//c"}`, windowAt, 1024}, "", abi.MakeStatus(abi.OK, 81), "", `gate fs "read:/b/c" 0; fs list scope {Path:/b/c Recursive:false After: Limit:1000}`},
		{"fs.stat", []any{"/a", windowAt, 1024}, "", abi.MakeStatus(abi.OK, 48), `{"path":"/a","size":4,"mode":"file","mtime_ms":5}`[:48], `gate fs "read:/a" 0; fs stat scope /a`},
		{"fs.read", []any{"/a", 5, 1, windowAt, 64}, "bytes", abi.MakeStatus(abi.OK, 5), "bytes", `gate fs "read:/a" 64; fs read scope /a 4294967301 64`},
		{"fs.write", []any{"/a", "data"}, "", 0, "", `gate fs "write:/a" 4; fs write scope /a "data"`},
		{"fs.open", []any{"/a/./b", windowAt, 4}, "bytes", abi.MakeStatus(abi.OK, 4), "\x02\x00\x00\x00", `gate fs "read:/a/b" 0; fs open scope /a/b; closed`},
		{"fs.create", []any{"/a", windowAt, 3}, "", abi.MakeStatus(abi.More, 4), "\x02\x00\x00\x00", `gate fs "write:/a" 0; fs create scope /a; closed`},
		{"fs.remove", []any{"/../a/"}, "", 0, "", `gate fs "write:/a" 0; fs remove scope /a`},
		{"clock.now", []any{windowAt, 8}, "", abi.MakeStatus(abi.OK, 8), le64(1_000_000_002), `gate clock "" 0; now`},
		{"clock.monotonic", []any{windowAt, 8}, "", abi.MakeStatus(abi.OK, 8), le64(7), `gate clock "" 0; monotonic`},
		{"clock.now", []any{windowAt, 7}, "", abi.MakeStatus(abi.More, 8), le64(1_000_000_002), `gate clock "" 0; now`},
		{"rand.bytes", []any{windowAt, 9}, "", abi.MakeStatus(abi.OK, 9), "rrrrrrrrr", `gate rand "" 9; rand 9`},
		{"action.call", []any{"ns/p:t", "in", windowAt, 1024}, "out", abi.MakeStatus(abi.OK, 4), "\x00out", `gate action "ns/p:t" 2; action ns/p:t "in"`},
		{"secret.public", []any{"n", windowAt, 64}, "pub", abi.MakeStatus(abi.OK, 3), "pub", `gate secret "n" 0; public n`},
		{"config.get", []any{"recipes/retrieval", windowAt, 64}, `{"k":8}`, abi.MakeStatus(abi.OK, 7), `{"k":8}`, `gate config "recipes/retrieval" 0; config recipes/retrieval`},
		{"secret.mac", []any{"n", "data", windowAt, 64}, "mac", abi.MakeStatus(abi.OK, 3), "mac", `gate secret "n" 4; mac n "data"`},
		{"secret.sign", []any{"n", "data", windowAt, 64}, "sig", abi.MakeStatus(abi.OK, 3), "sig", `gate secret "n" 4; sign n "data"`},
		{"archive.unpack", []any{`{"from":"/a/../z.zip","to":"/o/"}`, windowAt, 1024}, "", abi.MakeStatus(abi.OK, 70), `{"format":"zip","files":2,"folders":0,"bytes":0,"skipped":0,"depth":0}`,
			`gate archive "" 0; gate fs "read:/z.zip" 0; gate fs "write:/o" 0; unpack scope scope /z.zip /o`},
		{"http.fetch", []any{`{"url":"https://x/","method":"POST"}`, "body", windowAt, 1024}, "v", abi.MakeStatus(abi.OK, 90), `{"handle":2,"status":200,`, `open POST https://x/ false "body"; response; closed`},
		{"http.open", []any{`{"url":"https://x/"}`, windowAt, 8}, "v", abi.MakeStatus(abi.OK, 4), "\x02\x00\x00\x00", `open  https://x/ true ""; closed`},
		{"http.connect", []any{`{"url":"wss://x/"}`, windowAt, 1024}, "v", abi.MakeStatus(abi.OK, 90), `{"handle":2,"status":101,`, `connect wss://x/; closed`},
		{"http.response", []any{2, windowAt, 8}, "", abi.MakeStatus(abi.Invalid, 40), "", ``},
		{"http.send", []any{2, 1, "x"}, "", abi.MakeStatus(abi.Invalid, 36), "", ``},
		{"http.receive", []any{2, windowAt, 8}, "", abi.MakeStatus(abi.Invalid, 39), "", ``},
		{"infer.generate", []any{`{"prompt":"p","max_tokens":3}`, windowAt, 1024}, "v", abi.MakeStatus(abi.OK, 68), `{"handle":2,"engine":"e","engine_kind":"neural","model":"m"}`[:40], `generate "p" 3; closed`},
		{"infer.generate", []any{`{"prompt":"p","max_tokens":-3}`, windowAt, 1024}, "v", abi.MakeStatus(abi.Invalid, 35), "", ``},
		{"infer.finish", []any{2, windowAt, 8}, "", abi.MakeStatus(abi.Invalid, 39), "", ``},
		{"infer.embed", []any{`{"texts":["a","b"]}`, windowAt, 1024}, "", abi.MakeStatus(abi.OK, 134), `{"engine":"e","engine_kind":"neural","model":"m","vectors":[[0.5,1]]`, `embed [a b]`},
		{"infer.rerank", []any{`{"query":"q","documents":["a"]}`, windowAt, 1024}, "", abi.MakeStatus(abi.OK, 124), `{"engine":"e","engine_kind":"neural","model":"m","scores":[0.25]`, `rerank q [a]`},
		{"infer.tokenize", []any{`{"prompt":"p","count":true}`, windowAt, 1024}, "", abi.MakeStatus(abi.OK, 59), `{"engine":"e","engine_kind":"neural","model":"m","count":4}`, `tokenize p true`},
		{"io.take", []any{windowAt, 9}, "", abi.MakeStatus(abi.NotFound, 0), "", ``},
	}
	e := open(t, wasm.Options{})
	for _, tc := range tests {
		t.Run(tc.fn, func(t *testing.T) {
			rec := &recorder{value: []byte(tc.value)}
			p := load(t, e, wasm.Spec{Name: "t/p", Module: probe(function(tc.fn))})
			got := do(t, p, wasm.Call{Tool: "tool", Effects: abi.OpenWorld, Gate: rec, Host: rec.host()}, tc.args...)
			if got.status.Code() != tc.want.Code() || tc.want.Code() != abi.OK && got.status != tc.want {
				t.Fatalf("status %s %d (%s)", got.status.Code(), got.status.Len(), got.message())
			}
			data := got.data()
			if tc.want.Code() == abi.More {
				data = got.message()
			}
			if !strings.HasPrefix(data, tc.data) || tc.want.Len() != got.status.Len() && tc.fn[:2] != "kv" && tc.fn[:2] != "fs" && tc.fn[:2] != "ht" && tc.fn[:2] != "in" {
				t.Errorf("wrote %q, want %q", data, tc.data)
			}
			if log := strings.Join(rec.log, "; "); log != tc.log {
				t.Errorf("host saw  %s\nwant      %s", log, tc.log)
			}
		})
	}
}

// TestEveryFunctionIsLinked fails when the contract names a function that the engine does not have.
func TestEveryFunctionIsLinked(t *testing.T) {
	t.Parallel()
	e := open(t, wasm.Options{})
	for _, f := range abi.Functions {
		load(t, e, wasm.Spec{Name: "t/p", Module: probe(f)})
	}
}

// TestPointers gives every function ranges that do not lie in memory: nothing may happen but a refusal.
func TestPointers(t *testing.T) {
	t.Parallel()
	e := open(t, wasm.Options{})
	bad := [][2]int{{memSize, 1}, {memSize - 1, 2}, {-1, 2}, {-1, -1}, {0, -1}, {1 << 31, 1 << 31}, {memSize + 1, 0}, {0, memSize + 1}}
	for _, f := range abi.Functions {
		if f.Capability == abi.IO {
			continue
		}
		p := load(t, e, wasm.Spec{Name: "t/p", Module: probe(f)})
		for i, name := range f.Params {
			if i+1 >= len(f.Params) || (f.Params[i+1] != name+"_len" && f.Params[i+1] != name+"_cap") {
				continue
			}
			for _, b := range bad {
				rec := &recorder{}
				args := goodArgs(f)
				args = append(append(append([]any{}, args[:i]...), b[0], b[1]), args[i+2:]...)
				got := do(t, p, wasm.Call{Tool: "t", Effects: abi.OpenWorld, Gate: rec, Host: rec.host()}, args...)
				if got.status.Code() != abi.Invalid || len(rec.log) > 0 || !strings.Contains(got.message(), f.Name) {
					t.Errorf("%s.%s with %s at %v: %s %q, host saw %q", f.Capability, f.Name, name, b, got.status.Code(), got.message(), rec.log)
				}
			}
		}
	}
}

// goodArgs are plain words that suit the function: pointers to good text in the window and lengths.
func goodArgs(f abi.Func) []any {
	args := make([]any, len(f.Params))
	for i, name := range f.Params {
		args[i] = 0
		if strings.HasSuffix(name, "_cap") {
			args[i] = 64
		} else if i+1 < len(f.Params) && f.Params[i+1] == name+"_cap" {
			args[i] = windowAt
		}
	}
	return args
}

func TestRefusals(t *testing.T) {
	t.Parallel()
	e := open(t, wasm.Options{})
	gateSays := func(code abi.Code) *recorder {
		return &recorder{refuse: abi.Errorf(code, "the lease says %s", code).WithHint("ask again")}
	}
	all := func(r *recorder) wasm.Call {
		return wasm.Call{Tool: "t", Effects: abi.Writes, Gate: r, Host: r.host()}
	}
	tests := []struct {
		name string
		fn   string
		rec  *recorder
		edit func(*wasm.Call)
		args []any
		code abi.Code
		says string
		saw  int // what the host saw
	}{
		{"effect", "kv.put", &recorder{}, func(c *wasm.Call) { c.Effects = abi.Reads }, []any{"k", "v"}, abi.Denied, `set effects = "writes"`, 0},
		{"pure effect", "clock.now", &recorder{}, func(c *wasm.Call) { c.Effects = abi.Pure }, []any{windowAt, 8}, abi.Denied, `declares effects = "pure"`, 0},
		{"not granted", "kv.get", &recorder{}, func(c *wasm.Call) { c.Host.KV = nil }, []any{"k", windowAt, 8}, abi.Denied, "[capabilities.kv] is not in pack.toml", 0},
		{"no gate", "kv.get", &recorder{}, func(c *wasm.Call) { c.Gate = nil }, []any{"k", windowAt, 8}, abi.Denied, "no lease covers", 0},
		{"gate expired", "kv.get", gateSays(abi.LeaseExpired), nil, []any{"k", windowAt, 8}, abi.LeaseExpired, "ask again", 1},
		{"gate revoked", "fs.write", gateSays(abi.LeaseRevoked), nil, []any{"/k", "x"}, abi.LeaseRevoked, "fs.write", 1},
		{"gate budget", "event.emit", gateSays(abi.BudgetExhausted), nil, []any{"k", "{}"}, abi.BudgetExhausted, "event.emit", 1},
		{"gate fails", "kv.get", &recorder{refuse: errors.New("secret path")}, nil, []any{"k", windowAt, 8}, abi.Internal, "a fault of the host", 1},
		{"host not found", "kv.get", &recorder{fail: abi.Errorf(abi.NotFound, "no key")}, nil, []any{"k", windowAt, 8}, abi.NotFound, "no key", 2},
		{"host fails", "kv.get", &recorder{fail: errors.New("secret path")}, nil, []any{"k", windowAt, 8}, abi.Internal, "a fault of the host", 2},
		{"host says ok", "kv.get", &recorder{fail: abi.Errorf(abi.OK, "odd")}, nil, []any{"k", windowAt, 8}, abi.Internal, "a fault", 2},
		{"level", "log.write", &recorder{}, nil, []any{4, "x"}, abi.Invalid, "level 4", 0},
		{"kind not text", "event.emit", &recorder{}, nil, []any{"\xff", "{}"}, abi.Invalid, "UTF-8", 0},
		{"body not JSON", "event.emit", &recorder{}, nil, []any{"k", "{"}, abi.Invalid, "JSON", 0},
		{"doc not JSON", "state.put", &recorder{}, nil, []any{"k", ""}, abi.Invalid, "JSON", 0},
		{"path relative", "fs.read", &recorder{}, nil, []any{"a/b", 0, 0, windowAt, 8}, abi.Invalid, "absolute", 0},
		{"path with NUL", "fs.stat", &recorder{}, nil, []any{"/a\x00b", windowAt, 8}, abi.Invalid, "absolute", 0},
		{"offset", "fs.read", &recorder{}, nil, []any{"/a", 0, -1, windowAt, 8}, abi.Invalid, "offset", 0},
		{"unknown field", "kv.list", &recorder{}, nil, []any{`{"prefx":"a"}`, windowAt, 8}, abi.Invalid, "prefx", 0},
		{"two objects", "kv.list", &recorder{}, nil, []any{`{}{}`, windowAt, 8}, abi.Invalid, "follows", 0},
		{"limit", "fs.list", &recorder{}, nil, []any{`{"path":"/","limit":1001}`, windowAt, 8}, abi.Invalid, "1001", 0},
		{"binary key", "kv.list", &recorder{value: []byte("\xff")}, nil, []any{`{}`, windowAt, 64}, abi.Invalid, "not text", 2},
		{"batch kind", "kv.batch", &recorder{}, nil, []any{"\x03"}, abi.Invalid, "kind 3", 0},
		{"batch cut", "kv.batch", &recorder{}, nil, []any{"\x01\x05\x00\x00\x00abc"}, abi.Invalid, "5 bytes are announced", 0},
		{"action refused", "action.call", &recorder{fail: abi.Errorf(abi.Busy, "later")}, nil, []any{"t", "{}", windowAt, 8}, abi.Busy, "later", 2},
		{"action odd", "action.call", &recorder{kind: abi.FrameError}, nil, []any{"t", "{}", windowAt, 8}, abi.Internal, "a fault", 2},
	}
	for _, tc := range tests {
		t.Run(tc.name, func(t *testing.T) {
			p := load(t, e, wasm.Spec{Name: "t/p", Module: probe(function(tc.fn))})
			req := all(tc.rec)
			if tc.edit != nil {
				tc.edit(&req)
			}
			got := do(t, p, req, tc.args...)
			if got.status.Code() != tc.code || !strings.Contains(got.message(), tc.says) || strings.Contains(got.message(), "secret") {
				t.Errorf("%s %q, want %s with %q", got.status.Code(), got.message(), tc.code, tc.says)
			}
			if got.take.Code() != abi.OK || got.take.Len() != got.status.Len() {
				t.Errorf("io.take gave %s %d of a message of %d", got.take.Code(), got.take.Len(), got.status.Len())
			}
			if len(tc.rec.log) != tc.saw {
				t.Errorf("the host saw %q", tc.rec.log)
			}
		})
	}
}

// TestActionError: an error frame of the other tool is a reply, not a refusal.
func TestActionError(t *testing.T) {
	t.Parallel()
	p := load(t, open(t, wasm.Options{}), wasm.Spec{Name: "t/p", Module: probe(function("action.call"))})
	rec := &recorder{kind: abi.FrameError, fail: abi.Errorf(abi.Conflict, "taken").WithDetail(map[string]int{"by": 1})}
	got := do(t, p, wasm.Call{Tool: "t", Effects: abi.Reads, Gate: rec, Host: rec.host()}, "x/y", "{}", windowAt, 512)
	_, _, err := abi.ParseFrame([]byte(got.data()))
	if abi.CodeOf(err) != abi.Conflict || err.Error() != "taken" {
		t.Errorf("the guest saw %s %q: %v", got.status.Code(), got.data(), err)
	}
}

// TestPanickingHost: a fault in a host function ends the call, says nothing of itself to the caller, and the next call is fine.
func TestPanickingHost(t *testing.T) {
	t.Parallel()
	p := load(t, open(t, wasm.Options{}), wasm.Spec{Name: "t/p", Module: kvGuest()})
	var broken *mapKV
	req := wasm.Call{Tool: "t", Input: []byte("k"), Effects: abi.Reads, Gate: openGate{}, Host: wasm.Host{KV: broken}}
	_, err := p.Call(t.Context(), req)
	if abi.CodeOf(err) != abi.Internal || strings.Contains(err.Error(), "nil pointer") {
		t.Errorf("%v", err)
	}
	req.Host.KV = &mapKV{m: map[string][]byte{"k": []byte("v")}}
	if r, err := p.Call(t.Context(), req); err != nil || string(r.Body) != "v" {
		t.Errorf("%q %v", r.Body, err)
	}
}

// recInfer is a model that says the recorder's value.
type recInfer struct{ *recorder }

var recEngine = abi.InferEngine{Engine: "e", Kind: "neural", Model: "m"}

func (r recInfer) ask() error {
	if r.refuse == nil {
		return nil
	}
	_, err := r.Use(context.Background(), abi.Infer, "m", 0) // it asks for itself
	return err
}

func (r recInfer) Generate(_ context.Context, req abi.InferRequest) (wasm.Answer, error) {
	if err := r.ask(); err != nil {
		return nil, err
	}
	return &recAnswer{recorder: r.recorder, left: r.value}, r.note("generate %q %d", req.Prompt, req.MaxTokens)
}

func (r recInfer) Embed(_ context.Context, req abi.InferEmbed) (abi.InferVectors, error) {
	if err := r.ask(); err != nil {
		return abi.InferVectors{}, err
	}
	return abi.InferVectors{InferEngine: recEngine, Vectors: [][]float32{{0.5, 1}}}, r.note("embed %v", req.Texts)
}

func (r recInfer) Rerank(_ context.Context, req abi.InferRerank) (abi.InferScores, error) {
	if err := r.ask(); err != nil {
		return abi.InferScores{}, err
	}
	return abi.InferScores{InferEngine: recEngine, Scores: []float64{0.25}}, r.note("rerank %s %v", req.Query, req.Documents)
}

func (r recInfer) Tokenize(_ context.Context, req abi.InferTokenize) (abi.InferTokens, error) {
	if err := r.ask(); err != nil {
		return abi.InferTokens{}, err
	}
	return abi.InferTokens{InferEngine: recEngine, Count: 4}, r.note("tokenize %s %v", req.Prompt, req.Count)
}

type recAnswer struct {
	*recorder
	left []byte
}

func (*recAnswer) Engine() abi.InferEngine { return recEngine }

func (x *recAnswer) Read(_ context.Context, buf []byte) (int, error) {
	n := copy(buf, x.left)
	if x.left = x.left[n:]; n == 0 {
		return 0, io.EOF
	}
	return n, nil
}

func (x *recAnswer) Finish(context.Context) (abi.InferResult, error) {
	return abi.InferResult{InferEngine: recEngine, Finish: "stop"}, x.note("finish")
}

func (x *recAnswer) Close() error { return x.note("closed") }

// recHTTP is a network that answers with the recorder's value.
type recHTTP struct{ *recorder }

func (r recHTTP) Open(_ context.Context, req abi.HTTPRequest, body []byte, stream bool) (wasm.Exchange, error) {
	if r.refuse != nil { // it asks for itself
		_, err := r.Use(context.Background(), abi.HTTP, req.URL, len(body))
		return nil, err
	}
	return &recExchange{recorder: r.recorder, left: r.value}, r.note("open %s %s %v %q", req.Method, req.URL, stream, body)
}

func (r recHTTP) Connect(_ context.Context, req abi.HTTPRequest) (wasm.Socket, error) {
	if r.refuse != nil {
		_, err := r.Use(context.Background(), abi.HTTP, req.URL, 0)
		return nil, err
	}
	return &recSocket{recorder: r.recorder}, r.note("connect %s", req.URL)
}

type recExchange struct {
	*recorder
	left []byte
}

func (x *recExchange) Write(_ context.Context, part []byte) error {
	return x.note("body %q", part)
}

func (x *recExchange) Response(context.Context) (abi.HTTPResponse, error) {
	return abi.HTTPResponse{Status: 200, URL: "https://x/", Headers: [][2]string{{"A", "b"}}, Length: -1}, x.note("response")
}

func (x *recExchange) Read(_ context.Context, buf []byte) (int, error) {
	n := copy(buf, x.left)
	if x.left = x.left[n:]; n == 0 {
		return 0, io.EOF
	}
	return n, nil
}

func (x *recExchange) Close() error {
	return x.note("closed")
}

// recFile is a file that is read or written by handle.
type recFile struct {
	*recorder
	left []byte
}

func (f *recFile) Read(_ context.Context, buf []byte) (int, error) {
	n := copy(buf, f.left)
	if f.left = f.left[n:]; n == 0 {
		return 0, io.EOF
	}
	return n, f.note("read %d", len(buf))
}

func (f *recFile) Write(_ context.Context, part []byte) error { return f.note("write %q", part) }
func (f *recFile) Commit(context.Context) error               { return f.note("commit") }
func (f *recFile) Close() error                               { return f.note("closed") }

type recSocket struct {
	*recorder
	kind int
	data []byte
}

func (*recSocket) Head() abi.HTTPResponse {
	return abi.HTTPResponse{Status: 101, URL: "wss://x/", Headers: [][2]string{}, Length: -1}
}

func (s *recSocket) Send(_ context.Context, kind int, data []byte) error {
	s.kind, s.data = kind, data
	return s.note("send %d %q", kind, data)
}

func (s *recSocket) Receive(context.Context) (int, []byte, error) {
	if s.kind == 0 {
		return 0, nil, io.EOF
	}
	kind := s.kind
	s.kind = 0
	return kind, s.data, nil
}

func (s *recSocket) Close() error {
	return s.note("closed")
}
