package onnx

import (
	"slices"

	"github.com/arw-project/arw/abi"
)

// Batch is texts of one length as token numbers: Rows × Length of each, row after row. Mask is 1 where a token counts.
type Batch struct {
	Rows, Length     int
	IDs, Mask, Types []int64
}

// Network runs a model on a batch. The result is row after row; its shape is Rows × Length × width, or Rows × width. One call
// runs at a time. Errors are the network's own.
type Network interface {
	Run(Batch) (values []float32, shape []int, err error)
}

// NetworkOpener makes a Network of a model file; Name is what the file's Model says it is fed and gives.
type NetworkOpener func(file string, m *Model) (Network, error)

// The inputs that an encoder may ask for.
var inputNames = []string{"input_ids", "attention_mask", "token_type_ids"}

// fits refuses a graph that is no encoder.
func (m *Model) fits() error {
	if len(m.Inputs) == 0 || m.Inputs[0].Name == "" {
		return abi.Errorf(abi.Unsupported, "load model: its graph has no named input")
	}
	for _, in := range m.Inputs {
		if !slices.Contains(inputNames, in.Name) || in.Type != "int64" || len(in.Dims) != 2 {
			return abi.Errorf(abi.Unsupported, "load model: the input %.100q (%s, %d dimensions) is none of %q of int64 in two dimensions", in.Name, in.Type, len(in.Dims), inputNames)
		}
	}
	if out := m.Outputs[0]; out.Type != "float32" {
		return abi.Errorf(abi.Unsupported, "load model: the output %.100q is %s, not float32", out.Name, out.Type)
	}
	return nil
}
