// Package trace keeps one promise: what is done for one undertaking says for which. Every log line made under a context has
// its correlation id and action (Handler); where traces are on, every step from the HTTP request through the lease check to
// the guest's call is a span that leaves for a collector over OTLP/HTTP (Tracer), and the lines name those too.
//
// Traces are off unless a collector is configured. Off costs a nil check where it matters. A collector that is slow or gone
// loses spans and nothing else: they are sent behind everybody's back, from a queue of bounded length. Ids and names leave,
// never inputs, outputs or targets.
package trace

import (
	"context"
	"log/slog"

	"go.opentelemetry.io/otel/attribute"
	"go.opentelemetry.io/otel/codes"
	"go.opentelemetry.io/otel/propagation"
	oteltrace "go.opentelemetry.io/otel/trace"

	"github.com/arw-project/arw/abi"
)

// undertaking is what a context is about.
type undertaking struct{ corr, action string }

type undertakingKey struct{}

// About returns a context whose log lines say a correlation id and an action; an empty one of the two is taken over from ctx.
func About(ctx context.Context, corr, action string) context.Context {
	if was, ok := ctx.Value(undertakingKey{}).(undertaking); ok {
		if corr == "" {
			corr = was.corr
		}
		if action == "" {
			action = was.action
		}
	}
	return context.WithValue(ctx, undertakingKey{}, undertaking{corr, action})
}

// handler adds what a context is about to the lines made under it.
type handler struct{ slog.Handler }

// Handler wraps the handler of a log. Lines that say a corr_id or an action of their own keep them.
func Handler(next slog.Handler) slog.Handler { return handler{next} }

// Handle implements slog.Handler.
func (h handler) Handle(ctx context.Context, r slog.Record) error {
	if ctx == nil {
		return h.Handler.Handle(context.Background(), r)
	}
	var corr, action bool
	r.Attrs(func(a slog.Attr) bool {
		corr, action = corr || a.Key == "corr_id", action || a.Key == "action"
		return true
	})
	about, _ := ctx.Value(undertakingKey{}).(undertaking)
	span := oteltrace.SpanContextFromContext(ctx)
	if (corr || about.corr == "") && (action || about.action == "") && !span.IsValid() {
		return h.Handler.Handle(ctx, r)
	}
	r = r.Clone()
	if !corr && about.corr != "" {
		r.AddAttrs(slog.String("corr_id", about.corr))
	}
	if !action && about.action != "" {
		r.AddAttrs(slog.String("action", about.action))
	}
	if span.IsValid() {
		r.AddAttrs(slog.String("trace_id", span.TraceID().String()), slog.String("span_id", span.SpanID().String()))
	}
	return h.Handler.Handle(ctx, r)
}

// WithAttrs implements slog.Handler.
func (h handler) WithAttrs(attrs []slog.Attr) slog.Handler {
	return handler{h.Handler.WithAttrs(attrs)}
}

// WithGroup implements slog.Handler.
func (h handler) WithGroup(name string) slog.Handler { return handler{h.Handler.WithGroup(name)} }

// Span is one step; nil is a step that nobody records, and every method of it does nothing.
type Span struct{ span oteltrace.Span }

type tracerKey struct{}

// Start begins a step in the course of what ctx is about, and returns the context of what happens in it. It returns ctx and
// nil where nobody records. Attributes are pairs of a name and a value.
func Start(ctx context.Context, name string, pairs ...string) (context.Context, *Span) {
	t, _ := ctx.Value(tracerKey{}).(*Tracer)
	if t == nil {
		return ctx, nil
	}
	return t.start(ctx, name, oteltrace.SpanKindInternal, pairs)
}

// Step begins a step below this one, without a context of its own.
func (s *Span) Step(name string, pairs ...string) *Span {
	if s == nil {
		return nil
	}
	ctx := oteltrace.ContextWithSpan(context.Background(), s.span)
	_, span := s.span.TracerProvider().Tracer(scope).Start(ctx, name, oteltrace.WithAttributes(attributes(pairs)...))
	return &Span{span}
}

// Rename gives a step a better name than was known when it began.
func (s *Span) Rename(name string) {
	if s != nil {
		s.span.SetName(name)
	}
}

// Say adds to what a step tells.
func (s *Span) Say(pairs ...string) {
	if s != nil {
		s.span.SetAttributes(attributes(pairs)...)
	}
}

// End ends a step. Of an error its code is told, not its text, which may quote what nobody else is to know.
func (s *Span) End(err error) {
	if s == nil {
		return
	}
	if err != nil {
		s.span.SetStatus(codes.Error, abi.CodeOf(err).String())
	}
	s.span.End()
}

// Parent is where ctx stands, in the form of the header traceparent (W3C Trace Context); "" where nobody records.
func Parent(ctx context.Context) string {
	if !oteltrace.SpanContextFromContext(ctx).IsValid() {
		return ""
	}
	carrier := propagation.MapCarrier{}
	propagation.TraceContext{}.Inject(ctx, carrier)
	return carrier["traceparent"]
}

func attributes(pairs []string) []attribute.KeyValue {
	out := make([]attribute.KeyValue, 0, len(pairs)/2)
	for i := 0; i+1 < len(pairs); i += 2 {
		if pairs[i+1] != "" {
			out = append(out, attribute.String(pairs[i], pairs[i+1]))
		}
	}
	return out
}
