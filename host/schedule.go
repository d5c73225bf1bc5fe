package host

import (
	"context"
	"encoding/json"
	"time"

	"github.com/arw-project/arw/host/api"
	"github.com/arw-project/arw/host/internal/action"
	"github.com/arw-project/arw/host/internal/project"
	"github.com/arw-project/arw/host/internal/queue"
	"github.com/arw-project/arw/host/internal/schedule"
)

// Schedule is a tool that is called at given times. docs/spec/schedule.md has the fields.
type Schedule struct {
	Name     string
	Cron     string
	Zone     string
	Every    time.Duration
	Tool     string
	Input    json.RawMessage
	Project  string
	Priority string
	Deadline time.Duration
	Missed   string
}

// openSchedules reads how far the configured ones are.
func (h *Host) openSchedules(ctx context.Context) error {
	entries := make([]schedule.Entry, len(h.cfg.Schedules))
	for i, s := range h.cfg.Schedules {
		in, err := project.Of(s.Project)
		if err != nil {
			return err
		}
		if _, err := queue.ParsePriority(s.Priority); err != nil {
			return err
		}
		entries[i] = schedule.Entry{
			Name: s.Name, Cron: s.Cron, Zone: s.Zone, Every: s.Every, Tool: s.Tool, Input: s.Input, Project: in, Priority: s.Priority, Deadline: s.Deadline,
			Missed: schedule.Missed(s.Missed),
		}
	}
	var err error
	h.parts.Schedules, err = schedule.Open(ctx, h.db, h.parts.Journal, entries, h.submitTick, schedule.Options{Log: h.cfg.Log})
	return err
}

// submitTick makes an action of a tick. Its actor is an agent of the schedule's name: what it may do is what leases and policies let that
// agent do.
func (h *Host) submitTick(ctx context.Context, t schedule.Tick) (string, error) {
	rank, err := queue.ParsePriority(t.Priority)
	if err != nil {
		return "", err
	}
	req := action.Request{Kind: t.Tool, Input: t.Input, IdemKey: t.Key, Actor: "agent:schedule." + t.Name, Project: t.Project, Priority: rank}
	if t.Deadline > 0 {
		req.Deadline = time.Now().Add(t.Deadline)
	}
	act, _, err := h.parts.Actions.Submit(ctx, req)
	return act.ID, err
}

// listSchedules tells the edge of them.
func (h *Host) listSchedules() []api.Schedule {
	out := []api.Schedule{}
	for _, s := range h.parts.Schedules.List() {
		out = append(out, api.Schedule{
			Name: s.Name, When: s.When, Zone: s.Zone, Tool: s.Tool, Project: s.Project, Missed: string(s.Missed), Next: s.Next, Last: s.Last, Action: s.Action, LastError: s.Error,
		})
	}
	return out
}
