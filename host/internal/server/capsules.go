package server

import (
	"github.com/gofiber/fiber/v2"

	"github.com/arw-project/arw/abi"
	"github.com/arw-project/arw/host/api"
	"github.com/arw-project/arw/host/internal/capsule"
	"github.com/arw-project/arw/host/internal/spec"
)

// capsuleRoutes are about signed guard-rails. Whoever brings one by hand is the operator; with an action anybody may, and Cedar decides.
func (s *Server) capsuleRoutes() []route {
	refused := []abi.Code{abi.Untrusted, abi.Unsigned, abi.Conflict, abi.LeaseExpired, abi.TooLarge}
	return []route{
		{"GET", "/policy/capsules", stateRead, s.getCapsules, doc{Summary: "Policy capsules that hold here, or did, with countdowns", Out: api.List[api.Capsule]{}}},
		{"GET", "/policy/capsules/presets", stateRead, s.getPresets, doc{Summary: "Ready sets of denies", Out: api.List[api.CapsulePreset]{}}},
		{"GET", "/policy/capsules/audit", stateRead, s.getCapsuleAudit, doc{Summary: "The ledger of capsules, the newest entry first", Query: "id limit", Out: api.List[api.CapsuleEntry]{}}},
		{"GET", "/state/policy/capsules", stateRead, s.getCapsuleView, doc{Summary: "The read model policy/capsules", Out: spec.Any{}}},
		{"POST", "/policy/capsules", policyManage, s.adoptCapsule, doc{Summary: "Adopt or renew a policy capsule", In: api.AdoptCapsule{}, Out: api.Capsule{}, Codes: refused}},
		{"POST", "/policy/capsules/teardown", policyManage, s.teardownCapsules, doc{Summary: "End policy capsules before their time", In: api.TeardownCapsules{}, Out: api.List[api.Capsule]{}, Codes: []abi.Code{abi.NotFound}}},
		{"POST", "/policy/capsules/:id/forward", policyManage, s.forwardCapsule, doc{Summary: "A policy capsule as this node hands it on to a child or a peer", In: api.ForwardCapsule{}, Out: spec.Any{}, Codes: []abi.Code{abi.NotFound}}},
	}
}

func (s *Server) getCapsules(c *fiber.Ctx) error {
	return c.JSON(api.List[api.Capsule]{Version: s.svc.Journal.Last(), Items: s.svc.Capsules.List()})
}

func (s *Server) getCapsuleView(c *fiber.Ctx) error { return s.showView(c, "policy/capsules") }

func (s *Server) getPresets(c *fiber.Ctx) error {
	return c.JSON(api.List[api.CapsulePreset]{Version: s.svc.Journal.Last(), Items: capsule.Presets()})
}

func (s *Server) getCapsuleAudit(c *fiber.Ctx) error {
	limit, err := queryInt(c, "limit", 100, 1, 1000)
	if err != nil {
		return err
	}
	found, err := s.svc.Capsules.Audit(s.ctx, c.Query("id"), limit)
	if err != nil {
		return err
	}
	return c.JSON(api.List[api.CapsuleEntry]{Version: s.svc.Journal.Last(), Items: found})
}

func (s *Server) adoptCapsule(c *fiber.Ctx) error {
	var body api.AdoptCapsule
	if err := decode(c, &body); err != nil {
		return err
	}
	e, err := capsule.Parse(body.Capsule)
	if err != nil {
		return err
	}
	got, err := s.svc.Capsules.Adopt(s.ctx, capsule.Cause{Corr: corr(c), By: s.actor(c), Reason: body.Reason}, e)
	if err != nil {
		return err
	}
	return c.JSON(got)
}

// adoptCarried adopts the capsule that came with an action, before anything of the action is looked at: it is held to it already.
func (s *Server) adoptCarried(c *fiber.Ctx, project string) error {
	text := c.Get(api.HeaderCapsule)
	if text == "" {
		return nil
	}
	e, err := capsule.Parse([]byte(text))
	if err != nil {
		return err
	}
	_, err = s.svc.Capsules.Adopt(s.ctx, capsule.Cause{Corr: corr(c), By: s.actor(c), Project: project, Reason: "it came with an action"}, e)
	return err
}

func (s *Server) teardownCapsules(c *fiber.Ctx) error {
	var body api.TeardownCapsules
	if err := decode(c, &body); err != nil {
		return err
	}
	if body.All == (len(body.IDs) > 0) {
		return abi.Errorf(abi.Invalid, "tear down capsules: name some by \"ids\", or say \"all\"")
	}
	got, err := s.svc.Capsules.Teardown(s.ctx, capsule.Cause{Corr: corr(c), By: s.actor(c), Reason: body.Reason}, body.IDs, body.DryRun)
	if err != nil {
		return err
	}
	return c.JSON(api.List[api.Capsule]{Version: s.svc.Journal.Last(), Items: got})
}

func (s *Server) forwardCapsule(c *fiber.Ctx) error {
	var body api.ForwardCapsule
	if err := decode(c, &body); err != nil {
		return err
	}
	e, err := s.svc.Capsules.Forward(s.ctx, capsule.Cause{Corr: corr(c), By: s.actor(c)}, c.Params("id"), body.To)
	if err != nil {
		return err
	}
	text, err := e.Encode()
	if err != nil {
		return err
	}
	c.Set(fiber.HeaderContentType, fiber.MIMEApplicationJSON)
	return c.Send(text)
}

// gone is what the edge did once and does no more.
type gone struct{ code string }

func (g gone) Error() string {
	return "read request: the header " + api.HeaderGate + " is not read any more"
}

// noGate refuses the header that capsules came in before: whoever sends it means a guard-rail that would not hold.
func (s *Server) noGate(c *fiber.Ctx) error {
	if c.Get(api.HeaderGate) == "" {
		return c.Next()
	}
	return gone{"capsule_header_legacy"}
}
