package egress_test

import (
	"bufio"
	"context"
	"crypto/tls"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/url"
	"strings"
	"testing"
	"time"

	"github.com/arw-project/arw/abi"
	"github.com/arw-project/arw/host/internal/egress"
)

var operator = egress.Cause{Actor: "operator"}

// proxied starts the proxy and gives its address.
func (h *house) proxied(t *testing.T) string {
	t.Helper()
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan error, 1)
	go func() { done <- h.ServeProxy(ctx, ln) }()
	t.Cleanup(func() {
		cancel()
		if err := <-done; err != nil {
			t.Error(err)
		}
	})
	return ln.Addr().String()
}

func (h *house) token(t *testing.T, tok egress.Token) (egress.Token, string) {
	t.Helper()
	tok.Actor = "process:test"
	got, secret, err := h.Issue(context.Background(), operator, tok)
	if err != nil {
		t.Fatal(err)
	}
	return got, secret
}

// through is a client that speaks through the proxy with a secret.
func (h *house) through(proxy, secret string) *http.Client {
	return &http.Client{Transport: &http.Transport{
		Proxy:           http.ProxyURL(&url.URL{Scheme: "http", Host: proxy, User: url.UserPassword("arw", secret)}),
		TLSClientConfig: &tls.Config{RootCAs: h.roots}, DisableKeepAlives: true,
	}, CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }}
}

func get(c *http.Client, url string) (int, string, error) {
	resp, err := c.Get(url)
	if err != nil {
		return 0, "", err
	}
	defer resp.Body.Close()
	body, err := io.ReadAll(resp.Body)
	return resp.StatusCode, string(body), err
}

func TestProxyPassesWhatATokenCovers(t *testing.T) {
	t.Parallel()
	h := open(t, t.TempDir())
	h.serve(t, "api.example.com", "93.184.216.34", true, http.HandlerFunc(echo))
	h.serve(t, "plain.example.com", "93.184.216.34", false, http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.Header.Get("Proxy-Authorization") != "" || r.Header.Get("X-Arw-Corr") != "" || r.Header.Get("Via") != "" {
			t.Errorf("headers of the proxy went on: %v", r.Header)
		}
		echo(w, r)
	}))
	proxy := h.proxied(t)
	tok, secret := h.token(t, egress.Token{Scope: []string{"CONNECT https://api.example.com", "GET,POST http://*.example.com"}})
	c := h.through(proxy, secret)
	if status, body, err := get(c, "https://api.example.com/x"); err != nil || status != 200 || !strings.HasPrefix(body, "GET api.example.com /x") {
		t.Errorf("a tunnel: %d %q %v", status, body, err)
	}
	resp, err := c.Post("http://plain.example.com/y", "text/plain", strings.NewReader("hello"))
	if err != nil {
		t.Fatal(err)
	}
	body, _ := io.ReadAll(resp.Body)
	resp.Body.Close()
	if string(body) != "POST plain.example.com /y||hello" || resp.Header.Get("X-Arw-Ledger") == "" {
		t.Errorf("a plain request: %q %v", body, resp.Header)
	}
	wait(t, "both rows are settled", func() bool {
		rows, err := h.Rows(context.Background(), egress.Query{State: "done"})
		return err == nil && len(rows) == 4 // with the two questions for names
	})
	rows, _ := h.Rows(context.Background(), egress.Query{})
	for _, r := range rows {
		if r.Actor != "process:test" || r.Lease != tok.ID || r.Kind == "tunnel" && (r.Method != "CONNECT" || r.Outcome.In == 0 || r.Outcome.Out == 0) {
			t.Errorf("row: %+v %+v", r, r.Outcome)
		}
	}
}

func TestProxyRefuses(t *testing.T) {
	t.Parallel()
	h := open(t, t.TempDir())
	h.serve(t, "api.example.com", "93.184.216.34", true, http.HandlerFunc(echo))
	h.names["inside.example.com"] = []string{"127.0.0.1"}
	h.names["mixed.example.com"] = []string{"93.184.216.34 169.254.169.254"}
	proxy := h.proxied(t)
	scope := []string{"CONNECT https://*", "GET http://*", "CONNECT https://127.0.0.1", "GET http://169.254.169.254"}
	_, good := h.token(t, egress.Token{Scope: scope})
	_, narrow := h.token(t, egress.Token{Scope: []string{"CONNECT https://other.example.com"}})
	gone, revoked := h.token(t, egress.Token{Scope: scope})
	if err := h.Revoke(context.Background(), operator, gone.ID); err != nil {
		t.Fatal(err)
	}
	for _, c := range []struct{ name, secret, url, want string }{
		{"no token", "", "https://api.example.com/", "Proxy Authentication Required"},
		{"a wrong token", "arwe_wrong", "https://api.example.com/", "Proxy Authentication Required"},
		{"a revoked token", revoked, "https://api.example.com/", "Proxy Authentication Required"},
		{"outside its scope", narrow, "https://api.example.com/", "Forbidden"},
		{"a name that leads inside", good, "https://inside.example.com/", "Forbidden"},
		{"a name that leads inside among others", good, "https://mixed.example.com/", "Forbidden"},
		{"an address inside", good, "https://127.0.0.1/", "Forbidden"},
		{"another spelling", good, "https://2130706433/", "Forbidden"},
		{"a resolver", good, "https://dns.google/dns-query", "Forbidden"},
		{"a resolver's port", good, "https://api.example.com:853/", "Forbidden"},
		{"a mail server's port", good, "https://api.example.com:25/", "Forbidden"},
		{"localhost", good, "https://localhost/", "Forbidden"},
		{"no such name", good, "https://nowhere.example.com/", "Bad Gateway"},
		{"metadata, plain", good, "http://169.254.169.254/latest", "403 denied"},
		{"inside, plain", good, "http://inside.example.com/", "403 denied"},
	} {
		status, body, err := get(h.through(proxy, c.secret), c.url)
		got := fmt.Sprint(status, " ", body)
		if err != nil {
			got = err.Error()
		}
		if !strings.Contains(got, c.want) {
			t.Errorf("%s: got %q, want %q", c.name, got, c.want)
		}
	}
	if d := h.reached(); len(d) > 0 {
		t.Errorf("dialled %q", d)
	}
	for _, raw := range []string{"GET / HTTP/1.1\r\nHost: x\r\n\r\n", "GET http://api.example.com/ HTTP/1.1\r\nHost: x\r\nProxy-Authorization: Basic !!\r\n\r\n"} {
		conn, err := net.Dial("tcp", proxy)
		if err != nil {
			t.Fatal(err)
		}
		fmt.Fprint(conn, raw)
		if line, _ := bufio.NewReader(conn).ReadString('\n'); !strings.Contains(line, "407") {
			t.Errorf("%q: %q", raw, line)
		}
		conn.Close()
	}
	ln, err := net.Listen("tcp", "0.0.0.0:0")
	if err != nil {
		t.Fatal(err)
	}
	if err := h.ServeProxy(context.Background(), ln); abi.CodeOf(err) != abi.Denied {
		t.Errorf("beyond loopback: %v", err)
	}
}

// tunnel opens one by hand and gives the connection behind it.
func tunnel(t *testing.T, proxy, secret, host string) net.Conn {
	t.Helper()
	conn, err := net.Dial("tcp", proxy)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { conn.Close() })
	fmt.Fprintf(conn, "CONNECT %s HTTP/1.1\r\nHost: %s\r\nProxy-Authorization: Bearer %s\r\n\r\n", host, host, secret)
	resp, err := http.ReadResponse(bufio.NewReaderSize(conn, 16), nil)
	if err != nil || resp.StatusCode != 200 {
		t.Fatalf("CONNECT: %v, %v", resp, err)
	}
	return conn
}

// What a tunnel asks for inside TLS must be the host it was opened for.
func TestTunnelHoldsTheServerName(t *testing.T) {
	t.Parallel()
	h := open(t, t.TempDir())
	h.serve(t, "api.example.com", "93.184.216.34", true, http.HandlerFunc(echo))
	proxy := h.proxied(t)
	_, secret := h.token(t, egress.Token{Scope: []string{"CONNECT https://api.example.com"}})
	for _, c := range []struct {
		name  string
		speak func(net.Conn) error
		want  string
	}{
		{"the same name", func(c net.Conn) error {
			return tls.Client(c, &tls.Config{RootCAs: h.roots, ServerName: "api.example.com"}).Handshake()
		}, "ok"},
		{"another name", func(c net.Conn) error {
			return tls.Client(c, &tls.Config{RootCAs: h.roots, ServerName: "evil.example.com"}).Handshake()
		}, "denied"},
		{"no name", func(c net.Conn) error {
			return tls.Client(c, &tls.Config{InsecureSkipVerify: true}).Handshake()
		}, "denied"},
		{"no TLS", func(c net.Conn) error {
			if _, err := io.WriteString(c, "GET / HTTP/1.1\r\nHost: evil.example.com\r\n\r\n"); err != nil {
				return err
			}
			_, err := c.Read(make([]byte, 1))
			return err
		}, "denied"},
	} {
		conn := tunnel(t, proxy, secret, "api.example.com:443")
		err := c.speak(conn)
		conn.Close()
		if (err == nil) != (c.want == "ok") {
			t.Errorf("%s: %v", c.name, err)
		}
		var rows []egress.Row
		wait(t, "the row is settled", func() bool {
			rows, err = h.Rows(context.Background(), egress.Query{Limit: 1})
			return err == nil && rows[0].Kind == "tunnel" && rows[0].Outcome != nil
		})
		if o := rows[0].Outcome; o.Code != c.want || c.want != "ok" && o.In != 0 {
			t.Errorf("%s: %+v", c.name, o)
		}
	}
}

// A token that ends, by time, revocation or budget, ends the tunnels under it.
func TestATokenEndsItsTunnel(t *testing.T) {
	t.Parallel()
	h := open(t, t.TempDir())
	h.serve(t, "api.example.com", "93.184.216.34", true, http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		for range 1000 {
			if _, err := w.Write(make([]byte, 10_000)); err != nil {
				return
			}
			w.(http.Flusher).Flush()
		}
	}))
	proxy := h.proxied(t)
	_, secret := h.token(t, egress.Token{Scope: []string{"CONNECT https://api.example.com"}, Bytes: 100_000})
	if _, _, err := get(h.through(proxy, secret), "https://api.example.com/"); err == nil {
		t.Error("10 MB went through a budget of 100,000 bytes")
	}
	_, once := h.token(t, egress.Token{Scope: []string{"CONNECT https://api.example.com"}, Calls: 1})
	tunnel(t, proxy, once, "api.example.com:443").Close()
	if _, _, err := get(h.through(proxy, once), "https://api.example.com/"); err == nil || !strings.Contains(err.Error(), "Forbidden") {
		t.Errorf("a second tunnel of one: %v", err)
	}
	tok, live := h.token(t, egress.Token{Scope: []string{"CONNECT https://api.example.com"}})
	conn := tls.Client(tunnel(t, proxy, live, "api.example.com:443"), &tls.Config{RootCAs: h.roots, ServerName: "api.example.com"})
	if err := conn.Handshake(); err != nil {
		t.Fatal(err)
	}
	if err := h.Revoke(context.Background(), operator, tok.ID); err != nil {
		t.Fatal(err)
	}
	fmt.Fprint(conn, "GET / HTTP/1.1\r\nHost: api.example.com\r\n\r\n")
	if n, _ := io.Copy(io.Discard, conn); n > 0 {
		t.Errorf("%d bytes came after the revocation", n)
	}
	for _, tok := range h.Tokens() {
		if tok.Bytes == 100_000 && tok.UsedBytes < 100_000 {
			t.Errorf("%+v", tok)
		}
	}
}

func TestTokensAreKept(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	h := open(t, dir)
	kept, _ := h.token(t, egress.Token{Scope: []string{"https://api.example.com"}})
	for _, bad := range []egress.Token{
		{Actor: "pack:a/b", Scope: []string{"https://x.com"}}, {Actor: "operator", Scope: []string{"https://x.com"}}, {Actor: "agent:", Scope: []string{"https://x.com"}}, {Actor: "agent:x"},
		{Actor: "agent:x", Scope: []string{"everything"}}, {Actor: "agent:x", Scope: []string{"https://x.com"}, Expires: time.Now().Add(-time.Hour)},
		{Actor: "agent:x", Scope: []string{"https://x.com"}, Expires: time.Now().Add(366 * 24 * time.Hour)}, {Actor: "agent:x", Scope: []string{"https://x.com"}, Bytes: -1},
	} {
		if _, _, err := h.Issue(context.Background(), operator, bad); abi.CodeOf(err) != abi.Invalid {
			t.Errorf("%+v: %v", bad, err)
		}
	}
	if err := h.db.Close(); err != nil {
		t.Fatal(err)
	}
	h = open(t, dir)
	if list := h.Tokens(); len(list) != 1 || list[0].ID != kept.ID {
		t.Errorf("after a restart: %+v", list)
	}
	var stored string
	if err := h.db.Read().QueryRow("SELECT group_concat(hash || body) FROM egress_token").Scan(&stored); err != nil || strings.Contains(stored, "arwe_") {
		t.Errorf("the secret is stored: %s, %v", stored, err)
	}
}

// wait polls a condition.
func wait(t testing.TB, what string, ok func() bool) {
	t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), 10*time.Second)
	defer cancel()
	tick := time.NewTicker(time.Millisecond)
	defer tick.Stop()
	for !ok() {
		select {
		case <-ctx.Done():
			t.Fatalf("waited in vain until %s", what)
		case <-tick.C:
		}
	}
}
