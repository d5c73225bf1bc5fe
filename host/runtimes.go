package host

import (
	"bytes"
	"cmp"
	"context"
	"encoding/json"
	"strings"

	"github.com/arw-project/arw/abi"
	"github.com/arw-project/arw/host/api"
	"github.com/arw-project/arw/host/internal/action"
	"github.com/arw-project/arw/host/internal/infer/supervise"
)

// The kinds of actions about runtimes.
const (
	runtimesStart  = "runtimes.start"
	runtimesStop   = "runtimes.stop"
	runtimesLogs   = "runtimes.logs"
	runtimesDoctor = "runtimes.doctor"
)

// runtimeTool describes a kind runtimes.*.
func (i inference) runtimeTool(kind string) (action.Tool, bool) {
	effects := abi.Reads
	switch kind {
	case runtimesStart, runtimesStop:
		effects = abi.Writes
	case runtimesLogs, runtimesDoctor:
	default:
		return action.Tool{}, false
	}
	return action.Tool{Kind: kind, Pack: inferPack, Effects: effects, Validate: func(in []byte) error {
		_, err := readRuntime(kind, in)
		return err
	}}, true
}

func readRuntime(kind string, input []byte) (r api.RuntimeAsk, err error) {
	dec := json.NewDecoder(bytes.NewReader(input))
	dec.DisallowUnknownFields()
	if err := dec.Decode(&r); err != nil {
		return r, abi.Errorf(abi.Invalid, "%s: %v", kind, err)
	}
	if (kind == runtimesStop || kind == runtimesLogs) && r.ID == "" {
		return r, abi.Errorf(abi.Invalid, `%s: "id" is needed; "arw runtime list" shows them`, kind)
	}
	return r, nil
}

// runtimeRun is for the operator and for people: what a runtime wrote may hold what it was asked.
func (i inference) runtimeRun(ctx context.Context, a action.Action) (action.Result, error) {
	if actor := cmp.Or(a.Actor, anyone); actor != "operator" && !strings.HasPrefix(actor, "person:") {
		return action.Result{}, abi.Errorf(abi.Denied, "%s as %q: only the operator and people handle runtimes", a.Kind, actor)
	}
	r, err := readRuntime(a.Kind, a.Input)
	if err != nil {
		return action.Result{}, err
	}
	out, err := i.handle(ctx, a.Kind, r)
	if err != nil {
		return action.Result{}, err
	}
	body, err := json.Marshal(out)
	return action.Result{Kind: abi.FrameJSON, Body: body}, err
}

func (i inference) handle(ctx context.Context, kind string, r api.RuntimeAsk) (any, error) {
	switch kind {
	case runtimesDoctor:
		return i.Doctor(), nil
	case runtimesStart:
		id, err := i.Start(ctx, r.Model)
		return map[string]string{"id": id}, err
	}
	sup := i.runtimes.now()
	if sup == nil {
		return nil, abi.Errorf(abi.NotFound, "find runtime %q: none was started", r.ID).WithHint("arw runtime start MODEL")
	}
	if kind == runtimesStop {
		return map[string]string{"id": r.ID}, sup.Stop(ctx, r.ID)
	}
	lines, err := sup.Logs(r.ID)
	return map[string]any{"id": r.ID, "lines": append([]string{}, lines...)}, err
}

// runtimeMatrix is the document "runtime_matrix": how runtimes are, in one look.
func (h *Host) runtimeMatrix(context.Context) (any, error) {
	m := api.RuntimeMatrix{Severity: "ok", States: map[string]int{}, Items: map[string]api.RuntimeCell{}}
	if fault := h.infer.Fault(); fault != nil {
		m.Severity, m.Reason = "warning", fault.Error()
	}
	sup := h.infer.runtimes.now()
	if sup == nil {
		return m, nil
	}
	for _, st := range sup.List() {
		m.States[string(st.State)]++
		m.Items[st.ID] = api.RuntimeCell{
			State: string(st.State), Severity: st.Severity, Reason: st.Reason, Model: st.Model, Profile: st.Profile, Runtime: st.Runtime, Accelerator: st.Accelerator, Generation: st.Generation,
			Restarts: api.RestartBudget{Max: supervise.Failures, Used: supervise.Failures - st.Restarts, Remaining: st.Restarts, WindowMS: supervise.Window.Milliseconds(), Rests: st.Rests},
		}
		if worse(st.Severity, m.Severity) {
			m.Severity, m.Reason = st.Severity, st.ID+": "+st.Reason
		}
	}
	return m, nil
}

func worse(a, b string) bool {
	order := map[string]int{"ok": 0, "warning": 1, "error": 2}
	return order[a] > order[b]
}
