package pattern

import (
	"fmt"
	"math"
	"slices"
	"strconv"
	"strings"
	"unicode"
)

// Bounds of the conditions of one entry.
const (
	MaxConditions = 16 // joined by "and"
	MaxValues     = 64 // in one list
)

// Where is the part of an entry behind " where ": conditions on the arguments of a call, all of which must hold.
//
//	where     = condition { " and " condition }
//	condition = pointer " is " scalar | pointer " in [" scalar { "," scalar } "]" | pointer " in " [ number ] ".." [ number ]
//	          | pointer " like " string
//	pointer   = RFC 6901, without blanks; or a JSON string that holds one
//	scalar    = a JSON string, number, true, false or null
//
// The zero value has no conditions and holds always.
type Where struct{ conditions []condition }

// condition is one of three: values, a glob or a range.
type condition struct {
	pointer string
	path    []string // the pointer's tokens
	values  []any    // string, float64, bool, nil
	like    *Compiled
	low, hi float64 // a range, when values and like are nil
}

// Split cuts an entry into what it names and its conditions; ok says that it has any.
func Split(entry string) (name, where string, ok bool) { return strings.Cut(entry, " where ") }

// ParseWhere reads conditions; what is wrong is the error's text, one line for a person.
func ParseWhere(text string) (Where, error) {
	r, w := reader{text}, Where{}
	for {
		c, err := r.condition()
		if err != nil {
			return Where{}, fmt.Errorf(`%w: a condition reads like /to like "*@example.com", /mode is "draft", /mode in ["draft","test"] or /count in 1..10`, err)
		}
		if w.conditions = append(w.conditions, c); len(w.conditions) > MaxConditions {
			return Where{}, fmt.Errorf("more than %d conditions", MaxConditions)
		}
		if r.rest == "" {
			return w, nil
		}
		if !r.skip(" and ") {
			return Where{}, fmt.Errorf(`%q stands where " and " belongs`, clip(r.rest))
		}
	}
}

// Empty reports whether there is no condition.
func (w *Where) Empty() bool { return len(w.conditions) == 0 }

// Covers reports whether the arguments of a call fulfil every condition. What a condition looks at has to be there. Arguments that
// are not one JSON value with a single meaning fulfil none.
func (w *Where) Covers(a *Arguments) bool {
	if len(w.conditions) == 0 {
		return true
	}
	switch a.look() {
	case broken:
		return false
	case plain:
		for i := range w.conditions {
			c := &w.conditions[i]
			if v, ok := lookup(a.text, c.path); !ok || !c.holdsPlain(v) {
				return false
			}
		}
		return true
	}
	root, ok := a.tree()
	if !ok {
		return false
	}
	for i := range w.conditions {
		c := &w.conditions[i]
		if v, ok := find(root, c.path); !ok || !c.holds(v) {
			return false
		}
	}
	return true
}

// Within reports whether everything that q covers, w covers.
func (w *Where) Within(q *Where) bool {
	for i := range w.conditions {
		c := &w.conditions[i]
		if !slices.ContainsFunc(q.conditions, func(d condition) bool { return d.pointer == c.pointer && c.within(&d) }) {
			return false
		}
	}
	return true
}

func (c *condition) holds(v any) bool {
	if c.values != nil {
		return slices.Contains(c.values, v)
	}
	if c.like != nil {
		s, ok := v.(string)
		return ok && c.like.Matches(s)
	}
	n, ok := v.(float64)
	return ok && c.low <= n && n <= c.hi
}

// within reports whether every value for which d holds, c holds.
func (c *condition) within(d *condition) bool {
	switch {
	case d.values != nil:
		return !slices.ContainsFunc(d.values, func(v any) bool { return !c.holds(v) })
	case d.like != nil:
		return c.like != nil && c.like.Matches(d.like.text) || c.values != nil && !d.like.star && c.holds(d.like.text)
	}
	return c.values == nil && c.like == nil && c.low <= d.low && d.hi <= c.hi
}

// reader reads a text from its beginning.
type reader struct{ rest string }

func (r *reader) skip(word string) bool {
	rest, ok := strings.CutPrefix(r.rest, word)
	if ok {
		r.rest = rest
	}
	return ok
}

func (r *reader) condition() (c condition, err error) {
	if err = r.pointer(&c); err != nil {
		return c, err
	}
	switch {
	case r.skip(" is "):
		v, err := r.scalar()
		c.values = []any{v}
		return c, err
	case r.skip(" like "):
		v, err := r.scalar()
		s, ok := v.(string)
		glob := Compile(s)
		if c.like = &glob; err == nil && !ok {
			err = fmt.Errorf("like is followed by a text in quotation marks")
		}
		return c, err
	case r.skip(" in ["):
		return c, r.list(&c)
	case r.skip(" in "):
		return c, r.bounds(&c)
	case r.rest == "":
		return c, fmt.Errorf("nothing follows the pointer %q", clip(c.pointer))
	}
	return c, fmt.Errorf("%q stands where is, like or in belongs", clip(r.rest))
}

// pointer reads up to the word behind it.
func (r *reader) pointer(c *condition) error {
	if strings.HasPrefix(r.rest, `"`) {
		v, err := r.scalar()
		if err != nil {
			return err
		}
		c.pointer, _ = v.(string)
	} else if i := strings.IndexByte(r.rest, ' '); i >= 0 {
		c.pointer, r.rest = r.rest[:i], r.rest[i:]
	} else {
		c.pointer, r.rest = r.rest, ""
	}
	if !strings.HasPrefix(c.pointer, "/") {
		return fmt.Errorf("%q is no pointer into the arguments: it begins with a slash", clip(c.pointer))
	}
	for token := range strings.SplitSeq(c.pointer[1:], "/") {
		for i := 0; i < len(token); i++ {
			if token[i] == '~' && (i+1 == len(token) || token[i+1] != '0' && token[i+1] != '1') {
				return fmt.Errorf("the pointer %q: ~ is followed by 0 or 1", clip(c.pointer))
			}
		}
		c.path = append(c.path, strings.ReplaceAll(strings.ReplaceAll(token, "~1", "/"), "~0", "~"))
	}
	return nil
}

// scalar reads one JSON value that is no object and no list.
func (r *reader) scalar() (any, error) {
	end := 0
	if strings.HasPrefix(r.rest, `"`) {
		for end = 1; end < len(r.rest) && r.rest[end] != '"'; end++ {
			if r.rest[end] == '\\' {
				end++
			}
		}
		end = min(end+1, len(r.rest))
	} else if end = strings.IndexAny(r.rest, " ,]"); end < 0 {
		end = len(r.rest)
	}
	text := r.rest[:end]
	v, ok := parse([]byte(text))
	switch v.(type) {
	case map[string]any, []any:
		ok = false
	}
	if !ok || text == "" || unicode.IsSpace(rune(text[0])) {
		return nil, fmt.Errorf("%q is no JSON text, number, true, false or null", clip(r.rest))
	}
	if _, vague := v.(vague); vague {
		return nil, fmt.Errorf("%s: a number here has a magnitude below 2^53", clip(text))
	}
	r.rest = r.rest[end:]
	return v, nil
}

func (r *reader) list(c *condition) error {
	for {
		v, err := r.scalar()
		if err != nil {
			return err
		}
		if c.values = append(c.values, v); len(c.values) > MaxValues {
			return fmt.Errorf("more than %d values", MaxValues)
		}
		switch {
		case r.skip("]"):
			return nil
		case !r.skip(","):
			return fmt.Errorf("%q stands where , or ] belongs; there are no blanks in a list", clip(r.rest))
		}
	}
}

func (r *reader) bounds(c *condition) error {
	end := strings.IndexByte(r.rest, ' ')
	if end < 0 {
		end = len(r.rest)
	}
	low, hi, ok := strings.Cut(r.rest[:end], "..")
	c.low, c.hi = math.Inf(-1), math.Inf(1)
	for _, side := range []struct {
		text string
		to   *float64
	}{{low, &c.low}, {hi, &c.hi}} {
		if side.text == "" {
			continue
		}
		v, good := parse([]byte(side.text))
		n, isNumber := v.(float64)
		if ok = ok && good && isNumber; ok {
			*side.to = n
		}
	}
	if !ok || low == "" && hi == "" || c.low > c.hi {
		return fmt.Errorf("%q is no range of numbers", clip(r.rest[:end]))
	}
	r.rest = r.rest[end:]
	return nil
}

func clip(s string) string {
	if len(s) <= 64 {
		return s
	}
	return strings.ToValidUTF8(s[:64], "") + "…"
}

// find follows a pointer. A name that stands beside another which differs by case alone is not found: whoever reads the arguments
// may take the one for the other.
func find(v any, path []string) (any, bool) {
	for _, token := range path {
		switch at := v.(type) {
		case map[string]any:
			next, ok := at[token]
			if !ok {
				return nil, false
			}
			for name := range at {
				if name != token && strings.EqualFold(name, token) {
					return nil, false
				}
			}
			v = next
		case []any:
			i, err := strconv.Atoi(token)
			if err != nil || i < 0 || i >= len(at) || strconv.Itoa(i) != token {
				return nil, false
			}
			v = at[i]
		default:
			return nil, false
		}
	}
	return v, true
}
