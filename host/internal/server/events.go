package server

import (
	"bufio"
	"context"
	"encoding/json"
	"strconv"
	"strings"
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
	f := journal.Filter{Prefixes: prefixes(c), Corr: c.Query("corr_id"), Pack: c.Query("pack"), Action: c.Query("action")}
	if in != nil {
		f.Project = project.Name(*in)
	}
	hello := connected{Corr: corr(c), After: from, Last: s.svc.Journal.Last(), Prefixes: f.Prefixes}
	c.Set(fiber.HeaderContentType, "text/event-stream")
	c.Set("X-Accel-Buffering", "no")
	c.Context().SetBodyStreamWriter(func(w *bufio.Writer) {
		defer s.streams.Add(-1)
		s.stream(w, from, f, hello)
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
func (s *Server) stream(w *bufio.Writer, from int64, f journal.Filter, hello connected) {
	ctx, cancel := context.WithCancel(s.ctx)
	defer cancel()
	records := make(chan journal.Record, 64)
	ended := make(chan error, 1)
	go func() {
		defer close(records)
		for r, err := range s.svc.Journal.Follow(ctx, from, f) {
			if err != nil {
				ended <- err
				return
			}
			select {
			case records <- r:
			case <-ctx.Done():
				return
			}
		}
	}()
	if frame(w, 0, "service.connected", hello) != nil || w.Flush() != nil {
		return
	}
	beat := time.NewTicker(s.opts.Heartbeat)
	defer beat.Stop()
	for {
		select {
		case r, open := <-records:
			if !open {
				s.farewell(w, hello.Corr, ended)
				return
			}
			if s.burst(w, r, records) != nil {
				return
			}
		case <-beat.C:
			if _, err := w.WriteString(": keep-alive\n\n"); err != nil || w.Flush() != nil {
				return
			}
		}
	}
}

// burst writes one record and whatever else is ready, and flushes once.
func (s *Server) burst(w *bufio.Writer, r journal.Record, more <-chan journal.Record) error {
	for {
		if err := frame(w, r.ID, r.Kind, wireEvent(&r)); err != nil {
			return err
		}
		s.metrics.sent.Inc()
		select {
		case next, open := <-more:
			if !open {
				return w.Flush()
			}
			r = next
		default:
			return w.Flush()
		}
	}
}

// farewell tells the client why the stream ends, when it is not the host's own end.
func (s *Server) farewell(w *bufio.Writer, id string, ended <-chan error) {
	select {
	case err := <-ended:
		if s.ctx.Err() == nil {
			s.log.Error("event stream broke", "corr_id", id, "error", err)
			_ = frame(w, 0, "service.error", api.ProblemOf(err, ""))
			_ = w.Flush()
		}
	default:
	}
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
