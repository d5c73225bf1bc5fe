package server

import (
	"time"

	"github.com/gofiber/fiber/v2"

	"github.com/arw-project/arw/abi"
	"github.com/arw-project/arw/host/api"
	"github.com/arw-project/arw/host/internal/egress"
)

func (s *Server) egressRoutes() []route {
	return []route{
		{"GET", "/egress/log", stateRead, s.getEgressLog, doc{Summary: "Rows of the ledger, the newest first", Query: "before pack host decision state corr_id project limit", Out: api.List[egress.Row]{}}},
		{"POST", "/egress/preview", egressPreview, s.postEgressPreview, doc{Summary: "What would become of a request, without sending it", In: api.PreviewEgress{}, Out: egress.Preview{}}},
		{"PUT", "/egress/posture", egressManage, s.putPosture, doc{Summary: "Set how open the host is to the network", In: api.SetPosture{}, Out: egress.Settings{}}},
		{"PUT", "/egress/scopes/:id", egressManage, s.putScope, doc{Summary: "Set a scope of the network", In: api.SetScope{}, Out: egress.Scope{}}},
		{"DELETE", "/egress/scopes/:id", egressManage, s.deleteScope, doc{Summary: "Remove a scope"}},
		{"GET", "/egress/tokens", egressManage, s.getTokens, doc{Summary: "Tokens for the proxy", Out: api.List[egress.Token]{}}},
		{"POST", "/egress/tokens", egressManage, s.postToken, doc{Summary: "Give a program a token for the proxy; its secret is told once", In: api.IssueToken{}, Out: issued{}, Status: 201}},
		{"DELETE", "/egress/tokens/:id", egressManage, s.deleteToken, doc{Summary: "Take a token for the proxy back"}},
	}
}

// getEgressLog answers rows of the ledger, the newest first.
func (s *Server) getEgressLog(c *fiber.Ctx) error {
	rows, err := s.svc.Egress.Rows(s.ctx, egress.Query{
		Before: c.Query("before"), Pack: c.Query("pack"), Host: c.Query("host"), Decision: c.Query("decision"), State: c.Query("state"),
		Corr: c.Query("corr_id"), Project: c.Query("project"), Limit: c.QueryInt("limit"),
	})
	if err != nil {
		return err
	}
	return c.JSON(api.List[egress.Row]{Version: s.svc.Journal.Last(), Items: rows})
}

func (s *Server) postEgressPreview(c *fiber.Ctx) error {
	var body api.PreviewEgress
	if err := decode(c, &body); err != nil {
		return err
	}
	payload := body.BodyBase64
	if body.Body != "" {
		if payload != nil {
			return abi.Errorf(abi.Invalid, "preview %q: it has body and body_base64", body.URL)
		}
		payload = []byte(body.Body)
	}
	p, err := s.svc.Packs.Foresee(s.ctx, body.Pack, body.Tool, abi.HTTPRequest{Method: body.Method, URL: body.URL, Headers: body.Headers}, payload)
	if err != nil {
		return err
	}
	return c.JSON(p)
}

func (s *Server) by(c *fiber.Ctx) egress.Cause { return egress.Cause{Actor: s.actor(c), Corr: corr(c)} }

func (s *Server) putPosture(c *fiber.Ctx) error {
	var body api.SetPosture
	if err := decode(c, &body); err != nil {
		return err
	}
	if err := s.svc.Egress.SetPosture(s.ctx, s.by(c), egress.Posture(body.Posture)); err != nil {
		return err
	}
	return c.JSON(s.svc.Egress.Settings())
}

func (s *Server) putScope(c *fiber.Ctx) error {
	var body api.SetScope
	if err := decode(c, &body); err != nil {
		return err
	}
	scope := egress.Scope{
		ID: c.Params("id"), Description: body.Description, Deny: body.Deny, Hosts: body.Hosts, Ports: body.Ports, Schemes: body.Schemes, CIDRs: body.CIDRs,
		Price: egress.Price{Call: body.PerCall, MiB: body.PerMiB},
	}
	if body.Expires != "" {
		at, err := time.Parse(time.RFC3339, body.Expires)
		if err != nil {
			return abi.Errorf(abi.Invalid, "set egress scope %q: expires %q is no time", scope.ID, body.Expires).WithHint("write it as 2030-01-31T12:00:00Z")
		}
		scope.Expires = at
	}
	if err := s.svc.Egress.SetScope(s.ctx, s.by(c), scope); err != nil {
		return err
	}
	return c.JSON(s.svc.Egress.Settings().Scopes[scope.ID])
}

func (s *Server) deleteScope(c *fiber.Ctx) error {
	if err := s.svc.Egress.RemoveScope(s.ctx, s.by(c), c.Params("id")); err != nil {
		return err
	}
	return c.SendStatus(fiber.StatusNoContent)
}

func (s *Server) getTokens(c *fiber.Ctx) error {
	return c.JSON(api.List[egress.Token]{Version: s.svc.Journal.Last(), Items: s.svc.Egress.Tokens()})
}

// issued is the one answer that holds the secret.
type issued struct {
	egress.Token
	Secret string `json:"secret"`
}

func (s *Server) postToken(c *fiber.Ctx) error {
	var body api.IssueToken
	if err := decode(c, &body); err != nil {
		return err
	}
	t := egress.Token{Actor: body.Actor, Project: body.Project, Scope: body.Scope, Calls: body.Calls, Bytes: body.Bytes, Reason: body.Reason}
	if body.TTL != "" {
		ttl, err := time.ParseDuration(body.TTL)
		if err != nil || ttl <= 0 {
			return abi.Errorf(abi.Invalid, "issue an egress token for %q: ttl %q is not a duration above zero", body.Actor, body.TTL).WithHint(`write it as "30m" or "8h"`)
		}
		t.Expires = time.Now().Add(ttl)
	}
	got, secret, err := s.svc.Egress.Issue(s.ctx, s.by(c), t)
	if err != nil {
		return err
	}
	return c.Status(fiber.StatusCreated).JSON(issued{got, secret})
}

func (s *Server) deleteToken(c *fiber.Ctx) error {
	if err := s.svc.Egress.Revoke(s.ctx, s.by(c), c.Params("id")); err != nil {
		return err
	}
	return c.SendStatus(fiber.StatusNoContent)
}
