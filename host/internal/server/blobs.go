package server

import (
	"encoding/json"
	"io"
	"strconv"
	"strings"

	"github.com/gofiber/fiber/v2"

	"github.com/arw-project/arw/abi"
	"github.com/arw-project/arw/host/api"
	"github.com/arw-project/arw/host/internal/access"
)

// getBlob gives a blob, or a part of it. Its digest is its validator for ever (RFC 9110 §8.8.3, RFC 8246), and not one byte
// goes out before all of them have been checked. Files of installed packs are for whoever may look; records of calls and kept
// answers hold what somebody gave a tool, so they are the operator's, and to others they are not there.
func (s *Server) getBlob(c *fiber.Ctx) error {
	digest := c.Params("digest")
	store := s.svc.Packs.CAS
	there, err := store.Has(digest)
	if err != nil {
		return err
	}
	p, err := s.who(c)
	if err != nil {
		return err
	}
	if !there || !p.Role.May(access.ActionRecord) && !s.svc.Packs.Live(digest) {
		return abi.Errorf(abi.NotFound, "read blob %q: there is no such blob", digest)
	}
	etag := `"` + digest + `"`
	c.Set(fiber.HeaderETag, etag)
	c.Set(fiber.HeaderCacheControl, "private, max-age=31536000, immutable")
	c.Set(fiber.HeaderAcceptRanges, "bytes")
	if holds(c.Get(fiber.HeaderIfNoneMatch), etag) {
		return c.SendStatus(fiber.StatusNotModified)
	}
	blob, err := store.Open(digest)
	if err != nil {
		return unkept(c, err)
	}
	bytes, err := blob.Proven()
	if err != nil {
		_ = blob.Close()
		s.log.Error("a blob is not what it was", "digest", digest, "error", err, "corr_id", corr(c))
		return unkept(c, abi.Errorf(abi.CodeOf(err), "read blob %q: its bytes are not those of the digest any more", digest).
			WithHint("fetch it again from where it came: install its pack again, or restore a backup"))
	}
	from, length, status := part(c, etag, blob.Size())
	if status == fiber.StatusRequestedRangeNotSatisfiable {
		_ = blob.Close()
		c.Set(fiber.HeaderContentRange, "bytes */"+strconv.FormatInt(blob.Size(), 10))
		return unsatisfiable(c, digest, blob.Size())
	}
	if status == fiber.StatusPartialContent {
		c.Set(fiber.HeaderContentRange, "bytes "+strconv.FormatInt(from, 10)+"-"+strconv.FormatInt(from+length-1, 10)+"/"+strconv.FormatInt(blob.Size(), 10))
	}
	c.Set(fiber.HeaderContentType, fiber.MIMEOctetStream)
	c.Set(fiber.HeaderContentDisposition, "attachment")
	return c.Status(status).SendStream(closing{io.NewSectionReader(bytes, from, length), blob}, int(length))
}

// closing closes the blob with the part of it that is sent.
type closing struct {
	io.Reader
	io.Closer
}

// unkept is an error that no cache may keep.
func unkept(c *fiber.Ctx, err error) error {
	c.Set(fiber.HeaderCacheControl, "no-store")
	c.Response().Header.Del(fiber.HeaderETag)
	return err
}

// unsatisfiable is the problem document of a part that is not there.
func unsatisfiable(c *fiber.Ctx, digest string, size int64) error {
	_ = unkept(c, nil)
	p := api.ProblemOf(abi.Errorf(abi.Invalid, "read blob %q: there is no part %q of %d bytes", digest, c.Get(fiber.HeaderRange), size), corr(c))
	p.Status = fiber.StatusRequestedRangeNotSatisfiable
	body, err := json.Marshal(p)
	if err != nil {
		return err
	}
	c.Set(fiber.HeaderContentType, "application/problem+json")
	return c.Status(p.Status).Send(body)
}

// holds reports whether a list of validators has one, compared weakly as If-None-Match is (RFC 9110 §13.1.2).
func holds(list, etag string) bool {
	if strings.TrimSpace(list) == "*" {
		return true
	}
	for v := range strings.SplitSeq(list, ",") {
		if strings.TrimPrefix(strings.TrimSpace(v), "W/") == etag {
			return true
		}
	}
	return false
}

// part is what of a blob of size bytes a request asks for. A header that is no single range of bytes, or one whose If-Range
// names other bytes, asks for the whole (RFC 9110 §14.2).
func part(c *fiber.Ctx, etag string, size int64) (from, length int64, status int) {
	spec, isBytes := strings.CutPrefix(c.Get(fiber.HeaderRange), "bytes=")
	first, last, isRange := strings.Cut(strings.TrimSpace(spec), "-")
	if condition := c.Get(fiber.HeaderIfRange); !isBytes || !isRange || condition != "" && condition != etag {
		return 0, size, fiber.StatusOK
	}
	a, aok := number(first)
	b, bok := number(last)
	switch {
	case first == "" && bok: // the last b bytes
		if b == 0 || size == 0 {
			return 0, 0, fiber.StatusRequestedRangeNotSatisfiable
		}
		from = max(0, size-b)
		return from, size - from, fiber.StatusPartialContent
	case !aok, last != "" && (!bok || b < a):
		return 0, size, fiber.StatusOK
	case a >= size:
		return 0, 0, fiber.StatusRequestedRangeNotSatisfiable
	case last == "":
		b = size - 1
	}
	b = min(b, size-1)
	return a, b - a + 1, fiber.StatusPartialContent
}

// number reads the digits of a position; what is too large is as large as can be.
func number(digits string) (int64, bool) {
	if digits == "" || strings.Trim(digits, "0123456789") != "" {
		return 0, false
	}
	n, err := strconv.ParseInt(digits, 10, 64)
	if err != nil {
		return 1<<63 - 1, true
	}
	return n, true
}
