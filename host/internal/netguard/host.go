package netguard

import (
	_ "embed"
	"net/netip"
	"strings"
	"unicode/utf8"

	"golang.org/x/net/idna"
	"golang.org/x/net/publicsuffix"
)

//go:embed names.txt
var namesText string

//go:embed doh.txt
var dohText string

// names are tables of names, each of which stands for itself and everything below it.
type names map[string]bool

func readNames(text string) names {
	n := names{}
	for _, f := range lines(text) {
		n[f[0]] = true
	}
	return n
}

func (n names) covers(host string) bool {
	for {
		if n[host] {
			return true
		}
		_, rest, more := strings.Cut(host, ".")
		if !more {
			return false
		}
		host = rest
	}
}

var (
	specialNames = readNames(namesText)
	resolvers    = readNames(dohText)
	// lookup maps a name as browsers do and holds it to the rules of host names.
	lookup = idna.New(idna.MapForLookup(), idna.BidiRule(), idna.StrictDomainName(true), idna.VerifyDNSLength(true), idna.Transitional(false))
)

// ParseHost reads a host as it stands in a URL, without port: a name, an IPv4 address in its plain form, or an IPv6 address in
// brackets. The name that comes back is lower case ASCII without a dot at its end; ip is valid for an address.
func ParseHost(raw string) (name string, ip netip.Addr, err error) {
	switch {
	case raw == "":
		return "", ip, refuse(BadHost, "there is no host")
	case len(raw) > 1024:
		return "", ip, refuse(BadHost, "a host of %d bytes", len(raw))
	case strings.ContainsAny(raw, "%"):
		return "", ip, refuse(BadHost, "the host %q has a zone or an escape in it", show(raw))
	case raw[0] == '[':
		return parseSix(raw)
	}
	ascii, ok := toASCII(raw)
	if !ok {
		return "", ip, refuse(BadHost, "%q is no host name", show(raw))
	}
	if numeric(ascii) {
		ip, err := netip.ParseAddr(ascii)
		if err != nil || ascii != raw {
			return "", netip.Addr{}, refuse(IPSpelling, "the host %q is a number that programs read differently; write the address in its plain form", show(raw))
		}
		return ascii, ip, nil
	}
	if !strings.Contains(ascii, ".") {
		return "", ip, refuse(SpecialName, "the host %q is a single word, which means something else in every network", show(raw))
	}
	if specialNames.covers(ascii) {
		return "", ip, refuse(SpecialName, "the host %q is a name of no place on the public network", show(raw))
	}
	return ascii, ip, nil
}

func parseSix(raw string) (string, netip.Addr, error) {
	inner, ok := strings.CutSuffix(raw[1:], "]")
	ip, err := netip.ParseAddr(inner)
	if !ok || err != nil || !ip.Is6() || ip.Zone() != "" {
		return "", netip.Addr{}, refuse(IPSpelling, "the host %q is no IPv6 address", show(raw))
	}
	return "[" + ip.String() + "]", ip, nil
}

// toASCII is the name in the form that DNS knows.
func toASCII(raw string) (string, bool) {
	for i := range len(raw) {
		if c := raw[i]; c <= ' ' || c == 0x7f || strings.IndexByte(`"#/:<>?@[\]^`+"`{|}", c) >= 0 {
			return "", false
		}
	}
	if !utf8.ValidString(raw) {
		return "", false
	}
	ascii, err := lookup.ToASCII(raw)
	if again, bad := lookup.ToASCII(ascii); err == nil && (bad != nil || again != ascii) {
		return "", false // two readers would not agree
	}
	ascii = strings.TrimSuffix(ascii, ".")
	if err != nil || ascii == "" || strings.HasSuffix(ascii, ".") || strings.HasPrefix(ascii, ".") || strings.Contains(ascii, "..") || len(ascii) > 253 {
		return "", false
	}
	for label := range strings.SplitSeq(ascii, ".") {
		if len(label) > 63 || label[0] == '-' || label[len(label)-1] == '-' {
			return "", false
		}
	}
	return ascii, true
}

// numeric reports whether the last label reads as a number, decimal or hexadecimal: then programs that follow the old
// rules take the whole for an IPv4 address. No top level domain is a number.
func numeric(host string) bool {
	last := host[strings.LastIndexByte(host, '.')+1:]
	if digits(last, "0123456789") {
		return true
	}
	hex, ok := strings.CutPrefix(strings.ToLower(last), "0x")
	return ok && (hex == "" || digits(hex, "0123456789abcdef"))
}

func digits(s, of string) bool { return s != "" && strings.Trim(s, of) == "" }

// Registrable is the part of a name that somebody can register: "example.co.uk" of "a.b.example.co.uk". A name that is
// itself a public suffix, or an address, is its own.
func Registrable(host string) string {
	if host == "" || host[0] == '[' || numeric(host) {
		return host
	}
	domain, err := publicsuffix.EffectiveTLDPlusOne(host)
	if err != nil {
		return host
	}
	return domain
}

// PublicSuffix reports whether a name is one under which everybody may register: a pattern below it would cover strangers.
func PublicSuffix(host string) bool {
	suffix, _ := publicsuffix.PublicSuffix(host)
	return suffix == host
}

// IsResolver reports whether a host answers DNS over HTTPS.
func IsResolver(host string) bool { return resolvers.covers(host) }
