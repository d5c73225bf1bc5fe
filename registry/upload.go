package registry

import (
	"context"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"strconv"
	"strings"

	"github.com/arw-project/arw/abi"
)

// chunkSize is how much of a blob goes into one request. What fits goes in a single one, which every registry
// understands; more goes in pieces, so that a broken connection costs one piece.
const chunkSize = 16 << 20

// sending is one blob on its way to a registry.
type sending struct {
	s        *remoteStore
	repo     string
	d        descriptor
	src      source
	location *url.URL
	at       int64 // how much the registry has
	whole    bool  // it does not take pieces
	chunk    int64
}

// put uploads a blob. A transfer that breaks goes on from where the registry says it stands; a registry that has forgotten
// it gets it from the start.
func (s *remoteStore) put(ctx context.Context, repo string, d descriptor, src source) error {
	u := &sending{s: s, repo: repo, d: d, src: src, chunk: chunkSize}
	for try := 0; ; try++ {
		before := u.at
		err := u.advance(ctx)
		if err == nil {
			return nil
		}
		if u.at > before {
			try = 0
		}
		if ctx.Err() != nil || try >= s.opts.Retries || !u.mayGoOn(err) {
			return err
		}
		if err := pause(ctx, try); err != nil {
			return err
		}
		u.locate(ctx)
	}
}

// mayGoOn decides what a failed attempt means: try again, do without pieces, or give up.
func (u *sending) mayGoOn(err error) bool {
	e, ok := asRefusal(err)
	switch {
	case !ok:
		return breaks(err)
	case e.method == http.MethodPatch && (e.status == http.StatusMethodNotAllowed || e.status == http.StatusNotImplemented):
		u.whole, u.location, u.at = true, nil, 0
		return true
	case e.status == http.StatusNotFound && u.location != nil, e.status == http.StatusRequestedRangeNotSatisfiable:
		return true
	}
	return e.status >= 500
}

// advance carries the upload from where it stands to its end.
func (u *sending) advance(ctx context.Context) error {
	if u.location == nil {
		if err := u.start(ctx); err != nil {
			return err
		}
	}
	for !u.whole && u.d.Size-u.at > u.chunk {
		if err := u.patch(ctx); err != nil {
			return err
		}
	}
	return u.finish(ctx)
}

func (u *sending) start(ctx context.Context) error {
	target := u.s.endpoint(u.repo, "blobs", "uploads")
	target.Path += "/"
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, target.String(), nil)
	if err != nil {
		return err
	}
	resp, err := u.s.do(ctx, u.repo, true, req, http.StatusAccepted)
	if err != nil {
		return err
	}
	resp.Body.Close()
	u.at = 0
	if least, err := strconv.ParseInt(resp.Header.Get("OCI-Chunk-Min-Length"), 10, 64); err == nil {
		u.chunk = min(max(u.chunk, least), 1<<30)
	}
	return u.follow(resp)
}

// follow takes the place the registry gives for the rest of the upload, which must be its own: credentials go there.
func (u *sending) follow(resp *http.Response) error {
	next := resp.Header.Get("Location")
	if next == "" && u.location != nil {
		return nil
	}
	at, err := resp.Request.URL.Parse(next)
	if err != nil || next == "" {
		return abi.Errorf(abi.Unsupported, "it gives no place to upload to (%q)", clip(next))
	}
	own := u.s.endpoint(u.repo)
	if hostPort(at) != hostPort(own) {
		return abi.Errorf(abi.Denied, "it wants the upload sent to %q", at.Redacted()).
			WithHint("the registry is misconfigured or not what it claims to be; use another")
	}
	at.Scheme, at.Host, at.User = own.Scheme, own.Host, nil // behind a proxy some registries do not know how they are reached
	u.location = at
	return nil
}

// hostPort is a URL's host for comparing, without the port its scheme, or the other one, implies.
func hostPort(u *url.URL) string {
	port := u.Port()
	if port == "80" || port == "443" {
		port = ""
	}
	return strings.ToLower(u.Hostname()) + ":" + port
}

// body makes the request carry n bytes of the blob from an offset, and able to produce them again.
func (u *sending) body(req *http.Request, at, n int64) error {
	open := func() (io.ReadCloser, error) {
		rc, err := u.src(at)
		if err != nil {
			return nil, err
		}
		return struct {
			io.Reader
			io.Closer
		}{io.LimitReader(rc, n), rc}, nil
	}
	req.Header.Set("Content-Type", "application/octet-stream")
	req.ContentLength = n
	if n == 0 {
		req.Body, req.GetBody = http.NoBody, func() (io.ReadCloser, error) { return http.NoBody, nil }
		return nil
	}
	rc, err := open()
	req.Body, req.GetBody = rc, open
	return err
}

func (u *sending) patch(ctx context.Context) error {
	req, err := http.NewRequestWithContext(ctx, http.MethodPatch, u.location.String(), nil)
	if err != nil {
		return err
	}
	if err := u.body(req, u.at, u.chunk); err != nil {
		return err
	}
	req.Header.Set("Content-Range", fmt.Sprintf("%d-%d", u.at, u.at+u.chunk-1))
	resp, err := u.s.do(ctx, u.repo, true, req, http.StatusAccepted)
	if err != nil {
		return err
	}
	resp.Body.Close()
	u.at += u.chunk
	return u.follow(resp)
}

// finish sends what is left and names the digest; the registry publishes the blob only if it has that.
func (u *sending) finish(ctx context.Context) error {
	target := *u.location
	q := target.Query()
	q.Set("digest", u.d.Digest)
	target.RawQuery = q.Encode()
	req, err := http.NewRequestWithContext(ctx, http.MethodPut, target.String(), nil)
	if err != nil {
		return err
	}
	left := u.d.Size - u.at
	if err := u.body(req, u.at, left); err != nil {
		return err
	}
	if u.at > 0 && left > 0 {
		req.Header.Set("Content-Range", fmt.Sprintf("%d-%d", u.at, u.d.Size-1))
	}
	resp, err := u.s.do(ctx, u.repo, true, req, http.StatusCreated, http.StatusNoContent)
	if err != nil {
		return err
	}
	return resp.Body.Close()
}

// locate asks where a broken upload stands. Without a clear answer it starts again.
func (u *sending) locate(ctx context.Context) {
	if u.location == nil {
		return
	}
	at := u.location
	stands := u.at
	u.location, u.at = nil, 0
	if u.whole {
		return
	}
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, at.String(), nil)
	if err != nil {
		return
	}
	resp, err := u.s.do(ctx, u.repo, true, req, http.StatusNoContent)
	if err != nil {
		return
	}
	resp.Body.Close()
	last, err := lastByte(resp.Header.Get("Range"))
	if err != nil || last+1 > u.d.Size {
		return
	}
	// An empty upload and one of a single byte both answer 0-0 in some registries: start at the byte that is sure.
	if last == 0 && stands == 0 {
		return
	}
	u.location, u.at = at, last+1
	if u.follow(resp) != nil {
		u.location, u.at = nil, 0
	}
}

func lastByte(r string) (int64, error) {
	first, last, ok := strings.Cut(strings.TrimPrefix(r, "bytes="), "-")
	if !ok || first != "0" {
		return 0, fmt.Errorf("no range: %q", r)
	}
	n, err := strconv.ParseInt(last, 10, 64)
	if err == nil && n < 0 {
		err = fmt.Errorf("no range: %q", r)
	}
	return n, err
}
