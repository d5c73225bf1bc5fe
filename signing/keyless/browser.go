package keyless

import (
	"context"
	"crypto/subtle"
	"net"
	"net/http"
	"net/url"
	"strings"
	"time"

	"github.com/arw-project/arw/abi"
)

// Browser logs a person in with a browser on this machine: authorization code flow with PKCE, answered to a port of the
// loopback address that lives as long as the login.
type Browser struct {
	Provider
	Open func(url string) error // shows the address to the person
}

const loginPage = "<!doctype html><meta charset=utf-8><title>arw</title><p>You are logged in. You may close this page."

// answer is what the browser brings back.
type answer struct {
	code string
	err  error
}

// Token runs the login. Errors: Denied (the person or the provider says no), Unavailable, Invalid, Untrusted, the
// context's own.
func (b Browser) Token(ctx context.Context) (Token, error) {
	ends, err := b.discover(ctx)
	if err != nil {
		return Token{}, err
	}
	if ends.Authorization == "" || ends.Token == "" {
		return Token{}, abi.Errorf(abi.Unsupported, "log in at %q: it offers no login by browser", b.Issuer)
	}
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return Token{}, abi.Errorf(abi.Unavailable, "log in: open a port for the browser's answer: %w", err)
	}
	state, nonce, verifier := secret(), secret(), secret()
	_, port, _ := net.SplitHostPort(ln.Addr().String())
	redirect := "http://localhost:" + port + "/auth/callback"
	got := make(chan answer, 1)
	srv := &http.Server{Handler: b.callback(state, ends, got), ReadHeaderTimeout: 10 * time.Second}
	done := make(chan struct{})
	go func() { defer close(done); _ = srv.Serve(ln) }()
	defer func() { b.stop(srv); <-done }()
	at, err := withQuery(ends.Authorization, url.Values{
		"response_type": {"code"}, "client_id": {b.clientID()}, "redirect_uri": {redirect}, "scope": {"openid email"},
		"state": {state}, "nonce": {nonce}, "code_challenge": {challenge(verifier)}, "code_challenge_method": {"S256"},
	})
	if err != nil {
		return Token{}, abi.Errorf(abi.Invalid, "log in at %q: %w", b.Issuer, err)
	}
	if err := b.Open(at); err != nil {
		return Token{}, abi.Errorf(abi.Unavailable, "log in at %q: open a browser: %w", b.Issuer, err).
			WithHint("use --oidc-flow device to log in from another machine")
	}
	var a answer
	select {
	case <-ctx.Done():
		return Token{}, ctx.Err()
	case a = <-got:
	}
	if a.err != nil {
		return Token{}, a.err
	}
	t, err := b.redeem(ctx, ends.Token, url.Values{
		"grant_type": {"authorization_code"}, "code": {a.code}, "redirect_uri": {redirect}, "client_id": {b.clientID()},
		"code_verifier": {verifier},
	}, nonce)
	return t, b.told(err)
}

// stop lets the page that says so reach the browser before the port closes.
func (Browser) stop(srv *http.Server) {
	ctx, cancel := context.WithTimeout(context.Background(), 2*time.Second)
	defer cancel()
	if srv.Shutdown(ctx) != nil {
		_ = srv.Close()
	}
}

// callback takes the first answer that knows the state; anything else on this machine may knock as it likes.
func (b Browser) callback(state string, ends endpoints, got chan<- answer) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		q := r.URL.Query()
		if r.Method != http.MethodGet || r.URL.Path != "/auth/callback" || subtle.ConstantTimeCompare([]byte(q.Get("state")), []byte(state)) != 1 {
			http.NotFound(w, r)
			return
		}
		a := answer{code: q.Get("code")}
		iss := q.Get("iss")
		switch {
		case (iss != "" || ends.SaysIssuer) && strings.TrimSuffix(iss, "/") != strings.TrimSuffix(b.Issuer, "/"):
			a.err = abi.Errorf(abi.Untrusted, "log in at %q: the answer is by %q", b.Issuer, printable(iss))
		case q.Get("error") != "":
			a.err = b.told(&oauthError{q.Get("error"), q.Get("error_description")})
		case a.code == "":
			a.err = abi.Errorf(abi.Invalid, "log in at %q: the answer holds no code", b.Issuer)
		}
		w.Header().Set("Content-Type", "text/html; charset=utf-8")
		w.Header().Set("Connection", "close")
		if a.err != nil {
			w.WriteHeader(http.StatusForbidden)
			_, _ = w.Write([]byte("<!doctype html><title>arw</title><p>The login failed; the terminal says why."))
		} else {
			_, _ = w.Write([]byte(loginPage))
		}
		select {
		case got <- a:
		default: // the first answer stands
		}
	})
}

// told turns a provider's no into an error of ours.
func (p Provider) told(err error) error {
	if said, ok := err.(*oauthError); ok {
		return abi.Errorf(abi.Denied, "log in at %q: %s", p.Issuer, said).WithHint("log in again, with an account that the provider knows")
	}
	return err
}

func withQuery(at string, add url.Values) (string, error) {
	u, err := url.Parse(at)
	if err != nil {
		return "", err
	}
	q := u.Query()
	for k, v := range add {
		q[k] = v
	}
	u.RawQuery = q.Encode()
	return u.String(), nil
}
