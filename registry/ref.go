package registry

import (
	"regexp"
	"strings"

	"github.com/arw-project/arw/abi"
)

// Ref names a pack in a registry: docs/spec/pack.md, "References". Tag and Digest may both be empty, which asks for the
// newest release; when both are given the digest decides.
type Ref struct {
	Registry string // location as Open takes it: "dir:/path", "host[:port][/prefix]"
	Name     string // "namespace/name"
	Tag      string // as the registry stores it; see Tag and Version
	Digest   string // "sha256:…"
}

var (
	packGrammar    = regexp.MustCompile(`^[a-z0-9]+(?:-+[a-z0-9]+)*/[a-z0-9]+(?:-+[a-z0-9]+)*$`)
	hostGrammar    = regexp.MustCompile(`^(?:[a-z0-9](?:[a-z0-9-]*[a-z0-9])?(?:\.[a-z0-9](?:[a-z0-9-]*[a-z0-9])?)*|\[[0-9a-f:.]+\])(?::[0-9]{1,5})?$`)
	prefixGrammar  = regexp.MustCompile(`^[a-z0-9]+(?:(?:\.|_|__|-+)[a-z0-9]+)*(?:/[a-z0-9]+(?:(?:\.|_|__|-+)[a-z0-9]+)*)*$`)
	tagGrammar     = regexp.MustCompile(`^[A-Za-z0-9_][A-Za-z0-9._-]{0,127}$`)
	digestGrammar  = regexp.MustCompile(`^sha256:[0-9a-f]{64}$`)
	versionGrammar = regexp.MustCompile(`^(0|[1-9][0-9]*)\.(0|[1-9][0-9]*)\.(0|[1-9][0-9]*)` +
		`(?:-((?:0|[1-9][0-9]*|[0-9]*[A-Za-z-][0-9A-Za-z-]*)(?:\.(?:0|[1-9][0-9]*|[0-9]*[A-Za-z-][0-9A-Za-z-]*))*))?` +
		`(?:\+([0-9A-Za-z-]+(?:\.[0-9A-Za-z-]+)*))?$`)
)

// maxRef bounds a reference; more is no reference and not worth a grammar's time.
const maxRef = 4096

// ParseRef reads a reference; one that names no registry gets the default one, and fails with abi.Invalid when that is
// empty. Everything else that does not fit the grammar fails with abi.Invalid too.
func ParseRef(s, defaultRegistry string) (Ref, error) {
	bad := func(why, hint string) (Ref, error) {
		if len(s) > 200 {
			s = s[:200] + "…"
		}
		return Ref{}, abi.Errorf(abi.Invalid, "read reference %q: %s", s, why).WithHint("%s", hint)
	}
	if len(s) > maxRef {
		return bad("too long", "write namespace/name:version")
	}
	r, rest, why := splitRegistry(s)
	if why != "" {
		return bad(why, "write namespace/name:version, host:port/namespace/name:version or dir:/path//namespace/name:version")
	}
	rest, digest, pinned := strings.Cut(rest, "@")
	if pinned && !digestGrammar.MatchString(digest) {
		return bad("what follows the @ is not a digest", "write sha256: and 64 lower-case hexadecimal digits")
	}
	name, tag, tagged := strings.Cut(rest, ":")
	tag = Tag(tag)
	if tagged && !tagGrammar.MatchString(tag) {
		return bad("what follows the name is not a version or tag", "write namespace/name:1.2.3")
	}
	if !packGrammar.MatchString(name) {
		return bad("the name is not namespace/name", "use lower-case letters, digits and - within the two parts of the name")
	}
	if r == "" {
		r = defaultRegistry
	}
	if r == "" {
		return bad("it names no registry and none is set", "write host:port/ or dir:/path// before the name, or set a registry")
	}
	return Ref{Registry: r, Name: name, Tag: tag, Digest: digest}, nil
}

// splitRegistry takes the registry off the front of a reference; empty when there is none. The last two parts of a path
// are always the pack's name.
func splitRegistry(s string) (registry, rest, why string) {
	if p, ok := strings.CutPrefix(s, "dir:"); ok {
		return splitDir(p)
	}
	scheme := ""
	for _, p := range []string{"http://", "https://"} {
		if after, ok := strings.CutPrefix(s, p); ok {
			scheme, s = p, after
		}
	}
	end := len(s)
	if i := strings.IndexByte(s, '@'); i >= 0 {
		end = i
	}
	cut := strings.LastIndexByte(s[:end], '/')
	if cut >= 0 {
		cut = strings.LastIndexByte(s[:cut], '/')
	}
	if cut < 0 {
		if scheme != "" {
			return "", "", "a host must be followed by namespace/name"
		}
		return "", s, ""
	}
	host, prefix, hasPrefix := strings.Cut(s[:cut], "/")
	host = strings.ToLower(host)
	switch {
	case !hostGrammar.MatchString(host):
		return "", "", "what precedes the name is not a host"
	case scheme == "" && host != "localhost" && !strings.ContainsAny(host, ".:"):
		return "", "", "the name has more than two parts and the first is not a host"
	case hasPrefix && !prefixGrammar.MatchString(prefix):
		return "", "", "what stands between host and name is not a path of a registry"
	case hasPrefix:
		host += "/" + prefix
	}
	return scheme + host, s[cut+1:], ""
}

// splitDir takes a path off the front of a reference into a directory: up to the last //.
func splitDir(p string) (registry, rest, why string) {
	i := strings.LastIndex(p, "//")
	if i < 1 {
		return "", "", "a directory needs // before the pack's name"
	}
	dir := strings.TrimRight(p[:i], "/")
	if dir == "" {
		dir = "/"
	}
	return "dir:" + dir, p[i+2:], ""
}

// String is the reference as ParseRef reads it.
func (r Ref) String() string {
	var b strings.Builder
	if r.Registry != "" {
		b.WriteString(r.Registry)
		if strings.HasPrefix(r.Registry, "dir:") {
			b.WriteString("/")
		}
		b.WriteString("/")
	}
	b.WriteString(r.Name)
	if r.Tag != "" {
		b.WriteString(":" + r.Tag)
	}
	if r.Digest != "" {
		b.WriteString("@" + r.Digest)
	}
	return b.String()
}

// Tag is the tag of a version: the version itself, with the + of build metadata, which no tag may hold, written as _.
func Tag(version string) string { return strings.ReplaceAll(version, "+", "_") }

// Version is the version of a tag, and whether the tag is one. Semantic versions hold no _, so nothing is lost.
func Version(tag string) (string, bool) {
	v := strings.ReplaceAll(tag, "_", "+")
	return v, versionGrammar.MatchString(v)
}

// CompareVersions orders two semantic versions by precedence: negative, zero or positive. What is no version comes before
// all versions, by its text.
func CompareVersions(a, b string) int {
	va, vb := versionGrammar.MatchString(a), versionGrammar.MatchString(b)
	switch {
	case va && vb:
		return compareVersions(a, b)
	case va:
		return 1
	case vb:
		return -1
	}
	return strings.Compare(a, b)
}

// compareVersions orders two semantic versions by precedence (semver 2.0.0, section 11).
func compareVersions(a, b string) int {
	x, y := versionGrammar.FindStringSubmatch(a), versionGrammar.FindStringSubmatch(b)
	for i := 1; i <= 3; i++ {
		if c := compareNumbers(x[i], y[i]); c != 0 {
			return c
		}
	}
	if x[4] == "" || y[4] == "" { // a release comes after its pre-releases
		return len(y[4]) - len(x[4])
	}
	p, q := strings.Split(x[4], "."), strings.Split(y[4], ".")
	for i := range min(len(p), len(q)) {
		if c := compareIdentifiers(p[i], q[i]); c != 0 {
			return c
		}
	}
	return len(p) - len(q)
}

func compareIdentifiers(a, b string) int {
	an, bn := strings.Trim(a, "0123456789") == "", strings.Trim(b, "0123456789") == ""
	switch {
	case an && bn:
		return compareNumbers(a, b)
	case an:
		return -1
	case bn:
		return 1
	}
	return strings.Compare(a, b)
}

// compareNumbers compares decimal numbers of any length without leading zeros.
func compareNumbers(a, b string) int {
	if len(a) != len(b) {
		return len(a) - len(b)
	}
	return strings.Compare(a, b)
}
