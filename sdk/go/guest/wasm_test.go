package guest_test

import (
	"context"
	"encoding/binary"
	"encoding/json"
	"fmt"
	"maps"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/tetratelabs/wazero"
	"github.com/tetratelabs/wazero/api"
	"github.com/tetratelabs/wazero/imports/wasi_snapshot_preview1"

	"github.com/arw-project/arw/abi"
)

// build compiles a guest of testdata as the documentation says.
func build(t testing.TB, name string) []byte {
	t.Helper()
	out := filepath.Join(t.TempDir(), "module.wasm")
	cmd := exec.Command("go", "build", "-buildmode=c-shared", "-trimpath", "-ldflags=-s -w", "-o", out, "./testdata/"+name)
	cmd.Env = append(os.Environ(), "GOOS=wasip1", "GOARCH=wasm", "CGO_ENABLED=0")
	if msg, err := cmd.CombinedOutput(); err != nil {
		t.Fatalf("build %s: %v\n%s", name, err, msg)
	}
	module, err := os.ReadFile(out)
	if err != nil {
		t.Fatal(err)
	}
	return module
}

// machine runs one guest on the bare engine with a host of its own, so that the kit is tested against the ABI's text
// and not against our host.
type machine struct {
	t       testing.TB
	mod     api.Module
	code    wazero.CompiledModule
	room    uint32
	pending []byte
	keys    map[string][]byte
	states  map[string][]byte
	log     []string // functions and their texts
	stream  string   // what waits in the input stream
	answer  string   // what waits in an answer
	closed  map[uint32]bool
}

func start(t testing.TB, module []byte) *machine {
	t.Helper()
	ctx := context.Background()
	rt := wazero.NewRuntimeWithConfig(ctx, wazero.NewRuntimeConfigInterpreter())
	t.Cleanup(func() { rt.Close(ctx) })
	wasi_snapshot_preview1.MustInstantiate(ctx, rt)
	m := &machine{t: t, stream: "stream", closed: map[uint32]bool{}, keys: map[string][]byte{}, states: map[string][]byte{}}
	builders := map[abi.Capability]wazero.HostModuleBuilder{}
	for _, f := range abi.Functions {
		if builders[f.Capability] == nil {
			builders[f.Capability] = rt.NewHostModuleBuilder(abi.ModulePrefix + string(f.Capability))
		}
		params := slices.Repeat([]api.ValueType{api.ValueTypeI32}, len(f.Params))
		builders[f.Capability].NewFunctionBuilder().WithGoModuleFunction(api.GoModuleFunc(func(_ context.Context, mod api.Module, stack []uint64) {
			stack[0] = uint64(m.serve(string(f.Capability)+"."+f.Name, len(f.Params), mod, stack))
		}), params, []api.ValueType{api.ValueTypeI64}).Export(f.Name)
	}
	for _, b := range builders {
		if _, err := b.Instantiate(ctx); err != nil {
			t.Fatal(err)
		}
	}
	var err error
	if m.code, err = rt.CompileModule(ctx, module); err != nil {
		t.Fatal(err)
	}
	if m.mod, err = rt.InstantiateModule(ctx, m.code, wazero.NewModuleConfig().WithStartFunctions(abi.ExportInitialize, abi.ExportInit)); err != nil {
		t.Fatal(err)
	}
	m.room = m.alloc(4096)
	return m
}

func (m *machine) alloc(n uint32) uint32 {
	m.t.Helper()
	ptr, err := m.mod.ExportedFunction(abi.ExportAlloc).Call(context.Background(), uint64(n))
	if err != nil {
		m.t.Fatal(err)
	}
	return uint32(ptr[0])
}

// call runs a tool and splits its frame.
func (m *machine) call(tool, in string) (abi.FrameKind, string, error) {
	m.t.Helper()
	if len(tool)+len(in) > 4096 {
		m.room = m.alloc(uint32(len(tool) + len(in)))
	}
	mem := m.mod.Memory()
	mem.WriteString(m.room, tool+in)
	res, err := m.mod.ExportedFunction(abi.ExportCall).Call(context.Background(),
		uint64(m.room), uint64(len(tool)), uint64(m.room)+uint64(len(tool)), uint64(len(in)))
	if err != nil {
		m.t.Fatalf("call %s: %v", tool, err)
	}
	ptr, n := abi.Unpack(res[0])
	frame, ok := mem.Read(ptr, n)
	if !ok {
		m.t.Fatalf("the frame lies outside memory: %d at %d", n, ptr)
	}
	kind, body, err := abi.ParseFrame(slices.Clone(frame))
	return kind, string(body), err
}

// serve is the host of the test. Texts come as pointer and length; a trailing out buffer takes the reply.
func (m *machine) serve(name string, params int, mod api.Module, stack []uint64) abi.Status {
	arg := func(i int) []byte {
		b, ok := mod.Memory().Read(uint32(stack[i]), uint32(stack[i+1]))
		if !ok {
			m.t.Errorf("%s: argument %d lies outside memory", name, i)
		}
		return b
	}
	out := func() []byte { return arg(params - 2) }
	if name == "io.take" {
		n := copy(out(), m.pending)
		m.pending = nil
		return abi.MakeStatus(abi.OK, uint32(n))
	}
	if strings.HasPrefix(name, "http.") {
		return m.network(name, uint32(stack[0]), arg, out)
	}
	if strings.HasPrefix(name, "infer.") {
		return m.models(name, uint32(stack[0]), arg, out)
	}
	if strings.HasPrefix(name, "stream.") {
		return m.streams(name, uint32(stack[0]), func() []byte { return arg(1) })
	}
	first := ""
	if name != "log.write" && params > 2 || strings.HasSuffix(name, "delete") || strings.HasSuffix(name, "remove") {
		first = string(arg(0))
	}
	m.log = append(m.log, strings.TrimSpace(name+" "+first))
	switch name {
	case "log.write":
		m.log[len(m.log)-1] += " " + string('0'+byte(stack[0])) + " " + string(arg(1))
	case "kv.get":
		return m.give(m.keys[first], out(), "no such key")
	case "kv.put":
		m.keys[first] = slices.Clone(arg(2))
	case "kv.delete":
		delete(m.keys, first)
	case "kv.list":
		list := []map[string]any{}
		for _, k := range slices.Sorted(maps.Keys(m.keys)) {
			list = append(list, map[string]any{"key": k, "size": len(m.keys[k])})
		}
		reply, _ := json.Marshal(map[string]any{"keys": list, "more": false})
		return m.give(reply, out(), "")
	case "kv.batch":
		m.log[len(m.log)-1] = "kv.batch"
	case "event.emit":
		m.log[len(m.log)-1] += " " + string(arg(2))
	case "state.put":
		m.states[first] = slices.Clone(arg(2))
	case "state.get":
		return m.give(m.states[first], out(), "no such state")
	case "fs.list":
		return m.give([]byte(`{"entries":[{"path":"/f/a","size":5000,"mode":"file","mtime_ms":1}],"more":true}`), out(), "")
	case "fs.stat":
		return m.give([]byte(`{"path":"/f/a","size":5000,"mode":"file","mtime_ms":1}`), out(), "")
	case "fs.read":
		off := int(uint32(stack[2])) | int(uint32(stack[3]))<<32
		return abi.MakeStatus(abi.OK, uint32(copy(out(), make([]byte, max(0, 5000-off)))))
	case "fs.open", "fs.create":
		return m.give([]byte{9, 0, 0, 0}, out(), "")
	case "secret.mac", "secret.sign":
		return m.give([]byte(name+" of "+string(arg(2))), out(), "")
	case "secret.public":
		return m.give([]byte("public"), out(), "")
	case "archive.unpack":
		return m.give([]byte(`{"format":"zip","files":2,"folders":1,"bytes":7,"skipped":0,"depth":1}`), out(), "")
	case "config.get":
		return m.give([]byte(`{"word":"configured"}`), out(), "")
	case "clock.now", "clock.monotonic":
		return m.give(binary.LittleEndian.AppendUint64(nil, 1_700_000_000_000_000_000), out(), "")
	case "rand.bytes":
		return abi.MakeStatus(abi.OK, uint32(copy(out(), "\x01\x02\x03\x04")))
	case "action.call":
		if strings.HasSuffix(first, "broken") {
			return m.give(abi.AppendErrorFrame(nil, abi.Busy, "not now", nil), out(), "")
		}
		return m.give(abi.AppendFrame(nil, abi.FrameJSON, []byte(`{"word":"back"}`)), out(), "")
	}
	return abi.MakeStatus(abi.OK, 0)
}

// network answers every request but one.
func (m *machine) network(name string, handle uint32, arg func(int) []byte, out func() []byte) abi.Status {
	line := name
	defer func() { m.log = append(m.log, line) }()
	head := `{"handle":2,"status":200,"url":"https://x.example.com/a","headers":[["Content-Type","text/plain"]],"length":-1}`
	switch name {
	case "http.fetch":
		if line += " " + string(arg(0)) + " " + string(arg(2)); strings.Contains(line, "nowhere") {
			m.pending = []byte("no such name")
			return abi.MakeStatus(abi.NotFound, uint32(len(m.pending)))
		}
		m.answer = "the answer"
		return m.give([]byte(head), out(), "")
	case "http.open":
		line += " " + string(arg(0))
		return m.give([]byte{3, 0, 0, 0}, out(), "")
	case "http.response":
		line += fmt.Sprint(" ", handle)
		return m.give([]byte(strings.Replace(head, "2", "3", 1)), out(), "")
	case "http.connect":
		line += " " + string(arg(0))
		return m.give([]byte(strings.Replace(head, "2", "4", 1)), out(), "")
	case "http.send":
		b := arg(2)
		line += fmt.Sprintf(" %d %q", handle, b)
		m.answer = "\x01back"
		return 0
	}
	line += fmt.Sprint(" ", handle)
	reply := m.answer
	m.answer = ""
	return m.give([]byte(reply), out(), "")
}

// models answers every question but one.
func (m *machine) models(name string, handle uint32, arg func(int) []byte, out func() []byte) abi.Status {
	if name == "infer.finish" {
		m.log = append(m.log, fmt.Sprint(name, " ", handle))
		return m.give([]byte(`{"engine":"e","engine_kind":"neural","model":"m","finish_reason":"stop","usage":{"prompt_tokens":1,"cached_tokens":0,"completion_tokens":2},"usd_micros":7}`), out(), "")
	}
	m.log = append(m.log, name+" "+string(arg(0)))
	if strings.Contains(string(arg(0)), "none") {
		m.pending = []byte("no such model")
		return abi.MakeStatus(abi.NotFound, uint32(len(m.pending)))
	}
	m.answer = "an answer"
	return m.give([]byte(map[string]string{
		"infer.generate": `{"handle":5,"engine":"e","engine_kind":"neural","model":"m"}`, "infer.embed": `{"model":"m","vectors":[[1,0.5],[2,0.5]]}`,
		"infer.rerank": `{"model":"m","scores":[0.25]}`, "infer.tokenize": `{"model":"m","count":4}`,
	}[name]), out(), "")
}

// streams has one short input.
func (m *machine) streams(name string, handle uint32, arg func() []byte) abi.Status {
	m.log = append(m.log, fmt.Sprint(name, " ", handle))
	switch name {
	case "stream.read":
		if handle > abi.HandleOutput {
			n := copy(arg(), m.answer)
			m.answer = m.answer[n:]
			return abi.MakeStatus(abi.OK, uint32(n))
		}
		n := copy(arg(), m.stream)
		m.stream = m.stream[n:]
		return abi.MakeStatus(abi.OK, uint32(n))
	case "stream.write":
		m.log[len(m.log)-1] += fmt.Sprint(" ", len(arg()))
	case "stream.send":
		m.log[len(m.log)-1] += " " + string(arg())
	case "stream.close":
		if m.closed[handle] {
			return abi.MakeStatus(abi.Invalid, 0)
		}
		m.closed[handle] = true
	}
	return abi.MakeStatus(abi.OK, 0)
}

func (m *machine) give(reply, out []byte, missing string) abi.Status {
	switch {
	case reply == nil:
		m.pending = []byte(missing)
		return abi.MakeStatus(abi.NotFound, uint32(len(missing)))
	case len(reply) > len(out):
		m.pending = reply
		return abi.MakeStatus(abi.More, uint32(len(reply)))
	}
	return abi.MakeStatus(abi.OK, uint32(copy(out, reply)))
}

func TestModuleImportsOnlyWhatItReaches(t *testing.T) {
	t.Parallel()
	for _, f := range start(t, build(t, "little")).code.ImportedFunctions() {
		if module, name, _ := f.Import(); strings.HasPrefix(module, abi.ModulePrefix) {
			t.Errorf("a greeting imports %s.%s", module, name)
		}
	}
}

func TestModuleSpeaksTheABI(t *testing.T) {
	t.Parallel()
	m := start(t, build(t, "every"))
	var imported []string
	for _, f := range m.code.ImportedFunctions() {
		module, name, _ := f.Import()
		if c, ours := strings.CutPrefix(module, abi.ModulePrefix); ours {
			imported = append(imported, c+"."+name)
		}
	}
	if len(imported) != len(abi.Functions) {
		t.Errorf("it imports %d host functions of %d: %v", len(imported), len(abi.Functions), imported)
	}
	kind, body, err := m.call("every.function", "{}")
	if err != nil || kind != abi.FrameJSON {
		t.Fatal(kind, body, err)
	}
	var got struct{ Lines []string }
	if err := json.Unmarshal([]byte(body), &got); err != nil {
		t.Fatal(err)
	}
	compare(t, "what the guest saw", got.Lines, `
put <nil>
get small <nil>
put big <nil>
get big 100000 7 <nil>
get absent not_found: no such key
batch <nil>
key big 100000 <nil>
key k 5 <nil>
delete <nil>
emit <nil>
state put <nil>
state get kept <nil>
now 2023-11-14T22:13:20Z <nil>
elapsed 472222h13m20s <nil>
random <nil> 01020304
list [{/f/a 5000 file 1}] true <nil>
stat 5000 <nil>
read 5000 <nil>
write <nil>
remove <nil>
open true <nil>
create true <nil>
mac secret.mac of data <nil>
sign secret.sign of data <nil>
public public <nil>
unpack {Format:zip Files:2 Folders:1 Bytes:7 Skipped:0 Depth:1} <nil>
config <nil> configured
stream in stream <nil>
stream in 0 EOF
stream out 1048581 <nil>
send <nil>
close <nil> <nil>
close again invalid
call back <nil>
call broken busy: not now
fetch 200 text/plain "the answer" <nil>
close <nil>
get no such name
upload 1048581 <nil>
uploaded 200 <nil>
socket 200 <nil> <nil>
received back true <nil>
received EOF, close <nil>
complete "an answer" {InferEngine:{Engine:e Kind:neural Model:m} Finish:stop Usage:{Prompt:1 Cached:0 Output:2 Doubtful:false} USDMicros:7} <nil>
complete no such model
embed [[1 0.5] [2 0.5]] <nil>
rerank [0.25] <nil>
count 4 <nil>`)
	compare(t, "what the host saw", m.log, `
log.write 2 a line
log.write 1 structured a=1 g.b="two words" g.h.c=true
kv.put k
kv.get k
kv.put big
kv.get big
kv.get absent
kv.batch
kv.list {"prefix":"","after":"","limit":0}
kv.delete x
event.emit every.happened {"word":"yes"}
state.put every.state
state.get every.state
clock.now
clock.monotonic
rand.bytes
fs.list {"path":"/f"}
fs.stat /f/a
fs.read /f/a
fs.read /f/a
fs.write /f/b
fs.remove /f/b
fs.open /f/a
fs.create /f/c
secret.mac hook
secret.sign signer
secret.public signer
archive.unpack {"from":"/f/a.zip","to":"/f/out"}
config.get recipes/words
stream.read 0
stream.read 0
stream.write 1 1048576
stream.write 1 5
stream.send 1 {"word":"part"}
stream.close 0
stream.close 1
stream.close 1
action.call other/pack:tool
action.call other/pack:broken
http.fetch {"method":"POST","url":"https://x.example.com/a","headers":[["A","b"]]} body
stream.read 2
stream.read 2
stream.close 2
http.fetch {"url":"https://nowhere.example.com/"} 
http.open {"method":"PUT","url":"https://x.example.com/b"}
stream.write 3 1048576
stream.write 3 5
http.response 3
stream.close 3
http.connect {"url":"wss://x.example.com/s"}
http.send 4 "hello"
http.send 4 "\x01"
http.receive 4
http.receive 4
stream.close 4
infer.generate {"prompt":"p","max_tokens":2}
stream.read 5
stream.read 5
infer.finish 5
stream.close 5
infer.generate {"model":"none","prompt":"p"}
infer.embed {"model":"m","texts":["a","b"]}
infer.rerank {"query":"q","documents":["d"]}
infer.tokenize {"prompt":"text","count":true}`)
}

func compare(t *testing.T, what string, got []string, want string) {
	t.Helper()
	if g := "\n" + strings.Join(got, "\n"); g != want {
		t.Errorf("%s:%s\nwant:%s", what, g, want)
	}
}

func TestModuleAnswersWhateverHappens(t *testing.T) {
	t.Parallel()
	m := start(t, build(t, "every"))
	_, _, err := m.call("every.fail", "{}")
	e, ok := err.(*abi.Error)
	if !ok || e.Code != abi.Conflict || e.Msg != "the tide is out: come back" || string(e.Detail.(json.RawMessage)) != `{"hours":6}` {
		t.Errorf("a tool's own error: %#v", err)
	}
	if _, _, err = m.call("every.panic", "[1]"); abi.CodeOf(err) != abi.Trap || !strings.Contains(err.Error(), "index out of range [3] with length 1 (main.go:") {
		t.Errorf("a panic: %v", err)
	}
	if _, _, err = m.call("every.panic", `[1,"x"]`); abi.CodeOf(err) != abi.Invalid || !strings.Contains(err.Error(), `at "/1" (byte 3): expected an integer, found a string`) {
		t.Errorf("a bad input: %v", err)
	}
	if _, _, err = m.call("every.none", "{}"); abi.CodeOf(err) != abi.NotFound {
		t.Errorf("an unknown tool: %v", err)
	}
	for _, n := range []uint32{0, 1, 5000, 3 << 20, 10} {
		kind, body, err := m.call("every.big", string(binary.LittleEndian.AppendUint32(nil, n)))
		if err != nil || kind != abi.FrameBytes || len(body) != int(n) {
			t.Errorf("%d bytes: kind %d, %d bytes, %v", n, kind, len(body), err)
		}
	}
	_, body, err := m.call("_describe", "")
	if err != nil || !strings.Contains(body, `{"id":"every.keep","input":{"type":"object","properties":{"word":{"type":"string"}}`) {
		t.Errorf("description: %s, %v", body, err)
	}
}

// TestStringsOfASessionStay holds the arena to its promise over many calls, small and large.
func TestStringsOfASessionStay(t *testing.T) {
	t.Parallel()
	m := start(t, build(t, "every"))
	var want []string
	for i := range 60 {
		word := strings.Repeat(string('a'+byte(i%26)), 1+i*i)
		want = append(want, word)
		_, body, err := m.call("every.keep", `{"word":"`+word+`"}`)
		var got struct{ Lines []string }
		if err != nil || json.Unmarshal([]byte(body), &got) != nil || !slices.Equal(got.Lines, want) {
			t.Fatalf("after %d calls the session holds something else: %v", i+1, err)
		}
	}
}
