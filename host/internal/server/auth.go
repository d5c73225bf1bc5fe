package server

import (
	"bytes"
	"encoding/json"
	"errors"
	"io"
	"mime"
	"net"
	"net/url"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/gofiber/fiber/v2"

	"github.com/arw-project/arw/abi"
	"github.com/arw-project/arw/host/internal/access"
)

// sameSite refuses what a web page on another site could make a browser send: a Host that is not this machine (DNS
// rebinding) and an Origin that is not this listener.
func (s *Server) sameSite(c *fiber.Ctx) error {
	host := c.Hostname()
	if !local(host) && !s.named(host) {
		return abi.Errorf(abi.Denied, "accept request: Host %q is not this machine", host).
			WithHint("call the host by 127.0.0.1, [::1], localhost or a name that its configuration has")
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

// named reports whether a Host header is one of the names that the operator gave this host.
func (s *Server) named(host string) bool {
	if h, _, err := net.SplitHostPort(host); err == nil {
		host = h
	}
	return slices.ContainsFunc(s.opts.Names, func(n string) bool { return strings.EqualFold(n, host) })
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

// whoKey is where a request keeps its principal.
const whoKey = "who"

// who finds out who asks: the holder of the credential that is shown, or whoever is at this machine. A credential that is
// shown and is not good is refused, not ignored. Failures are counted: past sixty in a minute everyone who shows a bad one
// waits, so that guessing is hopeless; a good one is never made to wait.
func (s *Server) who(c *fiber.Ctx) (access.Principal, error) {
	if p, ok := c.Locals(whoKey).(access.Principal); ok {
		return p, nil
	}
	what := c.Method() + " " + c.Path()
	given, found := strings.CutPrefix(c.Get(fiber.HeaderAuthorization), "Bearer ")
	p := access.Local
	if found {
		var ok bool
		if p, ok = s.svc.Access.Who(strings.TrimSpace(given)); !ok {
			if s.guard.tooMany(time.Now()) {
				return p, abi.Errorf(abi.Busy, "%s: too many attempts with a credential that is not good", what).WithHint("wait a minute")
			}
			return p, abi.Errorf(abi.Unauthenticated, "%s: the token is not one of this host, or not any more", what).
				WithHint("operator.token of this very host's state directory is one; \"arw token create\" makes others")
		}
	} else if throughSocket(c) {
		p = access.Operator
	} else if s.opts.NeedToken {
		return p, abi.Errorf(abi.Unauthenticated, "%s: this host is asked from other machines and wants to know by whom", what).
			WithHint("send \"Authorization: Bearer TOKEN\"; \"arw token create\" makes one")
	}
	c.Locals(whoKey, p)
	return p, nil
}

// need lets a request through whose principal may do what the route is about.
func (s *Server) need(r route) fiber.Handler {
	capability, apart := r.need, confined[r.method+" "+r.path]
	return func(c *fiber.Ctx) error {
		if capability == "" {
			return c.Next()
		}
		p, err := s.who(c)
		if err != nil {
			return err
		}
		what := c.Method() + " " + c.Path()
		if p.Project != "" && !apart {
			return abi.Errorf(abi.Denied, "%s: this is about more than the project %q, which is all that the token %q has to do with", what, p.Project, p.Name)
		}
		if p.Role.May(capability) {
			return c.Next()
		}
		if p != access.Local {
			return abi.Errorf(abi.Denied, "%s: this needs %q, which the role %q has not", what, capability, p.Role).
				WithDetail(map[string]string{"capability": string(capability), "role": string(p.Role)})
		}
		if s.guard.tooMany(time.Now()) {
			return abi.Errorf(abi.Busy, "%s: too many attempts without the operator's token", what).WithHint("wait a minute")
		}
		return abi.Errorf(abi.Unauthenticated, "%s: this is about authority, needs %q and carries no operator token", what, capability).
			WithHint("send \"Authorization: Bearer TOKEN\"; the token is in operator.token of the state directory, which only its owner can read")
	}
}

// actor names who asks; behind need it is always known.
func (s *Server) actor(c *fiber.Ctx) string {
	p, err := s.who(c)
	if err != nil {
		return access.Local.Actor()
	}
	return p.Actor()
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
