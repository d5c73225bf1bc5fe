package wasm_test

import (
	"bytes"
	"context"
	cryptorand "crypto/rand"
	"strings"
	"testing"
	"time"

	"github.com/arw-project/arw/abi"
	"github.com/arw-project/arw/host/internal/wasm"
)

// realHost is a host whose answers differ from call to call.
func realHost(kv *mapKV) wasm.Host {
	return wasm.Host{KV: kv, Clock: wallClock{}, Rand: cryptorand.Reader, Log: quiet{}}
}

type wallClock struct{}

func (wallClock) Now() time.Time           { return time.Now() }
func (wallClock) Monotonic() time.Duration { return time.Duration(time.Now().UnixNano()) }

type quiet struct{}

func (quiet) Write(context.Context, int, string) error { return nil }

// recorded runs a call under a recorder and reads the record back.
func recorded(t testing.TB, p *wasm.Program, req wasm.Call) (*wasm.Record, wasm.Reply, error) {
	t.Helper()
	req.Record = wasm.NewRecorder(wasm.RecordHead{Pack: "t/p", Release: "1.0.0", Digest: "sha256:00"}, 0)
	reply, err := p.Call(t.Context(), req)
	raw, rerr := req.Record.Bytes()
	if rerr != nil {
		t.Fatal(rerr)
	}
	rec, rerr := wasm.ParseRecord(raw)
	if rerr != nil {
		t.Fatal(rerr)
	}
	if !bytes.Equal(rec.Bytes(), raw) {
		t.Error("the record does not read back as it was written")
	}
	return rec, reply, err
}

func TestReplayIsTheSameToTheBit(t *testing.T) {
	t.Parallel()
	cut := wasm.Limits{Time: 30 * time.Millisecond, Gas: 1 << 50}
	tests := []struct {
		tool, input string
		limits      wasm.Limits
		code        abi.Code
	}{
		{"echo", "hello", wasm.Limits{}, abi.OK}, {"count", "", wasm.Limits{}, abi.OK}, {"get", "k", wasm.Limits{}, abi.OK},
		{"get", "long", wasm.Limits{}, abi.OK}, {"get", "none", wasm.Limits{}, abi.NotFound}, {"put", "a=b", wasm.Limits{}, abi.OK},
		{"time", "", wasm.Limits{}, abi.OK}, {"rand", "", wasm.Limits{}, abi.OK}, {"print", "", wasm.Limits{}, abi.OK},
		{"goroutines", "", wasm.Limits{}, abi.OK}, {"panic", "", wasm.Limits{}, abi.Trap}, {"exit", "", wasm.Limits{}, abi.Exited},
		{"nil", "", wasm.Limits{}, abi.Trap}, {"loop", "", wasm.Limits{Gas: 3_000_000}, abi.GasExhausted}, {"loop", "", cut, abi.Deadline},
		{"recurse", "", wasm.Limits{}, abi.DepthExceeded}, {"grow", "", wasm.Limits{}, abi.MemoryExhausted}, {"no such", "", wasm.Limits{}, abi.NotFound},
	}
	compiled, interpreted := open(t, wasm.Options{}), open(t, wasm.Options{Interpret: true})
	spec := wasm.Spec{Name: "t/p", Module: goGuest(t)}
	p, second := load(t, compiled, spec), load(t, interpreted, spec)
	for _, tc := range tests {
		t.Run(tc.tool+" "+tc.input+tc.code.String(), func(t *testing.T) {
			q := load(t, compiled, spec) // a program of its own: some of these tools quarantine theirs
			kv := &mapKV{m: map[string][]byte{"k": []byte("v"), "long": bytes.Repeat([]byte("x"), 100)}}
			rec, reply, err := recorded(t, q, wasm.Call{Tool: tc.tool, Input: []byte(tc.input), Effects: abi.Writes, Limits: tc.limits, Gate: openGate{}, Host: realHost(kv)})
			if abi.CodeOf(err) != tc.code {
				t.Fatal(err)
			}
			delete(kv.m, "k")
			for name, again := range map[string]*wasm.Program{"the same": q, "another": p, "the interpreter": second} {
				if name == "the interpreter" && (tc.code == abi.Deadline || tc.tool == "recurse" || tc.tool == "grow") {
					continue // minutes there
				}
				got, err := again.Replay(t.Context(), rec, false, 0, wasm.Limits{})
				if err != nil || !got.Equal || got.Divergence != nil || got.End.Gas != reply.Usage.Gas || !bytes.Equal(got.Reply, reply.Body) {
					t.Errorf("%s: %v, %v; gas %d then %d, reply %q then %q", name, err, got.Divergence, reply.Usage.Gas, got.End.Gas, reply.Body, got.Reply)
				}
			}
			if kv.m["a"] != nil && tc.tool != "put" {
				t.Error("something was written")
			}
		})
	}
}

func TestReplayReachesNothing(t *testing.T) {
	t.Parallel()
	e := open(t, wasm.Options{})
	for _, f := range abi.Functions {
		name := string(f.Capability) + "." + f.Name
		t.Run(name, func(t *testing.T) {
			p := load(t, e, wasm.Spec{Name: "t/p", Module: probe(f)})
			for what, change := range map[string]func(*recorder){
				"granted": func(*recorder) {},
				"refused": func(r *recorder) { r.refuse = abi.Errorf(abi.LeaseRevoked, "taken back") },
				"failing": func(r *recorder) { r.fail = abi.Errorf(abi.Unavailable, "away") },
				"large":   func(r *recorder) { r.value = bytes.Repeat([]byte("v"), 1000) },
			} {
				host := &recorder{value: []byte("value"), kind: abi.FrameJSON}
				change(host)
				in, out := &chunks{left: []string{"streamed"}}, &parts{}
				rec, reply, err := recorded(t, p, wasm.Call{
					Tool: "t", Input: words(t, f), Effects: abi.OpenWorld, Gate: host, Host: host.host(), In: in, Out: out,
				})
				if err != nil {
					t.Fatal(err)
				}
				before := len(host.log) + len(out.got) + len(in.left)
				got, err := p.Replay(t.Context(), rec, false, 0, wasm.Limits{})
				if err != nil || !got.Equal || !bytes.Equal(got.Reply, reply.Body) {
					t.Errorf("%s: %v, %+v", what, err, got.Divergence)
				}
				if after := len(host.log) + len(out.got) + len(in.left); after != before {
					t.Errorf("%s: the replay reached the host: %q", what, host.log[before:])
				}
				loose, err := p.Replay(t.Context(), rec, true, abi.OpenWorld, wasm.Limits{})
				if err != nil || !loose.Equal || len(loose.Changes) > 0 {
					t.Errorf("%s: as another version: %v, %+v, %+v", what, err, loose.Divergence, loose.Changes)
				}
			}
		})
	}
}

// words is the input for the probe that makes a plain call of a function, as do writes it.
func words(t *testing.T, f abi.Func) []byte {
	var b []byte
	for i := range f.Params {
		n := 0
		switch name := f.Params[i]; {
		case name == "handle" && f.Name != "read":
			n = 1
		case strings.HasSuffix(name, "_cap"):
			n = 64
		case i+1 < len(f.Params) && f.Params[i+1] == name+"_cap":
			n = windowAt
		case strings.HasSuffix(name, "_len"):
			n = 2
		case i+1 < len(f.Params) && f.Params[i+1] == name+"_len":
			n = roomAt + 1 + 4*len(f.Params)
		}
		b = append(b, byte(n), byte(n>>8), byte(n>>16), byte(n>>24))
	}
	return append(b, "{}"...)
}

func TestDivergenceIsNamed(t *testing.T) {
	t.Parallel()
	p := load(t, open(t, wasm.Options{}), wasm.Spec{Name: "t/p", Module: goGuest(t)})
	kv := &mapKV{m: map[string][]byte{"k": []byte("v")}}
	fresh := func() *wasm.Record {
		rec, _, err := recorded(t, p, wasm.Call{Tool: "get", Input: []byte("k"), Effects: abi.Writes, Gate: openGate{}, Host: realHost(kv)})
		if err != nil || len(rec.Calls) == 0 {
			t.Fatal(err, rec.Calls)
		}
		return rec
	}
	at := len(fresh().Calls) - 1 // kv.get is the last
	for name, tc := range map[string]struct {
		change        func(*wasm.Record)
		call          int
		expected, got string
	}{
		"another key":    {func(r *wasm.Record) { r.Calls[at].In[0].Bytes = []byte("z") }, at, `kv.get "z"`, `kv.get "k"`},
		"other function": {func(r *wasm.Record) { r.Calls[at].Name = "kv.list" }, at, `kv.list "k"`, `kv.get "k"`},
		"other room":     {func(r *wasm.Record) { r.Calls[at].Room = 7 }, at, "room for 7 bytes", "room for 64 bytes"},
		"one call less":  {func(r *wasm.Record) { r.Calls = r.Calls[:at] }, at, "no further call", `kv.get "k"`},
		"one call more":  {func(r *wasm.Record) { r.Calls = append(r.Calls, r.Calls[at]) }, at + 1, `kv.get "k"`, "the end of the call"},
		"other answer":   {func(r *wasm.Record) { r.Calls[at].Data = []byte("w") }, at + 1, `reply "v"`, `reply "w"`},
		"other gas":      {func(r *wasm.Record) { r.End.Gas++ }, at + 1, "gas", "gas"},
		"other code":     {func(r *wasm.Record) { r.End.Code = "denied" }, at + 1, "code denied", "code ok"},
		"other input":    {func(r *wasm.Record) { r.Input = []byte("q") }, at, `kv.get "k"`, `kv.get "q"`},
	} {
		t.Run(name, func(t *testing.T) {
			rec := fresh()
			tc.change(rec)
			got, err := p.Replay(t.Context(), rec, false, 0, wasm.Limits{})
			if err != nil || got.Equal || got.Divergence == nil {
				t.Fatal(err, got)
			}
			d := got.Divergence
			if d.Call != tc.call || !strings.Contains(d.Expected, tc.expected) || !strings.Contains(d.Got, tc.got) {
				t.Errorf("%+v", d)
			}
		})
	}
	if _, err := p.Call(t.Context(), wasm.Call{Tool: "echo"}); err != nil {
		t.Errorf("the next call: %v", err)
	}
}

func TestReplayOfAnotherVersion(t *testing.T) {
	t.Parallel()
	p := load(t, open(t, wasm.Options{}), wasm.Spec{Name: "t/p", Module: goGuest(t)})
	kv := &mapKV{m: map[string][]byte{"k": []byte("v")}}
	rec, _, err := recorded(t, p, wasm.Call{Tool: "put", Input: []byte("a=1"), Effects: abi.Writes, Gate: openGate{}, Host: realHost(kv)})
	if err != nil {
		t.Fatal(err)
	}
	rec.Head.Module = "sha256:00"
	if _, err := p.Replay(t.Context(), rec, false, 0, wasm.Limits{}); abi.CodeOf(err) != abi.DigestMismatch {
		t.Errorf("a record of another module: %v", err)
	}
	rec.Input = []byte("a=2") // what the "other version" does differently
	got, err := p.Replay(t.Context(), rec, true, abi.Writes, wasm.Limits{})
	if err != nil || got.Divergence != nil || got.Equal || len(got.Changes) != 2 ||
		got.Changes[0].Added || got.Changes[0].Text != `kv.put "a" "1"` || !got.Changes[1].Added || got.Changes[1].Text != `kv.put "a" "2"` {
		t.Errorf("%v %+v", err, got)
	}
	if string(kv.m["a"]) != "1" {
		t.Errorf("the replay wrote %q", kv.m["a"])
	}
	rec.Head.Tool, rec.Input = "get", []byte("unknown")
	if got, err = p.Replay(t.Context(), rec, true, abi.Writes, wasm.Limits{}); err != nil || got.Divergence == nil || got.Divergence.Got != `kv.get "unknown"` {
		t.Errorf("what the record cannot know: %v %+v", err, got)
	}
	rec.Head.Tool, rec.Input = "time", nil
	if got, err = p.Replay(t.Context(), rec, true, abi.Writes, wasm.Limits{}); err != nil || got.Divergence != nil || got.End.Code != "ok" {
		t.Errorf("clocks go on: %v %+v", err, got)
	}
}

func TestStreamsReplay(t *testing.T) {
	t.Parallel()
	p := load(t, open(t, wasm.Options{}), wasm.Spec{Name: "t/p", Module: streamGuest()})
	rec, _, err := recorded(t, p, wasm.Call{Tool: "t", In: &zeros{300_000}, Out: &parts{}})
	if err != nil {
		t.Fatal(err)
	}
	for _, other := range []bool{false, true} {
		if got, err := p.Replay(t.Context(), rec, other, 0, wasm.Limits{}); err != nil || !got.Equal {
			t.Errorf("other version %t: %v %+v", other, err, got)
		}
	}
	if n := len(rec.Bytes()); n > 400_000 {
		t.Errorf("the record has %d bytes: what the guest gave out is kept as digests", n)
	}
}

func TestRecordHasALimit(t *testing.T) {
	t.Parallel()
	p := load(t, open(t, wasm.Options{}), wasm.Spec{Name: "t/p", Module: streamGuest()})
	rec, out := wasm.NewRecorder(wasm.RecordHead{}, 100_000), &parts{}
	if _, err := rec.Bytes(); abi.CodeOf(err) != abi.Invalid {
		t.Errorf("before the call: %v", err)
	}
	if _, err := p.Call(t.Context(), wasm.Call{Tool: "t", In: &zeros{300_000}, Out: out, Record: rec}); err != nil || out.bytes != 300_000 {
		t.Errorf("the call suffers: %v, %d bytes", err, out.bytes)
	}
	if _, err := rec.Bytes(); abi.CodeOf(err) != abi.TooLarge || !strings.Contains(err.Error(), "100000") {
		t.Errorf("the record: %v", err)
	}
	_, err := p.Call(t.Context(), wasm.Call{Tool: "t", Session: "s", Record: wasm.NewRecorder(wasm.RecordHead{}, 0)})
	if abi.CodeOf(err) != abi.Unsupported {
		t.Errorf("a session: %v", err)
	}
}

func FuzzParseRecord(f *testing.F) {
	r := &wasm.Record{Head: wasm.RecordHead{Version: 1, Tool: "t"}, Input: []byte("{}"), Reply: []byte("1"), End: wasm.RecordEnd{Code: "ok"}}
	f.Add(r.Bytes())
	r.Calls = []wasm.HostCall{
		{Name: "kv.get", Args: []uint64{1, 1 << 40}, In: []wasm.Given{{Len: 1, Bytes: []byte("k")}, {Len: 5000, Sum: [32]byte{1}}, {Len: 3, Outside: true}}, Room: 64, Data: []byte("v"), Moved: 2},
		{Name: "wasi.clock", Room: -1, Code: abi.Denied, Data: []byte("no")},
	}
	f.Add(r.Bytes())
	f.Add(r.Bytes()[:60])
	f.Fuzz(func(t *testing.T, raw []byte) {
		rec, err := wasm.ParseRecord(raw)
		if err != nil {
			if c := abi.CodeOf(err); c != abi.Corrupt && c != abi.Unsupported {
				t.Errorf("%v", err)
			}
			return
		}
		if !bytes.Equal(rec.Bytes(), raw) {
			t.Errorf("%q reads as\n%q", raw, rec.Bytes())
		}
	})
}
