package jet

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"

	"github.com/arw-project/arw/abi"
	"github.com/arw-project/arw/host/internal/queue"
)

// headerName carries what a message says beside its payload.
const headerName = "Arw-Job"

// header is a job without its payload, and what is known of it when it is published. Times are milliseconds since 1970, 0 for
// none. Attempts and token count on from Attempt and Token by the server's deliveries.
type header struct {
	ID        string         `json:"id"`
	Lane      string         `json:"lane"`
	Priority  queue.Priority `json:"priority"`
	Attempts  int            `json:"attempts"`
	NotBefore int64          `json:"not_before,omitempty"`
	Deadline  int64          `json:"deadline,omitempty"`
	Created   int64          `json:"created"`
	Moved     int64          `json:"moved,omitempty"` // of a dead letter
	Attempt   int            `json:"attempt,omitempty"`
	Token     uint64         `json:"token,omitempty"`
	Order     uint64         `json:"order,omitempty"` // of a dead letter: the sequence it had in line
	Life      int            `json:"life,omitempty"`  // grows each time it is requeued: of two messages of an id the later life counts
	Why       string         `json:"why,omitempty"`
}

func headOf(j queue.Job) header {
	return header{
		ID: j.ID, Lane: j.Lane, Priority: j.Priority, Attempts: j.Attempts, NotBefore: ms(j.NotBefore), Deadline: ms(j.Deadline), Created: time.Now().UnixMilli(),
	}
}

func (h header) job(payload []byte) queue.Job {
	return queue.Job{ID: h.ID, Lane: h.Lane, Priority: h.Priority, Attempts: h.Attempts, NotBefore: at(h.NotBefore), Deadline: at(h.Deadline), Payload: payload}
}

func parse(h nats.Header) (header, error) {
	var out header
	err := json.Unmarshal([]byte(h.Get(headerName)), &out)
	return out, err
}

// stream is the name of the work stream.
func (q *Queue) stream() string { return "ARW_" + strings.ToUpper(q.o.Name) }

func (q *Queue) subject(rest string) string { return "arw." + q.o.Name + "." + rest }

// inLine is where a job's message lies while it waits in line.
func (q *Queue) inLine(j queue.Job) string {
	return q.subject("q." + j.Priority.String() + "." + token(j.Lane) + "." + token(j.ID))
}

// token makes any name one token of a subject and of a consumer's name: what is no letter, digit or dash becomes _ and two
// hex digits.
func token(name string) string {
	var b strings.Builder
	for i := range len(name) {
		switch c := name[i]; {
		case c >= 'a' && c <= 'z', c >= 'A' && c <= 'Z', c >= '0' && c <= '9', c == '-':
			b.WriteByte(c)
		default:
			fmt.Fprintf(&b, "_%02x", c)
		}
	}
	return b.String()
}

// publish stores a message and returns its sequence. Conflict when the subject has one.
func (q *Queue) publish(ctx context.Context, subject string, h header, payload []byte) (uint64, error) {
	text, err := json.Marshal(h)
	if err != nil {
		return 0, err
	}
	ack, err := q.js.PublishMsg(ctx, &nats.Msg{Subject: subject, Data: payload, Header: nats.Header{headerName: {string(text)}}})
	if err != nil {
		return 0, q.refusal(h.ID, err)
	}
	return ack.Sequence, nil
}

func (q *Queue) refusal(id string, err error) error {
	var api jetstream.JetStreamError
	if errors.As(err, &api) && api.APIError() != nil && strings.Contains(api.APIError().Description, "per subject exceeded") {
		return abi.Errorf(abi.Conflict, "put job %q: it is in the queue already", id)
	}
	return q.explain("write to", err)
}

// erase removes a message; one that is gone is no error.
func erase(ctx context.Context, s jetstream.Stream, seq uint64) error {
	err := s.DeleteMsg(ctx, seq)
	if errors.Is(err, jetstream.ErrMsgNotFound) || errors.Is(err, jetstream.ErrMsgDeleteUnsuccessful) {
		return nil
	}
	return err
}

// each walks the messages of a stream under a subject, in their order.
func each(ctx context.Context, s jetstream.Stream, subject string, see func(*jetstream.RawStreamMsg) error) error {
	for seq := uint64(1); ; seq++ {
		m, err := s.GetMsg(ctx, seq, jetstream.WithGetMsgSubject(subject))
		if errors.Is(err, jetstream.ErrMsgNotFound) {
			return nil
		}
		if err != nil {
			return err
		}
		if err := see(m); err != nil {
			return err
		}
		seq = m.Sequence
	}
}

func ms(t time.Time) int64 {
	if t.IsZero() {
		return 0
	}
	return t.UnixMilli()
}

func at(ms int64) time.Time {
	if ms == 0 {
		return time.Time{}
	}
	return time.UnixMilli(ms).UTC()
}

// mono is a time of the wall clock on the clock that does not jump.
func mono(t time.Time) time.Time {
	if t.IsZero() {
		return t
	}
	return time.Now().Add(time.Until(t))
}
