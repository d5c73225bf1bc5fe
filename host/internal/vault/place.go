package vault

import (
	"context"
	"encoding/base64"
	"net/http"
	"net/url"
	"path"
	"regexp"
	"slices"
	"strings"
	"unicode"

	"github.com/arw-project/arw/abi"
)

// A token's Place says where in a request it goes, and {} in it stands for the value:
//
//	header:Authorization: Bearer {}     a header
//	basic:user                          HTTP basic authentication with this user and the value as password
//	query:api_key={}                    a parameter of the query, for services that know nothing better
const defaultPlace = "header:Authorization: Bearer {}"

var (
	nameShape   = regexp.MustCompile(`^[a-z0-9_]+([.-][a-z0-9_]+)*$`)
	headerShape = regexp.MustCompile(`^[A-Za-z0-9-]{1,64}$`)
	paramShape  = regexp.MustCompile(`^[A-Za-z0-9_.-]{1,64}$`)
)

// check holds a secret to its rules and fills what was left out.
func check(s *Secret, value []byte) error {
	bad := func(format string, args ...any) *abi.Error {
		return abi.Errorf(abi.Invalid, "store secret %q: "+format, append([]any{clip(s.Name)}, args...)...)
	}
	switch {
	case len(s.Name) > 64 || !nameShape.MatchString(s.Name):
		return bad("a name has 1 to 64 of a-z, 0-9, _ and, between them, . and -")
	case !slices.Contains(Kinds(), s.Kind):
		return bad("there is no kind %q", s.Kind).WithHint("the kinds are %s", strings.Join(Kinds(), ", "))
	case len(value) > MaxValue:
		return abi.Errorf(abi.TooLarge, "store secret %q: %d bytes, at most %d are kept", s.Name, len(value), MaxValue)
	case len(s.Note) > 500 || strings.ContainsFunc(s.Note, unicode.IsControl):
		return bad("a note is one line of at most 500 bytes")
	}
	if s.Kind != Token {
		if len(s.Audience) > 0 || s.Place != "" {
			return bad("a key is sent nowhere, so it has no audience and no place")
		}
		return nil
	}
	return checkToken(s, value, bad)
}

func checkToken(s *Secret, value []byte, bad func(string, ...any) *abi.Error) error {
	switch {
	case len(value) < 8:
		return bad("a token has at least 8 bytes: a shorter one could not be told from ordinary text in what is redacted")
	case !printable(value):
		return bad("a token is printable ASCII; cut line ends off")
	case len(s.Audience) == 0:
		return bad("it names no audience, so it could be sent nowhere").WithHint("such as --audience https://api.example.com")
	case len(s.Audience) > 16:
		return bad("at most 16 audiences")
	}
	s.Audience = slices.Clone(s.Audience)
	for i, a := range s.Audience {
		clean, why := cleanAudience(a)
		if why != "" {
			return bad("audience %q: %s", clip(a), why)
		}
		s.Audience[i] = clean
	}
	if s.Place == "" {
		s.Place = defaultPlace
	}
	if _, ok := parsePlace(s.Place); !ok {
		return bad("place %q is none", clip(s.Place)).WithHint("such as %q, %q or %q", defaultPlace, "basic:user", "query:api_key={}")
	}
	return nil
}

func printable(b []byte) bool {
	return !slices.ContainsFunc(b, func(c byte) bool { return c < 0x20 || c > 0x7e })
}

// cleanAudience is an audience in the one form that is compared, or what is wrong with it.
func cleanAudience(text string) (string, string) {
	u, err := url.Parse(text)
	switch {
	case err != nil || u.Host == "" || u.Opaque != "":
		return "", "it is no origin such as https://api.example.com"
	case u.Scheme != "https" && !(u.Scheme == "http" && loopback(u.Hostname())):
		return "", "a token goes over https only, or to this machine"
	case u.User != nil || u.RawQuery != "" || u.Fragment != "":
		return "", "it has a user, a query or a fragment"
	case strings.Contains(u.Host, "*"):
		return "", "an audience is one host, without *"
	case strings.Contains(u.EscapedPath(), "%"):
		return "", "its path holds escapes"
	}
	return origin(u) + strings.TrimSuffix(path.Clean("/"+u.Path), "/"), ""
}

func loopback(host string) bool { return host == "localhost" || host == "127.0.0.1" || host == "::1" }

// origin is scheme, host and port in lower case, without the port that the scheme implies.
func origin(u *url.URL) string {
	host, port := strings.ToLower(strings.TrimSuffix(u.Hostname(), ".")), u.Port()
	if strings.Contains(host, ":") {
		host = "[" + host + "]"
	}
	if port != "" && !(u.Scheme == "https" && port == "443") && !(u.Scheme == "http" && port == "80") {
		host += ":" + port
	}
	return strings.ToLower(u.Scheme) + "://" + host
}

// covers reports whether an audience admits a URL: the same origin, and a path at or below its own. A path that is not
// clean, or hides something in escapes, could be read differently by who answers, so no audience with a path covers it.
func covers(audience string, u *url.URL) bool {
	a, err := url.Parse(audience)
	if err != nil || origin(a) != origin(u) || u.User != nil {
		return false
	}
	if a.Path == "" || a.Path == "/" {
		return true
	}
	p := u.EscapedPath()
	if strings.Contains(p, "%") || strings.Contains(p, "\\") || path.Clean("/"+p) != strings.TrimSuffix(p, "/") && p != "/" {
		return false
	}
	return p == a.Path || strings.HasPrefix(p, a.Path+"/")
}

// place is a parsed Place.
type place struct {
	kind, name, form string
}

func parsePlace(text string) (place, bool) {
	kind, rest, ok := strings.Cut(text, ":")
	if !ok || !printable([]byte(text)) || len(text) > 256 {
		return place{}, false
	}
	p := place{kind: kind}
	switch kind {
	case "header":
		p.name, p.form, ok = strings.Cut(rest, ":")
		p.form = strings.TrimSpace(p.form)
		return p, ok && headerShape.MatchString(p.name) && strings.Count(p.form, "{}") == 1 && !hopHeader(p.name)
	case "basic":
		p.name = rest
		return p, rest != "" && !strings.Contains(rest, ":")
	case "query":
		p.name, p.form, ok = strings.Cut(rest, "=")
		return p, ok && paramShape.MatchString(p.name) && strings.Count(p.form, "{}") == 1
	}
	return place{}, false
}

// hopHeader are headers that steer the connection and are no place for a secret.
func hopHeader(name string) bool {
	switch http.CanonicalHeaderKey(name) {
	case "Host", "Connection", "Transfer-Encoding", "Content-Length", "Te", "Trailer", "Upgrade", "Proxy-Connection":
		return true
	}
	return false
}

// Fill puts a token into a request that is about to be sent to its final address. Errors: NotFound, Unsupported for a
// key, Denied when no audience covers the request's URL, those of the journal. On an error the request is as it was.
func (v *Vault) Fill(ctx context.Context, by User, name string, r *http.Request) error {
	meant := func(about Secret) error {
		if slices.ContainsFunc(about.Audience, func(a string) bool { return covers(a, r.URL) }) {
			return nil
		}
		return abi.Errorf(abi.Denied, "send secret %q to %q: that is not its audience", name, origin(r.URL)).
			WithHint("its audience is %s; the operator can store it again with another", strings.Join(about.Audience, ", "))
	}
	return v.use(ctx, by, "fill in", name, []string{Token}, meant, func(e *entry) error {
		p, ok := parsePlace(e.about.Place)
		if !ok {
			return abi.Errorf(abi.Corrupt, "send secret %q: its place %q does not read", name, e.about.Place)
		}
		p.fill(r, string(e.value))
		return nil
	})
}

func (p place) fill(r *http.Request, value string) {
	switch p.kind {
	case "header":
		r.Header.Set(p.name, strings.Replace(p.form, "{}", value, 1))
	case "basic":
		r.Header.Set("Authorization", "Basic "+base64.StdEncoding.EncodeToString([]byte(p.name+":"+value)))
	case "query":
		q := r.URL.Query()
		q.Set(p.name, strings.Replace(p.form, "{}", value, 1))
		r.URL.RawQuery = q.Encode()
	}
}
