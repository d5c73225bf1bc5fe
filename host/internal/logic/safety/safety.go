// Package safety keeps one promise: what a unit or a hand would put into the configuration is looked at for three things that
// have no business there, and each is named with its place.
//
// They are a destination that is not on the public network (ssrf_pattern), something shaped like a secret (secret_marker)
// and a text that speaks to a model instead of describing a value (prompt_injection), with characters nobody can see among
// the signs. docs/spec/unit.md, "Safety", is the normative description. The scan sees shapes; that a value is refused is
// package logic's doing, and a guest that dials is held by the egress guard whatever its documents say.
package safety

import (
	_ "embed"
	"encoding/json"
	"fmt"
	"maps"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"unicode"

	"github.com/arw-project/arw/abi"
	"github.com/arw-project/arw/host/internal/logic/tree"
	"github.com/arw-project/arw/host/internal/netguard"
	"github.com/arw-project/arw/host/internal/redact"
)

// Codes of findings (kernel specification K62). The fourth, permissions_change, is a plan's Permits.
const (
	SSRF      = "ssrf_pattern"
	Secret    = "secret_marker"
	Injection = "prompt_injection"
)

// Finding is one thing that was seen. High ones keep a change from happening until a person answers for it; low ones are
// told. Text never holds a secret.
type Finding struct {
	Code     string `json:"code"`
	Severity string `json:"severity"` // high or low
	Where    string `json:"where"`    // a document's name, or unit.toml
	Pointer  string `json:"pointer"`  // RFC 6901, of the text
	Text     string `json:"text"`
}

// Scanner looks. It is safe for concurrent use.
type Scanner struct {
	redact    *redact.Redactor
	addresses *netguard.Addresses
	phrases   []phrase
}

type phrase struct {
	name string
	re   *regexp.Regexp
}

//go:embed phrases.txt
var phraseText string

// New makes a scanner with the shipped rules. The error is a fault in them.
func New() (*Scanner, error) {
	r, err := redact.New(redact.Shipped(), true)
	if err != nil {
		return nil, err
	}
	s := &Scanner{redact: r, addresses: netguard.NewAddresses(nil)}
	for line := range strings.Lines(phraseText) {
		line = strings.TrimSpace(line)
		if line == "" || line[0] == '#' {
			continue
		}
		name, text, _ := strings.Cut(line, " ")
		re, err := regexp.Compile(text)
		if err != nil {
			return nil, abi.Errorf(abi.Internal, "read phrase %q: %w", name, err)
		}
		s.phrases = append(s.phrases, phrase{name, re})
	}
	return s, nil
}

// Value looks at every text in a JSON value, names of members included, whose own place is base. Findings are in the order
// of the value, members by name.
func (s *Scanner) Value(where, base string, v any) (found []Finding) {
	s.walk(where, base, "", v, &found)
	return found
}

// Manifest looks at the canonical form of a unit.toml; its patches only when they are asked for, since a plan has them with
// their parameters filled in.
func (s *Scanner) Manifest(canonical []byte, patches bool) []Finding {
	var v map[string]any
	if err := json.Unmarshal(canonical, &v); err != nil {
		return []Finding{{Injection, "high", "unit.toml", "", "it cannot be read again"}}
	}
	if !patches {
		delete(v, "patches")
	}
	if asked, ok := v["permissions"].([]any); ok {
		for _, one := range asked {
			if p, ok := one.(map[string]any); ok {
				delete(p, "scope") // a plan's permits tell it, and a lease holds it to the guard's rules
			}
		}
	}
	return s.Value("unit.toml", "", v)
}

// High reports whether any finding keeps a change from happening.
func High(found []Finding) bool {
	return slices.ContainsFunc(found, func(f Finding) bool { return f.Severity == "high" })
}

func (s *Scanner) walk(where, at, name string, v any, found *[]Finding) {
	switch v := v.(type) {
	case map[string]any:
		for _, key := range slices.Sorted(maps.Keys(v)) {
			inner := tree.Pointer(at, key)
			s.text(where, inner, "", key, found)
			s.walk(where, inner, key, v[key], found)
		}
	case []any:
		for i, item := range v {
			s.walk(where, at+"/"+strconv.Itoa(i), name, item, found)
		}
	case string:
		s.text(where, at, name, v, found)
	}
}

func (s *Scanner) text(where, at, name, text string, found *[]Finding) {
	add := func(code, severity, format string, args ...any) {
		*found = append(*found, Finding{code, severity, where, at, fmt.Sprintf(format, args...)})
	}
	if rule := s.secret(name, text); rule != "" {
		add(Secret, "high", "something shaped like a secret (%s): the configuration is read by everybody, a secret belongs into the vault", rule)
	}
	for _, bad := range s.destinations(text) {
		add(SSRF, bad.severity, "%s", bad.why)
	}
	if r, ok := hidden(text); ok {
		add(Injection, "high", "a character that nobody sees (U+%04X), which can hide words from whoever reads the text", r)
	}
	plain := strings.ToLower(strings.Join(strings.Fields(visible(text)), " "))
	for _, p := range s.phrases {
		if p.re.MatchString(plain) {
			add(Injection, "high", "words that give orders to a model (%s)", p.name)
		}
	}
}

// secret names the first rule by which a text, behind its name, looks like a secret.
func (s *Scanner) secret(name, text string) string {
	doc, err := json.Marshal(map[string]string{name: text})
	if err != nil {
		return ""
	}
	if _, hits := s.redact.JSON(doc); len(hits) > 0 {
		return hits[0].Rule
	}
	return ""
}

// hidden is the first character that is drawn as nothing or turns the direction of what follows.
func hidden(text string) (rune, bool) {
	for _, r := range text {
		if unseen(r) {
			return r, true
		}
	}
	return 0, false
}

func unseen(r rune) bool {
	return unicode.Is(unicode.Cf, r) || r >= 0xE0000 && r <= 0xE007F || r == 0x115F || r == 0x1160 || r == 0x3164 || unicode.IsControl(r) && r != '\n' && r != '\t' && r != '\r'
}

func visible(text string) string {
	return strings.Map(func(r rune) rune {
		if unseen(r) {
			return -1
		}
		return r
	}, text)
}
