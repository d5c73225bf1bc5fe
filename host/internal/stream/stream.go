// Package stream joins the two ends of a call's streams. Its promise: bytes arrive once, in order and whole; neither end
// gets ahead of the other by more than a bounded amount; and whoever waits learns when the other end has gone.
//
// Nothing here outlives its call by more than Linger, and nothing is kept on disk: what was taken is gone, so a stream
// cannot be read twice. All methods are safe for concurrent use.
package stream

import (
	"context"
	"io"
	"sync"
	"time"

	"github.com/arw-project/arw/abi"
)

// MaxChunk bounds one piece of input, and with it what an Input holds; window is what an Output holds before it makes its
// writer wait (one part more can be on its way).
const (
	MaxChunk = 8 << 20
	window   = 1 << 20
)

// Pair is the streams of one call; a nil end is not attached.
type Pair struct {
	In  *Input
	Out *Output
}

// New makes the ends that are named "input" and "output"; nil when none is.
func New(names []string) *Pair {
	var p *Pair
	for _, name := range names {
		if p == nil {
			p = &Pair{}
		}
		switch name {
		case "input":
			p.In = &Input{}
		case "output":
			p.Out = &Output{}
		}
	}
	return p
}

// End says that the call is over. What was given out can still be taken.
func (p *Pair) End() {
	if p.In != nil {
		_ = p.In.Close() // it cannot fail
	}
	if p.Out != nil {
		_ = p.Out.Close()
	}
}

// signal wakes everybody who waits for a change. Its user holds its own lock around both methods.
type signal struct{ ch chan struct{} }

func (s *signal) wait() <-chan struct{} {
	if s.ch == nil {
		s.ch = make(chan struct{})
	}
	return s.ch
}

func (s *signal) all() {
	if s.ch != nil {
		close(s.ch)
		s.ch = nil
	}
}

// Input carries bytes from a caller to a guest.
type Input struct {
	mu      sync.Mutex
	changed signal
	chunk   []byte // given and not read yet
	next    int64  // offset behind what was given
	ended   bool   // no more comes
	closed  bool   // no more is wanted
}

// Give hands in the bytes at an offset and waits until there is room for them; last says that none follow. It returns the
// offset that is expected next, also with an error: Conflict when another one is (nothing was taken, so that a piece that
// was sent twice arrives once), Cancelled when the call wants no more, TooLarge, the context's own. The bytes belong to the
// stream from here on.
func (in *Input) Give(ctx context.Context, offset int64, data []byte, last bool) (next int64, err error) {
	in.mu.Lock()
	defer in.mu.Unlock()
	if len(data) > MaxChunk {
		return in.next, abi.Errorf(abi.TooLarge, "stream in: a piece of %d bytes, at most %d are taken", len(data), MaxChunk)
	}
	for {
		switch {
		case in.closed:
			return in.next, abi.Errorf(abi.Cancelled, "stream in: the call takes no more").WithHint("see how the action ended")
		case offset != in.next:
			return in.next, abi.Errorf(abi.Conflict, "stream in: bytes at offset %d, expected %d", offset, in.next).WithHint("go on at offset %d", in.next)
		case in.ended && (len(data) > 0 || !last):
			return in.next, abi.Errorf(abi.Conflict, "stream in: the end was announced at offset %d", in.next)
		}
		if len(in.chunk) == 0 {
			in.chunk, in.next, in.ended = data, in.next+int64(len(data)), in.ended || last
			in.changed.all()
			return in.next, nil
		}
		if err := in.await(ctx); err != nil {
			return in.next, abi.Errorf(abi.CodeOf(err), "stream in: wait for the guest to read: %w", err)
		}
	}
}

// await waits for a change. The caller holds the lock, and holds it again afterwards.
func (in *Input) await(ctx context.Context) error {
	changed := in.changed.wait()
	in.mu.Unlock()
	defer in.mu.Lock()
	select {
	case <-changed:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}

// Offset is where the next bytes are expected.
func (in *Input) Offset() int64 {
	in.mu.Lock()
	defer in.mu.Unlock()
	return in.next
}

// Read implements the engine's Source.
func (in *Input) Read(ctx context.Context, buf []byte) (int, error) {
	in.mu.Lock()
	defer in.mu.Unlock()
	for {
		if n := copy(buf, in.chunk); n > 0 {
			if in.chunk = in.chunk[n:]; len(in.chunk) == 0 {
				in.chunk = nil
				in.changed.all()
			}
			return n, nil
		}
		if in.ended || in.closed {
			return 0, io.EOF
		}
		if err := in.await(ctx); err != nil {
			return 0, err
		}
	}
}

// Close says that no more is wanted; what was not read is dropped.
func (in *Input) Close() error {
	in.mu.Lock()
	defer in.mu.Unlock()
	in.closed, in.chunk = true, nil
	in.changed.all()
	return nil
}

// Part is one piece of output: bytes, or one JSON value.
type Part struct {
	Kind abi.FrameKind
	Body []byte
}

// Output carries parts from a guest to a caller.
type Output struct {
	mu      sync.Mutex
	changed signal
	parts   []Part
	size    int
	ended   bool // no more come
	taken   bool // somebody takes them
	gone    bool // that one left
}

// Write implements the engine's Sink; it waits while whoever takes the parts is slow, or is not there yet.
func (o *Output) Write(ctx context.Context, kind abi.FrameKind, body []byte) error {
	o.mu.Lock()
	defer o.mu.Unlock()
	for {
		if o.gone || o.ended {
			return abi.Errorf(abi.Cancelled, "the caller that took the stream went away")
		}
		if o.size < window {
			o.parts, o.size = append(o.parts, Part{kind, body}), o.size+len(body)
			o.changed.all()
			return nil
		}
		if err := o.await(ctx); err != nil {
			return err
		}
	}
}

func (o *Output) await(ctx context.Context) error {
	changed := o.changed.wait()
	o.mu.Unlock()
	defer o.mu.Lock()
	select {
	case <-changed:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}

// Take claims the parts for one taker; Conflict when there is or was another: what that one got is gone.
func (o *Output) Take() error {
	o.mu.Lock()
	defer o.mu.Unlock()
	if o.taken {
		return abi.Errorf(abi.Conflict, "take stream: somebody else takes or took it, and what was taken is gone").
			WithHint("call the tool again; one caller takes the stream of one call")
	}
	o.taken = true
	return nil
}

// Next waits for a part; io.EOF when there are no more.
func (o *Output) Next(ctx context.Context) (Part, error) {
	o.mu.Lock()
	defer o.mu.Unlock()
	for {
		if len(o.parts) > 0 {
			p := o.parts[0]
			o.parts[0] = Part{}
			o.parts, o.size = o.parts[1:], o.size-len(p.Body)
			o.changed.all()
			return p, nil
		}
		if o.ended {
			return Part{}, io.EOF
		}
		if err := o.await(ctx); err != nil {
			return Part{}, err
		}
	}
}

// Leave says that the taker went away; the next Write fails.
func (o *Output) Leave() {
	o.mu.Lock()
	defer o.mu.Unlock()
	o.gone, o.parts, o.size = true, nil, 0
	o.changed.all()
}

// Close says that no more parts come.
func (o *Output) Close() error {
	o.mu.Lock()
	defer o.mu.Unlock()
	o.ended = true
	o.changed.all()
	return nil
}

// drained reports whether nobody can still want what is here.
func (o *Output) drained() bool {
	o.mu.Lock()
	defer o.mu.Unlock()
	return o.gone || o.taken
}

// Linger is how long the output of a call that is over waits for its taker.
const Linger = time.Minute

// Hub finds the streams of calls by their action's id. The zero value is ready.
type Hub struct {
	mu    sync.Mutex
	pairs map[string]*Pair
}

// Add makes a call's streams known.
func (h *Hub) Add(id string, p *Pair) {
	h.mu.Lock()
	defer h.mu.Unlock()
	if h.pairs == nil {
		h.pairs = map[string]*Pair{}
	}
	h.pairs[id] = p
}

// Get finds them; nil when the call has none, or is over.
func (h *Hub) Get(id string) *Pair {
	h.mu.Lock()
	defer h.mu.Unlock()
	return h.pairs[id]
}

// End ends a call's streams. An output that nobody came for yet can be taken for Linger.
func (h *Hub) End(id string) {
	h.mu.Lock()
	p := h.pairs[id]
	if p != nil && (p.Out == nil || p.Out.drained()) {
		delete(h.pairs, id)
	}
	left := h.pairs[id] != nil
	h.mu.Unlock()
	if p == nil {
		return
	}
	p.End()
	if left {
		time.AfterFunc(Linger, func() {
			h.mu.Lock()
			defer h.mu.Unlock()
			delete(h.pairs, id)
		})
	}
}
