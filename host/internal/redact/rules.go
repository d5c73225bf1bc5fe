package redact

import (
	"bytes"
	"regexp"
	"strings"

	"github.com/arw-project/arw/abi"
)

// Rule is one shape of secrets.
type Rule struct {
	ID   string `json:"id"`
	Kind string `json:"kind"` // "token", "key", "pattern", or "pem": Pattern is the label of blocks of lines between two that name it
	// Pattern is a regular expression (RE2). Its group named "secret" is what is replaced; without one, the whole match.
	Pattern string `json:"pattern"`
	// Words are texts of which one, in any case, stands in everything the pattern matches. They make the search cheap: the
	// pattern runs only where one occurs. None, or one of fewer than three letters, means it always runs.
	Words []string `json:"words,omitempty"`
	// Starts says that each match begins with one of Words, which makes the search cheaper still.
	Starts      bool   `json:"starts,omitempty"`
	Hint        string `json:"hint,omitempty"`
	Replacement string `json:"replacement,omitempty"` // empty: Mask
	Disabled    bool   `json:"disabled,omitempty"`
}

type rule struct {
	id, hint, mask string
	words          [][]byte
	re             *regexp.Regexp // anchored at its beginning when starts
	group          int
	starts         bool                // a match begins with one of words
	bound          bool                // and not within a longer word
	always         bool                // it has no words to look for first
	head, tail     *regexp.Regexp      // of a block of lines: see scan.pem
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
	case r.Kind != "token" && r.Kind != "key" && r.Kind != "pattern" && r.Kind != "pem":
		return bad("kind %q is not token, key, pattern or pem", r.Kind)
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
	c := rule{id: r.ID, hint: r.Hint, mask: r.Replacement, re: re, group: max(re.SubexpIndex("secret"), 0), starts: r.Starts, always: len(r.Words) == 0}
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
		c.words = append(c.words, []byte(strings.ToLower(w)))
		c.always = c.always || len(w) < minWord
	}
	if c.always {
		c.words, c.starts = nil, false
	}
	switch {
	case r.Kind == "pem":
		c.words = [][]byte{[]byte("-----begin ")}
		c.always = false
		c.head = regexp.MustCompile(`\A-----BEGIN (?:[A-Z0-9]{1,16} ){0,4}` + r.Pattern + `-----`)
		c.tail = regexp.MustCompile(`\A-----END (?:[A-Z0-9]{1,16} ){0,4}` + r.Pattern + `-----`)
	case c.starts:
		c.anchor(r.Pattern)
	}
	return c, nil
}

// anchor makes the pattern one that matches at the beginning or not at all. A word boundary at its beginning is judged by
// what stands before, which the pattern does not see.
func (r *rule) anchor(pattern string) {
	flags := ""
	if rest, ok := strings.CutPrefix(pattern, "(?i)"); ok {
		pattern, flags = rest, "(?i)"
	}
	pattern, r.bound = strings.CutPrefix(pattern, `\b`)
	r.re = regexp.MustCompile(`\A` + flags + `(?:` + pattern + `)`)
	r.group = max(r.re.SubexpIndex("secret"), 0)
}

// everywhere searches a whole text.
func (r *rule) everywhere(spans []span, text []byte, rank int) []span {
	for _, m := range r.re.FindAllSubmatchIndex(text, -1) {
		spans = r.take(spans, text, m, 0, rank)
	}
	return spans
}

// A pattern is searched for around a word it must hold: from lead bytes before it, unless it starts there, to window bytes
// behind it, and further when the match reaches that far.
const (
	lead   = 96
	window = 512
)

// near is the first match that covers the word at at, relative to from, and where it ends in text.
func (r *rule) near(text []byte, from, at int) ([]int, int) {
	if r.bound && at > 0 && wordByte(text[at-1]) {
		return nil, 0
	}
	for size := window; ; size *= 4 {
		to := min(at+size, len(text))
		m := r.re.FindSubmatchIndex(text[from:to])
		switch {
		case m == nil || from+m[0] > at:
			return nil, 0
		case from+m[1] == to && to < len(text): // there is more text that could lengthen the match
		default:
			return m, from + m[1]
		}
	}
}

func wordByte(c byte) bool {
	return c == '_' || c >= '0' && c <= '9' || c >= 'a' && c <= 'z' || c >= 'A' && c <= 'Z'
}

func (r *rule) take(spans []span, text []byte, m []int, base, rank int) []span {
	from, to := base+m[2*r.group], base+m[2*r.group+1]
	if m[2*r.group] < 0 || from >= to || masked(text[from:to]) || r.check != nil && !r.check(text[from:to]) {
		return spans
	}
	return append(spans, span{from, to, rank, r.id, r.hint, r.mask})
}

// masked reports whether a text is a mask already, so that redacting twice changes nothing.
func masked(text []byte) bool { return len(bytes.Trim(text, "*")) == 0 }

// Shipped are the rules every host starts with: the published formats of the services people use most. Each has an
// example in testdata/found.txt that must be found.
func Shipped() []Rule {
	return []Rule{
		{ID: "private_key", Kind: "pem", Hint: "a private key in PEM", Pattern: `PRIVATE KEY(?: BLOCK)?`},
		{ID: "age_key", Kind: "key", Starts: true, Words: []string{"age-secret-key-"}, Pattern: `(?i)AGE-SECRET-KEY-1[0-9A-Z]{58}`},
		{ID: "aws_access_key", Kind: "token", Starts: true, Words: []string{"akia", "asia", "abia", "acca"}, Pattern: `\b(?:AKIA|ASIA|ABIA|ACCA)[A-Z2-7]{16}\b`},
		{ID: "aws_secret", Kind: "key", Starts: true, Words: []string{"aws"}, Pattern: `(?i)aws[\w.-]{0,20}secret[\w.-]{0,20}["']?\s*[:=]\s*["']?(?P<secret>[A-Za-z0-9/+]{40})\b`},
		{ID: "github_token", Kind: "token", Starts: true, Words: []string{"ghp_", "gho_", "ghu_", "ghs_", "ghr_"}, Pattern: `\bgh[pousr]_[A-Za-z0-9]{36,}\b`},
		{ID: "github_pat", Kind: "token", Starts: true, Words: []string{"github_pat_"}, Pattern: `\bgithub_pat_[A-Za-z0-9_]{36,}\b`},
		{ID: "gitlab_token", Kind: "token", Starts: true, Words: []string{"glpat-", "gldt-", "glrt-", "glcbt-"}, Pattern: `\bgl(?:pat|dt|rt|cbt)-[A-Za-z0-9_-]{20,64}`},
		{ID: "slack_token", Kind: "token", Starts: true, Words: []string{"xox"}, Pattern: `\bxox[abeoprs]-[A-Za-z0-9-]{10,}`},
		{ID: "slack_webhook", Kind: "token", Starts: true, Words: []string{"hooks.slack.com"}, Pattern: `hooks\.slack\.com/(?:services|workflows|triggers)/(?P<secret>[A-Za-z0-9+/]{20,80})`},
		{ID: "stripe_key", Kind: "token", Starts: true, Words: []string{"sk_live_", "sk_test_", "rk_live_", "rk_test_"}, Pattern: `\b[rs]k_(?:live|test|prod)_[A-Za-z0-9]{16,}\b`},
		{ID: "anthropic_key", Kind: "token", Starts: true, Words: []string{"sk-ant-"}, Pattern: `\bsk-ant-[A-Za-z0-9_-]{24,}`},
		{ID: "openai_key", Kind: "token", Starts: true, Words: []string{"sk-"}, Pattern: `\bsk-(?:proj-|svcacct-|admin-|None-)?[A-Za-z0-9_-]{32,}`},
		{ID: "huggingface_token", Kind: "token", Starts: true, Words: []string{"hf_"}, Pattern: `\bhf_[A-Za-z]{34}\b`},
		{ID: "google_key", Kind: "token", Starts: true, Words: []string{"aiza"}, Pattern: `\bAIza[A-Za-z0-9_-]{35}`},
		{ID: "google_oauth", Kind: "token", Starts: true, Words: []string{"ya29."}, Pattern: `\bya29\.[A-Za-z0-9_-]{20,}`},
		{ID: "npm_token", Kind: "token", Starts: true, Words: []string{"npm_"}, Pattern: `\bnpm_[A-Za-z0-9]{36}\b`},
		{ID: "pypi_token", Kind: "token", Starts: true, Words: []string{"pypi-ageichlwas5vcmc"}, Pattern: `\bpypi-AgEIcHlwaS5vcmc[A-Za-z0-9_-]{50,}`},
		{ID: "docker_token", Kind: "token", Starts: true, Words: []string{"dckr_pat_"}, Pattern: `\bdckr_pat_[A-Za-z0-9_-]{20,60}`},
		{ID: "digitalocean_token", Kind: "token", Starts: true, Words: []string{"dop_v1_", "doo_v1_", "dor_v1_"}, Pattern: `\bdo[opr]_v1_[a-f0-9]{64}\b`},
		{ID: "sendgrid_key", Kind: "token", Starts: true, Words: []string{"sg."}, Pattern: `\bSG\.[A-Za-z0-9_-]{22}\.[A-Za-z0-9_-]{43}`},
		{ID: "twilio_key", Kind: "token", Starts: true, Words: []string{"sk0", "sk1", "sk2", "sk3", "sk4", "sk5", "sk6", "sk7", "sk8", "sk9", "ska", "skb", "skc", "skd", "ske", "skf"}, Pattern: `\bSK[0-9a-f]{32}\b`},
		{ID: "vault_token", Kind: "token", Starts: true, Words: []string{"hvs.", "hvb."}, Pattern: `\bhv[bs]\.[A-Za-z0-9_-]{24,}`},
		{ID: "telegram_token", Kind: "token", Words: []string{":aa"}, Pattern: `\b[0-9]{8,10}:AA[A-Za-z0-9_-]{33}`},
		{ID: "jwt", Kind: "token", Starts: true, Words: []string{"eyj"}, Pattern: `\beyJ[A-Za-z0-9_-]{8,}\.eyJ[A-Za-z0-9_-]{8,}\.[A-Za-z0-9_-]{16,}`},
		{ID: "bearer", Kind: "token", Starts: true, Words: []string{"bearer"}, Pattern: `(?i)\bbearer\s+(?P<secret>[A-Za-z0-9._~+/=-]{16,})`},
		{ID: "basic_auth", Kind: "token", Starts: true, Words: []string{"authorization"}, Pattern: `(?i)authorization["']?\s*[:=]\s*["']?basic\s+(?P<secret>[A-Za-z0-9+/=]{8,})`},
		{ID: "url_password", Kind: "pattern", Starts: true, Words: []string{"://"}, Hint: "a password in a URL", Pattern: `://[^\s/:@"'<>]*:(?P<secret>[^\s/@"'<>]+)@`},
		{ID: "arw_token", Kind: "token", Starts: true, Words: []string{"arw_", "arwe_"}, Hint: "a credential of this host", Pattern: `\barwe?_[A-Za-z0-9_-]{32,128}`},
	}
}
