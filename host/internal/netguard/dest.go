package netguard

import (
	"net/netip"
	"net/url"
	"strconv"
	"strings"
	"unicode"
	"unicode/utf8"
)

// MaxURL bounds a URL, in bytes.
const MaxURL = 8192

// Dest is where a request goes, read one way only. Host is a lower-case name, an IPv4 address or an IPv6 address in
// brackets; IP is valid when it is an address. Path is as it is sent: escaped, beginning with "/".
type Dest struct {
	Scheme string // http, https, ws or wss
	Host   string
	IP     netip.Addr
	Port   uint16
	Path   string
	Query  string // without "?"
}

// TLS reports whether bytes to it are encrypted.
func (d Dest) TLS() bool { return d.Scheme == "https" || d.Scheme == "wss" }

// Origin is scheme, host and port: what credentials belong to.
func (d Dest) Origin() string { return d.Scheme + "://" + d.Host + ":" + strconv.Itoa(int(d.Port)) }

// Target is the destination as leases and policies see it: the origin and the path. The query is left out: it is content.
func (d Dest) Target() string { return d.Origin() + d.Path }

// Authority is what stands in the Host header: the port only where it is not the scheme's own.
func (d Dest) Authority() string {
	if d.Port == defaultPort(d.Scheme) {
		return d.Host
	}
	return d.Host + ":" + strconv.Itoa(int(d.Port))
}

// String is the URL in its one form.
func (d Dest) String() string {
	s := d.Scheme + "://" + d.Authority() + d.Path
	if d.Query != "" {
		s += "?" + d.Query
	}
	return s
}

func defaultPort(scheme string) uint16 {
	if scheme == "https" || scheme == "wss" {
		return 443
	}
	return 80
}

// Parse reads an absolute URL. A fragment is dropped, since it is never sent. Errors are *Refusal.
func Parse(raw string) (Dest, error) {
	var d Dest
	if len(raw) > MaxURL {
		return d, refuse(BadURL, "a URL of %d bytes, at most %d are allowed", len(raw), MaxURL)
	}
	if bad := strings.IndexFunc(raw, func(r rune) bool { return r <= ' ' || r == '\\' || r == utf8.RuneError || unicode.IsControl(r) }); bad >= 0 {
		return d, refuse(BadURL, "the URL %q has a blank, a control character or a backslash in it", show(raw))
	}
	scheme, rest, ok := strings.Cut(raw, "://")
	d.Scheme = strings.ToLower(scheme)
	switch {
	case !ok:
		return d, refuse(BadURL, "%q is no absolute URL", show(raw))
	case d.Scheme != "http" && d.Scheme != "https" && d.Scheme != "ws" && d.Scheme != "wss":
		return d, refuse(BadScheme, "the scheme %q is not http, https, ws or wss", show(scheme))
	}
	authority := rest
	if i := strings.IndexAny(rest, "/?#"); i >= 0 {
		authority = rest[:i]
	}
	if strings.Contains(authority, "@") {
		return d, refuse(UserInfo, "the URL %q names a user in front of its host", show(raw))
	}
	if err := d.authority(authority); err != nil {
		return d, err
	}
	u, err := url.Parse("http://x" + rest[len(authority):])
	if err != nil {
		return d, refuse(BadURL, "%q is no URL: its path cannot be read", show(raw))
	}
	if d.Path, err = cleanPath(u); err != nil {
		return d, err
	}
	d.Query = escapeQuery(u.RawQuery)
	return d, nil
}

// ParseAuthority reads "host:port", as a CONNECT request has it; the port must be there.
func ParseAuthority(raw string) (Dest, error) {
	d := Dest{Scheme: "https", Path: "/"}
	if strings.ContainsAny(raw, "@/?#\\ ") || len(raw) > MaxURL {
		return d, refuse(BadURL, "%q is not host:port", show(raw))
	}
	if _, port := cutPort(raw); port == "" {
		return d, refuse(BadPort, "%q names no port", show(raw))
	}
	return d, d.authority(raw)
}

// cutPort cuts at the last colon outside of brackets. The port keeps its colon.
func cutPort(authority string) (host, port string) {
	i := strings.LastIndexByte(authority, ':')
	if i < 0 || strings.IndexByte(authority[i:], ']') >= 0 {
		return authority, ""
	}
	return authority[:i], authority[i:]
}

func (d *Dest) authority(raw string) (err error) {
	host, port := cutPort(raw)
	d.Port = defaultPort(d.Scheme)
	if port != "" {
		n, err := strconv.ParseUint(port[1:], 10, 16)
		if err != nil || n == 0 || strconv.FormatUint(n, 10) != port[1:] {
			return refuse(BadPort, "the port %q is not a number from 1 to 65535 in its plain form", show(port[1:]))
		}
		d.Port = uint16(n)
	}
	d.Host, d.IP, err = ParseHost(host)
	return err
}

// cleanPath is the path as it is sent. One that climbs is refused in every spelling, since a scope is a beginning of a path and
// what is read as climbing by the server but not here would lead out of it.
func cleanPath(u *url.URL) (string, error) {
	path := u.EscapedPath()
	if path == "" {
		path = "/"
	}
	for text, round := path, 0; round < 4; round++ {
		for segment := range strings.FieldsFuncSeq(text, func(r rune) bool { return r == '/' || r == '\\' }) {
			name, _, _ := strings.Cut(segment, ";")
			if name == "." || name == ".." {
				return "", refuse(BadPath, "the path %q has %q in it", show(path), show(segment))
			}
		}
		if strings.IndexFunc(text, unicode.IsControl) >= 0 {
			return "", refuse(BadPath, "the path %q has a control character in it", show(path))
		}
		next, err := url.PathUnescape(text)
		if err != nil || next == text {
			return path, nil
		}
		text = next
	}
	return "", refuse(BadPath, "the path %q is escaped too often", show(path))
}

// escapeQuery escapes what a request line cannot carry and leaves everything else as it is.
func escapeQuery(q string) string {
	const hex = "0123456789ABCDEF"
	clean := strings.IndexFunc(q, func(r rune) bool { return r <= ' ' || r >= 0x7f }) < 0
	if clean {
		return q
	}
	var b strings.Builder
	for i := range len(q) {
		if c := q[i]; c <= ' ' || c >= 0x7f {
			b.Write([]byte{'%', hex[c>>4], hex[c&15]})
		} else {
			b.WriteByte(c)
		}
	}
	return b.String()
}

// Redirect reads the Location of an answer from d. The new destination is judged like any other; from an encrypted one
// only to an encrypted one.
func (d Dest) Redirect(location string) (Dest, error) {
	base, err := url.Parse(d.String())
	if err != nil {
		return Dest{}, refuse(BadURL, "%q is no URL", show(d.String()))
	}
	// What url.Parse would forgive is judged first, in the form the server sent.
	if strings.ContainsAny(location, "\\\t\r\n") || strings.HasPrefix(strings.TrimLeft(location, " "), "//") && strings.Contains(location, "@") {
		return Dest{}, refuse(BadURL, "the redirect to %q cannot be read one way only", show(location))
	}
	ref, err := url.Parse(location)
	if err != nil || ref.Opaque != "" {
		return Dest{}, refuse(BadURL, "the redirect to %q is no URL", show(location))
	}
	if ref.IsAbs() || ref.Host != "" {
		if !ref.IsAbs() {
			location = base.Scheme + ":" + location
		}
	} else {
		location = base.ResolveReference(ref).String()
	}
	to, err := Parse(location)
	if err == nil && d.TLS() && !to.TLS() {
		return to, refuse(BadScheme, "the redirect to %q leaves encryption behind", show(location))
	}
	return to, err
}
