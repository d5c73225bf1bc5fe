package guest

import (
	"context"
	"encoding/binary"
	"encoding/json"
	"log/slog"
	"strings"
	"time"

	"github.com/arw-project/arw/abi"
)

// Now is the host's wall clock. Needs [capabilities.clock].
func (c *Call) Now() (time.Time, error) {
	var b [8]byte
	if err := c.sys.now(b[:]); err != nil {
		return time.Time{}, err
	}
	return time.Unix(0, int64(binary.LittleEndian.Uint64(b[:]))).UTC(), nil
}

// Elapsed is a clock that never steps back; only differences mean something. Needs [capabilities.clock].
func (c *Call) Elapsed() (time.Duration, error) {
	var b [8]byte
	if err := c.sys.monotonic(b[:]); err != nil {
		return 0, err
	}
	return time.Duration(binary.LittleEndian.Uint64(b[:])), nil
}

// Random fills buf from the host's cryptographic source. Needs [capabilities.rand].
func (c *Call) Random(buf []byte) error { return c.sys.random(buf) }

// Levels of Log.
const (
	Debug = iota
	Info
	Warn
	Error
)

// Log writes one line to the host's log. Needs [capabilities.log]; without it the line is dropped.
func (c *Call) Log(level int, msg string) { _ = c.sys.log(level, msg) }

// Logger gives a structured logger over Log.
func (c *Call) Logger() *slog.Logger { return slog.New(&logHandler{c: c}) }

// logHandler writes records as one line of key=value.
type logHandler struct {
	c     *Call
	attrs string
	group string
}

// Enabled implements slog.Handler: the host decides what it keeps.
func (*logHandler) Enabled(context.Context, slog.Level) bool { return true }

// Handle implements slog.Handler.
func (h *logHandler) Handle(_ context.Context, r slog.Record) error {
	var line strings.Builder
	line.WriteString(r.Message)
	line.WriteString(h.attrs)
	r.Attrs(func(a slog.Attr) bool {
		line.WriteString(" " + h.group + a.Key + "=" + a.Value.String())
		return true
	})
	level := Info
	switch {
	case r.Level < slog.LevelInfo:
		level = Debug
	case r.Level >= slog.LevelError:
		level = Error
	case r.Level >= slog.LevelWarn:
		level = Warn
	}
	h.c.Log(level, line.String())
	return nil
}

// WithAttrs implements slog.Handler.
func (h *logHandler) WithAttrs(attrs []slog.Attr) slog.Handler {
	next := *h
	for _, a := range attrs {
		next.attrs += " " + h.group + a.Key + "=" + a.Value.String()
	}
	return &next
}

// WithGroup implements slog.Handler.
func (h *logHandler) WithGroup(name string) slog.Handler {
	next := *h
	next.group += name + "."
	return &next
}

// Action calls tools of other packs, as actions of their own. Needs [capabilities.action] and a lease for the tool.
type Action struct{ sys system }

// Action gives the caller.
func (c *Call) Action() Action { return Action{c.sys} }

// CallRaw calls a tool with bytes and gives its answer's bytes; a tool that failed is its error, with its code.
func (a Action) CallRaw(tool string, in []byte) ([]byte, error) {
	frame, err := a.sys.call(tool, in)
	if err != nil {
		return nil, err
	}
	_, body, err := abi.ParseFrame(frame)
	return body, err
}

// Call calls a tool with a value as JSON and reads its answer into another.
func (a Action) Call(tool string, in, out any) error {
	raw, err := json.Marshal(in)
	if err != nil {
		return abi.Errorf(abi.Invalid, "call %q: %w", tool, err)
	}
	if raw, err = a.CallRaw(tool, raw); err != nil || out == nil {
		return err
	}
	return decode(raw, out)
}
