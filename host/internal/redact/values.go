package redact

import (
	"bytes"
	"encoding/base64"
	"encoding/hex"
	"encoding/json"
	"net/url"
)

// needle is one form of an exact value.
type needle struct {
	text []byte
	name string
}

// needles are the forms in which a value is met: as it is, escaped for JSON and for URLs, in hex of either case, and in
// base64 of both alphabets at each of the three places it can have in a longer text. Of those the first and last
// characters, which also depend on the neighbours, are left away.
func needles(v Value) []needle {
	forms := [][]byte{v.Bytes}
	if quoted, err := json.Marshal(string(v.Bytes)); err == nil && len(quoted) > 2 {
		forms = append(forms, quoted[1:len(quoted)-1])
	}
	forms = append(forms, []byte(url.QueryEscape(string(v.Bytes))), []byte(url.PathEscape(string(v.Bytes))))
	h := hex.EncodeToString(v.Bytes)
	forms = append(forms, []byte(h), bytes.ToUpper([]byte(h)))
	for shift := range 3 {
		padded := append(make([]byte, shift), v.Bytes...)
		for _, alphabet := range []*base64.Encoding{base64.RawStdEncoding, base64.RawURLEncoding} {
			text := []byte(alphabet.EncodeToString(padded))
			from := (shift*8 + 5) / 6
			to := len(padded) * 8 / 6
			forms = append(forms, text[from:to])
		}
	}
	var out []needle
	seen := map[string]bool{}
	for _, f := range forms {
		if len(f) >= MinValue && !seen[string(f)] {
			seen[string(f)] = true
			out = append(out, needle{bytes.Clone(f), "vault:" + v.Name})
		}
	}
	return out
}

func (n *needle) find(spans []span, text []byte) []span {
	for at := 0; ; {
		i := bytes.Index(text[at:], n.text)
		if i < 0 {
			return spans
		}
		spans = append(spans, span{at + i, at + i + len(n.text), n.name, "a value of the vault", Mask})
		at += i + len(n.text)
	}
}
