package onnx

import (
	"encoding/binary"
	"io"
	"os"
	"strconv"

	"github.com/arw-project/arw/abi"
)

// Keys of the metadata that Bundle writes. docs/spec/onnx.md says what they mean.
const (
	metaTokenizer = "arw.tokenizer"
	metaPooling   = "arw.pooling"
	metaNormalize = "arw.normalize"
	metaMax       = "arw.max_tokens"
)

// Pooling makes one vector of a text's tokens.
type Pooling string

// The ways. Given is for a network whose output is one row per text already.
const (
	Mean  Pooling = "mean"
	First Pooling = "cls"
	Given Pooling = "none"
)

// Options of a bundle.
type Options struct {
	Pooling   Pooling
	Normalize bool // to length 1
	Max       int  // tokens of a text, special ones included; longer texts are refused
}

func (o Options) check() error {
	if o.Pooling != Mean && o.Pooling != First && o.Pooling != Given {
		return abi.Errorf(abi.Invalid, "bundle a model: pooling %.40q is not mean, cls or none", o.Pooling)
	}
	if o.Max < 8 || o.Max > maxTokens {
		return abi.Errorf(abi.Invalid, "bundle a model: max_tokens %d is not 8 to %d", o.Max, maxTokens)
	}
	return nil
}

// maxTokens of a text that any encoder may take.
const maxTokens = 8192

// Bundle writes the model with a tokenizer (tokenizer.json) and options in its metadata. The result is the model's bytes with fields
// added behind: repeated fields of a protocol buffer may stand anywhere, and of two notes with one key the last holds.
// Errors: those of Inspect and of the tokenizer, Conflict for a model that has them already, Invalid; w's own.
func Bundle(w io.Writer, model io.ReadSeeker, tokenizer []byte, o Options) error {
	if err := o.check(); err != nil {
		return err
	}
	size, err := model.Seek(0, io.SeekEnd)
	if err == nil {
		_, err = model.Seek(0, io.SeekStart)
	}
	if err != nil {
		return err
	}
	m, err := Inspect(model, size)
	if err != nil {
		return err
	}
	if m.Bundled {
		return abi.Errorf(abi.Conflict, "bundle a model: it has a tokenizer already")
	}
	if _, err := parseTokenizer(tokenizer); err != nil {
		return err
	}
	if _, err := model.Seek(0, io.SeekStart); err != nil {
		return err
	}
	if _, err := io.Copy(w, model); err != nil {
		return err
	}
	var tail []byte
	for _, kv := range [][2]string{{metaTokenizer, string(tokenizer)}, {metaPooling, string(o.Pooling)},
		{metaNormalize, strconv.FormatBool(o.Normalize)}, {metaMax, strconv.Itoa(o.Max)}} {
		tail = appendNote(tail, kv[0], kv[1])
	}
	_, err = w.Write(tail)
	return err
}

// appendNote adds an entry of ModelProto.metadata_props.
func appendNote(b []byte, key, value string) []byte {
	var body []byte
	for i, s := range []string{key, value} {
		body = binary.AppendUvarint(body, uint64(i+1)<<3|2)
		body = binary.AppendUvarint(body, uint64(len(s)))
		body = append(body, s...)
	}
	b = binary.AppendUvarint(b, 14<<3|2)
	b = binary.AppendUvarint(b, uint64(len(body)))
	return append(b, body...)
}

// options reads back what Bundle wrote.
func (m *Model) options() (Options, error) {
	o := Options{Pooling: Pooling(m.metadata[metaPooling])}
	var err error
	if o.Normalize, err = strconv.ParseBool(m.metadata[metaNormalize]); err == nil {
		o.Max, err = strconv.Atoi(m.metadata[metaMax])
	}
	if err == nil {
		err = o.check()
	}
	if err != nil {
		return o, wrong("its notes on pooling and length do not add up: %v", err)
	}
	return o, nil
}

// open inspects a bundle.
func open(name string) (*Model, Options, *Tokenizer, error) {
	fail := func(err error) (*Model, Options, *Tokenizer, error) { return nil, Options{}, nil, err }
	f, err := os.Open(name)
	if err != nil {
		return fail(abi.Errorf(abi.Unavailable, "open model: %w", err))
	}
	defer f.Close()
	info, err := f.Stat()
	if err != nil {
		return fail(abi.Errorf(abi.Unavailable, "open model: %w", err))
	}
	m, err := Inspect(f, info.Size())
	if err != nil {
		return fail(err)
	}
	if err := m.bundled(); err != nil {
		return fail(err)
	}
	o, err := m.options()
	if err != nil {
		return fail(err)
	}
	t, err := parseTokenizer([]byte(m.metadata[metaTokenizer]))
	if err != nil {
		return fail(err)
	}
	return m, o, t, nil
}

// Check refuses a file that Load would refuse for its header. Errors: those of Inspect, Invalid without a tokenizer, Unsupported for a graph
// that is no encoder.
func Check(r io.Reader, size int64) error {
	m, err := Inspect(r, size)
	if err != nil {
		return err
	}
	if err := m.bundled(); err != nil {
		return err
	}
	return m.fits()
}

func (m *Model) bundled() error {
	if m.Bundled {
		return nil
	}
	return abi.Errorf(abi.Invalid, "load model: the file has no tokenizer").
		WithHint("put it in: arw model bundle MODEL.onnx --tokenizer tokenizer.json --out FILE")
}
