package openai

import (
	"bytes"
	"io"
	"slices"
	"strings"
	"testing"
	"testing/iotest"
)

func read(r io.Reader) (all []string, err error) {
	for e := newEvents(r); ; {
		data, err := e.next()
		if err != nil {
			return all, err
		}
		all = append(all, string(data))
	}
}

func TestEvents(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		name, in string
		want     []string
	}{
		{"plain", "data: a\n\ndata: b\n\n", []string{"a", "b"}},
		{"crlf", "data: a\r\n\r\ndata: b\r\n\r\n", []string{"a", "b"}},
		{"cr", "data: a\r\rdata: b\r\r", []string{"a", "b"}},
		{"lines joined", "data: a\ndata: b\n\n", []string{"a\nb"}},
		{"no space", "data:a\n\n", []string{"a"}},
		{"one space goes", "data:  a\n\n", []string{" a"}},
		{"comments and fields", ": hi\nevent: x\nid: 1\ndata: a\nretry: 5\n\n", []string{"a"}},
		{"a name that begins so", "database: a\ndata: b\n\n", []string{"b"}},
		{"an empty value", "data\n\n", []string{""}},
		{"no data", "event: x\n\ndata: b\n\n", []string{"b"}},
		{"mark", "\xef\xbb\xbfdata: a\n\n", []string{"a"}},
		{"unfinished", "data: a\n\ndata: b\n", []string{"a"}},
		{"cut in a line", "data: a\n\ndata: b", []string{"a"}},
	} {
		for way, r := range map[string]io.Reader{"whole": strings.NewReader(c.in), "bytewise": iotest.OneByteReader(strings.NewReader(c.in))} {
			if got, err := read(r); !slices.Equal(got, c.want) || err != io.EOF {
				t.Errorf("%s, %s: %q, %v; want %q", c.name, way, got, err, c.want)
			}
		}
	}
}

// An event is given when its empty line is, though nothing follows.
func TestAnEventWaitsForNothing(t *testing.T) {
	t.Parallel()
	r, w := io.Pipe()
	e := newEvents(r)
	for _, end := range []string{"\n\n", "\r\r", "\r\n\r\n"} {
		go func() { _, _ = w.Write([]byte("data: a" + end)) }()
		if got, err := e.next(); string(got) != "a" || err != nil {
			t.Fatalf("after %q: %q, %v", end, got, err)
		}
	}
}

func TestEventsAreBounded(t *testing.T) {
	t.Parallel()
	for name, in := range map[string]io.Reader{
		"line":   endless("x"),
		"event":  endless("data: x\n"),
		"stream": endless(": nothing\n"),
	} {
		if _, err := read(in); err == nil || !strings.Contains(err.Error(), "more than") {
			t.Errorf("%s without end: %v", name, err)
		}
	}
}

type endless string

func (e endless) Read(p []byte) (int, error) {
	n := 0
	for n+len(e) <= len(p) {
		n += copy(p[n:], e)
	}
	return n, nil
}

// However a stream is cut into reads, the events are the same, and none is larger than what came.
func FuzzEvents(f *testing.F) {
	for _, s := range []string{"data: a\n\n", "data: a\r\n\r\n: c\rdata\r\r", "\xef\xbb\xbfdata:{}\n\ndata: [DONE]\n\n", "\r\n\r\n\ndata"} {
		f.Add([]byte(s))
	}
	f.Fuzz(func(t *testing.T, in []byte) {
		whole, err := read(bytes.NewReader(in))
		pieces, err2 := read(iotest.OneByteReader(bytes.NewReader(in)))
		if !slices.Equal(whole, pieces) || err != err2 {
			t.Fatalf("%q: whole %q, %v; in pieces %q, %v", in, whole, err, pieces, err2)
		}
		if size := len(strings.Join(whole, "")); size > len(in) {
			t.Fatalf("%q: %d bytes of events", in, size)
		}
	})
}

// No answer of a server takes the client down, and what it refuses quotes one short line.
func FuzzTake(f *testing.F) {
	for _, s := range []string{
		`{"choices":[{"text":"a","finish_reason":null}]}`, `{"choices":[{"delta":{"content":"a"},"finish_reason":"stop"}],"usage":{"prompt_tokens":1}}`,
		`{"error":{"message":"no","code":500}}`, `{"error":"no"}`, `{"choices":[{"finish_reason":"tool_calls"}]}`, `[]`, `null`,
		`{"error":{"message":"This model's maximum context length is 512 tokens. However, you requested 600 tokens."}}`,
	} {
		f.Add([]byte(s))
	}
	f.Fuzz(func(t *testing.T, in []byte) {
		var a answer
		c := &Client{cfg: Config{Model: "m", Dialect: Llama}}
		if _, err := c.take(&a, in); err != nil && (len(err.Error()) > 4*maxQuote+200 || strings.ContainsAny(err.Error(), "\n\r\x1b")) {
			t.Fatalf("%q: %q", in, err)
		}
	})
}

func TestOverflowIsUnderstood(t *testing.T) {
	t.Parallel()
	for text, want := range map[string][2]int{
		`{"error":{"code":400,"message":"request (600 tokens) exceeds the available context size (512 tokens), try increasing it","type":"exceed_context_size_error","n_prompt_tokens":600,"n_ctx":512}}`:             {600, 512},
		`{"error":{"message":"This model's maximum context length is 4097 tokens. However, you requested 5000 tokens (4000 in the messages, 1000 in the completion).","code":"context_length_exceeded"}}`:             {5000, 4097},
		`{"object":"error","message":"This model's maximum context length is 2048 tokens. However, your messages resulted in 2999 tokens.","type":"BadRequestError"}`:                                                 {2999, 2048},
		`{"error":{"message":"You passed 9000 input tokens. However, the model's maximum context length is only 8192 tokens, your request contains at least 9000 input tokens","type":"BadRequestError","code":400}}`: {9000, 8192},
	} {
		if o, ok := overflow(parseComplaint([]byte(text))); !ok || o.Prompt != want[0] || o.Context != want[1] {
			t.Errorf("%s\n gives %+v, %v; want %v", text, o, ok, want)
		}
	}
}
