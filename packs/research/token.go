package main

import (
	"strings"
	"unicode"
	"unicode/utf8"
)

// maxTerm is the most bytes of a term; what is longer (hashes, keys, encoded data) is cut, so that it stays findable by
// its beginning and cannot bloat the index.
const maxTerm = 64

// tokens calls yield for every term of text with its place. A term is a run of Unicode letters and digits in lower case
// with its plural s removed; a run that changes case or between letters and digits inside ("ConstantTime", "sha256")
// gives its parts as well. Words of the stop list are left out.
func tokens(text string, yield func(start, end int, term string)) {
	for at := 0; at < len(text); {
		start, end := nextRun(text, at)
		if start == end {
			return
		}
		run := text[start:end]
		if !stop(run) {
			yield(start, end, term(run))
			parts(run, func(from, to int) {
				if part := run[from:to]; to-from > 1 && !stop(part) {
					yield(start+from, start+to, term(part))
				}
			})
		}
		at = end
	}
}

// nextRun finds the next run of letters and digits from at on; start equals end when there is none. Combining marks
// belong to the letter before them.
func nextRun(text string, at int) (start, end int) {
	start = -1
	for i := at; i < len(text); {
		c := text[i]
		size := 1
		in := 'a' <= c && c <= 'z' || 'A' <= c && c <= 'Z' || '0' <= c && c <= '9'
		if c >= utf8.RuneSelf {
			var r rune
			r, size = utf8.DecodeRuneInString(text[i:])
			in = unicode.IsLetter(r) || unicode.IsDigit(r) || start >= 0 && unicode.IsMark(r)
		}
		switch {
		case in && start < 0:
			start = i
		case !in && start >= 0:
			return start, i
		}
		i += size
	}
	if start < 0 {
		return len(text), len(text)
	}
	return start, len(text)
}

// kinds of characters inside a run.
const (
	lower = iota
	upper
	digit
)

func kindAt(run string, i int) (kind, size int) {
	c := run[i]
	switch {
	case 'a' <= c && c <= 'z':
		return lower, 1
	case 'A' <= c && c <= 'Z':
		return upper, 1
	case c < utf8.RuneSelf:
		return digit, 1
	}
	r, size := utf8.DecodeRuneInString(run[i:])
	switch {
	case unicode.IsUpper(r):
		return upper, size
	case unicode.IsDigit(r):
		return digit, size
	}
	return lower, size
}

// parts gives the words inside an identifier: "HTTPServer2" is HTTP, Server and 2. A run of one part gives none.
func parts(run string, yield func(from, to int)) {
	from := 0
	kind, size := kindAt(run, 0)
	lastUpper := 0 // where the last capital of a row of them begins
	for i := size; i < len(run); {
		next, size := kindAt(run, i)
		cut := -1
		switch {
		case kind == next:
		case kind == upper && next == lower:
			cut = lastUpper // the last capital begins the next word
		default:
			cut = i
		}
		if cut > from {
			yield(from, cut)
			from = cut
		}
		if next == upper {
			lastUpper = i
		}
		kind = next
		i += size
	}
	if from > 0 {
		yield(from, len(run))
	}
}

// term is the form that is indexed: lower case, without the plural, at most maxTerm bytes.
func term(run string) string {
	if len(run) > maxTerm {
		cut := maxTerm
		for !utf8.RuneStart(run[cut]) {
			cut--
		}
		run = run[:cut]
	}
	t := strings.ToLower(run)
	if len(t) > maxTerm { // some letters are longer in lower case
		cut := maxTerm
		for !utf8.RuneStart(t[cut]) {
			cut--
		}
		t = t[:cut]
	}
	return stem(t)
}

// stem removes an English plural: the "S" stemmer of D. Harman, "How effective is suffixing?" (1991). It joins more
// than it mistakes, and leaves identifiers alone where a heavier one would not.
func stem(t string) string {
	n := len(t)
	if n < 4 || t[n-1] != 's' {
		return t
	}
	switch before := t[n-2]; {
	case before == 'e' && t[n-3] == 'i':
		if n > 4 && (t[n-4] == 'e' || t[n-4] == 'a') {
			return t
		}
		return t[:n-3] + "y"
	case before == 'e' && (t[n-3] == 'a' || t[n-3] == 'e' || t[n-3] == 'o'):
		return t
	case before == 'u' || before == 's':
		return t
	}
	return t[:n-1]
}

// stop reports whether a run is a word that says nothing about a passage. Only short runs are looked at.
func stop(run string) bool {
	if len(run) > 5 {
		return false
	}
	var small [5]byte
	for i := range len(run) {
		c := run[i]
		if 'A' <= c && c <= 'Z' {
			c += 'a' - 'A'
		}
		small[i] = c
	}
	switch string(small[:len(run)]) {
	case "a", "an", "and", "are", "as", "at", "be", "but", "by", "can", "do", "does", "for", "from", "had", "has", "have",
		"how", "i", "if", "in", "into", "is", "it", "its", "no", "not", "of", "on", "or", "s", "so", "such", "than", "that",
		"the", "their", "then", "there", "these", "they", "this", "to", "was", "we", "were", "what", "when", "where",
		"which", "who", "why", "will", "with", "you":
		return true
	}
	return false
}
