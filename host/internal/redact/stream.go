package redact

// Stream blacks out the exact values in a text that comes in pieces and is given on in pieces: what may be the beginning of a
// value is held back until it is none. It is for one goroutine.
type Stream struct {
	p    Place
	held []byte
}

// Stream begins one.
func (p Place) Stream() *Stream { return &Stream{p: p} }

// Push takes the next piece and returns what can be given on by now, which may be nothing. The piece is not kept; what is
// returned is the caller's until the next call.
func (s *Stream) Push(piece []byte) []byte {
	r := s.p.r
	if r == nil || !r.hasValues() {
		if len(s.held) == 0 {
			return piece
		}
		return s.rest(piece)
	}
	v := r.values.Load()
	all := append(s.held, piece...)
	s.p.Count(findings(v.blacken(all)))
	ready := len(all) - v.begun(all)
	s.held = append([]byte(nil), all[ready:]...)
	return all[:ready]
}

// Whole is a piece that is a JSON value by itself, without the exact values in it.
func (s *Stream) Whole(doc []byte) []byte { return s.p.ExactJSON(doc) }

// Rest returns what was held back, at the end.
func (s *Stream) Rest() []byte { return s.rest(nil) }

func (s *Stream) rest(more []byte) []byte {
	out := append(s.held, more...)
	s.held = nil
	return out
}
