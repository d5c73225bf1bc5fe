package server_test

import (
	"bytes"
	"context"
	"encoding/json"
	"io"
	"math/rand/v2"
	"net"
	"net/http"
	"net/url"
	"strings"
	"testing"

	"github.com/arw-project/arw/host/api"
	"github.com/arw-project/arw/host/hosttest"
	"github.com/arw-project/arw/host/internal/server"
	"github.com/arw-project/arw/host/internal/spec"
)

// odd are values that have broken parsers before.
var odd = []string{"", "a", "a/b", "..", "%2e%2e%2f", "\x00", "-1", "9223372036854775808", "1e999", "sha256:" + strings.Repeat("0", 64), "é\u202e", strings.Repeat("x", 3000), "'; DROP TABLE event;--", "{}", "*"}

// FuzzAPI asks every operation of the host's own OpenAPI, as the operator and as nobody, with what a seed makes of the
// operation's schema: right, nearly right and wrong. No answer is a failure of the host, and each that is no success is a
// problem document.
func FuzzAPI(f *testing.F) {
	for seed := range uint64(12) {
		f.Add(seed)
	}
	f.Fuzz(func(t *testing.T, seed uint64) {
		e := whole(t)
		r := rand.New(rand.NewPCG(seed, 1))
		var last []spec.Op
		for _, op := range e.srv.Operations() {
			if op.Path == "/queue/pause" || op.Path == "/queue/drain" {
				last = append(last, op) // whoever waits for an action, as under /v1, would wait for its end
				continue
			}
			e.poke(t, r, op)
			if op.Ranges {
				op.Method = http.MethodHead
				e.poke(t, r, op)
			}
		}
		for _, op := range last {
			e.poke(t, r, op)
		}
		if got := e.ask("GET", "/healthz", "").StatusCode; got != http.StatusOK {
			t.Errorf("afterwards the host's health is %d", got)
		}
	})
}

// whole is a host with its own door, and the table of what is behind it.
func whole(t *testing.T) *edge {
	t.Helper()
	h := hosttest.New(t, hosttest.Options{Stopped: true})
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	h.ServeAt(ln)
	token, err := h.Token()
	if err != nil {
		t.Fatal(err)
	}
	return &edge{Host: h, t: t, srv: server.New(server.Services{}, server.Options{}), base: "http://" + ln.Addr().String(), token: token}
}

// A handler that panics takes nobody with it: here every service is missing.
func TestAPanicFailsItsRequestAlone(t *testing.T) {
	t.Parallel()
	srv := server.New(server.Services{}, server.Options{})
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	ctx, stop := context.WithCancel(context.Background())
	done := make(chan error, 1)
	go func() { done <- srv.Run(ctx, ln) }()
	e := &edge{t: t, srv: srv, base: "http://" + ln.Addr().String()}
	for range 2 {
		if p := problem(t, e.ask("GET", "/healthz", "")); p.Code != "internal" || p.Status != http.StatusInternalServerError {
			t.Errorf("got %+v", p)
		}
	}
	stop()
	if err := <-done; err != nil {
		t.Error(err)
	}
}

func (e *edge) poke(t *testing.T, r *rand.Rand, op spec.Op) {
	t.Helper()
	path := strings.Split(op.Path, "/")
	for i, part := range path {
		if strings.HasPrefix(part, ":") {
			path[i] = url.PathEscape(odd[r.IntN(len(odd))])
		}
	}
	query := url.Values{}
	for name := range strings.FieldsSeq(op.Query) {
		if r.IntN(2) == 0 {
			query.Set(name, odd[r.IntN(len(odd))])
		}
	}
	sent := body(r, op)
	req, err := http.NewRequest(op.Method, e.base+strings.Join(path, "/")+"?"+query.Encode(), bytes.NewReader(sent))
	if err != nil {
		return // a path that no client can send
	}
	if r.IntN(8) != 0 {
		req.Header.Set("Content-Type", "application/json")
	}
	if r.IntN(4) != 0 {
		req.Header.Set("Authorization", "Bearer "+e.token)
	}
	for _, name := range []string{"Range", "If-Range", "If-None-Match", "Last-Event-ID", "Accept", "Prefer", "traceparent", "X-Arw-Corr", "Idempotency-Key"} {
		if value := odd[r.IntN(len(odd))]; r.IntN(6) == 0 && !strings.ContainsAny(value, "\x00\u202e") {
			req.Header.Set(name, value)
		}
	}
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		return // cut off for its size
	}
	defer resp.Body.Close()
	if resp.StatusCode < 300 && op.Media != "" || op.Method == http.MethodHead {
		return // a stream need not end by itself
	}
	raw, _ := io.ReadAll(resp.Body)
	if resp.StatusCode < 300 || resp.StatusCode == http.StatusNotModified {
		return
	}
	// A head that is too large is refused before anybody reads whose it is.
	unread := strings.Contains(string(raw), "Request Header Fields Too Large")
	if strings.HasPrefix(op.Path, "/v1/") && !unread { // its clients know another form
		var o api.OpenAIError
		if json.Unmarshal(raw, &o) != nil || o.Error.Code == "" || o.Error.Message == "" || resp.Header.Get("Content-Type") != "application/json" {
			t.Errorf("%s %s: %d is no error as OpenAI's clients know it: %.300s", op.Method, req.URL, resp.StatusCode, raw)
		}
	} else {
		var p api.Problem
		if json.Unmarshal(raw, &p) != nil || p.Code == "" || p.Status != resp.StatusCode || resp.Header.Get("Content-Type") != "application/problem+json" {
			t.Errorf("%s %s: %d is no problem document: %.300s", op.Method, req.URL, resp.StatusCode, raw)
		}
	}
	if resp.StatusCode == http.StatusInternalServerError {
		t.Errorf("%s %s %.200s: the host failed: %.300s", op.Method, req.URL, sent, raw)
	}
}

// body makes a request's body out of the schema of its type.
func body(r *rand.Rand, op spec.Op) []byte {
	if op.Takes != "" {
		return []byte(odd[r.IntN(len(odd))])
	}
	if op.In == nil {
		return nil
	}
	switch r.IntN(8) {
	case 0:
		return []byte(`{"`)
	case 1:
		return []byte(strings.Repeat("[", 20_000))
	case 2:
		return []byte(`{"none_such": 1}`)
	}
	types := spec.NewTypes("#/$defs/")
	raw, err := json.Marshal(value(r, types, types.Of(op.In), 0))
	if err != nil {
		return nil
	}
	return raw
}

// value is one that a schema allows, now and then of another type.
func value(r *rand.Rand, types *spec.Types, s spec.Schema, depth int) any {
	if ref, ok := s["$ref"].(string); ok {
		s, _ = types.Defs()[strings.TrimPrefix(ref, "#/$defs/")].(spec.Schema)
	}
	kind, _ := s["type"].(string)
	if several, ok := s["type"].([]string); ok {
		kind = several[0]
	}
	if depth > 6 || r.IntN(12) == 0 {
		kind = []string{"string", "integer", "boolean", "null"}[r.IntN(4)]
	}
	switch kind {
	case "object":
		out := map[string]any{}
		props, _ := s["properties"].(spec.Schema)
		for name, p := range props {
			if r.IntN(3) != 0 {
				out[name] = value(r, types, p.(spec.Schema), depth+1)
			}
		}
		return out
	case "array":
		items, _ := s["items"].(spec.Schema)
		out := []any{}
		for range r.IntN(3) {
			out = append(out, value(r, types, items, depth+1))
		}
		return out
	case "integer", "number":
		return []any{0, -1, 1, int64(1) << 62}[r.IntN(4)]
	case "boolean":
		return r.IntN(2) == 0
	case "null":
		return nil
	}
	return odd[r.IntN(len(odd))]
}
