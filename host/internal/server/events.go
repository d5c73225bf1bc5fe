package server

import (
	"bufio"
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"strconv"
	"strings"
	"sync/atomic"
	"time"

	"github.com/gofiber/fiber/v2"

	"github.com/arw-project/arw/abi"
	"github.com/arw-project/arw/host/api"
	"github.com/arw-project/arw/host/internal/journal"
	"github.com/arw-project/arw/host/internal/project"
)

// getEvents streams the journal as server-sent events (WHATWG HTML, section 9.2): every record has its id, in order,
// first what was asked to be replayed and then what happens. A client that reconnects with Last-Event-ID misses nothing.
func (s *Server) getEvents(c *fiber.Ctx) error {
	from, err := s.startOf(c)
	if err != nil {
		return err
	}
	in, err := s.about(c)
	if err != nil {
		return err
	}
	if s.streams.Add(1) > int64(s.opts.MaxStream) {
		s.streams.Add(-1)
		return abi.Errorf(abi.Busy, "follow events: %d streams are open, the most this host serves", s.opts.MaxStream)
	}
	lag, err := queryInt(c, "max_lag", 0, 0, 1<<31)
	if err != nil {
		s.streams.Add(-1)
		return err
	}
	f := journal.Filter{Prefixes: prefixes(c), Corr: c.Query("corr_id"), Pack: c.Query("pack"), Action: c.Query("action")}
	if in != nil {
		f.Project = project.Name(*in)
	}
	hello := connected{Corr: corr(c), After: from, Last: s.svc.Journal.Last(), Prefixes: f.Prefixes}
	c.Set(fiber.HeaderContentType, "text/event-stream")
	c.Set("X-Accel-Buffering", "no")
	c.Context().SetBodyStreamWriter(func(w *bufio.Writer) {
		defer s.streams.Add(-1)
		s.stream(w, from, f, int64(lag), hello)
	})
	return nil
}

// connected is the body of the first frame. It carries no id: a client that reconnects must not start again at zero.
type connected struct {
	Corr     string   `json:"corr_id"`
	After    int64    `json:"after"` // records behind this id follow
	Last     int64    `json:"last"`  // the newest record when the stream was opened
	Prefixes []string `json:"prefixes,omitempty"`
}

// startOf finds the id behind which the stream begins: after=ID, else Last-Event-ID, else replay=N, else now.
func (s *Server) startOf(c *fiber.Ctx) (int64, error) {
	last := s.svc.Journal.Last()
	for _, given := range []struct{ what, value string }{
		{"after", c.Query("after")}, {"Last-Event-ID", c.Get("Last-Event-ID")},
	} {
		if given.value == "" {
			continue
		}
		id, err := strconv.ParseInt(given.value, 10, 64)
		if err != nil || id < 0 {
			return 0, abi.Errorf(abi.Invalid, "follow events: %s %q is not the id of a record", given.what, given.value)
		}
		return min(id, last), nil
	}
	n, err := queryInt(c, "replay", 0, 0, 1<<31)
	if err != nil {
		return 0, err
	}
	return max(0, last-int64(n)), nil
}

// prefixes reads prefix=a.,b. and prefix=a.&prefix=b. alike.
func prefixes(c *fiber.Ctx) []string {
	var out []string
	for _, raw := range c.Context().QueryArgs().PeekMulti("prefix") {
		for p := range strings.SplitSeq(string(raw), ",") {
			if p = strings.TrimSpace(p); p != "" {
				out = append(out, p)
			}
		}
	}
	return out
}

// stream writes frames until the client goes, the journal ends or the host stops. A silent stream learns that its client
// went from the heartbeat that cannot be written.
func (s *Server) stream(w *bufio.Writer, from int64, f journal.Filter, lag int64, hello connected) {
	if frame(w, 0, "service.connected", hello) != nil || w.Flush() != nil {
		return
	}
	cur, err := s.svc.Journal.From(from, f, journal.MaxLag(lag))
	if err != nil {
		s.farewell(w, err)
		return
	}
	defer cur.Close()
	beat := time.Now().Add(s.opts.Heartbeat)
	for more := true; more; {
		more = s.untilBeat(w, cur, &beat)
	}
}

// untilBeat streams under one context that ends at the beat, and reports whether to go on: at thousands of streams a context
// for each page is a tenth of the work.
func (s *Server) untilBeat(w *bufio.Writer, cur *journal.Cursor, beat *time.Time) bool {
	ctx, cancel := context.WithDeadline(s.ctx, *beat)
	defer cancel()
	for {
		page, err := cur.Next(ctx)
		switch {
		case s.ctx.Err() != nil:
			return false
		case err == nil:
			err = s.burst(w, page)
		case errors.Is(err, context.DeadlineExceeded):
			err = nil
		default:
			s.farewell(w, err)
			return false
		}
		late := ctx.Err() != nil
		// Silence is what the client sees: a page of which the filter left nothing is silence too.
		silent := len(page) == 0 && !time.Now().Before(*beat)
		if silent {
			_, err = w.WriteString(": keep-alive\n\n")
		}
		if silent || len(page) > 0 {
			*beat = time.Now().Add(s.opts.Heartbeat)
			err = errors.Join(err, w.Flush())
		}
		if err != nil {
			return false
		}
		for _, r := range page { // by now somebody sees it
			s.svc.Snappy.Feedback(r.Corr)
		}
		if late {
			return true
		}
	}
}

// burst writes a page of records, or what stands in the place of some.
func (s *Server) burst(w *bufio.Writer, page []*journal.Record) error {
	for _, r := range page {
		if r.Kind == journal.GapKind {
			s.metrics.gaps.Inc()
			if err := frame(w, 0, r.Kind, r.Body); err != nil {
				return err
			}
			continue
		}
		text, err := s.frames.of(r)
		if err == nil {
			_, err = w.Write(s.svc.Redact.At("answer").Exact(text)) // what became secret since it happened
		}
		if err != nil {
			return err
		}
	}
	s.metrics.sent.Add(float64(len(page)))
	return nil
}

// farewell tells the client why the stream ends, when it is not the host's own end.
func (s *Server) farewell(w *bufio.Writer, err error) {
	s.log.Error("event stream broke", "error", err)
	_ = frame(w, 0, "service.error", api.ProblemOf(err, ""))
	_ = w.Flush()
}

// frames keeps the newest records as they stand on the wire, so that a thousand clients cost one encoding. It holds at most
// frameSlots texts of frameBytes.
type frames struct {
	slots [frameSlots]atomic.Pointer[encoded]
}

const (
	frameSlots = 1024
	frameBytes = 8 << 10
)

type encoded struct {
	id   int64
	salt string // changes with the body, when a part of it is taken out
	text []byte
}

// of gives the frame of a record; it is shared and must not be changed.
func (f *frames) of(r *journal.Record) ([]byte, error) {
	slot := &f.slots[r.ID%frameSlots]
	if e := slot.Load(); e != nil && e.id == r.ID && e.salt == r.Salt {
		return e.text, nil
	}
	var buf bytes.Buffer
	w := bufio.NewWriter(&buf)
	if err := frame(w, r.ID, r.Kind, wireEvent(r)); err != nil {
		return nil, err
	}
	_ = w.Flush() // into memory
	if buf.Len() <= frameBytes {
		if e := slot.Load(); e == nil || e.id <= r.ID { // what is replayed must not push out what is new
			slot.Store(&encoded{r.ID, r.Salt, buf.Bytes()})
		}
	}
	return buf.Bytes(), nil
}

func frame(w *bufio.Writer, id int64, kind string, body any) error {
	data, err := json.Marshal(body)
	if err != nil {
		return err
	}
	if id > 0 {
		_, _ = w.WriteString("id: " + strconv.FormatInt(id, 10) + "\n")
	}
	_, _ = w.WriteString("event: " + kind + "\ndata: ")
	_, _ = w.Write(data)
	_, err = w.WriteString("\n\n")
	return err
}

func wireEvent(r *journal.Record) api.Event {
	return api.Event{
		ID: r.ID, Time: r.Time, Kind: r.Kind, Corr: r.Corr, Actor: r.Actor, Project: r.Project,
		Pack: r.Pack, Action: r.Action, Body: r.Body, Hash: r.Hash,
	}
}
