package rehearse

import (
	"bytes"
	"cmp"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"slices"
	"strings"

	"github.com/arw-project/arw/abi"
	"github.com/arw-project/arw/host/internal/netguard"
	"github.com/arw-project/arw/host/internal/wasm"
	"github.com/arw-project/arw/manifests"
	"github.com/arw-project/arw/manifests/pattern"
	"github.com/arw-project/arw/manifests/reach"
)

// rawResponse stands for a server: what it answers to a request, or what it says over a WebSocket.
type rawResponse struct {
	Request  string            `toml:"request,required"`
	Body     any               `toml:"body"`
	Status   int64             `toml:"status"`
	Headers  map[string]string `toml:"headers"`
	JSON     any               `toml:"json"`
	Text     string            `toml:"text"`
	Messages []string          `toml:"messages"`
	Error    string            `toml:"error"`
	Message  string            `toml:"message"`
	Times    *int64            `toml:"times"`
}

// response is one of a world.
type response struct {
	rawResponse
	left int64 // -1 for ever
	used bool
}

// responses checks the tables and reads their JSON.
func (k *checker) responses() {
	for i := range k.head.Responses {
		r := &k.head.Responses[i]
		method, url, ok := strings.Cut(r.Request, " ")
		if !ok || strings.Trim(method, "ABCDEFGHIJKLMNOPQRSTUVWXYZ*-") != "" || !strings.Contains(url, "://") {
			k.bad(`write METHOD URL, such as "GET https://api.example.com/v1/*"`, []any{"response", i, "request"}, "%q is no request", r.Request)
		}
		if r.Status != 0 && (r.Status < 100 || r.Status > 599) {
			k.bad("", []any{"response", i, "status"}, "%d is no status", r.Status)
		}
		if r.JSON != nil && r.Text != "" || r.Error != "" && (r.JSON != nil || r.Text != "" || r.Status != 0) {
			k.bad("keep one of json, text and error", []any{"response", i}, "it answers in two ways")
		}
		if r.Error != "" {
			k.code(r.Error, []any{"response", i, "error"})
		}
		for key, v := range map[string]*any{"body": &r.Body, "json": &r.JSON} {
			if text, plain := (*v).(string); *v == nil || plain && key == "body" && !json.Valid([]byte(text)) {
				continue
			}
			doc, err := jsonOf(*v)
			if err != nil {
				k.bad("", []any{"response", i, key}, "%v", err)
			}
			*v = doc
		}
	}
}

// network answers requests out of the file. Its rules about destinations are the host's own.
type network struct{ *world }

// Open implements wasm.HTTP.
func (n network) Open(ctx context.Context, req abi.HTTPRequest, body []byte, stream bool) (wasm.Exchange, error) {
	function := "http.fetch"
	if stream {
		function = "http.open"
	}
	d, err := n.allowed(ctx, function, &req)
	if err != nil {
		return nil, err
	}
	return &exchange{world: n.world, function: function, req: req, dest: d, sent: body}, nil
}

// allowed judges one hop, as the host's guard does without resolving anything.
func (n network) allowed(ctx context.Context, function string, req *abi.HTTPRequest) (netguard.Dest, error) {
	if req.Method == "" {
		req.Method = http.MethodGet
	}
	what := function + " " + req.Method + " " + req.URL
	if n.bare {
		n.lacking = true
		return netguard.Dest{}, n.note(what, abi.Errorf(abi.Denied, "use %q on %q: an example runs without it", abi.HTTP, req.URL))
	}
	if err := n.refuse(function, req.URL); err != nil {
		return netguard.Dest{}, n.note(what, err)
	}
	d, err := netguard.Parse(req.URL)
	for _, h := range req.Headers {
		if err == nil {
			err = netguard.CheckHeader(h[0], h[1])
		}
	}
	if err == nil && (function == "http.connect") != (d.Scheme == "ws" || d.Scheme == "wss") {
		err = fmt.Errorf("the scheme %q is not for this", d.Scheme)
	}
	if err != nil {
		return d, n.note(what, abi.Errorf(abi.Denied, "send: %w", err))
	}
	target, _ := reach.ParseTarget(req.Method + " " + d.Target())
	if !slices.ContainsFunc(n.scopes[abi.HTTP], func(text string) bool {
		e, err := reach.Parse(text)
		return err == nil && e.Covers(&target)
	}) {
		return d, n.note(what, abi.Errorf(abi.Denied, "use %q on %q for pack %q: it lies outside the leased scope (%q)", abi.HTTP, req.Method+" "+d.Target(), n.man.Name, n.scopes[abi.HTTP]).
			WithHint("add it to scope in [capabilities.http] of pack.toml"))
	}
	if err := (secrets)(n).carries(ctx, req.Secrets, d.String()); err != nil {
		return d, n.note(what, err)
	}
	return d, nil
}

// respond finds the first response of the file that fits and is not used up.
func (w *world) respond(method, url string, body []byte) (*response, error) {
	canonical, _ := manifests.CanonicalJSON(body) // a body that is no JSON fits responses for any, or for that text
	for i := range w.responses {
		r := &w.responses[i]
		if r.left == 0 || !pattern.Glob(r.Request, method+" "+url, "") {
			continue
		}
		if want, ok := r.Body.(json.RawMessage); ok && !bytes.Equal(want, canonical) {
			continue
		}
		if want, ok := r.Body.(string); ok && want != string(body) {
			continue
		}
		r.used = true
		if r.left > 0 {
			r.left--
		}
		return r, nil
	}
	w.problems = append(w.problems, fmt.Sprintf("the tool sends %s %s with %s and the file has no [[response]] left for that", method, url, show(body)))
	return nil, abi.Errorf(abi.Unavailable, "ask %q: there is no response for it", url)
}

// exchange is one request of a world.
type exchange struct {
	*world
	function string
	req      abi.HTTPRequest
	dest     netguard.Dest
	sent     []byte
	head     *abi.HTTPResponse
	body     []byte
}

// Write implements wasm.Exchange.
func (x *exchange) Write(_ context.Context, part []byte) error {
	if x.head != nil || x.function != "http.open" {
		return abi.Errorf(abi.Invalid, "write to a request: its body is not streamed, or was ended")
	}
	if err := x.refuse("stream.write", x.req.URL); err != nil {
		return x.note("stream.write "+x.req.URL, err)
	}
	x.sent = append(x.sent, part...)
	return nil
}

// Response implements wasm.Exchange: redirects are followed, each hop judged anew.
func (x *exchange) Response(ctx context.Context) (abi.HTTPResponse, error) {
	if x.head == nil && x.function == "http.open" {
		if err := x.refuse("http.response", x.req.URL); err != nil {
			return abi.HTTPResponse{}, x.note("http.response "+x.req.URL, err)
		}
	}
	for redirects := 0; x.head == nil; redirects++ {
		what := x.function + " " + x.req.Method + " " + x.dest.String() + carrying(x.req.Secrets) + " " + show(x.sent)
		r, err := x.respond(x.req.Method, x.dest.String(), x.sent)
		if err == nil && r.Error != "" {
			code, _ := abi.CodeByName(r.Error)
			err = abi.Errorf(code, "%s", cmp.Or(r.Message, "the server does not answer"))
		}
		if err != nil {
			return abi.HTTPResponse{}, x.note(what, err)
		}
		head, body := r.answer(x.dest)
		_ = x.note(fmt.Sprintf("%s -> %d %s", what, head.Status, show(body)), nil)
		location := r.Headers["Location"]
		if location == "" || head.Status < 300 || head.Status > 399 || x.req.Redirect == "manual" {
			x.head, x.body = &head, body
			break
		}
		if redirects == 5 {
			return abi.HTTPResponse{}, abi.Errorf(abi.Denied, "ask %q: it redirects more than 5 times", x.dest.Host)
		}
		if err := x.follow(ctx, location, head.Status); err != nil {
			return abi.HTTPResponse{}, err
		}
	}
	return *x.head, nil
}

// carrying names the tokens of a request.
func carrying(names []string) string {
	if len(names) == 0 {
		return ""
	}
	return " with " + strings.Join(names, ", ")
}

// follow turns to where an answer points.
func (x *exchange) follow(ctx context.Context, location string, status int) error {
	to, err := x.dest.Redirect(location)
	if err != nil {
		return x.note("redirect "+location, abi.Errorf(abi.Denied, "send: %w", err))
	}
	if status != 307 && status != 308 && x.req.Method != http.MethodHead {
		x.req.Method, x.sent = http.MethodGet, nil
	}
	x.req.URL = to.String()
	x.dest, err = network{x.world}.allowed(ctx, x.function, &x.req)
	return err
}

// answer is a response of the file as a guest gets it.
func (r *response) answer(d netguard.Dest) (abi.HTTPResponse, []byte) {
	head := abi.HTTPResponse{Status: int(r.Status), URL: d.String(), Headers: [][2]string{}, Length: -1}
	if head.Status == 0 {
		head.Status = http.StatusOK
	}
	body := []byte(r.Text)
	headers := map[string]string{}
	if doc, ok := r.JSON.(json.RawMessage); ok {
		body = doc
		headers["Content-Type"] = "application/json"
	}
	for name, v := range r.Headers {
		headers[http.CanonicalHeaderKey(name)] = v
	}
	for name, v := range headers {
		head.Headers = append(head.Headers, [2]string{name, v})
	}
	slices.SortFunc(head.Headers, func(a, b [2]string) int { return strings.Compare(a[0], b[0]) })
	head.Length = int64(len(body))
	return head, body
}

// Read implements wasm.Exchange.
func (x *exchange) Read(ctx context.Context, buf []byte) (int, error) {
	if _, err := x.Response(ctx); err != nil {
		return 0, err
	}
	if err := x.refuse("stream.read", x.req.URL); err != nil {
		return 0, x.note("stream.read "+x.req.URL, err)
	}
	n := copy(buf, x.body)
	if x.body = x.body[n:]; n == 0 {
		return 0, io.EOF
	}
	return n, nil
}

// Close implements wasm.Exchange.
func (x *exchange) Close() error { return nil }

// socket is one WebSocket of a world: it says what the file has, whatever it hears.
type socket struct {
	*world
	head abi.HTTPResponse
	left []string
}

// Connect implements wasm.HTTP.
func (n network) Connect(ctx context.Context, req abi.HTTPRequest) (wasm.Socket, error) {
	d, err := n.allowed(ctx, "http.connect", &req)
	if err != nil {
		return nil, err
	}
	what := "http.connect " + d.String() + carrying(req.Secrets)
	r, err := n.respond(req.Method, d.String(), nil)
	if err == nil && r.Error != "" {
		code, _ := abi.CodeByName(r.Error)
		err = abi.Errorf(code, "%s", cmp.Or(r.Message, "the server does not answer"))
	}
	if err != nil {
		return nil, n.note(what, err)
	}
	head := abi.HTTPResponse{Status: http.StatusSwitchingProtocols, URL: d.String(), Headers: [][2]string{}, Length: -1}
	return &socket{n.world, head, slices.Clone(r.Messages)}, n.note(what, nil)
}

// Head implements wasm.Socket.
func (s *socket) Head() abi.HTTPResponse { return s.head }

// Send implements wasm.Socket.
func (s *socket) Send(_ context.Context, _ int, data []byte) error {
	return s.note("http.send "+show(data), s.refuse("http.send", string(data)))
}

// Receive implements wasm.Socket.
func (s *socket) Receive(context.Context) (int, []byte, error) {
	if err := s.refuse("http.receive", s.head.URL); err != nil {
		return 0, nil, s.note("http.receive", err)
	}
	if len(s.left) == 0 {
		_ = s.note("http.receive -> the end", nil)
		return 0, nil, io.EOF
	}
	msg := s.left[0]
	s.left = s.left[1:]
	return abi.MessageText, []byte(msg), s.note("http.receive -> "+show([]byte(msg)), nil)
}

// Close implements wasm.Socket.
func (s *socket) Close() error { return nil }
