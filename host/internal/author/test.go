package author

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"time"

	"github.com/arw-project/arw/abi"
	"github.com/arw-project/arw/host/internal/wasm"
	"github.com/arw-project/arw/manifests"
)

// Case is one of the pack's own examples, run on the real engine under the tool's own limits.
type Case struct {
	Tool  string        `json:"tool"`
	Index int           `json:"example"`
	Err   error         `json:"-"`
	Error string        `json:"error,omitempty"` // empty: it held
	Gas   uint64        `json:"gas"`
	Wall  time.Duration `json:"wall_ns"`
}

// Test loads the built module and runs every example of pack.toml in an instance of its own, with no capability linked:
// an example shows what a tool does with its input alone. The error is of loading; each case carries its own.
func (f *Folder) Test(ctx context.Context) ([]Case, error) {
	module, err := f.Module()
	if err != nil {
		return nil, err
	}
	if _, err := Lint(f.Manifest, module); err != nil {
		return nil, err
	}
	engine, err := wasm.Open(wasm.Options{})
	if err != nil {
		return nil, err
	}
	defer engine.Close()
	sum := sha256.Sum256(module)
	program, err := engine.Load(ctx, wasm.Spec{
		Name: f.Manifest.Name + "@" + f.Manifest.Version, Digest: "sha256:" + hex.EncodeToString(sum[:]),
		Module: module, Runtime: f.Manifest.Module.Runtime,
	})
	if err != nil {
		return nil, err
	}
	defer program.Close(ctx)
	var cases []Case
	for i := range f.Manifest.Tools {
		t := &f.Manifest.Tools[i]
		for n := range t.Examples {
			cases = append(cases, runExample(ctx, program, t, n))
		}
	}
	return cases, nil
}

func runExample(ctx context.Context, program *wasm.Program, t *manifests.Tool, n int) Case {
	c := Case{Tool: t.ID, Index: n}
	reply, err := program.Call(ctx, wasm.Call{Tool: t.ID, Input: t.Examples[n].Input, Effects: t.Effects})
	c.Gas, c.Wall = reply.Usage.Gas, reply.Usage.Wall
	if err == nil {
		err = holds(t, n, reply)
	}
	if err != nil {
		c.Err, c.Error = err, err.Error()
	}
	return c
}

// holds compares a reply with what the example promises, as JSON values: the order of keys is no difference.
func holds(t *manifests.Tool, n int, reply wasm.Reply) error {
	if t.Output != nil && reply.Kind == abi.FrameJSON {
		if err := t.Output.Validate(reply.Body); err != nil {
			return err
		}
	}
	want := t.Examples[n].Output
	if len(want) == 0 {
		return nil
	}
	got, err := canonicalJSON(reply.Body)
	if err != nil {
		return abi.Errorf(abi.ToolFailed, "example %d of %q: the reply is not JSON: %w", n, t.ID, err)
	}
	expected, err := canonicalJSON(want)
	if err != nil {
		return err
	}
	if !bytes.Equal(got, expected) {
		return abi.Errorf(abi.ToolFailed, "example %d of %q: got %s, want %s", n, t.ID, got, expected)
	}
	return nil
}

func canonicalJSON(src []byte) ([]byte, error) {
	dec := json.NewDecoder(bytes.NewReader(src))
	dec.UseNumber()
	var v any
	if err := dec.Decode(&v); err != nil {
		return nil, fmt.Errorf("decode: %w", err)
	}
	return json.Marshal(v)
}
