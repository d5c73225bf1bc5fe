package infertest

import (
	"bytes"
	"encoding/binary"
	"fmt"
	"math"
	"math/rand/v2"
)

// Shape of the tiny model.
const (
	tinyWidth   = 64
	tinyLayers  = 2
	tinyHeads   = 4
	tinyKV      = 2
	tinyForward = 128
	tinySilent  = 3 + 256 // tokens that are never the likeliest: the control ones and single bytes
)

// TinyContext is the context that the tiny model says it was trained for, in tokens.
const TinyContext = 8192

// TinyGGUF makes a model of the llama architecture with random weights, some 500 kB, the same for a seed everywhere. What it
// says is noise: it tests plumbing, never quality.
func TinyGGUF(seed uint64) []byte {
	g := &ggufWriter{rng: rand.New(rand.NewPCG(seed, 1))}
	pieces, types, scores := tinyVocabulary()
	g.str("general.architecture", "llama")
	g.str("general.name", fmt.Sprintf("arw tiny %d", seed))
	g.str("general.license", "none: random numbers")
	g.u32("general.alignment", 32)
	g.u32("general.file_type", 0)
	g.u32("llama.context_length", TinyContext)
	g.u32("llama.embedding_length", tinyWidth)
	g.u32("llama.block_count", tinyLayers)
	g.u32("llama.feed_forward_length", tinyForward)
	g.u32("llama.attention.head_count", tinyHeads)
	g.u32("llama.attention.head_count_kv", tinyKV)
	g.f32("llama.attention.layer_norm_rms_epsilon", 1e-5)
	g.u32("llama.rope.dimension_count", tinyWidth/tinyHeads)
	g.u32("llama.vocab_size", uint32(len(pieces)))
	g.str("tokenizer.ggml.model", "llama")
	g.strs("tokenizer.ggml.tokens", pieces)
	g.array("tokenizer.ggml.scores", 6, scores)
	g.array("tokenizer.ggml.token_type", 5, types)
	g.u32("tokenizer.ggml.bos_token_id", 1)
	g.u32("tokenizer.ggml.eos_token_id", 2)
	g.u32("tokenizer.ggml.unknown_token_id", 0)
	g.str("tokenizer.chat_template", "{% for m in messages %}<{{ m['role'] }}> {{ m['content'] }}\n{% endfor %}{% if add_generation_prompt %}<assistant>{% endif %}")

	vocabulary := uint64(len(pieces))
	g.tensor("token_embd.weight", tinyWidth, vocabulary)
	g.tensor("output_norm.weight", tinyWidth)
	g.tensor("output.weight", tinyWidth, vocabulary)
	for l := range tinyLayers {
		name := func(s string) string { return fmt.Sprintf("blk.%d.%s.weight", l, s) }
		g.tensor(name("attn_norm"), tinyWidth)
		g.tensor(name("attn_q"), tinyWidth, tinyWidth)
		g.tensor(name("attn_k"), tinyWidth, tinyWidth/tinyHeads*tinyKV)
		g.tensor(name("attn_v"), tinyWidth, tinyWidth/tinyHeads*tinyKV)
		g.tensor(name("attn_output"), tinyWidth, tinyWidth)
		g.tensor(name("ffn_norm"), tinyWidth)
		g.tensor(name("ffn_gate"), tinyWidth, tinyForward)
		g.tensor(name("ffn_up"), tinyWidth, tinyForward)
		g.tensor(name("ffn_down"), tinyForward, tinyWidth)
	}
	return g.file()
}

// tinyVocabulary is bytes, letters and some words, so that any text can be read.
func tinyVocabulary() (pieces []string, types, scores []uint32) {
	add := func(piece string, kind uint32, score float32) {
		pieces, types, scores = append(pieces, piece), append(types, kind), append(scores, math.Float32bits(score))
	}
	add("<unk>", 2, 0)
	add("<s>", 3, 0)
	add("</s>", 3, 0)
	for b := range 256 {
		add(fmt.Sprintf("<0x%02X>", b), 6, 0)
	}
	for i, w := range words {
		add("▁"+w, 1, -float32(i+1))
	}
	for c := ' ' + 1; c < 127; c++ {
		add(string(c), 1, -1000)
	}
	add("▁", 1, -1000)
	return pieces, types, scores
}

type ggufWriter struct {
	rng                  *rand.Rand
	keys, table, weights bytes.Buffer
	nkeys, ntensors      uint64
}

func put(b *bytes.Buffer, v any) { _ = binary.Write(b, binary.LittleEndian, v) } // a buffer takes everything

func putString(b *bytes.Buffer, s string) {
	put(b, uint64(len(s)))
	b.WriteString(s)
}

func (g *ggufWriter) key(name string, kind uint32) {
	putString(&g.keys, name)
	put(&g.keys, kind)
	g.nkeys++
}

func (g *ggufWriter) str(name, v string) {
	g.key(name, 8)
	putString(&g.keys, v)
}

func (g *ggufWriter) u32(name string, v uint32) {
	g.key(name, 4)
	put(&g.keys, v)
}

func (g *ggufWriter) f32(name string, v float32) {
	g.key(name, 6)
	put(&g.keys, v)
}

func (g *ggufWriter) strs(name string, vs []string) {
	g.key(name, 9)
	put(&g.keys, uint32(8))
	put(&g.keys, uint64(len(vs)))
	for _, v := range vs {
		putString(&g.keys, v)
	}
}

func (g *ggufWriter) array(name string, kind uint32, vs []uint32) {
	g.key(name, 9)
	put(&g.keys, kind)
	put(&g.keys, uint64(len(vs)))
	put(&g.keys, vs)
}

func (g *ggufWriter) tensor(name string, dims ...uint64) {
	putString(&g.table, name)
	put(&g.table, uint32(len(dims)))
	n := uint64(1)
	for _, d := range dims {
		put(&g.table, d)
		n *= d
	}
	put(&g.table, uint32(0)) // F32
	put(&g.table, uint64(g.weights.Len()))
	for i := range n {
		v := float32(g.rng.NormFloat64() * 0.5)
		if name == "output.weight" && i < tinySilent*dims[0] {
			v = 0
		}
		put(&g.weights, v)
	}
	g.ntensors++
	pad(&g.weights, 32)
}

func pad(b *bytes.Buffer, align int) {
	for b.Len()%align != 0 {
		b.WriteByte(0)
	}
}

func (g *ggufWriter) file() []byte {
	var out bytes.Buffer
	out.WriteString("GGUF")
	put(&out, uint32(3))
	put(&out, g.ntensors)
	put(&out, g.nkeys)
	out.Write(g.keys.Bytes())
	out.Write(g.table.Bytes())
	pad(&out, 32)
	out.Write(g.weights.Bytes())
	return out.Bytes()
}
