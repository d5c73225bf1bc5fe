package layout

import (
	"crypto/rand"
	"crypto/sha256"
	"crypto/subtle"
	"encoding/base64"
	"encoding/hex"
	"fmt"
	"net/http"
	"regexp"
	"slices"
	"strings"

	"github.com/arw-project/arw/abi"
	"github.com/arw-project/arw/manifests/strict"
)

// right is what a request needs.
type right int

const (
	mayPull right = iota
	mayPush
)

func (r right) String() string {
	if r == mayPush {
		return "write"
	}
	return "read"
}

// Access says who may read and write which repositories; docs/guide/registry.md shows its file. Nobody writes anything
// that no user was given. It is immutable.
type Access struct {
	anonymous []string
	users     []user
}

type user struct {
	name       string
	hash       [sha256.Size]byte
	pull, push []string
}

// accessFile is the form of the file.
type accessFile struct {
	Schema    int                   `toml:"schema"`
	Anonymous []string              `toml:"anonymous"` // what anybody may read
	User      map[string]accessUser `toml:"user"`
}

type accessUser struct {
	Token string   `toml:"token_sha256"` // of the token, in hexadecimal
	Pull  []string `toml:"pull"`
	Push  []string `toml:"push"` // who may push may pull
}

var (
	userGrammar = regexp.MustCompile(`^[A-Za-z0-9][A-Za-z0-9._-]{0,63}$`)
	repoPattern = regexp.MustCompile(`^(?:\*|[a-z0-9]+(?:[._-]+[a-z0-9]+)*(?:/[a-z0-9]+(?:[._-]+[a-z0-9]+)*)*(?:/\*)?)$`)
)

// ParseAccess reads an access file. Errors: Invalid, with every line that is wrong.
func ParseAccess(file string, src []byte) (*Access, error) {
	var raw accessFile
	if _, err := strict.Decode(file, src, &raw); err != nil {
		return nil, abi.Errorf(abi.Invalid, "read access file %q: %w", file, err).WithHint("docs/guide/registry.md shows the form")
	}
	bad := func(format string, args ...any) error {
		return abi.Errorf(abi.Invalid, "read access file %q: %w", file, fmt.Errorf(format, args...)).WithHint("docs/guide/registry.md shows the form")
	}
	if raw.Schema != 1 {
		return nil, bad("schema is %d, this registry knows 1", raw.Schema)
	}
	a := &Access{anonymous: raw.Anonymous}
	seen := map[[sha256.Size]byte]string{}
	for name, u := range raw.User {
		hash, err := hex.DecodeString(u.Token)
		if !userGrammar.MatchString(name) || err != nil || len(hash) != sha256.Size {
			return nil, bad("user %q needs a name of letters and digits and a token_sha256 of 64 hexadecimal digits", name)
		}
		one := user{name: name, hash: [sha256.Size]byte(hash), pull: u.Pull, push: u.Push}
		if other, ok := seen[one.hash]; ok {
			return nil, bad("users %q and %q have the same token", min(name, other), max(name, other))
		}
		seen[one.hash] = name
		a.users = append(a.users, one)
	}
	for _, p := range a.patterns() {
		if !repoPattern.MatchString(p) {
			return nil, bad("%q is no pattern of repositories: write a name, NAMESPACE/* or *", p)
		}
	}
	return a, nil
}

func (a *Access) patterns() []string {
	all := slices.Clone(a.anonymous)
	for _, u := range a.users {
		all = append(append(all, u.pull...), u.push...)
	}
	return all
}

// NewToken makes a token and the hash of it that an access file holds. It has 256 random bits, so that its plain hash
// tells nothing; passwords that people choose are not for access files.
func NewToken() (token, hash string) {
	var secret [32]byte
	_, _ = rand.Read(secret[:]) // it never fails
	token = "arwr_" + base64.RawURLEncoding.EncodeToString(secret[:])
	sum := sha256.Sum256([]byte(token))
	return token, hex.EncodeToString(sum[:])
}

// covers reports whether one of the patterns means the repository; NAMESPACE/* means everything below.
func covers(patterns []string, repo string) bool {
	return slices.ContainsFunc(patterns, func(p string) bool {
		if p == "*" || p == repo {
			return true
		}
		ns, below := strings.CutSuffix(p, "/*")
		return below && strings.HasPrefix(repo, ns+"/")
	})
}

// who finds the user of a request: by basic password or bearer token; with a basic name, it must be the user's. Every
// user's hash is compared, each in constant time. known says that credentials were brought at all.
func (a *Access) who(r *http.Request) (u *user, brought bool) {
	name, token, basic := r.BasicAuth()
	if !basic {
		var ok bool
		if token, ok = strings.CutPrefix(r.Header.Get("Authorization"), "Bearer "); !ok {
			return nil, r.Header.Get("Authorization") != ""
		}
	}
	sum := sha256.Sum256([]byte(token))
	for i := range a.users {
		same := subtle.ConstantTimeCompare(sum[:], a.users[i].hash[:]) == 1
		if same && (!basic || name == a.users[i].name) {
			u = &a.users[i]
		}
	}
	return u, true
}

// named finds a user.
func (a *Access) named(name string) *user {
	for i := range a.users {
		if a.users[i].name == name {
			return &a.users[i]
		}
	}
	return nil
}

// allows reports whether a user, nil for nobody, has a right; repo "" is the registry itself.
func (a *Access) allows(u *user, need right, repo string) bool {
	if repo == "" {
		return u != nil || len(a.anonymous) > 0
	}
	if need == mayPush {
		return u != nil && covers(u.push, repo)
	}
	return covers(a.anonymous, repo) || u != nil && (covers(u.pull, repo) || covers(u.push, repo))
}

// permit asks the access list, or the one token, whether a request may do something with a repository.
func (x *exchange) permit(need right, repo string) error {
	if x.opts.Upstream != nil && need == mayPush {
		return abi.Errorf(abi.Unsupported, "write to the registry: it is a mirror").WithHint("push to the registry it mirrors")
	}
	if x.opts.Access == nil {
		if x.opts.Token == "" || (need == mayPull && !x.opts.Private) || x.authentic(x.r) {
			return nil
		}
		return abi.Errorf(abi.Unauthenticated, "%s %q: the token is missing or wrong", need, repo)
	}
	if text, ok := strings.CutPrefix(x.r.Header.Get("Authorization"), "Bearer "+passPrefix); ok {
		p, good := x.tokens.open(passPrefix + text)
		switch {
		case !good:
			return abi.Errorf(abi.Unauthenticated, "%s %q: the pass is not this registry's, or has expired", need, repo)
		case p.allows(need, repo):
			return nil
		}
		if u := x.opts.Access.named(p.User); u != nil && !x.opts.Access.allows(u, need, repo) {
			return abi.Errorf(abi.Denied, "%s %q: user %q was not given that", need, repo, u.name)
		}
		return abi.Errorf(abi.Unauthenticated, "%s %q: the pass does not say so", need, repo) // another pass may
	}
	u, brought := x.opts.Access.who(x.r)
	switch {
	case brought && u == nil:
		return abi.Errorf(abi.Unauthenticated, "%s %q: no user has these credentials", need, repo)
	case x.opts.Access.allows(u, need, repo):
		return nil
	case u == nil:
		return abi.Errorf(abi.Unauthenticated, "%s %q: that is not for everybody", need, repo)
	}
	return abi.Errorf(abi.Denied, "%s %q: user %q was not given that", need, repo, u.name)
}

// visible keeps the names that a request may know of.
func (x *exchange) visible(names []string) []string {
	if x.opts.Access == nil {
		return names
	}
	u, _ := x.opts.Access.who(x.r) // a pass is for repositories, so that its bearer sees what everybody does
	return slices.DeleteFunc(names, func(n string) bool { return !x.opts.Access.allows(u, mayPull, n) })
}
