package layout

import (
	"crypto/hmac"
	"crypto/rand"
	"crypto/sha256"
	"encoding/base64"
	"encoding/json"
	"fmt"
	"net/http"
	"slices"
	"strings"
	"time"

	"github.com/arw-project/arw/abi"
)

// passLife is how long a pass from /token is good for. It is short, since a user who is taken out of the access file keeps
// the passes that are out.
const passLife = 5 * time.Minute

// tokenService hands out passes: the token flow of the distribution protocol, for clients that bring their token once
// and then a pass that says no more than what they are about to do. A pass is signed with a key this process made for
// itself, so it is good here alone and no longer than the process lives.
type tokenService struct {
	key [32]byte
	now func() time.Time
}

func newTokenService() *tokenService {
	t := &tokenService{now: time.Now}
	_, _ = rand.Read(t.key[:]) // it never fails
	return t
}

// pass is what a client was allowed when it asked.
type pass struct {
	User    string   `json:"u,omitempty"` // empty: nobody
	Pull    []string `json:"r,omitempty"` // repositories
	Push    []string `json:"w,omitempty"`
	Expires int64    `json:"e"` // Unix seconds
}

const passPrefix = "arwp_"

func (t *tokenService) seal(p pass) string {
	body, err := json.Marshal(p)
	if err != nil {
		panic(err) // a plain type of ours
	}
	mac := hmac.New(sha256.New, t.key[:])
	mac.Write(body)
	enc := base64.RawURLEncoding
	return passPrefix + enc.EncodeToString(body) + "." + enc.EncodeToString(mac.Sum(nil))
}

// open reads a pass that this process made and that has not expired.
func (t *tokenService) open(text string) (*pass, bool) {
	body64, mac64, ok := strings.Cut(strings.TrimPrefix(text, passPrefix), ".")
	if !ok || !strings.HasPrefix(text, passPrefix) {
		return nil, false
	}
	body, err1 := base64.RawURLEncoding.DecodeString(body64)
	given, err2 := base64.RawURLEncoding.DecodeString(mac64)
	mac := hmac.New(sha256.New, t.key[:])
	mac.Write(body)
	if err1 != nil || err2 != nil || !hmac.Equal(given, mac.Sum(nil)) {
		return nil, false
	}
	p := &pass{}
	if json.Unmarshal(body, p) != nil || t.now().Unix() >= p.Expires {
		return nil, false
	}
	return p, true
}

func (p *pass) allows(need right, repo string) bool {
	if repo == "" {
		return true
	}
	return slices.Contains(p.Push, repo) || need == mayPull && slices.Contains(p.Pull, repo)
}

// maxScopes bounds what one pass may say.
const maxScopes = 32

// giveToken answers GET /token: the scopes that were asked for, as far as the user has them. Credentials that are wrong are
// refused, missing ones make a pass for what everybody may read.
func (x *exchange) giveToken() {
	u, brought := x.opts.Access.who(x.r)
	if brought && u == nil {
		x.w.Header().Set("WWW-Authenticate", `Basic realm="arw registry"`)
		x.fail(abi.Errorf(abi.Unauthenticated, "make a pass: no user has these credentials"), "DENIED")
		return
	}
	p := pass{Expires: x.tokens.now().Add(passLife).Unix()}
	if u != nil {
		p.User = u.name
	}
	var scopes []string
	for _, s := range x.r.URL.Query()["scope"] {
		scopes = append(scopes, strings.Fields(s)...)
	}
	if len(scopes) > maxScopes {
		x.fail(abi.Errorf(abi.Invalid, "make a pass: %d scopes, the limit is %d", len(scopes), maxScopes), "DENIED")
		return
	}
	for _, s := range scopes {
		parts := strings.Split(s, ":")
		if len(parts) != 3 || parts[0] != "repository" {
			continue
		}
		repo, actions := parts[1], strings.Split(parts[2], ",")
		if _, err := x.dir.Repo(repo); err != nil {
			continue
		}
		all := slices.Contains(actions, "*")
		if (all || slices.Contains(actions, "pull")) && x.opts.Access.allows(u, mayPull, repo) {
			p.Pull = append(p.Pull, repo)
		}
		if (all || slices.Contains(actions, "push") || slices.Contains(actions, "delete")) && x.opts.Access.allows(u, mayPush, repo) {
			p.Push = append(p.Push, repo)
		}
	}
	sealed := x.tokens.seal(p)
	x.w.Header().Set("Cache-Control", "no-store")
	x.json(http.StatusOK, "application/json", map[string]any{
		"token": sealed, "access_token": sealed, "expires_in": int(passLife.Seconds()), "issued_at": x.tokens.now().UTC().Format(time.RFC3339),
	})
}

// challenge tells a client how to come back: with a pass for what it wanted. The realm names the host the client asked by,
// which was checked before. Where a proxy speaks TLS for us we do not know the scheme, and a wrong one would have the
// client send its token in the clear: there it is asked for the token itself, which it sends the way it came.
func (x *exchange) challenge(need right, repo string) {
	scheme := "http"
	if x.r.TLS != nil {
		scheme = "https"
	}
	if x.opts.Access == nil || scheme == "http" && !isLoopback(x.r.Host) {
		x.w.Header().Set("WWW-Authenticate", `Basic realm="arw registry"`)
		return
	}
	text := fmt.Sprintf(`Bearer realm="%s://%s/token",service="arw"`, scheme, x.r.Host)
	if repo != "" {
		actions := "pull"
		if need == mayPush {
			actions = "pull,push"
		}
		text += fmt.Sprintf(`,scope="repository:%s:%s"`, repo, actions)
	}
	x.w.Header().Set("WWW-Authenticate", text)
}
