package server

import (
	"github.com/gofiber/fiber/v2"

	"github.com/arw-project/arw/abi"
	"github.com/arw-project/arw/host/api"
	"github.com/arw-project/arw/host/internal/action"
)

// queueRoutes steer the work of the host. Pausing keeps everybody's work from running, so it is the operator's.
func (s *Server) queueRoutes() []route {
	return []route{
		{"GET", "/queue", stateRead, s.getQueue, doc{Summary: "How the work of the host stands", Out: api.Queue{}}},
		{"POST", "/queue/pause", queueControl, s.pauseQueue, doc{Summary: "Let nothing new begin; what runs goes on", In: api.PauseQueue{}, Optional: true, Out: api.Queue{}}},
		{"POST", "/queue/resume", queueControl, s.resumeQueue, doc{Summary: "Let what waits begin", Out: api.Queue{}}},
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
	return api.Queue{Paused: st.Paused, Workers: st.Workers, Running: st.Running, Waiting: st.Waiting, Limit: st.Queue}
}
