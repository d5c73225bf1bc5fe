package main

import (
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"

	"github.com/spf13/cobra"

	"github.com/arw-project/arw/abi"
	"github.com/arw-project/arw/host/internal/infer/gguf"
	"github.com/arw-project/arw/host/internal/infer/onnx"
	"github.com/arw-project/arw/host/internal/infer/onnx/purego"
)

// onnxWorkerCmd is what the supervisor starts for a profile of the runtime "onnx". Nobody types it.
func (a *app) onnxWorkerCmd() *cobra.Command {
	return &cobra.Command{Use: "onnx-worker", Hidden: true, DisableFlagParsing: true, RunE: func(cmd *cobra.Command, args []string) error {
		return onnx.Work(cmd.Context(), args, purego.Version, purego.Open)
	}}
}

func (a *app) modelInspectCmd() *cobra.Command {
	return &cobra.Command{
		Use:     "inspect FILE",
		Short:   "Say what the header of a GGUF or ONNX file says, without loading it",
		Example: "  arw model inspect tiny.gguf",
		Args:    cobra.ExactArgs(1),
		RunE: func(_ *cobra.Command, args []string) error {
			f, err := os.Open(args[0])
			if err != nil {
				return abi.Errorf(abi.Invalid, "inspect a model: %w", err)
			}
			defer f.Close()
			info, err := f.Stat()
			if err != nil {
				return abi.Errorf(abi.Unavailable, "inspect a model: %w", err)
			}
			var magic [4]byte
			if _, err := f.ReadAt(magic[:], 0); err != nil && !errors.Is(err, io.EOF) {
				return abi.Errorf(abi.Unavailable, "inspect a model: %w", err)
			}
			if string(magic[:]) == "GGUF" {
				m, err := gguf.Read(f, info.Size())
				if err != nil {
					return err
				}
				return a.print(m, func(u ui) error {
					u.facts("format", "GGUF", "architecture", m.Architecture, "name", m.Name, "quantisation", m.Quantisation, "context", fmt.Sprint(m.Context),
						"parameters", fmt.Sprint(m.Parameters), "licence", m.License)
					return nil
				})
			}
			m, err := onnx.Inspect(f, info.Size())
			if err != nil {
				return err
			}
			return a.print(m, func(u ui) error {
				u.facts("format", "ONNX", "graph", m.Graph, "producer", m.Producer, "opset", fmt.Sprint(m.Opsets[""]), "parameters", fmt.Sprint(m.Parameters), "weights", strings.Join(m.Types, ", "),
					"inputs", fmt.Sprint(len(m.Inputs)), "output", m.Outputs[0].Name, "tokenizer", fmt.Sprint(m.Bundled))
				return nil
			})
		},
	}
}

func (a *app) modelBundleCmd() *cobra.Command {
	var tokenizer, out string
	o := onnx.Options{}
	cmd := &cobra.Command{
		Use:   "bundle MODEL.onnx",
		Short: "Put a tokenizer into an ONNX encoder, so that one digest covers both",
		Long: `An ONNX file has no place for what turns text into numbers. This writes the model with its tokenizer.json, how to pool
and how long a text may be as metadata of the model; it stays a sound ONNX file. Nothing is changed about the weights.`,
		Example: "  arw model bundle model.onnx --tokenizer tokenizer.json --pooling mean --normalize --out minilm.onnx",
		Args:    cobra.ExactArgs(1),
		RunE: func(_ *cobra.Command, args []string) error {
			model, err := os.Open(args[0])
			if err != nil {
				return abi.Errorf(abi.Invalid, "bundle a model: %w", err)
			}
			defer model.Close()
			text, err := os.ReadFile(tokenizer)
			if err != nil {
				return abi.Errorf(abi.Invalid, "bundle a model: %w", err)
			}
			if err := writeNew(out, func(w io.Writer) error { return onnx.Bundle(w, model, text, o) }); err != nil {
				return err
			}
			return a.print(map[string]string{"file": out}, func(u ui) error { u.facts("file", out); return nil })
		},
	}
	f := cmd.Flags()
	f.StringVar(&tokenizer, "tokenizer", "", "the model's tokenizer.json (WordPiece)")
	f.StringVar((*string)(&o.Pooling), "pooling", string(onnx.Mean), "how tokens become one vector: mean, cls, or none for a network that does it")
	f.BoolVar(&o.Normalize, "normalize", false, "make vectors of length 1")
	f.IntVar(&o.Max, "max-tokens", 512, "tokens of the longest text that the model takes")
	f.StringVar(&out, "out", "", "the file to write; it must not exist")
	_, _ = cmd.MarkFlagRequired("tokenizer"), cmd.MarkFlagRequired("out")
	return cmd
}

// writeNew writes a file that did not exist, whole or not at all.
func writeNew(name string, write func(io.Writer) error) error {
	if _, err := os.Lstat(name); err == nil {
		return abi.Errorf(abi.Conflict, "write %q: there is a file of that name", name)
	}
	f, err := os.CreateTemp(filepath.Dir(name), ".arw-*")
	if err != nil {
		return abi.Errorf(abi.Unavailable, "write %q: %w", name, err)
	}
	err = write(f)
	err = errors.Join(err, f.Sync(), f.Close())
	if err == nil {
		err = os.Link(f.Name(), name) // which does not replace
	}
	_ = os.Remove(f.Name())
	return err
}
