package trace

import (
	"context"
	"errors"
	"net/http"
	"net/url"
	"time"

	"go.opentelemetry.io/otel/attribute"
	"go.opentelemetry.io/otel/exporters/otlp/otlptrace/otlptracehttp"
	"go.opentelemetry.io/otel/propagation"
	"go.opentelemetry.io/otel/sdk/resource"
	sdktrace "go.opentelemetry.io/otel/sdk/trace"
	oteltrace "go.opentelemetry.io/otel/trace"

	"github.com/arw-project/arw/abi"
)

// scope names who makes the spans.
const scope = "github.com/arw-project/arw"

// Options of a Tracer.
type Options struct {
	// Endpoint is the collector's address for traces, such as http://127.0.0.1:4318/v1/traces; "" is off.
	Endpoint string
	// Headers go with every request, such as a credential.
	Headers map[string]string
	// Ratio of the undertakings that begin here to record, from 0 to 1; 0 means all. One that a caller began is recorded where
	// the caller records it.
	Ratio float64
	// Deny is asked before each request, "METHOD scheme://host/path"; its error keeps the spans here. Nil denies nothing.
	Deny func(target string) error
	// Clean takes out of names and values what must not leave; nil takes out nothing.
	Clean func(text string) string
	// Version of the program.
	Version string
	// Failed hears of spans that could not be sent; nil hears nothing. It is called from a goroutine of its own.
	Failed func(error)
}

// Tracer records and sends spans. A nil Tracer records nothing. It is safe for concurrent use.
type Tracer struct{ provider *sdktrace.TracerProvider }

// Open makes the tracer of a configuration; nil without an endpoint. It dials nobody: the first spans do. The caller must
// Close it. Errors: Invalid.
func Open(o Options) (*Tracer, error) {
	if o.Endpoint == "" {
		return nil, nil
	}
	if u, err := url.Parse(o.Endpoint); err != nil || u.Host == "" || u.Scheme != "http" && u.Scheme != "https" {
		return nil, abi.Errorf(abi.Invalid, "send traces to %q: that is no address of a collector", o.Endpoint).
			WithHint(`write telemetry.endpoint = "http://127.0.0.1:4318/v1/traces" in arw.toml`)
	}
	if o.Ratio < 0 || o.Ratio > 1 {
		return nil, abi.Errorf(abi.Invalid, "record traces: the ratio %v is not between 0 and 1", o.Ratio).WithHint("mend telemetry.ratio in arw.toml")
	}
	if o.Ratio == 0 {
		o.Ratio = 1
	}
	// No redirect and no proxy of the environment: spans go where the operator says and nowhere else.
	client := &http.Client{
		Timeout: 10 * time.Second, Transport: denier{&http.Transport{MaxIdleConns: 2, IdleConnTimeout: time.Minute, ForceAttemptHTTP2: true}, o.Deny},
		CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
	}
	out, err := otlptracehttp.New(context.Background(), otlptracehttp.WithEndpointURL(o.Endpoint), otlptracehttp.WithHeaders(o.Headers), otlptracehttp.WithHTTPClient(client))
	if err != nil {
		return nil, abi.Errorf(abi.Invalid, "send traces to %q: %w", o.Endpoint, err)
	}
	about := resource.NewSchemaless(attributes([]string{"service.name", "arw", "service.version", o.Version})...)
	return &Tracer{sdktrace.NewTracerProvider(
		sdktrace.WithBatcher(telling{out, o.Failed, o.Clean}, sdktrace.WithMaxQueueSize(4096)),
		sdktrace.WithSampler(sdktrace.ParentBased(sdktrace.TraceIDRatioBased(o.Ratio))),
		sdktrace.WithResource(about),
	)}, nil
}

// denier asks whether spans may leave.
type denier struct {
	base http.RoundTripper
	deny func(target string) error
}

// RoundTrip implements http.RoundTripper.
func (d denier) RoundTrip(req *http.Request) (*http.Response, error) {
	if d.deny != nil {
		if err := d.deny(req.Method + " " + req.URL.Redacted()); err != nil {
			return nil, err
		}
	}
	return d.base.RoundTrip(req)
}

// telling tells of what could not be sent; the library would tell a handler that is one for the whole process.
type telling struct {
	sdktrace.SpanExporter
	failed func(error)
	clean  func(string) string
}

// cleaned is a span as it may leave.
type cleaned struct {
	sdktrace.ReadOnlySpan
	name  string
	attrs []attribute.KeyValue
}

// Name implements sdktrace.ReadOnlySpan.
func (c cleaned) Name() string { return c.name }

// Attributes implements sdktrace.ReadOnlySpan.
func (c cleaned) Attributes() []attribute.KeyValue { return c.attrs }

func (t telling) cleaned(spans []sdktrace.ReadOnlySpan) []sdktrace.ReadOnlySpan {
	if t.clean == nil {
		return spans
	}
	out := make([]sdktrace.ReadOnlySpan, len(spans))
	for i, s := range spans {
		c := cleaned{ReadOnlySpan: s, name: t.clean(s.Name())}
		for _, kv := range s.Attributes() {
			if kv.Value.Type() == attribute.STRING {
				kv.Value = attribute.StringValue(t.clean(kv.Value.AsString()))
			}
			c.attrs = append(c.attrs, kv)
		}
		out[i] = c
	}
	return out
}

// ExportSpans implements sdktrace.SpanExporter.
func (t telling) ExportSpans(ctx context.Context, spans []sdktrace.ReadOnlySpan) error {
	if err := t.SpanExporter.ExportSpans(ctx, t.cleaned(spans)); err != nil && t.failed != nil {
		t.failed(err)
	}
	return nil
}

// Close sends what is left, for as long as ctx allows, and ends the tracer. Errors: Unavailable.
func (t *Tracer) Close(ctx context.Context) error {
	if t == nil {
		return nil
	}
	if err := errors.Join(t.provider.ForceFlush(ctx), t.provider.Shutdown(ctx)); err != nil {
		return abi.Errorf(abi.Unavailable, "send the last traces: %w", err)
	}
	return nil
}

// Enter begins the first step in this process of an undertaking that a caller began, who says where in the header
// traceparent, or nobody did; what is malformed is nobody. Steps below it are made with Start. Attributes as for Start.
func (t *Tracer) Enter(ctx context.Context, traceparent, name string, pairs ...string) (context.Context, *Span) {
	if t == nil {
		return ctx, nil
	}
	if traceparent != "" {
		ctx = propagation.TraceContext{}.Extract(ctx, propagation.MapCarrier{"traceparent": traceparent})
	}
	return t.start(context.WithValue(ctx, tracerKey{}, t), name, oteltrace.SpanKindServer, pairs)
}

func (t *Tracer) start(ctx context.Context, name string, kind oteltrace.SpanKind, pairs []string) (context.Context, *Span) {
	ctx, span := t.provider.Tracer(scope).Start(ctx, name, oteltrace.WithSpanKind(kind), oteltrace.WithAttributes(attributes(pairs)...))
	return ctx, &Span{span}
}
