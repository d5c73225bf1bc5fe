package egress_test

import (
	"bytes"
	"context"
	"net/http"
	"strings"
	"testing"

	"github.com/arw-project/arw/abi"
	"github.com/arw-project/arw/host/internal/egress"
	"github.com/arw-project/arw/host/internal/journal"
	"github.com/arw-project/arw/host/internal/netguard"
)

// Denies that stand above every lease are asked before it, for every hop, and end a preview too.
func TestDeniesAboveLeases(t *testing.T) {
	t.Parallel()
	h := open(t, t.TempDir(), func(c *egress.Config) {
		c.Deny = func(_ context.Context, who egress.Caller, target string) error {
			if who.Pack == "arw/test" && strings.Contains(target, "/held") {
				return abi.Errorf(abi.Denied, "a capsule denies net:http")
			}
			return nil
		}
	})
	h.serve(t, "api.example.com", "93.184.216.34", true, http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.URL.Path == "/go" {
			http.Redirect(w, r, "/held", http.StatusFound)
		}
	}))
	l := leased("https://api.example.com")
	if _, _, err := h.fetch(t, l, egress.Request{URL: "https://api.example.com/held"}); reason(err) != "capsule" || l.calls != 0 {
		t.Errorf("got %v after %d uses of the lease", err, l.calls)
	}
	if _, _, err := h.fetch(t, l, egress.Request{URL: "https://api.example.com/go"}); reason(err) != "capsule" {
		t.Errorf("behind a redirect: %v", err)
	}
	if p := h.Preview(context.Background(), caller, l, egress.Request{URL: "https://api.example.com/held"}); p.Reason != "capsule" {
		t.Errorf("preview: %+v", p)
	}
}

// What the redactor takes out is neither in the ledger, nor in events, the read model or previews.
func TestRedaction(t *testing.T) {
	t.Parallel()
	h := open(t, t.TempDir(), func(c *egress.Config) {
		c.Redact = func(b []byte) []byte { return bytes.ReplaceAll(b, []byte("sesame"), []byte("***")) }
	})
	h.serve(t, "api.example.com", "93.184.216.34", true, http.HandlerFunc(echo))
	req := egress.Request{Method: "POST", URL: "https://api.example.com/k/sesame/x?q=sesame", Header: http.Header{"X-Note": {"sesame"}, "Authorization": {"Bearer open"}}, Body: []byte(strings.Repeat("x", 2040) + "sesame" + "tail")}
	p := h.Preview(context.Background(), caller, all, req)
	if p.Row.Path != "/k/***/x" || !p.Payload.Redactions || strings.Contains(p.Payload.Sample, "ses") || p.Headers[0].Value != "***" || p.Headers[1].Value != "***" {
		t.Errorf("preview: %+v", p)
	}
	if _, body, err := h.fetch(t, all, req); err != nil || !strings.Contains(body, "/k/sesame/x?q=sesame") {
		t.Errorf("it was not sent as it is: %q, %v", body, err)
	}
	if _, _, err := h.fetch(t, leased("https://other.example.com"), egress.Request{URL: "https://api.example.com/sesame"}); err == nil {
		t.Error("sent without a lease")
	}
	records, err := h.journal.Read(context.Background(), 0, 1000, journal.Filter{})
	if err != nil || len(records) < 6 {
		t.Fatalf("%d records, %v", len(records), err)
	}
	for _, r := range records {
		if strings.Contains(string(r.Body), "sesame") {
			t.Errorf("%s: %s", r.Kind, r.Body)
		}
	}
	var kept string
	if err := h.db.Read().QueryRow("SELECT group_concat(body) FROM egress_intent").Scan(&kept); err != nil || strings.Contains(kept, "sesame") {
		t.Errorf("the ledger keeps %s, %v", kept, err)
	}
}

// The policies of the host judge programs behind a token too, after its own scope.
func TestPoliciesJudgeTokens(t *testing.T) {
	t.Parallel()
	h := open(t, t.TempDir(), func(c *egress.Config) {
		c.Judge = func(_ context.Context, who egress.Caller, target string, d netguard.Dest) ([]string, error) {
			if who.Actor == "process:test" && d.Host == "no.example.com" {
				return []string{"site.no"}, abi.Errorf(abi.Denied, "nobody goes there").WithDetail(egress.Denial{Reason: "policy"})
			}
			return []string{"site.yes"}, nil
		}
	})
	h.serve(t, "api.example.com", "93.184.216.34", true, http.HandlerFunc(echo))
	h.names["no.example.com"] = []string{"93.184.216.34"}
	proxy := h.proxied(t)
	_, secret := h.token(t, egress.Token{Scope: []string{"CONNECT https://*"}})
	c := h.through(proxy, secret)
	if _, _, err := get(c, "https://no.example.com/"); err == nil {
		t.Error("the policy was not asked")
	}
	if _, _, err := get(c, "https://api.example.com/"); err != nil {
		t.Error(err)
	}
	wait(t, "the tunnel is settled", func() bool { return h.Stats().Tunnels == 0 })
	rows, err := h.Rows(context.Background(), egress.Query{Decision: "deny"})
	if err != nil || len(rows) != 1 || rows[0].Reason != "policy" || rows[0].Policies[0] != "site.no" {
		t.Errorf("%+v, %v", rows, err)
	}
	if s := h.Stats(); s.Decisions[[2]string{"deny", "policy"}] != 1 || s.Decisions[[2]string{"allow", "ok"}] != 2 || s.In == 0 || s.Out == 0 {
		t.Errorf("%+v", s)
	}
}
