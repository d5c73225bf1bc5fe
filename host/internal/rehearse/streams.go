package rehearse

import (
	"bytes"
	"context"
	"encoding/base64"
	"io"
	"slices"

	"github.com/arw-project/arw/abi"
)

// defaultPiece is how much a stream of a world gives at once where the file says nothing.
const defaultPiece = 64 << 10

// maxStreamIn bounds what a case streams in, in bytes.
const maxStreamIn = 1 << 40

// given is what a step's caller streams in: the same bytes several times, so that a small file stands for a large payload.
type given struct {
	data  []byte
	times int64
	piece int
}

// streamsOf reads what a step says of streams, and holds it against what the tool declares.
func (k *checker) streamsOf(s *step, i int) {
	at := func(key string) []any { return s.at(i, key) }
	file, inFile := k.text.file(s.prefix + "stream.in")
	_, bytesOut := k.text.file(s.prefix + "stream.out")
	_, partsOut := k.text.file(s.prefix + "frames")
	s.keeps, s.takes = bytesOut, bytesOut || partsOut || s.Take
	raw, err := base64.StdEncoding.DecodeString(s.StreamBase64)
	switch in := inFile || s.StreamBase64 != ""; {
	case err != nil:
		k.bad("", at("stream_base64"), "not base64: %v", err)
	case inFile && s.StreamBase64 != "":
		k.badFile(file, "keep one of the two", "there is a stream_base64 too")
	case inFile:
		raw = bytes.Clone(file.data)
	case !in && s.StreamTimes != 0:
		k.bad("add a file stream.in", at("stream_times"), "nothing is streamed in")
	case !in && s.StreamPiece != 0:
		k.bad("add a file stream.in", at("stream_piece"), "nothing is streamed in")
	}
	if inFile || s.StreamBase64 != "" {
		s.stream = k.given(raw, s, at)
	}
	t, known := k.man.Tool(s.Tool)
	if !known {
		return
	}
	if s.stream != nil && !slices.Contains(t.Streams, "input") {
		k.bad(`add "input" to streams of the tool in pack.toml`, at("tool"), "%q declares no input stream", s.Tool)
	}
	if s.takes && !slices.Contains(t.Streams, "output") {
		k.bad(`add "output" to streams of the tool in pack.toml`, at("tool"), "%q declares no output stream", s.Tool)
	}
}

func (k *checker) given(raw []byte, s *step, at func(string) []any) *given {
	g := &given{data: raw, times: 1, piece: defaultPiece}
	if s.StreamTimes != 0 {
		g.times = s.StreamTimes
	}
	if s.StreamPiece != 0 {
		g.piece = int(min(int64(s.StreamPiece), abi.MaxPart))
	}
	if g.times < 0 || len(raw) > 0 && g.times > maxStreamIn/int64(len(raw)) {
		k.bad("", at("stream_times"), "%d times %d bytes is nothing that can be streamed", g.times, len(raw))
	}
	if g.piece < 0 {
		k.bad("", at("stream_piece"), "it is negative")
	}
	return g
}

// source makes a stream for one call.
func (g *given) source(w *world) *source { return &source{world: w, given: *g} }

// source is the caller of a world who streams in. It never waits: a world has no time that passes by itself.
type source struct {
	*world
	given
	at int // in data
}

// Read implements wasm.Source.
func (s *source) Read(_ context.Context, buf []byte) (int, error) {
	if err := s.refuse("stream.read", "input"); err != nil {
		return 0, s.note("stream.read 0", err)
	}
	if s.times == 0 || len(s.data) == 0 {
		return 0, s.ends()
	}
	n := s.fill(buf[:min(len(buf), s.piece)])
	return n, s.note("stream.read 0 -> "+count(n, "byte", false), nil)
}

// fill copies what fits and counts the repetitions down.
func (s *source) fill(buf []byte) (n int) {
	for n < len(buf) && s.times > 0 {
		k := copy(buf[n:], s.data[s.at:])
		n += k
		if s.at += k; s.at == len(s.data) {
			s.times, s.at = s.times-1, 0
		}
	}
	return n
}

func (s *source) ends() error {
	_ = s.note("stream.read 0 -> the end", nil)
	return io.EOF
}

// Close implements wasm.Source.
func (s *source) Close() error { return s.note("stream.close 0", s.refuse("stream.close", "input")) }

// taken is the caller of a world who takes what a tool streams out.
type taken struct {
	*world
	keep   bool     // the bytes too, not only how the parts were
	joined []byte   // of the parts of stream.write
	parts  []string // one line each
}

// Write implements wasm.Sink.
func (t *taken) Write(_ context.Context, kind abi.FrameKind, data []byte) error {
	function, word := "stream.write", "bytes "
	if kind == abi.FrameJSON {
		function, word = "stream.send", "json "
	}
	err := t.refuse(function, "output")
	if err == nil {
		t.parts = append(t.parts, word+show(data))
	}
	if err == nil && t.keep && kind == abi.FrameBytes {
		t.joined = append(t.joined, data...)
	}
	return t.note(function+" "+show(data), err)
}

// Close implements wasm.Sink: the parts end with a line of their own when the tool says that no more come.
func (t *taken) Close() error {
	err := t.refuse("stream.close", "output")
	if err == nil {
		t.parts = append(t.parts, "end")
	}
	return t.note("stream.close 1", err)
}
