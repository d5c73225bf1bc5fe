package host

import (
	"context"
	"time"

	"github.com/arw-project/arw/abi"
	"github.com/arw-project/arw/host/internal/trace"
)

// Telemetry is where traces go, by OTLP over HTTP. Nothing leaves while Endpoint is empty.
type Telemetry struct {
	Endpoint string            // http://127.0.0.1:4318/v1/traces
	Headers  map[string]string // of every request to it
	Ratio    float64           // of the undertakings that begin here; 0 is all
}

// openTrace makes the tracer, which is closed when everything that could make spans is.
func (h *Host) openTrace() (err error) {
	t := h.cfg.Telemetry
	h.tracer, err = trace.Open(trace.Options{
		Endpoint: t.Endpoint, Headers: t.Headers, Ratio: t.Ratio, Deny: h.clientMay, Clean: h.parts.Redact.At("trace").Text, Version: h.cfg.Version,
		Failed: func(err error) { h.cfg.Log.Warn("traces could not be sent", "endpoint", t.Endpoint, "error", err) },
	})
	if err != nil {
		return err
	}
	h.onClose(func() error {
		ctx, stop := context.WithTimeout(context.Background(), 3*time.Second)
		defer stop()
		if err := h.tracer.Close(ctx); err != nil { // a collector that is gone must not make a stop fail
			h.cfg.Log.Warn("the last traces were not sent", "code", abi.CodeOf(err).String(), "error", err)
		}
		return nil
	})
	return nil
}
