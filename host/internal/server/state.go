package server

import (
	"github.com/gofiber/fiber/v2"

	"github.com/arw-project/arw/abi"
	"github.com/arw-project/arw/host/api"
	"github.com/arw-project/arw/host/internal/pack"
)

func (s *Server) getHealth(c *fiber.Ctx) error {
	h := api.Health{Status: "ok", Version: s.opts.Version, ABI: abi.Version, Events: s.svc.Journal.Last()}
	if s.svc.Authority.State != nil {
		if _, stale := s.svc.Authority.State(); stale != "" {
			h.Status = "degraded"
		}
	}
	for _, p := range s.svc.Packs.List() {
		h.Packs++
		if p.State == pack.Broken || p.State == pack.Halted {
			h.Status = "degraded"
		}
	}
	if s.svc.Safe != nil {
		if h.Reason = s.svc.Safe(); h.Reason != "" {
			h.Status = "safe"
		}
	}
	return c.JSON(h)
}

// postLeaveSafe lets packs run again.
func (s *Server) postLeaveSafe(c *fiber.Ctx) error {
	if s.svc.LeaveSafe == nil {
		return abi.Errorf(abi.NotFound, "leave the safe mode: this host has none")
	}
	if err := s.svc.LeaveSafe(s.ctx, corr(c), s.actor(c)); err != nil {
		return err
	}
	return s.getHealth(c)
}
