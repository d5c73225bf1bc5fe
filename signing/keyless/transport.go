package keyless

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"strings"
	"time"

	protorekor "github.com/sigstore/protobuf-specs/gen/pb-go/rekor/v1"
	rekortiles "github.com/sigstore/rekor-tiles/v2/pkg/generated/protobuf"
	"google.golang.org/protobuf/encoding/protojson"

	"github.com/arw-project/arw/abi"
)

const (
	retries        = 2
	serviceTimeout = 30 * time.Second
	maxAnswer      = 1 << 20
	userAgent      = "arw"
)

// guarded ties requests to a context, because the library makes them without one, and follows no redirect: a token or a
// signature goes where the config says or nowhere.
type guarded struct {
	ctx  context.Context
	next http.RoundTripper
}

func guard(ctx context.Context, rt http.RoundTripper) http.RoundTripper { return guarded{ctx, rt} }

func (g guarded) RoundTrip(req *http.Request) (*http.Response, error) {
	if err := g.ctx.Err(); err != nil {
		return nil, err
	}
	ctx, cancel := context.WithCancelCause(req.Context())
	stop := context.AfterFunc(g.ctx, func() { cancel(context.Cause(g.ctx)) })
	req = req.Clone(ctx)
	req.Header.Set("User-Agent", userAgent)
	resp, err := g.next.RoundTrip(req)
	if err != nil {
		stop()
		cancel(err)
		return nil, err
	}
	if resp.StatusCode >= 300 && resp.StatusCode < 400 {
		_ = resp.Body.Close()
		stop()
		cancel(nil)
		return nil, fmt.Errorf("%s answers with a redirect (%d), which is not followed", req.URL.Redacted(), resp.StatusCode)
	}
	resp.Body = &endingBody{resp.Body, func() { stop(); cancel(nil) }}
	return resp, nil
}

// endingBody lets go of the context when the answer has been read.
type endingBody struct {
	io.ReadCloser
	end func()
}

func (b *endingBody) Close() error {
	defer b.end()
	return b.ReadCloser.Close()
}

// rekor writes entries to a Rekor v2 log, over our transport (the library's own writer takes none).
type rekor struct {
	url    string
	client *http.Client
}

func (r *rekor) Add(ctx context.Context, entry any) (*protorekor.TransparencyLogEntry, error) {
	record, ok := entry.(*rekortiles.HashedRekordRequestV002)
	if !ok {
		return nil, fmt.Errorf("a log entry of type %T is not written here", entry)
	}
	body, err := protojson.Marshal(&rekortiles.CreateEntryRequest{
		Spec: &rekortiles.CreateEntryRequest_HashedRekordRequestV002{HashedRekordRequestV002: record}})
	if err != nil {
		return nil, err
	}
	at, err := url.JoinPath(r.url, "api/v2/log/entries")
	if err != nil {
		return nil, err
	}
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, at, bytes.NewReader(body))
	if err != nil {
		return nil, err
	}
	req.Header.Set("Content-Type", "application/json")
	answer, err := ask(r.client, req, http.StatusCreated)
	if err != nil {
		return nil, fmt.Errorf("log %q: %w", r.url, err)
	}
	out := new(protorekor.TransparencyLogEntry)
	if err := protojson.Unmarshal(answer, out); err != nil {
		return nil, fmt.Errorf("log %q: its answer is no log entry: %w", r.url, err)
	}
	return out, nil
}

// statusError is an answer with another status than was wanted.
type statusError struct {
	status int
	body   string
}

func (e *statusError) Error() string {
	return strings.TrimSpace(fmt.Sprintf("it answers %d: %s", e.status, e.body))
}

// ask sends a request and returns the whole answer, which must have the status.
func ask(client *http.Client, req *http.Request, want int) ([]byte, error) {
	resp, err := client.Do(req)
	if err != nil {
		return nil, err
	}
	defer resp.Body.Close()
	body, err := io.ReadAll(io.LimitReader(resp.Body, maxAnswer+1))
	if err != nil {
		return nil, err
	}
	if len(body) > maxAnswer {
		return nil, fmt.Errorf("its answer has more than %d bytes", maxAnswer)
	}
	if resp.StatusCode != want {
		return nil, &statusError{resp.StatusCode, printable(string(body))}
	}
	return body, nil
}

// printable makes what a server wrote fit for a terminal.
func printable(s string) string {
	s = strings.Map(func(r rune) rune {
		if r < ' ' || r == 0x7f || r >= 0x80 && r < 0xa0 {
			return ' '
		}
		return r
	}, strings.ToValidUTF8(s, "?"))
	if len(s) > 300 {
		s = strings.ToValidUTF8(s[:300], "") + "…"
	}
	return s
}

// fault gives an error of the services its code. The library's errors are prose; what matters is whether the wire failed,
// a service said no, or its answer does not verify.
func fault(ctx context.Context, err error, doing string, args ...any) error {
	if cause := ctx.Err(); cause != nil {
		return cause
	}
	code, hint := abi.Untrusted, "the services and the trusted root do not belong together, or a service lies"
	var wire *url.Error
	var status *statusError
	said := err.Error()
	switch {
	case errors.As(err, &wire):
		code, hint = abi.Unavailable, "see that the address in the signing config is right and reachable from here"
	case errors.As(err, &status) && status.status < 500, strings.Contains(said, "returned 4"):
		code, hint = abi.Denied, "the service refuses; see its words"
	case errors.As(err, &status), strings.Contains(said, "returned 5"):
		code, hint = abi.Unavailable, "try again; the service has a fault"
	}
	return abi.Errorf(code, doing+": %s", append(args, printable(said))...).WithHint("%s", hint)
}
