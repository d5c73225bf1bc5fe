package guest

import (
	"context"
	"log/slog"
	"strconv"
	"strings"
)

// Levels of Log.
const (
	Debug = iota
	Info
	Warn
	Error
)

// Log writes one line to the host's log. Needs [capabilities.log]; without it the line is dropped, because a log is no
// place to fail.
func (c *Call) Log(level int, msg string) { _ = c.check(hostLog(c, uint32(level), msg)) }

// Logger gives a structured logger over Log: one line of message key=value group.key="two words". It adds 450 KB to a
// module that does not use log/slog otherwise.
func (c *Call) Logger() *slog.Logger { return slog.New(&logHandler{c: c}) }

type logHandler struct {
	c     *Call
	attrs string // those given beforehand, as they are written
	group string // what stands before the names of attributes
}

// Enabled implements slog.Handler: the host decides what it keeps.
func (*logHandler) Enabled(context.Context, slog.Level) bool { return true }

// Handle implements slog.Handler.
func (h *logHandler) Handle(_ context.Context, r slog.Record) error {
	var line strings.Builder
	line.WriteString(r.Message)
	line.WriteString(h.attrs)
	r.Attrs(func(a slog.Attr) bool {
		writeAttr(&line, h.group, a)
		return true
	})
	h.c.Log(logLevel(r.Level), line.String())
	return nil
}

// WithAttrs implements slog.Handler.
func (h *logHandler) WithAttrs(attrs []slog.Attr) slog.Handler {
	var b strings.Builder
	b.WriteString(h.attrs)
	for _, a := range attrs {
		writeAttr(&b, h.group, a)
	}
	return &logHandler{h.c, b.String(), h.group}
}

// WithGroup implements slog.Handler.
func (h *logHandler) WithGroup(name string) slog.Handler {
	if name == "" {
		return h
	}
	return &logHandler{h.c, h.attrs, h.group + name + "."}
}

func logLevel(l slog.Level) int {
	switch {
	case l < slog.LevelInfo:
		return Debug
	case l < slog.LevelWarn:
		return Info
	case l < slog.LevelError:
		return Warn
	}
	return Error
}

func writeAttr(b *strings.Builder, group string, a slog.Attr) {
	v := a.Value.Resolve()
	switch {
	case a.Equal(slog.Attr{}):
		return
	case v.Kind() == slog.KindGroup:
		if a.Key != "" {
			group += a.Key + "."
		}
		for _, inner := range v.Group() {
			writeAttr(b, group, inner)
		}
		return
	}
	s := v.String()
	if quoted := strconv.Quote(s); s == "" || quoted != `"`+s+`"` || strings.ContainsAny(s, " =") {
		s = quoted
	}
	b.WriteString(" " + group + a.Key + "=" + s)
}
