package host_test

import (
	"bytes"
	"compress/gzip"
	"encoding/json"
	"io"
	"log/slog"
	"net"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"testing"

	collector "go.opentelemetry.io/proto/otlp/collector/trace/v1"
	otlp "go.opentelemetry.io/proto/otlp/trace/v1"
	"google.golang.org/protobuf/proto"

	"github.com/arw-project/arw/abi"
	"github.com/arw-project/arw/host"
	"github.com/arw-project/arw/host/hosttest"
)

// lines keeps what is logged.
type lines struct {
	mu  sync.Mutex
	buf bytes.Buffer
}

func (l *lines) Write(p []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.buf.Write(p)
}

func (l *lines) all(t *testing.T) []map[string]any {
	t.Helper()
	l.mu.Lock()
	defer l.mu.Unlock()
	var out []map[string]any
	for line := range strings.Lines(l.buf.String()) {
		var m map[string]any
		if err := json.Unmarshal([]byte(line), &m); err != nil {
			t.Fatal(err)
		}
		out = append(out, m)
	}
	return out
}

// serveAll runs a stopped host's API.
func serveAll(t *testing.T, h *hosttest.Host) (base string, stop func()) {
	t.Helper()
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	return "http://" + ln.Addr().String(), h.ServeAt(ln)
}

// submit calls a tool over HTTP and waits for its end.
func submit(t *testing.T, base, body string, headers ...string) {
	t.Helper()
	req, err := http.NewRequestWithContext(t.Context(), "POST", base+"/actions", strings.NewReader(body))
	if err != nil {
		t.Fatal(err)
	}
	req.Header.Set("Content-Type", "application/json")
	req.Header.Set("Prefer", "wait=60")
	for i := 0; i+1 < len(headers); i += 2 {
		req.Header.Set(headers[i], headers[i+1])
	}
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	if raw, _ := io.ReadAll(resp.Body); resp.StatusCode != http.StatusOK {
		t.Fatalf("%s: %d %s", body, resp.StatusCode, raw)
	}
}

// Every line that a request and its action leave in the log says for which undertaking it is: the request's own, what the
// guest logs, and what the host has to say when it fails.
func TestEveryLineOfAnActionHasItsCorrID(t *testing.T) {
	t.Parallel()
	var out lines
	h := hosttest.New(t, hosttest.Options{Stopped: true, Config: func(c *host.Config) {
		c.Log = slog.New(slog.NewJSONHandler(&out, &slog.HandlerOptions{Level: slog.LevelDebug}))
	}})
	h.Install(hosttest.SinkPack(t))
	base, stop := serveAll(t, h)
	before := len(out.all(t))
	for _, call := range []string{`{"kind":"sink.log","input":{"msg":"hello"}}`, `{"kind":"sink.fail"}`, `{"kind":"sink.trap"}`, `{"kind":"sink.lie"}`, `{"kind":"sink.put","input":{"key":"a","val":"b"}}`} {
		submit(t, base, call, "X-Arw-Corr", "cor_here")
	}
	stop()
	said := map[string]bool{}
	for _, line := range out.all(t)[before:] {
		said[line["msg"].(string)] = true
		if line["corr_id"] != "cor_here" {
			t.Errorf("a line does not say for what it is: %v", line)
		}
	}
	if !said["request"] || !said["hello"] {
		t.Errorf("the log has %v", said)
	}
}

// A caller's trace goes on through the request, the action, the guest's call and the lease check, in this order, and says
// nothing of what the call was about.
func TestATraceGoesFromTheRequestToTheLease(t *testing.T) {
	t.Parallel()
	got := make(chan *otlp.Span, 1024)
	sink := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		body := io.Reader(r.Body)
		if r.Header.Get("Content-Encoding") == "gzip" {
			body, _ = gzip.NewReader(body)
		}
		raw, _ := io.ReadAll(body)
		var req collector.ExportTraceServiceRequest
		if err := proto.Unmarshal(raw, &req); err != nil {
			t.Error(err)
		}
		for _, rs := range req.ResourceSpans {
			for _, ss := range rs.ScopeSpans {
				for _, s := range ss.Spans {
					got <- s
				}
			}
		}
	}))
	defer sink.Close()
	h := hosttest.New(t, hosttest.Options{Stopped: true, Config: func(c *host.Config) { c.Telemetry.Endpoint = sink.URL + "/v1/traces" }})
	h.Install(hosttest.SinkPack(t))
	h.Grant("test/sink", abi.KV)
	base, stop := serveAll(t, h)
	submit(t, base, `{"kind":"sink.put","input":{"key":"topsecret","val":"b"}}`, "X-Arw-Corr", "cor_here", "traceparent", "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01")
	stop()
	h.Stop() // sends what is left
	close(got)
	by := map[string]*otlp.Span{}
	for s := range got {
		if strings.Contains(s.String(), "topsecret") {
			t.Errorf("a span tells what the call was about: %v", s)
		}
		by[s.Name] = s
	}
	above := []byte{0xb7, 0xad, 0x6b, 0x71, 0x69, 0x20, 0x33, 0x31}
	for _, name := range []string{"POST /actions", "action sink.put", "call sink.put", "lease kv"} {
		s := by[name]
		if s == nil {
			t.Fatalf("there is no span %q among %v", name, by)
		}
		if !bytes.Equal(s.ParentSpanId, above) || s.TraceId[0] != 0x0a {
			t.Errorf("%q hangs on %x, want %x", name, s.ParentSpanId, above)
		}
		above = s.SpanId
	}
}
