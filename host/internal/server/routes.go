package server

import (
	"slices"

	"github.com/gofiber/fiber/v2"
)

// route is one line of the table below. Operator routes change authority and need the operator's token.
type route struct {
	method, path string
	operator     bool
	handle       fiber.Handler
}

func (s *Server) routes() []route {
	return slices.Concat(s.logicRoutes(), s.queueRoutes(), s.lifecycleRoutes(), s.authorityRoutes(), s.secretRoutes(), s.egressRoutes(), []route{
		{"GET", "/healthz", false, s.getHealth},
		{"GET", "/metrics", false, s.getMetrics},
		{"POST", "/actions", false, s.postAction},
		{"GET", "/actions/:id", false, s.getAction},
		{"POST", "/actions/:id/cancel", false, s.cancelAction},
		{"PUT", "/actions/:id/stream", false, s.putStream},
		{"GET", "/actions/:id/stream", false, s.getStream},
		{"GET", "/actions/:id/record", true, s.getRecord},
		{"POST", "/actions/:id/replay", true, s.postReplay},
		{"GET", "/events", false, s.getEvents},
		{"GET", "/state/packs", false, s.getPacks},
		{"GET", "/state/leases", false, s.getLeases},
		{"GET", "/state/actions", false, s.getActions},
		{"GET", "/state/policy", false, s.getPolicy},
		{"GET", "/state/:id", false, s.getView},
		{"GET", "/packs/:ns/:name", false, s.getPack},
		{"GET", "/packs/:ns/:name/verdict", false, s.getVerdict},
		{"POST", "/packs", true, s.postPack},
		{"DELETE", "/packs/:ns/:name", true, s.deletePack},
		{"POST", "/index/refresh", true, s.postIndexRefresh},
		{"POST", "/leases", true, s.postLease},
		{"DELETE", "/leases/:id", true, s.deleteLease},
	})
}
