package onnx

import (
	"math"
	"slices"
	"sync"

	"github.com/arw-project/arw/abi"
	"github.com/arw-project/arw/host/internal/infer"
)

// maxRows is how many texts run together.
const maxRows = 32

// Encoder turns texts into vectors, or pairs into scores.
type Encoder struct {
	model *Model
	opts  Options
	token *Tokenizer
	width int

	run sync.Mutex
	net Network
}

// Load opens a bundle. It runs the network once, so that one that cannot run is refused here. Errors: those of Inspect,
// Invalid without a tokenizer, Unsupported for a graph or an operator that is not supported.
func Load(file string, network NetworkOpener) (*Encoder, error) {
	m, o, t, err := open(file)
	if err != nil {
		return nil, err
	}
	if err := m.fits(); err != nil {
		return nil, err
	}
	e := &Encoder{model: m, opts: o, token: t}
	if e.net, err = network(file, m); err != nil {
		return nil, err
	}
	rows, err := e.rows([]tokens{{ids: t.Encode("a")}})
	if err != nil {
		return nil, err
	}
	e.width = len(rows[0])
	return e, nil
}

// Max is how many tokens a text may have, special ones included. Width is how many numbers a vector has.
func (e *Encoder) Max() int   { return e.opts.Max }
func (e *Encoder) Width() int { return e.width }

// Scores reports whether the model scores pairs of texts: one number per pair, and a tokenizer that joins two.
func (e *Encoder) Scores() bool { return e.width == 1 && e.token.Pairs() && e.opts.Pooling == Given }

// tokens of one row.
type tokens struct{ ids, types []int32 }

// Tokens gives the tokens of a text.
func (e *Encoder) Tokens(text string) []int32 { return e.token.Encode(text) }

// Embed gives one vector per text and the number of tokens. Errors: TooLarge with infer.Overflow for a text beyond Max, Unsupported for a model
// that scores; the network's.
func (e *Encoder) Embed(texts []string) ([][]float32, int, error) {
	if e.Scores() {
		return nil, 0, abi.Errorf(abi.Unsupported, "embed: the model scores pairs and has no vectors")
	}
	in := make([]tokens, len(texts))
	for i, text := range texts {
		in[i].ids = e.token.Encode(text)
	}
	return e.all(in)
}

// Score gives one number per document: how well it fits the query, by the model's own measure. Errors as for Embed.
func (e *Encoder) Score(query string, documents []string) ([]float32, int, error) {
	if !e.Scores() {
		return nil, 0, abi.Errorf(abi.Unsupported, "rerank: the model gives vectors and scores no pairs")
	}
	in := make([]tokens, len(documents))
	for i, d := range documents {
		in[i].ids, in[i].types = e.token.EncodePair(query, d)
	}
	rows, count, err := e.all(in)
	out := make([]float32, len(rows))
	for i, r := range rows {
		out[i] = r[0]
	}
	return out, count, err
}

// all runs rows in batches of about one length, and gives them back in their order.
func (e *Encoder) all(in []tokens) ([][]float32, int, error) {
	count := 0
	order := make([]int, len(in))
	for i := range in {
		order[i] = i
		count += len(in[i].ids)
		if n := len(in[i].ids); n > e.opts.Max {
			return nil, 0, abi.Errorf(abi.TooLarge, "encode text %d: it has %d tokens, the model takes %d", i, n, e.opts.Max).
				WithDetail(infer.Overflow{Prompt: n, Context: e.opts.Max})
		}
	}
	slices.SortStableFunc(order, func(a, b int) int { return len(in[a].ids) - len(in[b].ids) })
	out := make([][]float32, len(in))
	for at := 0; at < len(order); {
		n := 1
		for at+n < len(order) && n < maxRows && bucket(len(in[order[at+n]].ids)) == bucket(len(in[order[at]].ids)) {
			n++
		}
		some := make([]tokens, n)
		for i := range some {
			some[i] = in[order[at+i]]
		}
		rows, err := e.rows(some)
		if err != nil {
			return nil, 0, err
		}
		for i, r := range rows {
			out[order[at+i]] = r
		}
		at += n
	}
	return out, count, nil
}

// bucket is the next power of two, 8 at least: a graph is compiled for every shape, so there are to be few.
func bucket(n int) int {
	b := 8
	for b < n {
		b *= 2
	}
	return b
}

// rows runs one batch, filled up to a bucket in both directions. Rows that fill are the first one again, for a row without any token has no
// mean.
func (e *Encoder) rows(in []tokens) ([][]float32, error) {
	b := Batch{Rows: 1, Length: 8}
	for b.Rows < len(in) {
		b.Rows *= 2
	}
	for _, t := range in {
		b.Length = max(b.Length, bucket(len(t.ids)))
	}
	size := b.Rows * b.Length
	b.IDs, b.Mask, b.Types = make([]int64, size), make([]int64, size), make([]int64, size)
	for r := range b.Rows {
		t := in[0]
		if r < len(in) {
			t = in[r]
		}
		for i, id := range t.ids {
			b.IDs[r*b.Length+i], b.Mask[r*b.Length+i] = int64(id), 1
			if t.types != nil {
				b.Types[r*b.Length+i] = int64(t.types[i])
			}
		}
	}
	e.run.Lock()
	values, shape, err := e.net.Run(b)
	e.run.Unlock()
	if err != nil {
		return nil, err
	}
	return e.pool(b, values, shape, len(in))
}

// pool makes a vector of each row.
func (e *Encoder) pool(b Batch, values []float32, shape []int, rows int) ([][]float32, error) {
	odd := func() error {
		return abi.Errorf(abi.Unsupported, "run model: its output has the shape %v with %d values for %d texts of %d tokens and pooling %q", shape, len(values), b.Rows, b.Length, e.opts.Pooling)
	}
	want := []int{b.Rows, b.Length, 0}
	if e.opts.Pooling == Given {
		want = []int{b.Rows, 0}
	}
	if len(shape) != len(want) || !slices.Equal(shape[:len(shape)-1], want[:len(want)-1]) {
		return nil, odd()
	}
	width := shape[len(shape)-1]
	if per := len(values) / b.Rows; width == 0 || len(values) != per*b.Rows || e.opts.Pooling == Given && per != width || e.opts.Pooling != Given && per != b.Length*width {
		return nil, odd()
	}
	out := make([][]float32, rows)
	for r := range out {
		per := len(values) / b.Rows
		out[r] = e.one(values[r*per:(r+1)*per], b.Mask[r*b.Length:(r+1)*b.Length], width)
	}
	return out, nil
}

func (e *Encoder) one(values []float32, mask []int64, width int) []float32 {
	sum := make([]float64, width)
	count := 0.0
	for at := 0; at*width < len(values); at++ {
		if e.opts.Pooling == Mean && mask[at] == 0 {
			continue
		}
		for i := range sum {
			sum[i] += float64(values[at*width+i])
		}
		if count++; e.opts.Pooling != Mean {
			break
		}
	}
	scale := 1 / max(count, 1)
	if e.opts.Normalize {
		square := 0.0
		for _, x := range sum {
			square += x * x
		}
		scale = 1 / max(math.Sqrt(square), 1e-12)
	}
	out := make([]float32, width)
	for i, x := range sum {
		out[i] = float32(x * scale)
	}
	return out
}
