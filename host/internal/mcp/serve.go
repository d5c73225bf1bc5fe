package mcp

import (
	"context"
	"errors"
	"net"
	"net/http"
	"time"

	sdk "github.com/modelcontextprotocol/go-sdk/mcp"
	"golang.org/x/sync/errgroup"

	"github.com/arw-project/arw/abi"
	"github.com/arw-project/arw/host/api"
)

// Path is where Serve answers.
const Path = "/mcp"

// maxBody bounds a request, as the host's own API does.
const maxBody = 9 << 20

// idle ends a session that asked nothing for so long.
const idle = time.Hour

// Serve answers streamable HTTP on a listener, which it closes, until ctx ends; then streams end and calls in flight get
// five seconds. Web pages are kept out: a request must name this machine as its Host, and come from no foreign Origin.
func (s *Server) Serve(ctx context.Context, ln net.Listener) error {
	handler := sdk.NewStreamableHTTPHandler(func(*http.Request) *sdk.Server { return s.sdk }, &sdk.StreamableHTTPOptions{
		Logger: s.log, SessionTimeout: idle, MaxRequestBodyBytes: maxBody, PropagateRequestCancellation: true,
	})
	mux := http.NewServeMux()
	mux.Handle(Path, http.NewCrossOriginProtection().Handler(named(handler)))
	server := &http.Server{Handler: mux, ReadHeaderTimeout: 10 * time.Second, IdleTimeout: 2 * time.Minute}
	g, ctx := errgroup.WithContext(ctx)
	g.Go(func() error { return ended(ctx, s.follow(ctx)) })
	g.Go(func() error {
		if err := server.Serve(ln); !errors.Is(err, http.ErrServerClosed) {
			return abi.Errorf(abi.Unavailable, "serve MCP on %s: %w", ln.Addr(), err)
		}
		return nil
	})
	g.Go(func() error {
		<-ctx.Done()
		for session := range s.sdk.Sessions() { // their streams would outlive the grace
			_ = session.Close()
		}
		grace, stop := context.WithTimeout(context.WithoutCancel(ctx), 5*time.Second)
		defer stop()
		if err := server.Shutdown(grace); err != nil {
			return server.Close()
		}
		return nil
	})
	return g.Wait()
}

// named lets an address name the project, as "/mcp?project=notes"; a header of the client's own goes before it.
func named(next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if in := r.URL.Query().Get("project"); in != "" && r.Header.Get(api.HeaderProject) == "" {
			r.Header.Set(api.HeaderProject, in)
		}
		next.ServeHTTP(w, r)
	})
}

// Stdio answers one client on standard input and output until it closes them or ctx ends.
func (s *Server) Stdio(ctx context.Context) error { return s.answer(ctx, &sdk.StdioTransport{}) }

// answer answers one client on a transport until that closes or ctx ends.
func (s *Server) answer(ctx context.Context, t sdk.Transport) error {
	if err := s.Refresh(ctx); err != nil {
		return err
	}
	ctx, stop := context.WithCancel(ctx)
	defer stop()
	g, inner := errgroup.WithContext(ctx)
	g.Go(func() error {
		defer stop() // the client is gone: nobody needs the list kept
		return ended(inner, s.sdk.Run(inner, t))
	})
	g.Go(func() error { return ended(inner, s.follow(inner)) })
	return g.Wait()
}

// ended is nil for an error that only says that ctx ended.
func ended(ctx context.Context, err error) error {
	if ctx.Err() != nil {
		return nil
	}
	return err
}
