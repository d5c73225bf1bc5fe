package egress

import (
	"context"
	"errors"
	"net/http"
)

// Client is the guard for code of the host that speaks HTTP: each request of it is judged, pinned and written down as everybody's.
// Redirects come back to the caller's own client and are judged again as requests.
func (g *Guard) Client(who Caller, authority Authority) *http.Client {
	return &http.Client{Transport: tripper{g, who, authority}}
}

type tripper struct {
	g         *Guard
	who       Caller
	authority Authority
}

// RoundTrip implements http.RoundTripper.
func (t tripper) RoundTrip(r *http.Request) (*http.Response, error) {
	ctx := r.Context()
	if r.Body != nil {
		defer r.Body.Close()
	}
	req := Request{Method: r.Method, URL: r.URL.String(), Header: r.Header, Manual: true, Stream: r.Body != nil && r.Body != http.NoBody}
	x, err := t.g.Open(ctx, t.who, t.authority, req)
	if err != nil {
		return nil, err
	}
	if req.Stream {
		err = pump(ctx, x, r.Body)
	}
	var head Response
	if err == nil {
		head, err = x.Response(ctx)
	}
	if err != nil {
		return nil, errors.Join(err, x.Close())
	}
	return &http.Response{
		Status: http.StatusText(head.Status), StatusCode: head.Status, Proto: "HTTP/1.1", ProtoMajor: 1, ProtoMinor: 1,
		Header: head.Header, ContentLength: head.Length, Request: r, Body: body{ctx, x},
	}, nil
}

// body is the answer of an exchange; closing it writes the outcome.
type body struct {
	ctx context.Context
	x   *Exchange
}

func (b body) Read(p []byte) (int, error) { return b.x.Read(b.ctx, p) }
func (b body) Close() error               { return b.x.Close() }
