package host

import (
	"context"
	"encoding/json"
	"time"

	"github.com/arw-project/arw/abi"
	"github.com/arw-project/arw/host/internal/experiment"
	"github.com/arw-project/arw/host/internal/pack"
	"github.com/arw-project/arw/host/internal/project"
)

func (h *Host) openExperiments(ctx context.Context) (err error) {
	s := &h.parts
	s.Experiments, err = experiment.Open(ctx, experiment.Parts{
		DB: h.db, Journal: s.Journal, View: s.View, CAS: s.CAS, Logic: s.Logic, Runner: trials{s.Packs, h.held},
		Model: func(name string) error { return h.hasModel(name, 0) },
	})
	return err
}

// trials calls tools of packs for experiments.
type trials struct {
	packs *pack.Manager
	held  func() error // why no pack runs; nil error: they do
}

// May implements experiment.Runner: what a tool changes would be changed once for each variant and item.
func (t trials) May(tool string) error {
	if err := t.held(); err != nil {
		return err
	}
	c, err := t.packs.Resolve(tool)
	if err != nil {
		return err
	}
	if c.Effects > abi.Reads {
		return abi.Errorf(abi.Denied, "try tool %q: its effects are %q, an experiment calls only what is pure or reads", tool, c.Effects)
	}
	return nil
}

// Call implements experiment.Runner. The call has its pack's leases and Cedar's word, as any other.
func (t trials) Call(ctx context.Context, tool, in, by string, input json.RawMessage, docs map[string][]byte) (experiment.Answer, error) {
	c, err := t.packs.Resolve(tool)
	if err != nil {
		return experiment.Answer{}, err
	}
	id, err := project.Of(in)
	if err != nil {
		return experiment.Answer{}, err
	}
	start := time.Now()
	r, err := t.packs.Call(ctx, pack.Call{
		Pack: c.Pack, Tool: c.ID, Input: input, Actor: by, Project: id, Corr: "experiment",
		Config: func(name string) ([]byte, error) {
			if doc, ok := docs[name]; ok {
				return doc, nil
			}
			return nil, abi.Errorf(abi.NotFound, "find document %q: there is none of that name", name)
		},
	})
	a := experiment.Answer{Body: r.Body, Code: abi.OK.String(), MS: float64(time.Since(start).Nanoseconds()) / 1e6, Gas: r.Usage.Gas}
	if err != nil {
		if ctx.Err() != nil || r.Usage.Gas == 0 {
			return a, err // it never ran
		}
		a.Code = abi.CodeOf(err).String()
	}
	return a, nil
}
