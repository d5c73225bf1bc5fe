package server

import (
	"github.com/gofiber/fiber/v2"

	"github.com/arw-project/arw/abi"
	"github.com/arw-project/arw/host/api"
	"github.com/arw-project/arw/host/internal/lease"
	"github.com/arw-project/arw/host/internal/pack"
	"github.com/arw-project/arw/host/internal/policy"
	"github.com/arw-project/arw/host/internal/prompt"
)

// authorityRoutes are about who may do what. Everything that changes it needs the operator's token.
func (s *Server) authorityRoutes() []route {
	return []route{
		{"POST", "/leases/:id/renew", leaseGrant, s.renewLease, doc{Summary: "Let a renewable lease live longer", In: api.RenewLease{}, Out: lease.Wire{}, Codes: []abi.Code{abi.LeaseRevoked, abi.BudgetExhausted}}},
		{"GET", "/policy/prompts", stateRead, s.getPrompts, doc{Summary: "Questions that wait for a person, and those of the last day", Query: "state", Out: api.List[prompt.Prompt]{}}},
		{"GET", "/policy/prompts/:id", stateRead, s.getPrompt, doc{Summary: "One question", Out: prompt.Prompt{}}},
		{"POST", "/policy/simulate", stateRead, s.simulate, doc{Summary: "What the policies in force would decide", In: policy.Request{}, Out: api.Simulation{}}},
		{"POST", "/policy/diff", stateRead, s.diffPolicy, doc{Summary: "What other policy files would change, for the installed packs and given cases", In: api.DiffPolicy{}, Out: api.PolicyDiff{}}},
		{"POST", "/policy/reload", policyManage, s.reloadPolicy, doc{Summary: "Read posture, policies and grants again", Out: api.PolicyState{}}},
		{"POST", "/policy/posture", policyManage, s.setPosture, doc{Summary: "Choose a posture, or see what it would change", In: api.ChoosePosture{}, Out: api.PostureChange{}}},
		{"GET", "/policy/quotas", stateRead, s.getQuotas, doc{Summary: "Accounts of quotas whose windows run", Out: api.List[api.Quota]{}}},
		{"POST", "/policy/quotas/reset", policyManage, s.resetQuota, doc{Summary: "Let a quota's window begin anew", In: api.ResetQuota{}, Out: api.List[api.Quota]{}, Codes: []abi.Code{abi.NotFound}}},
		{"GET", "/policy/prompts/:id/preview", stateRead, s.previewPrompt, doc{Summary: "What saying yes to a question would be about, with the digest that an answer names", Out: pack.PromptPreview{}, Codes: []abi.Code{abi.Conflict}}},
		{"POST", "/policy/prompts/:id/allow", promptAnswer, s.answerPrompt(true), doc{Summary: "Say yes", In: api.AnswerPrompt{}, Optional: true, Out: prompt.Prompt{}, Codes: []abi.Code{abi.Conflict}}},
		{"POST", "/policy/prompts/:id/deny", promptAnswer, s.answerPrompt(false), doc{Summary: "Say no", In: api.AnswerPrompt{}, Optional: true, Out: prompt.Prompt{}, Codes: []abi.Code{abi.Conflict}}},
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

// previewPrompt tells what an answer would be about.
func (s *Server) previewPrompt(c *fiber.Ctx) error {
	p, err := s.svc.Packs.PreviewPrompt(s.ctx, c.Params("id"))
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
		who, err := s.who(c)
		if err != nil {
			return err
		}
		p, err := s.svc.Packs.AnswerAs(s.ctx, corr(c), c.Params("id"), prompt.Answer{
			Allow: allow, For: body.For, By: who.Actor(), Who: who.Name, Reason: body.Reason, Scope: body.Scope, Seen: body.Preview,
		})
		if err != nil {
			return err
		}
		return c.JSON(p)
	}
}

// simulate answers what the policies in force would say; nothing happens.
func (s *Server) simulate(c *fiber.Ctx) error {
	var r policy.Request
	if err := decode(c, &r); err != nil {
		return err
	}
	set := s.svc.Policy.Current()
	d := set.Decide(r)
	out := api.Simulation{Digest: set.Digest(), Decision: d, Rules: []any{}}
	for _, id := range append(d.Policies, d.Forbids...) {
		if rule, ok := set.Rule(id); ok {
			out.Rules = append(out.Rules, rule)
		}
	}
	return c.JSON(out)
}

// diffPolicy says what other files would change; nothing happens.
func (s *Server) diffPolicy(c *fiber.Ctx) error {
	var body api.DiffPolicy
	if err := decode(c, &body); err != nil {
		return err
	}
	files := make([]policy.Source, len(body.Files))
	for i, f := range body.Files {
		files[i] = policy.Source{Name: f.Name, Text: []byte(f.Text)}
	}
	var cases []policy.Case
	for _, text := range body.Cases {
		more, err := policy.Cases(policy.Source{Name: text.Name, Text: []byte(text.Text)})
		if err != nil {
			return err
		}
		cases = append(cases, more...)
	}
	got, err := s.svc.Authority.Diff(s.ctx, files, cases, body.Events)
	if err != nil {
		return err
	}
	return c.JSON(got)
}

func (s *Server) getQuotas(c *fiber.Ctx) error {
	return c.JSON(api.List[api.Quota]{Version: s.svc.Journal.Last(), Items: s.svc.Quotas.List()})
}

func (s *Server) resetQuota(c *fiber.Ctx) error {
	var body api.ResetQuota
	if err := decode(c, &body); err != nil {
		return err
	}
	was, err := s.svc.Quotas.Reset(s.ctx, corr(c), s.actor(c), body.ID, body.Subject)
	if err != nil {
		return err
	}
	return c.JSON(api.List[api.Quota]{Version: s.svc.Journal.Last(), Items: was})
}

func (s *Server) reloadPolicy(c *fiber.Ctx) error {
	state, err := s.svc.Authority.Reload(s.ctx, corr(c), s.actor(c))
	if err != nil {
		return err
	}
	return c.JSON(state)
}

func (s *Server) setPosture(c *fiber.Ctx) error {
	var body api.ChoosePosture
	if err := decode(c, &body); err != nil {
		return err
	}
	change, err := s.svc.Authority.Posture(s.ctx, corr(c), s.actor(c), body.Posture, body.DryRun)
	if err != nil {
		return err
	}
	return c.JSON(change)
}
