package wasm

import (
	"bytes"
	"context"
	"errors"
	"strings"
	"time"

	"github.com/tetratelabs/wazero/api"

	"github.com/arw-project/arw/abi"
	"github.com/arw-project/arw/host/internal/wasm/rewrite"
)

// Call asks for one call of a tool.
type Call struct {
	Tool    string // the tool's id
	Input   []byte
	Session string // not empty: the call continues the state of the session's last one
	Effects abi.Effect
	Limits  Limits // zero fields mean the program's
	Gate    Gate   // nil refuses everything but io and stream
	Host    Host
	In      Source    // handle 0 of arw:stream; nil: the caller streams nothing in
	Out     Sink      // handle 1; nil: the caller takes no parts
	Record  *Recorder // keeps what the call sees; nil: nothing does

	player *player         // answers instead of Gate, Host, In and Out
	ended  func(RecordEnd) // how a replay ended
}

// Reply is what came of a call. Body belongs to the caller. Usage is set also when the call failed.
type Reply struct {
	Kind  abi.FrameKind
	Body  []byte
	Usage Usage
}

// Usage is what a call took. Gas is the same number in every run of the same call against the same answers of the host.
type Usage struct {
	Gas         uint64
	HostCalls   int
	Wall        time.Duration
	MemoryBytes int64 // the guest's memory at its largest
}

// Call runs a tool. It returns the guest's value, or an *abi.Error: with Reply.Kind FrameError it is the tool's own answer
// (the code is the tool's choice); with any other kind the call itself failed: Denied and the like never come from
// here but go to the guest; Deadline, Cancelled, GasExhausted, MemoryExhausted, DepthExceeded, Trap, Exited and Invalid (a broken
// reply) are the guest's doing; TooLarge an input or output above its limit; Busy too many calls waiting; Quarantined a
// guest that failed too often; Unavailable a closed program; Internal a fault of ours. The next call is fine in any case.
func (p *Program) Call(ctx context.Context, req Call) (Reply, error) {
	reply, err := p.invoke(ctx, &req)
	if err != nil && reply.Kind != abi.FrameError {
		err = abi.Errorf(abi.CodeOf(err), "call %q of %q: %w", req.Tool, p.spec.Name, err).WithHint("%s", abi.HintOf(err))
	}
	return reply, err
}

func (p *Program) invoke(ctx context.Context, req *Call) (Reply, error) {
	l := req.Limits.or(p.limits)
	if n := int64(len(req.Input)); n > l.Input {
		return Reply{}, abi.Errorf(abi.TooLarge, "the input has %d bytes, the limit is %d", n, l.Input).WithHint("send less, or raise limits.input in pack.toml")
	}
	if req.Record != nil && req.Session != "" {
		return Reply{}, abi.Errorf(abi.Unsupported, "record %q: it continues a session, whose earlier calls are not in the record", req.Tool).
			WithHint("call it without a session")
	}
	if req.player == nil { // a replay says nothing about how the pack fares
		if err := p.breaker.allow(time.Now); err != nil {
			return Reply{}, err
		}
	}
	start := p.engine.now()
	in, err := p.pool.get(ctx, req.Session, l.Time)
	if err != nil {
		return Reply{}, err
	}
	p.stats.calls.Add(1)
	if !in.machine.compiled {
		p.stats.interpreted.Add(1)
	}
	in.calls++
	c := &call{
		parent: ctx, in: in, kept: req.Session != "", tool: req.Tool, effects: req.Effects,
		output: l.Output, gate: req.Gate, host: req.Host,
		streams:  streams{in: req.In, out: req.Out, left: l.Streamed, limit: l.Streamed},
		recorder: req.Record, player: req.player,
	}
	c.due.Store(int64(start + l.Time))
	if c.recorder != nil {
		c.recorder.begin(c, l, req.Input)
	}
	pages := min(p.code.Cap, uint32(min(l.MemoryBytes/pageSize, maxPages)))
	in.begin(c, l, pages)
	reply, runErr := in.exchange(c, req)
	c.hangUp()
	used, err := in.end(c, runErr)
	used.Wall = p.engine.now() - start
	reply.Usage = used
	if err != nil {
		reply.Body = nil
	}
	if c.recorder != nil {
		c.recorder.end(c, reply, err)
	}
	if req.ended != nil {
		req.ended(endOf(c, reply, err))
	}
	if req.player == nil {
		p.breaker.record(reply.Kind, err, time.Now)
	}
	if fatal(reply.Kind, err) {
		p.stats.failures.Add(1)
		in.spent = true
	}
	p.pool.give(in, req.Session)
	return reply, err
}

// fatal says whether the instance that answered so is to be thrown away.
func fatal(kind abi.FrameKind, err error) bool { return err != nil && kind != abi.FrameError }

// begin sets the bounds.
func (in *instance) begin(c *call, l Limits, pages uint32) {
	c.allowed = min(l.Gas, 1<<62)
	in.gas.Set(0)
	in.limit.Set(min(c.allowed, slice))
	in.depth.Set(uint64(min(l.Depth, 1<<30)))
	in.why.Set(0)
	in.mem.crowded = false
	if in.pagesNow != pages {
		in.pages.Set(uint64(pages))
		in.pagesNow = pages
	}
	in.current = c
}

// end finds out how the call ended.
func (in *instance) end(c *call, err error) (Usage, error) {
	if c.player != nil {
		c.player.ending = true
	}
	c.flush(0)
	c.flush(1)
	in.current = nil
	c.finish()
	u := Usage{Gas: in.gas.Get(), HostCalls: c.hostCalls, MemoryBytes: int64(len(in.mem.buf))}
	if err == nil {
		return u, nil
	}
	if e, ok := errors.AsType[*abi.Error](err); ok {
		return u, e
	}
	return u, in.explain(c, err)
}

// exchange writes the request, calls, and reads the reply.
func (in *instance) exchange(c *call, req *Call) (Reply, error) {
	if in.plug != nil {
		return in.exchangePlugin(c, req)
	}
	tool, input := uint32(len(req.Tool)), uint32(len(req.Input))
	if need := tool + input; need > in.inCap {
		if err := in.alloc(c, need); err != nil {
			if errors.Is(err, errNoRoom) {
				err = in.noRoom(need)
			}
			return Reply{}, err
		}
	}
	at := in.inPtr
	copy(in.mem.buf[at:], req.Tool)
	copy(in.mem.buf[at+tool:], req.Input)
	in.stack = [4]uint64{uint64(at), uint64(tool), uint64(at + tool), uint64(input)}
	if err := in.run(c, in.fnCall, 4); err != nil {
		return Reply{}, err
	}
	ptr, n := abi.Unpack(in.stack[0])
	if int64(n) > c.output {
		return Reply{}, abi.Errorf(abi.TooLarge, "the reply has %d bytes, the limit is %d", n, c.output).WithHint("answer with less, or raise limits.output in pack.toml")
	}
	frame, ok := c.bytes(ptr, n)
	if !ok {
		return Reply{}, abi.Errorf(abi.Invalid, "the reply lies outside memory: %d bytes at %d of %d", n, ptr, len(in.mem.buf))
	}
	kind, body, err := abi.ParseFrame(frame)
	if err != nil {
		if e, ok := errors.AsType[*abi.Error](err); ok {
			e.Msg = clean(e.Msg, maxMessage)
		}
		return Reply{Kind: kind}, err
	}
	return Reply{Kind: kind, Body: bytes.Clone(body)}, nil
}

func (in *instance) noRoom(need uint32) error {
	if in.mem.crowded {
		return abi.Errorf(abi.Busy, "%w", errCrowded).WithHint("try again when other calls have ended")
	}
	if api.DecodeI32(in.why.Get()) == rewrite.WhyMemory {
		return abi.Errorf(abi.MemoryExhausted, "no room for a request of %d bytes within the memory limit", need)
	}
	return abi.Errorf(abi.TooLarge, "arw_alloc gives no room for a request of %d bytes", need)
}

// explain turns the engine's error into ours.
func (in *instance) explain(c *call, err error) error {
	why := api.DecodeI32(in.why.Get())
	switch {
	case c.inside != "" && !c.exited:
		in.p.engine.log.ErrorContext(c, "host function failed", "pack", in.p.spec.Name, "function", c.inside, "error", err)
		return abi.Errorf(abi.Internal, "the host's %s failed", c.inside)
	case c.stopped != nil:
		return abi.Errorf(abi.CodeOf(c.stopped), "%w", c.stopped)
	case why == rewrite.WhyGas:
		return abi.Errorf(abi.GasExhausted, "it used up its gas")
	case why == rewrite.WhyDepth, strings.Contains(err.Error(), "stack overflow"):
		return abi.Errorf(abi.DepthExceeded, "its calls nest too deep")
	case why == rewrite.WhyMemory && in.mem.crowded:
		return abi.Errorf(abi.Busy, "%w", errCrowded).WithHint("try again when other calls have ended")
	case why == rewrite.WhyMemory:
		return abi.Errorf(abi.MemoryExhausted, "it asked for more than %d KiB of memory%s", in.pages.Get()*64, c.lastWords())
	case c.exited:
		return abi.Errorf(abi.Exited, "the guest exited with status %d%s", c.exitCode, c.lastWords())
	case errors.Is(err, errNoRoom):
		return in.noRoom(inputRoom)
	}
	return abi.Errorf(abi.Trap, "the guest trapped: %s%s", trapText(err), c.lastWords())
}

// trapText is the engine's reason and the innermost functions.
func trapText(err error) string {
	lines := strings.Split(err.Error(), "\n")
	text := strings.TrimPrefix(lines[0], "wasm error: ")
	text = strings.TrimSuffix(text, " (recovered by wazero)")
	var frames []string
	for _, l := range lines[1:] {
		if l = strings.TrimSpace(l); l != "" && !strings.HasSuffix(l, ":") && len(frames) < 3 {
			name, _, _ := strings.Cut(l, "(")
			frames = append(frames, name)
		}
	}
	if len(frames) > 0 {
		text += " in " + strings.Join(frames, " < ")
	}
	return clean(text, maxMessage)
}

const maxMessage = 4 << 10

// clean bounds a guest's text and makes it valid UTF-8.
func clean(s string, most int) string {
	if len(s) > most {
		s = s[:most] + "…"
	}
	return strings.ToValidUTF8(s, "\uFFFD")
}

// lastWords is what the guest wrote to its standard error before it fell: from the last line that looks like a crash, else
// the last lines.
func (c *call) lastWords() string {
	if c.wasi == nil {
		return ""
	}
	lines := strings.FieldsFunc(string(c.wasi.head)+string(c.wasi.tail), func(r rune) bool { return r == '\n' || r == '\r' })
	from := max(0, len(lines)-lastLines)
	for i, l := range lines {
		if strings.HasPrefix(l, "panic: ") || strings.HasPrefix(l, "fatal error: ") || strings.Contains(l, "panicked at") {
			from = i
		}
	}
	if from == len(lines) {
		return ""
	}
	words := strings.Join(lines[from:min(from+lastLines, len(lines))], " | ")
	return "; it last said: " + clean(words, maxWords)
}

const (
	lastLines = 3
	maxWords  = 400
)
