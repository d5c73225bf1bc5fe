package egress_test

import (
	"context"
	"fmt"
	"net"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/miekg/dns"

	"github.com/arw-project/arw/abi"
	"github.com/arw-project/arw/host/internal/egress"
	"github.com/arw-project/arw/host/internal/journal"
)

// resolved is the loopback resolver's answer.
func (h *house) resolved(t *testing.T) func(name string) string {
	t.Helper()
	pc, err := net.ListenPacket("udp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan error, 1)
	go func() { done <- h.ServeDNS(ctx, pc, ln) }()
	t.Cleanup(func() {
		cancel()
		if err := <-done; err != nil {
			t.Error(err)
		}
	})
	return func(name string) string {
		t.Helper()
		m := new(dns.Msg)
		m.SetQuestion(dns.Fqdn(name), dns.TypeA)
		r, _, err := (&dns.Client{Timeout: 5 * time.Second}).Exchange(m, pc.LocalAddr().String())
		if err != nil {
			t.Fatal(err)
		}
		if len(r.Answer) > 0 {
			return r.Answer[0].(*dns.A).A.String()
		}
		return dns.RcodeToString[r.Rcode]
	}
}

func (h *house) anomalies(t *testing.T) string {
	t.Helper()
	records, err := h.journal.Read(context.Background(), 0, 1000, journal.Filter{Prefixes: []string{"dns."}})
	if err != nil {
		t.Fatal(err)
	}
	var out []string
	for _, r := range records {
		_, rest, _ := strings.Cut(string(r.Body), `"reason":"`)
		word, _, _ := strings.Cut(rest, `"`)
		out = append(out, word)
	}
	return strings.Join(out, " ")
}

func TestNamesOfThePosture(t *testing.T) {
	t.Parallel()
	h := open(t, t.TempDir())
	ctx := context.Background()
	h.names["api.example.com"] = []string{"93.184.216.34", "93.184.216.35"}
	h.names["other.example.net"] = []string{"93.184.216.34"}
	h.names["inside.example.com"] = []string{"10.0.0.1"}
	h.names["nas.lan"] = []string{"192.168.7.2"}
	ask := h.resolved(t)
	for _, c := range []struct{ name, want string }{
		{"api.example.com", "93.184.216.34"}, {"api.example.com", "93.184.216.34"}, // pinned: the second answer of the world is not asked for
		{"inside.example.com", "REFUSED"}, {"nowhere.example.com", "NXDOMAIN"}, {"localhost", "REFUSED"}, {"nas.lan", "REFUSED"}, {"dns.google", "REFUSED"},
		{"1.0.0.127.in-addr.arpa", "REFUSED"}, {"127.0.0.1", "REFUSED"},
	} {
		if got := ask(c.name); got != c.want {
			t.Errorf("public, %q: got %s, want %s", c.name, got, c.want)
		}
	}
	if got := h.anomalies(t); !strings.Contains(got, "inside") || !strings.Contains(got, "blocked_doh") {
		t.Errorf("anomalies: %s", got)
	}
	if err := h.SetPosture(ctx, operator, egress.Allowlist); err != nil {
		t.Fatal(err)
	}
	if err := h.SetScope(ctx, operator, egress.Scope{ID: "api", Hosts: []string{"domain:example.com"}}); err != nil {
		t.Fatal(err)
	}
	if a, b := ask("api.example.com"), ask("other.example.net"); a != "93.184.216.34" || b != "REFUSED" {
		t.Errorf("allowlist: %s, %s", a, b)
	}
	if err := h.SetPosture(ctx, operator, egress.Off); err != nil {
		t.Fatal(err)
	}
	if a := ask("api.example.com"); a != "REFUSED" {
		t.Errorf("off: %s", a)
	}
	rows, err := h.Rows(ctx, egress.Query{Host: "api.example.com", State: "done"})
	if err != nil || len(rows) != 1 || rows[0].Kind != "dns" || !strings.HasPrefix(rows[0].Actor, "process:dns@") {
		t.Errorf("rows: %+v, %v", rows, err)
	}
}

// A name that was public and turns inside is told as what it is, once its pin is over.
func TestRebindingIsTold(t *testing.T) {
	t.Parallel()
	h := open(t, t.TempDir(), func(c *egress.Config) { c.Limits.Pin = time.Nanosecond })
	h.serve(t, "", "93.184.216.34", false, http.HandlerFunc(echo))
	h.names["turns.example.com"] = []string{"93.184.216.34", "127.0.0.1"}
	if _, _, err := h.fetch(t, all, egress.Request{URL: "http://turns.example.com/"}); err != nil {
		t.Fatal(err)
	}
	if _, _, err := h.fetch(t, all, egress.Request{URL: "http://turns.example.com/"}); reason(err) != "address" {
		t.Errorf("got %v", err)
	}
	if got := h.anomalies(t); got != "rebinding" {
		t.Errorf("anomalies: %q", got)
	}
}

// Data in names: told, and refused unless the lease or the operator names the host.
func TestDataInNames(t *testing.T) {
	t.Parallel()
	h := open(t, t.TempDir())
	h.serve(t, "", "93.184.216.34", false, http.HandlerFunc(echo))
	label := "k7q2m9x4v1z8b3n6j5h0gfdsaqwertyu"
	name := func(i int) string { return fmt.Sprintf("%02d%s.t.example.com", i, label) }
	for i := range 10 {
		h.names[name(i)] = []string{"93.184.216.34"}
	}
	wide := leased("http://*")
	for i := range 5 {
		_, _, err := h.fetch(t, wide, egress.Request{URL: "http://" + name(i) + "/"})
		if want := map[bool]string{true: "dns_odd", false: ""}[i >= 2]; reason(err) != want {
			t.Errorf("request %d: %v, want %q", i, err, want)
		}
	}
	if len(h.asked) != 2 {
		t.Errorf("asked for %q", h.asked)
	}
	if _, _, err := h.fetch(t, leased("http://"+name(7)), egress.Request{URL: "http://" + name(7) + "/"}); err != nil {
		t.Errorf("named by a lease: %v", err)
	}
	if err := h.SetScope(context.Background(), operator, egress.Scope{ID: "cdn", Hosts: []string{"*.t.example.com"}}); err != nil {
		t.Fatal(err)
	}
	if _, _, err := h.fetch(t, wide, egress.Request{URL: "http://" + name(8) + "/"}); err != nil {
		t.Errorf("named by a scope: %v", err)
	}
	if got := h.anomalies(t); got != "entropy_burst" {
		t.Errorf("anomalies: %q", got)
	}
}

func TestScopes(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	h := open(t, dir)
	ctx := context.Background()
	h.serve(t, "nas.lan", "192.168.7.2", false, http.HandlerFunc(echo))
	h.names["nas.example.com"] = []string{"192.168.7.2"}
	h.names["meta.example.com"] = []string{"169.254.169.254"}
	h.names["self.example.com"] = []string{"192.0.2.7"}
	try := func(url, want string) {
		t.Helper()
		if _, _, err := h.fetch(t, all, egress.Request{URL: url}); reason(err) != want {
			t.Errorf("%s: %v, want %q", url, err, want)
		}
	}
	set := func(s egress.Scope, want abi.Code) {
		t.Helper()
		if err := h.SetScope(ctx, operator, s); abi.CodeOf(err) != want {
			t.Errorf("%+v: %v", s, err)
		}
	}
	try("http://nas.example.com/", "address")
	set(egress.Scope{ID: "nas", Hosts: []string{"nas.example.com", "meta.example.com", "self.example.com"}, CIDRs: []string{"192.168.7.0/24", "169.254.0.0/16"}}, abi.OK)
	try("http://nas.example.com/", "")
	try("http://meta.example.com/", "address") // no scope opens the metadata
	try("http://self.example.com/", "address") // nor the host itself, by a range
	set(egress.Scope{ID: "self", Hosts: []string{"self.example.com"}, CIDRs: []string{"192.0.2.7/32"}}, abi.OK)
	if err := h.RemoveScope(ctx, operator, "nas"); err != nil {
		t.Fatal(err)
	}
	try("http://nas.example.com/", "address")
	try("http://self.example.com/", "unavailable") // it is let through, and nobody is there
	set(egress.Scope{ID: "never", Deny: true, Hosts: []string{"domain:example.com"}}, abi.OK)
	try("http://self.example.com/", "scope")
	for _, bad := range []egress.Scope{
		{ID: "Bad", Hosts: []string{"a.com"}}, {ID: "a"}, {ID: "a", Hosts: []string{"*.co.uk"}}, {ID: "a", Hosts: []string{"domain:a.example.com"}}, {ID: "a", Hosts: []string{"a b"}},
		{ID: "a", Hosts: []string{"*"}, CIDRs: []string{"10.0.0.0/8"}}, {ID: "a", Hosts: []string{"a.com"}, CIDRs: []string{"0.0.0.0/0"}}, {ID: "a", Hosts: []string{"a.com"}, Ports: []uint16{0}},
		{ID: "a", Hosts: []string{"a.com"}, Schemes: []string{"ftp"}}, {ID: "a", Hosts: []string{"a.com"}, Expires: time.Now().Add(-time.Hour)}, {ID: "a", Hosts: []string{"::1"}},
		{ID: "a", Deny: true, Hosts: []string{"a.com"}, CIDRs: []string{"10.0.0.0/8"}}, {ID: "a", Hosts: []string{"a.com"}, Price: egress.Price{Call: -1}}, {ID: "a", Hosts: []string{"A.com"}},
	} {
		set(bad, abi.Invalid)
	}
	if err := h.RemoveScope(ctx, operator, "none"); abi.CodeOf(err) != abi.NotFound {
		t.Errorf("got %v", err)
	}
	if err := h.SetPosture(ctx, operator, "open"); abi.CodeOf(err) != abi.Invalid {
		t.Errorf("got %v", err)
	}
	if err := h.db.Close(); err != nil {
		t.Fatal(err)
	}
	h = open(t, dir)
	if s := h.Settings(); s.Posture != egress.Public || len(s.Scopes) != 2 || !s.Scopes["never"].Deny {
		t.Errorf("after a restart: %+v", s)
	}
}
