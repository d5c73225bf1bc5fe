package pattern

import "strings"

// Compiled is a glob without stops that was read once: what stands in front of its first star and behind its last is compared
// without looking for it. The zero value matches the empty text. It is a value and matches as Glob does.
type Compiled struct {
	text       string
	head, tail string
	star       bool   // there is one
	middle     string // from the first star to the last, both included; "*" when there is one star
}

// Compile reads a glob; every text is one.
func Compile(glob string) Compiled {
	first, last := strings.IndexByte(glob, '*'), strings.LastIndexByte(glob, '*')
	if first < 0 {
		return Compiled{text: glob, head: glob}
	}
	return Compiled{text: glob, head: glob[:first], tail: glob[last+1:], star: true, middle: glob[first : last+1]}
}

// String is the glob as it was written.
func (c *Compiled) String() string { return c.text }

// Matches reports whether the whole of s is matched. It allocates nothing.
func (c *Compiled) Matches(s string) bool {
	if !c.star {
		return c.head == s
	}
	if len(s) < len(c.head)+len(c.tail) || s[:len(c.head)] != c.head || s[len(s)-len(c.tail):] != c.tail {
		return false
	}
	return len(c.middle) == 1 || Glob(c.middle, s[len(c.head):len(s)-len(c.tail)], "")
}

// Tool is the reference "namespace/name:tool" or "namespace/name" of a scope, in each part of which * stands for any run of
// characters but / and :.
type Tool struct {
	namespace, name, tool Compiled
	named                 bool // there is a tool
}

// NewTool reads a reference; false for a text that is none.
func NewTool(entry string) (t Tool, ok bool) {
	r, ok := SplitTool(entry)
	return Tool{Compile(r.namespace), Compile(r.name), Compile(r.tool), r.named}, ok
}

// Reference is what a call wants, split once for all the entries it meets.
type Reference struct {
	namespace, name, tool string
	named                 bool
}

// SplitTool splits a reference at its marks; false for a text with more or fewer of them, or with an empty part.
func SplitTool(text string) (r Reference, ok bool) {
	slash, colon := -1, -1
	for i := range len(text) {
		switch text[i] {
		case '/':
			if slash >= 0 || colon >= 0 {
				return r, false
			}
			slash = i
		case ':':
			if slash < 0 || colon >= 0 {
				return r, false
			}
			colon = i
		}
	}
	if slash <= 0 {
		return r, false
	}
	r.namespace, r.name = text[:slash], text[slash+1:]
	if colon > 0 {
		r.named, r.name, r.tool = true, text[slash+1:colon], text[colon+1:]
	}
	return r, r.name != "" && r.named == (r.tool != "")
}

// Matches reports whether the reference is what this one names. It allocates nothing.
func (t *Tool) Matches(r *Reference) bool {
	return t.named == r.named && t.namespace.Matches(r.namespace) && t.name.Matches(r.name) && t.tool.Matches(r.tool)
}
