// Command ort keeps one promise: an encoder runs on ONNX Runtime, and is otherwise the worker that arw brings.
//
// It is a module of its own since it needs cgo and a native library, which the host's program is to be free of: a fault in
// native code ends a worker, never the host. The library is libonnxruntime.so.1 beside this program. build.sh fetches it and
// builds this; a profile names the result as its binary. "ort bench" measures both engines on one model.
package main

import (
	"context"
	"fmt"
	"os"
	"os/signal"
	"path/filepath"
	"syscall"

	ort "github.com/yalue/onnxruntime_go"

	"github.com/arw-project/arw/host/internal/infer/onnx"
)

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), syscall.SIGTERM, os.Interrupt)
	defer stop()
	if err := run(ctx, os.Args[1:]); err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
}

func run(ctx context.Context, args []string) error {
	self, err := os.Executable()
	if err != nil {
		return err
	}
	ort.SetSharedLibraryPath(filepath.Join(filepath.Dir(self), "libonnxruntime.so.1"))
	if err := ort.InitializeEnvironment(); err != nil {
		return fmt.Errorf("load ONNX Runtime: %w", err)
	}
	defer ort.DestroyEnvironment()
	switch {
	case len(args) > 0 && args[0] == "onnx-worker":
		return onnx.Work(ctx, args[1:], "onnxruntime "+ort.GetVersion(), open)
	case len(args) == 1 && args[0] == "bench":
		return bench()
	}
	return fmt.Errorf("usage: ort onnx-worker --model FILE --socket PATH --key-file FILE | ort bench")
}

// network is an onnx.Network.
type network struct {
	inputs  []string
	session *ort.DynamicAdvancedSession
}

func open(file string, m *onnx.Model) (onnx.Network, error) {
	n := &network{}
	for _, in := range m.Inputs {
		n.inputs = append(n.inputs, in.Name)
	}
	var err error
	n.session, err = ort.NewDynamicAdvancedSession(file, n.inputs, []string{m.Outputs[0].Name}, nil)
	return n, err
}

// Run implements onnx.Network.
func (n *network) Run(b onnx.Batch) (values []float32, shape []int, err error) {
	in := make([]ort.Value, 0, len(n.inputs))
	defer func() {
		for _, v := range in {
			_ = v.Destroy() // memory alone
		}
	}()
	for _, name := range n.inputs {
		data := map[string][]int64{"input_ids": b.IDs, "attention_mask": b.Mask, "token_type_ids": b.Types}[name]
		t, err := ort.NewTensor(ort.NewShape(int64(b.Rows), int64(b.Length)), data)
		if err != nil {
			return nil, nil, err
		}
		in = append(in, t)
	}
	out := []ort.Value{nil} // the runtime makes it
	if err := n.session.Run(in, out); err != nil {
		return nil, nil, err
	}
	defer out[0].Destroy()
	t, ok := out[0].(*ort.Tensor[float32])
	if !ok {
		return nil, nil, fmt.Errorf("the output is %T, not float32", out[0])
	}
	for _, d := range t.GetShape() {
		shape = append(shape, int(d))
	}
	return append([]float32{}, t.GetData()...), shape, nil
}
