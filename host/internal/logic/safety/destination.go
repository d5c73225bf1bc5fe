package safety

import (
	"errors"
	"fmt"
	"regexp"
	"strings"

	"github.com/arw-project/arw/host/internal/netguard"
)

type destination struct{ severity, why string }

var (
	urls = regexp.MustCompile(`(?i)\b([a-z][a-z0-9+.-]{1,20})://[^\s"'<>` + "`" + `\\^{}|]*`)
	// bare hosts: only such as cannot be words, numbers with dots or colons among them.
	hosts = regexp.MustCompile(`(?i)(^|[\s"'(=,/])((?:\d{1,3}\.){3}\d{1,3}|localhost|metadata\.google\.internal|(?:[a-z0-9-]+\.)+(?:internal|localhost|nip\.io|sslip\.io|lvh\.me|localtest\.me))(?::\d+)?(?:$|[\s"'),/])`)
)

// local are schemes that read this machine or speak protocols by which a server can be told anything.
var local = map[string]bool{"file": true, "gopher": true, "dict": true, "ldap": true, "ldaps": true, "tftp": true, "jar": true, "netdoc": true, "unix": true, "ftp": true, "smb": true}

// destinations are those named in a text that are not ordinary places of the public network.
func (s *Scanner) destinations(text string) (bad []destination) {
	rest := text
	for _, m := range urls.FindAllStringSubmatch(text, -1) {
		rest = strings.Replace(rest, m[0], " ", 1)
		if d, ok := s.url(m[0], strings.ToLower(m[1])); ok {
			bad = append(bad, d)
		}
	}
	for _, m := range hosts.FindAllStringSubmatch(rest, -1) {
		if d, ok := s.host(m[2]); ok {
			bad = append(bad, d)
		}
	}
	return bad
}

func (s *Scanner) url(raw, scheme string) (destination, bool) {
	if local[scheme] {
		return destination{"high", fmt.Sprintf("a URL of the scheme %q, which does not lead to the public web", scheme)}, true
	}
	if scheme != "http" && scheme != "https" && scheme != "ws" && scheme != "wss" {
		return destination{}, false
	}
	d, err := netguard.Parse(strings.TrimRight(raw, ".,;:!?)]"))
	var no *netguard.Refusal
	switch {
	case errors.As(err, &no):
		return destination{"high", "a URL that the egress guard refuses: " + no.Error()}, true
	case err != nil:
		return destination{"high", "a URL that cannot be read"}, true
	}
	return s.host(d.Host)
}

// host judges a name or an address. An address of the public network is worth a word: what it leads to changes hands.
func (s *Scanner) host(raw string) (destination, bool) {
	_, ip, err := netguard.ParseHost(raw)
	switch {
	case err != nil:
		return destination{"high", "a host that the egress guard refuses: " + err.Error()}, true
	case ip.IsValid():
		if j := s.addresses.Judge(ip); !j.OK() {
			return destination{"high", fmt.Sprintf("the address %s, which is %s", ip, j.What)}, true
		}
		return destination{"low", fmt.Sprintf("the address %s without a name", ip)}, true
	}
	return destination{}, false
}
