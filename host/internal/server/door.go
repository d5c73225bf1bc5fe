package server

import (
	"net"

	"github.com/gofiber/fiber/v2"
)

// shield sets what every answer tells a browser: render nothing, embed nowhere, guess no type, keep no copy.
func (s *Server) shield(c *fiber.Ctx) error {
	c.Set(fiber.HeaderContentSecurityPolicy, "default-src 'none'; frame-ancestors 'none'; base-uri 'none'; form-action 'none'")
	c.Set(fiber.HeaderXFrameOptions, "DENY")
	c.Set(fiber.HeaderReferrerPolicy, "no-referrer")
	c.Set("Cross-Origin-Resource-Policy", "same-origin")
	if c.Context().IsTLS() {
		c.Set(fiber.HeaderStrictTransportSecurity, "max-age=31536000")
	}
	return c.Next()
}

// throughSocket reports whether a request came through a unix socket. Run is given only sockets that the operator's own
// user alone can open, so whoever asks there is the operator.
func throughSocket(c *fiber.Ctx) bool {
	_, unix := c.Context().LocalAddr().(*net.UnixAddr)
	return unix
}
