package server

import (
	"bufio"
	"bytes"
	"context"
	"encoding/binary"
	"encoding/json"
	"errors"
	"io"
	"strconv"
	"strings"
	"time"

	"github.com/gofiber/fiber/v2"

	"github.com/arw-project/arw/abi"
	"github.com/arw-project/arw/host/api"
	"github.com/arw-project/arw/host/internal/pack"
	"github.com/arw-project/arw/host/internal/stream"
)

// putStream takes one piece of a call's input: ?offset=N&last=true. It answers when there is room, so that whoever sends
// goes as fast as the guest reads.
func (s *Server) putStream(c *fiber.Ctx) error {
	id := c.Params("id")
	offset, err := strconv.ParseInt(c.Query("offset", "0"), 10, 64)
	if err != nil || offset < 0 {
		return abi.Errorf(abi.Invalid, "stream into action %q: offset=%q is not a whole number from 0", id, c.Query("offset"))
	}
	last, err := strconv.ParseBool(c.Query("last", "false"))
	if err != nil {
		return abi.Errorf(abi.Invalid, "stream into action %q: last=%q is not true or false", id, c.Query("last"))
	}
	if _, err := s.mine(c); err != nil {
		return err
	}
	pair, err := s.svc.Actions.Streams(s.ctx, id)
	if err != nil {
		return err
	}
	if pair.In == nil {
		return abi.Errorf(abi.Conflict, "stream into action %q: it was submitted without an input stream", id)
	}
	ctx, cancel := context.WithTimeout(s.ctx, maxWait)
	defer cancel()
	next, err := pair.In.Give(ctx, offset, bytes.Clone(c.Request().Body()), last) // the server reuses its buffer
	if abi.CodeOf(err) == abi.Deadline {
		err = abi.Errorf(abi.Busy, "stream into action %q: the guest has not read what it was given", id).WithHint("send the same bytes again")
	}
	if e, ok := errors.AsType[*abi.Error](err); ok {
		return e.WithDetail(api.StreamIn{Next: next})
	}
	if err != nil {
		return err
	}
	return c.JSON(api.StreamIn{Next: next})
}

// getStream gives a call's output while it runs: as server-sent events, as frames (api.MediaParts), or as bytes alone. One
// taker per call; when it goes away the call is cancelled.
func (s *Server) getStream(c *fiber.Ctx) error {
	id := c.Params("id")
	if _, err := s.mine(c); err != nil {
		return err
	}
	pair, err := s.svc.Actions.Streams(s.ctx, id)
	if err != nil {
		return err
	}
	switch {
	case pair.Out == nil:
		return abi.Errorf(abi.Conflict, "stream out of action %q: it was submitted without an output stream", id)
	case c.Get("Last-Event-ID") != "":
		return abi.Errorf(abi.Unsupported, "stream out of action %q: a stream cannot be resumed; what was taken is gone", id).WithHint("call the tool again")
	}
	if s.streams.Add(1) > int64(s.opts.MaxStream) {
		s.streams.Add(-1)
		return abi.Errorf(abi.Busy, "stream out of action %q: %d streams are open, the most this host serves", id, s.opts.MaxStream)
	}
	if err := pair.Out.Take(); err != nil {
		s.streams.Add(-1)
		return err
	}
	write := rawPart
	media := fiber.MIMEOctetStream
	switch accept := c.Get(fiber.HeaderAccept); {
	case strings.Contains(accept, api.MediaParts):
		write, media = framePart, api.MediaParts
	case strings.Contains(accept, "text/event-stream"):
		write, media = eventPart(), "text/event-stream"
	}
	c.Set(fiber.HeaderContentType, media)
	c.Set("X-Accel-Buffering", "no")
	actor := s.actor(c)
	c.Context().SetBodyStreamWriter(func(w *bufio.Writer) {
		defer s.streams.Add(-1)
		if s.passOn(w, id, pair.Out, write) != nil {
			// First the reason, then the end of the stream: a guest whose write failed first would end as failed, not as cancelled.
			// The action may have ended by itself in the meantime; then there is nothing to cancel.
			_, _ = s.svc.Actions.Cancel(s.ctx, id, actor, "the caller that took its stream went away")
			pair.Out.Leave()
		}
	})
	return nil
}

// partWriter writes one part, api.PartPulse, or api.PartEnd with the action.
type partWriter func(w *bufio.Writer, kind byte, body []byte) error

// passOn writes parts until there are no more, and the action as it ended.
func (s *Server) passOn(w *bufio.Writer, id string, out *stream.Output, write partWriter) error {
	if err := errors.Join(write(w, api.PartPulse, nil), w.Flush()); err != nil {
		return err
	}
	var parts *pace
	if act, err := s.svc.Actions.Get(s.ctx, id); err == nil {
		parts = &pace{g: s.svc.Snappy, route: "GET /actions/:id/stream", began: act.Created}
	}
	for {
		ctx, cancel := context.WithTimeout(s.ctx, s.opts.Heartbeat)
		p, err := out.Next(ctx)
		cancel()
		switch {
		case err == nil:
			err = write(w, byte(p.Kind), p.Body)
			parts.part()
		case errors.Is(err, io.EOF):
			return s.lastPart(w, id, write)
		case s.ctx.Err() != nil:
			return err
		default: // silence
			err = write(w, api.PartPulse, nil)
		}
		if err := errors.Join(err, w.Flush()); err != nil {
			return err
		}
	}
}

// lastPart waits for the action's end. A guest may end its stream long before; the pulse goes on.
func (s *Server) lastPart(w *bufio.Writer, id string, write partWriter) error {
	for {
		ctx, cancel := context.WithTimeout(s.ctx, s.opts.Heartbeat)
		act, err := s.svc.Actions.Wait(ctx, id)
		cancel()
		switch {
		case err == nil && act.State.Final():
			doc, err := json.Marshal(wireAction(&act))
			return errors.Join(err, write(w, api.PartEnd, doc), w.Flush())
		case s.ctx.Err() != nil:
			return s.ctx.Err()
		case err != nil && abi.CodeOf(err) != abi.Deadline:
			return err
		}
		if err := errors.Join(write(w, api.PartPulse, nil), w.Flush()); err != nil {
			return err
		}
	}
}

// rawPart gives the bytes alone.
func rawPart(w *bufio.Writer, kind byte, body []byte) error {
	if kind != byte(abi.FrameBytes) {
		return nil
	}
	_, err := w.Write(body)
	return err
}

func framePart(w *bufio.Writer, kind byte, body []byte) error {
	head := binary.LittleEndian.AppendUint32([]byte{kind}, uint32(len(body)))
	_, err := w.Write(head)
	if err == nil {
		_, err = w.Write(body)
	}
	return err
}

// eventPart numbers its events from 1.
func eventPart() partWriter {
	n := int64(0)
	return func(w *bufio.Writer, kind byte, body []byte) error {
		switch kind {
		case api.PartPulse:
			_, err := w.WriteString(": keep-alive\n\n")
			return err
		case api.PartEnd:
			return frame(w, 0, "end", json.RawMessage(body))
		}
		n++
		if kind == byte(abi.FrameJSON) {
			return frame(w, n, "json", json.RawMessage(body))
		}
		return frame(w, n, "bytes", body)
	}
}

// getRecord gives the record of a call as it is stored.
func (s *Server) getRecord(c *fiber.Ctx) error {
	digest, err := s.record(c)
	if err != nil {
		return err
	}
	raw, err := s.svc.Packs.CAS.Get(digest)
	if err != nil {
		return err
	}
	c.Set(fiber.HeaderContentType, fiber.MIMEOctetStream)
	return c.Send(raw)
}

// record finds the digest of an action's record.
func (s *Server) record(c *fiber.Ctx) (string, error) {
	id := c.Params("id")
	act, err := s.svc.Actions.Get(s.ctx, id)
	switch {
	case err != nil:
		return "", err
	case act.Record == nil:
		return "", abi.Errorf(abi.NotFound, "find the record of action %q: it was not recorded", id).WithHint("call the tool again with --record")
	case !act.State.Final():
		return "", abi.Errorf(abi.Conflict, "find the record of action %q: it is %s", id, act.State).WithHint("wait for its end")
	case act.Record.Error != "":
		code, _ := abi.CodeByName(act.Record.Code)
		return "", abi.Errorf(code, "find the record of action %q: there is none: %s", id, act.Record.Error)
	case act.Record.Digest == "":
		return "", abi.Errorf(abi.NotFound, "find the record of action %q: it never reached its guest", id)
	}
	return act.Record.Digest, nil
}

// maxReplay bounds one replay.
const maxReplay = 10 * time.Minute

// postReplay replays a recorded call; an empty body is the plain replay.
func (s *Server) postReplay(c *fiber.Ctx) error {
	var body api.ReplayAction
	if len(c.Body()) > 0 {
		if err := decode(c, &body); err != nil {
			return err
		}
	}
	digest, err := s.record(c)
	if err != nil {
		return err
	}
	ctx, cancel := context.WithTimeout(s.ctx, maxReplay)
	defer cancel()
	got, err := s.svc.Packs.Replay(ctx, pack.Replay{Record: digest, With: body.With, By: s.actor(c), Corr: corr(c)})
	if err != nil {
		return err
	}
	return c.JSON(got)
}
