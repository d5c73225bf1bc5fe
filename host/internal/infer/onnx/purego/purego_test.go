package purego_test

import (
	"bytes"
	"errors"
	"math"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/arw-project/arw/abi"
	"github.com/arw-project/arw/host/internal/infer"
	"github.com/arw-project/arw/host/internal/infer/onnx"
	"github.com/arw-project/arw/host/internal/infer/onnx/onnxtest"
	"github.com/arw-project/arw/host/internal/infer/onnx/purego"
)

// bundle writes a tiny encoder with its tokenizer.
func bundle(t testing.TB, m *onnxtest.Model, o onnx.Options) string {
	t.Helper()
	var b bytes.Buffer
	if err := onnx.Bundle(&b, bytes.NewReader(m.File()), onnxtest.Tokenizer(), o); err != nil {
		t.Fatal(err)
	}
	name := filepath.Join(t.TempDir(), "model.onnx")
	if err := os.WriteFile(name, b.Bytes(), 0o600); err != nil {
		t.Fatal(err)
	}
	return name
}

func load(t testing.TB, m *onnxtest.Model, o onnx.Options) *onnx.Encoder {
	t.Helper()
	e, err := onnx.Load(bundle(t, m, o), purego.Open)
	if err != nil {
		t.Fatal(err)
	}
	return e
}

var texts = []string{"hello world", "the cat sat on the mat.", "a", "unaffable cat, running!", "", strings.Repeat("the mat ", 20), "Café 中 12"}

func near(a []float32, b []float64) bool {
	return len(a) == len(b) && distance(a, b) < 2e-5
}

func distance(a []float32, b []float64) (far float64) {
	for i := range b {
		far = max(far, math.Abs(float64(a[i])-b[i]))
	}
	return far
}

// Every vector is the one that plain loops over the weights give, whatever else is in the batch.
func TestEmbedIsTheNetworksAnswer(t *testing.T) {
	m := onnxtest.New(7, false)
	for _, o := range []onnx.Options{{Pooling: onnx.Mean, Max: 64}, {Pooling: onnx.First, Max: 64}, {Pooling: onnx.Mean, Normalize: true, Max: 64}} {
		e := load(t, m, o)
		got, count, err := e.Embed(texts)
		if err != nil {
			t.Fatal(err)
		}
		sum := 0
		for i, text := range texts {
			ids := e.Tokens(text)
			sum += len(ids)
			if want := pooled(m.Answer(ids, make([]int32, len(ids))), o); !near(got[i], want) {
				t.Errorf("%+v: %q is %v, want %v", o, text, got[i], want)
			}
		}
		if count != sum || e.Width() != onnxtest.Width {
			t.Errorf("%d tokens of width %d, want %d of %d", count, e.Width(), sum, onnxtest.Width)
		}
	}
}

func pooled(rows [][]float64, o onnx.Options) []float64 {
	if o.Pooling == onnx.First {
		rows = rows[:1]
	}
	out := make([]float64, len(rows[0]))
	length := 0.0
	for j := range out {
		for _, r := range rows {
			out[j] += r[j] / float64(len(rows))
		}
		length += out[j] * out[j]
	}
	for j := range out {
		if o.Normalize {
			out[j] /= math.Sqrt(length)
		}
	}
	return out
}

func TestScoreIsTheNetworksAnswer(t *testing.T) {
	m := onnxtest.New(9, true)
	e := load(t, m, onnx.Options{Pooling: onnx.Given, Max: 64})
	got, _, err := e.Score("the cat", texts)
	if err != nil {
		t.Fatal(err)
	}
	for i, text := range texts {
		q, d := e.Tokens("the cat"), e.Tokens(text)
		ids := append(slices.Clone(q), d[1:]...)
		types := make([]int32, len(ids))
		for j := len(q); j < len(types); j++ {
			types[j] = 1
		}
		if want := m.Answer(ids, types)[0]; !near(got[i:i+1], want) {
			t.Errorf("%q scores %v, want %v", text, got[i], want)
		}
	}
	if _, _, err := e.Embed(texts); abi.CodeOf(err) != abi.Unsupported {
		t.Errorf("a model that scores embeds: %v", err)
	}
}

func TestTooLongSaysHowLong(t *testing.T) {
	e := load(t, onnxtest.New(7, false), onnx.Options{Pooling: onnx.Mean, Max: 16})
	_, _, err := e.Embed([]string{"a", strings.Repeat("cat ", 40)})
	var refused *abi.Error
	if !errors.As(err, &refused) || refused.Code != abi.TooLarge || refused.Detail != (infer.Overflow{Prompt: 42, Context: 16}) {
		t.Errorf("got %v", err)
	}
}

// Words by hand from the rules of BERT: clean, lower, strip accents, split, longest piece first.
func TestTokenizer(t *testing.T) {
	e := load(t, onnxtest.New(7, false), onnx.Options{Pooling: onnx.Mean, Max: 64})
	for text, want := range map[string]string{
		"hello world":                "hello world",
		"HELLO\tWorld\n":             "hello world",
		"hello,world!":               "hello , world !",
		"unaffable":                  "un ##aff ##able",
		"running":                    "run ##ning",
		"runing":                     "[UNK]", // a word with an unknown rest is unknown as a whole
		"Caf\u00e9":                  "cafe",
		"Cafe\u0301":                 "cafe",
		"cat中mat":                    "cat 中 mat",
		"a\u200bb":                   "a ##b", // a sign without width is dropped
		"a\x00c":                     "a ##c",
		"abc":                        "a ##b ##c",
		"12":                         "1 ##2",
		"[CLS]":                      "[UNK] [UNK] [UNK]", // text is never control
		strings.Repeat("a", 21):      "[UNK]",
		"":                           "",
		"the\u00a0cat\u3000sat":      "the cat sat",
		"cat\ufffd":                  "cat",
		"\U0001F600":                 "[UNK]",
		"a.b":                        "a . [UNK]",
		"un" + "aff" + "able" + "!!": "un ##aff ##able ! !",
	} {
		got := []string{}
		for _, id := range e.Tokens(text) {
			got = append(got, onnxtest.Words[id])
		}
		if s := strings.Join(got, " "); s != strings.TrimSpace("[CLS] "+want)+" [SEP]" && s != "[CLS] "+want+" [SEP]" {
			t.Errorf("%q is %q, want %q", text, s, want)
		}
	}
}

func TestLoadRefuses(t *testing.T) {
	dir := t.TempDir()
	write := func(name string, b []byte) string {
		name = filepath.Join(dir, name)
		if err := os.WriteFile(name, b, 0o600); err != nil {
			t.Fatal(err)
		}
		return name
	}
	pooled := bundle(t, onnxtest.New(9, true), onnx.Options{Pooling: onnx.Mean, Max: 64})
	odd := bytes.Replace(onnxtest.New(7, false).File(), []byte("Softmax"), []byte("Sophmax"), 1)
	var b bytes.Buffer
	if err := onnx.Bundle(&b, bytes.NewReader(odd), onnxtest.Tokenizer(), onnx.Options{Pooling: onnx.Mean, Max: 64}); err != nil {
		t.Fatal(err)
	}
	inputs := bytes.ReplaceAll(onnxtest.New(7, false).File(), []byte("input_ids"), []byte("pixels_in"))
	var c bytes.Buffer
	if err := onnx.Bundle(&c, bytes.NewReader(inputs), onnxtest.Tokenizer(), onnx.Options{Pooling: onnx.Mean, Max: 64}); err != nil {
		t.Fatal(err)
	}
	for name, want := range map[string]abi.Code{
		write("bare.onnx", onnxtest.New(7, false).File()): abi.Invalid,
		write("unknown-operator.onnx", b.Bytes()):         abi.Unsupported,
		write("no-encoder.onnx", c.Bytes()):               abi.Unsupported,
		pooled:                                            abi.Unsupported, // scores are not to be pooled
		filepath.Join(dir, "gone.onnx"):                   abi.Unavailable,
	} {
		if _, err := onnx.Load(name, purego.Open); abi.CodeOf(err) != want {
			t.Errorf("%s: %v, want %v", filepath.Base(name), err, want)
		}
	}
}

func BenchmarkEmbed(b *testing.B) {
	e := load(b, onnxtest.New(7, false), onnx.Options{Pooling: onnx.Mean, Max: 64})
	for b.Loop() {
		if _, _, err := e.Embed(texts); err != nil {
			b.Fatal(err)
		}
	}
	b.ReportMetric(float64(b.N*len(texts))/b.Elapsed().Seconds(), "texts/s")
}
