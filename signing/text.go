package signing

import (
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/rsa"
	"fmt"
	"strings"
	"unicode"
	"unicode/utf8"

	"github.com/arw-project/arw/abi"
)

const maxShown = 300

// clean makes text that a stranger wrote (a certificate's subject, a key hint, a library's message quoting either) fit
// for a terminal and a log: no control or format characters, valid UTF-8, bounded.
func clean(s string) string {
	s = strings.Map(func(r rune) rune {
		if r == '\n' || r == '\t' {
			return ' '
		}
		if r == utf8.RuneError || !unicode.IsPrint(r) {
			return '\uFFFD'
		}
		return r
	}, s)
	if len(s) <= maxShown {
		return s
	}
	cut := maxShown
	for cut > 0 && !utf8.RuneStart(s[cut]) {
		cut--
	}
	return s[:cut] + "…"
}

// parseDigest returns the 64 hex digits of "sha256:<64 hex>"; only lower case is a digest.
func parseDigest(s string) (string, error) {
	sum, ok := strings.CutPrefix(s, "sha256:")
	if !ok || len(sum) != 64 || strings.Trim(sum, "0123456789abcdef") != "" {
		return "", abi.Errorf(abi.Invalid, "read digest %q: it is not sha256: and 64 lower-case hex digits", clean(s))
	}
	return sum, nil
}

// kindOf names a key's algorithm for a person.
func kindOf(key any) string {
	switch k := key.(type) {
	case *ecdsa.PrivateKey:
		return "ECDSA " + k.Curve.Params().Name
	case *ecdsa.PublicKey:
		return "ECDSA " + k.Curve.Params().Name
	case *rsa.PrivateKey:
		return fmt.Sprintf("RSA %d", k.N.BitLen())
	case *rsa.PublicKey:
		return fmt.Sprintf("RSA %d", k.N.BitLen())
	case ed25519.PrivateKey, ed25519.PublicKey:
		return "Ed25519"
	}
	return fmt.Sprintf("%T", key)
}
