package server

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"regexp"
	"runtime/debug"
	"strconv"
	"strings"
	"time"

	"github.com/gofiber/fiber/v2"
	"github.com/google/uuid"

	"github.com/arw-project/arw/abi"
	"github.com/arw-project/arw/host/api"
	"github.com/arw-project/arw/host/internal/trace"
)

const (
	corrKey  = "corr"
	traceKey = "trace"
)

var corrForm = regexp.MustCompile(`^[A-Za-z0-9_.-]{1,64}$`)

// observe gives every request its correlation id, counts it and logs it once.
func (s *Server) observe(c *fiber.Ctx) error {
	if id := c.Get(api.HeaderCorr); s.svc.Redact.Clean(id) != id { // it would stand everywhere
		c.Request().Header.Del(api.HeaderCorr)
	}
	corr := corr(c)
	c.Set("X-Content-Type-Options", "nosniff")
	c.Set("Cache-Control", "no-store")
	start := time.Now()
	if interaction(c) {
		s.svc.Snappy.Begin(corr, "POST /actions", start)
	}
	at, span := s.opts.Trace.Enter(context.Background(), c.Get("traceparent"), "request", "http.request.method", c.Method(), "arw.corr_id", corr)
	c.Locals(traceKey, trace.Parent(at))
	err := s.secretless(c)
	if err == nil {
		err = s.next(c)
	}
	defer func() {
		span.Rename(c.Method() + " " + c.Route().Path)
		span.Say("http.route", c.Route().Path, "http.response.status_code", strconv.Itoa(c.Response().StatusCode()))
		span.End(err)
	}()
	if err != nil {
		if handled := s.problem(c, err); handled != nil {
			return handled
		}
	}
	s.exactly(c)
	took := time.Since(start)
	status := c.Response().StatusCode()
	s.metrics.request(c.Method(), c.Route().Path, status, took)
	s.measure(c, corr, status, took)
	s.log.Debug("request", "method", c.Method(), "path", c.Path(), "status", status, "took", took, "corr_id", corr)
	return nil
}

// traceOf is where the trace of a request stands, for what it sets off; "" without one.
func traceOf(c *fiber.Ctx) string {
	at, _ := c.Locals(traceKey).(string)
	return at
}

// next runs the handler. One that panics fails its request and no other; the stack goes to the log.
func (s *Server) next(c *fiber.Ctx) (err error) {
	defer func() {
		if what := recover(); what != nil {
			s.log.Error("a handler panicked", "method", c.Method(), "path", c.Path(), "panic", what, "stack", string(debug.Stack()), "corr_id", corr(c))
			err = abi.Errorf(abi.Internal, "%s %s: the handler panicked", c.Method(), c.Path())
		}
	}()
	return c.Next()
}

// corr is the request's correlation id: the client's own when it is well formed, else one that is made here, the first
// time it is asked for. What is refused before any handler runs has one too.
func corr(c *fiber.Ctx) string {
	if id, ok := c.Locals(corrKey).(string); ok {
		return id
	}
	id := c.Get(api.HeaderCorr)
	if !corrForm.MatchString(id) {
		id = "cor_" + uuid.Must(uuid.NewV7()).String()
	}
	c.Locals(corrKey, id)
	c.Set(api.HeaderCorr, id)
	return id
}

// problem writes an error as a problem document; it is the only place where errors become statuses.
func (s *Server) problem(c *fiber.Ctx, err error) error {
	if strings.HasPrefix(c.Path(), "/v1/") {
		return s.openAIProblem(c, edgeError(err))
	}
	p := api.ProblemOf(edgeError(err), corr(c))
	if g, ok := errors.AsType[gone](err); ok {
		p = &api.Problem{
			Type: "urn:arw:error:" + g.code, Title: "this host does that no more", Status: fiber.StatusGone, Code: g.code, Detail: g.Error(), Corr: p.Corr,
			Next: "send a signed capsule in " + api.HeaderCapsule + "; see docs/spec/capsule.md",
		}
	}
	if p.Code == abi.Internal.String() {
		s.log.Error("request failed", "method", c.Method(), "path", c.Path(), "error", err, "corr_id", p.Corr)
	}
	body, jsonErr := json.Marshal(p)
	if jsonErr != nil { // a detail that does not marshal must not hide the refusal itself
		p.Data = nil
		body, _ = json.Marshal(p)
	}
	c.Set(fiber.HeaderContentType, "application/problem+json")
	if p.Status == fiber.StatusUnauthorized {
		c.Set(fiber.HeaderWWWAuthenticate, `Bearer realm="arw"`)
	}
	return c.Status(p.Status).Send(body)
}

// edgeError gives the framework's own refusals the house's codes.
func edgeError(err error) error {
	fe, ok := errors.AsType[*fiber.Error](err)
	if !ok {
		return err
	}
	switch fe.Code {
	case fiber.StatusRequestEntityTooLarge:
		return abi.Errorf(abi.TooLarge, "read request: %s", fe.Message)
	case fiber.StatusNotFound, fiber.StatusMethodNotAllowed:
		return abi.Errorf(abi.NotFound, "find route: %s", fe.Message)
	case fiber.StatusInternalServerError:
		return err
	}
	return abi.Errorf(abi.Invalid, "read request: %s", fe.Message)
}

// decode reads a JSON body strictly: unknown fields, trailing data and other types are refused by name.
func decode(c *fiber.Ctx, into any) error {
	if ct := c.Get(fiber.HeaderContentType); ct != "" && !mediaIsJSON(ct) {
		return abi.Errorf(abi.Invalid, "read request: content type %q is not application/json", ct)
	}
	return strictJSON(c.Body(), into)
}

// stateJSON writes a document of /state with a validator, and nothing when the client has it already.
func stateJSON(c *fiber.Ctx, id string, doc any) error {
	body, err := json.Marshal(doc)
	if err != nil {
		return err
	}
	sum := sha256.Sum256(body)
	etag := `"state-` + id + "-" + hex.EncodeToString(sum[:8]) + `"`
	return validated(c, etag, body)
}

// validated answers 304 to a client that holds the version, else the body.
func validated(c *fiber.Ctx, etag string, body []byte) error {
	c.Set(fiber.HeaderETag, etag)
	c.Set(fiber.HeaderCacheControl, "private, no-cache")
	if c.Get(fiber.HeaderIfNoneMatch) == etag {
		return c.SendStatus(fiber.StatusNotModified)
	}
	c.Set(fiber.HeaderContentType, fiber.MIMEApplicationJSON)
	return c.Send(body)
}
