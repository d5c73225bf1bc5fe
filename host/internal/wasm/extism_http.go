package wasm

import (
	"context"
	"encoding/binary"
	"encoding/json"
	"errors"
	"io"
	"strings"

	extism "github.com/extism/go-sdk"
	"github.com/tetratelabs/wazero/api"

	"github.com/arw-project/arw/abi"
)

// maxPluginBody bounds the body of an answer that an Extism plugin gets: it comes as one block of memory.
const maxPluginBody = 16 << 20

// pluginHTTP is the last answer of a call, of which Extism's guests ask the parts one by one.
type pluginHTTP struct {
	status  int
	headers map[string]string // by lower-case name, several values joined with commas
	body    []byte
}

// extismAsks is what a record calls a request of an Extism plugin.
const extismAsks = "extism.http_request"

// extismRequest is a request in Extism's words.
type extismRequest struct {
	URL     string            `json:"url"`
	Method  string            `json:"method"`
	Headers map[string]string `json:"headers"`
}

// extismHTTP makes a request through the host's guard, as http.fetch does. Extism has no way to tell a guest that a request was
// not made, so a refusal ends the call.
func extismHTTP(ctx context.Context, p *extism.CurrentPlugin, stack []uint64) {
	c := callOf(ctx)
	raw, body, ok := c.pluginBlocks(ctx, p, stack[0], stack[1])
	if !ok {
		panic(errOutside)
	}
	c.inside = extismAsks
	c.web = pluginHTTP{}
	reply := c.ambientAnswer(extismAsks, 0, maxPluginBody, append(append(binary.LittleEndian.AppendUint32(nil, uint32(len(raw))), raw...), body...), func() []byte {
		got, err := c.pluginAsk(raw, body)
		if err != nil {
			return errorFrame(err)
		}
		return abi.AppendFrame(nil, abi.FrameBytes, got.bytes())
	})
	kind, got, err := abi.ParseFrame(reply)
	if err == nil {
		c.web, ok = parsePluginHTTP(got)
	}
	if err != nil || kind != abi.FrameBytes || !ok {
		if err == nil {
			err = abi.Errorf(abi.Internal, "http_request: the host's answer cannot be read")
		}
		c.refused = err
		panic(err)
	}
	c.moved += int64(len(raw) + len(body) + len(c.web.body))
	c.inside = ""
	stack[0] = c.pluginBlock(ctx, p, c.web.body)
}

// pluginBlocks copies the two blocks that a request is made of, and frees them as the SDK does.
func (c *call) pluginBlocks(ctx context.Context, p *extism.CurrentPlugin, req, body uint64) (r, b []byte, ok bool) {
	c.blocks = c.in.plug.kernel
	defer func() { c.blocks = nil }()
	for i, at := range []uint64{req, body} {
		n, known := c.in.blockLen(ctx, p, at)
		mem, inside := c.bytes(uint32(at), n)
		if !known || !inside || i == 0 && at == 0 {
			return nil, nil, false
		}
		if copied := append([]byte(nil), mem...); i == 0 {
			r = copied
		} else {
			b = copied
		}
		if at != 0 {
			_ = p.FreeWithContext(ctx, at)
		}
	}
	return r, b, true
}

// pluginBlock gives bytes to the guest; 0 for none.
func (c *call) pluginBlock(ctx context.Context, p *extism.CurrentPlugin, data []byte) uint64 {
	if len(data) == 0 {
		return 0
	}
	at, err := p.AllocWithContext(ctx, uint64(len(data)))
	mem := c.in.plug.kernel.buf
	if err != nil || at == 0 || at+uint64(len(data)) > uint64(len(mem)) {
		c.refused = abi.Errorf(abi.MemoryExhausted, "http_request: no room for an answer of %d bytes in Extism's memory", len(data))
		panic(c.refused)
	}
	copy(mem[at:], data)
	c.charge()
	return at
}

// pluginAsk makes the request.
func (c *call) pluginAsk(raw, body []byte) (pluginHTTP, error) {
	var got pluginHTTP
	var in extismRequest
	switch {
	case c.effects < abi.OpenWorld:
		return got, c.denyPlugin(abi.Errorf(abi.Denied, "%s", c.effectMessage("http_request", abi.OpenWorld)))
	case c.host.HTTP == nil || c.gate == nil:
		return got, c.denyPlugin(abi.Errorf(abi.Denied, "http_request: [capabilities.http] is not in pack.toml, or nobody granted it").
			WithHint(`add [capabilities.http] with scope and reason = "…" and install the pack again`))
	case json.Unmarshal(raw, &in) != nil:
		return got, abi.Errorf(abi.Invalid, "http_request: the request is not JSON as Extism has it")
	}
	req := abi.HTTPRequest{URL: in.URL, Method: strings.ToUpper(in.Method), MaxBytes: maxPluginBody}
	for name, value := range in.Headers {
		req.Headers = append(req.Headers, [2]string{name, value})
	}
	x, err := c.host.HTTP.Open(c, req, body, false)
	if err != nil {
		return got, err
	}
	defer x.Close()
	head, err := x.Response(c)
	if err != nil {
		return got, err
	}
	got.status, got.headers = head.Status, map[string]string{}
	for _, h := range head.Headers {
		name := strings.ToLower(h[0])
		if before, twice := got.headers[name]; twice {
			h[1] = before + "," + h[1]
		}
		got.headers[name] = h[1]
	}
	buf := make([]byte, firstBuffer)
	for {
		n, err := x.Read(c, buf)
		got.body = append(got.body, buf[:n]...)
		switch {
		case errors.Is(err, io.EOF):
			return got, nil
		case err != nil:
			return got, err
		}
	}
}

func (c *call) denyPlugin(err *abi.Error) error {
	if w, ok := c.gate.(Witness); ok {
		w.Refused(c, abi.HTTP, err)
	}
	return err
}

// bytes is the answer as a record keeps it: status u32, length of the headers u32, headers as JSON, body.
func (h pluginHTTP) bytes() []byte {
	headers, _ := json.Marshal(h.headers) // a map of strings
	b := binary.LittleEndian.AppendUint32(nil, uint32(h.status))
	b = binary.LittleEndian.AppendUint32(b, uint32(len(headers)))
	return append(append(b, headers...), h.body...)
}

func parsePluginHTTP(b []byte) (h pluginHTTP, ok bool) {
	if len(b) < 8 {
		return h, false
	}
	n := binary.LittleEndian.Uint32(b[4:])
	if uint64(n) > uint64(len(b)-8) || json.Unmarshal(b[8:8+n], &h.headers) != nil {
		return h, false
	}
	h.status, h.body = int(binary.LittleEndian.Uint32(b)), b[8+n:]
	return h, true
}

// extismStatus is the status of the last answer; 0 when there was none.
func extismStatus(ctx context.Context, _ *extism.CurrentPlugin, stack []uint64) {
	stack[0] = api.EncodeI32(int32(callOf(ctx).web.status))
}

// extismHeaders are the headers of the last answer as JSON.
func extismHeaders(ctx context.Context, p *extism.CurrentPlugin, stack []uint64) {
	c := callOf(ctx)
	headers := c.web.headers
	if headers == nil {
		headers = map[string]string{}
	}
	raw, _ := json.Marshal(headers) // a map of strings
	c.moved += int64(len(raw))
	stack[0] = c.pluginBlock(ctx, p, raw)
}
