//go:build wasip1

package main

import (
	"encoding/binary"
	"encoding/json"
)

// What came with ABI 1.1 to 1.3: streams, the network, secrets, archives, configuration, and files by handle.

//go:wasmimport extism:host/user arw_stream_read
func streamRead(handle, n uint64) uint64

//go:wasmimport extism:host/user arw_stream_write
func streamWrite(handle, data uint64) uint64

//go:wasmimport extism:host/user arw_stream_send
func streamSend(handle, doc uint64) uint64

//go:wasmimport extism:host/user arw_stream_close
func streamClose(handle uint64) uint64

//go:wasmimport extism:host/user arw_fs_open
func fsOpen(path uint64) uint64

//go:wasmimport extism:host/user arw_fs_create
func fsCreate(path uint64) uint64

//go:wasmimport extism:host/user arw_secret_public
func secretPublic(name uint64) uint64

//go:wasmimport extism:host/user arw_secret_mac
func secretMAC(name, data uint64) uint64

//go:wasmimport extism:host/user arw_secret_sign
func secretSign(name, data uint64) uint64

//go:wasmimport extism:host/user arw_archive_unpack
func archiveUnpack(req uint64) uint64

//go:wasmimport extism:host/user arw_config_get
func configGet(name uint64) uint64

//go:wasmimport extism:host/user arw_http_fetch
func httpFetch(req, body uint64) uint64

//go:wasmimport extism:host/user arw_http_open
func httpOpen(req uint64) uint64

//go:wasmimport extism:host/user arw_http_response
func httpResponse(handle uint64) uint64

//go:wasmimport extism:host/user arw_http_connect
func httpConnect(req uint64) uint64

//go:wasmimport extism:host/user arw_http_send
func httpSend(handle, kind, data uint64) uint64

//go:wasmimport extism:host/user arw_http_receive
func httpReceive(handle uint64) uint64

//go:wasmimport extism:host/env free
func free(at uint64)

//go:wasmimport extism:host/user arw_infer_generate
func inferGenerate(req uint64) uint64

//go:wasmimport extism:host/user arw_infer_finish
func inferFinish(handle uint64) uint64

//go:wasmimport extism:host/user arw_infer_embed
func inferEmbed(req uint64) uint64

//go:wasmimport extism:host/user arw_infer_rerank
func inferRerank(req uint64) uint64

//go:wasmimport extism:host/user arw_infer_tokenize
func inferTokenize(req uint64) uint64

// piece is how much of a stream is moved at once.
const piece = 64 << 10

// number takes a handle out of a reply.
func number(at uint64) (uint64, error) {
	_, body, err := reply(at)
	if err != nil {
		return 0, err
	}
	return uint64(binary.LittleEndian.Uint32(body)), nil
}

func check(at uint64) error {
	_, _, err := reply(at)
	return err
}

// move copies one stream to another.
func move(from, to uint64) (size int64, err error) {
	for {
		got := streamRead(from, piece)
		_, part, err := reply(got)
		if err != nil || len(part) == 0 {
			return size, err
		}
		free(got) // else Extism's memory would grow with the stream
		data := block(part)
		done := streamWrite(to, data)
		if err := check(done); err != nil {
			return size, err
		}
		free(data)
		free(done)
		size += int64(len(part))
	}
}

//go:wasmexport conform_pump
func pump() int32 {
	return tool(func(struct{}) (any, error) {
		n, err := move(0, 1)
		out := map[string]any{"bytes": n}
		if err == nil {
			doc, _ := json.Marshal(out)
			err = check(streamSend(1, block(doc)))
		}
		if err == nil {
			err = check(streamClose(1))
		}
		return out, err
	})
}

func (o *op) more() (map[string]any, bool, error) {
	r, err := map[string]any(nil), error(nil)
	switch o.Op {
	case "fs.copy":
		r, err = o.copy()
	case "fs.draft":
		var handle uint64
		if handle, err = number(fsCreate(text(o.Path))); err == nil {
			err = check(streamWrite(handle, text(o.Value)))
		}
	case "fs.hold":
		for i := 0; i < o.Size && err == nil; i++ {
			err = check(fsOpen(text(o.Path)))
		}
	case "secret.public":
		r, err = as("hex", secretPublic(text(o.Name)))
	case "secret.mac":
		r, err = as("hex", secretMAC(text(o.Name), text(o.Value)))
	case "secret.sign":
		r, err = as("hex", secretSign(text(o.Name), text(o.Value)))
	case "archive.unpack":
		req, _ := json.Marshal(map[string]any{"from": o.From, "to": o.To, "strip_components": o.Strip, "max_total_bytes": o.Most})
		r, err = as("unpacked", archiveUnpack(block(req)))
	case "config.get":
		r, err = as("doc", configGet(text(o.Name)))
	case "http.fetch", "http.upload":
		r, err = o.request()
	case "http.chat":
		r, err = o.chat()
	case "infer.generate":
		r, err = o.think(map[string]any{"prompt": o.Value})
	case "infer.chat":
		r, err = o.think(map[string]any{"messages": []map[string]string{{"role": "user", "content": o.Value}}})
	case "infer.embed":
		r, err = as("doc", inferEmbed(o.model(map[string]any{"texts": o.Texts})))
	case "infer.rerank":
		r, err = as("doc", inferRerank(o.model(map[string]any{"query": o.Value, "documents": o.Texts})))
	case "infer.tokenize", "infer.count":
		r, err = as("doc", inferTokenize(o.model(map[string]any{"prompt": o.Value, "count": o.Op == "infer.count"})))
	default:
		return nil, false, nil
	}
	return r, true, err
}

func (o *op) copy() (map[string]any, error) {
	from, err := number(fsOpen(text(o.Path)))
	if err != nil {
		return nil, err
	}
	to, err := number(fsCreate(text(o.To)))
	if err != nil {
		return nil, err
	}
	n, err := move(from, to)
	if err == nil {
		err = check(streamClose(to))
	}
	if err == nil {
		err = check(streamClose(from))
	}
	return map[string]any{"size": n}, err
}

func (o *op) ask() uint64 {
	req := map[string]any{"url": o.URL, "method": o.Method}
	if o.Op == "http.upload" {
		req["method"] = "POST"
	}
	if o.Header != "" {
		req["headers"] = [][]string{{"X-A", o.Header}}
	}
	if o.Secret != "" {
		req["secrets"] = []string{o.Secret}
	}
	raw, _ := json.Marshal(req) // texts
	return block(raw)
}

type head struct {
	Handle uint64
	Status int
}

func answer(at uint64) (h head, err error) {
	_, body, err := reply(at)
	if err == nil {
		err = json.Unmarshal(body, &h)
	}
	return h, err
}

func (o *op) request() (map[string]any, error) {
	if o.Op == "http.fetch" {
		return told(answer(httpFetch(o.ask(), text(o.Value))))
	}
	up, err := number(httpOpen(o.ask()))
	for i := 0; i < 2 && err == nil; i++ {
		err = check(streamWrite(up, text(o.Value)))
	}
	if err != nil {
		return nil, err
	}
	return told(answer(httpResponse(up)))
}

func told(h head, err error) (map[string]any, error) {
	var all []byte
	for part := []byte{0}; err == nil && len(part) > 0; all = append(all, part...) {
		_, part, err = reply(streamRead(h.Handle, piece))
	}
	if err == nil {
		err = check(streamClose(h.Handle))
	}
	return map[string]any{"status": h.Status, "value": string(all)}, err
}

func (o *op) chat() (map[string]any, error) {
	h, err := answer(httpConnect(o.ask()))
	if err == nil {
		err = check(httpSend(h.Handle, 1, text(o.Value)))
	}
	if err != nil {
		return nil, err
	}
	_, said, err := reply(httpReceive(h.Handle))
	if err != nil {
		return nil, err
	}
	_, next, err := reply(httpReceive(h.Handle))
	if err == nil {
		err = check(streamClose(h.Handle))
	}
	return map[string]any{"status": h.Status, "value": string(said[1:]), "more": len(next) > 0}, err
}

// model is a request to the model that the operation names.
func (o *op) model(req map[string]any) uint64 {
	req["model"] = o.Name
	raw, _ := json.Marshal(req) // texts and numbers
	return block(raw)
}

func (o *op) think(req map[string]any) (map[string]any, error) {
	if o.Size > 0 {
		req["max_tokens"] = o.Size
	}
	h, err := answer(inferGenerate(o.model(req)))
	var said []byte
	for part := []byte{0}; err == nil && len(part) > 0; said = append(said, part...) {
		_, part, err = reply(streamRead(h.Handle, piece))
	}
	if err != nil {
		return nil, err
	}
	_, raw, err := reply(inferFinish(h.Handle))
	if err != nil {
		return nil, err
	}
	var how struct {
		Finish string `json:"finish_reason"`
		Usage  struct {
			Output int64 `json:"completion_tokens"`
		}
	}
	if err := json.Unmarshal(raw, &how); err != nil {
		return nil, err
	}
	return map[string]any{"value": string(said), "finish": how.Finish, "tokens": how.Usage.Output}, check(streamClose(h.Handle))
}
