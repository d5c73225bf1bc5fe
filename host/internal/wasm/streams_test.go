package wasm_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"strings"
	"testing"
	"time"

	"github.com/arw-project/arw/abi"
	"github.com/arw-project/arw/host/internal/wasm"
)

// chunks is a source that gives one string a read.
type chunks struct {
	left   []string
	fail   error
	closed bool
}

func (s *chunks) Read(ctx context.Context, buf []byte) (int, error) {
	if s.fail != nil {
		return 0, s.fail
	}
	if len(s.left) == 0 {
		return 0, io.EOF
	}
	n := copy(buf, s.left[0])
	if s.left[0] = s.left[0][n:]; s.left[0] == "" {
		s.left = s.left[1:]
	}
	return n, nil
}

func (s *chunks) Close() error { s.closed = true; return s.fail }

// parts is a sink that keeps what it gets.
type parts struct {
	got    []string
	bytes  int
	fail   error
	closed bool
}

func (s *parts) Write(_ context.Context, kind abi.FrameKind, part []byte) error {
	if s.fail != nil {
		return s.fail
	}
	s.bytes += len(part)
	if len(s.got) < 100 {
		s.got = append(s.got, fmt.Sprintf("%d:%s", kind, part))
	}
	return nil
}

func (s *parts) Close() error { s.closed = true; return nil }

func TestStreamFunctions(t *testing.T) {
	t.Parallel()
	big := strings.Repeat("x", 40)
	tests := map[string]struct {
		fn   string
		args []any
		in   []string
		fail error
		none bool // nothing is attached
		code abi.Code
		data string // what was read
		out  string // what arrived
		msg  string
	}{
		"read":                  {fn: "read", args: []any{0, windowAt, 64}, in: []string{"abc", "d"}, data: "abc"},
		"read into little":      {fn: "read", args: []any{0, windowAt, 2}, in: []string{"abc"}, data: "ab"},
		"read the end":          {fn: "read", args: []any{0, windowAt, 64}},
		"read no room":          {fn: "read", args: []any{0, windowAt, 0}, in: []string{"abc"}, code: abi.Invalid, msg: "no room"},
		"read nothing attached": {fn: "read", args: []any{0, windowAt, 64}, none: true, code: abi.NotFound, msg: "streams nothing in"},
		"read the output":       {fn: "read", args: []any{1, windowAt, 64}, code: abi.Invalid, msg: "output"},
		"read unknown":          {fn: "read", args: []any{7, windowAt, 64}, code: abi.Invalid, msg: "no handle 7"},
		"read -1":               {fn: "read", args: []any{-1, windowAt, 64}, code: abi.Invalid, msg: "no handle 4294967295"},
		"read fails":            {fn: "read", args: []any{0, windowAt, 64}, fail: abi.Errorf(abi.Unavailable, "the line broke"), code: abi.Unavailable, msg: "the line broke"},
		"read fails inside":     {fn: "read", args: []any{0, windowAt, 64}, fail: errors.New("/secret"), code: abi.Internal, msg: "a fault of the host"},
		"read a lie":            {fn: "read", args: []any{0, windowAt, 64}, in: []string{""}, code: abi.Internal},

		"write":                  {fn: "write", args: []any{1, "hello"}, out: "1:hello"},
		"write nothing":          {fn: "write", args: []any{1, ""}},
		"write nothing attached": {fn: "write", args: []any{1, "hello"}, none: true, code: abi.NotFound, msg: "takes no stream"},
		"write the input":        {fn: "write", args: []any{0, "hello"}, code: abi.Invalid, msg: "input"},
		"write unknown":          {fn: "write", args: []any{2, "hello"}, code: abi.Invalid, msg: "no handle 2"},
		"write too much":         {fn: "write", args: []any{1, big}, code: abi.TooLarge, msg: "limits.stream"},
		"write fails":            {fn: "write", args: []any{1, "hello"}, fail: abi.Errorf(abi.Cancelled, "the caller went away"), code: abi.Cancelled, msg: "went away"},

		"send":          {fn: "send", args: []any{1, `{"n":1}`}, out: `0:{"n":1}`},
		"send no JSON":  {fn: "send", args: []any{1, `{"n":`}, code: abi.Invalid, msg: "not JSON"},
		"send nothing":  {fn: "send", args: []any{1, ``}, code: abi.Invalid, msg: "not JSON"},
		"send to input": {fn: "send", args: []any{0, `1`}, code: abi.Invalid, msg: "input"},

		"close the input":        {fn: "close", args: []any{0}},
		"close the output":       {fn: "close", args: []any{1}},
		"close unknown":          {fn: "close", args: []any{9}, code: abi.Invalid, msg: "no handle 9"},
		"close nothing attached": {fn: "close", args: []any{1}, none: true, code: abi.NotFound, msg: "not attached"},
		"close fails":            {fn: "close", args: []any{0}, fail: abi.Errorf(abi.Unavailable, "stuck"), code: abi.Unavailable, msg: "stuck"},
	}
	e := open(t, wasm.Options{})
	for name, tc := range tests {
		t.Run(name, func(t *testing.T) {
			p := load(t, e, wasm.Spec{Name: "t/p", Module: probe(function("stream." + tc.fn))})
			in, out := &chunks{left: tc.in, fail: tc.fail}, &parts{fail: tc.fail}
			// No gate and a pure tool: a stream is the caller's, and needs no lease.
			req := wasm.Call{Tool: "t", In: in, Out: out, Limits: wasm.Limits{Streamed: 32}}
			if tc.none {
				req.In, req.Out = nil, nil
			}
			got := do(t, p, req, tc.args...)
			if got.status.Code() != tc.code {
				t.Fatalf("status %s (%s), want %s", got.status.Code(), got.message(), tc.code)
			}
			if tc.code == abi.OK && got.data() != tc.data {
				t.Errorf("read %q, want %q", got.data(), tc.data)
			}
			if arrived := strings.Join(out.got, " "); arrived != tc.out {
				t.Errorf("%q arrived, want %q", arrived, tc.out)
			}
			if tc.code != abi.OK && (!strings.Contains(got.message(), tc.msg) || !strings.HasPrefix(got.message(), "stream."+tc.fn)) {
				t.Errorf("message %q, want something about %q", got.message(), tc.msg)
			}
		})
	}
}

// streamGuest copies its input stream to its output in chunks of its one buffer at 64 KiB, closes both, tries each once
// more, and answers with the two last statuses.
func streamGuest() []byte {
	m := guest(2, -1)
	read := m.imp("arw:stream", "read", "iii", "l")
	write := m.imp("arw:stream", "write", "iii", "l")
	closeFn := m.imp("arw:stream", "close", "i", "l")
	m.abiAlloc()
	m.fn("arw_call", "iiii", "l", "l", // local 4: the last status
		block(loop(
			i32c(0), i32c(65536), i32c(65536), callf(read), tee(4), wrap, op(0x45), brif(1), // 0 bytes: the end
			get(4), i64c(32), op(0x88), wrap, brif(1), // refused
			i32c(1), i32c(65536), get(4), wrap, callf(write), tee(4), i64c(32), op(0x88), wrap, brif(1),
			br(0),
		)),
		i32c(0), callf(closeFn), drop, i32c(1), callf(closeFn), drop,
		i32c(4096), i32c(1), store8(0),
		i32c(4096), get(4), store64(1),
		i32c(4096), i32c(0), i32c(65536), i32c(8), callf(read), store64(9),
		i32c(4096), i32c(1), i32c(65536), i32c(8), callf(write), store64(17),
		packed(i32c(4096), i32c(25)))
	return m.build()
}

// zeros is an endless source up to a length.
type zeros struct{ left int64 }

func (z *zeros) Read(_ context.Context, buf []byte) (int, error) {
	if z.left == 0 {
		return 0, io.EOF
	}
	n := int(min(z.left, int64(len(buf))))
	clear(buf[:n])
	z.left -= int64(n)
	return n, nil
}

func (z *zeros) Close() error { return nil }

func TestAHundredMegabytesNeedNoMemory(t *testing.T) {
	t.Parallel()
	const size = 100_000_000
	p := load(t, open(t, wasm.Options{}), wasm.Spec{Name: "t/p", Module: streamGuest()})
	out := &parts{}
	r, err := p.Call(t.Context(), wasm.Call{Tool: "t", In: &zeros{size}, Out: out, Limits: wasm.Limits{Time: time.Minute}})
	if err != nil {
		t.Fatal(err)
	}
	if out.bytes != size || !out.closed {
		t.Errorf("%d bytes arrived, closed %t", out.bytes, out.closed)
	}
	if r.Usage.MemoryBytes > 128<<10 {
		t.Errorf("the guest had %d bytes of memory", r.Usage.MemoryBytes)
	}
	if least := uint64(2 * size / 8); r.Usage.Gas < least {
		t.Errorf("gas %d, the bytes alone cost %d", r.Usage.Gas, least)
	}
	var after [3]abi.Status
	for i := range after {
		after[i] = abi.Status(le(r.Body[8*i:]))
	}
	if after[0] != 0 || after[1].Code() != abi.Invalid || after[2].Code() != abi.Invalid {
		t.Errorf("the end %v, a read after close %s, a write after close %s", after[0], after[1].Code(), after[2].Code())
	}
}

func le(b []byte) (v uint64) {
	for i := range 8 {
		v |= uint64(b[i]) << (8 * i)
	}
	return v
}

func TestAStreamEndsAtItsLimit(t *testing.T) {
	t.Parallel()
	p := load(t, open(t, wasm.Options{}), wasm.Spec{Name: "t/p", Module: streamGuest()})
	out := &parts{}
	r, err := p.Call(t.Context(), wasm.Call{Tool: "t", In: &zeros{1 << 20}, Out: out, Limits: wasm.Limits{Streamed: 200 << 10}})
	if err != nil || out.bytes != 192<<10 || abi.Status(le(r.Body)).Code() != abi.TooLarge {
		t.Errorf("%d bytes arrived, then %s; %v", out.bytes, abi.Status(le(r.Body)).Code(), err)
	}
}

// blocked is a source and sink that waits for the end of the call.
type blocked struct{ began chan struct{} }

func (b blocked) Read(ctx context.Context, _ []byte) (int, error) {
	close(b.began)
	<-ctx.Done()
	return 0, ctx.Err()
}

func (b blocked) Write(ctx context.Context, _ abi.FrameKind, _ []byte) error {
	close(b.began)
	<-ctx.Done()
	return ctx.Err()
}

func (b blocked) Close() error { return nil }

func TestABlockedStreamEndsWithItsCall(t *testing.T) {
	t.Parallel()
	p := load(t, open(t, wasm.Options{}), wasm.Spec{Name: "t/p", Module: streamGuest()})
	for name, req := range map[string]func(blocked) wasm.Call{
		"read":  func(b blocked) wasm.Call { return wasm.Call{In: b, Out: &parts{}} },
		"write": func(b blocked) wasm.Call { return wasm.Call{In: &zeros{1 << 20}, Out: b} },
	} {
		t.Run(name+" cancelled", func(t *testing.T) {
			ctx, cancel := context.WithCancel(t.Context())
			b := blocked{make(chan struct{})}
			go func() { <-b.began; cancel() }()
			call := req(b)
			call.Tool = "t"
			if r, err := p.Call(ctx, call); err == nil && abi.Status(le(r.Body)).Code() != abi.Cancelled {
				t.Errorf("the guest saw %s", abi.Status(le(r.Body)).Code())
			}
		})
		t.Run(name+" deadline", func(t *testing.T) {
			call := req(blocked{make(chan struct{})})
			call.Tool, call.Limits.Time = "t", 20*time.Millisecond
			start := time.Now()
			if r, err := p.Call(t.Context(), call); err == nil && abi.Status(le(r.Body)).Code() != abi.Deadline {
				t.Errorf("the guest saw %s", abi.Status(le(r.Body)).Code())
			}
			if took := time.Since(start); took > 5*time.Second {
				t.Errorf("it took %s", took)
			}
		})
	}
}

func TestStreamsBelongToTheirCall(t *testing.T) {
	t.Parallel()
	p := load(t, open(t, wasm.Options{}), wasm.Spec{Name: "t/p", Module: streamGuest()})
	for i := range 3 {
		in, out := strings.Repeat("ab", 1+i), &parts{}
		if _, err := p.Call(t.Context(), wasm.Call{Tool: "t", Session: "s", In: &chunks{left: []string{in}}, Out: out}); err != nil {
			t.Fatal(err)
		}
		if want := "1:" + in; !bytes.Equal([]byte(strings.Join(out.got, "")), []byte(want)) {
			t.Errorf("call %d of the session gave %q", i, out.got)
		}
	}
}
