package supervise_test

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"os"
	"os/signal"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	"github.com/arw-project/arw/abi"
	"github.com/arw-project/arw/host/internal/infer"
	"github.com/arw-project/arw/host/internal/infer/infertest"
	"github.com/arw-project/arw/host/internal/infer/onnx"
	"github.com/arw-project/arw/host/internal/infer/onnx/onnxtest"
	"github.com/arw-project/arw/host/internal/infer/onnx/purego"
	"github.com/arw-project/arw/host/internal/infer/supervise"
)

// work is the worker as the command runs it; the test binary is that command too.
func work(args []string) int {
	ctx, stop := signal.NotifyContext(context.Background(), syscall.SIGTERM)
	defer stop()
	if err := onnx.Work(ctx, args, purego.Version, purego.Open); err != nil {
		os.Stderr.WriteString(err.Error() + "\n")
		return 1
	}
	return 0
}

// encoder is a want of a tiny encoder, in a worker that is the default program or the one in ARW_ONNX_WORKER.
func encoder(t testing.TB, m *onnxtest.Model, o onnx.Options) (*bench, supervise.Want) {
	t.Helper()
	b := open(t, func(c *supervise.Config) { c.Launch = nil })
	var file bytes.Buffer
	if err := onnx.Bundle(&file, bytes.NewReader(m.File()), onnxtest.Tokenizer(), o); err != nil {
		t.Fatal(err)
	}
	path := filepath.Join(b.dir, "tiny.onnx")
	if err := os.WriteFile(path, file.Bytes(), 0o600); err != nil {
		t.Fatal(err)
	}
	sum := sha256.Sum256(file.Bytes())
	profiles, err := supervise.ParseProfiles("runtimes.toml", []byte("[profile.tiny]\nruntime = \"onnx\"\nembed = true\n"))
	if err != nil {
		t.Fatal(err)
	}
	p := profiles["tiny"]
	if other := os.Getenv("ARW_ONNX_WORKER"); other != "" {
		p.Binary = other
	}
	return b, supervise.Want{Digest: "sha256:" + hex.EncodeToString(sum[:]), File: path, Size: int64(file.Len()), Profile: p}
}

func TestEncoderConforms(t *testing.T) {
	for name, c := range map[string]struct {
		model *onnxtest.Model
		o     onnx.Options
		want  infer.Can
	}{
		"vectors": {onnxtest.New(7, false), onnx.Options{Pooling: onnx.Mean, Normalize: true, Max: 128}, infer.Can{Embed: true, Tokenize: true}},
		"scores":  {onnxtest.New(9, true), onnx.Options{Pooling: onnx.Given, Max: 128}, infer.Can{Rerank: true, Tokenize: true}},
	} {
		t.Run(name, func(t *testing.T) {
			b, w := encoder(t, c.model, c.o)
			l, err := b.Lend(t.Context(), w)
			if err != nil {
				t.Fatal(err)
			}
			defer l.Release()
			info := l.Model.Info()
			if info.Can != c.want || info.Name != "onnx" || info.Context != 128 || info.Version == "" {
				t.Errorf("it says %+v", info)
			}
			infertest.Run(t, l.Model)
		})
	}
}

// What comes over the socket is what the network says, and a text that is too long is refused with both counts.
func TestEncoderThroughASocket(t *testing.T) {
	m := onnxtest.New(7, false)
	b, w := encoder(t, m, onnx.Options{Pooling: onnx.First, Max: 16})
	l, err := b.Lend(t.Context(), w)
	if err != nil {
		t.Fatal(err)
	}
	defer l.Release()
	ids, err := infer.Tokenize(t.Context(), l.Model, infer.Prompt{Text: "the cat"})
	if err != nil {
		t.Fatal(err)
	}
	got, err := infer.Embed(t.Context(), l.Model, []string{"the cat"})
	if err != nil {
		t.Fatal(err)
	}
	want := m.Answer(ids, make([]int32, len(ids)))[0]
	for i, x := range got.Values[0] {
		if d := float64(x) - want[i]; d > 1e-5 || d < -1e-5 {
			t.Fatalf("the vector is %v, want %v", got.Values[0], want)
		}
	}
	if got.Usage.Prompt != int64(len(ids)) || got.Kind != infer.Neural {
		t.Errorf("it counts %+v as %q", got.Usage, got.Kind)
	}
	_, err = infer.Embed(t.Context(), l.Model, []string{strings.Repeat("cat ", 30)})
	if abi.CodeOf(err) != abi.TooLarge || !strings.Contains(err.Error(), "32") || !strings.Contains(err.Error(), "16") {
		t.Errorf("a text of 32 tokens for 16: %v", err)
	}
}

// A file that is no bundle does not start, and the reason is in the log that the error carries.
func TestEncoderRefusesAModelWithoutTokenizer(t *testing.T) {
	b, w := encoder(t, onnxtest.New(7, false), onnx.Options{Pooling: onnx.Mean, Max: 64})
	if err := os.WriteFile(w.File, onnxtest.New(7, false).File(), 0o600); err != nil {
		t.Fatal(err)
	}
	l, err := b.Lend(t.Context(), w)
	if err == nil {
		l.Release()
		t.Fatal("it loaded")
	}
	if e, ok := errors.AsType[*abi.Error](err); !ok || !strings.Contains(fmt.Sprint(e.Detail), "no tokenizer") {
		t.Errorf("the error is %v", err)
	}
}
