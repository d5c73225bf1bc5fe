// Package netguard knows which destinations are ordinary places on the public network. It reads a URL or a host and port
// the one strict way, tells what an address is, and what a name, port or header would do; it opens no connection, asks no
// resolver and reads no clock.
//
// What is odd is refused, never repaired: a spelling that two readers could take for two hosts is no destination. The tables
// are the files beside it. Everything is immutable and safe for concurrent use.
package netguard

import (
	_ "embed"
	"fmt"
	"strings"
)

// Reason says in one stable word why something is no destination. Ledgers and counters use it.
type Reason string

// The reasons.
const (
	BadURL      Reason = "url"         // it cannot be read one way only
	BadScheme   Reason = "scheme"      // not http, https, ws or wss
	UserInfo    Reason = "user_info"   // name@host
	BadHost     Reason = "host"        // no host name
	IPSpelling  Reason = "ip_spelling" // a number that some programs take for an address
	SpecialName Reason = "name"        // a name of no public place
	Special     Reason = "address"     // an address that is no public place
	BadPort     Reason = "port"        // a port on which no web server listens
	BadPath     Reason = "path"        // a path that climbs
	Resolver    Reason = "doh"         // somebody else's resolver
	BadHeader   Reason = "header"      // a header that is not the caller's to set
	BadTLS      Reason = "tls"         // the first bytes are no ClientHello, or name another host
)

// Refusal is why something is no destination. Its text quotes what was given, cut to a line.
type Refusal struct {
	Reason Reason
	Msg    string
}

// Error is the message.
func (r *Refusal) Error() string { return r.Msg }

func refuse(why Reason, format string, args ...any) *Refusal {
	return &Refusal{Reason: why, Msg: fmt.Sprintf(format, args...)}
}

// show cuts what a stranger wrote to what fits a message.
func show(s string) string {
	if len(s) > 200 {
		return strings.ToValidUTF8(s[:200], "") + "…"
	}
	return s
}

// lines are the entries of one of the tables: every line that is neither empty nor a comment, in fields.
func lines(table string) [][]string {
	var out [][]string
	for line := range strings.Lines(table) {
		if f := strings.Fields(line); len(f) > 0 && f[0] != "#" {
			out = append(out, f)
		}
	}
	return out
}
