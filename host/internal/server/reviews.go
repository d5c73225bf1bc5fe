package server

import (
	"net/url"

	"github.com/gofiber/fiber/v2"

	"github.com/arw-project/arw/abi"
	"github.com/arw-project/arw/host/api"
	"github.com/arw-project/arw/host/internal/review"
	"github.com/arw-project/arw/host/internal/spec"
)

// reviewRoutes are about what waits for a person. Whoever may submit actions may let something wait; to decide is the operator's.
func (s *Server) reviewRoutes() []route {
	waits := []abi.Code{abi.NotFound, abi.Busy}
	decided := []abi.Code{abi.NotFound, abi.Conflict}
	return []route{
		{"GET", "/admin/memory/quarantine", memoryReview, s.listHeld(review.Memory), doc{Summary: "Writes of memory that wait for a person, or did, the newest first", Query: "state project limit", Out: api.List[api.Held]{}}},
		{"GET", "/admin/memory/quarantine/:id", memoryReview, s.getHeld(review.Memory), doc{Summary: "One of them", Out: api.Held{}}},
		{"POST", "/admin/memory/quarantine", actionSubmit, s.queueMemory, doc{Summary: "Let something wait that a pack shall remember", In: api.QueueMemory{}, Out: api.Held{}, Status: 202, Codes: waits}},
		{"POST", "/admin/memory/quarantine/admit", memoryReview, s.decideHeld(review.Memory), doc{Summary: "Admit a write of memory, or reject it", In: api.DecideHeld{}, Out: api.Held{}, Codes: decided}},
		{"GET", "/state/memory/quarantine", stateRead, s.stateOf("memory/quarantine"), doc{Summary: "The read model memory/quarantine", Out: spec.Any{}}},
		{"GET", "/admin/world_diffs", memoryReview, s.listHeld(review.World), doc{Summary: "Proposed diffs that wait for a person, or did, the newest first", Query: "state project limit", Out: api.List[api.Held]{}}},
		{"GET", "/admin/world_diffs/:id", memoryReview, s.getHeld(review.World), doc{Summary: "One of them", Out: api.Held{}}},
		{"POST", "/admin/world_diffs/queue", actionSubmit, s.queueDiff, doc{Summary: "Propose a diff of what a pack keeps", In: api.QueueDiff{}, Out: api.Held{}, Status: 202, Codes: waits}},
		{"POST", "/admin/world_diffs/decision", memoryReview, s.decideHeld(review.World), doc{Summary: "Apply a diff, reject it or put it off", In: api.DecideHeld{}, Out: api.Held{}, Codes: decided}},
	}
}

func (s *Server) stateOf(id string) fiber.Handler {
	return func(c *fiber.Ctx) error { return s.showView(c, id) }
}

func (s *Server) listHeld(kind string) fiber.Handler {
	return func(c *fiber.Ctx) error {
		in, err := s.about(c)
		if err != nil {
			return err
		}
		limit, err := queryInt(c, "limit", 100, 1, 1000)
		if err != nil {
			return err
		}
		all, err := s.svc.Reviews.List(s.ctx, kind, c.Query("state"), in, limit)
		if err != nil {
			return err
		}
		return c.JSON(api.List[api.Held]{Version: s.svc.Journal.Last(), Items: all})
	}
}

func (s *Server) getHeld(kind string) fiber.Handler {
	return func(c *fiber.Ctx) error {
		id, err := url.PathUnescape(c.Params("id"))
		if err != nil {
			return abi.Errorf(abi.Invalid, "read %q: %w", c.Params("id"), err)
		}
		h, err := s.svc.Reviews.Get(s.ctx, kind, id)
		if err != nil {
			return err
		}
		return c.JSON(h)
	}
}

func (s *Server) queueMemory(c *fiber.Ctx) error {
	var body api.QueueMemory
	if err := decode(c, &body); err != nil {
		return err
	}
	in, err := s.within(c, body.Project)
	if err != nil {
		return err
	}
	if body.Source == "" {
		body.Source = "ingest"
	}
	if body.Source != "ingest" && body.Source != "manual" {
		return abi.Errorf(abi.Invalid, "queue memory: source %.40q is neither ingest nor manual", body.Source)
	}
	if e := body.Evidence; e != nil && (*e < -1 || *e > 1) {
		return abi.Errorf(abi.Invalid, "queue memory: evidence_score %v is not -1 to 1", *e)
	}
	var texts [][]byte
	for _, change := range body.Changes {
		texts = append(texts, []byte(change.Name), change.Value, []byte(change.Text))
	}
	return s.queued(c, api.Held{
		Kind: review.Memory, Project: in, Pack: body.Pack, Source: body.Source, From: s.actor(c), Corr: corr(c), Summary: body.Summary, Evidence: body.Evidence,
		Provenance: api.Provenance{From: body.From}, Markers: review.Markers(texts...), Reason: "it was brought from outside",
	}, body.Changes)
}

func (s *Server) queueDiff(c *fiber.Ctx) error {
	var body api.QueueDiff
	if err := decode(c, &body); err != nil {
		return err
	}
	in, err := s.within(c, body.Project)
	if err != nil {
		return err
	}
	h := api.Held{Kind: review.World, Project: in, Pack: body.Pack, Source: "manual", From: s.actor(c), Corr: corr(c), Summary: body.Summary}
	if body.From != "" {
		h.Source, h.Provenance.From = "node", []string{body.From}
	}
	return s.queued(c, h, body.Changes)
}

func (s *Server) queued(c *fiber.Ctx, h api.Held, changes []api.Change) error {
	h, err := s.svc.Reviews.Queue(s.ctx, h, changes)
	if err != nil {
		return err
	}
	return c.Status(fiber.StatusAccepted).JSON(h)
}

func (s *Server) decideHeld(kind string) fiber.Handler {
	return func(c *fiber.Ctx) error {
		var body api.DecideHeld
		if err := decode(c, &body); err != nil {
			return err
		}
		h, err := s.svc.Reviews.Decide(s.ctx, corr(c), s.actor(c), kind, body)
		if err != nil {
			return err
		}
		return c.JSON(h)
	}
}
