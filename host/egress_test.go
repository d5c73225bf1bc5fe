package host_test

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/coder/websocket"

	"github.com/arw-project/arw/abi"
	"github.com/arw-project/arw/host"
	"github.com/arw-project/arw/host/hosttest"
	"github.com/arw-project/arw/host/internal/action"
	"github.com/arw-project/arw/host/internal/egress"
	"github.com/arw-project/arw/host/internal/journal"
	"github.com/arw-project/arw/host/internal/lease"
	"github.com/arw-project/arw/host/internal/pack"
)

// courierHost is a host with the courier and a network that has api.example.com and inside.example.com.
func courierHost(t *testing.T, o hosttest.Options, handler http.Handler) (*hosttest.Host, *hosttest.Net) {
	t.Helper()
	n := hosttest.NewNet()
	n.Serve(t, "api.example.com", "93.184.216.34", handler)
	n.Name("inside.example.com", "10.0.0.1")
	before := o.Config
	o.Config = func(c *host.Config) {
		n.Config(c)
		if before != nil {
			before(c)
		}
	}
	h := hosttest.New(t, o)
	h.Install(hosttest.Courier(t))
	return h, n
}

func echo(w http.ResponseWriter, r *http.Request) {
	body, _ := io.ReadAll(r.Body)
	fmt.Fprintf(w, "%s %s %s", r.Method, r.URL, body)
}

func TestAPackFetchesUnderItsLease(t *testing.T) {
	t.Parallel()
	h, n := courierHost(t, hosttest.Options{}, http.HandlerFunc(echo))
	in := `{"method":"POST","url":"https://api.example.com/v1/items?q=1","body":"hello"}`
	if a := h.FailCall("courier.fetch", in, abi.Denied); !strings.Contains(a.Failure.Hint, "arw lease grant test/courier http --scope") || len(n.Dialled()) > 0 {
		t.Fatalf("without a lease: %+v, dialled %q", a.Failure, n.Dialled())
	}
	l := h.Grant("test/courier", abi.HTTP, "GET,POST https://api.example.com/v1")
	var got struct{ Body, Ledger string }
	if err := json.Unmarshal([]byte(h.MustCall("courier.fetch", in)), &got); err != nil || got.Body != "POST /v1/items?q=1 hello" {
		t.Fatalf("%+v, %v", got, err)
	}
	rows, err := h.Services().Egress.Rows(t.Context(), egress.Query{Pack: "test/courier", State: "done", Limit: 1})
	if err != nil || len(rows) != 1 {
		t.Fatalf("%+v, %v", rows, err)
	}
	if r := rows[0]; r.ID != got.Ledger || r.Lease != l.ID || r.Tool != "courier.fetch" || r.Action == "" || r.Corr == "" || r.Address != "93.184.216.34" ||
		r.Path != "/v1/items" || len(r.Policies) == 0 || r.Outcome.Out != 5 || r.Outcome.Status != 200 {
		t.Errorf("row: %+v %+v", r, r.Outcome)
	}
	for name, in := range map[string]string{
		"another path":        `{"url":"https://api.example.com/v2"}`,
		"another method":      `{"method":"DELETE","url":"https://api.example.com/v1"}`,
		"another host":        `{"url":"https://www.example.com/v1"}`,
		"a path that climbs":  `{"url":"https://api.example.com/v1/../v2"}`,
		"an address":          `{"url":"https://93.184.216.34/v1"}`,
		"what is not theirs":  `{"url":"https://api.example.com/v1","headers":[["Host","x"]]}`,
		"a name that is none": `{"url":"https://2130706433/v1"}`,
	} {
		if h.FailCall("courier.fetch", in, abi.Denied); len(n.Dialled()) != 1 {
			t.Errorf("%s: dialled %q", name, n.Dialled())
		}
	}
	h.Grant("test/courier", abi.HTTP, "https://inside.example.com")
	if h.FailCall("courier.fetch", `{"url":"https://inside.example.com/"}`, abi.Denied); len(n.Dialled()) != 1 {
		t.Errorf("dialled %q", n.Dialled())
	}
	usage, err := h.Services().Leases.Get(l.ID)
	if err != nil || usage.Used.Calls != 1 || usage.Used.Bytes != int64(5+len(got.Body)) {
		t.Errorf("the lease has used %+v, %v", usage.Used, err)
	}
	kinds := map[string]int{}
	for _, e := range h.Events(journal.Filter{Prefixes: []string{"egress.", "dns."}}) {
		kinds[e.Kind]++
	}
	if kinds["egress.ledger.appended"] < 8 || kinds["egress.ledger.settled"] < 3 || kinds["dns.anomaly"] != 1 {
		t.Errorf("events: %v", kinds)
	}
}

func TestAPackStreamsAndChats(t *testing.T) {
	t.Parallel()
	h, _ := courierHost(t, hosttest.Options{}, http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.URL.Path != "/chat" {
			echo(w, r)
			return
		}
		c, err := websocket.Accept(w, r, nil)
		if err != nil {
			return
		}
		defer c.CloseNow()
		kind, msg, err := c.Read(r.Context())
		if err == nil {
			_ = c.Write(r.Context(), kind, append([]byte("you said "), msg...))
			_, _, _ = c.Read(r.Context())
		}
	}))
	h.Grant("test/courier", abi.HTTP, "GET,POST https://api.example.com", "wss://api.example.com")
	if out := h.MustCall("courier.upload", `{"url":"https://api.example.com/up"}`); !strings.Contains(out, `"POST /up one two three"`) {
		t.Errorf("upload: %s", out)
	}
	if out := h.MustCall("courier.chat", `{"url":"wss://api.example.com/chat","body":"hello"}`); !strings.Contains(out, `"you said hello"`) || !strings.Contains(out, `"status":101`) {
		t.Errorf("chat: %s", out)
	}
	hosttest.Eventually(t, "every row is settled", func() bool {
		rows, err := h.Services().Egress.Rows(context.Background(), egress.Query{State: "open"})
		return err == nil && len(rows) == 0
	})
	rows, err := h.Services().Egress.Rows(t.Context(), egress.Query{Limit: 1})
	if err != nil || rows[0].Kind != "websocket" || rows[0].Outcome.Out != 5 || rows[0].Outcome.In != 14 || rows[0].Outcome.Status != 101 {
		t.Errorf("row: %+v %+v, %v", rows[0], rows[0].Outcome, err)
	}
}

// Handles are what they are: once closed they are gone, and no more than sixteen are open. The end of the call closes the rest.
func TestHandlesOfACall(t *testing.T) {
	t.Parallel()
	h, _ := courierHost(t, hosttest.Options{}, http.HandlerFunc(echo))
	h.Grant("test/courier", abi.HTTP, "GET,POST https://api.example.com")
	if out, want := h.MustCall("courier.misuse", `{"url":"https://api.example.com/"}`), `["ok","invalid","invalid","invalid","ok","busy","at 16"]`; out != want {
		t.Errorf("got %s, want %s", out, want)
	}
	if rows, err := h.Services().Egress.Rows(t.Context(), egress.Query{State: "open"}); err != nil || len(rows) > 0 {
		t.Errorf("left open: %+v, %v", rows, err)
	}
}

// A lease that ends in the middle of an answer ends the reading, and so does one whose bytes are spent.
func TestALeaseEndsInMidAnswer(t *testing.T) {
	t.Parallel()
	halfway, goOn := make(chan struct{}), make(chan struct{})
	h, _ := courierHost(t, hosttest.Options{}, http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		_, _ = w.Write(make([]byte, 5000))
		w.(http.Flusher).Flush()
		if r.URL.Path == "/slow" {
			close(halfway)
			<-goOn
		}
		_, _ = w.Write(make([]byte, 5000))
	}))
	l := h.Grant("test/courier", abi.HTTP, "https://api.example.com/slow")
	a := h.Submit("courier.read", `{"url":"https://api.example.com/slow"}`)
	<-halfway
	if _, err := h.Services().Leases.Revoke(t.Context(), "", l.ID, "operator", "enough"); err != nil {
		t.Fatal(err)
	}
	close(goOn)
	if a = h.Wait(a.ID); !strings.Contains(string(a.Output), `"code":"lease_revoked"`) {
		t.Errorf("after a revocation: %s %+v", a.Output, a.Failure)
	}
	if _, err := h.Services().Packs.Grant(t.Context(), "", "operator", pack.Grant{Pack: "test/courier", Capability: abi.HTTP, Scope: []string{"https://api.example.com/much"}, Bytes: 4000}); err != nil {
		t.Fatal(err)
	}
	if out := h.MustCall("courier.read", `{"url":"https://api.example.com/much"}`); !strings.Contains(out, `"code":"budget_exhausted"`) {
		t.Errorf("with 4000 bytes: %s", out)
	}
	rows, err := h.Services().Egress.Rows(t.Context(), egress.Query{State: "failed"})
	if err != nil || len(rows) != 2 || rows[0].Outcome.Code != "budget_exhausted" || rows[1].Outcome.Code != "lease_revoked" {
		t.Errorf("rows: %+v, %v", rows, err)
	}
}

// Cedar is asked for every hop, beside the lease.
func TestCedarForbidsADestination(t *testing.T) {
	t.Parallel()
	h, n := courierHost(t, hosttest.Options{Policies: map[string]string{"site.cedar": `
@id("site.no_admin")
@reason("nobody reaches the admin pages")
forbid (principal, action == Action::"egress", resource in Domain::"example.com")
when { context.path like "/admin*" };`}}, http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.URL.Path == "/go" {
			http.Redirect(w, r, "/admin/x", http.StatusFound)
			return
		}
		echo(w, r)
	}))
	h.Grant("test/courier", abi.HTTP, "https://api.example.com")
	h.MustCall("courier.fetch", `{"url":"https://api.example.com/"}`)
	for _, path := range []string{"/admin/x", "/go"} {
		if a := h.FailCall("courier.fetch", `{"url":"https://api.example.com`+path+`"}`, abi.Denied); !strings.Contains(a.Failure.Message, "nobody reaches the admin pages") {
			t.Errorf("%s: %+v", path, a.Failure)
		}
	}
	rows, err := h.Services().Egress.Rows(t.Context(), egress.Query{Decision: "deny"})
	if err != nil || len(rows) != 2 || rows[0].Reason != "policy" || rows[0].Policies[0] != "site.no_admin" || rows[0].Parent == "" {
		t.Errorf("rows: %+v, %v", rows, err)
	}
	if len(n.Dialled()) != 1 {
		t.Errorf("dialled %q", n.Dialled())
	}
}

// A record of a call that fetched replays to the bit, without any network.
func TestARecordedFetchReplays(t *testing.T) {
	t.Parallel()
	answers := 0
	h, _ := courierHost(t, hosttest.Options{}, http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		answers++
		fmt.Fprintf(w, "answer %d at %s", answers, time.Now())
	}))
	h.Grant("test/courier", abi.HTTP, "https://api.example.com")
	v, _, err := h.Services().Actions.Submit(t.Context(), action.Request{Kind: "courier.fetch", Input: json.RawMessage(`{"url":"https://api.example.com/"}`), Record: true, Actor: "operator"})
	if err != nil {
		t.Fatal(err)
	}
	a := h.Wait(v.ID)
	if a.Record == nil || a.Record.Digest == "" {
		t.Fatalf("%+v", a)
	}
	r, err := h.Services().Packs.Replay(t.Context(), pack.Replay{Record: a.Record.Digest})
	if err != nil || !r.Equal || answers != 1 {
		t.Errorf("%+v, %v, asked %d times", r, err, answers)
	}
	r, err = h.Services().Packs.Replay(t.Context(), pack.Replay{Record: a.Record.Digest, With: "installed"})
	if err != nil || !r.Equal || answers != 1 {
		t.Errorf("with the installed version: %+v, %v, asked %d times", r, err, answers)
	}
}

func TestPostureAndPreview(t *testing.T) {
	t.Parallel()
	h, n := courierHost(t, hosttest.Options{}, http.HandlerFunc(echo))
	h.Grant("test/courier", abi.HTTP, "https://api.example.com")
	g := h.Services().Egress
	ask := func(url string) egress.Preview {
		t.Helper()
		p, err := h.Services().Packs.Foresee(t.Context(), "test/courier", "courier.fetch", abi.HTTPRequest{URL: url}, []byte("body"))
		if err != nil {
			t.Fatal(err)
		}
		return p
	}
	before := h.Services().Journal.Last()
	if p := ask("https://api.example.com/x?secret=1"); p.Decision != "allow" || p.Resolved != "not asked" || p.Row.Lease == "" || p.Payload.Bytes != 4 || p.Payload.Sample != "body" {
		t.Errorf("%+v", p)
	}
	if p := ask("https://other.example.com/"); p.Decision != "deny" || p.Reason != "lease" || len(p.Needs) != 1 {
		t.Errorf("%+v", p)
	}
	if p := ask("https://169.254.169.254/"); p.Decision != "deny" {
		t.Errorf("%+v", p)
	}
	leases := h.Services().Leases.List(lease.Filter{Pack: "test/courier"})
	if h.Services().Journal.Last() != before || len(n.Dialled()) > 0 || leases[len(leases)-1].Used.Calls != 0 {
		t.Errorf("a preview left traces: %d events, dialled %q, used %+v", h.Services().Journal.Last()-before, n.Dialled(), leases[len(leases)-1].Used)
	}
	if err := g.SetPosture(t.Context(), egress.Cause{Actor: "operator"}, egress.Off); err != nil {
		t.Fatal(err)
	}
	h.FailCall("courier.fetch", `{"url":"https://api.example.com/"}`, abi.Denied)
	h.Restart()
	h.FailCall("courier.fetch", `{"url":"https://api.example.com/"}`, abi.Denied)
	g = h.Services().Egress
	if err := g.SetPosture(t.Context(), egress.Cause{Actor: "operator"}, egress.Allowlist); err != nil {
		t.Fatal(err)
	}
	h.FailCall("courier.fetch", `{"url":"https://api.example.com/"}`, abi.Denied)
	if err := g.SetScope(t.Context(), egress.Cause{Actor: "operator"}, egress.Scope{ID: "api", Hosts: []string{"domain:example.com"}, Price: egress.Price{Call: 100}}); err != nil {
		t.Fatal(err)
	}
	h.MustCall("courier.fetch", `{"url":"https://api.example.com/"}`)
	rows, err := g.Rows(t.Context(), egress.Query{State: "done", Limit: 1})
	if err != nil || rows[0].Rule != "api" || rows[0].Cost != 100 || rows[0].Posture != egress.Allowlist {
		t.Errorf("%+v, %v", rows, err)
	}
	doc, err := h.Services().View.Get(t.Context(), "egress")
	if err != nil || !strings.Contains(string(doc.Body), `"posture":"allowlist"`) || !strings.Contains(string(doc.Body), rows[0].ID) {
		t.Errorf("/state/egress: %s, %v", doc.Body, err)
	}
}
