package host_test

import (
	"context"
	"crypto/tls"
	"fmt"
	"net"
	"net/http"
	"net/http/httptest"
	"net/url"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/arw-project/arw/abi"
	"github.com/arw-project/arw/host"
	"github.com/arw-project/arw/host/hosttest"
	"github.com/arw-project/arw/host/internal/action"
	"github.com/arw-project/arw/host/internal/capsule"
	"github.com/arw-project/arw/host/internal/egress"
	"github.com/arw-project/arw/host/internal/journal"
	"github.com/arw-project/arw/host/internal/pack"
)

// rails is a capsule of the issuer test, signed with the host's key.
func rails(t *testing.T, h *hosttest.Host, id string, denies ...string) *capsule.Envelope {
	t.Helper()
	now := time.Now().UTC().Truncate(time.Second)
	e, err := capsule.Sign(capsule.Capsule{
		ID: id, Version: 1, Issuer: "test", IssuedAt: now, LeaseUntil: now.Add(time.Hour), HopTTL: 1, Propagate: "none", Denies: denies,
	}, h.Key.Signer())
	if err != nil {
		t.Fatal(err)
	}
	return e
}

// trustIssuer lets the host's own key issue capsules.
func trustIssuer(t *testing.T, h *hosttest.Host) {
	t.Helper()
	h.WriteState("capsules.toml", fmt.Sprintf("schema = 1\n[[issuer]]\nid = \"test\"\npublic_key = '''\n%s'''\n", h.Key.PublicPEM()))
	if _, err := h.ReloadPolicy(t.Context(), "", "operator"); err != nil {
		t.Fatal(err)
	}
}

func adopt(t *testing.T, h *hosttest.Host, e *capsule.Envelope) {
	t.Helper()
	if _, err := h.Services().Capsules.Adopt(t.Context(), capsule.Cause{By: "operator"}, e); err != nil {
		t.Fatal(err)
	}
}

func teardown(t *testing.T, h *hosttest.Host) {
	t.Helper()
	if _, err := h.Services().Capsules.Teardown(t.Context(), capsule.Cause{By: "operator"}, nil, false); err != nil {
		t.Fatal(err)
	}
}

// Strict egress shuts packs, proxy and the host's own clients; a teardown opens them again, a restart does not.
func TestStrictEgressShutsEveryWayOut(t *testing.T) {
	t.Parallel()
	h, n := courierHost(t, hosttest.Options{}, http.HandlerFunc(echo))
	h.Grant("test/courier", abi.HTTP, "GET https://api.example.com/")
	in := `{"method":"GET","url":"https://api.example.com/v1"}`
	_, secret, err := h.Services().Egress.Issue(t.Context(), egress.Cause{Actor: "operator"}, egress.Token{
		Actor: "process:test", Scope: []string{"* https://api.example.com/"}, Expires: time.Now().Add(time.Hour),
	})
	if err != nil {
		t.Fatal(err)
	}
	proxy := func() string { // what a tunnel is answered
		ln, err := net.Listen("tcp", "127.0.0.1:0")
		if err != nil {
			t.Fatal(err)
		}
		ctx, stop := context.WithCancel(context.Background())
		done := make(chan error, 1)
		go func() { done <- h.Services().Egress.ServeProxy(ctx, ln) }()
		defer func() { stop(); <-done }()
		c := &http.Client{Transport: &http.Transport{
			Proxy:           http.ProxyURL(&url.URL{Scheme: "http", Host: ln.Addr().String(), User: url.UserPassword("arw", secret)}),
			TLSClientConfig: &tls.Config{InsecureSkipVerify: true}, DisableKeepAlives: true,
		}}
		resp, err := c.Get("https://api.example.com/")
		if err != nil {
			return err.Error()
		}
		resp.Body.Close()
		return resp.Status
	}
	h.MustCall("courier.fetch", in)
	if got := proxy(); got != "200 OK" {
		t.Fatalf("the proxy before: %s", got)
	}

	trustIssuer(t, h)
	adopt(t, h, rails(t, h, "quiet", capsule.Presets()[0].Denies...))
	dialled := len(n.Dialled())
	shut := func() {
		t.Helper()
		a := h.FailCall("courier.fetch", in, abi.Denied)
		if !strings.Contains(a.Failure.Message, "quiet") || !strings.Contains(a.Failure.Hint, "arw capsule teardown quiet") {
			t.Fatalf("%+v", a.Failure)
		}
		if got := proxy(); !strings.Contains(got, "Forbidden") {
			t.Fatalf("the proxy: %s", got)
		}
	}
	shut()
	if got := len(n.Dialled()); got != dialled {
		t.Fatalf("dialled %q", n.Dialled())
	}
	rows, err := h.Services().Egress.Rows(t.Context(), egress.Query{State: "denied", Limit: 2})
	if err != nil || len(rows) != 2 || rows[0].Reason != "capsule" || rows[1].Reason != "capsule" {
		t.Fatalf("%+v, %v", rows, err)
	}
	h.Restart()
	shut()
	teardown(t, h)
	h.MustCall("courier.fetch", in)
	if got := proxy(); got != "200 OK" {
		t.Fatalf("the proxy after: %s", got)
	}
}

// Actions and host calls that a capsule names are refused, and nothing else is.
func TestCapsulesDenyActionsAndHostCalls(t *testing.T) {
	t.Parallel()
	h := hosttest.New(t, hosttest.Options{})
	h.Install(hosttest.SinkPack(t))
	trustIssuer(t, h)
	h.MustCall("sink.put", `{"key":"k","val":"v"}`)

	adopt(t, h, rails(t, h, "keys", "capability:kv"))
	h.FailCall("sink.put", `{"key":"k","val":"v"}`, abi.Denied)
	h.MustCall("sink.echo", `{}`)
	if rs := h.Events(journal.Filter{Prefixes: []string{"leases.denied"}}); len(rs) != 1 || !strings.Contains(string(rs[0].Body), "policy capsule") {
		t.Fatalf("events: %+v", rs)
	}
	teardown(t, h)
	h.MustCall("sink.put", `{"key":"k","val":"v"}`)

	// Whatever the tool is called: by its id, by its pack's name.
	adopt(t, h, rails(t, h, "tools", "action:test/sink:sink.e*"))
	for _, kind := range []string{"sink.echo", "test/sink:sink.echo"} {
		_, _, err := h.Services().Actions.Submit(t.Context(), action.Request{Kind: kind, Input: []byte(`{}`), Actor: "operator"})
		if abi.CodeOf(err) != abi.Denied {
			t.Fatalf("submit %s: %v", kind, err)
		}
	}
	h.MustCall("sink.put", `{"key":"k","val":"v"}`)
}

// An issuer that is struck from the file holds nothing any more; a broken file changes nothing.
func TestIssuersAreReloaded(t *testing.T) {
	t.Parallel()
	h := hosttest.New(t, hosttest.Options{})
	h.Install(hosttest.SinkPack(t))
	trustIssuer(t, h)
	adopt(t, h, rails(t, h, "tools", "action:*"))
	denied := func(want abi.Code) {
		t.Helper()
		_, _, err := h.Services().Actions.Submit(t.Context(), action.Request{Kind: "sink.echo", Input: []byte(`{}`), Actor: "operator"})
		if abi.CodeOf(err) != want {
			t.Fatalf("got %v, want %v", err, want)
		}
	}
	denied(abi.Denied)
	h.WriteState("capsules.toml", "schema = 1\nissuers = 3\n")
	if _, err := h.ReloadPolicy(t.Context(), "", "operator"); abi.CodeOf(err) != abi.Invalid || h.PolicyState().Stale == "" {
		t.Fatal(err)
	}
	denied(abi.Denied)
	h.WriteState("capsules.toml", "schema = 1\n")
	if _, err := h.ReloadPolicy(t.Context(), "", "operator"); err != nil {
		t.Fatal(err)
	}
	denied(abi.OK)
}

// What was accepted before, and what runs already, is held to a capsule too.
func TestCapsulesReachWhatIsUnderWay(t *testing.T) {
	t.Parallel()
	h := hosttest.New(t, hosttest.Options{})
	h.Install(hosttest.SinkPack(t))
	trustIssuer(t, h)
	running := h.Submit("sink.wait", `{"key":"never"}`)
	hosttest.Eventually(t, "it makes host calls", func() bool {
		a, err := h.Services().Actions.Get(t.Context(), running.ID)
		return err == nil && a.State == action.Running
	})
	if _, err := h.Services().Actions.Pause(t.Context(), "operator", "test"); err != nil {
		t.Fatal(err)
	}
	queued := h.Submit("sink.echo", `{}`)
	adopt(t, h, rails(t, h, "both", "capability:kv", "action:sink.echo"))
	if a := h.Wait(running.ID); a.Failure == nil || a.Failure.Code != abi.Denied || !strings.Contains(a.Failure.Message, `"both"`) {
		t.Fatalf("mid-call: %s %+v", a.State, a.Failure)
	}
	if _, err := h.Services().Actions.Unpause(t.Context(), "operator"); err != nil {
		t.Fatal(err)
	}
	if a := h.Wait(queued.ID); a.Failure == nil || a.Failure.Code != abi.Denied || !strings.Contains(a.Failure.Message, `"both"`) {
		t.Fatalf("queued: %s %+v", a.State, a.Failure)
	}
	rs := h.Events(journal.Filter{Prefixes: []string{"policy.denied"}})
	if len(rs) != 1 || !strings.Contains(string(rs[0].Body), `"capsule":"both"`) {
		t.Fatalf("events: %+v", rs)
	}
}

// TestStrictEgressKeepsTheHostsOwnClients: pulling a pack is leaving, too.
func TestStrictEgressKeepsTheHostsOwnClients(t *testing.T) {
	t.Parallel()
	var asked atomic.Int64
	far := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { asked.Add(1); http.NotFound(w, nil) }))
	t.Cleanup(far.Close)
	h := hosttest.New(t, hosttest.Options{Config: func(c *host.Config) {
		c.Registries = []string{strings.TrimPrefix(far.URL, "http://")}
		c.Registry.Retries = -1
	}})
	if _, err := h.Services().Packs.Preview(t.Context(), "test/far:1.0.0", pack.Options{}); err == nil || asked.Load() == 0 {
		t.Fatalf("before: %v, asked %d times", err, asked.Load())
	}
	trustIssuer(t, h)
	adopt(t, h, rails(t, h, "quiet", capsule.Presets()[0].Denies...))
	before := asked.Load()
	_, err := h.Services().Packs.Preview(t.Context(), "test/far:1.0.0", pack.Options{})
	if err == nil || !strings.Contains(err.Error(), `the policy capsule "quiet"`) || asked.Load() != before {
		t.Fatalf("%v, asked %d times", err, asked.Load()-before)
	}
}
