package onnx

import (
	"context"
	"flag"
	"io"
	"os"
	"strings"

	"github.com/arw-project/arw/abi"
)

// Work is a worker's whole life: args are "--model FILE --socket PATH --key-file FILE", as the supervisor gives them. It ends with ctx.
// Version names the engine.
func Work(ctx context.Context, args []string, version string, network NetworkOpener) error {
	f := flag.NewFlagSet("onnx-worker", flag.ContinueOnError)
	f.SetOutput(io.Discard) // the error says it
	model, socket, keyFile := f.String("model", "", ""), f.String("socket", "", ""), f.String("key-file", "", "")
	if err := f.Parse(args); err != nil {
		return abi.Errorf(abi.Invalid, "start a worker: %w", err)
	}
	if *model == "" || *socket == "" || *keyFile == "" || f.NArg() > 0 {
		return abi.Errorf(abi.Invalid, "start a worker: it takes --model, --socket and --key-file, and nothing else")
	}
	key, err := os.ReadFile(*keyFile)
	if err != nil {
		return abi.Errorf(abi.Unavailable, "start a worker: %w", err)
	}
	if len(strings.TrimSpace(string(key))) < 16 {
		return abi.Errorf(abi.Invalid, "start a worker: the key in %q has fewer than 16 letters", *keyFile)
	}
	e, err := Load(*model, network)
	if err != nil {
		return err
	}
	w := &Worker{Encoder: e, Key: strings.TrimSpace(string(key)), Version: version}
	return w.Serve(ctx, *socket)
}
