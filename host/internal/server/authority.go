package server

import (
	"github.com/gofiber/fiber/v2"

	"github.com/arw-project/arw/abi"
	"github.com/arw-project/arw/host/api"
	"github.com/arw-project/arw/host/internal/prompt"
)

// authorityRoutes are about who may do what. Everything that changes it needs the operator's token.
func (s *Server) authorityRoutes() []route {
	return []route{
		{"POST", "/leases/:id/renew", true, s.renewLease},
		{"GET", "/policy/prompts", false, s.getPrompts},
		{"GET", "/policy/prompts/:id", false, s.getPrompt},
		{"POST", "/policy/prompts/:id/allow", true, s.answerPrompt(true)},
		{"POST", "/policy/prompts/:id/deny", true, s.answerPrompt(false)},
	}
}

// getPrompts lists the prompts that wait and those of the last day, newest first.
func (s *Server) getPrompts(c *fiber.Ctx) error {
	found, err := s.svc.Prompts.List(s.ctx, c.Query("state"))
	if err != nil {
		return err
	}
	return stateJSON(c, "prompts", api.List[prompt.Prompt]{Version: s.svc.Journal.Last(), Items: found})
}

func (s *Server) getPrompt(c *fiber.Ctx) error {
	p, err := s.svc.Prompts.Get(s.ctx, c.Params("id"))
	if err != nil {
		return err
	}
	return c.JSON(p)
}

// answerPrompt is a person's answer. The operator's token says that it is one.
func (s *Server) answerPrompt(allow bool) fiber.Handler {
	return func(c *fiber.Ctx) error {
		var body api.AnswerPrompt
		if err := maybe(c, &body); err != nil {
			return err
		}
		if !allow && len(body.Scope) > 0 {
			return abi.Errorf(abi.Invalid, "deny prompt %q: a denial has no scope", c.Params("id"))
		}
		p, err := s.svc.Packs.Answer(s.ctx, corr(c), "operator", c.Params("id"), allow, body.For, body.Reason, body.Scope)
		if err != nil {
			return err
		}
		return c.JSON(p)
	}
}
