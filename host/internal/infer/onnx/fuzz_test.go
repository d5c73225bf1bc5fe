package onnx_test

import (
	"bytes"
	"testing"

	"github.com/arw-project/arw/abi"
	"github.com/arw-project/arw/host/internal/infer/onnx"
	"github.com/arw-project/arw/host/internal/infer/onnx/onnxtest"
)

func FuzzInspect(f *testing.F) {
	f.Add(onnxtest.New(7, false).File())
	f.Add(onnxtest.New(7, true).File()[:900])
	f.Add([]byte{8, 8, 58, 2, 10, 0})
	f.Fuzz(func(t *testing.T, file []byte) {
		m, err := onnx.Inspect(bytes.NewReader(file), int64(len(file)))
		if (m == nil) == (err == nil) {
			t.Fatalf("%v and %v", m, err)
		}
		switch abi.CodeOf(err) {
		case abi.OK, abi.Corrupt, abi.TooLarge, abi.Unsupported:
		default:
			t.Fatal(err)
		}
	})
}

func FuzzTokenizer(f *testing.F) {
	f.Add(string(onnxtest.Tokenizer()), "hello")
	model := onnxtest.New(7, false).File()
	f.Fuzz(func(t *testing.T, tokenizer, _ string) {
		err := onnx.Bundle(&bytes.Buffer{}, bytes.NewReader(model), []byte(tokenizer), onnx.Options{Pooling: onnx.Mean, Max: 64})
		switch abi.CodeOf(err) {
		case abi.OK, abi.Corrupt, abi.Unsupported:
		default:
			t.Fatal(err)
		}
	})
}
