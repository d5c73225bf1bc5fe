package manifests

import (
	"encoding/json"
	"fmt"
	"maps"
	"slices"
	"strconv"
	"strings"
	"unicode/utf16"

	"github.com/cyberphone/json-canonicalization/go/src/webpki.org/jsoncanonicalizer"

	"github.com/arw-project/arw/abi"
)

// maxExact is the largest integer up to which a double, and so RFC 8785, holds every one exactly.
const maxExact = 1<<53 - 1

// CanonicalJSON rewrites a JSON document as RFC 8785 (JCS) says, so that equal values have equal bytes and therefore
// equal digests. It refuses, with Invalid, what has no single meaning: text that is not I-JSON (see Schema.Validate) and
// integers that a double cannot hold. Sorting is n log n; the library behind it would be quadratic.
func CanonicalJSON(doc []byte) ([]byte, error) {
	v, err := readJSON(doc)
	if err != nil {
		return nil, abi.Errorf(abi.Invalid, "read JSON: %w", err)
	}
	canonical, err := appendCanonical(nil, v)
	if err != nil {
		return nil, abi.Errorf(abi.Invalid, "make JSON canonical: %w", err)
	}
	return canonical, nil
}

// appendCanonical writes a tree of the values that readJSON gives.
func appendCanonical(dst []byte, v any) ([]byte, error) {
	var err error
	switch v := v.(type) {
	case nil:
		return append(dst, "null"...), nil
	case bool:
		return strconv.AppendBool(dst, v), nil
	case string:
		return appendString(dst, v), nil
	case json.Number:
		return appendNumber(dst, v)
	case []any:
		dst = append(dst, '[')
		for i, item := range v {
			if i > 0 {
				dst = append(dst, ',')
			}
			if dst, err = appendCanonical(dst, item); err != nil {
				return nil, err
			}
		}
		return append(dst, ']'), nil
	case map[string]any:
		dst = append(dst, '{')
		for i, key := range slices.SortedFunc(maps.Keys(v), compareUTF16) {
			if i > 0 {
				dst = append(dst, ',')
			}
			dst = append(appendString(dst, key), ':')
			if dst, err = appendCanonical(dst, v[key]); err != nil {
				return nil, err
			}
		}
		return append(dst, '}'), nil
	}
	return nil, fmt.Errorf("a %T is not JSON", v)
}

// compareUTF16 orders keys by UTF-16 code units, as RFC 8785 §3.2.3 asks. It differs from byte order only where a
// character beyond U+FFFF meets one of U+E000 to U+FFFF.
func compareUTF16(a, b string) int {
	ascii := func(s string) bool { return strings.IndexFunc(s, func(r rune) bool { return r > 0x7f }) < 0 }
	if ascii(a) || ascii(b) {
		return strings.Compare(a, b)
	}
	return slices.Compare(utf16.Encode([]rune(a)), utf16.Encode([]rune(b)))
}

// appendNumber writes a number as its double. An integer that the double does not give back is refused rather than
// changed: it is an identifier more often than an amount.
func appendNumber(dst []byte, n json.Number) ([]byte, error) {
	f, err := strconv.ParseFloat(string(n), 64)
	if err != nil {
		return nil, fmt.Errorf("the number %s is out of range", n)
	}
	text, err := jsoncanonicalizer.NumberToJSON(f)
	if err == nil && text != string(n) && f != 0 && !strings.ContainsAny(string(n), ".eE") {
		err = fmt.Errorf("the integer %s cannot be held exactly by a JSON number; write it as a string", n)
	}
	return append(dst, text...), err
}

// appendString escapes the quote, the backslash and the control characters, as RFC 8785 §3.2.2.2 asks, and nothing else.
func appendString(dst []byte, s string) []byte {
	dst = append(dst, '"')
	for i := range len(s) {
		switch c := s[i]; {
		case c == '"' || c == '\\':
			dst = append(dst, '\\', c)
		case c >= 0x20:
			dst = append(dst, c)
		case strings.IndexByte("\b\t\n\f\r", c) >= 0:
			dst = append(dst, '\\', "btn_fr"[c-'\b'])
		default:
			dst = fmt.Appendf(dst, `\u%04x`, c)
		}
	}
	return append(dst, '"')
}
