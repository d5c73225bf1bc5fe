package client

import (
	"bufio"
	"bytes"
	"context"
	"encoding/binary"
	"encoding/json"
	"errors"
	"io"
	"net/http"
	"net/url"
	"strconv"

	"github.com/arw-project/arw/abi"
	"github.com/arw-project/arw/host/api"
)

// piece is how much one request gives: large enough that the request costs nothing beside it.
const piece = 1 << 20

// StreamIn gives a call's input, which was submitted with the stream "input": everything r has, then the end. It goes as
// fast as the guest reads. A guest that wants no more is no error. progress may be nil; it hears how many bytes were taken.
func (c *Client) StreamIn(ctx context.Context, id string, r io.Reader, progress func(int64)) error {
	buf := make([]byte, piece)
	next := int64(0)
	for last := false; !last; {
		n, err := io.ReadFull(r, buf)
		switch {
		case errors.Is(err, io.EOF), errors.Is(err, io.ErrUnexpectedEOF):
			last = true
		case err != nil:
			return abi.Errorf(abi.Invalid, "read what is to be streamed in: %w", err)
		}
		err = c.givePiece(ctx, id, next, buf[:n], last)
		if abi.CodeOf(err) == abi.Cancelled && ctx.Err() == nil {
			return nil // the guest has enough, or is over: its action says which
		}
		if err != nil {
			return err
		}
		if next += int64(n); progress != nil {
			progress(next)
		}
	}
	return nil
}

// givePiece sends one piece, again and again while the guest is busy.
func (c *Client) givePiece(ctx context.Context, id string, offset int64, data []byte, last bool) error {
	for {
		q := url.Values{"offset": {strconv.FormatInt(offset, 10)}, "last": {strconv.FormatBool(last)}}
		req, err := http.NewRequestWithContext(ctx, "PUT", c.base+"/actions/"+url.PathEscape(id)+"/stream?"+q.Encode(), bytes.NewReader(data))
		if err != nil {
			return abi.Errorf(abi.Invalid, "address the host at %q: %w", c.base, err)
		}
		req.Header.Set("Content-Type", "application/octet-stream")
		if c.token != "" {
			req.Header.Set("Authorization", "Bearer "+c.token)
		}
		resp, err := c.http.Do(req)
		if err != nil {
			if ctx.Err() != nil {
				return abi.Errorf(abi.CodeOf(ctx.Err()), "stream into action %q: %w", id, ctx.Err())
			}
			return unreachable(c.base, err)
		}
		if resp.StatusCode < 300 {
			_, _ = io.Copy(io.Discard, io.LimitReader(resp.Body, 1<<10))
			return resp.Body.Close()
		}
		err = problem(resp)
		_ = resp.Body.Close()
		if abi.CodeOf(err) != abi.Busy {
			return err
		}
	}
}

// Part is one piece of a call's output: bytes (abi.FrameBytes), or one JSON value (abi.FrameJSON).
type Part struct {
	Kind abi.FrameKind
	Body []byte
}

// StreamOut takes a call's output, which was submitted with the stream "output", and returns the action as it ended. Each
// part is valid until each returns; an error of each ends the stream and, with it, the call. A stream that is cut off is
// Unavailable.
func (c *Client) StreamOut(ctx context.Context, id string, each func(Part) error) (api.Action, error) {
	resp, err := c.send(ctx, call{method: "GET", path: "/actions/" + url.PathEscape(id) + "/stream", accept: api.MediaParts})
	if err != nil {
		return api.Action{}, err
	}
	defer resp.Body.Close()
	r := bufio.NewReaderSize(resp.Body, 64<<10)
	var body []byte
	for {
		var head [5]byte
		_, err := io.ReadFull(r, head[:])
		n := binary.LittleEndian.Uint32(head[1:])
		if err == nil && n > maxAnswer {
			return api.Action{}, abi.Errorf(abi.Invalid, "stream out of action %q: a part of %d bytes", id, n)
		}
		if err == nil {
			body = append(body[:0], make([]byte, n)...)
			_, err = io.ReadFull(r, body)
		}
		if err != nil {
			if ctx.Err() != nil {
				return api.Action{}, abi.Errorf(abi.CodeOf(ctx.Err()), "stream out of action %q: %w", id, ctx.Err())
			}
			return api.Action{}, abi.Errorf(abi.Unavailable, "stream out of action %q: it was cut off: %w", id, err).
				WithHint("see how the action ended: arw actions %s", id)
		}
		switch head[0] {
		case api.PartPulse:
		case api.PartEnd:
			var act api.Action
			if err := json.Unmarshal(body, &act); err != nil {
				return act, abi.Errorf(abi.Invalid, "stream out of action %q: its end: %w", id, err)
			}
			return act, nil
		default:
			if err := each(Part{abi.FrameKind(head[0]), body}); err != nil {
				return api.Action{}, err
			}
		}
	}
}

// Record reads the record of a call as it is stored.
func (c *Client) Record(ctx context.Context, id string) (json.RawMessage, error) {
	return c.raw(ctx, "/actions/"+url.PathEscape(id)+"/record")
}

// Replay runs a recorded call again, apart from everything; with names another version of its pack, or is empty.
func (c *Client) Replay(ctx context.Context, id, with string) (r api.Replay, err error) {
	err = c.do(ctx, call{method: "POST", path: "/actions/" + url.PathEscape(id) + "/replay", body: api.ReplayAction{With: with}}, &r)
	return r, err
}
