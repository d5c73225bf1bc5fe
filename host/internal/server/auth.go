package server

import (
	"bytes"
	"encoding/json"
	"errors"
	"io"
	"mime"
	"net"
	"net/url"
	"strings"
	"sync"
	"time"

	"github.com/gofiber/fiber/v2"

	"github.com/arw-project/arw/abi"
)

// sameSite refuses what a web page on another site could make a browser send: a Host that is not this machine (DNS
// rebinding) and an Origin that is not this listener.
func (s *Server) sameSite(c *fiber.Ctx) error {
	host := c.Hostname()
	if !local(host) {
		return abi.Errorf(abi.Denied, "accept request: Host %q is not this machine", host).
			WithHint("call the host by 127.0.0.1, [::1] or localhost")
	}
	origin := c.Get(fiber.HeaderOrigin)
	if origin == "" {
		return c.Next()
	}
	if u, err := url.Parse(origin); err != nil || u.Host != host {
		return abi.Errorf(abi.Denied, "accept request: Origin %q is not this host", origin).
			WithHint("call arw from a program, not from a page of another site")
	}
	return c.Next()
}

// local reports whether a Host header names the loopback interface, with or without a port.
func local(host string) bool {
	if h, _, err := net.SplitHostPort(host); err == nil {
		host = h
	}
	host = strings.Trim(host, "[]")
	if strings.EqualFold(host, "localhost") {
		return true
	}
	ip := net.ParseIP(host)
	return ip != nil && ip.IsLoopback()
}

// operator lets a request through that carries the operator's token. Failures are counted: past sixty in a minute
// everyone without the token waits, so that guessing is hopeless; the right token is never made to wait.
func (s *Server) operator(c *fiber.Ctx) error {
	given, found := strings.CutPrefix(c.Get(fiber.HeaderAuthorization), "Bearer ")
	if found && s.svc.Operator(strings.TrimSpace(given)) {
		return c.Next()
	}
	what := c.Method() + " " + c.Path()
	if s.guard.tooMany(time.Now()) {
		return abi.Errorf(abi.Busy, "%s: too many attempts without the operator's token", what).WithHint("wait a minute")
	}
	if !found {
		return abi.Errorf(abi.Unauthenticated, "%s: this changes authority and carries no operator token", what).
			WithHint("send \"Authorization: Bearer TOKEN\"; the token is in operator.token of the state directory, which only its owner can read")
	}
	return abi.Errorf(abi.Unauthenticated, "%s: this is not the operator's token", what).
		WithHint("read operator.token of the state directory of this very host")
}

// attempts counts failures in one window of a minute.
type attempts struct {
	mu    sync.Mutex
	since time.Time
	n     int
}

func (a *attempts) tooMany(now time.Time) bool {
	a.mu.Lock()
	defer a.mu.Unlock()
	if now.Sub(a.since) > time.Minute {
		a.since, a.n = now, 0
	}
	a.n++
	return a.n > 60
}

func mediaIsJSON(contentType string) bool {
	mt, _, err := mime.ParseMediaType(contentType)
	return err == nil && (mt == "application/json" || strings.HasSuffix(mt, "+json"))
}

// strictJSON decodes exactly one JSON value with no field that the type does not know.
func strictJSON(body []byte, into any) error {
	dec := json.NewDecoder(bytes.NewReader(body))
	dec.DisallowUnknownFields()
	if err := dec.Decode(into); err != nil {
		return abi.Errorf(abi.Invalid, "read request body: %w", err).WithHint("send one JSON object as docs/spec/http.md has it")
	}
	if _, err := dec.Token(); !errors.Is(err, io.EOF) {
		return abi.Errorf(abi.Invalid, "read request body: there is more than one JSON value")
	}
	return nil
}
