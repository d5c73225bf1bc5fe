package host

import (
	"context"
	"encoding/json"
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"github.com/arw-project/arw/abi"
	"github.com/arw-project/arw/host/internal/action"
	"github.com/arw-project/arw/host/internal/infer/serve"
	"github.com/arw-project/arw/host/internal/infer/supervise"
	"github.com/arw-project/arw/host/internal/view"
)

// inferPack stands where an action names its pack: models belong to the host.
const inferPack = "arw/infer"

// inference is how models are asked.
type inference struct {
	*serve.Service
	runtimes *supervise.Supervisor // nil when no model is configured
}

// openInfer reads which models there are. The runtimes' folder is touched only where there are some, or were.
func (h *Host) openInfer(ctx context.Context) (err error) {
	dir := filepath.Join(h.cfg.StateDir, "run")
	_, models := os.Stat(filepath.Join(h.cfg.StateDir, "models.toml"))
	_, left := os.Stat(dir)
	if models == nil || !errors.Is(left, fs.ErrNotExist) {
		h.infer.runtimes, err = supervise.Open(supervise.Config{Dir: dir, Log: h.cfg.Log, Changed: h.runtimeChanged(ctx)})
		if err != nil {
			return err
		}
		h.onClose(h.infer.runtimes.Close)
	}
	h.infer.Service, err = serve.Open(h.cfg.StateDir, h.infer.runtimes)
	return err
}

// runtimeChanged keeps the document "runtimes": every runtime that was asked for since the start, by id.
func (h *Host) runtimeChanged(ctx context.Context) func(supervise.Status) {
	ctx = context.WithoutCancel(ctx)
	known := map[string]supervise.Status{} // Changed is called by one at a time
	return func(st supervise.Status) {
		known[st.ID] = st
		doc, err := json.Marshal(map[string]any{"runtimes": known})
		if err == nil {
			_, err = h.parts.View.Put(ctx, view.Cause{Actor: "host"}, "runtimes", doc)
		}
		if err != nil {
			h.cfg.Log.Error("show runtimes", "error", err)
		}
	}
}

// runtimes is the supervisor's clockwork.
func (h *Host) runtimes(ctx context.Context) error {
	if h.infer.runtimes == nil {
		<-ctx.Done()
		return nil
	}
	return h.infer.runtimes.Run(ctx)
}

// tool describes a kind infer.*.
func (i inference) tool(kind string) (action.Tool, bool) {
	kind = strings.TrimPrefix(kind, inferPack+":")
	if !slices.Contains(serve.Kinds, kind) {
		return action.Tool{}, false
	}
	t := action.Tool{Kind: kind, Pack: inferPack, Effects: abi.Reads, Validate: func(input []byte) error {
		_, err := serve.Check(kind, input)
		return err
	}}
	if kind == serve.Generate {
		t.Streams = []string{"output"}
	}
	return t, true
}

// run asks a model. Prompt caches are kept apart by project. A pack's call ends here: its way to a model needs a lease of its
// own, which an action's does not stand for.
func (i inference) run(ctx context.Context, job action.Job) (action.Result, error) {
	a := job.Action
	if a.Parent != "" {
		return action.Result{}, abi.Errorf(abi.Denied, "call %q: a pack cannot reach models through actions", a.Kind)
	}
	var out func(string) error
	if s := job.Streams; s != nil && s.Out != nil {
		out = func(text string) error { return s.Out.Write(ctx, abi.FrameBytes, []byte(text)) }
	}
	body, err := i.Run(ctx, a.Kind, "project\x00"+a.Project, a.Input, out)
	return action.Result{Kind: abi.FrameJSON, Body: body}, err
}
