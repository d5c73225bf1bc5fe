package openai

import (
	"bufio"
	"bytes"
	"io"

	"github.com/arw-project/arw/abi"
)

// Bounds of an event stream. A token with its wrapping is some hundred bytes; a server that sends a megabyte in one line
// is broken or hostile.
const (
	maxEvent  = 1 << 20  // bytes of one event's data
	maxStream = 64 << 20 // bytes of a whole stream
)

// events reads the "data" of server-sent events as https://html.spec.whatwg.org/multipage/server-sent-events.html has it:
// lines end with LF, CR or CRLF, an empty line ends an event, lines of data are joined by LF, and other fields and
// comments mean nothing here. What is unfinished when the stream ends is dropped, as there.
type events struct {
	r      *bufio.Reader
	data   []byte // of the event that is being read
	line   []byte
	total  int64
	begun  bool
	skipLF bool // the last line ended with CR: an LF that follows belongs to it
}

func newEvents(r io.Reader) *events { return &events{r: bufio.NewReaderSize(r, 16<<10)} }

// next gives the data of the next event that has any; it stays valid until the next call. io.EOF is the stream's end. A
// line or event above the bounds is an error with code Unavailable.
func (e *events) next() ([]byte, error) {
	e.data = e.data[:0]
	has := false
	for {
		line, err := e.readLine()
		if err != nil {
			return nil, err
		}
		if len(line) == 0 {
			if has {
				return e.data, nil
			}
			continue
		}
		value, ok := field(line, "data")
		if !ok {
			continue
		}
		if has {
			e.data = append(e.data, '\n')
		}
		if e.data, has = append(e.data, value...), true; len(e.data) > maxEvent {
			return nil, flood("an event", maxEvent)
		}
	}
}

// field is the value of a line "name: value" or "name:value".
func field(line []byte, name string) ([]byte, bool) {
	rest, ok := bytes.CutPrefix(line, []byte(name))
	switch {
	case !ok:
		return nil, false
	case len(rest) == 0:
		return nil, true
	case rest[0] != ':':
		return nil, false
	}
	return bytes.TrimPrefix(rest[1:], []byte(" ")), true
}

// readLine gives a line without its end, valid until the next call. A last line without an end is none. A CR ends its line
// at once: whether an LF belongs to it is seen when there is more, so that no event waits for the one behind it.
func (e *events) readLine() ([]byte, error) {
	e.line = e.line[:0]
	for {
		if _, err := e.r.Peek(1); err != nil {
			return nil, err
		}
		buf, _ := e.r.Peek(e.r.Buffered())
		if e.skipLF {
			if e.skipLF = false; buf[0] == '\n' {
				_, _ = e.r.Discard(1) // what was peeked at can be discarded
				continue
			}
		}
		n, whole := len(buf), false
		if i := bytes.IndexAny(buf, "\r\n"); i >= 0 {
			n, whole, e.skipLF = i, true, buf[i] == '\r'
		}
		e.line = append(e.line, buf[:n]...)
		if whole {
			n++
		}
		_, _ = e.r.Discard(n)
		e.total += int64(n)
		switch {
		case len(e.line) > maxEvent:
			return nil, flood("a line", maxEvent)
		case e.total > maxStream:
			return nil, flood("a stream", maxStream)
		case whole && !e.begun:
			e.begun = true
			return bytes.TrimPrefix(e.line, []byte("\xef\xbb\xbf")), nil
		case whole:
			return e.line, nil
		}
	}
}

func flood(what string, bound int) error {
	return abi.Errorf(abi.Unavailable, "read the runtime's answer: %s of more than %d bytes", what, bound)
}
