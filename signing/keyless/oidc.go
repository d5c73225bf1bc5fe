package keyless

import (
	"context"
	"crypto/rand"
	"encoding/base64"
	"encoding/json"
	"errors"
	"net/http"
	"net/url"
	"strings"

	"github.com/arw-project/arw/abi"
)

// Provider is an OpenID Connect provider that people log in to.
type Provider struct {
	Issuer    string // its address
	ClientID  string // empty: "sigstore", which Sigstore's own provider knows
	Transport http.RoundTripper
}

// endpoints are what discovery tells.
type endpoints struct {
	Issuer        string `json:"issuer"`
	Authorization string `json:"authorization_endpoint"`
	Token         string `json:"token_endpoint"`
	Device        string `json:"device_authorization_endpoint"`
	SaysIssuer    bool   `json:"authorization_response_iss_parameter_supported"`
}

func (p Provider) clientID() string {
	if p.ClientID == "" {
		return Audience
	}
	return p.ClientID
}

func (p Provider) client(ctx context.Context) *http.Client {
	return &http.Client{Transport: guard(ctx, p.Transport), Timeout: serviceTimeout}
}

// discover reads the provider's own description, which must be about this very issuer.
func (p Provider) discover(ctx context.Context) (endpoints, error) {
	var out endpoints
	if err := safeURL(p.Issuer); err != nil {
		return out, abi.Errorf(abi.Invalid, "log in: %w", err).WithHint("name the provider with --oidc-issuer")
	}
	at, err := url.JoinPath(p.Issuer, ".well-known/openid-configuration")
	if err != nil {
		return out, abi.Errorf(abi.Invalid, "log in at %q: %w", p.Issuer, err)
	}
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, at, nil)
	if err != nil {
		return out, abi.Errorf(abi.Invalid, "log in at %q: %w", p.Issuer, err)
	}
	body, err := ask(p.client(ctx), req, http.StatusOK)
	if err != nil {
		return out, fault(ctx, err, "log in at %q", p.Issuer)
	}
	if err := json.Unmarshal(body, &out); err != nil {
		return out, abi.Errorf(abi.Invalid, "log in at %q: its description is not JSON", p.Issuer)
	}
	if strings.TrimSuffix(out.Issuer, "/") != strings.TrimSuffix(p.Issuer, "/") {
		return out, abi.Errorf(abi.Untrusted, "log in at %q: it says that it is %q", p.Issuer, printable(out.Issuer))
	}
	for _, u := range []string{out.Authorization, out.Token, out.Device} {
		if u != "" && safeURL(u) != nil {
			return out, abi.Errorf(abi.Untrusted, "log in at %q: its address %q is not https", p.Issuer, printable(u))
		}
	}
	return out, nil
}

// oauthError is how a token endpoint says no.
type oauthError struct {
	Code string `json:"error"`
	Text string `json:"error_description"`
}

func (e *oauthError) Error() string { return printable(strings.TrimSpace(e.Code + " " + e.Text)) }

// redeem trades a code for the identity token, which must hold the nonce if there is one.
func (p Provider) redeem(ctx context.Context, at string, form url.Values, nonce string) (Token, error) {
	body, err := p.post(ctx, at, form)
	if err != nil {
		return Token{}, err
	}
	var answer struct {
		IDToken string `json:"id_token"`
	}
	if err := json.Unmarshal(body, &answer); err != nil || answer.IDToken == "" {
		return Token{}, abi.Errorf(abi.Invalid, "log in at %q: its answer holds no identity token", p.Issuer)
	}
	t, err := ParseToken(answer.IDToken)
	if err != nil {
		return Token{}, err
	}
	switch {
	case strings.TrimSuffix(t.claims.Issuer, "/") != strings.TrimSuffix(p.Issuer, "/"):
		return Token{}, abi.Errorf(abi.Untrusted, "log in at %q: the identity token is by %q", p.Issuer, t.Issuer())
	case nonce != "" && t.claims.Nonce != nonce:
		return Token{}, abi.Errorf(abi.Untrusted, "log in at %q: the identity token is not for this login", p.Issuer)
	case !t.isFor(p.clientID()):
		return Token{}, abi.Errorf(abi.Untrusted, "log in at %q: the identity token is for somebody else", p.Issuer)
	}
	return t, nil
}

func (p Provider) post(ctx context.Context, at string, form url.Values) ([]byte, error) {
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, at, strings.NewReader(form.Encode()))
	if err != nil {
		return nil, err
	}
	req.Header.Set("Content-Type", "application/x-www-form-urlencoded")
	req.Header.Set("Accept", "application/json")
	body, err := ask(p.client(ctx), req, http.StatusOK)
	if err == nil {
		return body, nil
	}
	if status, ok := errors.AsType[*statusError](err); ok && status.status < 500 {
		var said oauthError
		if json.Unmarshal([]byte(status.body), &said) == nil && said.Code != "" {
			return nil, &said
		}
	}
	return nil, fault(ctx, err, "log in at %q", p.Issuer)
}

// secret is 32 random bytes as text: a state, a nonce, a PKCE verifier.
func secret() string {
	var b [32]byte
	_, _ = rand.Read(b[:]) // it never fails: the runtime ends the process instead
	return base64.RawURLEncoding.EncodeToString(b[:])
}

func challenge(verifier string) string {
	return base64.RawURLEncoding.EncodeToString(sum([]byte(verifier)))
}
