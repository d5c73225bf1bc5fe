package server

import (
	"bytes"

	"github.com/gofiber/fiber/v2"

	"github.com/arw-project/arw/host/internal/redact"
)

// The last door: whatever a handler does, no value of the vault comes in by a request, other than by the two that are about
// values, and none leaves by an answer.

// takesValues are the routes whose bodies are values: storing one, and taking one out of the journal.
func takesValues(c *fiber.Ctx) bool {
	return c.Method() == fiber.MethodPut && bytes.HasPrefix(c.Request().URI().Path(), []byte("/secrets/")) ||
		c.Method() == fiber.MethodPost && c.Path() == "/admin/journal/redact"
}

// secretless refuses a request that holds a value of the vault in its address or its body: it would be written down by whoever
// handles it.
func (s *Server) secretless(c *fiber.Ctx) error {
	place := s.svc.Redact.At("request")
	if err := place.Refuse("read the request's address", c.Request().RequestURI()); err != nil {
		return err
	}
	if takesValues(c) {
		return nil
	}
	return place.Refuse("read the request's body", c.Body())
}

// exactly takes the values of the vault out of an answer. Files by digest are left as they are: they would be others. Streams are
// cleaned where they are made, piece by piece.
func (s *Server) exactly(c *fiber.Ctx) {
	resp := c.Response()
	if resp.IsBodyStream() {
		return
	}
	body := resp.Body()
	place := s.svc.Redact.At("answer")
	if clean := place.Exact(body); !bytes.Equal(clean, body) {
		resp.SetBody(clean)
	}
	for name, value := range resp.Header.All() {
		if clean := place.Exact(value); !bytes.Equal(clean, value) {
			resp.Header.SetBytesKV(bytes.Clone(name), clean)
		}
	}
}

// outgoing is a stream of bytes that somebody takes, without values of the vault, wherever it is cut.
func (s *Server) outgoing() *redact.Stream { return s.svc.Redact.At("stream").Stream() }
