package wasm

import (
	"bytes"
	"encoding/binary"
	"encoding/json"
	"fmt"
	"io"
	"unicode/utf8"

	"github.com/arw-project/arw/abi"
)

// maxLine bounds one line of a guest's log.
const maxLine = 16 << 10

// listLimit is the most entries of one list, and what a limit of 0 means.
const listLimit = 1000

var statusOK = abi.MakeStatus(abi.OK, 0)

// ok ends a function without a reply.
func (c *call) ok() abi.Status {
	c.pending = nil
	return statusOK
}

func logWrite(c *call, a []uint64) abi.Status {
	msg, ok := c.view(a, 1)
	if !ok {
		return c.outside("msg")
	}
	level := uint32(a[0])
	if level > 3 {
		return c.fail(abi.Invalid, fmt.Sprintf("log.write: level %d is not 0 (debug) to 3 (error)", level))
	}
	if _, err := c.use(abi.Log, "", len(msg)); err != nil {
		return c.refuse(err)
	}
	if err := c.host.Log.Write(c, int(level), clean(string(msg), maxLine)); err != nil {
		return c.refuse(err)
	}
	return c.ok()
}

func kvGet(c *call, a []uint64) abi.Status {
	key, ok := c.arg(a, 0)
	if _, fits := c.room(a, 2); !ok || !fits {
		return c.outside("key or out")
	}
	if _, err := c.use(abi.KV, "", 0); err != nil {
		return c.refuse(err)
	}
	val, err := c.host.KV.Get(c, key)
	if err != nil {
		return c.refuse(err)
	}
	return c.reply(a, 2, val)
}

func kvPut(c *call, a []uint64) abi.Status {
	key, ok := c.arg(a, 0)
	val, fits := c.arg(a, 2)
	if !ok || !fits {
		return c.outside("key or val")
	}
	if _, err := c.use(abi.KV, "", len(key)+len(val)); err != nil {
		return c.refuse(err)
	}
	if err := c.host.KV.Put(c, key, val); err != nil {
		return c.refuse(err)
	}
	return c.ok()
}

func kvDelete(c *call, a []uint64) abi.Status {
	key, ok := c.arg(a, 0)
	if !ok {
		return c.outside("key")
	}
	if _, err := c.use(abi.KV, "", 0); err != nil {
		return c.refuse(err)
	}
	if err := c.host.KV.Delete(c, key); err != nil {
		return c.refuse(err)
	}
	return c.ok()
}

type kvListRequest struct {
	Prefix string `json:"prefix"`
	After  string `json:"after"`
	Limit  int    `json:"limit"`
}

type kvListReply struct {
	Keys []kvListKey `json:"keys"`
	More bool        `json:"more"`
}

type kvListKey struct {
	Key  string `json:"key"`
	Size int    `json:"size"`
}

func kvList(c *call, a []uint64) abi.Status {
	var req kvListRequest
	if s, ok := c.request(a, &req); !ok {
		return s
	}
	limit, ok := pageLimit(req.Limit)
	if !ok {
		return c.fail(abi.Invalid, fmt.Sprintf("kv.list: limit %d is not 0 to %d", req.Limit, listLimit))
	}
	if _, err := c.use(abi.KV, "", 0); err != nil {
		return c.refuse(err)
	}
	keys, more, err := c.host.KV.List(c, []byte(req.Prefix), []byte(req.After), limit)
	if err != nil {
		return c.refuse(err)
	}
	out := kvListReply{Keys: make([]kvListKey, 0, len(keys)), More: more}
	for _, k := range keys {
		if !utf8.Valid(k.Key) {
			return c.fail(abi.Invalid, fmt.Sprintf("kv.list: key %x is not text and cannot be listed", k.Key))
		}
		out.Keys = append(out.Keys, kvListKey{string(k.Key), k.Size})
	}
	return c.replyJSON(a, 2, out)
}

// pageLimit is a list's limit; false when it is out of range.
func pageLimit(n int) (int, bool) {
	if n == 0 {
		n = listLimit
	}
	return n, n > 0 && n <= listLimit
}

// request reads a JSON request from arguments 0 and 1, after checking the out buffer of arguments 2 and 3.
func (c *call) request(a []uint64, into any) (abi.Status, bool) { return c.requestOut(a, 2, into) }

// requestOut is request with the out buffer somewhere else.
func (c *call) requestOut(a []uint64, out int, into any) (abi.Status, bool) {
	req, ok := c.view(a, 0)
	if _, fits := c.room(a, out); !ok || !fits {
		return c.outside("req or out"), false
	}
	dec := json.NewDecoder(bytes.NewReader(req))
	dec.DisallowUnknownFields()
	err := dec.Decode(into)
	if err == nil && len(bytes.TrimSpace(req[dec.InputOffset():])) > 0 {
		err = fmt.Errorf("something follows the object")
	}
	if err != nil {
		return c.fail(abi.Invalid, c.inside+": req: "+clean(err.Error(), maxMessage)), false
	}
	return statusOK, true
}

func (c *call) replyJSON(a []uint64, i int, v any) abi.Status {
	data, err := json.Marshal(v)
	if err != nil {
		return c.refuse(err)
	}
	return c.reply(a, i, data)
}

func kvBatch(c *call, a []uint64) abi.Status {
	raw, ok := c.arg(a, 0)
	if !ok {
		return c.outside("ops")
	}
	ops, err := parseBatch(raw)
	if err != nil {
		return c.fail(abi.Invalid, "kv.batch: "+err.Error())
	}
	if _, err := c.use(abi.KV, "", len(raw)); err != nil {
		return c.refuse(err)
	}
	if err := c.host.KV.Batch(c, ops); err != nil {
		return c.refuse(err)
	}
	return c.ok()
}

// parseBatch reads the operations of kv.batch; keys and values share raw's memory.
func parseBatch(raw []byte) ([]abi.KVOp, error) {
	var ops []abi.KVOp
	field := func() ([]byte, error) {
		if len(raw) < 4 {
			return nil, fmt.Errorf("op %d: a length is cut short", len(ops))
		}
		n := binary.LittleEndian.Uint32(raw)
		if uint64(n) > uint64(len(raw)-4) {
			return nil, fmt.Errorf("op %d: %d bytes are announced, %d follow", len(ops), n, len(raw)-4)
		}
		b := raw[4 : 4+n : 4+n]
		raw = raw[4+n:]
		return b, nil
	}
	for len(raw) > 0 {
		kind := raw[0]
		raw = raw[1:]
		op := abi.KVOp{Delete: kind == 2}
		if kind != 1 && kind != 2 {
			return nil, fmt.Errorf("op %d: kind %d is not 1 (put) or 2 (delete)", len(ops), kind)
		}
		var err error
		if op.Key, err = field(); err != nil {
			return nil, err
		}
		if !op.Delete {
			if op.Val, err = field(); err != nil {
				return nil, err
			}
		}
		ops = append(ops, op)
	}
	return ops, nil
}

func eventEmit(c *call, a []uint64) abi.Status {
	kind, ok := c.text(a, 0)
	if !ok {
		return c.badText("kind")
	}
	body, ok := c.arg(a, 2)
	if !ok {
		return c.outside("body")
	}
	if !json.Valid(body) {
		return c.fail(abi.Invalid, "event.emit: body is not JSON")
	}
	if _, err := c.use(abi.Event, kind, len(body)); err != nil {
		return c.refuse(err)
	}
	if err := c.host.Event.Emit(c, kind, body); err != nil {
		return c.refuse(err)
	}
	return c.ok()
}

func stateGet(c *call, a []uint64) abi.Status {
	name, ok := c.text(a, 0)
	if !ok {
		return c.badText("name")
	}
	if _, fits := c.room(a, 2); !fits {
		return c.outside("out")
	}
	if _, err := c.use(abi.State, name, 0); err != nil {
		return c.refuse(err)
	}
	doc, err := c.host.State.Get(c, name)
	if err != nil {
		return c.refuse(err)
	}
	return c.reply(a, 2, doc)
}

func statePut(c *call, a []uint64) abi.Status {
	name, ok := c.text(a, 0)
	if !ok {
		return c.badText("name")
	}
	doc, ok := c.arg(a, 2)
	if !ok {
		return c.outside("doc")
	}
	if !json.Valid(doc) {
		return c.fail(abi.Invalid, "state.put: doc is not JSON")
	}
	if _, err := c.use(abi.State, name, len(doc)); err != nil {
		return c.refuse(err)
	}
	if err := c.host.State.Put(c, name, doc); err != nil {
		return c.refuse(err)
	}
	return c.ok()
}

func clockNow(c *call, a []uint64) abi.Status {
	return c.clock(a, func() uint64 { return uint64(c.host.Clock.Now().UnixNano()) })
}

func clockMonotonic(c *call, a []uint64) abi.Status {
	return c.clock(a, func() uint64 { return uint64(c.host.Clock.Monotonic()) })
}

func (c *call) clock(a []uint64, read func() uint64) abi.Status {
	if _, fits := c.room(a, 0); !fits {
		return c.outside("out")
	}
	if _, err := c.use(abi.Clock, "", 0); err != nil {
		return c.refuse(err)
	}
	return c.reply(a, 0, binary.LittleEndian.AppendUint64(nil, read()))
}

func randBytes(c *call, a []uint64) abi.Status {
	out, ok := c.view(a, 0)
	if !ok {
		return c.outside("out")
	}
	if _, err := c.use(abi.Rand, "", len(out)); err != nil {
		return c.refuse(err)
	}
	if _, err := io.ReadFull(c.host.Rand, out); err != nil {
		return c.refuse(err)
	}
	c.pending = nil
	return abi.MakeStatus(abi.OK, uint32(len(out)))
}

func actionCall(c *call, a []uint64) abi.Status {
	tool, ok := c.text(a, 0)
	if !ok {
		return c.badText("tool")
	}
	in, ok := c.arg(a, 2)
	if _, fits := c.room(a, 4); !ok || !fits {
		return c.outside("in or out")
	}
	if err := c.useTool(tool, in); err != nil {
		return c.refuse(err)
	}
	kind, body, err := c.host.Action.Call(c, tool, in)
	switch {
	case err == nil && kind != abi.FrameError:
		return c.reply(a, 4, abi.AppendFrame(nil, kind, body))
	case err != nil && kind == abi.FrameError:
		return c.reply(a, 4, errorFrame(err))
	case err != nil:
		return c.refuse(err)
	}
	return c.refuse(fmt.Errorf("tool %q answered with an error frame and no error", tool))
}

func errorFrame(err error) []byte {
	var detail json.RawMessage
	if e, ok := err.(*abi.Error); ok && e.Detail != nil {
		detail, _ = json.Marshal(e.Detail) // without it the error still says what it must
	}
	return abi.AppendErrorFrame(nil, abi.CodeOf(err), err.Error(), detail)
}
