package manifests

import (
	"fmt"
	"io/fs"
	"net/url"
	"regexp"
	"strings"
	"unicode"
	"unicode/utf8"

	"github.com/arw-project/arw/abi"
)

// ParseName splits a pack's name. Each part is 1 to 64 lower-case letters, digits and hyphens, with a letter or digit at
// both ends, so that it is also a repository name of every OCI registry. The error is Invalid.
func ParseName(s string) (namespace, name string, err error) {
	namespace, name, _ = strings.Cut(s, "/")
	if namePart.MatchString(namespace) && namePart.MatchString(name) {
		return namespace, name, nil
	}
	return "", "", abi.Errorf(abi.Invalid, "parse pack name %q: %s", clip(s), nameProblem(s)).
		WithHint(`write namespace/name in lower case, such as "acme/weather"`)
}

func nameProblem(s string) string {
	switch {
	case strings.Count(s, "/") != 1:
		return fmt.Sprintf("expected namespace/name, found %q", clip(s))
	case strings.ToLower(s) != s:
		return fmt.Sprintf("a pack's name is in lower case, found %q", clip(s))
	}
	return fmt.Sprintf("both parts of a pack's name are 1 to 64 letters, digits and hyphens, with no hyphen at an end; found %q", clip(s))
}

// text checks words that a person will read, perhaps in a terminal while deciding about a lease: nothing in them may
// move the cursor, change the direction of writing or hide.
func (c *checker) text(where at, s string, least, most int, lines bool) {
	if n := utf8.RuneCountInString(s); n < least {
		c.bad(where, "", "this must not be empty")
		return
	} else if n > most {
		c.bad(where, "", "at most %d characters, found %d", most, n)
		return
	}
	if strings.TrimSpace(s) != s && !lines {
		c.bad(where, "", "no space at either end")
	}
	for _, r := range s {
		if lines && (r == '\n' || r == '\t') {
			continue
		}
		if r == '\n' {
			c.bad(where, "", "this is one line of text")
			return
		}
		if unicode.IsControl(r) || unicode.Is(unicode.Bidi_Control, r) || r == '\u2028' || r == '\u2029' || r == '\ufeff' || r == '\u200b' {
			c.bad(where, "", "the character %U is not allowed: it would show something else than it says", r)
			return
		}
	}
}

// file checks a path inside the pack.
func (c *checker) file(where at, name string) {
	hint := `a relative path with slashes, such as "panels/search.json"`
	switch {
	case !fs.ValidPath(name) || name == "." || strings.ContainsAny(name, `\:`) || strings.IndexFunc(name, unicode.IsControl) >= 0:
		c.bad(where, hint, `expected the name of a file inside the pack, without "..", found %q`, name)
	case len(name) > 255:
		c.bad(where, hint, "at most 255 bytes, found %d", len(name))
	case name == FileName:
		c.bad(where, "", "the manifest cannot be a part of itself")
	}
}

func (c *checker) web(where at, address string) {
	if address == "" && !c.lines.Has(where...) {
		return
	}
	u, err := url.Parse(address)
	if err != nil || u.Scheme != "https" && u.Scheme != "http" || u.Host == "" || u.User != nil || len(address) > maxScopeLen || strings.ContainsFunc(address, isSpaceOrControl) {
		c.bad(where, `such as "https://example.com/weather"`, "expected an http or https address, found %q", clip(address))
	}
}

func isSpaceOrControl(r rune) bool { return r <= ' ' || r == 0x7f }

var spdxID = regexp.MustCompile(`^(DocumentRef-[A-Za-z0-9.-]+:)?[A-Za-z0-9][A-Za-z0-9.-]*\+?$`)

// isSPDX checks the grammar of SPDX licence expressions (SPDX 2.3, annex D): identifiers joined by AND and OR, each with
// an optional exception, and parentheses. Whether an identifier is on the list of licences is not asked.
func isSPDX(expression string) bool {
	if len(expression) > maxSummary {
		return false
	}
	words := strings.Fields(strings.NewReplacer("(", " ( ", ")", " ) ").Replace(expression))
	open, wantID := 0, true
	for i, word := range words {
		switch {
		case word == "(" && wantID:
			open++
		case word == ")" && !wantID && open > 0:
			open--
		case (word == "AND" || word == "OR") && !wantID:
			wantID = true
		case word == "WITH" && !wantID && words[i-1] != ")":
			wantID = true
		case wantID && spdxID.MatchString(word) && word != "AND" && word != "OR" && word != "WITH":
			wantID = false
		default:
			return false
		}
	}
	return open == 0 && !wantID
}
