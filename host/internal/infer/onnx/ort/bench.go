package main

import (
	"bytes"
	"fmt"
	"math"
	"os"
	"path/filepath"
	"strings"
	"time"

	"github.com/arw-project/arw/host/internal/infer/onnx"
	"github.com/arw-project/arw/host/internal/infer/onnx/onnxtest"
	"github.com/arw-project/arw/host/internal/infer/onnx/purego"
)

// bench embeds the same texts with both engines, in turns, on a network of the size of a small sentence encoder (6 layers of
// width 384), prints the shortest times, and refuses to print anything when the vectors differ.
func bench() error {
	dir, err := os.MkdirTemp("", "ort")
	if err != nil {
		return err
	}
	defer os.RemoveAll(dir)
	var file bytes.Buffer
	model := onnxtest.Sized(3, 384, 1536, 6).File()
	if err := onnx.Bundle(&file, bytes.NewReader(model), onnxtest.Tokenizer(), onnx.Options{Pooling: onnx.Mean, Normalize: true, Max: 128}); err != nil {
		return err
	}
	name := filepath.Join(dir, "model.onnx")
	if err := os.WriteFile(name, file.Bytes(), 0o600); err != nil {
		return err
	}
	native, err := onnx.Load(name, open)
	if err != nil {
		return err
	}
	pure, err := onnx.Load(name, purego.Open)
	if err != nil {
		return err
	}
	fmt.Println("| texts | tokens each | pure Go | ONNX Runtime | ratio |")
	fmt.Println("|---|---|---|---|---|")
	for _, c := range []struct{ texts, words int }{{1, 6}, {1, 60}, {32, 6}, {32, 60}} {
		texts := make([]string, c.texts)
		for i := range texts {
			texts[i] = strings.Repeat("the cat ", c.words/2)
		}
		slow, fast := time.Duration(math.MaxInt64), time.Duration(math.MaxInt64)
		for range 5 {
			a, t, err := timed(pure, texts)
			if err != nil {
				return err
			}
			b, u, err := timed(native, texts)
			if err != nil {
				return err
			}
			if d := distance(a, b); d > 1e-4 {
				return fmt.Errorf("the engines differ by %g", d)
			}
			slow, fast = min(slow, t), min(fast, u)
		}
		per := func(d time.Duration) string { return fmt.Sprintf("%.0f texts/s", float64(c.texts)/d.Seconds()) }
		fmt.Printf("| %d | %d | %s | %s | %.1f× |\n", c.texts, c.words+2, per(slow), per(fast), float64(slow)/float64(fast))
	}
	return nil
}

func timed(e *onnx.Encoder, texts []string) ([][]float32, time.Duration, error) {
	begin := time.Now()
	v, _, err := e.Embed(texts)
	return v, time.Since(begin), err
}

func distance(a, b [][]float32) (far float64) {
	for i := range a {
		for j := range a[i] {
			far = max(far, math.Abs(float64(a[i][j]-b[i][j])))
		}
	}
	return far
}
