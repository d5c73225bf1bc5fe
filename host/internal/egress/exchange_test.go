package egress_test

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"strings"
	"testing"

	"github.com/arw-project/arw/abi"
	"github.com/arw-project/arw/host/internal/egress"
)

var caller = egress.Caller{Actor: "pack:arw/test", Pack: "arw/test", Digest: "sha256:00", Tool: "test.run", Action: "act_1", Corr: "cor_1"}

// fetch makes one whole exchange.
func (h *house) fetch(t testing.TB, who egress.Authority, req egress.Request) (egress.Response, string, error) {
	t.Helper()
	ctx := context.Background()
	x, err := h.Open(ctx, caller, who, req)
	if err != nil {
		return egress.Response{}, "", err
	}
	defer x.Close()
	resp, err := x.Response(ctx)
	if err != nil {
		return resp, "", err
	}
	body, err := io.ReadAll(reader{ctx, x})
	return resp, string(body), err
}

type reader struct {
	ctx context.Context
	x   *egress.Exchange
}

func (r reader) Read(b []byte) (int, error) { return r.x.Read(r.ctx, b) }

func echo(w http.ResponseWriter, r *http.Request) {
	body, _ := io.ReadAll(r.Body)
	w.Header().Set("X-Proto", r.Proto)
	fmt.Fprintf(w, "%s %s %s|%s|%s", r.Method, r.Host, r.URL, r.Header.Get("Authorization"), body)
}

func TestFetch(t *testing.T) {
	t.Parallel()
	h := open(t, t.TempDir())
	h.serve(t, "api.example.com", "93.184.216.34", true, http.HandlerFunc(echo))
	resp, body, err := h.fetch(t, all, egress.Request{Method: "POST", URL: "https://api.example.com/v1/x?q=1#f", Header: http.Header{"Authorization": {"Bearer a"}}, Body: []byte("hello")})
	if err != nil {
		t.Fatal(err)
	}
	if want := "POST api.example.com /v1/x?q=1|Bearer a|hello"; body != want || resp.Status != 200 || resp.Header.Get("X-Proto") != "HTTP/2.0" {
		t.Errorf("got %d %q over %s, want %q", resp.Status, body, resp.Header.Get("X-Proto"), want)
	}
	rows, err := h.Rows(context.Background(), egress.Query{})
	if err != nil || len(rows) != 2 {
		t.Fatalf("rows: %+v, %v", rows, err)
	}
	r, dns := rows[0], rows[1]
	if dns.Kind != "dns" || dns.State != "done" || dns.Outcome.Address != "93.184.216.34" {
		t.Errorf("the question for the name: %+v", dns)
	}
	if r.ID != resp.Row || r.State != "done" || r.Address != "93.184.216.34" || r.Method != "POST" || r.Path != "/v1/x" || r.Lease != "lea_test" || r.Scope != "* https://*" ||
		r.Payload != "sha256:2cf24dba5fb0a30e26e83b2ac5b9e29e1b161e5c1fa7425e73043362938b9824" || r.Pack != "arw/test" || r.Corr != "cor_1" {
		t.Errorf("row: %+v", r)
	}
	if o := r.Outcome; o == nil || o.Status != 200 || o.Out != 5 || o.In != int64(len(body)) || o.Code != "ok" || o.Payload != r.Payload {
		t.Errorf("outcome: %+v", r.Outcome)
	}
	if l := len(h.asked); l != 1 || h.asked[0] != "api.example.com." {
		t.Errorf("asked %q", h.asked)
	}
}

func TestStreamsBothWays(t *testing.T) {
	t.Parallel()
	h := open(t, t.TempDir())
	h.serve(t, "api.example.com", "93.184.216.34", true, http.HandlerFunc(echo))
	l := leased("POST https://api.example.com")
	ctx := context.Background()
	x, err := h.Open(ctx, caller, l, egress.Request{Method: "POST", URL: "https://api.example.com/", Stream: true})
	if err != nil {
		t.Fatal(err)
	}
	for _, part := range []string{"one ", "two ", "three"} {
		if err := x.Write(ctx, []byte(part)); err != nil {
			t.Fatal(err)
		}
	}
	resp, err := x.Response(ctx)
	if err != nil {
		t.Fatal(err)
	}
	body, err := io.ReadAll(reader{ctx, x})
	if err != nil || !strings.HasSuffix(string(body), "|one two three") {
		t.Errorf("%q, %v", body, err)
	}
	if err := x.Write(ctx, []byte("late")); abi.CodeOf(err) != abi.Invalid {
		t.Errorf("a write behind the end: %v", err)
	}
	x.Close()
	rows, _ := h.Rows(ctx, egress.Query{Limit: 1})
	if r := rows[0]; r.ID != resp.Row || r.Announced != -1 || r.Outcome.Out != 13 || !strings.HasPrefix(r.Outcome.Payload, "sha256:") || l.bytes != int64(13+len(body)) {
		t.Errorf("row: %+v %+v, lease %d bytes", r, r.Outcome, l.bytes)
	}
}

func TestRedirects(t *testing.T) {
	t.Parallel()
	h := open(t, t.TempDir())
	h.serve(t, "api.example.com", "93.184.216.34", true, http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if to := r.URL.Query().Get("to"); to != "" {
			code := 302
			if r.URL.Query().Get("keep") != "" {
				code = 307
			}
			http.Redirect(w, r, to, code)
			return
		}
		echo(w, r)
	}))
	h.serve(t, "other.example.com", "93.184.216.35", true, http.HandlerFunc(echo))
	h.names["inside.example.com"] = []string{"10.0.0.1"}
	for _, c := range []struct {
		name, to, keep, want string
		reason               string
	}{
		{"within the origin credentials stay", "/y", "", "GET api.example.com /y|secret|", ""},
		{"another origin gets none", "https://other.example.com/y", "", "GET other.example.com /y||", ""},
		{"307 keeps method and body", "https://other.example.com/y", "1", "POST other.example.com /y||hello", ""},
		{"without a scheme", "//other.example.com/y", "", "GET other.example.com /y||", ""},
		{"to an address inside", "https://169.254.169.254/latest", "", "", "lease"},
		{"to a name inside", "https://inside.example.com/", "", "", "address"},
		{"out of encryption", "http://other.example.com/", "", "", "scheme"},
		{"to a file", "file:///etc/passwd", "", "", "scheme"},
		{"to a user", "https://api.example.com@other.example.com/", "", "", "user_info"},
		{"round and round", "?to=%3Fto=", "", "", ""},
	} {
		if c.name == "round and round" {
			continue
		}
		target := "https://api.example.com/x?to=" + strings.NewReplacer(":", "%3A", "/", "%2F", "@", "%40", "?", "%3F").Replace(c.to)
		if c.keep != "" {
			target += "&keep=1"
		}
		_, body, err := h.fetch(t, all, egress.Request{Method: "POST", URL: target, Header: http.Header{"Authorization": {"secret"}, "X-Api-Key": {"k"}}, Body: []byte("hello")})
		if got := reason(err); got != c.reason || body != c.want {
			t.Errorf("%s: got %q and %q (%v), want %q and %q", c.name, body, got, err, c.want, c.reason)
		}
	}
	rows, err := h.Rows(context.Background(), egress.Query{State: "open"})
	if err != nil || len(rows) > 0 {
		t.Errorf("rows left open: %+v, %v", rows, err)
	}
}

// reason is why the guard refused.
func reason(err error) string {
	e, ok := errors.AsType[*abi.Error](err)
	if !ok {
		return ""
	}
	if d, ok := e.Detail.(egress.Denial); ok {
		return d.Reason
	}
	if e.Code == abi.Denied {
		return "lease"
	}
	return e.Code.String()
}
