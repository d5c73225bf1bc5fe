package server

import (
	"io"
	"net/http"
	"strconv"

	"github.com/gofiber/fiber/v2"

	"github.com/arw-project/arw/abi"
)

// getModelFile gives a model file of the shelf, or a part of it, by the digits of its digest, which validate it for ever. Its
// bytes were proven when it came or has changed since.
func (s *Server) getModelFile(c *fiber.Ctx) error {
	hash := c.Params("sha256")
	f, m, err := s.svc.Shelf.Prove(c.UserContext(), "sha256:"+hash)
	if err != nil {
		return unkept(c, err)
	}
	etag := `"` + hash + `"`
	c.Set(fiber.HeaderETag, etag)
	c.Set(fiber.HeaderLastModified, m.Added.UTC().Format(http.TimeFormat))
	c.Set(fiber.HeaderCacheControl, "public, max-age=31536000, immutable")
	c.Set(fiber.HeaderAcceptRanges, "bytes")
	c.Set(fiber.HeaderXContentTypeOptions, "nosniff")
	since, bad := http.ParseTime(c.Get(fiber.HeaderIfModifiedSince))
	if none := c.Get(fiber.HeaderIfNoneMatch); holds(none, etag) || none == "" && bad == nil && !m.Added.After(since) {
		_ = f.Close()
		return c.SendStatus(fiber.StatusNotModified)
	}
	from, length, status := part(c, etag, m.Size)
	switch status {
	case fiber.StatusRequestedRangeNotSatisfiable:
		_ = f.Close()
		c.Set(fiber.HeaderContentRange, "bytes */"+strconv.FormatInt(m.Size, 10))
		return unsatisfiable(c, m.Digest, m.Size)
	case fiber.StatusPartialContent:
		c.Set(fiber.HeaderContentRange, "bytes "+strconv.FormatInt(from, 10)+"-"+strconv.FormatInt(from+length-1, 10)+"/"+strconv.FormatInt(m.Size, 10))
	}
	if length > int64(^uint(0)>>1) {
		_ = f.Close()
		return abi.Errorf(abi.TooLarge, "send model file %q: %d bytes at once; ask for parts", m.Digest, length)
	}
	c.Set(fiber.HeaderContentType, fiber.MIMEOctetStream)
	c.Set(fiber.HeaderContentDisposition, "attachment")
	return c.Status(status).SendStream(closing{io.NewSectionReader(f, from, length), f}, int(length))
}
