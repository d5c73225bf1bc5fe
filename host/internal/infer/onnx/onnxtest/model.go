// Package onnxtest keeps one promise: a tiny encoder as an ONNX file whose every answer can be computed beside it, by other code.
//
// A Model is a transformer (embedding of word, position and type; layers of one-headed attention with mask, layer norm and
// feed-forward with Gelu) with weights from a seed; File writes it. Its answers are noise: it tests plumbing, never quality. Answer computes
// them in float64 with loops and nothing else. Everything is a value; functions may run at once.
package onnxtest

import (
	"encoding/binary"
	"encoding/json"
	"math"
	"math/rand/v2"
	"slices"
	"strconv"
)

// Sizes of the tiny network, and the positions of any.
const (
	Width = 16
	Inner = 32
	Most  = 128
)

// Words are the vocabulary, in order of their numbers.
var Words = []string{"[PAD]", "[UNK]", "[CLS]", "[SEP]", "hello", "world", "the", "cat", "sat", "on", "mat", "un", "##aff", "##able",
	"cafe", "中", "!", ".", ",", "a", "##b", "##c", "run", "##ning", "1", "##2"}

// Model is the network's weights.
type Model struct {
	Word, Place, Type [][]float32
	Layers            []Layer
	Score             [][]float32 // nil: no head
	Bias              []float32
}

// Layer is one of the transformer's.
type Layer struct {
	Q, K, V, O, Up, Down           [][]float32
	Scale1, Shift1, Scale2, Shift2 []float32
	BiasUp, BiasDown               []float32
}

// New makes the tiny network from a seed: one layer. With a head it gives one number per text instead of vectors.
func New(seed uint64, head bool) *Model {
	m := Sized(seed, Width, Inner, 1)
	if head {
		r := rand.New(rand.NewPCG(seed, 2))
		m.Score, m.Bias = matrix(r, Width, 1), row(r, 1, 0, .1)
	}
	return m
}

// Sized makes a network of any size, for measuring.
func Sized(seed uint64, width, inner, layers int) *Model {
	r := rand.New(rand.NewPCG(seed, 1))
	m := &Model{Word: matrix(r, len(Words), width), Place: matrix(r, Most, width), Type: matrix(r, 2, width)}
	for range layers {
		m.Layers = append(m.Layers, Layer{
			Q: matrix(r, width, width), K: matrix(r, width, width), V: matrix(r, width, width), O: matrix(r, width, width),
			Up: matrix(r, width, inner), Down: matrix(r, inner, width), BiasUp: row(r, inner, 0, .1), BiasDown: row(r, width, 0, .1),
			Scale1: row(r, width, 1, .1), Shift1: row(r, width, 0, .1), Scale2: row(r, width, 1, .1), Shift2: row(r, width, 0, .1)})
	}
	return m
}

func (m *Model) width() int { return len(m.Word[0]) }

func row(r *rand.Rand, n int, at, spread float64) []float32 {
	out := make([]float32, n)
	for i := range out {
		out[i] = float32(at + spread*r.NormFloat64())
	}
	return out
}

func matrix(r *rand.Rand, n, m int) [][]float32 {
	out := make([][]float32, n)
	for i := range out {
		out[i] = row(r, m, 0, 1/math.Sqrt(float64(m)))
	}
	return out
}

// Tokenizer is the tokenizer.json of Words.
func Tokenizer() []byte {
	vocab := map[string]int{}
	for i, w := range Words {
		vocab[w] = i
	}
	seq := func(id string, t int) any { return map[string]any{"Sequence": map[string]any{"id": id, "type_id": t}} }
	special := func(id string, t int) any {
		return map[string]any{"SpecialToken": map[string]any{"id": id, "type_id": t}}
	}
	ids := func(w string) any {
		return map[string]any{"id": w, "ids": []int{slices.Index(Words, w)}, "tokens": []string{w}}
	}
	out, err := json.Marshal(map[string]any{
		"normalizer":    map[string]any{"type": "BertNormalizer", "clean_text": true, "handle_chinese_chars": true, "strip_accents": nil, "lowercase": true},
		"pre_tokenizer": map[string]any{"type": "BertPreTokenizer"},
		"post_processor": map[string]any{"type": "TemplateProcessing",
			"single":         []any{special("[CLS]", 0), seq("A", 0), special("[SEP]", 0)},
			"pair":           []any{special("[CLS]", 0), seq("A", 0), special("[SEP]", 0), seq("B", 1), special("[SEP]", 1)},
			"special_tokens": map[string]any{"[CLS]": ids("[CLS]"), "[SEP]": ids("[SEP]")}},
		"model": map[string]any{"type": "WordPiece", "unk_token": "[UNK]", "continuing_subword_prefix": "##", "max_input_chars_per_word": 20, "vocab": vocab},
	})
	if err != nil {
		panic(err) // plain maps
	}
	return out
}

// wire writes protocol buffers.
type wire []byte

func (w *wire) number(field int, n uint64) {
	*w = binary.AppendUvarint(*w, uint64(field)<<3)
	*w = binary.AppendUvarint(*w, n)
}

func (w *wire) bytes(field int, b []byte) {
	*w = binary.AppendUvarint(*w, uint64(field)<<3|2)
	*w = binary.AppendUvarint(*w, uint64(len(b)))
	*w = append(*w, b...)
}

func (w *wire) text(field int, s string) { w.bytes(field, []byte(s)) }

// File is the network as an ONNX model, opset 17.
func (m *Model) File() []byte {
	g := &builder{}
	out, shape := g.network(m), []string{"batch", "sequence", strconv.Itoa(m.width())}
	if m.Score != nil {
		g.floats("score.w", m.Score...)
		g.floats("score.b", m.Bias)
		g.ints("zero", 0)
		g.node("Gather", "first", with("axis", 1), out, "zero")
		g.node("Squeeze", "first2", nil, "first", "one")
		g.node("MatMul", "score0", nil, "first2", "score.w")
		g.node("Add", "logits", nil, "score0", "score.b.row")
		out, shape = "logits", []string{"batch", "1"}
	}
	for _, name := range []string{"input_ids", "attention_mask", "token_type_ids"} {
		g.value(11, name, 7, "batch", "sequence")
	}
	g.value(12, out, 1, shape...)
	g.body.text(2, "tiny-encoder")
	var file, opset wire
	opset.text(1, "")
	opset.number(2, 17)
	file.number(1, 8)
	file.text(2, "arw-onnxtest")
	file.bytes(7, g.body)
	file.bytes(8, opset)
	return file
}

// Answer is what the network gives for one text: its width of numbers for every token, or one number alone.
func (m *Model) Answer(ids, types []int32) [][]float64 {
	x := make([][]float64, len(ids))
	for i, id := range ids {
		x[i] = make([]float64, m.width())
		for j := range x[i] {
			x[i][j] = float64(m.Word[id][j]) + float64(m.Place[i][j]) + float64(m.Type[types[i]][j])
		}
	}
	for i := range m.Layers {
		x = m.Layers[i].answer(x)
	}
	if m.Score == nil {
		return x
	}
	score := times(x[:1], m.Score)
	score[0][0] += float64(m.Bias[0])
	return score
}

func (l *Layer) answer(x [][]float64) [][]float64 {
	q, k, v := times(x, l.Q), times(x, l.K), times(x, l.V)
	mixed := make([][]float64, len(x))
	for i := range x {
		mixed[i] = attend(q[i], k, v)
	}
	h := norm(plus(x, times(mixed, l.O)), l.Scale1, l.Shift1)
	up := times(h, l.Up)
	for _, row := range up {
		for j := range row {
			y := row[j] + float64(l.BiasUp[j])
			row[j] = y / 2 * (1 + math.Erf(y/math.Sqrt2))
		}
	}
	down := times(up, l.Down)
	for _, row := range down {
		for j := range row {
			row[j] += float64(l.BiasDown[j])
		}
	}
	return norm(plus(h, down), l.Scale2, l.Shift2)
}

func attend(q []float64, k, v [][]float64) []float64 {
	weights, sum := make([]float64, len(k)), 0.0
	for j := range k {
		dot := 0.0
		for d := range q {
			dot += q[d] * k[j][d]
		}
		weights[j] = math.Exp(dot / math.Sqrt(float64(len(q))))
		sum += weights[j]
	}
	out := make([]float64, len(q))
	for j := range v {
		for d := range out {
			out[d] += weights[j] / sum * v[j][d]
		}
	}
	return out
}

func times(x [][]float64, w [][]float32) [][]float64 {
	out := make([][]float64, len(x))
	for i := range x {
		out[i] = make([]float64, len(w[0]))
		for j := range out[i] {
			for d := range x[i] {
				out[i][j] += x[i][d] * float64(w[d][j])
			}
		}
	}
	return out
}

func plus(a, b [][]float64) [][]float64 {
	for i := range a {
		for j := range a[i] {
			b[i][j] += a[i][j]
		}
	}
	return b
}

func norm(x [][]float64, scale, shift []float32) [][]float64 {
	for _, row := range x {
		mean, square := 0.0, 0.0
		for _, v := range row {
			mean += v / float64(len(row))
		}
		for _, v := range row {
			square += (v - mean) * (v - mean) / float64(len(row))
		}
		for j, v := range row {
			row[j] = (v-mean)/math.Sqrt(square+1e-12)*float64(scale[j]) + float64(shift[j])
		}
	}
	return x
}
