package host

import (
	"context"
	"sync"
	"time"

	"github.com/arw-project/arw/host/api"
	"github.com/arw-project/arw/host/internal/lease"
	"github.com/arw-project/arw/host/internal/models"
	"github.com/arw-project/arw/host/internal/prompt"
	"github.com/arw-project/arw/host/internal/queue"
	"github.com/arw-project/arw/host/internal/review"
	"github.com/arw-project/arw/host/internal/view"
)

// readModels keeps the documents of /state up to date until ctx ends: those told from the journal, those computed, and
// the beat at which both become durable. A document that cannot be made is reported and does not stop the others.
func (h *Host) readModels(ctx context.Context) error {
	failed := func(id string, err error) { h.cfg.Log.Error("update document", "id", id, "error", err) }
	v := h.parts.View
	keep, stop := context.WithCancel(context.WithoutCancel(ctx)) // the last beat comes after the last change
	var beat sync.WaitGroup
	beat.Go(func() { _ = v.Keep(keep, h.cfg.ModelsEvery, failed) })
	defer func() { stop(); beat.Wait() }()
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	ended := make(chan error, 2)
	go func() { ended <- v.Project(ctx, models.All(), failed) }()
	go func() { ended <- v.Compute(ctx, h.cfg.ModelsEvery, append(h.computed(), h.snappyModels()...), failed) }()
	err := <-ended
	cancel()
	if other := <-ended; err == nil {
		err = other
	}
	return err
}

// metricsEvery is how often /state/metrics is looked at; it changes only with what was counted.
const metricsEvery = 2 * time.Second

// computed are the documents that a part of the host has in memory already. None may tell of what publishing itself
// moves (the journal's length, commits), or it would never rest.
func (h *Host) computed() []view.Computed {
	p := h.parts
	return []view.Computed{
		{ID: "packs", Kinds: []string{"pack", "service"}, Make: func(context.Context) (any, error) {
			items := map[string]any{}
			for _, info := range p.Packs.List() {
				items[info.Name] = info
			}
			return map[string]any{"items": items}, nil
		}},
		{ID: "leases", Kinds: []string{"leases", "pack"}, Every: metricsEvery, Make: func(context.Context) (any, error) {
			items := map[string]any{}
			for _, l := range p.Leases.List(lease.Filter{State: lease.Live}) {
				items[l.ID] = l
			}
			return map[string]any{"items": items}, nil
		}},
		{ID: "policy", Kinds: []string{"policy", "service"}, Every: metricsEvery, Make: func(ctx context.Context) (any, error) {
			sources := map[string]string{}
			for _, src := range p.Policy.Current().Sources() {
				sources[src.Name] = string(src.Text)
			}
			waiting, err := p.Prompts.List(ctx, prompt.Pending)
			if err != nil {
				return nil, err
			}
			prompts, state := map[string]any{}, h.PolicyState()
			for _, q := range waiting {
				prompts[q.ID] = q
			}
			return map[string]any{
				"digest": p.Policy.Digest(), "sources": sources, "trust_digest": p.Trust.Digest(), "without_a_rule": "deny",
				"posture": state.Posture, "stale": state.Stale, "prompts": prompts,
			}, nil
		}},
		{ID: "policy/capsules", Kinds: []string{"policy.capsule", "service"}, Every: metricsEvery, Make: func(context.Context) (any, error) { return p.Capsules.Document(), nil }},
		{ID: "projects", Kinds: []string{"project", "leases", "service"}, Every: metricsEvery, Make: h.projects},
		{ID: "memory/quarantine", Kinds: []string{"memory", "service"}, Make: h.reviews(review.Memory)},
		{ID: "world_diffs", Kinds: []string{"world.diff", "service"}, Make: h.reviews(review.World)},
		{ID: "quotas", Kinds: []string{"quota", "policy"}, Every: metricsEvery, Make: func(context.Context) (any, error) {
			items := map[string]any{}
			for _, q := range p.Quotas.List() {
				items[q.ID+"/"+q.Subject] = q
			}
			rules := map[string]any{}
			for _, r := range p.Quotas.Rules() {
				rules[r.ID] = r
			}
			return map[string]any{"rules": rules, "items": items}, nil
		}},
		{ID: "tasks", Every: metricsEvery, Make: h.tasksDocument},
		{ID: "metrics", Every: metricsEvery, Make: h.metrics},
		{ID: "recall", Every: metricsEvery, Make: h.recallDocument},
		{ID: "runtime_matrix", Every: metricsEvery, Make: h.runtimeMatrix},
	}
}

// metrics is what the host has counted since it started.
func (h *Host) metrics(context.Context) (any, error) {
	p, packs, leases := h.parts, map[string]int{}, map[string]int{}
	for _, info := range p.Packs.List() {
		packs[string(info.State)]++
	}
	for _, l := range p.Leases.List(lease.Filter{}) {
		leases[l.State]++
	}
	st := p.Actions.Stats()
	return map[string]any{
		"started": p.Started,
		"actions": map[string]uint64{
			"submitted": st.Submitted, "completed": st.Completed, "failed": st.Failed, "cancelled": st.Cancelled, "reused": st.Reused,
		},
		"workers": map[string]int{"configured": st.Workers, "busy": st.Running, "queue_depth": st.Waiting, "queue_limit": st.Queue},
		"packs":   packs, "leases": leases,
	}, nil
}

// tasks are the goroutines that live as long as the host runs.
type tasks struct {
	mu    sync.Mutex
	items map[string]task
}

type task struct {
	State   string    `json:"state"` // running, ended, failed
	Started time.Time `json:"started"`
	Error   string    `json:"error,omitempty"`
}

// watch runs one of them and notes what becomes of it.
func (t *tasks) watch(name string, run func() error) error {
	at := task{State: "running", Started: time.Now().UTC().Truncate(time.Millisecond)}
	t.set(name, at)
	err := run()
	if at.State = "ended"; err != nil {
		at.State, at.Error = "failed", err.Error()
	}
	t.set(name, at)
	return err
}

func (t *tasks) set(name string, at task) {
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.items == nil {
		t.items = map[string]task{}
	}
	t.items[name] = at
}

// maxJobs bounds the jobs of one state that the document tasks shows.
const maxJobs = 100

// tasksDocument is what this host has to do: its own goroutines, and the actions that wait, run or need a person.
func (h *Host) tasksDocument(ctx context.Context) (any, error) {
	doc := h.tasks.document()
	jobs := map[string]api.QueueJob{}
	for _, state := range []queue.State{queue.Leased, queue.Ready, queue.Dead} {
		list, err := h.parts.Actions.Jobs(ctx, state, "", maxJobs)
		if err != nil {
			return nil, err
		}
		for i := range list {
			jobs[list[i].ID] = list[i].Wire()
		}
	}
	st := h.parts.Actions.Stats()
	doc["jobs"], doc["schedules"] = jobs, h.listSchedules()
	doc["queue"] = map[string]any{
		"backend": st.Backend, "paused": st.Paused, "ready": st.Line.Ready, "delayed": st.Line.Delayed, "leased": st.Line.Leased, "dead": st.Line.Dead,
	}
	return doc, nil
}

func (t *tasks) document() map[string]any {
	t.mu.Lock()
	defer t.mu.Unlock()
	items := make(map[string]task, len(t.items))
	inflight := 0
	for name, at := range t.items {
		if items[name] = at; at.State == "running" {
			inflight++
		}
	}
	return map[string]any{"inflight": inflight, "items": items}
}
