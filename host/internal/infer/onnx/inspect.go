// Package onnx keeps one promise: an ONNX encoder with its tokenizer in one file turns texts into vectors or scores, outside the
// host's process, and a file that is none is refused before anything runs it.
//
// ONNX (https://onnx.ai, protocol buffers) has weights and graph in one file and no place for a tokenizer. Bundle adds it, with
// how to pool, as metadata of the model, so that one digest covers all that decides what a text becomes; the file stays a
// sound ONNX model. Inspect reads the header in bounded memory. Load runs the network in pure Go (GoMLX); a Network made
// elsewhere, as on ONNX Runtime, may take its place. Serve is the worker that the supervisor starts.
//
// What Inspect gives is plain data. An Encoder is safe for concurrent use; one batch runs at a time.
package onnx

import (
	"bufio"
	"encoding/binary"
	"errors"
	"io"
	"slices"

	"github.com/arw-project/arw/abi"
)

// Bounds of what a header may hold.
const (
	maxNodes    = 1 << 20
	maxTensors  = 1 << 18
	maxValues   = 1 << 10  // inputs, outputs, opsets, metadata entries
	maxName     = 64 << 10 // bytes of a name
	maxMetadata = 32 << 20 // bytes of all metadata: a tokenizer is in it
)

// Model is what the header of a file says.
type Model struct {
	IR         int64            `json:"ir_version"`
	Producer   string           `json:"producer,omitempty"`
	Opsets     map[string]int64 `json:"opsets"` // by domain, "" is ONNX's own
	Graph      string           `json:"graph,omitempty"`
	Inputs     []Value          `json:"inputs"` // those that are no weights
	Outputs    []Value          `json:"outputs"`
	Operators  map[string]int   `json:"operators"` // how often each stands in the graph
	Tensors    int              `json:"tensors"`
	Parameters uint64           `json:"parameters"`
	Types      []string         `json:"weight_types"` // "float32", "int8"
	Bundled    bool             `json:"tokenizer"`    // brings one, see Bundle
	metadata   map[string]string
}

// Value is an input or output. A dimension of -1 is free.
type Value struct {
	Name string  `json:"name"`
	Type string  `json:"type"`
	Dims []int64 `json:"dims"`
}

// names of the element types (TensorProto.DataType).
var typeNames = map[int64]string{1: "float32", 2: "uint8", 3: "int8", 4: "uint16", 5: "int16", 6: "int32", 7: "int64", 8: "string",
	9: "bool", 10: "float16", 11: "float64", 12: "uint32", 13: "uint64", 16: "bfloat16"}

// Inspect reads the header of a model of size bytes. Weights are skipped, never held. Errors: Corrupt for a file that is no
// ONNX model or is cut off, TooLarge for one whose header goes beyond the bounds, Unsupported for weights in other files; r's own.
func Inspect(r io.Reader, size int64) (*Model, error) {
	m := &Model{Opsets: map[string]int64{}, Operators: map[string]int{}, metadata: map[string]string{}}
	c := &cursor{r: bufio.NewReaderSize(r, 64<<10), left: size}
	err := c.fields(m.field)
	switch {
	case errors.Is(err, io.EOF), errors.Is(err, io.ErrUnexpectedEOF):
		return nil, wrong("the file ends inside its header")
	case err != nil:
		return nil, err
	case m.IR == 0 || m.Graph == "" && len(m.Operators) == 0:
		return nil, wrong("it has no version or no graph")
	case len(m.Outputs) == 0:
		return nil, wrong("its graph has no output")
	}
	m.Bundled = m.metadata[metaTokenizer] != ""
	slices.Sort(m.Types)
	return m, nil
}

func wrong(format string, args ...any) error {
	return abi.Errorf(abi.Corrupt, "read ONNX model: "+format, args...)
}

func tooMany(what string, bound int) error {
	return abi.Errorf(abi.TooLarge, "read ONNX model: more than %d %s", bound, what)
}

// field reads one of ModelProto.
func (m *Model) field(f field) (err error) {
	switch f.number {
	case 1:
		m.IR, err = f.integer()
	case 2:
		m.Producer, err = f.text(maxName)
	case 7:
		weights := map[string]bool{}
		if err = f.message(func(f field) error { return m.graph(f, weights) }); err == nil {
			m.Inputs = slices.DeleteFunc(m.Inputs, func(v Value) bool { return weights[v.Name] })
		}
	case 8:
		var domain string
		var version int64
		err = f.message(func(f field) (err error) {
			switch f.number {
			case 1:
				domain, err = f.text(maxName)
			case 2:
				version, err = f.integer()
			}
			return err
		})
		if m.Opsets[domain] = version; len(m.Opsets) > maxValues {
			return tooMany("opsets", maxValues)
		}
	case 14:
		err = m.note(f)
	}
	return err
}

// note reads an entry of metadata_props.
func (m *Model) note(f field) error {
	var key, value string
	err := f.message(func(f field) (err error) {
		switch f.number {
		case 1:
			key, err = f.text(maxName)
		case 2:
			value, err = f.text(maxMetadata)
		}
		return err
	})
	if err != nil {
		return err
	}
	sum := 0
	m.metadata[key] = value
	for k, v := range m.metadata {
		sum += len(k) + len(v)
	}
	if sum > maxMetadata || len(m.metadata) > maxValues {
		return tooMany("bytes of metadata", maxMetadata)
	}
	return nil
}

// graph reads a field of GraphProto.
func (m *Model) graph(f field, weights map[string]bool) (err error) {
	switch f.number {
	case 1:
		return f.message(func(f field) error {
			if f.number != 4 {
				return nil
			}
			op, err := f.text(maxName)
			if m.Operators[op]++; len(m.Operators) > maxValues || m.Operators[op] > maxNodes {
				return tooMany("operators", maxNodes)
			}
			return err
		})
	case 2:
		m.Graph, err = f.text(maxName)
	case 5:
		return m.tensor(f, weights)
	case 11, 12:
		list := &m.Inputs
		if f.number == 12 {
			list = &m.Outputs
		}
		v := Value{Dims: []int64{}}
		if err = f.message(v.field); err == nil {
			*list = append(*list, v)
		}
		// Old models list their weights among the inputs too.
		if len(*list) > maxTensors {
			return tooMany("inputs", maxTensors)
		}
	case 15:
		return abi.Errorf(abi.Unsupported, "read ONNX model: it has sparse weights")
	}
	return err
}

// tensor reads a TensorProto of the weights.
func (m *Model) tensor(f field, weights map[string]bool) error {
	var name string
	var kind, where int64
	count := uint64(1)
	err := f.message(func(f field) (err error) {
		switch f.number {
		case 1:
			return f.integers(func(n int64) error {
				if n < 0 || n != 0 && count > (1<<50)/uint64(n) {
					return wrong("a weight of %d times %d values", count, n)
				}
				count *= uint64(n)
				return nil
			})
		case 2:
			kind, err = f.integer()
		case 8:
			name, err = f.text(maxName)
		case 14:
			where, err = f.integer()
		}
		return err
	})
	if err != nil {
		return err
	}
	if where != 0 {
		return abi.Errorf(abi.Unsupported, "read ONNX model: the weight %.100q is in another file", name).WithHint("save the model as one file, below 2 GB")
	}
	if weights[name] = true; len(weights) > maxTensors {
		return tooMany("weights", maxTensors)
	}
	m.Tensors++
	m.Parameters += count
	if t := typeName(kind); !slices.Contains(m.Types, t) && len(m.Types) < maxValues {
		m.Types = append(m.Types, t)
	}
	return nil
}

func typeName(n int64) string {
	if s, ok := typeNames[n]; ok {
		return s
	}
	return "other"
}

// field reads one of ValueInfoProto.
func (v *Value) field(f field) (err error) {
	switch f.number {
	case 1:
		v.Name, err = f.text(maxName)
	case 2: // TypeProto
		err = f.message(func(f field) error {
			if f.number != 1 {
				v.Type = "other"
				return nil
			}
			return f.message(v.tensor)
		})
	}
	return err
}

// tensor reads a field of TypeProto.Tensor.
func (v *Value) tensor(f field) error {
	switch f.number {
	case 1:
		n, err := f.integer()
		v.Type = typeName(n)
		return err
	case 2:
		return f.message(func(f field) error {
			if f.number != 1 {
				return nil
			}
			dim := int64(-1)
			if v.Dims = append(v.Dims, dim); len(v.Dims) > 16 {
				return tooMany("dimensions", 16)
			}
			return f.message(func(f field) (err error) {
				if f.number == 1 {
					v.Dims[len(v.Dims)-1], err = f.integer()
				}
				return err
			})
		})
	}
	return nil
}

// cursor walks a protocol buffer of a known length (https://protobuf.dev/programming-guides/encoding/).
type cursor struct {
	r    *bufio.Reader
	left int64
}

// field is one of a message; what is not read of it is skipped.
type field struct {
	number int
	wire   int
	value  uint64  // of wire type 0
	body   *cursor // of wire type 2
}

// fields calls do with every field.
func (c *cursor) fields(do func(field) error) error {
	for c.left > 0 {
		tag, err := c.varint()
		if err != nil {
			return err
		}
		f := field{number: int(min(tag>>3, 1<<30)), wire: int(tag & 7)}
		switch f.wire {
		case 0:
			f.value, err = c.varint()
		case 1:
			err = c.skip(8)
		case 5:
			err = c.skip(4)
		case 2:
			err = c.open(&f)
		default:
			return wrong("a field of wire type %d", f.wire)
		}
		if err == nil && f.number == 0 {
			return wrong("a field without a number")
		}
		if err == nil && (f.wire == 0 || f.wire == 2) {
			err = do(f)
		}
		if err == nil && f.body != nil {
			err = f.body.skip(f.body.left)
		}
		if err != nil {
			return err
		}
	}
	return nil
}

func (c *cursor) open(f *field) error {
	n, err := c.varint()
	if err != nil {
		return err
	}
	if n > uint64(max(c.left, 0)) {
		return io.ErrUnexpectedEOF
	}
	c.left -= int64(n)
	f.body = &cursor{r: c.r, left: int64(n)}
	return nil
}

// ReadByte implements io.ByteReader within the message.
func (c *cursor) ReadByte() (byte, error) {
	if c.left <= 0 {
		return 0, io.ErrUnexpectedEOF
	}
	c.left--
	return c.r.ReadByte()
}

func (c *cursor) varint() (uint64, error) {
	n, err := binary.ReadUvarint(c)
	if err != nil && !errors.Is(err, io.EOF) && !errors.Is(err, io.ErrUnexpectedEOF) {
		return 0, wrong("a number of more than 64 bits")
	}
	return n, err
}

func (c *cursor) skip(n int64) error {
	if n > c.left {
		return io.ErrUnexpectedEOF
	}
	for c.left -= n; n > 0; {
		step := int(min(n, 1<<30))
		got, err := c.r.Discard(step)
		if n -= int64(got); err != nil {
			return err
		}
	}
	return nil
}

func (f field) integer() (int64, error) {
	if f.wire != 0 {
		return 0, wrong("field %d is no number", f.number)
	}
	return int64(f.value), nil
}

// integers reads a repeated number, packed or not.
func (f field) integers(do func(int64) error) error {
	if f.wire == 0 {
		return do(int64(f.value))
	}
	for f.body.left > 0 {
		n, err := f.body.varint()
		if err == nil {
			err = do(int64(n))
		}
		if err != nil {
			return err
		}
	}
	return nil
}

func (f field) text(most int64) (string, error) {
	if f.wire != 2 {
		return "", wrong("field %d is no text", f.number)
	}
	if f.body.left > most {
		return "", tooMany("bytes of text", int(most))
	}
	b := make([]byte, f.body.left)
	f.body.left = 0
	_, err := io.ReadFull(f.body.r, b)
	return string(b), err
}

func (f field) message(do func(field) error) error {
	if f.wire != 2 {
		return wrong("field %d is no message", f.number)
	}
	return f.body.fields(do)
}
