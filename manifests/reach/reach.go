// Package reach says which requests an entry of an http scope covers. Manifests, leases and policies read such entries; one
// grammar here keeps what a person was shown and what the host checks the same.
//
//	entry  = [ methods " " ] scheme "://" host [ ":" port ] [ path ]
//	methods = METHOD { "," METHOD } | "*"        without it: GET; who may GET may HEAD
//	scheme = "http" | "https" | "ws" | "wss"
//	host   = name | "*." name | "*" | address
//	path   = "/" …                               a beginning of paths, cut at a slash
//
// "*." stands for one or more labels, "*" for every name; neither stands for an address, which is written out. A port that is
// left out is the scheme's own. "CONNECT https://host" covers a tunnel, of which nothing but the host is seen.
//
// It reads text and does nothing else: whether a host is a place one may go to at all is not decided here.
package reach

import (
	"fmt"
	"net/netip"
	"slices"
	"strconv"
	"strings"
)

// Entry is one parsed entry of a scope. The zero value covers nothing.
type Entry struct {
	text    string
	methods []string // nil: GET; "*" alone: all
	scheme  string
	host    string // without "*."; empty with below for "*"
	below   bool   // names below host, not host itself
	port    string
	path    string // without a slash at its end
}

// String is the entry as it was written.
func (e Entry) String() string { return e.text }

// Host is the name or address the entry is about: "*" and "*.name" as they stand.
func (e Entry) Host() string {
	switch {
	case e.below && e.host == "":
		return "*"
	case e.below:
		return "*." + e.host
	}
	return e.host
}

// Port is the entry's port.
func (e Entry) Port() string { return e.port }

// Scheme is the entry's scheme.
func (e Entry) Scheme() string { return e.scheme }

// Example is an entry for messages.
const Example = "GET,POST https://api.example.com/v1"

// Parse reads an entry; what is wrong with it is the error's text, one line for a person.
func Parse(text string) (Entry, error) {
	e := Entry{text: text}
	methods, rest, ok := strings.Cut(text, " ")
	if !ok {
		methods, rest = "", text
	}
	if err := e.parseMethods(methods, ok); err != nil {
		return Entry{}, err
	}
	scheme, rest, ok := strings.Cut(rest, "://")
	if !ok || !slices.Contains([]string{"http", "https", "ws", "wss"}, scheme) {
		return Entry{}, fmt.Errorf("an entry is METHODS SCHEME://HOST/PATH with the scheme http, https, ws or wss, such as %q", Example)
	}
	e.scheme = scheme
	authority, path := rest, ""
	if i := strings.IndexByte(rest, '/'); i >= 0 {
		authority, path = rest[:i], rest[i:]
	}
	if err := e.parseAuthority(authority); err != nil {
		return Entry{}, err
	}
	if err := e.parsePath(path); err != nil {
		return Entry{}, err
	}
	return e, nil
}

func (e *Entry) parseMethods(text string, given bool) error {
	if !given {
		return nil
	}
	e.methods = strings.Split(text, ",")
	for i, m := range e.methods {
		if m == "*" && len(e.methods) == 1 {
			return nil
		}
		if m == "" || strings.Trim(m, "ABCDEFGHIJKLMNOPQRSTUVWXYZ-") != "" || len(m) > 32 || slices.Contains(e.methods[:i], m) {
			return fmt.Errorf("%q is no list of methods: write them in capitals with commas and without blanks, or *", text)
		}
	}
	return nil
}

func (e *Entry) parseAuthority(text string) error {
	host, port := text, ""
	if i := strings.LastIndexByte(text, ':'); i >= 0 && !strings.Contains(text[i:], "]") {
		host, port = text[:i], text[i+1:]
		if n, err := strconv.ParseUint(port, 10, 16); err != nil || n == 0 || strconv.FormatUint(n, 10) != port {
			return fmt.Errorf("%q is no port", port)
		}
	}
	e.port = port
	if port == "" {
		e.port = map[bool]string{true: "443", false: "80"}[e.scheme == "https" || e.scheme == "wss"]
	}
	switch {
	case host == "*":
		e.below = true
		return nil
	case strings.HasPrefix(host, "*."):
		e.below, e.host = true, host[2:]
		if isAddress(e.host) {
			return fmt.Errorf("%q: nothing lies below an address", host)
		}
	case strings.HasPrefix(host, "["):
		ip, err := netip.ParseAddr(strings.TrimSuffix(host[1:], "]"))
		if err != nil || !ip.Is6() || ip.Zone() != "" || host != "["+ip.String()+"]" {
			return fmt.Errorf("%q is no IPv6 address in its plain form", host)
		}
		e.host = host
		return nil
	default:
		e.host = host
	}
	return checkName(e.host)
}

func isAddress(host string) bool {
	last := host[strings.LastIndexByte(host, '.')+1:]
	return last != "" && strings.Trim(last, "0123456789") == ""
}

// checkName wants a name as DNS has it: IDN names in their ASCII form, so that look-alikes look alien.
func checkName(host string) error {
	if isAddress(host) {
		if ip, err := netip.ParseAddr(host); err != nil || !ip.Is4() {
			return fmt.Errorf("%q is no IPv4 address in its plain form", host)
		}
		return nil
	}
	if host == "" || len(host) > 253 {
		return fmt.Errorf("%q is no host", host)
	}
	for label := range strings.SplitSeq(host, ".") {
		if label == "" || len(label) > 63 || strings.Trim(label, "abcdefghijklmnopqrstuvwxyz0123456789-") != "" || label[0] == '-' || label[len(label)-1] == '-' {
			return fmt.Errorf(`%q is no host name in lower-case ASCII; * stands alone or before the first dot, and other alphabets are written as xn--…`, host)
		}
	}
	return nil
}

func (e *Entry) parsePath(path string) error {
	if path == "" {
		return nil
	}
	for i := range len(path) {
		if c := path[i]; c <= ' ' || c >= 0x7f || strings.IndexByte(`?#\*"<>^{|}`+"`", c) >= 0 {
			return fmt.Errorf("the path %q has %q in it: a path is a beginning, without *, ? and #, and escaped as in a URL", path, c)
		}
	}
	for segment := range strings.SplitSeq(path, "/") {
		if segment == "." || segment == ".." {
			return fmt.Errorf("the path %q is not in its plain form", path)
		}
	}
	e.path = strings.TrimRight(path, "/")
	return nil
}

// Target is a request as a use names it: "METHOD scheme://host:port/path", the port always there. The zero value is covered
// by nothing.
type Target struct{ Method, Scheme, Host, Port, Path string }

// ParseTarget splits what a use names; false when it has another shape. It allocates nothing.
func ParseTarget(text string) (t Target, ok bool) {
	var authority string
	if t.Method, authority, ok = strings.Cut(text, " "); !ok {
		return Target{}, false
	}
	if t.Scheme, authority, ok = strings.Cut(authority, "://"); !ok {
		return Target{}, false
	}
	i := strings.IndexByte(authority, '/')
	if i < 0 {
		return Target{}, false
	}
	authority, t.Path = authority[:i], authority[i:]
	if i = strings.LastIndexByte(authority, ':'); i <= 0 || i == len(authority)-1 {
		return Target{}, false
	}
	t.Host, t.Port = authority[:i], authority[i+1:]
	return t, t.Method != ""
}

// Covers reports whether the entry admits the request.
func (e *Entry) Covers(t *Target) bool {
	return e.scheme == t.Scheme && e.scheme != "" && e.port == t.Port && e.admits(t.Method) && e.coversHost(t.Host) && e.coversPath(t.Path)
}

func (e *Entry) admits(method string) bool {
	if method == "HEAD" { // it tells less than GET does
		method = "GET"
		if slices.Contains(e.methods, "HEAD") {
			return true
		}
	}
	if e.methods == nil {
		return method == "GET"
	}
	return e.methods[0] == "*" || slices.Contains(e.methods, method)
}

func (e *Entry) coversHost(host string) bool {
	if !e.below {
		return host == e.host
	}
	if host[0] == '[' || isAddress(host) {
		return false
	}
	if e.host == "" {
		return true
	}
	n := len(host) - len(e.host)
	return n > 1 && host[n-1] == '.' && host[n:] == e.host
}

func (e *Entry) coversPath(path string) bool {
	rest, ok := strings.CutPrefix(path, e.path)
	return ok && (rest == "" || rest[0] == '/' || rest[0] == '?')
}

// Within reports whether everything that q covers, e covers.
func (e *Entry) Within(q *Entry) bool {
	if e.scheme != q.scheme || e.scheme == "" || e.port != q.port || !e.coversPath(q.path) {
		return false
	}
	switch {
	case !q.below && !e.coversHost(q.host), q.below && !e.below:
		return false
	case q.below && e.host != "" && q.host != e.host && !(q.host != "" && e.coversHost(q.host)):
		return false
	}
	if e.methods != nil && e.methods[0] == "*" {
		return true
	}
	if q.methods != nil && q.methods[0] == "*" {
		return false
	}
	methods := q.methods
	if methods == nil {
		methods = []string{"GET"}
	}
	return !slices.ContainsFunc(methods, func(m string) bool { return !e.admits(m) })
}
