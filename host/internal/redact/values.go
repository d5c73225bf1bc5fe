package redact

import (
	"bytes"
	"encoding/base64"
	"encoding/binary"
	"encoding/hex"
	"encoding/json"
	"net/url"
	"strings"
)

// needle is one form of an exact value.
type needle struct {
	text []byte
	name string
	ink  byte // what it is blacked out by
}

// valuePrefix begins the rule of a finding that is an exact value; its name follows.
const valuePrefix = "vault:"

// needles are the forms in which a value is met: as it is, escaped for JSON and for URLs, in hex of either case, and in
// base64 of both alphabets at each of the three places it can have in a longer text. Of those the first and last
// characters, which also depend on the neighbours, are left away.
func needles(v Value) []needle {
	forms := [][]byte{v.Bytes}
	if quoted, err := json.Marshal(string(v.Bytes)); err == nil && len(quoted) > 2 {
		quoted = quoted[1 : len(quoted)-1]
		// Others than this host do not escape what only web pages need escaped.
		forms = append(forms, quoted, []byte(strings.NewReplacer(`\u0026`, "&", `\u003c`, "<", `\u003e`, ">").Replace(string(quoted))))
	}
	query, path := url.QueryEscape(string(v.Bytes)), url.PathEscape(string(v.Bytes))
	forms = append(forms, []byte(query), []byte(path), lowerEscapes(query), lowerEscapes(path))
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
			out = append(out, needle{bytes.Clone(f), valuePrefix + v.Name, inkFor(f)})
		}
	}
	return out
}

// lowerEscapes writes the escapes of a URL in lower case, as some programs do.
func lowerEscapes(escaped string) []byte {
	out := []byte(escaped)
	for i := 0; i+2 < len(out); i++ {
		if out[i] == '%' {
			copy(out[i+1:], bytes.ToLower(out[i+1:i+3]))
		}
	}
	return out
}

// inkFor is an asterisk, except for what may stand in JSON as a number: there it would leave something that is no JSON.
func inkFor(form []byte) byte {
	for _, c := range form {
		if (c < '0' || c > '9') && c != '.' && c != '-' && c != '+' && c != 'e' && c != 'E' {
			return '*'
		}
	}
	return '1'
}

// values finds any of many forms in one pass over a text: a table of bits says of eight bytes that no form begins with
// them, which is nearly always so.
type values struct {
	forms   []needle // the longest first
	bits    [valueBits / 64]uint64
	by      map[uint64][]int32  // the first eight bytes: the forms that begin with them
	begins  map[string]struct{} // shorter beginnings, for where a stream is cut
	longest int
}

const valueBits = 1 << 16

func indexed(forms []needle) *values {
	v := &values{forms: forms, by: map[uint64][]int32{}, begins: map[string]struct{}{}}
	for i, f := range forms {
		key := binary.LittleEndian.Uint64(f.text)
		v.by[key] = append(v.by[key], int32(i))
		h := slotOf(key)
		v.bits[h/64] |= 1 << (h % 64)
		for n := 1; n < MinValue; n++ {
			v.begins[string(f.text[:n])] = struct{}{}
		}
		v.longest = max(v.longest, len(f.text))
	}
	return v
}

func slotOf(key uint64) uint64 { return key * 0x9E3779B97F4A7C15 >> 48 }

// find takes a nil receiver for none.
func (v *values) find(spans []span, text []byte) []span {
	if v == nil || len(v.forms) == 0 {
		return spans
	}
	for i := 0; i+MinValue <= len(text); i++ {
		key := binary.LittleEndian.Uint64(text[i:])
		if h := slotOf(key); v.bits[h/64]&(1<<(h%64)) == 0 {
			continue
		}
		for _, at := range v.by[key] {
			if f := &v.forms[at]; bytes.HasPrefix(text[i:], f.text) {
				spans = append(spans, span{i, i + len(f.text), int(at) - len(v.forms), f.name, "a value of the vault", Mask})
				break // the longest is the first
			}
		}
	}
	return spans
}

// blacken overwrites what it finds and reports it.
func (v *values) blacken(text []byte) []span {
	spans := v.find(nil, text)
	for _, s := range spans {
		ink := v.forms[s.rank+len(v.forms)].ink
		for at := s.from; at < s.to; at++ {
			text[at] = ink
		}
	}
	return spans
}

// begun is the length of the longest end of text that may become a form.
func (v *values) begun(text []byte) int {
	for i := max(0, len(text)-v.longest+1); i < len(text); i++ {
		rest := text[i:]
		if len(rest) < MinValue {
			if _, ok := v.begins[string(rest)]; ok {
				return len(rest)
			}
			continue
		}
		for _, at := range v.by[binary.LittleEndian.Uint64(rest)] {
			if f := v.forms[at].text; len(f) > len(rest) && bytes.HasPrefix(f, rest) {
				return len(rest)
			}
		}
	}
	return 0
}
