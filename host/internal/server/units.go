package server

import (
	"time"

	"github.com/gofiber/fiber/v2"

	"github.com/arw-project/arw/abi"
	"github.com/arw-project/arw/host/api"
	"github.com/arw-project/arw/host/internal/experiment"
	"github.com/arw-project/arw/host/internal/logic"
	"github.com/arw-project/arw/host/internal/measure"
)

// unitRoutes are about the life of units beyond apply and revert.
func (s *Server) unitRoutes() []route {
	return []route{
		{"POST", "/logic/take", logicChange, s.takeUnit, doc{Summary: "Make a suggested unit an installed one", In: api.MoveUnit{}, Out: logic.Unit{}, Codes: []abi.Code{abi.Conflict, abi.NotFound, abi.Unsigned}}},
		{"POST", "/logic/archive", logicChange, s.archiveUnit, doc{Summary: "Put a unit away", In: api.MoveUnit{}, Out: logic.Unit{}, Codes: []abi.Code{abi.Conflict, abi.NotFound}}},
		{"POST", "/logic/approve", logicApprove, s.approveUnit, doc{Summary: "Agree to the promotion of a unit on trial", In: api.ApproveUnit{}, Out: logic.Approval{}, Status: 201, Codes: []abi.Code{abi.NotFound}}},
		{"GET", "/logic/gates", stateRead, s.getGates, doc{Summary: "What stands between a unit on trial and its promotion", Query: "unit from", Out: gatesDoc{}, Codes: []abi.Code{abi.NotFound}}},
		{"GET", "/logic/metrics", stateRead, s.getUnitMetrics, doc{Summary: "What guards and experiments can measure", Out: metricsDoc{}}},
	}
}

func (s *Server) takeUnit(c *fiber.Ctx) error { return s.moveUnit(c, s.svc.Logic.Take) }

func (s *Server) archiveUnit(c *fiber.Ctx) error { return s.moveUnit(c, s.svc.Logic.Archive) }

func (s *Server) moveUnit(c *fiber.Ctx, move unitMove) error {
	var body api.MoveUnit
	if err := decode(c, &body); err != nil {
		return err
	}
	u, err := move(s.ctx, body.Unit, logic.How{By: s.actor(c), Corr: corr(c), Override: body.OverrideUnsigned})
	if err != nil {
		return err
	}
	return c.JSON(u)
}

func (s *Server) approveUnit(c *fiber.Ctx) error {
	var body api.ApproveUnit
	if err := decode(c, &body); err != nil {
		return err
	}
	scope, err := logic.ParseScope(body.Scope)
	if err != nil {
		return err
	}
	var ttl time.Duration
	if body.TTL != "" {
		if ttl, err = time.ParseDuration(body.TTL); err != nil || ttl <= 0 {
			return abi.Errorf(abi.Invalid, "approve unit %q: ttl %.40q is not a duration above zero", body.Unit, body.TTL).WithHint(`write it as "72h"`)
		}
	}
	a, err := s.svc.Logic.Approve(s.ctx, body.Unit, scope, ttl, body.Note, logic.How{By: s.actor(c), Corr: corr(c)})
	if err != nil {
		return err
	}
	return c.Status(fiber.StatusCreated).JSON(a)
}

// gatesDoc is GET /logic/gates.
type gatesDoc struct {
	Unit      string           `json:"unit"`
	From      string           `json:"from"`
	Gates     []logic.Gated    `json:"gates"`
	Approvals []logic.Approval `json:"approvals"`
	Guards    []logic.Reading  `json:"guards"`
}

// getGates asks the gates for the operator, who promotes; it says nothing of what the caller may do.
func (s *Server) getGates(c *fiber.Ctx) error {
	scope, err := logic.ParseScope(c.Query("from"))
	if err != nil {
		return err
	}
	out := gatesDoc{Unit: c.Query("unit"), From: scope.String()}
	if out.Guards, err = s.svc.Logic.Readings(s.ctx, out.Unit, scope); err != nil {
		return err
	}
	if out.Gates, err = s.svc.Logic.Gates(s.ctx, out.Unit, scope, "operator"); err != nil {
		return err
	}
	if out.Approvals, err = s.svc.Logic.Approvals(s.ctx, out.Unit); err != nil {
		return err
	}
	return c.JSON(out)
}

// metricsDoc is GET /logic/metrics: the closed lists.
type metricsDoc struct {
	Guards      []measure.Metric    `json:"guards"`
	Experiments []experiment.Metric `json:"experiments"`
}

func (s *Server) getUnitMetrics(c *fiber.Ctx) error {
	return c.JSON(metricsDoc{measure.Metrics(), experiment.Metrics()})
}
