package rehearse

import (
	"context"
	"fmt"
	"slices"
	"strings"

	"github.com/arw-project/arw/abi"
	"github.com/arw-project/arw/host/internal/lease"
	"github.com/arw-project/arw/manifests/pattern"
)

type refusal struct {
	rawRefuse
	code abi.Code
	met  int64
	used bool
}

// Use implements wasm.Gate: a target within the leased scope passes.
func (w *world) Use(_ context.Context, c abi.Capability, target string, _ int) (string, error) {
	return w.use(c, target, nil)
}

// UseWith implements wasm.Reader.
func (w *world) UseWith(_ context.Context, tool string, args []byte) (string, error) {
	return w.use(abi.Action, tool, args)
}

func (w *world) use(c abi.Capability, target string, args []byte) (string, error) {
	scope := w.scopes[c]
	if c == abi.Clock { // the clock itself cannot refuse
		if err := w.refuse("clock.now", ""); err != nil {
			return "", w.note("clock.now", err)
		}
	}
	if w.bare && (c == abi.FS || c == abi.Action || c == abi.Secret || c == abi.Archive || c == abi.Config) {
		w.lacking = true
		return "", w.note(string(c)+" "+target, abi.Errorf(abi.Denied, "use %q on %q: an example runs without it", c, target))
	}
	if target == "" || slices.ContainsFunc(scope, func(entry string) bool { return lease.Reaches(c, entry, target, args) }) {
		return target, nil
	}
	err := abi.Errorf(abi.Denied, "use %q on %q for pack %q: it lies outside the leased scope (%q)", c, target, w.man.Name, scope).
		WithHint("add %q to scope in [capabilities.%s] of pack.toml", target, c)
	return "", w.note(string(c)+" "+target, err)
}

// Refused implements wasm.Witness.
func (w *world) Refused(_ context.Context, c abi.Capability, err error) {
	what, _, _ := strings.Cut(err.Error(), ":")
	_ = w.note(what, err)
}

// refuse is the refusal that the file has for a host function, if any.
func (w *world) refuse(function, target string) error {
	for i := range w.refusals {
		r := &w.refusals[i]
		if capability, _, _ := strings.Cut(function, "."); r.Function != function && r.Function != capability || r.Target != "" && !pattern.Glob(r.Target, target, "") {
			continue
		}
		if r.met++; r.Nth > 0 && r.met != r.Nth {
			continue
		}
		r.used = true
		msg := r.Message
		if msg == "" {
			msg = fmt.Sprintf("use %q: the case refuses it", function)
		}
		return abi.Errorf(r.code, "%s", msg)
	}
	return nil
}
