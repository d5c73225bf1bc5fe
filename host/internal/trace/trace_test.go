package trace_test

import (
	"bytes"
	"compress/gzip"
	"context"
	"encoding/json"
	"errors"
	"io"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"

	collector "go.opentelemetry.io/proto/otlp/collector/trace/v1"
	otlp "go.opentelemetry.io/proto/otlp/trace/v1"
	"google.golang.org/protobuf/proto"

	"github.com/arw-project/arw/abi"
	"github.com/arw-project/arw/host/internal/trace"
)

// collect is a collector of traces as the protocol has it; it gives what came.
func collect(t *testing.T, status int) (endpoint string, got chan []*otlp.Span) {
	t.Helper()
	got = make(chan []*otlp.Span, 16)
	s := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.URL.Path != "/v1/traces" || r.Header.Get("Content-Type") != "application/x-protobuf" || r.Header.Get("X-Key") != "k" {
			t.Errorf("the collector was asked %s with %v", r.URL, r.Header)
		}
		body := io.Reader(r.Body)
		if r.Header.Get("Content-Encoding") == "gzip" {
			var err error
			if body, err = gzip.NewReader(body); err != nil {
				t.Error(err)
			}
		}
		raw, err := io.ReadAll(body)
		var req collector.ExportTraceServiceRequest
		if err == nil {
			err = proto.Unmarshal(raw, &req)
		}
		if err != nil {
			t.Error(err)
		}
		var spans []*otlp.Span
		for _, rs := range req.ResourceSpans {
			for _, ss := range rs.ScopeSpans {
				spans = append(spans, ss.Spans...)
			}
		}
		got <- spans
		w.WriteHeader(status)
	}))
	t.Cleanup(s.Close)
	return s.URL + "/v1/traces", got
}

const parent = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"

func TestSpansReachTheCollector(t *testing.T) {
	t.Parallel()
	endpoint, got := collect(t, http.StatusOK)
	tr, err := trace.Open(trace.Options{Endpoint: endpoint, Headers: map[string]string{"X-Key": "k"}, Version: "1"})
	if err != nil {
		t.Fatal(err)
	}
	ctx, root := tr.Enter(t.Context(), parent, "request")
	if at := trace.Parent(ctx); !strings.HasPrefix(at, "00-0af7651916cd43dd8448eb211c80319c-") || at == parent {
		t.Errorf("it stands at %q", at)
	}
	inner, call := trace.Start(ctx, "call", "arw.pack", "a/b", "arw.empty", "")
	lease := call.Step("lease", "arw.capability", "fs")
	lease.End(abi.Errorf(abi.Denied, "use fs on /very/secret"))
	call.End(nil)
	root.Rename("GET /x")
	root.End(errors.New("/very/secret"))
	if trace.Parent(inner) == "" {
		t.Error("the call stands nowhere")
	}
	if err := tr.Close(t.Context()); err != nil {
		t.Fatal(err)
	}
	by := map[string]*otlp.Span{}
	for _, s := range <-got {
		by[s.Name] = s
		if strings.Contains(s.String(), "secret") || strings.Contains(s.String(), "arw.empty") {
			t.Errorf("it tells too much: %v", s)
		}
	}
	r, c, l := by["GET /x"], by["call"], by["lease"]
	if r == nil || c == nil || l == nil {
		t.Fatalf("the spans are %v", by)
	}
	if !bytes.Equal(c.ParentSpanId, r.SpanId) || !bytes.Equal(l.ParentSpanId, c.SpanId) || !bytes.Equal(l.TraceId, r.TraceId) || r.ParentSpanId[0] != 0xb7 {
		t.Errorf("they hang together otherwise: %v", by)
	}
	if l.Status.Code != otlp.Status_STATUS_CODE_ERROR || l.Status.Message != "denied" {
		t.Errorf("the refusal says %v", l.Status)
	}
}

func TestOffCostsNothingAndBreaksNothing(t *testing.T) { // not parallel: it counts allocations
	off, err := trace.Open(trace.Options{})
	if off != nil || err != nil {
		t.Fatal(off, err)
	}
	ctx, span := off.Enter(t.Context(), parent, "x")
	if span != nil || trace.Parent(ctx) != "" {
		t.Error("something is recorded")
	}
	if n := testing.AllocsPerRun(100, func() {
		inner, s := trace.Start(ctx, "y")
		s.Step("z").End(nil)
		s.Say("a", "b")
		s.Rename("c")
		s.End(nil)
		_ = inner
	}); n != 0 {
		t.Errorf("a step that nobody records allocates %v times", n)
	}
	if err := off.Close(t.Context()); err != nil {
		t.Error(err)
	}
}

func TestOptionsAreChecked(t *testing.T) {
	t.Parallel()
	for _, o := range []trace.Options{{Endpoint: "localhost:4318"}, {Endpoint: "ftp://x/"}, {Endpoint: "http://x/", Ratio: 2}, {Endpoint: "http://x/", Ratio: -1}} {
		if tr, err := trace.Open(o); abi.CodeOf(err) != abi.Invalid {
			t.Errorf("%+v: %v %v", o, tr, err)
		}
	}
}

// A caller that does not record is not recorded here either, and a malformed header is nobody's.
func TestTheCallerDecides(t *testing.T) {
	t.Parallel()
	endpoint, got := collect(t, http.StatusOK)
	tr, err := trace.Open(trace.Options{Endpoint: endpoint, Headers: map[string]string{"X-Key": "k"}})
	if err != nil {
		t.Fatal(err)
	}
	_, unsampled := tr.Enter(t.Context(), strings.TrimSuffix(parent, "1")+"0", "unsampled")
	unsampled.End(nil)
	_, own := tr.Enter(t.Context(), "00-nonsense", "own")
	own.End(nil)
	if err := tr.Close(t.Context()); err != nil {
		t.Fatal(err)
	}
	if spans := <-got; len(spans) != 1 || spans[0].Name != "own" || len(spans[0].ParentSpanId) != 0 {
		t.Errorf("it sent %v", spans)
	}
}

func TestACollectorThatRefusesIsTold(t *testing.T) {
	t.Parallel()
	endpoint, _ := collect(t, http.StatusBadRequest)
	failed := make(chan error, 8)
	tr, err := trace.Open(trace.Options{Endpoint: endpoint, Headers: map[string]string{"X-Key": "k"}, Failed: func(err error) { failed <- err }})
	if err != nil {
		t.Fatal(err)
	}
	_, s := tr.Enter(t.Context(), "", "x")
	s.End(nil)
	if err := tr.Close(t.Context()); err != nil {
		t.Error(err)
	}
	if err := <-failed; err == nil {
		t.Error("nothing was told")
	}
}

func TestLinesSayWhatTheyAreAbout(t *testing.T) {
	t.Parallel()
	var out bytes.Buffer
	log := slog.New(trace.Handler(slog.NewJSONHandler(&out, nil)))
	about := trace.About(trace.About(t.Context(), "cor_1", ""), "", "act_1")
	cases := []struct {
		name string
		log  func()
		want map[string]any
	}{
		{"no context", func() { log.Info("x") }, map[string]any{}},
		{"an undertaking", func() { log.InfoContext(about, "x") }, map[string]any{"corr_id": "cor_1", "action": "act_1"}},
		{"its own", func() { log.InfoContext(about, "x", "corr_id", "cor_2") }, map[string]any{"corr_id": "cor_2", "action": "act_1"}},
		{"with attributes", func() { log.With("a", 1).InfoContext(about, "x") }, map[string]any{"corr_id": "cor_1", "action": "act_1", "a": 1.0}},
		{"another undertaking within", func() { log.InfoContext(trace.About(about, "cor_3", "act_3"), "x") }, map[string]any{"corr_id": "cor_3", "action": "act_3"}},
	}
	for _, c := range cases {
		out.Reset()
		c.log()
		var line map[string]any
		if err := json.Unmarshal(out.Bytes(), &line); err != nil || strings.Count(out.String(), `"corr_id"`) > 1 {
			t.Fatalf("%s: %v: %s", c.name, err, out.String())
		}
		delete(line, "time")
		delete(line, "level")
		delete(line, "msg")
		if got, want := marshal(line), marshal(c.want); got != want {
			t.Errorf("%s: %s, want %s", c.name, got, want)
		}
	}
}

func marshal(v any) string {
	raw, _ := json.Marshal(v)
	return string(raw)
}

func BenchmarkStepOff(b *testing.B) {
	ctx := trace.About(context.Background(), "cor_1", "act_1")
	for b.Loop() {
		_, s := trace.Start(ctx, "call", "arw.pack", "a/b")
		s.End(nil)
	}
}

// What denies keeps spans here, and whoever sends them hears why.
func TestSpansMayBeDenied(t *testing.T) {
	t.Parallel()
	endpoint, got := collect(t, http.StatusOK)
	told, asked := make(chan error, 8), make(chan string, 8)
	tr, err := trace.Open(trace.Options{Endpoint: endpoint, Headers: map[string]string{"X-Key": "k"}, Failed: func(err error) { told <- err }, Deny: func(target string) error {
		asked <- target
		return abi.Errorf(abi.Denied, "not today")
	}})
	if err != nil {
		t.Fatal(err)
	}
	_, s := tr.Enter(t.Context(), "", "x")
	s.End(nil)
	_ = tr.Close(t.Context())
	if target, err := <-asked, <-told; len(got) != 0 || target != "POST "+endpoint || err == nil || !strings.Contains(err.Error(), "not today") {
		t.Errorf("%d came, asked %q, told %v", len(got), target, err)
	}
}
