package wasm

import (
	"context"
	"unicode/utf8"

	"github.com/tetratelabs/wazero/api"

	"github.com/arw-project/arw/abi"
	"github.com/arw-project/arw/host/internal/wasm/rewrite"
)

// hostFunc is one function of the ABI and what it does. Arguments are i32 in the low halves of a.
type hostFunc struct {
	abi.Func
	granted func(*Host) bool
	run     func(c *call, a []uint64) abi.Status
	denied  string // the message when the capability was not granted
	ungated string // the message when there is no gate
}

// hostFuncs joins the ABI's table with the implementations; a function without one is not linked, which a test forbids.
func hostFuncs() []hostFunc {
	runs := map[string]func(*call, []uint64) abi.Status{
		"io.take": ioTake, "log.write": logWrite,
		"stream.read": streamRead, "stream.write": streamWrite, "stream.send": streamSend, "stream.close": streamClose,
		"kv.get": kvGet, "kv.put": kvPut, "kv.delete": kvDelete, "kv.list": kvList, "kv.batch": kvBatch,
		"event.emit": eventEmit, "state.get": stateGet, "state.put": statePut,
		"fs.list": fsList, "fs.stat": fsStat, "fs.read": fsRead, "fs.write": fsWrite, "fs.remove": fsRemove,
		"clock.now": clockNow, "clock.monotonic": clockMonotonic, "rand.bytes": randBytes, "action.call": actionCall,
		"secret.public": secretPublic, "secret.mac": secretMAC, "secret.sign": secretSign, "archive.unpack": archiveUnpack, "config.get": configGet,
		"http.fetch": httpFetch, "http.open": httpOpen, "http.response": httpResponse, "http.connect": httpConnect, "http.send": httpSend, "http.receive": httpReceive,
		"infer.generate": inferGenerate, "infer.finish": inferFinish, "infer.embed": inferEmbed, "infer.rerank": inferRerank, "infer.tokenize": inferTokenize,
	}
	granted := map[abi.Capability]func(*Host) bool{
		abi.IO:     func(*Host) bool { return true },
		abi.Stream: func(*Host) bool { return true },
		abi.Log:    func(h *Host) bool { return h.Log != nil },
		abi.KV:     func(h *Host) bool { return h.KV != nil },
		abi.Event:  func(h *Host) bool { return h.Event != nil },
		abi.State:  func(h *Host) bool { return h.State != nil },
		abi.FS:     func(h *Host) bool { return h.FS != nil },
		abi.Clock:  func(h *Host) bool { return h.Clock != nil },
		abi.Rand:   func(h *Host) bool { return h.Rand != nil },
		abi.Action: func(h *Host) bool { return h.Action != nil },
		abi.Secret: func(h *Host) bool { return h.Secret != nil },
		// What is unpacked lies in folders, so it needs those too.
		abi.Archive: func(h *Host) bool { return h.Archive != nil },
		abi.Config:  func(h *Host) bool { return h.Config != nil },
		abi.HTTP:    func(h *Host) bool { return h.HTTP != nil },
		abi.Infer:   func(h *Host) bool { return h.Infer != nil },
	}
	var out []hostFunc
	for _, f := range abi.Functions {
		name := string(f.Capability) + "." + f.Name
		if runs[name] == nil || granted[f.Capability] == nil {
			continue
		}
		out = append(out, hostFunc{
			Func: f, granted: granted[f.Capability], run: runs[name],
			denied: name + ": [capabilities." + string(f.Capability) + "] is not in pack.toml, or nobody granted it; add [capabilities." +
				string(f.Capability) + "] with reason = \"…\" and install the pack again",
			ungated: name + ": no lease covers this call",
		})
	}
	return out
}

// wrapHost makes the function the engine calls: refuse what the tool's declared effect or the grant does not cover, run, and
// charge the bytes moved.
func wrapHost(f hostFunc) api.GoModuleFunc {
	name := string(f.Capability) + "." + f.Name
	return func(ctx context.Context, _ api.Module, stack []uint64) {
		c := ctx.(*call)
		c.hostCalls++
		c.inside = name
		if c.recorder == nil && c.player == nil {
			stack[0] = uint64(f.judge(c, stack))
		} else {
			stack[0] = uint64(c.taped(&f, stack, func() abi.Status { return f.judge(c, stack) }))
		}
		c.charge()
		c.inside = ""
	}
}

// judge refuses or runs.
func (f *hostFunc) judge(c *call, stack []uint64) abi.Status {
	switch {
	case c.effects < f.Effect:
		return c.deny(f.Capability, c.effectMessage(c.inside, f.Effect))
	case !f.granted(&c.host):
		return c.deny(f.Capability, f.denied)
	case c.gate == nil && !f.Capability.Ambient():
		return c.deny(f.Capability, f.ungated)
	}
	return f.run(c, stack)
}

func (c *call) effectMessage(name string, needs abi.Effect) string {
	return name + ": the tool " + quote(c.tool) + " declares effects = " + quote(c.effects.String()) + " in pack.toml; set effects = " +
		quote(needs.String()) + " for it"
}

func quote(s string) string { return `"` + s + `"` }

// charge adds the price of the bytes moved.
func (c *call) charge() {
	if c.moved >= rewrite.BytesPerGas {
		c.in.gas.Set(c.in.gas.Get() + uint64(c.moved/rewrite.BytesPerGas))
	}
	c.moved = 0
}

// bytes is the guest's memory at ptr; false when any of it lies outside. No sum of two 32-bit numbers wraps here.
func (c *call) bytes(ptr, n uint32) ([]byte, bool) {
	mem := c.in.mem
	if c.blocks != nil {
		mem = c.blocks
	}
	end := uint64(ptr) + uint64(n)
	if end > uint64(len(mem.buf)) {
		return nil, false
	}
	return mem.buf[ptr:end:end], true
}

// view returns the guest's memory that arguments i and i+1 name, for use before the host function returns.
func (c *call) view(a []uint64, i int) ([]byte, bool) {
	b, ok := c.bytes(uint32(a[i]), uint32(a[i+1]))
	c.moved += int64(len(b))
	return b, ok
}

// arg is a copy of what view returns, for whoever may keep it.
func (c *call) arg(a []uint64, i int) ([]byte, bool) {
	b, ok := c.view(a, i)
	return append(make([]byte, 0, len(b)), b...), ok
}

// text is arg for what must be text.
func (c *call) text(a []uint64, i int) (string, bool) {
	b, ok := c.view(a, i)
	return string(b), ok && utf8.Valid(b)
}

// deny is fail for what the engine itself denies, so that whoever answers for the call hears of it.
func (c *call) deny(capability abi.Capability, msg string) abi.Status {
	if w, ok := c.gate.(Witness); ok {
		w.Refused(c, capability, abi.Errorf(abi.Denied, "%s", msg))
	}
	return c.fail(abi.Denied, msg)
}

// fail leaves a message for io.take.
func (c *call) fail(code abi.Code, msg string) abi.Status {
	c.pending = []byte(msg)
	return abi.MakeStatus(code, uint32(len(msg)))
}

// outside is the answer to a pointer that does not point into memory, or to text that is none.
func (c *call) outside(what string) abi.Status {
	return c.fail(abi.Invalid, c.inside+": "+what+" lies outside memory")
}

func (c *call) badText(what string) abi.Status {
	return c.fail(abi.Invalid, c.inside+": "+what+" lies outside memory or is not UTF-8 text")
}

// refuse turns an error into a status. What is not an *abi.Error is the host's own and goes to its log.
func (c *call) refuse(err error) abi.Status {
	code, msg := abi.CodeOf(err), err.Error()
	switch code {
	case abi.OK, abi.More, abi.Internal:
		c.in.p.engine.log.ErrorContext(c, "host function failed", "pack", c.in.p.spec.Name, "tool", c.tool, "function", c.inside, "error", err)
		code, msg = abi.Internal, "a fault of the host"
	default:
		if hint := abi.HintOf(err); hint != "" {
			msg += ": " + hint
		}
	}
	return c.fail(code, c.inside+": "+clean(msg, maxMessage))
}

// use asks the gate.
func (c *call) use(cap abi.Capability, target string, n int) (scope string, err error) {
	return c.gate.Use(c, cap, target, n)
}

// useTool asks the gate for the call of a tool, and shows it the arguments where it wants to see them.
func (c *call) useTool(tool string, args []byte) error {
	if g, ok := c.gate.(Reader); ok {
		_, err := g.UseWith(c, tool, args)
		return err
	}
	_, err := c.use(abi.Action, tool, len(args))
	return err
}

// reply writes data to the buffer that arguments i and i+1 name, or keeps it for io.take.
func (c *call) reply(a []uint64, i int, data []byte) abi.Status {
	out, ok := c.bytes(uint32(a[i]), uint32(a[i+1]))
	if !ok {
		return c.outside("out")
	}
	if uint64(len(data)) > 1<<32-1 {
		return c.fail(abi.TooLarge, c.inside+": the reply is larger than memory")
	}
	if len(data) > len(out) {
		c.pending = data
		return abi.MakeStatus(abi.More, uint32(len(data)))
	}
	c.pending = nil
	c.moved += int64(len(data))
	return abi.MakeStatus(abi.OK, uint32(copy(out, data)))
}

// room checks an out buffer before an effect, so that nothing happens whose reply could not be given.
func (c *call) room(a []uint64, i int) ([]byte, bool) { return c.bytes(uint32(a[i]), uint32(a[i+1])) }

func ioTake(c *call, a []uint64) abi.Status {
	if c.pending == nil {
		return abi.MakeStatus(abi.NotFound, 0)
	}
	out, ok := c.room(a, 0)
	switch {
	case !ok:
		return abi.MakeStatus(abi.Invalid, 0) // what waits goes on waiting
	case len(out) < len(c.pending):
		return abi.MakeStatus(abi.More, uint32(len(c.pending)))
	}
	n := copy(out, c.pending)
	c.moved += int64(n)
	c.pending = nil
	return abi.MakeStatus(abi.OK, uint32(n))
}
