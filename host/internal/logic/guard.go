package logic

import (
	"context"
	"encoding/json"
	"fmt"
	"strings"
	"time"

	"github.com/arw-project/arw/abi"
	"github.com/arw-project/arw/host/internal/journal"
	"github.com/arw-project/arw/host/internal/measure"
	"github.com/arw-project/arw/host/internal/project"
	"github.com/arw-project/arw/manifests"
)

// Reading is what a guard measured so far.
type Reading struct {
	Metric   string    `json:"metric"`
	Of       string    `json:"of,omitempty"`
	Value    float64   `json:"value"`
	N        int       `json:"n"`
	Least    int       `json:"least"`
	Min      string    `json:"min,omitempty"`
	Max      string    `json:"max,omitempty"`
	Until    time.Time `json:"until"` // end of the window
	Breached bool      `json:"breached"`
}

func (r Reading) String() string {
	bound := ""
	if r.Min != "" {
		bound = " at least " + r.Min
	}
	if r.Max != "" {
		bound += " at most " + r.Max
	}
	return fmt.Sprintf("%s is %.6g of %d observations, wanted%s", r.Metric, r.Value, r.N, bound)
}

// watch is one guard of one layer at work.
type watch struct {
	layer  *layer
	guard  manifests.Guard
	series *measure.Series
}

// watches begins the guards of a layer.
func (s *Store) watches(l *layer) []*watch {
	var out []*watch
	for _, g := range s.revision(l).Guards {
		series, err := measure.New(g.Metric, g.Of, func(r *journal.Record) bool { return l.concerns(r) && r.Time.Before(l.at.Add(g.Window)) })
		if err == nil { // an unknown metric does not install
			out = append(out, &watch{l, g, series})
		}
	}
	return out
}

// concerns reports whether a record is of a run that a layer had a part in.
func (l *layer) concerns(r *journal.Record) bool {
	if r.Time.Before(l.at) || len(inRun([]*layer{l}, r.Corr)) == 0 {
		return false
	}
	if name, ok := strings.CutPrefix(string(l.scope), "project/"); ok {
		return project.Name(r.Project) == name
	}
	if agent, ok := strings.CutPrefix(string(l.scope), "agent/"); ok {
		return r.Actor == "agent:"+agent
	}
	return true
}

func (w *watch) read() Reading {
	r := Reading{Metric: w.guard.Metric, Of: w.guard.Of, Least: w.guard.Least, Min: string(w.guard.Min), Max: string(w.guard.Max), Until: w.layer.at.Add(w.guard.Window)}
	r.Value, r.N = w.series.Value()
	outside := func(bound json.Number, sign float64) bool {
		f, err := bound.Float64()
		return err == nil && sign*(r.Value-f) > 0
	}
	r.Breached = r.N >= w.guard.Least && (outside(w.guard.Max, 1) || outside(w.guard.Min, -1))
	return r
}

// catchUp reads what happened since a layer was applied. It gives the id of the last record that was looked at.
func (s *Store) catchUp(ctx context.Context, watches []*watch) (int64, error) {
	last := s.journal.Last()
	if len(watches) == 0 {
		return last, nil
	}
	since := watches[0].layer.at
	for _, w := range watches {
		if w.layer.at.Before(since) {
			since = w.layer.at
		}
	}
	for after := int64(0); after < last; {
		page, err := s.journal.Read(ctx, after, 0, journal.Filter{Prefixes: measure.Prefixes(), Since: since})
		if err != nil || len(page) == 0 {
			return last, err
		}
		for i := range page {
			if page[i].ID > last {
				return last, nil
			}
			for _, w := range watches {
				w.series.Add(&page[i])
			}
		}
		after = page[len(page)-1].ID
	}
	return last, nil
}

// Readings are what the guards of a unit measured since it was applied to a scope. NotFound when it is not active there.
func (s *Store) Readings(ctx context.Context, id string, scope Scope) ([]Reading, error) {
	s.mu.RLock()
	l := s.active(id, scope)
	s.mu.RUnlock()
	if l == nil {
		return nil, abi.Errorf(abi.NotFound, "read the guards of unit %q: it is not active in %s", id, scope)
	}
	watches := s.watches(l)
	if _, err := s.catchUp(ctx, watches); err != nil {
		return nil, err
	}
	out := []Reading{}
	for _, w := range watches {
		out = append(out, w.read())
	}
	return out, nil
}

// Guard follows the journal until ctx ends and reverts units whose guards are breached within their window. What happened
// while nobody watched is read first, so a restart misses nothing.
func (s *Store) Guard(ctx context.Context) error {
	for ctx.Err() == nil {
		s.mu.RLock()
		changed := s.changed
		var watches []*watch
		for _, l := range s.layers {
			if l.unit != "" {
				watches = append(watches, s.watches(l)...)
			}
		}
		s.mu.RUnlock()
		after, err := s.catchUp(ctx, watches)
		if err == nil {
			err = s.guardUntil(ctx, changed, after, watches)
		}
		if err != nil && ctx.Err() == nil {
			return err
		}
	}
	return nil
}

// guardUntil watches until the layers change.
func (s *Store) guardUntil(ctx context.Context, changed <-chan struct{}, after int64, watches []*watch) error {
	if reverted, err := s.breaches(ctx, watches); reverted || err != nil {
		return err
	}
	ctx, stop := context.WithCancel(ctx)
	defer stop()
	go func() {
		select {
		case <-changed:
			stop()
		case <-ctx.Done():
		}
	}()
	if len(watches) == 0 {
		<-ctx.Done()
		return nil
	}
	for r, err := range s.journal.Follow(ctx, after, journal.Filter{Prefixes: measure.Prefixes()}) {
		if err != nil {
			return err
		}
		touched := false
		for _, w := range watches {
			touched = w.series.Add(&r) || touched
		}
		if touched {
			if reverted, err := s.breaches(context.WithoutCancel(ctx), watches); reverted || err != nil {
				return err
			}
		}
	}
	return nil
}

// breaches reverts the first unit with a breached guard; false when there is none.
func (s *Store) breaches(ctx context.Context, watches []*watch) (bool, error) {
	for _, w := range watches {
		r := w.read()
		if !r.Breached {
			continue
		}
		s.mu.RLock()
		active := s.active(w.layer.unit, w.layer.scope) == w.layer
		s.mu.RUnlock()
		if !active || s.stuck[w.layer.seq] {
			continue
		}
		corr := fmt.Sprintf("guard-%s-%d", w.layer.unit, w.layer.seq)
		_, err := s.Revert(ctx, w.layer.unit, w.layer.scope, How{By: "host", Corr: corr, Why: "guard breached: " + r.String()})
		body := map[string]any{"id": w.layer.unit, "version": w.layer.version, "digest": w.layer.digest, "scope": w.layer.scope.String(), "reading": r}
		switch abi.CodeOf(err) {
		case abi.OK:
		case abi.NotFound:
			continue // somebody was faster
		case abi.Conflict: // something stands on it: a person must see to that, the host does not try again and again
			s.stuck[w.layer.seq] = true
			body["error"] = err.Error()
		default:
			return false, err
		}
		_, err = s.journal.Append(ctx, journal.Event{Kind: "logic.unit.breached", Actor: "host", Corr: corr, Body: body})
		return true, err
	}
	return false, nil
}
