package redact

import (
	"bytes"
	"regexp"
	"slices"
	"strings"

	"github.com/arw-project/arw/abi"
)

// Rule is one shape of secrets.
type Rule struct {
	ID   string `json:"id"`
	Kind string `json:"kind"` // "token", "key" or "pattern"
	// Pattern is a regular expression (RE2). Its group named "secret" is what is replaced; without one, the whole match.
	Pattern string `json:"pattern"`
	// Words are texts of which one, in any case, stands in everything the pattern matches. They make the search cheap: the
	// pattern runs only where one occurs. None means it always runs.
	Words       []string `json:"words,omitempty"`
	Hint        string   `json:"hint,omitempty"`
	Replacement string   `json:"replacement,omitempty"` // empty: Mask
	Disabled    bool     `json:"disabled,omitempty"`
}

type rule struct {
	id, hint, mask string
	words          [][]byte
	re             *regexp.Regexp
	group          int
	long           bool                // matches span lines and can be kilobytes
	check          func(v []byte) bool // nil: every match counts
}

// maxPattern bounds a pattern's text; RE2 is linear in it.
const maxPattern = 2048

func compile(r Rule) (rule, error) {
	bad := func(format string, args ...any) (rule, error) {
		return rule{}, abi.Errorf(abi.Invalid, "redaction rule %q: "+format, append([]any{r.ID}, args...)...)
	}
	switch {
	case r.ID == "" || len(r.ID) > 64 || strings.HasPrefix(r.ID, "vault:"):
		return bad("an id has 1 to 64 characters and does not begin with vault:")
	case r.Kind != "token" && r.Kind != "key" && r.Kind != "pattern":
		return bad("kind %q is not token, key or pattern", r.Kind)
	case r.Pattern == "" || len(r.Pattern) > maxPattern:
		return bad("a pattern has 1 to %d bytes", maxPattern)
	}
	re, err := regexp.Compile(r.Pattern)
	if err != nil {
		return bad("%w", err)
	}
	if re.MatchString("") {
		return bad("the pattern matches nothing at all, so it would match everywhere")
	}
	c := rule{id: r.ID, hint: r.Hint, mask: r.Replacement, re: re, long: strings.Contains(r.Pattern, `\s\S`), group: max(re.SubexpIndex("secret"), 0)}
	if c.mask == "" {
		c.mask = Mask
	}
	if re.MatchString(c.mask) && c.group == 0 {
		return bad("the pattern matches its own replacement %q", c.mask)
	}
	for _, w := range r.Words {
		if w == "" {
			return bad("a word is empty")
		}
		c.words = append(c.words, lower([]byte(w)))
	}
	return c, nil
}

func (r *rule) find(spans []span, text, folded []byte) []span {
	if len(r.words) == 0 {
		for _, m := range r.re.FindAllSubmatchIndex(text, -1) {
			spans = r.take(spans, text, m, 0)
		}
		return spans
	}
	done := 0 // what lies before is part of a match
	for _, at := range r.hits(folded) {
		if at < done {
			continue
		}
		from := max(at-lead, done)
		m, end := r.near(text, from, at)
		if m == nil {
			continue
		}
		spans = r.take(spans, text, m, from)
		done = max(done, end)
	}
	return spans
}

// A pattern is searched for around a word it must hold: from lead bytes before it to window bytes behind it, and further
// when the match reaches that far.
const (
	lead   = 96
	window = 512
)

// near is the first match that covers the word at at, relative to from, and where it ends in text.
func (r *rule) near(text []byte, from, at int) ([]int, int) {
	for size := window; ; size *= 4 {
		to := min(at+size, len(text))
		m := r.re.FindSubmatchIndex(text[from:to])
		open := to < len(text) // there is more text that could make or lengthen a match
		switch {
		case m == nil && open && r.long && size < maxLong:
		case m != nil && open && from+m[1] == to:
		case m == nil || from+m[0] > at+len(text[at:to]):
			return nil, 0
		default:
			return m, from + m[1]
		}
	}
}

// maxLong bounds how far behind its first line the end of a long secret, such as a key in PEM, is looked for.
const maxLong = 64 << 10

// hits is where the words stand, in order.
func (r *rule) hits(folded []byte) []int {
	var all []int
	for _, w := range r.words {
		for at := 0; ; {
			i := bytes.Index(folded[at:], w)
			if i < 0 {
				break
			}
			all = append(all, at+i)
			at += i + len(w)
		}
	}
	slices.Sort(all)
	return all
}

func (r *rule) take(spans []span, text []byte, m []int, base int) []span {
	from, to := base+m[2*r.group], base+m[2*r.group+1]
	if m[2*r.group] < 0 || from >= to || masked(text[from:to]) || r.check != nil && !r.check(text[from:to]) {
		return spans
	}
	return append(spans, span{from, to, r.id, r.hint, r.mask})
}

// masked reports whether a text is a mask already, so that redacting twice changes nothing.
func masked(text []byte) bool { return len(bytes.Trim(text, "*")) == 0 }

// Shipped are the rules every host starts with: the published formats of the services people use most. Each has an
// example in testdata/found.txt that must be found.
func Shipped() []Rule {
	return []Rule{
		{ID: "private_key", Kind: "key", Words: []string{"private key"}, Hint: "a private key in PEM",
			Pattern: `-----BEGIN (?:[A-Z0-9]+ )*PRIVATE KEY(?: BLOCK)?-----[\s\S]{16,}?-----END (?:[A-Z0-9]+ )*PRIVATE KEY(?: BLOCK)?-----`},
		{ID: "age_key", Kind: "key", Words: []string{"age-secret-key-"}, Pattern: `(?i)AGE-SECRET-KEY-1[0-9A-Z]{58}`},
		{ID: "aws_access_key", Kind: "token", Words: []string{"akia", "asia", "abia", "acca"}, Pattern: `\b(?:AKIA|ASIA|ABIA|ACCA)[A-Z2-7]{16}\b`},
		{ID: "aws_secret", Kind: "key", Words: []string{"aws"}, Pattern: `(?i)aws[\w.-]{0,20}secret[\w.-]{0,20}["']?\s*[:=]\s*["']?(?P<secret>[A-Za-z0-9/+]{40})\b`},
		{ID: "github_token", Kind: "token", Words: []string{"ghp_", "gho_", "ghu_", "ghs_", "ghr_"}, Pattern: `\bgh[pousr]_[A-Za-z0-9]{36,}\b`},
		{ID: "github_pat", Kind: "token", Words: []string{"github_pat_"}, Pattern: `\bgithub_pat_[A-Za-z0-9_]{36,}\b`},
		{ID: "gitlab_token", Kind: "token", Words: []string{"glpat-", "gldt-", "glrt-", "glcbt-"}, Pattern: `\bgl(?:pat|dt|rt|cbt)-[A-Za-z0-9_-]{20,64}`},
		{ID: "slack_token", Kind: "token", Words: []string{"xox"}, Pattern: `\bxox[abeoprs]-[A-Za-z0-9-]{10,}`},
		{ID: "slack_webhook", Kind: "token", Words: []string{"hooks.slack.com"}, Pattern: `hooks\.slack\.com/(?:services|workflows|triggers)/(?P<secret>[A-Za-z0-9+/]{20,80})`},
		{ID: "stripe_key", Kind: "token", Words: []string{"sk_live_", "sk_test_", "rk_live_", "rk_test_"}, Pattern: `\b[rs]k_(?:live|test|prod)_[A-Za-z0-9]{16,}\b`},
		{ID: "anthropic_key", Kind: "token", Words: []string{"sk-ant-"}, Pattern: `\bsk-ant-[A-Za-z0-9_-]{24,}`},
		{ID: "openai_key", Kind: "token", Words: []string{"sk-"}, Pattern: `\bsk-(?:proj-|svcacct-|admin-|None-)?[A-Za-z0-9_-]{32,}`},
		{ID: "huggingface_token", Kind: "token", Words: []string{"hf_"}, Pattern: `\bhf_[A-Za-z]{34}\b`},
		{ID: "google_key", Kind: "token", Words: []string{"aiza"}, Pattern: `\bAIza[A-Za-z0-9_-]{35}`},
		{ID: "google_oauth", Kind: "token", Words: []string{"ya29."}, Pattern: `\bya29\.[A-Za-z0-9_-]{20,}`},
		{ID: "npm_token", Kind: "token", Words: []string{"npm_"}, Pattern: `\bnpm_[A-Za-z0-9]{36}\b`},
		{ID: "pypi_token", Kind: "token", Words: []string{"pypi-ageichlwas5vcmc"}, Pattern: `\bpypi-AgEIcHlwaS5vcmc[A-Za-z0-9_-]{50,}`},
		{ID: "docker_token", Kind: "token", Words: []string{"dckr_pat_"}, Pattern: `\bdckr_pat_[A-Za-z0-9_-]{20,60}`},
		{ID: "digitalocean_token", Kind: "token", Words: []string{"dop_v1_", "doo_v1_", "dor_v1_"}, Pattern: `\bdo[opr]_v1_[a-f0-9]{64}\b`},
		{ID: "sendgrid_key", Kind: "token", Words: []string{"sg."}, Pattern: `\bSG\.[A-Za-z0-9_-]{22}\.[A-Za-z0-9_-]{43}`},
		{ID: "twilio_key", Kind: "token", Words: []string{"sk"}, Pattern: `\bSK[0-9a-f]{32}\b`},
		{ID: "vault_token", Kind: "token", Words: []string{"hvs.", "hvb."}, Pattern: `\bhv[bs]\.[A-Za-z0-9_-]{24,}`},
		{ID: "telegram_token", Kind: "token", Words: []string{":aa"}, Pattern: `\b[0-9]{8,10}:AA[A-Za-z0-9_-]{33}`},
		{ID: "jwt", Kind: "token", Words: []string{"eyj"}, Pattern: `\beyJ[A-Za-z0-9_-]{8,}\.eyJ[A-Za-z0-9_-]{8,}\.[A-Za-z0-9_-]{16,}`},
		{ID: "bearer", Kind: "token", Words: []string{"bearer"}, Pattern: `(?i)\bbearer\s+(?P<secret>[A-Za-z0-9._~+/=-]{16,})`},
		{ID: "basic_auth", Kind: "token", Words: []string{"basic"}, Pattern: `(?i)authorization["']?\s*[:=]\s*["']?basic\s+(?P<secret>[A-Za-z0-9+/=]{8,})`},
		{ID: "url_password", Kind: "pattern", Words: []string{"://"}, Hint: "a password in a URL", Pattern: `\b[a-z][a-z0-9+.-]{1,20}://[^\s/:@"'<>]{0,}:(?P<secret>[^\s/@"'<>]{1,})@`},
		{ID: "arw_token", Kind: "token", Words: []string{"arw_", "arwe_"}, Hint: "a credential of this host", Pattern: `\barwe?_[A-Za-z0-9_-]{32,128}`},
	}
}
