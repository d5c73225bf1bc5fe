package host

import (
	"context"
	"encoding/json"
	"fmt"
	"strings"

	"github.com/arw-project/arw/abi"
	"github.com/arw-project/arw/host/internal/action"
	"github.com/arw-project/arw/host/internal/lease"
	"github.com/arw-project/arw/host/internal/logic"
	"github.com/arw-project/arw/host/internal/logic/tree"
	"github.com/arw-project/arw/host/internal/policy"
	"github.com/arw-project/arw/host/internal/project"
	"github.com/arw-project/arw/manifests"
)

// openLogic opens the configuration. What it needs of packs and actions is found when it is needed: they open later.
func (h *Host) openLogic(ctx context.Context) (err error) {
	s := &h.parts
	s.Logic, err = logic.Open(ctx, h.db, s.Journal, s.View, logic.Parts{
		Gate: h.mayPromote, Tools: unitTools{h}, Leases: s.Leases, Model: h.hasModel, Shadow: h.shadow, Refuse: s.Redact.At("config").RefuseJSON, Now: h.cfg.Upgrade.Now,
		Judge: func(ctx context.Context, corr, by string, p manifests.Permission, project string) (lease.Grant, error) {
			return s.Packs.JudgeUnit(ctx, corr, by, p, project)
		},
		Verdict: func(ctx context.Context, unit, digest string, params map[string]json.RawMessage, metric string) (string, error) {
			return s.Experiments.Verdict(ctx, unit, digest, params, metric)
		},
	})
	return err
}

// unitTools are the packs' tools as units use them.
type unitTools struct{ h *Host }

// Pure implements logic.Tools.
func (t unitTools) Pure(ctx context.Context, pack, tool string, input []byte, gas uint64) ([]byte, string, error) {
	if t.h.parts.Packs == nil {
		return nil, "", abi.Errorf(abi.Unavailable, "run %q of pack %q: the packs are not open yet", tool, pack)
	}
	if err := t.h.held(); err != nil {
		return nil, "", err
	}
	return t.h.parts.Packs.Pure(ctx, pack, tool, input, gas)
}

// Contract implements logic.Tools.
func (t unitTools) Contract(ctx context.Context, pack, versions string, tools []string) error {
	if t.h.parts.Packs == nil {
		return abi.Errorf(abi.Unavailable, "look for pack %q: the packs are not open yet", pack)
	}
	if err := t.h.held(); err != nil {
		return err
	}
	return t.h.parts.Packs.Contract(ctx, pack, versions, tools)
}

// mayPromote asks Cedar whether a unit may become the workspace's default, and how many people must have agreed.
func (h *Host) mayPromote(_ context.Context, u *manifests.LogicUnit, from logic.Scope, by string) (approvals int, err error) {
	got := h.parts.Policy.Decide(policy.Request{
		Action: policy.ActionPromote, Pack: policy.Pack{Name: "host/units"}, Actor: by,
		Unit: &policy.Unit{ID: u.ID, Version: u.Version, Digest: u.Digest(), Category: u.Category, Slots: u.Slots, From: from.String()},
	})
	if got.Allowed {
		return got.Approvals, nil
	}
	return 0, abi.Errorf(abi.Denied, "promote unit %q as %q: %s", u.ID, by, got.Reason).WithDetail(got)
}

// hasModel answers nil when a model of that name is configured and takes that many tokens; "*" is any. Of a model whose
// window nobody knows a request that is too long is refused when it is made.
func (h *Host) hasModel(name string, context int64) error {
	var narrow []string
	for _, m := range h.infer.List() {
		if name != "*" && m.Name != name {
			continue
		}
		window := h.infer.Window(m)
		if window == 0 || window >= context {
			return nil
		}
		narrow = append(narrow, fmt.Sprintf("%q takes %d", m.Name, window))
	}
	switch {
	case len(narrow) > 0:
		return abi.Errorf(abi.Unavailable, "%d tokens in one request are wanted, and %s", context, strings.Join(narrow, ", "))
	case name == "*":
		return abi.Errorf(abi.Unavailable, "no model is configured")
	}
	return abi.Errorf(abi.Unavailable, "no model %q is configured", name)
}

// Bounds of a replay in the shadow of a promotion.
const (
	shadowActions = 50
	shadowPages   = 20
)

// shadow replays the newest recorded actions of a scope with other documents.
func (h *Host) shadow(ctx context.Context, from logic.Scope, docs map[string][]byte) (*logic.Shadow, error) {
	out := &logic.Shadow{Actions: []logic.ShadowAction{}}
	in, inProject := strings.CutPrefix(string(from), "project/")
	agent, ofAgent := strings.CutPrefix(string(from), "agent/")
	f := action.Filter{Limit: 200}
	for range shadowPages {
		page, err := h.parts.Actions.List(ctx, f)
		if err != nil {
			return nil, err
		}
		for _, a := range page.Items {
			other := inProject && project.Name(a.Project) != in || ofAgent && a.Actor != "agent:"+agent
			if a.Record == nil || a.Record.Digest == "" || other {
				continue
			}
			if err := h.shadowOne(ctx, out, a, docs); err != nil {
				return nil, err
			}
			if len(out.Actions) == shadowActions {
				return out, nil
			}
		}
		if f.Before = page.Next; f.Before == "" {
			break
		}
	}
	return out, nil
}

func (h *Host) shadowOne(ctx context.Context, out *logic.Shadow, a action.Action, docs map[string][]byte) error {
	told := logic.ShadowAction{Action: a.ID, Tool: a.Kind}
	got, err := h.parts.Packs.Shadow(ctx, a.Record.Digest, docs)
	switch {
	case ctx.Err() != nil:
		return ctx.Err()
	case err != nil:
		told.Outcome, told.Why = "unknown", err.Error()
		out.Unknown++
	case got.Divergence != "":
		told.Outcome, told.Why = "unknown", "it asks for what was not recorded: "+got.Divergence
		out.Unknown++
	case got.Equal:
		told.Outcome = "same"
		out.Same++
	case got.Worse():
		told.Outcome, told.Why = "worse", "it answered, and fails now with "+got.NowCode
		out.Worse++
	default:
		told.Outcome, told.Changes = "different", answerChanges(got.Then, got.Now)
		out.Different++
	}
	out.Actions = append(out.Actions, told)
	return nil
}

// maxTold bounds the differences that are told of one answer.
const maxTold = 20

// answerChanges says in words how two answers differ.
func answerChanges(then, now []byte) (lines []string) {
	a, errA := tree.Parse(then)
	b, errB := tree.Parse(now)
	if errA != nil || errB != nil {
		return []string{"the answer differs"}
	}
	changes := tree.Diff(a, b)
	for i, c := range changes {
		if i == maxTold {
			return append(lines, "and more")
		}
		lines = append(lines, c.Op+" "+c.Path)
	}
	return lines
}
