package server

import (
	"strings"
	"time"

	"github.com/gofiber/fiber/v2"

	"github.com/arw-project/arw/host/internal/snappy"
)

// pace measures how the parts of one answer come.
type pace struct {
	g           *snappy.Governor
	route       string
	began, last time.Time
}

// part notes that one was written.
func (p *pace) part() {
	if p == nil {
		return
	}
	now := time.Now()
	if p.last.IsZero() {
		p.g.Observe(p.route, snappy.FirstPartial, now.Sub(p.began), false)
	} else {
		p.g.Observe(p.route, snappy.Cadence, now.Sub(p.last), false)
	}
	p.last = now
}

// interaction reports whether a request is somebody's wish that others see the effect of on a stream.
func interaction(c *fiber.Ctx) bool { return c.Method() == fiber.MethodPost && c.Path() == "/actions" }

// measure notes how long a request took. What waits or streams because it was asked to says nothing about the host's speed.
func (s *Server) measure(c *fiber.Ctx, corr string, status int, took time.Duration) {
	if s.svc.Snappy == nil {
		return
	}
	route := strings.Clone(c.Method()) + " " + strings.Clone(c.Route().Path)
	if interaction(c) {
		s.svc.Snappy.Feedback(corr)
	}
	if strings.Contains(c.Get("Prefer"), "wait=") || c.Context().Response.IsBodyStream() {
		return
	}
	s.svc.Snappy.Observe(route, snappy.Full, took, status >= 400)
}
