package server

import (
	"cmp"
	"context"
	"time"

	"github.com/gofiber/fiber/v2"

	"github.com/arw-project/arw/abi"
	"github.com/arw-project/arw/host/api"
	"github.com/arw-project/arw/host/internal/action"
	"github.com/arw-project/arw/host/internal/queue"
)

// queueRoutes steer the work of the host. Pausing keeps everybody's work from running, so it is the operator's.
func (s *Server) queueRoutes() []route {
	return []route{
		{"GET", "/queue", stateRead, s.getQueue, doc{Summary: "How the work of the host stands", Out: api.Queue{}}},
		{"POST", "/queue/pause", queueControl, s.pauseQueue, doc{Summary: "Let nothing new begin; what runs goes on", In: api.PauseQueue{}, Optional: true, Out: api.Queue{}}},
		{"POST", "/queue/resume", queueControl, s.resumeQueue, doc{Summary: "Let what waits begin", Out: api.Queue{}}},
		{"GET", "/schedules", stateRead, s.getSchedules, doc{Summary: "Tools that are called at given times, and what came of it last", Query: "project", Out: api.List[api.Schedule]{}}},
		{"POST", "/queue/drain", queueControl, s.drainQueue, doc{Summary: "Let nothing new begin, and wait until nothing runs", In: api.DrainQueue{}, Optional: true, Out: api.Queue{}, Codes: []abi.Code{abi.Deadline}}},
		{"GET", "/queue/jobs", stateRead, s.getJobs, doc{Summary: "Actions as the queue has them, in the order they came", Query: "state after limit project", Out: api.List[api.QueueJob]{}}},
		{"GET", "/queue/dead", stateRead, s.getDead, doc{Summary: "Dead letters: actions that do not begin again by themselves", Query: "after limit project", Out: api.List[api.QueueJob]{}}},
		{"POST", "/queue/dead/:id/requeue", queueControl, s.requeueDead, doc{Summary: "Submit a dead letter again, as a new action", Out: api.Action{}, Status: 202, Codes: []abi.Code{abi.NotFound, abi.Conflict, abi.Busy, abi.Unavailable}}},
		{"DELETE", "/queue/dead/:id", queueControl, s.dropDead, doc{Summary: "Forget a dead letter; the action stays in the record", Status: 204, Codes: []abi.Code{abi.NotFound, abi.Conflict}}},
		{"POST", "/actions/:id/retry", queueControl, s.retryAction, doc{Summary: "Submit a failed or cancelled action again", Out: api.Action{}, Status: 202, Codes: []abi.Code{abi.NotFound, abi.Conflict, abi.Unavailable}}},
	}
}

// getQueue answers api.Queue.
func (s *Server) getQueue(c *fiber.Ctx) error { return c.JSON(wireQueue(s.svc.Actions.Stats())) }

// pauseQueue takes api.PauseQueue and answers api.Queue.
func (s *Server) pauseQueue(c *fiber.Ctx) error {
	var body api.PauseQueue
	if len(c.Body()) > 0 {
		if err := decode(c, &body); err != nil {
			return err
		}
	}
	st, err := s.svc.Actions.Pause(s.ctx, s.actor(c), body.Reason)
	if err != nil {
		return err
	}
	return c.JSON(wireQueue(st))
}

// resumeQueue answers api.Queue.
func (s *Server) resumeQueue(c *fiber.Ctx) error {
	st, err := s.svc.Actions.Unpause(s.ctx, s.actor(c))
	if err != nil {
		return err
	}
	return c.JSON(wireQueue(st))
}

// retryAction answers the new api.Action, as submitting it does.
func (s *Server) retryAction(c *fiber.Ctx) error {
	act, err := s.svc.Actions.Retry(s.ctx, c.Params("id"), s.actor(c))
	if err != nil {
		return err
	}
	c.Location("/actions/" + act.ID)
	return c.Status(fiber.StatusAccepted).JSON(wireAction(&act))
}

func wireQueue(st action.Stats) api.Queue {
	return api.Queue{
		Paused: st.Paused, Backend: st.Backend, Workers: st.Workers, Running: st.Running, Waiting: st.Waiting, Limit: st.Queue,
		Delayed: st.Line.Delayed, Dead: st.Line.Dead,
	}
}

// How long a request waits for the queue to drain.
const drainWait = 30 * time.Second

// drainQueue takes api.DrainQueue and answers api.Queue, or Deadline when something still runs; the queue is paused then too.
func (s *Server) drainQueue(c *fiber.Ctx) error {
	var body api.DrainQueue
	if len(c.Body()) > 0 {
		if err := decode(c, &body); err != nil {
			return err
		}
	}
	wait := time.Duration(body.WaitMS) * time.Millisecond
	if wait < 0 || wait > maxWait {
		return abi.Errorf(abi.Invalid, "drain the queue: wait_ms %d is not from 0 to %d", body.WaitMS, maxWait.Milliseconds())
	}
	ctx, cancel := context.WithTimeout(s.ctx, cmp.Or(wait, drainWait))
	defer cancel()
	st, err := s.svc.Actions.Drain(ctx, s.actor(c), body.Reason)
	if err != nil {
		return err
	}
	return c.JSON(wireQueue(st))
}

// getJobs answers a list of api.QueueJob.
func (s *Server) getJobs(c *fiber.Ctx) error {
	state := queue.State(c.Query("state", string(queue.Ready)))
	if state != queue.Ready && state != queue.Leased && state != queue.Dead {
		return abi.Errorf(abi.Invalid, "list jobs: state %q is none of a job", state).WithHint(`ask for "ready", "leased" or "dead"`)
	}
	return s.listJobs(c, state)
}

// getDead answers a list of api.QueueJob.
func (s *Server) getDead(c *fiber.Ctx) error { return s.listJobs(c, queue.Dead) }

func (s *Server) listJobs(c *fiber.Ctx, state queue.State) error {
	in, err := s.about(c)
	if err != nil {
		return err
	}
	limit, err := queryInt(c, "limit", 100, 1, 1000)
	if err != nil {
		return err
	}
	list := api.List[api.QueueJob]{Version: s.svc.Journal.Last(), Items: []api.QueueJob{}}
	// Whoever sees one project gets full pages too: a page ends with the last of its items, which is the next one's cursor.
	for after := c.Query("after"); len(list.Items) < limit; {
		jobs, err := s.svc.Actions.Jobs(s.ctx, state, after, limit)
		if err != nil {
			return err
		}
		for i := range jobs {
			if after = jobs[i].ID; (in == nil || jobs[i].Project == *in) && len(list.Items) < limit {
				list.Items = append(list.Items, jobs[i].Wire())
			}
		}
		if len(jobs) < limit {
			break
		}
	}
	return c.JSON(list)
}

// requeueDead answers the new api.Action, as submitting it does.
func (s *Server) requeueDead(c *fiber.Ctx) error {
	act, err := s.svc.Actions.Requeue(s.ctx, c.Params("id"), s.actor(c))
	if err != nil {
		return err
	}
	c.Location("/actions/" + act.ID)
	return c.Status(fiber.StatusAccepted).JSON(wireAction(&act))
}

// dropDead answers nothing.
func (s *Server) dropDead(c *fiber.Ctx) error {
	if err := s.svc.Actions.Drop(s.ctx, c.Params("id"), s.actor(c)); err != nil {
		return err
	}
	return c.SendStatus(fiber.StatusNoContent)
}

// getSchedules answers a list of api.Schedule.
func (s *Server) getSchedules(c *fiber.Ctx) error {
	in, err := s.about(c)
	if err != nil {
		return err
	}
	list := api.List[api.Schedule]{Version: s.svc.Journal.Last(), Items: []api.Schedule{}}
	if s.svc.Schedules == nil {
		return c.JSON(list)
	}
	for _, sc := range s.svc.Schedules() {
		if in == nil || sc.Project == *in {
			list.Items = append(list.Items, sc)
		}
	}
	return c.JSON(list)
}
