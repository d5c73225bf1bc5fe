package onnx_test

import (
	"bytes"
	"slices"
	"testing"

	"github.com/arw-project/arw/abi"
	"github.com/arw-project/arw/host/internal/infer/onnx"
	"github.com/arw-project/arw/host/internal/infer/onnx/onnxtest"
)

func TestInspect(t *testing.T) {
	file := onnxtest.New(7, false).File()
	m, err := onnx.Inspect(bytes.NewReader(file), int64(len(file)))
	if err != nil {
		t.Fatal(err)
	}
	if m.Producer != "arw-onnxtest" || m.Opsets[""] != 17 || len(m.Inputs) != 3 || m.Outputs[0].Name != "l0.hidden" || m.Operators["MatMul"] != 8 || m.Bundled {
		t.Errorf("got %+v", m)
	}
	if got := m.Inputs[0]; got.Name != "input_ids" || got.Type != "int64" || !slices.Equal(got.Dims, []int64{-1, -1}) {
		t.Errorf("the input is %+v", got)
	}
	const weights = 26*16 + 128*16 + 2*16 + 4*16*16 + 2*16*32 + 32 + 5*16
	if m.Parameters < weights || m.Parameters > weights+200 {
		t.Errorf("%d parameters, want %d and some constants", m.Parameters, weights)
	}
}

// Every prefix of a model is refused, or says no more than was there.
func TestCutOff(t *testing.T) {
	file := onnxtest.New(7, false).File()
	for n := range len(file) {
		if _, err := onnx.Inspect(bytes.NewReader(file[:n]), int64(len(file))); abi.CodeOf(err) != abi.Corrupt {
			t.Fatalf("the first %d of %d bytes: %v", n, len(file), err)
		}
	}
}

func TestRefused(t *testing.T) {
	good := onnxtest.New(7, false).File()
	var bundled bytes.Buffer
	if err := onnx.Bundle(&bundled, bytes.NewReader(good), onnxtest.Tokenizer(), onnx.Options{Pooling: onnx.Mean, Max: 64}); err != nil {
		t.Fatal(err)
	}
	tok := onnxtest.Tokenizer()
	ok := onnx.Options{Pooling: onnx.Mean, Max: 64}
	for name, c := range map[string]struct {
		model, tokenizer []byte
		o                onnx.Options
		code             abi.Code
	}{
		"no model":          {[]byte("GGUF\x03\x00\x00\x00"), tok, ok, abi.Corrupt},
		"empty":             {nil, tok, ok, abi.Corrupt},
		"twice":             {bundled.Bytes(), tok, ok, abi.Conflict},
		"no json":           {good, []byte("{"), ok, abi.Corrupt},
		"another tokenizer": {good, bytes.Replace(tok, []byte(`"WordPiece"`), []byte(`"Unigram"`), 1), ok, abi.Unsupported},
		"another template":  {good, bytes.Replace(tok, []byte(`TemplateProcessing`), []byte(`ByteLevel`), 1), ok, abi.Unsupported},
		"no unknown":        {good, bytes.Replace(tok, []byte(`"unk_token":"[UNK]"`), []byte(`"unk_token":"?"`), 1), ok, abi.Unsupported},
		"odd pooling":       {good, tok, onnx.Options{Pooling: "max", Max: 64}, abi.Invalid},
		"odd length":        {good, tok, onnx.Options{Pooling: onnx.Mean, Max: 1 << 20}, abi.Invalid},
	} {
		if err := onnx.Bundle(&bytes.Buffer{}, bytes.NewReader(c.model), c.tokenizer, c.o); abi.CodeOf(err) != c.code {
			t.Errorf("%s: %v, want %v", name, err, c.code)
		}
	}
}
