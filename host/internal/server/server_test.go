package server_test

import (
	"bufio"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/arw-project/arw/abi"
	"github.com/arw-project/arw/host/api"
	"github.com/arw-project/arw/host/hosttest"
	"github.com/arw-project/arw/host/internal/journal"
	"github.com/arw-project/arw/host/internal/mcp"
	"github.com/arw-project/arw/host/internal/server"
	"github.com/arw-project/arw/sdk/go/client"
)

// edge is a server before a real host.
type edge struct {
	*hosttest.Host
	t     *testing.T
	srv   *server.Server
	base  string
	token string
}

func start(t *testing.T, o server.Options) *edge {
	t.Helper()
	return before(t, hosttest.New(t, hosttest.Options{}), o)
}

// still is start of a host that does nothing by itself, so that no event comes which the test does not know.
func still(t *testing.T, o server.Options) *edge {
	t.Helper()
	return before(t, hosttest.New(t, hosttest.Options{Stopped: true}), o)
}

func before(t *testing.T, h *hosttest.Host, o server.Options) *edge {
	t.Helper()
	p := h.Services()
	srv := server.New(server.Services{
		Actions: p.Actions, Packs: p.Packs, Leases: p.Leases, Journal: p.Journal, View: p.View, Policy: p.Policy, Vault: p.Vault,
		TrustDigest: p.Trust.Digest(), Prompts: p.Prompts, Logic: p.Logic, Egress: p.Egress, Shelf: p.Shelf, Models: p.Models, Runtimes: p.Runtimes, Capsules: p.Capsules, Quotas: p.Quotas, Access: p.Access, Experiments: p.Experiments, Memo: p.Memo, Snappy: p.Snappy, Projects: p.Projects, MCP: func(context.Context) ([]byte, error) { return mcp.Document(mcp.Offered(p.Packs.List())) },
	}, o)
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan error, 1)
	go func() { done <- srv.Run(ctx, ln) }()
	t.Cleanup(func() {
		cancel()
		if err := <-done; err != nil {
			t.Errorf("serve: %v", err)
		}
	})
	raw, err := os.ReadFile(filepath.Join(h.State, "operator.token"))
	if err != nil {
		t.Fatal(err)
	}
	return &edge{Host: h, t: t, srv: srv, base: "http://" + ln.Addr().String(), token: strings.TrimSpace(string(raw))}
}

// ask sends one request; headers are pairs.
func (e *edge) ask(method, path, body string, headers ...string) *http.Response {
	e.t.Helper()
	req, err := http.NewRequest(method, e.base+path, strings.NewReader(body))
	if err != nil {
		e.t.Fatal(err)
	}
	for i := 0; i+1 < len(headers); i += 2 {
		if headers[i] == "Host" {
			req.Host = headers[i+1]
			continue
		}
		req.Header.Set(headers[i], headers[i+1])
	}
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		e.t.Fatal(err)
	}
	wire := resp.Body
	e.t.Cleanup(func() { wire.Close() })
	e.conform(resp)
	return resp
}

func problem(t *testing.T, resp *http.Response) api.Problem {
	t.Helper()
	if ct := resp.Header.Get("Content-Type"); ct != "application/problem+json" {
		t.Errorf("content type %q, want application/problem+json", ct)
	}
	var p api.Problem
	if err := json.NewDecoder(resp.Body).Decode(&p); err != nil {
		t.Fatal(err)
	}
	if p.Status != resp.StatusCode {
		t.Errorf("problem says %d, the response %d", p.Status, resp.StatusCode)
	}
	return p
}

func (e *edge) note(kinds ...string) []journal.Record {
	e.t.Helper()
	events := make([]journal.Event, 0, len(kinds))
	for _, k := range kinds {
		events = append(events, journal.Event{Kind: k, Body: map[string]any{}})
	}
	recs, err := e.Services().Journal.Append(context.Background(), events...)
	if err != nil {
		e.t.Fatal(err)
	}
	return recs
}

func TestRefusals(t *testing.T) {
	t.Parallel()
	e := start(t, server.Options{MaxBody: 1 << 20})
	for name, tc := range map[string]struct {
		method, path, body string
		headers            []string
		code               abi.Code
		says               string
	}{
		"no such route":          {"GET", "/nothing", "", nil, abi.NotFound, "no such route"},
		"no such method":         {"PUT", "/actions", "", nil, abi.NotFound, "no such route"},
		"no such tool":           {"POST", "/actions", `{"kind":"x.y"}`, nil, abi.NotFound, "x.y"},
		"no such action":         {"GET", "/actions/act_1", "", nil, abi.NotFound, "act_1"},
		"no such pack":           {"GET", "/packs/a/b", "", nil, abi.NotFound, "a/b"},
		"no such state":          {"GET", "/state/x.y", "", nil, abi.NotFound, "x.y"},
		"not json":               {"POST", "/actions", `{"kind":`, nil, abi.Invalid, ""},
		"unknown field":          {"POST", "/actions", `{"kind":"x.y","inputs":{}}`, nil, abi.Invalid, "inputs"},
		"two values":             {"POST", "/actions", `{"kind":"x.y"}{}`, nil, abi.Invalid, "more than one"},
		"wrong content type":     {"POST", "/actions", `{}`, []string{"Content-Type", "text/plain"}, abi.Invalid, "text/plain"},
		"negative deadline":      {"POST", "/actions", `{"kind":"x.y","deadline_ms":-1}`, nil, abi.Invalid, "deadline_ms"},
		"bad limit":              {"GET", "/actions?limit=0", "", nil, abi.Invalid, "limit"},
		"bad since":              {"GET", "/actions?since=yesterday", "", nil, abi.Invalid, "yesterday"},
		"bad event id":           {"GET", "/events?after=x", "", nil, abi.Invalid, "after"},
		"foreign host":           {"GET", "/healthz", "", []string{"Host", "evil.example"}, abi.Denied, "evil.example"},
		"rebound host with port": {"GET", "/healthz", "", []string{"Host", "evil.example:8091"}, abi.Denied, "evil.example"},
		"foreign origin":         {"POST", "/actions", `{}`, []string{"Origin", "https://evil.example"}, abi.Denied, "evil.example"},
		"null origin":            {"POST", "/actions", `{}`, []string{"Origin", "null"}, abi.Denied, "null"},
		"install without token":  {"POST", "/packs", `{"ref":"a/b:1.0.0"}`, nil, abi.Unauthenticated, "authority"},
		"grant without token":    {"POST", "/leases", `{"pack":"a/b"}`, nil, abi.Unauthenticated, "authority"},
		"revoke without token":   {"DELETE", "/leases/lea_1", "", nil, abi.Unauthenticated, "authority"},
		"remove without token":   {"DELETE", "/packs/a/b", "", nil, abi.Unauthenticated, "authority"},
		"upgrade without token":  {"POST", "/packs/a/b/upgrade", `{}`, nil, abi.Unauthenticated, "authority"},
		"rollback without token": {"POST", "/packs/a/b/rollback", `{}`, nil, abi.Unauthenticated, "authority"},
		"accept without token":   {"POST", "/packs/a/b/accept", `{}`, nil, abi.Unauthenticated, "authority"},
		"suspend without token":  {"POST", "/packs/a/b/suspend", `{}`, nil, abi.Unauthenticated, "authority"},
		"resume without token":   {"POST", "/packs/a/b/resume", `{}`, nil, abi.Unauthenticated, "authority"},
		"sync without token":     {"POST", "/sync", `{"lock":""}`, nil, abi.Unauthenticated, "authority"},
		"history of nothing":     {"GET", "/packs/a/b/history", "", nil, abi.NotFound, "a/b"},
		"wrong token":            {"POST", "/leases", `{}`, []string{"Authorization", "Bearer nonsense"}, abi.Unauthenticated, "not one of this host"},
	} {
		t.Run(name, func(t *testing.T) {
			headers := tc.headers
			if tc.body != "" && len(headers) == 0 {
				headers = []string{"Content-Type", "application/json"}
			}
			resp := e.ask(tc.method, tc.path, tc.body, headers...)
			p := problem(t, resp)
			if p.Code != tc.code.String() || !strings.Contains(p.Detail, tc.says) {
				t.Errorf("got %s %q, want %s and %q", p.Code, p.Detail, tc.code, tc.says)
			}
			if p.Corr == "" || p.Corr != resp.Header.Get(api.HeaderCorr) {
				t.Errorf("correlation id %q, header %q", p.Corr, resp.Header.Get(api.HeaderCorr))
			}
		})
	}
}

// A body beyond the bound is refused at its head, before a byte of it is read. (A client that goes on sending may see its
// connection reset instead of the answer, so this one waits for it.)
func TestALargeBodyIsRefusedAtItsHead(t *testing.T) {
	t.Parallel()
	e := start(t, server.Options{MaxBody: 1 << 20})
	address := strings.TrimPrefix(e.base, "http://")
	conn, err := net.Dial("tcp", address)
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	if _, err := fmt.Fprintf(conn, "POST /actions HTTP/1.1\r\nHost: %s\r\nContent-Type: application/json\r\nContent-Length: %d\r\n\r\n", address, 2<<20); err != nil {
		t.Fatal(err)
	}
	resp, err := http.ReadResponse(bufio.NewReader(conn), nil)
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	if p := problem(t, resp); p.Code != abi.TooLarge.String() || p.Corr == "" || p.Corr != resp.Header.Get(api.HeaderCorr) {
		t.Errorf("got %+v, header %q", p, resp.Header.Get(api.HeaderCorr))
	}
}

func TestGuessingTheTokenIsSlowedButNeverTheRightOne(t *testing.T) {
	t.Parallel()
	e := start(t, server.Options{})
	last := abi.OK.String()
	for range 70 {
		last = problem(t, e.ask("DELETE", "/leases/x", "", "Authorization", "Bearer guess")).Code
	}
	if last != abi.Busy.String() {
		t.Errorf("after 70 guesses the answer is %s, want busy", last)
	}
	if p := problem(t, e.ask("DELETE", "/leases/x", "", "Authorization", "Bearer "+e.token)); p.Code != abi.NotFound.String() {
		t.Errorf("the right token answers %s, want not_found of the lease itself", p.Code)
	}
}

func TestCorrelationIDIsKeptOrMade(t *testing.T) {
	t.Parallel()
	e := start(t, server.Options{})
	if got := e.ask("GET", "/healthz", "", api.HeaderCorr, "mine-1").Header.Get(api.HeaderCorr); got != "mine-1" {
		t.Errorf("given id came back as %q", got)
	}
	if got := e.ask("GET", "/healthz", "", api.HeaderCorr, "not a good one").Header.Get(api.HeaderCorr); !strings.HasPrefix(got, "cor_") {
		t.Errorf("malformed id was answered by %q", got)
	}
}

func TestStateHasAValidator(t *testing.T) {
	t.Parallel()
	e := still(t, server.Options{})
	for _, id := range []string{"packs", "leases", "actions"} {
		first := e.ask("GET", "/"+id, "")
		etag := first.Header.Get("ETag")
		if first.StatusCode != 200 || etag == "" {
			t.Fatalf("%s: status %d, ETag %q", id, first.StatusCode, etag)
		}
		if again := e.ask("GET", "/"+id, "", "If-None-Match", etag); again.StatusCode != 304 {
			t.Errorf("%s: unchanged answers %d, want 304", id, again.StatusCode)
		}
	}
	etag := e.ask("GET", "/packs", "").Header.Get("ETag")
	e.note("test.changed")
	if again := e.ask("GET", "/packs", "", "If-None-Match", etag); again.StatusCode != 200 {
		t.Errorf("after a change the old validator answers %d, want 200", again.StatusCode)
	}
}

// stream reads frames of an event stream.
type stream struct {
	t *testing.T
	r *bufio.Reader
}

func (e *edge) events(query string, headers ...string) *stream {
	e.t.Helper()
	resp := e.ask("GET", "/events"+query, "", headers...)
	if resp.StatusCode != 200 {
		body, _ := io.ReadAll(resp.Body)
		e.t.Fatalf("events%s: %d %s", query, resp.StatusCode, body)
	}
	s := &stream{e.t, bufio.NewReader(resp.Body)}
	if _, kind := s.next(); kind != "service.connected" {
		e.t.Fatalf("first frame is %s", kind)
	}
	return s
}

// next reads one frame and gives its id, "" when it has none, and its kind.
func (s *stream) next() (id, kind string) {
	s.t.Helper()
	for {
		line, err := s.r.ReadString('\n')
		if err != nil {
			s.t.Fatal(err)
		}
		switch line = strings.TrimSpace(line); {
		case line == "" && kind == "state.read.model.patch": // the host's own documents move whenever they like
			kind = ""
		case line == "" && kind != "":
			return id, kind
		case strings.HasPrefix(line, "id: "):
			id = line[4:]
		case strings.HasPrefix(line, "event: "):
			kind = line[7:]
		}
	}
}

func (s *stream) want(recs []journal.Record) {
	s.t.Helper()
	for _, r := range recs {
		if id, kind := s.next(); id != strconv.FormatInt(r.ID, 10) || kind != r.Kind {
			s.t.Fatalf("got %s %s, want %d %s", id, kind, r.ID, r.Kind)
		}
	}
}

func TestEventsResumeReplayAndFilter(t *testing.T) {
	t.Parallel()
	e := still(t, server.Options{})
	old := e.note("test.a", "test.b", "other.c", "test.d")

	live := e.events("")
	all := e.events("?after=" + strconv.FormatInt(old[0].ID, 10))
	all.want(old[1:])
	header := e.events("", "Last-Event-ID", strconv.FormatInt(old[1].ID, 10))
	header.want(old[2:])
	replay := e.events("?replay=2&prefix=test.,other.")
	replay.want(old[2:])
	filtered := e.events("?replay=4&prefix=test.")
	filtered.want([]journal.Record{old[0], old[1], old[3]})
	twice := e.events("?replay=4&prefix=none.,other.&prefix=more.")
	twice.want([]journal.Record{old[2]})

	fresh := e.note("other.x", "test.y")
	live.want(fresh)
	all.want(fresh)
	filtered.want(fresh[1:])
	twice.want(fresh[:1])
}

func TestSilentStreamHasAPulse(t *testing.T) {
	t.Parallel()
	e := start(t, server.Options{Heartbeat: 10 * time.Millisecond})
	s := e.events("?prefix=never.")
	for {
		line, err := s.r.ReadString('\n')
		if err != nil {
			t.Fatal(err)
		}
		if strings.HasPrefix(line, ": keep-alive") {
			return
		}
	}
}

func TestTooManyStreamsAreRefused(t *testing.T) {
	t.Parallel()
	e := start(t, server.Options{MaxStream: 1})
	e.events("")
	if p := problem(t, e.ask("GET", "/events", "")); p.Code != abi.Busy.String() {
		t.Errorf("second stream answers %s, want busy", p.Code)
	}
}

func TestClientFollowsThroughABrokenConnection(t *testing.T) {
	t.Parallel()
	e := start(t, server.Options{})
	first := e.note("test.1", "test.2")
	// A door that drops each connection after a while stands between client and host.
	door := dropper(t, strings.TrimPrefix(e.base, "http://"), 900)
	ctx, cancel := context.WithTimeout(context.Background(), 30*time.Second)
	defer cancel()
	want, more := first[0].ID, 30
	for ev, err := range client.New("http://"+door, "").Events(ctx, client.Follow{Replay: 2, Prefixes: []string{"test."}}) {
		if err != nil {
			t.Fatal(err)
		}
		if ev.ID < want {
			t.Fatalf("event %d came again or out of order, want %d", ev.ID, want)
		}
		want = ev.ID + 1
		if more--; more == 0 {
			return
		}
		e.note("test.more")
	}
	t.Fatal("the stream ended")
}

// dropper forwards connections and cuts each after so many bytes of answer.
func dropper(t *testing.T, to string, bytes int64) string {
	t.Helper()
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { ln.Close() })
	go func() {
		for {
			in, err := ln.Accept()
			if err != nil {
				return
			}
			go func() {
				defer in.Close()
				out, err := net.Dial("tcp", to)
				if err != nil {
					return
				}
				defer out.Close()
				go func() { _, _ = io.Copy(out, in) }()
				_, _ = io.CopyN(in, out, bytes)
			}()
		}
	}()
	return ln.Addr().String()
}

func TestMetricsNameWhatAnOperatorWatches(t *testing.T) {
	t.Parallel()
	e := start(t, server.Options{})
	e.ask("GET", "/healthz", "")
	body, err := io.ReadAll(e.ask("GET", "/metrics", "").Body)
	if err != nil {
		t.Fatal(err)
	}
	for _, name := range []string{
		"arw_workers_configured", "arw_actions_queue_depth", `arw_actions_total{outcome="completed"}`, "arw_journal_events_total",
		"arw_events_sse_clients", `arw_route_latency_seconds_count{method="GET",route="/healthz",status="200"}`, "go_goroutines",
	} {
		if !strings.Contains(string(body), name) {
			t.Errorf("/metrics has no %s", name)
		}
	}
}

// A stop that comes before all listeners are served ends them all the same.
func TestStopAtOnce(t *testing.T) {
	t.Parallel()
	h := hosttest.New(t, hosttest.Options{})
	p := h.Services()
	for range 20 {
		srv := server.New(server.Services{
			Actions: p.Actions, Packs: p.Packs, Leases: p.Leases, Journal: p.Journal, View: p.View, Policy: p.Policy, Vault: p.Vault,
			Prompts: p.Prompts, Logic: p.Logic, Egress: p.Egress, Shelf: p.Shelf, Models: p.Models, Runtimes: p.Runtimes, Access: p.Access,
		}, server.Options{})
		tcp, err := net.Listen("tcp", "127.0.0.1:0")
		if err != nil {
			t.Fatal(err)
		}
		sock, err := net.Listen("unix", filepath.Join(t.TempDir(), "s"))
		if err != nil {
			t.Fatal(err)
		}
		ctx, stop := context.WithCancel(context.Background())
		stop()
		if err := srv.Run(ctx, tcp, sock); err != nil {
			t.Errorf("run: %v", err)
		}
	}
}
