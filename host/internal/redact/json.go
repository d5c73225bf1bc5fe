package redact

import (
	"bytes"
	"encoding/json"
	"slices"
	"strconv"
)

// JSON is Bytes for a JSON value, which stays one: each text in it is read without its escapes, cleaned, and written again
// only when something was found, and a text behind a name that says secret is judged by that name, through lists too. kept
// are names of the caller's own that say nothing of the kind, such as "key" where keys are digests. What is no JSON is
// cleaned as text.
func (r *Redactor) JSON(body []byte, kept ...string) ([]byte, []Finding) {
	if r == nil || len(body) == 0 {
		return body, nil
	}
	w := walker{r: r, body: body, kept: kept}
	if !w.walk() {
		return r.Bytes(body)
	}
	return w.result()
}

// exactJSON takes nothing out but exact values, each by as many asterisks as the text has bytes that hold it.
func (r *Redactor) exactJSON(body []byte) ([]byte, []Finding) {
	w := walker{r: r, body: body, exact: true}
	if !w.walk() {
		found := r.known(body)
		if found == nil {
			return body, nil
		}
		return r.Exact(bytes.Clone(body)), found
	}
	return w.result()
}

// walker goes through the texts of a JSON value.
type walker struct {
	r      *Redactor
	body   []byte
	kept   []string
	exact  bool   // exact values alone, blacked out
	out    []byte // the beginning as it shall be; the rest follows from copied on
	copied int
	found  []Finding
	stack  []level
	names  int // names that were found to be secrets: they must stay different
}

// level is one object or list that is open.
type level struct {
	object bool
	name   bool // the next text is a name
	secret bool // what stands here is behind a name that says secret
}

func (w *walker) result() ([]byte, []Finding) {
	if w.found == nil {
		return w.body, nil
	}
	return append(w.out, w.body[w.copied:]...), w.found
}

// clean is one text as it shall be.
func (w *walker) clean(text []byte) ([]byte, []Finding) {
	if !w.exact {
		return w.r.Bytes(text)
	}
	found := w.r.known(text)
	if found == nil {
		return text, nil
	}
	return w.r.Exact(bytes.Clone(text)), found
}

// walk reports whether body could be read.
func (w *walker) walk() bool {
	for i := 0; i < len(w.body); {
		switch c := w.body[i]; c {
		case '{', '[':
			w.stack = append(w.stack, level{c == '{', c == '{', w.secret() && c == '['})
		case '}', ']':
			if len(w.stack) == 0 {
				return false
			}
			w.stack = w.stack[:len(w.stack)-1]
		case ',':
			if n := len(w.stack); n > 0 && w.stack[n-1].object {
				w.stack[n-1].name, w.stack[n-1].secret = true, false
			}
		case '"':
			end := stringEnd(w.body, i)
			if end < 0 {
				return false
			}
			w.text(i, end)
			i = end
			continue
		default:
			if end := numberEnd(w.body, i); end > i {
				w.number(i, end)
				i = end
				continue
			}
		}
		i++
	}
	return len(w.stack) == 0
}

func (w *walker) secret() bool { n := len(w.stack); return n > 0 && w.stack[n-1].secret }

// text cleans the text between two quotes.
func (w *walker) text(from, to int) {
	raw := w.body[from+1 : to-1]
	plain := raw
	if slices.Contains(raw, '\\') {
		var s string
		if json.Unmarshal(w.body[from:to], &s) != nil {
			return
		}
		plain = []byte(s)
	}
	var top *level
	if n := len(w.stack); n > 0 {
		top = &w.stack[n-1]
	}
	clean, found := w.clean(plain)
	if top != nil && top.name {
		top.name, top.secret = false, saysSecret(plain) && !slices.Contains(w.kept, string(plain))
		if found != nil && !w.exact {
			if w.names++; w.names > 1 {
				clean = strconv.AppendInt(clean, int64(w.names), 10)
			}
		}
	} else if !w.exact && w.secret() && w.r.hasEntropy() && chancyText(plain) && !masked(plain) {
		// What a rule or the vault knows better lends its name.
		if found == nil {
			found = []Finding{{Rule: entropyID, Hint: entropyHint}}
		}
		clean = []byte(Mask)
	}
	if found == nil {
		return
	}
	text, err := json.Marshal(string(clean))
	if err != nil {
		text = []byte(`"` + Mask + `"`)
	}
	w.put(from, to, text, found)
}

// number takes out one that is an exact value.
func (w *walker) number(from, to int) {
	if to-from < MinValue {
		return
	}
	found := w.r.known(w.body[from:to])
	switch {
	case found == nil:
	case w.exact:
		w.put(from, to, w.r.Exact(bytes.Clone(w.body[from:to])), found)
	default:
		w.put(from, to, []byte(`"`+Mask+`"`), found)
	}
}

func (w *walker) put(from, to int, text []byte, found []Finding) {
	w.out = append(append(w.out, w.body[w.copied:from]...), text...)
	w.copied = to
	for _, f := range found {
		f.At, f.Len = from, to-from
		w.found = append(w.found, f)
	}
}

// stringEnd is behind the closing quote of the text that begins at from, or -1.
func stringEnd(body []byte, from int) int {
	for i := from + 1; i < len(body); i++ {
		switch body[i] {
		case '\\':
			i++
		case '"':
			return i + 1
		}
	}
	return -1
}

func numberEnd(body []byte, from int) int {
	i := from
	for i < len(body) && (body[i] >= '0' && body[i] <= '9' || i > from && (body[i] == '.' || body[i] == 'e' || body[i] == 'E' || body[i] == '+' || body[i] == '-')) {
		i++
	}
	return i
}
