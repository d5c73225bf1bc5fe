package netguard

import (
	"net/http"
	"slices"
	"strings"
)

// badPorts are those that browsers refuse (the "bad port" table of the Fetch standard): a request there speaks to something
// that is no web server and may take it for commands. 53, 853 and 5353 are the resolvers'.
var badPorts = []uint16{
	1, 7, 9, 11, 13, 15, 17, 19, 20, 21, 22, 23, 25, 37, 42, 43, 53, 69, 77, 79, 87, 95, 101, 102, 103, 104, 109, 110, 111, 113, 115, 117,
	119, 123, 135, 137, 139, 143, 161, 179, 389, 427, 465, 512, 513, 514, 515, 526, 530, 531, 532, 540, 548, 554, 556, 563, 587, 601, 636,
	853, 989, 990, 993, 995, 1719, 1720, 1723, 2049, 3659, 4045, 4190, 5060, 5061, 5353, 6000, 6379, 6566, 6665, 6666, 6667, 6668, 6669, 6679, 6697,
	10080, 11211,
}

// NeverPort reports whether a port is one on which no web server listens.
func NeverPort(port uint16) bool {
	_, found := slices.BinarySearch(badPorts, port)
	return found
}

// ambient are the request headers that say who is connected to whom, or how: the guard's to set. Everything that begins
// with "Proxy-" or "Sec-" is too.
var ambient = []string{
	"Connection", "Content-Length", "Expect", "Forwarded", "Host", "Keep-Alive", "Te", "Trailer", "Transfer-Encoding", "Upgrade", "Via",
	"X-Forwarded-For", "X-Forwarded-Host", "X-Forwarded-Proto", "X-Real-Ip", "X-Arw-Capsule",
}

// CheckHeader refuses a header that is not a caller's to set, or that would end its line. The name is in any case.
func CheckHeader(name, value string) error {
	key := http.CanonicalHeaderKey(name)
	switch {
	case !token(name):
		return refuse(BadHeader, "%q is no name of a header", show(name))
	case strings.ContainsFunc(value, func(r rune) bool { return r < ' ' && r != '\t' || r == 0x7f }):
		return refuse(BadHeader, "the value of header %q has a control character in it", show(name))
	case slices.Contains(ambient, key), strings.HasPrefix(key, "Proxy-"), strings.HasPrefix(key, "Sec-"):
		return refuse(BadHeader, "the header %q is not the caller's to set", show(name))
	}
	return nil
}

// token is a name by RFC 9110.
func token(s string) bool {
	if s == "" || len(s) > 256 {
		return false
	}
	for i := range len(s) {
		c := s[i]
		if c <= ' ' || c >= 0x7f || strings.IndexByte(`"(),/:;<=>?@[\]{}`, c) >= 0 {
			return false
		}
	}
	return true
}

// Credential reports whether a header carries what belongs to one origin and is left behind when a redirect leads to
// another.
func Credential(name string) bool {
	switch key := http.CanonicalHeaderKey(name); key {
	case "Authorization", "Cookie", "Cookie2", "Www-Authenticate", "Referer", "Origin", "X-Api-Key", "Api-Key", "X-Auth-Token", "X-Csrf-Token":
		return true
	default:
		low := strings.ToLower(key)
		return strings.Contains(low, "token") || strings.Contains(low, "secret") || strings.Contains(low, "api-key") || strings.Contains(low, "apikey") ||
			strings.Contains(low, "auth") || strings.Contains(low, "session") || strings.Contains(low, "password")
	}
}

// CheckResolver refuses a request that asks somebody else's resolver: DNS over HTTPS by its host, its path or its media
// type, DNS over TLS by its port.
func CheckResolver(d Dest, h http.Header) error {
	switch {
	case d.Port == 853 || d.Port == 53:
		return refuse(Resolver, "port %d is a resolver's", d.Port)
	case IsResolver(d.Host):
		return refuse(Resolver, "the host %q answers DNS over HTTPS", d.Host)
	case strings.Contains(strings.ToLower(d.Path), "/dns-query"), strings.HasSuffix(d.Path, "/resolve") && strings.Contains(d.Query, "name=") && strings.Contains(d.Query, "type="):
		return refuse(Resolver, "the path %q is that of DNS over HTTPS", show(d.Path))
	}
	for _, key := range []string{"Accept", "Content-Type"} {
		for _, v := range h.Values(key) {
			if v = strings.ToLower(v); strings.Contains(v, "application/dns-message") || strings.Contains(v, "application/dns-json") || strings.Contains(v, "application/oblivious-dns-message") {
				return refuse(Resolver, "the media type %q is that of DNS over HTTPS", show(v))
			}
		}
	}
	return nil
}
