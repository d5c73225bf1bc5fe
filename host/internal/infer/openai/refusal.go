package openai

import (
	"encoding/json"
	"io"
	"net/http"
	"regexp"
	"strconv"
	"strings"
	"unicode"

	"github.com/arw-project/arw/abi"
	"github.com/arw-project/arw/host/internal/infer"
)

// complaint is an error in the words of the dialect. llama-server wraps it in "error", vLLM once did not.
type complaint struct {
	Error   json.RawMessage `json:"error"`
	Message string          `json:"message"`
	Type    string          `json:"type"`
	Prompt  int             `json:"n_prompt_tokens"`
	Context int             `json:"n_ctx"`
}

func parseComplaint(data []byte) (c complaint) {
	_ = json.Unmarshal(data, &c) // what cannot be read stays empty, and the status decides
	if len(c.Error) > 0 {
		inner := complaint{}
		if json.Unmarshal(c.Error, &inner) != nil {
			_ = json.Unmarshal(c.Error, &inner.Message) // some send a bare text
		}
		return inner
	}
	return c
}

// refused reads why a server did not answer.
func (c *Client) refused(resp *http.Response) error {
	data, _ := io.ReadAll(io.LimitReader(resp.Body, maxError)) // without the text the status still says enough
	return c.complain(resp.StatusCode, data)
}

func (c *Client) complain(status int, data []byte) error {
	said := parseComplaint(data)
	if o, ok := overflow(said); ok {
		if o.Context == 0 {
			o.Context = c.info.Context
		}
		return infer.TooLong(c.cfg.Model, o)
	}
	code := abi.Unavailable
	switch {
	case status == http.StatusBadRequest, status == http.StatusUnprocessableEntity:
		code = abi.Invalid
	case status == http.StatusUnauthorized, status == http.StatusForbidden:
		code = abi.Denied
	case status == http.StatusNotFound:
		code = abi.NotFound
	case status == http.StatusRequestEntityTooLarge:
		code = abi.TooLarge
	case status == http.StatusTooManyRequests:
		code = abi.Busy
	case status == http.StatusNotImplemented, status == http.StatusMethodNotAllowed:
		code = abi.Unsupported
	}
	text := quote(said.Message)
	if text == "" {
		text = http.StatusText(status)
	}
	err := abi.Errorf(code, "ask model %q: the runtime refuses (%d): %s", c.cfg.Model, status, text)
	if code == abi.Denied {
		return err.WithHint("check the key that the model's profile names")
	}
	return err
}

// What servers say of a prompt that is too long: vLLM and OpenAI in English only, llama-server with numbers beside.
var (
	tooLong = regexp.MustCompile(`(?i)maximum context length|context length exceeded|exceed(s|ed)? the (available )?context`)
	holds   = regexp.MustCompile(`(?i)(?:maximum )?context (?:length|size)(?: of| is|:)?(?: only)? \(?(\d{1,9})`)
	wanted  = regexp.MustCompile(`(?i)(?:requested|resulted in|contains at least|request \()\s*(\d{1,9})`)
)

func overflow(c complaint) (o infer.Overflow, ok bool) {
	if c.Type == "exceed_context_size_error" {
		return infer.Overflow{Prompt: max(0, c.Prompt), Context: max(0, c.Context)}, true
	}
	if !tooLong.MatchString(c.Message) {
		return o, false
	}
	if m := holds.FindStringSubmatch(c.Message); m != nil {
		o.Context, _ = strconv.Atoi(m[1])
	}
	if m := wanted.FindStringSubmatch(c.Message); m != nil {
		o.Prompt, _ = strconv.Atoi(m[1])
	}
	return o, true
}

// quote makes a server's words fit to be shown: one line, printable, short.
func quote(s string) string {
	s = strings.Map(func(r rune) rune {
		if !unicode.IsPrint(r) {
			return ' '
		}
		return r
	}, s)
	s = strings.Join(strings.Fields(s), " ")
	if r := []rune(s); len(r) > maxQuote {
		return string(r[:maxQuote]) + "…"
	}
	return s
}
