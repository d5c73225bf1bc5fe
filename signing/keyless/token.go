package keyless

import (
	"context"
	"encoding/base64"
	"encoding/json"
	"net/http"
	"net/url"
	"strings"
	"time"

	"github.com/arw-project/arw/abi"
)

// Audience is whom an identity token is for: every Sigstore's Fulcio expects it.
const Audience = "sigstore"

const maxToken = 64 << 10

// Token is an OpenID Connect identity token. It prints as nothing, so that no log and no error can hold it.
type Token struct {
	raw    string
	claims claims
}

type claims struct {
	Issuer   string          `json:"iss"`
	Subject  string          `json:"sub"`
	Audience json.RawMessage `json:"aud"`
	Email    string          `json:"email"`
	Nonce    string          `json:"nonce"`
	Expires  float64         `json:"exp"`
}

func (Token) String() string               { return "[identity token]" }
func (Token) GoString() string             { return "[identity token]" }
func (Token) MarshalJSON() ([]byte, error) { return []byte(`"[identity token]"`), nil }

// Issuer and Subject are what the token claims; Fulcio checks it.
func (t Token) Issuer() string { return printable(t.claims.Issuer) }

// Subject is the e-mail address, or the subject where there is none.
func (t Token) Subject() string {
	if t.claims.Email != "" {
		return printable(t.claims.Email)
	}
	return printable(t.claims.Subject)
}

// ParseToken reads a token's claims without checking its signature, which is for whoever accepts it. Errors: Invalid; they
// do not show the token.
func ParseToken(raw string) (Token, error) {
	raw = strings.TrimSpace(raw)
	if len(raw) > maxToken {
		return Token{}, abi.Errorf(abi.TooLarge, "read identity token: more than %d bytes", maxToken)
	}
	bad := func(what string) (Token, error) {
		return Token{}, abi.Errorf(abi.Invalid, "read identity token: %s", what).
			WithHint("it is the JWT that an OpenID Connect provider issues, three parts with dots between")
	}
	parts := strings.Split(raw, ".")
	if len(parts) != 3 || parts[1] == "" || strings.ContainsAny(raw, " \t\r\n") {
		return bad("it is not a JWT")
	}
	body, err := base64.RawURLEncoding.DecodeString(parts[1])
	if err != nil {
		return bad("its claims are not base64url")
	}
	t := Token{raw: raw}
	if err := json.Unmarshal(body, &t.claims); err != nil {
		return bad("its claims are not JSON of the right types")
	}
	return t, nil
}

// usable refuses a token that Fulcio would refuse, in clearer words than it would use.
func (t Token) usable(now time.Time) error {
	if t.claims.Expires > 0 && now.Unix() >= int64(t.claims.Expires) {
		return abi.Errorf(abi.Invalid, "sign as %q: the identity token expired at %s", t.Subject(),
			time.Unix(int64(t.claims.Expires), 0).UTC().Format(time.RFC3339)).WithHint("get a new one; they live minutes")
	}
	if !t.isFor(Audience) {
		return abi.Errorf(abi.Invalid, "sign as %q: the identity token is not for audience %q", t.Subject(), Audience).
			WithHint("ask the provider of %q for a token with aud = %q", t.Issuer(), Audience)
	}
	return nil
}

// isFor reports whether an audience is among the token's: one string, or a list.
func (t Token) isFor(audience string) bool {
	var one string
	if json.Unmarshal(t.claims.Audience, &one) == nil {
		return one == audience
	}
	var many []string
	_ = json.Unmarshal(t.claims.Audience, &many)
	for _, a := range many {
		if a == audience {
			return true
		}
	}
	return false
}

// scrub takes the token out of an error that a service may have put it into.
func (t Token) scrub(err error) error {
	if err == nil || t.raw == "" || !strings.Contains(err.Error(), t.raw) {
		return err
	}
	clean := abi.Errorf(abi.CodeOf(err), "%s", strings.ReplaceAll(err.Error(), t.raw, "[identity token]"))
	return clean.WithHint("%s", abi.HintOf(err))
}

// TokenSource finds out who signs.
type TokenSource interface {
	Token(ctx context.Context) (Token, error)
}

// Given is the source of a token that somebody has already. It is a function inside, so that no printer reaches the token.
func Given(t Token) TokenSource { return given(func() Token { return t }) }

type given func() Token

func (g given) Token(context.Context) (Token, error) { return g(), nil }

// Ambient takes the token that a CI system offers to its jobs: GitHub Actions by a request to the address in the
// environment, GitLab and others in the variable SIGSTORE_ID_TOKEN.
type Ambient struct {
	Env       func(string) string
	Transport http.RoundTripper
}

// Present reports whether the environment is such a job's.
func (a Ambient) Present() bool {
	return a.Env("SIGSTORE_ID_TOKEN") != "" || a.Env("ACTIONS_ID_TOKEN_REQUEST_URL") != ""
}

// Token fetches it. Errors: NotFound (no CI system offers one), Denied, Unavailable, Invalid.
func (a Ambient) Token(ctx context.Context) (Token, error) {
	if raw := a.Env("SIGSTORE_ID_TOKEN"); raw != "" {
		return ParseToken(raw)
	}
	at, bearer := a.Env("ACTIONS_ID_TOKEN_REQUEST_URL"), a.Env("ACTIONS_ID_TOKEN_REQUEST_TOKEN")
	if at == "" || bearer == "" {
		return Token{}, abi.Errorf(abi.NotFound, "find an identity token: no CI system offers one here").
			WithHint("in GitHub Actions give the job \"permissions: id-token: write\"; in GitLab CI declare id_tokens: SIGSTORE_ID_TOKEN: aud: sigstore")
	}
	if err := safeURL(at); err != nil {
		return Token{}, err
	}
	u, err := url.Parse(at)
	if err != nil {
		return Token{}, abi.Errorf(abi.Invalid, "find an identity token: ACTIONS_ID_TOKEN_REQUEST_URL is no address")
	}
	q := u.Query()
	q.Set("audience", Audience)
	u.RawQuery = q.Encode()
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, u.String(), nil)
	if err != nil {
		return Token{}, abi.Errorf(abi.Invalid, "find an identity token: %w", err)
	}
	req.Header.Set("Authorization", "Bearer "+bearer)
	body, err := ask(&http.Client{Transport: guard(ctx, a.Transport), Timeout: serviceTimeout}, req, http.StatusOK)
	if err != nil {
		return Token{}, Token{raw: bearer}.scrub(fault(ctx, err, "ask the CI system at %q for an identity token", u.Host))
	}
	var answer struct {
		Value string `json:"value"`
	}
	if err := json.Unmarshal(body, &answer); err != nil {
		return Token{}, abi.Errorf(abi.Invalid, "ask the CI system at %q for an identity token: its answer is not JSON", u.Host)
	}
	return ParseToken(answer.Value)
}
