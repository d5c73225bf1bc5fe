package main

import (
	"context"
	"encoding/json"
	"fmt"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"github.com/spf13/cobra"

	"github.com/arw-project/arw/abi"
	"github.com/arw-project/arw/host/api"
	"github.com/arw-project/arw/sdk/go/client"
)

func (a *app) benchCmd() *cobra.Command {
	cmd := &cobra.Command{Use: "bench", Short: "Measure a running host"}
	cmd.AddCommand(a.benchSnappyCmd())
	return cmd
}

// benchFlags are what bench snappy is to do.
type benchFlags struct {
	requests, concurrency int
	i2f, full, read       time.Duration
}

func (a *app) benchSnappyCmd() *cobra.Command {
	var fl benchFlags
	cmd := &cobra.Command{
		Use:   "snappy [TOOL [JSON | @FILE | -]]",
		Short: "Measure whether a running host keeps its budgets of time",
		Long: `Drive the API of a running host and hold the p95 of what is measured to budgets. With a TOOL each request submits it and
listens on /events: i2f is the time to the first sign of it (the answer or an event), full_result to its end. In any case
documents under /state are read. It fails when a budget is breached, or when the host itself says so in /state/snappy.`,
		Example: `  arw bench snappy
  arw bench snappy research.search '{"query":"lease","k":3}' --requests 200 --budget-full 500ms`,
		Args: cobra.MaximumNArgs(2),
		RunE: func(cmd *cobra.Command, args []string) error { return a.benchSnappy(cmd.Context(), args, fl) },
	}
	f := cmd.Flags()
	f.IntVar(&fl.requests, "requests", 100, "how many of each")
	f.IntVar(&fl.concurrency, "concurrency", 8, "how many at once")
	f.DurationVar(&fl.i2f, "budget-i2f", 50*time.Millisecond, "p95 from an interaction to its first feedback")
	f.DurationVar(&fl.full, "budget-full", 2*time.Second, "p95 to the full result")
	f.DurationVar(&fl.read, "budget-read", 50*time.Millisecond, "p95 of reading a document")
	return cmd
}

// benchRow is one measured span.
type benchRow struct {
	Span     string  `json:"span"`
	Samples  int     `json:"samples"`
	P50      float64 `json:"p50_ms"`
	P95      float64 `json:"p95_ms"`
	P99      float64 `json:"p99_ms"`
	Budget   float64 `json:"budget_ms"`
	Breached bool    `json:"breached"`
}

func (a *app) benchSnappy(ctx context.Context, args []string, fl benchFlags) error {
	if fl.requests < 1 || fl.concurrency < 1 {
		return &usageError{"--requests and --concurrency are numbers from 1", "arw bench snappy --requests 100 --concurrency 8"}
	}
	c, err := a.client()
	if err != nil {
		return err
	}
	var rows []benchRow
	if len(args) > 0 {
		input, err := a.input(args[1:])
		if err != nil {
			return err
		}
		i2f, full, err := driveActions(ctx, c, api.SubmitAction{Kind: args[0], Input: input}, fl)
		if err != nil {
			return err
		}
		rows = append(rows, row("i2f", i2f, fl.i2f), row("full_result", full, fl.full))
	}
	read, err := driveReads(ctx, c, fl)
	if err != nil {
		return err
	}
	rows = append(rows, row("read", read, fl.read))
	var said struct {
		Breached []string `json:"breached"`
	}
	if err := c.State(ctx, "snappy", nil, &said); err != nil {
		return err
	}
	if err := a.print(map[string]any{"spans": rows, "host_breached": said.Breached}, func(u ui) error { return tellBench(u, rows) }); err != nil {
		return err
	}
	return verdict(rows, said.Breached)
}

func tellBench(u ui, rows []benchRow) error {
	for _, r := range rows {
		mark := u.green("ok")
		if r.Breached {
			mark = u.red("breach")
		}
		u.say("%-12s %6d samples  p50 %8.2f ms  p95 %8.2f ms  p99 %8.2f ms  budget %8.2f ms  %s", r.Span, r.Samples, r.P50, r.P95, r.P99, r.Budget, mark)
	}
	return nil
}

// verdict is an error when anything is breached.
func verdict(rows []benchRow, said []string) error {
	var broken []string
	for _, r := range rows {
		if r.Breached {
			broken = append(broken, fmt.Sprintf("%s: p95 %.2f ms of %.2f ms", r.Span, r.P95, r.Budget))
		}
	}
	for _, s := range said {
		broken = append(broken, "the host says: "+s)
	}
	if len(broken) == 0 {
		return nil
	}
	return abi.Errorf(abi.Deadline, "bench snappy: %d budgets are breached: %q", len(broken), broken).WithHint("see what takes long: /state/route_stats, and arw events tail --prefix snappy.")
}

// row sorts took and sums it up.
func row(span string, took []time.Duration, budget time.Duration) benchRow {
	slices.Sort(took)
	at := func(q float64) float64 {
		return float64(took[min(len(took)-1, int(q*float64(len(took))))]) / float64(time.Millisecond)
	}
	r := benchRow{Span: span, Samples: len(took), P50: at(.5), P95: at(.95), P99: at(.99), Budget: float64(budget) / float64(time.Millisecond)}
	r.Breached = r.P95 > r.Budget
	return r
}

// spread runs one fl.requests times, fl.concurrency at once, until the first error.
func spread(ctx context.Context, fl benchFlags, one func(context.Context) error) error {
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	var left atomic.Int64
	left.Store(int64(fl.requests))
	var wg sync.WaitGroup
	for range fl.concurrency {
		wg.Go(func() {
			for left.Add(-1) >= 0 && ctx.Err() == nil {
				if err := one(ctx); err != nil {
					cancel(err)
				}
			}
		})
	}
	wg.Wait()
	return context.Cause(ctx)
}

func driveReads(ctx context.Context, c *client.Client, fl benchFlags) (took []time.Duration, err error) {
	var mu sync.Mutex
	err = spread(ctx, fl, func(ctx context.Context) error {
		begun := time.Now()
		var doc json.RawMessage
		if err := c.State(ctx, "metrics", nil, &doc); err != nil {
			return err
		}
		mu.Lock()
		defer mu.Unlock()
		took = append(took, time.Since(begun))
		return nil
	})
	return took, err
}

// sightings are when an action was first and last heard of.
type sightings struct {
	mu    sync.Mutex
	first map[string]time.Time
	ended map[string]chan time.Time
}

func (s *sightings) end(id string) chan time.Time {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.ended[id] == nil {
		s.ended[id] = make(chan time.Time, 1)
	}
	return s.ended[id]
}

// listen notes what /events tells of actions, from now on; ready is closed when the stream stands.
func (s *sightings) listen(ctx context.Context, c *client.Client, after int64) error {
	for ev, err := range c.Events(ctx, client.Follow{After: after, Prefixes: []string{"actions."}}) {
		if err != nil {
			return err
		}
		now := time.Now()
		s.mu.Lock()
		if _, known := s.first[ev.Action]; !known {
			s.first[ev.Action] = now
		}
		s.mu.Unlock()
		switch ev.Kind {
		case "actions.completed", "actions.failed", "actions.cancelled":
			s.end(ev.Action) <- now
		}
	}
	return ctx.Err()
}

func driveActions(ctx context.Context, c *client.Client, in api.SubmitAction, fl benchFlags) (i2f, full []time.Duration, err error) {
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	var views api.List[json.RawMessage]
	if err := c.List(ctx, "state", nil, &views); err != nil { // its version is the last event there is
		return nil, nil, err
	}
	seen := &sightings{first: map[string]time.Time{}, ended: map[string]chan time.Time{}}
	go func() {
		if err := seen.listen(ctx, c, max(1, views.Version)); err != nil {
			cancel(err)
		}
	}()
	var mu sync.Mutex
	err = spread(ctx, fl, func(ctx context.Context) error {
		begun := time.Now()
		act, err := c.Submit(ctx, in, false)
		if err != nil {
			return err
		}
		sign := time.Now()
		var end time.Time
		select {
		case end = <-seen.end(act.ID):
		case <-ctx.Done():
			return context.Cause(ctx)
		}
		seen.mu.Lock()
		if at := seen.first[act.ID]; at.Before(sign) {
			sign = at
		}
		delete(seen.first, act.ID)
		delete(seen.ended, act.ID)
		seen.mu.Unlock()
		mu.Lock()
		defer mu.Unlock()
		i2f, full = append(i2f, sign.Sub(begun)), append(full, end.Sub(begun))
		return nil
	})
	return i2f, full, err
}
