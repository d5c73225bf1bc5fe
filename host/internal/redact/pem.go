package redact

import "bytes"

// What is written in PEM has a beginning, lines, and an end. A private key is found by its ends and not by one pattern, so that text full
// of beginnings costs no more than any other; of a key that is cut off, what follows its beginning is taken as far as it
// looks like one.
var pemStop = []byte("-----END ")

const (
	maxPEM     = 64 << 10 // bytes from beginning to end
	maxPEMLine = 128      // bytes of the two lines that say so
	minPEMBody = 16
)

func (s *scan) pem(spans []span, r *rule, rank, at int) []span {
	head := r.head.Find(s.text[at:min(at+maxPEMLine, len(s.text))])
	if head == nil {
		return spans
	}
	body := at + len(head)
	to := s.pemEnd(r, body)
	if to < 0 {
		to = body
		for to < len(s.text) && to-at < maxPEM && keyByte(s.text[to]) {
			to++
		}
	}
	if to-body < minPEMBody {
		return spans
	}
	s.done[rank] = to
	return append(spans, span{at, to, rank, r.id, r.hint, r.mask})
}

// pemEnd is where the key ends whose lines begin at body, or -1. The place of the next end is kept: it is the same for all
// beginnings before it.
func (s *scan) pemEnd(r *rule, body int) int {
	if s.end < body {
		i := bytes.Index(s.text[body:], pemStop)
		if s.end = body + i; i < 0 {
			s.end = len(s.text)
		}
	}
	if s.end >= len(s.text) || s.end-body > maxPEM {
		return -1
	}
	tail := r.tail.Find(s.text[s.end:min(s.end+maxPEMLine, len(s.text))])
	if tail == nil {
		return -1
	}
	return s.end + len(tail)
}

// keyByte reports whether a byte may stand in the lines of a key, also where a line's end is written as "\n".
func keyByte(c byte) bool {
	return c >= 'A' && c <= 'Z' || c >= 'a' && c <= 'z' || c >= '0' && c <= '9' || c == '+' || c == '/' || c == '=' || c == '\n' || c == '\r' || c == '\\'
}
