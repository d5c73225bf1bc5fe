// Package onnxtest keeps one promise: a tiny encoder as an ONNX file whose every answer can be computed beside it, by other code.
//
// Encoder writes a one-layer transformer (embedding of word, position and type, one-headed attention with mask, layer norm,
// feed-forward with Gelu) with weights from a seed. Its answers are noise: it tests plumbing, never quality. Answer computes
// them in float64 with loops and nothing else. Everything is a value; functions may run at once.
package onnxtest

import (
	"encoding/binary"
	"encoding/json"
	"math"
	"math/rand/v2"
	"slices"
)

// Sizes of the network.
const (
	Width = 16
	Inner = 32
	Most  = 128 // positions
)

// Words are the vocabulary, in order of their numbers.
var Words = []string{"[PAD]", "[UNK]", "[CLS]", "[SEP]", "hello", "world", "the", "cat", "sat", "on", "mat", "un", "##aff", "##able",
	"cafe", "中", "!", ".", ",", "a", "##b", "##c", "run", "##ning", "1", "##2"}

// Model is the network's weights.
type Model struct {
	Word, Place, Type      [][]float32
	Q, K, V, O, Up, Down   [][]float32
	Scale1, Shift1         []float32
	Scale2, Shift2         []float32
	Score                  [][]float32 // nil: no head
	BiasUp, BiasDown, Bias []float32
}

// New makes weights from a seed. With a head the network gives one number per text instead of vectors.
func New(seed uint64, head bool) *Model {
	r := rand.New(rand.NewPCG(seed, 1))
	row := func(n int, at, spread float64) []float32 {
		out := make([]float32, n)
		for i := range out {
			out[i] = float32(at + spread*r.NormFloat64())
		}
		return out
	}
	matrix := func(n, m int) [][]float32 {
		out := make([][]float32, n)
		for i := range out {
			out[i] = row(m, 0, 1/math.Sqrt(float64(m)))
		}
		return out
	}
	m := &Model{Word: matrix(len(Words), Width), Place: matrix(Most, Width), Type: matrix(2, Width),
		Q: matrix(Width, Width), K: matrix(Width, Width), V: matrix(Width, Width), O: matrix(Width, Width),
		Up: matrix(Width, Inner), Down: matrix(Inner, Width), BiasUp: row(Inner, 0, .1), BiasDown: row(Width, 0, .1),
		Scale1: row(Width, 1, .1), Shift1: row(Width, 0, .1), Scale2: row(Width, 1, .1), Shift2: row(Width, 0, .1)}
	if head {
		m.Score, m.Bias = matrix(Width, 1), row(1, 0, .1)
	}
	return m
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
	out, shape := "hidden", []string{"batch", "sequence", "16"}
	g.network(m)
	if m.Score != nil {
		g.floats("score.w", m.Score...)
		g.floats("score.b", m.Bias)
		g.ints("zero", 0)
		g.node("Gather", "first", with("axis", 1), "hidden", "zero")
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

// Answer is what the network gives for one text: Width numbers for every token, or one number alone.
func (m *Model) Answer(ids, types []int32) [][]float64 {
	x := make([][]float64, len(ids))
	for i, id := range ids {
		x[i] = make([]float64, Width)
		for j := range x[i] {
			x[i][j] = float64(m.Word[id][j]) + float64(m.Place[i][j]) + float64(m.Type[types[i]][j])
		}
	}
	q, k, v := times(x, m.Q), times(x, m.K), times(x, m.V)
	mixed := make([][]float64, len(x))
	for i := range x {
		mixed[i] = attend(q[i], k, v)
	}
	h := norm(plus(x, times(mixed, m.O)), m.Scale1, m.Shift1)
	up := times(h, m.Up)
	for _, row := range up {
		for j := range row {
			y := row[j] + float64(m.BiasUp[j])
			row[j] = y / 2 * (1 + math.Erf(y/math.Sqrt2))
		}
	}
	down := times(up, m.Down)
	for _, row := range down {
		for j := range row {
			row[j] += float64(m.BiasDown[j])
		}
	}
	h = norm(plus(h, down), m.Scale2, m.Shift2)
	if m.Score == nil {
		return h
	}
	score := times(h[:1], m.Score)
	score[0][0] += float64(m.Bias[0])
	return score
}

func attend(q []float64, k, v [][]float64) []float64 {
	weights, sum := make([]float64, len(k)), 0.0
	for j := range k {
		dot := 0.0
		for d := range q {
			dot += q[d] * k[j][d]
		}
		weights[j] = math.Exp(dot / math.Sqrt(Width))
		sum += weights[j]
	}
	out := make([]float64, Width)
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
