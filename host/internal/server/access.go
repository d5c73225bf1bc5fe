package server

import (
	"time"

	"github.com/gofiber/fiber/v2"

	"github.com/arw-project/arw/abi"
	"github.com/arw-project/arw/host/api"
	"github.com/arw-project/arw/host/internal/access"
	"github.com/arw-project/arw/host/internal/project"
)

// accessRoutes are about who may speak to the host.
func (s *Server) accessRoutes() []route {
	return []route{
		{"GET", "/access/tokens", accessManage, s.getAccessTokens, doc{Summary: "Tokens of this host, without their secrets", Out: api.List[api.AccessToken]{}}},
		{"POST", "/access/tokens", accessManage, s.postAccessToken, doc{Summary: "Make a token; its secret is told once", In: api.CreateToken{}, Out: api.NewToken{}, Status: 201}},
		{"DELETE", "/access/tokens/:id", accessManage, s.deleteAccessToken, doc{Summary: "Revoke a token, by id or name", Out: api.AccessToken{}}},
	}
}

func (s *Server) getAccessTokens(c *fiber.Ctx) error {
	return c.JSON(api.List[api.AccessToken]{Version: s.svc.Journal.Last(), Items: s.svc.Access.List()})
}

func (s *Server) postAccessToken(c *fiber.Ctx) error {
	var body api.CreateToken
	if err := decode(c, &body); err != nil {
		return err
	}
	var ttl time.Duration
	if body.TTL != "" {
		var err error
		if ttl, err = time.ParseDuration(body.TTL); err != nil || ttl <= 0 {
			return abi.Errorf(abi.Invalid, "create token %.80q: ttl %.40q is not a duration above zero", body.Name, body.TTL).WithHint(`write it as "30m" or "720h"`)
		}
	}
	only, err := project.Of(body.Project)
	if err == nil && body.Project == project.Default {
		err = abi.Errorf(abi.Invalid, "create token %.80q: the default project holds what belongs to no other, the host's own events among it; nobody is confined to it", body.Name).
			WithHint("make a project for it: arw project create NAME")
	}
	if err != nil {
		return err
	}
	made, err := s.svc.Access.Create(s.ctx, corr(c), s.actor(c), body.Name, access.Role(body.Role), ttl, only)
	if err != nil {
		return err
	}
	return c.Status(fiber.StatusCreated).JSON(made)
}

func (s *Server) deleteAccessToken(c *fiber.Ctx) error {
	gone, err := s.svc.Access.Revoke(s.ctx, corr(c), s.actor(c), c.Params("id"))
	if err != nil {
		return err
	}
	return c.JSON(gone)
}
