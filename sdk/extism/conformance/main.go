//go:build wasip1

// Command conformance is an Extism plugin with the tools that abi/abitest asks for, in plain Go.
package main

import (
	"bytes"
	"encoding/binary"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io"
)

// Codes of the ABI that this guest uses.
const (
	invalid         = 2
	memoryExhausted = 22
	toolFailed      = 28
	lastCode        = 30
)

func main() {}

// tool runs one tool: its value goes out as JSON, or as the bytes that it is, and its error as an error frame.
func tool[In any](run func(In) (any, error)) int32 {
	raw := input()
	var in In
	var v any
	var err error
	if p, ok := any(&in).(*[]byte); ok {
		*p = raw
	} else {
		err = decode(raw, &in)
	}
	if err == nil {
		v, err = run(in)
	}
	if err != nil {
		var e *hostError
		if !errors.As(err, &e) {
			e = &hostError{code: toolFailed, msg: err.Error()}
		}
		errorSet(block(e.frame()))
		return 1
	}
	out, ok := v.([]byte)
	if !ok {
		if out, err = json.Marshal(v); err != nil {
			panic(err)
		}
	}
	outputSet(block(out), uint64(len(out)))
	return 0
}

func decode(raw []byte, into any) error {
	if len(raw) == 0 {
		raw = []byte("{}")
	}
	if nests(raw) > deepest {
		return &hostError{code: invalid, msg: "read the input: it nests too deep"}
	}
	dec := json.NewDecoder(bytes.NewReader(raw))
	dec.UseNumber()
	err := dec.Decode(into)
	if err == nil {
		if _, more := dec.Token(); more != io.EOF {
			err = errors.New("something follows the value")
		}
	}
	if err != nil {
		return &hostError{code: invalid, msg: "read the input: " + err.Error()}
	}
	return nil
}

const deepest = 1000

// nests is how deep JSON nests at most; brackets within texts may make it more.
func nests(raw []byte) (most int) {
	depth := 0
	for _, c := range raw {
		switch c {
		case '[', '{':
			depth++
			most = max(most, depth)
		case ']', '}':
			depth--
		}
	}
	return most
}

type typed struct {
	Name  *string  `json:"name"`
	Count *int64   `json:"count"`
	Ratio float64  `json:"ratio"`
	On    bool     `json:"on"`
	Tags  []string `json:"tags"`
	Note  *string  `json:"note,omitempty"`
}

var (
	count int
	kept  []string
	taken [][]byte
)

//go:wasmexport conform_echo
func echo() int32 { return tool(func(in []byte) (any, error) { return in, nil }) }

//go:wasmexport conform_json
func anyJSON() int32 { return tool(func(in any) (any, error) { return in, nil }) }

//go:wasmexport conform_typed
func echoTyped() int32 {
	return tool(func(in typed) (any, error) {
		switch {
		case in.Name == nil:
			return nil, &hostError{code: invalid, msg: "name is missing"}
		case in.Count == nil:
			return nil, &hostError{code: invalid, msg: "count is missing"}
		}
		if in.Tags == nil {
			in.Tags = []string{}
		}
		return in, nil
	})
}

//go:wasmexport conform_fail
func fail() int32 {
	return tool(func(in struct {
		Code    uint32
		Message string
		Detail  json.RawMessage
	}) (any, error) {
		if in.Code < invalid || in.Code > lastCode {
			in.Code = toolFailed
		}
		return nil, &hostError{in.Code, in.Message, in.Detail}
	})
}

//go:wasmexport conform_size
func size() int32 {
	return tool(func(in struct{ Size int }) (any, error) {
		out := make([]byte, in.Size)
		for i := range out {
			out[i] = byte(i*7 + i>>8)
		}
		return out, nil
	})
}

//go:wasmexport conform_count
func counting() int32 {
	return tool(func(struct{}) (any, error) {
		count++
		return map[string]int{"count": count}, nil
	})
}

//go:wasmexport conform_keep
func keep() int32 {
	return tool(func(in struct{ Text string }) (any, error) {
		kept = append(kept, in.Text)
		return map[string]any{"texts": kept}, nil
	})
}

//go:wasmexport conform_spin
func spin() int32 {
	for {
		count++
	}
}

//go:wasmexport conform_grow
func grow() int32 {
	for {
		taken = append(taken, make([]byte, 1<<20))
	}
}

//go:wasmexport conform_recurse
func recurse() int32 { return int32(deeper(1)) }

func deeper(n int) int { return deeper(n+1) + n }

//go:wasmexport conform_trap
func trap() int32 { return int32(len(kept[count+5])) }

//go:wasmexport conform_do
func do() int32 {
	return tool(func(in struct{ Ops []op }) (any, error) {
		results := make([]map[string]any, 0, len(in.Ops))
		for i := range in.Ops {
			r, err := in.Ops[i].run()
			if err != nil {
				var e *hostError
				if !errors.As(err, &e) {
					return nil, err
				}
				r = map[string]any{"code": e.code, "message": e.msg}
			} else if r == nil {
				r = map[string]any{"code": 0}
			} else {
				r["code"] = 0
			}
			results = append(results, r)
		}
		return map[string]any{"results": results}, nil
	})
}

type pair struct{ Key, Value string }

type op struct {
	Op, Key, Value, Prefix, After, Kind, Name, Path, Tool string
	URL, Method, Header, Secret, From, To                 string
	Limit, Level, Size, Strip, Most                       int
	Offset                                                uint64
	Recursive                                             bool
	Puts                                                  []pair
	Deletes, Texts                                        []string
	Doc                                                   json.RawMessage
}

func text(s string) uint64 { return block([]byte(s)) }

func (o *op) doc() uint64 {
	if o.Doc == nil {
		return text("null")
	}
	return block(o.Doc)
}

// done is for functions without a reply.
func done(at uint64) (map[string]any, error) {
	_, _, err := reply(at)
	return nil, err
}

// as gives a reply under a key.
func as(key string, at uint64) (map[string]any, error) {
	_, body, err := reply(at)
	if err != nil {
		return nil, err
	}
	switch key {
	case "value":
		return map[string]any{key: string(body)}, nil
	case "ns":
		return map[string]any{key: binary.LittleEndian.Uint64(body)}, nil
	case "hex":
		return map[string]any{key: hex.EncodeToString(body)}, nil
	}
	return map[string]any{key: json.RawMessage(body)}, nil
}

// whole gives the fields of a reply that is an object.
func whole(at uint64) (r map[string]any, err error) {
	_, body, err := reply(at)
	if err == nil {
		err = json.Unmarshal(body, &r)
	}
	return r, err
}

func (o *op) list(more map[string]any) uint64 {
	more["after"], more["limit"] = o.After, o.Limit
	req, _ := json.Marshal(more) // texts and numbers
	return block(req)
}

func (o *op) run() (map[string]any, error) {
	switch o.Op {
	case "log.write":
		logWrite(uint64(o.Level), text(o.Value))
		return nil, nil
	case "kv.get":
		return as("value", kvGet(text(o.Key)))
	case "kv.put":
		return done(kvPut(text(o.Key), text(o.Value)))
	case "kv.delete":
		return done(kvDelete(text(o.Key)))
	case "kv.list":
		return whole(kvList(o.list(map[string]any{"prefix": o.Prefix})))
	case "kv.batch":
		return done(kvBatch(o.batch()))
	case "event.emit":
		return done(eventEmit(text(o.Kind), o.doc()))
	case "state.get":
		return as("doc", stateGet(text(o.Name)))
	case "state.put":
		return done(statePut(text(o.Name), o.doc()))
	case "clock.now":
		return as("ns", clockNow())
	case "clock.monotonic":
		return as("ns", clockMonotonic())
	case "rand.bytes":
		return as("hex", randBytes(uint64(o.Size)))
	case "action.call":
		kind, body, err := reply(actionCall(text(o.Tool), o.doc()))
		if err == nil && kind == 1 {
			return map[string]any{"value": string(body)}, nil
		}
		return map[string]any{"doc": json.RawMessage(body)}, err
	}
	if r, known, err := o.more(); known {
		return r, err
	}
	return o.file()
}

func (o *op) batch() uint64 {
	var b []byte
	field := func(s string) { b = append(binary.LittleEndian.AppendUint32(b, uint32(len(s))), s...) }
	for _, p := range o.Puts {
		b = append(b, 1)
		field(p.Key)
		field(p.Value)
	}
	for _, k := range o.Deletes {
		b = append(b, 2)
		field(k)
	}
	return block(b)
}

func (o *op) file() (map[string]any, error) {
	switch o.Op {
	case "fs.list":
		return whole(fsList(o.list(map[string]any{"path": o.Path, "recursive": o.Recursive})))
	case "fs.stat":
		return as("entry", fsStat(text(o.Path)))
	case "fs.read":
		return as("value", fsRead(text(o.Path), o.Offset, uint64(o.Size)))
	case "fs.read_all":
		return o.readAll()
	case "fs.write":
		return done(fsWrite(text(o.Path), text(o.Value)))
	case "fs.remove":
		return done(fsRemove(text(o.Path)))
	}
	return nil, fmt.Errorf("there is no operation %q", o.Op)
}

func (o *op) readAll() (map[string]any, error) {
	var all []byte
	for {
		_, part, err := reply(fsRead(text(o.Path), uint64(len(all)), 1<<20))
		if err != nil || len(part) == 0 {
			return map[string]any{"value": string(all)}, err
		}
		all = append(all, part...)
	}
}
