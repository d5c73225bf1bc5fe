package main

import (
	"encoding/hex"
	"io"

	"github.com/arw-project/arw/abi"
	"github.com/arw-project/arw/sdk/go/guest"
	"github.com/arw-project/arw/sdk/go/guest/codec"
)

type pair struct {
	Key   string `json:"key"`
	Value string `json:"value"`
}

type op struct {
	Op        string    `json:"op"`
	Key       string    `json:"key"`
	Value     string    `json:"value"`
	Prefix    string    `json:"prefix"`
	After     string    `json:"after"`
	Limit     int       `json:"limit"`
	Puts      []pair    `json:"puts"`
	Deletes   []string  `json:"deletes"`
	Level     int       `json:"level"`
	Kind      string    `json:"kind"`
	Name      string    `json:"name"`
	Path      string    `json:"path"`
	Recursive bool      `json:"recursive"`
	Offset    int64     `json:"offset"`
	Size      int       `json:"size"`
	Tool      string    `json:"tool"`
	Method    string    `json:"method"`
	URL       string    `json:"url"`
	Header    string    `json:"header"`
	From      string    `json:"from"`
	To        string    `json:"to"`
	Strip     int       `json:"strip"`
	Most      int64     `json:"most"`
	Secret    string    `json:"secret"`
	Texts     []string  `json:"texts"`
	Doc       codec.Raw `json:"doc"`
}

type result struct {
	Code    uint32         `json:"code"`
	Message *string        `json:"message,omitempty"`
	Value   *string        `json:"value,omitempty"`
	Keys    *[]guest.Key   `json:"keys,omitempty"`
	Entries *[]abi.FSEntry `json:"entries,omitempty"`
	More    *bool          `json:"more,omitempty"`
	Entry   *abi.FSEntry   `json:"entry,omitempty"`
	NS      *int64         `json:"ns,omitempty"`
	Hex     *string        `json:"hex,omitempty"`
	Status  *int           `json:"status,omitempty"`
	Size    *int64         `json:"size,omitempty"`
	Finish  *string        `json:"finish,omitempty"`
	Tokens  *int64         `json:"tokens,omitempty"`
	Doc     codec.Raw      `json:"doc,omitempty"`

	Unpacked *abi.ArchiveUnpacked `json:"unpacked,omitempty"`
}

type ops struct {
	Ops []op `json:"ops"`
}

type results struct {
	Results []result `json:"results"`
}

func do(c *guest.Call, in ops) (results, error) {
	out := results{Results: make([]result, 0, len(in.Ops))}
	for i := range in.Ops {
		var r result
		if err := in.Ops[i].run(c, &r); err != nil {
			text := err.Error()
			r = result{Code: uint32(abi.CodeOf(err)), Message: &text}
		}
		out.Results = append(out.Results, r)
	}
	return out, nil
}

func (o *op) run(c *guest.Call, r *result) (err error) {
	switch o.Op {
	case "log.write":
		c.Log(o.Level, o.Value)
	case "kv.get":
		return r.text(c.KV().Get(o.Key))
	case "kv.put":
		return c.KV().Put(o.Key, []byte(o.Value))
	case "kv.delete":
		return c.KV().Delete(o.Key)
	case "kv.list":
		return r.list(c.KV().List(o.Prefix, o.After, o.Limit))
	case "kv.batch":
		var b guest.Batch
		for _, p := range o.Puts {
			b.Put(p.Key, []byte(p.Value))
		}
		for _, k := range o.Deletes {
			b.Delete(k)
		}
		return c.KV().Apply(&b)
	case "event.emit":
		return c.Emit(o.Kind, o.doc())
	case "state.get":
		return c.State().Get(o.Name, &r.Doc)
	case "state.put":
		return c.State().Put(o.Name, o.doc())
	case "clock.now":
		t, err := c.Now()
		ns := t.UnixNano()
		r.NS = &ns
		return err
	case "clock.monotonic":
		d, err := c.Elapsed()
		ns := int64(d)
		r.NS = &ns
		return err
	case "rand.bytes":
		buf := make([]byte, o.Size)
		err := c.Random(buf)
		return r.hex(buf, err)
	case "action.call":
		return o.call(c, r)
	case "secret.public":
		return r.hex(c.Secrets().Public(o.Name))
	case "secret.mac":
		return r.hex(c.Secrets().MAC(o.Name, []byte(o.Value)))
	case "secret.sign":
		return r.hex(c.Secrets().Sign(o.Name, []byte(o.Value)))
	case "archive.unpack":
		got, err := c.Unpack(abi.ArchiveUnpack{From: o.From, To: o.To, StripComponents: o.Strip, MaxTotalBytes: o.Most})
		r.Unpacked = &got
		return err
	case "config.get":
		return c.Config(o.Name, &r.Doc)
	case "http.fetch", "http.upload":
		return o.request(c.HTTP(), r)
	case "http.chat":
		return o.chat(c.HTTP(), r)
	case "infer.generate", "infer.chat":
		return o.generate(c.Infer(), r)
	case "infer.embed":
		return r.json(c.Infer().Embed(o.Name, o.Texts...))
	case "infer.rerank":
		return r.json(c.Infer().Rerank(o.Name, o.Value, o.Texts...))
	case "infer.tokenize", "infer.count":
		return r.json(c.Infer().Tokenize(abi.InferTokenize{Model: o.Name, Prompt: o.Value, Count: o.Op == "infer.count"}))
	default:
		return o.file(c.FS(), r)
	}
	return nil
}

func (o *op) generate(i guest.Infer, r *result) error {
	req := abi.InferRequest{Model: o.Name, Prompt: o.Value, MaxTokens: o.Size}
	if o.Op == "infer.chat" {
		req.Prompt, req.Messages = "", []abi.InferMessage{{Role: "user", Content: o.Value}}
	}
	a, err := i.Generate(req)
	if err != nil {
		return err
	}
	text, err := io.ReadAll(a)
	if err != nil {
		return err
	}
	how, err := a.Finish()
	if err != nil {
		return err
	}
	r.Finish, r.Tokens = &how.Finish, &how.Usage.Output
	return r.text(text, a.Close())
}

func (r *result) json(v any, err error) error {
	if err == nil {
		r.Doc, err = codec.AppendAny(nil, v)
	}
	return err
}

// doc is what a missing document reads as: null.
func (o *op) doc() codec.Raw {
	if o.Doc == nil {
		return codec.Raw("null")
	}
	return o.Doc
}

func (o *op) call(c *guest.Call, r *result) error {
	if o.Tool == "other/pack:bytes" {
		return r.text(c.Action().CallRaw(o.Tool, o.doc()))
	}
	return c.Action().Call(o.Tool, o.doc(), &r.Doc)
}

func (o *op) request(h guest.HTTP, r *result) error {
	req := abi.HTTPRequest{Method: o.Method, URL: o.URL}
	if o.Header != "" {
		req.Headers = [][2]string{{"X-A", o.Header}}
	}
	if o.Secret != "" {
		req.Secrets = []string{o.Secret}
	}
	resp, err := (*guest.Response)(nil), error(nil)
	if o.Op == "http.fetch" {
		resp, err = h.Fetch(req, []byte(o.Value))
	} else {
		req.Method = "POST"
		resp, err = upload(h, req, o.Value)
	}
	if err != nil {
		return err
	}
	r.Status = &resp.Status
	body, err := io.ReadAll(resp)
	if err != nil {
		return err
	}
	return r.text(body, resp.Close())
}

func upload(h guest.HTTP, req abi.HTTPRequest, part string) (*guest.Response, error) {
	up, err := h.Open(req)
	if err != nil {
		return nil, err
	}
	for range 2 {
		if _, err := io.WriteString(up, part); err != nil {
			return nil, err
		}
	}
	return up.Response()
}

func (o *op) chat(h guest.HTTP, r *result) error {
	s, err := h.Connect(abi.HTTPRequest{URL: o.URL})
	if err != nil {
		return err
	}
	r.Status = &s.Status
	if err := s.SendText(o.Value); err != nil {
		return err
	}
	msg, _, err := s.Receive()
	if err != nil {
		return err
	}
	_, _, err = s.Receive()
	more := err == nil
	r.More = &more
	return r.text(msg, s.Close())
}

func (o *op) file(f guest.FS, r *result) error {
	switch o.Op {
	case "fs.list":
		entries, more, err := f.List(abi.FSList{Path: o.Path, Recursive: o.Recursive, After: o.After, Limit: o.Limit})
		r.Entries, r.More = &entries, &more
		return err
	case "fs.stat":
		e, err := f.Stat(o.Path)
		r.Entry = &e
		return err
	case "fs.read":
		buf := make([]byte, o.Size)
		n, err := f.ReadAt(o.Path, buf, o.Offset)
		return r.text(buf[:n], err)
	case "fs.read_all":
		return r.text(f.ReadFile(o.Path))
	case "fs.write":
		return f.Write(o.Path, []byte(o.Value))
	case "fs.remove":
		return f.Remove(o.Path)
	case "fs.copy":
		return o.copy(f, r)
	case "fs.draft":
		d, err := f.Create(o.Path)
		if err == nil {
			_, err = io.WriteString(d, o.Value)
		}
		return err
	case "fs.hold":
		for range o.Size {
			if _, err := f.OpenFile(o.Path); err != nil {
				return err
			}
		}
		return nil
	}
	return guest.Errorf(abi.Unsupported, "there is no operation %q", o.Op)
}

func (o *op) copy(f guest.FS, r *result) error {
	from, err := f.OpenFile(o.Path)
	if err != nil {
		return err
	}
	to, err := f.Create(o.To)
	if err != nil {
		return err
	}
	n, err := io.Copy(to, from)
	if err == nil {
		err = to.Commit()
	}
	if err == nil {
		err = from.Close()
	}
	r.Size = &n
	return err
}

func (r *result) hex(b []byte, err error) error {
	text := hex.EncodeToString(b)
	r.Hex = &text
	return err
}

func (r *result) text(b []byte, err error) error {
	text := string(b)
	r.Value = &text
	return err
}

func (r *result) list(found []guest.Key, more bool, err error) error {
	r.Keys, r.More = &found, &more
	return err
}
