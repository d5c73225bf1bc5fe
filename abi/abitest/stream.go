package abitest

import (
	"context"
	"fmt"
	"io"
	"sync"

	"github.com/arw-project/arw/abi"
)

// In is what a case streams in. Its methods are those that an engine's interface for it wants.
type In struct {
	mu   sync.Mutex
	left []byte
}

// piece is how much comes at once: a prime, so that no buffer of a guest fits it.
const piece = 10_007

// Read gives what comes next.
func (s *In) Read(_ context.Context, buf []byte) (int, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if len(s.left) == 0 {
		return 0, io.EOF
	}
	n := copy(buf, s.left[:min(piece, len(s.left))])
	s.left = s.left[n:]
	return n, nil
}

// Close ends it.
func (s *In) Close() error { return nil }

// Out takes the parts of a call.
type Out struct {
	mu    sync.Mutex
	bytes []byte
	sent  []any
	fault error
}

// Write takes a part.
func (s *Out) Write(_ context.Context, kind abi.FrameKind, part []byte) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if kind == abi.FrameBytes {
		s.bytes = append(s.bytes, part...)
		return nil
	}
	v, err := decode(part)
	if err != nil {
		s.fault = fmt.Errorf("a part is no JSON: %w", err)
	}
	s.sent = append(s.sent, v)
	return nil
}

// Close ends it.
func (s *Out) Close() error { return nil }

func (s *Out) check(step *Step) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.fault != nil {
		return s.fault
	}
	if step.Streamed != nil {
		if err := sameBytes(Reply{Kind: abi.FrameBytes, Body: s.bytes}, Pattern(*step.Streamed)); err != nil {
			return fmt.Errorf("its parts: %w", err)
		}
	}
	if len(step.Sent) == 0 {
		return nil
	}
	want, err := expand(step.Sent)
	if err != nil {
		return err
	}
	return match("sent", any(append([]any{}, s.sent...)), want)
}
