package server

import (
	"time"

	"github.com/gofiber/fiber/v2"

	"github.com/arw-project/arw/abi"
	"github.com/arw-project/arw/host/api"
	"github.com/arw-project/arw/host/internal/lease"
	"github.com/arw-project/arw/host/internal/pack"
)

func (s *Server) getLeases(c *fiber.Ctx) error {
	found := s.svc.Leases.List(lease.Filter{Pack: c.Query("pack"), Digest: c.Query("digest"), State: c.Query("state"), Project: c.Query("project")})
	if found == nil {
		found = []lease.Lease{}
	}
	return stateJSON(c, "leases", api.List[lease.Lease]{Version: s.svc.Journal.Last(), Items: found})
}

// renewLease lets a renewable lease live longer.
func (s *Server) renewLease(c *fiber.Ctx) error {
	var body api.RenewLease
	if err := decode(c, &body); err != nil {
		return err
	}
	ttl, err := time.ParseDuration(body.TTL)
	if err != nil || ttl <= 0 {
		return abi.Errorf(abi.Invalid, "renew lease %q: ttl %q is not a duration above zero", c.Params("id"), body.TTL).WithHint(`write it as "30m" or "8h"`)
	}
	l, err := s.svc.Leases.Renew(s.ctx, corr(c), c.Params("id"), ttl)
	if err != nil {
		return err
	}
	return c.JSON(l)
}

func (s *Server) postLease(c *fiber.Ctx) error {
	var body api.GrantLease
	if err := decode(c, &body); err != nil {
		return err
	}
	g := pack.Grant{
		Pack: body.Pack, Capability: abi.Capability(body.Capability), Scope: body.Scope,
		Calls: body.Calls, Bytes: body.Bytes, Reason: body.Reason, Where: lease.Where{Project: body.Project},
		Budget: lease.Budget{Tokens: body.Tokens, Gas: body.Gas, Money: body.Money},
	}
	if body.TTL != "" {
		ttl, err := time.ParseDuration(body.TTL)
		if err != nil || ttl <= 0 {
			return abi.Errorf(abi.Invalid, "grant lease to %q: ttl %q is not a duration above zero", body.Pack, body.TTL).
				WithHint(`write it as "30m" or "8h"`)
		}
		g.TTL = ttl
	}
	granted, err := s.svc.Packs.Grant(s.ctx, corr(c), s.actor(c), g)
	if err != nil {
		return err
	}
	return c.Status(fiber.StatusCreated).JSON(granted)
}

func (s *Server) deleteLease(c *fiber.Ctx) error {
	reason := c.Query("reason")
	if reason == "" {
		reason = "revoked by the operator"
	}
	revoked, err := s.svc.Leases.Revoke(s.ctx, corr(c), c.Params("id"), s.actor(c), reason)
	if err != nil {
		return err
	}
	return c.JSON(revoked)
}
