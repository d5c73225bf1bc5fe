// Package purego keeps one promise: an encoder runs on any machine that Go runs on, with nothing installed.
//
// It lays the ONNX graph over GoMLX's own backend. A graph is compiled for every shape of batch, so callers are to keep shapes
// few; compiled ones are kept. It is some ten times slower than ONNX Runtime (docs/benchmarks.md).
package purego

import (
	"fmt"
	"os"

	"github.com/gomlx/gomlx/backends"
	"github.com/gomlx/gomlx/backends/simplego"
	"github.com/gomlx/gomlx/pkg/core/graph"
	"github.com/gomlx/gomlx/pkg/core/tensors"
	"github.com/gomlx/gomlx/pkg/ml/context"
	gonnx "github.com/gomlx/onnx-gomlx/onnx"

	"github.com/arw-project/arw/abi"
	"github.com/arw-project/arw/host/internal/infer/onnx"
)

// Version of the engine, for whoever asks a worker.
const Version = "gomlx 0.26.0"

// network runs on the pure Go backend.
type network struct {
	inputs []string
	exec   *context.Exec
}

// graphCache is how many shapes keep their compiled graph: lengths and row counts are powers of two, see onnx.Encoder.
const graphCache = 64

// Open is an onnx.NetworkOpener. The whole model is held in memory. Errors: Unsupported for an operator that GoMLX lacks comes at
// the first Run; Corrupt, Unavailable.
func Open(file string, m *onnx.Model) (net onnx.Network, err error) {
	defer caught(&err)
	text, err := os.ReadFile(file)
	if err != nil {
		return nil, abi.Errorf(abi.Unavailable, "load model: %w", err)
	}
	model, err := gonnx.Parse(text)
	if err != nil {
		return nil, abi.Errorf(abi.Corrupt, "load model: %w", err)
	}
	vars := context.New()
	if err := model.VariablesToContext(vars); err != nil {
		return nil, abi.Errorf(abi.Corrupt, "load model: %w", err)
	}
	backend, err := simplego.New("")
	if err != nil {
		return nil, abi.Errorf(abi.Internal, "load model: %w", err)
	}
	n := &network{}
	for _, in := range m.Inputs {
		n.inputs = append(n.inputs, in.Name)
	}
	return n, n.build(backend, vars, model, m.Outputs[0].Name)
}

func (n *network) build(b backends.Backend, vars *context.Context, model *gonnx.Model, output string) (err error) {
	n.exec, err = context.NewExecAny(b, vars.Reuse(), func(ctx *context.Context, in []*graph.Node) []*graph.Node {
		named := map[string]*graph.Node{}
		for i, name := range n.inputs {
			named[name] = in[i]
		}
		return model.CallGraph(ctx, in[0].Graph(), named, output)
	})
	if err != nil {
		return abi.Errorf(abi.Internal, "load model: %w", err)
	}
	n.exec.SetMaxCache(graphCache)
	return nil
}

// caught makes an error of what GoMLX panics with, as is its way to report.
func caught(err *error) {
	if r := recover(); r != nil {
		*err = abi.Errorf(abi.Unsupported, "run model: %v", fmt.Sprint(r))
	}
}

// Run implements onnx.Network.
func (n *network) Run(b onnx.Batch) (values []float32, shape []int, err error) {
	defer caught(&err)
	args := make([]any, len(n.inputs))
	for i, name := range n.inputs {
		data := map[string][]int64{"input_ids": b.IDs, "attention_mask": b.Mask, "token_type_ids": b.Types}[name]
		args[i] = tensors.FromFlatDataAndDimensions(data, b.Rows, b.Length)
	}
	out, err := n.exec.Exec(args...)
	if err != nil {
		return nil, nil, abi.Errorf(abi.Unsupported, "run model: %w", err)
	}
	defer func() {
		for _, t := range append(out, args[0].(*tensors.Tensor)) {
			_ = t.FinalizeAll() // memory alone; the collector has it else
		}
	}()
	values, err = tensors.CopyFlatData[float32](out[0])
	if err != nil {
		return nil, nil, abi.Errorf(abi.Unsupported, "run model: %w", err)
	}
	return values, out[0].Shape().Dimensions, nil
}
