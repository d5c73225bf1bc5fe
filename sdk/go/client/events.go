package client

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"io"
	"iter"
	"net/url"
	"strconv"
	"strings"
	"time"

	"github.com/arw-project/arw/abi"
	"github.com/arw-project/arw/host/api"
)

// Follow asks for a part of the event stream.
type Follow struct {
	After    int64 // records behind this id; 0 with Replay 0 means from now on
	Replay   int   // this many of the newest records first
	Prefixes []string
	Corr     string
	Project  string // "default" for what names none; "" for all
	Action   string
}

// Events follows the journal. A broken connection is taken up again behind the last record seen, so every record comes
// once and in order; the sequence ends with ctx (without an error) or with a refusal of the host.
func (c *Client) Events(ctx context.Context, f Follow) iter.Seq2[api.Event, error] {
	return func(yield func(api.Event, error) bool) {
		after, started := f.After, f.After > 0
		const shortest = 100 * time.Millisecond
		for pause := shortest; ctx.Err() == nil; pause = min(2*pause, 5*time.Second) {
			before := after
			err := c.follow(ctx, f, &after, &started, yield)
			if after > before { // the connection was good for something: the host is there
				pause = shortest
			}
			switch {
			case errors.Is(err, errStop) || ctx.Err() != nil:
				return
			case err != nil && (!started || abi.CodeOf(err) != abi.Unavailable):
				yield(api.Event{}, err)
				return
			}
			select {
			case <-ctx.Done():
			case <-time.After(pause):
			}
		}
	}
}

// errStop says that the consumer wants no more.
var errStop = errors.New("stop")

// follow reads one connection to its end.
func (c *Client) follow(ctx context.Context, f Follow, after *int64, started *bool, yield func(api.Event, error) bool) error {
	q := url.Values{}
	switch {
	case *started:
		q.Set("after", strconv.FormatInt(*after, 10))
	case f.Replay > 0:
		q.Set("replay", strconv.Itoa(f.Replay))
	}
	if len(f.Prefixes) > 0 {
		q.Set("prefix", strings.Join(f.Prefixes, ","))
	}
	if f.Corr != "" {
		q.Set("corr_id", f.Corr)
	}
	if f.Project != "" {
		q.Set("project", f.Project)
	}
	if f.Action != "" {
		q.Set("action", f.Action)
	}
	resp, err := c.send(ctx, call{method: "GET", path: "/events?" + q.Encode(), accept: "text/event-stream"})
	if err != nil {
		return err
	}
	defer resp.Body.Close()
	r := bufio.NewReader(resp.Body)
	for {
		kind, data, err := nextFrame(r)
		if err != nil {
			return nil // the connection ended: take it up again
		}
		if kind == "service.connected" {
			var hello struct{ After int64 }
			if json.Unmarshal(data, &hello) == nil && !*started {
				*after, *started = hello.After, true
			}
			continue
		}
		if kind == "bus.gap" { // no record: it says which ones there are not
			var gap struct{ To int64 }
			if json.Unmarshal(data, &gap) == nil {
				*after = max(*after, gap.To)
			}
			if !yield(api.Event{Kind: kind, Body: data}, nil) {
				return errStop
			}
			continue
		}
		var ev api.Event
		if err := json.Unmarshal(data, &ev); err != nil {
			return abi.Errorf(abi.Invalid, "read event stream: %w", err)
		}
		if ev.ID > 0 {
			*after = ev.ID
		}
		if !yield(ev, nil) {
			return errStop
		}
	}
}

// nextFrame reads lines up to the empty one that ends a frame; comments are skipped.
func nextFrame(r *bufio.Reader) (kind string, data []byte, err error) {
	for {
		line, err := r.ReadString('\n')
		if err != nil {
			return "", nil, io.ErrUnexpectedEOF
		}
		line = strings.TrimRight(line, "\r\n")
		switch {
		case line == "" && data != nil:
			return kind, data, nil
		case strings.HasPrefix(line, "event: "):
			kind = line[len("event: "):]
		case strings.HasPrefix(line, "data: "):
			data = append(data, line[len("data: "):]...)
		}
	}
}
