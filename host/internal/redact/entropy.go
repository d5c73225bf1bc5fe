package redact

import (
	"math"
	"regexp"
	"strings"
)

// Bounds of the entropy rule, in bytes of the value and bits per character. English words lie near 2.5 to 3.5, hex drawn by
// chance near 3.7 at these lengths, base64 above 4.3.
const (
	minEntropyLen = 16
	maxEntropyLen = 512
	hexBits       = 3.0
	anyBits       = 3.6
)

const (
	entropyID   = "entropy"
	entropyHint = "a value drawn by chance behind a name that says secret"
)

// secretNames end a name that says that what stands behind it is secret.
var secretNames = [...]string{"password", "passwd", "passphrase", "pass", "pwd", "secret", "token", "key", "auth", "credential", "session_id", "session-id", "sessionid", "cookie"}

// saysSecret is what the rule's pattern asks of a name, for a name that stands by itself.
func saysSecret(name []byte) bool {
	for _, end := range secretNames {
		if n := len(name) - len(end); n >= 0 && strings.EqualFold(string(name[n:]), end) {
			return true
		}
	}
	return false
}

func (r *Redactor) hasEntropy() bool {
	n := len(r.rules)
	return n > 0 && r.rules[n-1].id == entropyID
}

// chancyText judges the beginning of a text that stands behind such a name, as far as the pattern would have taken it.
func chancyText(text []byte) bool {
	n := 0
	for n < len(text) && n < maxEntropyLen && entropyByte(text[n]) {
		n++
	}
	return chancy(text[:n])
}

func entropyByte(c byte) bool {
	return c >= '0' && c <= '9' || c >= 'a' && c <= 'z' || c >= 'A' && c <= 'Z' || strings.IndexByte("+/=_.~!@#$%^&*-", c) >= 0
}

// entropyRule judges a value behind a name that says it is secret. Only such are judged: identifiers, digests and
// compressed pictures are drawn by chance too, and a log without its digests helps nobody.
func entropyRule() rule {
	r := rule{
		id: entropyID, hint: entropyHint, mask: Mask, check: chancy, starts: true,
		re: regexp.MustCompile(`\A(?i)(?:pass(?:word|wd|phrase)?|pwd|secret|token|key|auth|credential|session[_-]?id|cookie)\\{0,3}["']?\s{0,4}(?:[:=]|=>|:=)\s{0,4}\\{0,3}["']?` +
			`(?P<secret>[A-Za-z0-9+/=_.~!@#$%^&*-]{16,512})`),
	}
	r.group = r.re.SubexpIndex("secret")
	for _, w := range []string{"pass", "pwd", "secret", "token", "key", "auth", "credential", "session", "cookie"} {
		r.words = append(r.words, []byte(w))
	}
	return r
}

// chancy reports whether a value looks drawn by chance: enough bits per character for its alphabet, and digits among its
// letters, which long names rarely have.
func chancy(v []byte) bool {
	if len(v) < minEntropyLen || len(v) > maxEntropyLen {
		return false
	}
	var count [256]int
	digits, letters, hex := 0, 0, true
	for _, c := range v {
		count[c]++
		switch {
		case c >= '0' && c <= '9':
			digits++
		case c >= 'a' && c <= 'f' || c >= 'A' && c <= 'F':
			letters++
		case c >= 'a' && c <= 'z' || c >= 'A' && c <= 'Z':
			letters++
			hex = false
		default:
			hex = false
		}
	}
	if digits == 0 || letters == 0 {
		return false
	}
	bits := 0.0
	for _, n := range count {
		if n > 0 {
			p := float64(n) / float64(len(v))
			bits -= p * math.Log2(p)
		}
	}
	if hex {
		return bits >= hexBits
	}
	return bits >= anyBits
}
