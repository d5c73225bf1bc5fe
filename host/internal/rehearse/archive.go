package rehearse

import (
	"bytes"
	"fmt"
	"strings"
)

// archive is a file of cases as it is written: a head, and files behind lines "-- NAME --". Its text comes out as it went
// in, except for the files that put replaces, so that an update changes goldens and nothing else.
type archive struct {
	head  []byte
	files []section
}

// section is one file of an archive.
type section struct {
	name string
	mark string // the line before it, as written
	line int    // of the mark
	data []byte
}

// Bounds of a file of cases.
const (
	maxArchive  = 16 << 20
	maxSections = 4096
)

// parseArchive splits a text. The error tells the line.
func parseArchive(src []byte) (*archive, error) {
	if len(src) > maxArchive {
		return nil, fmt.Errorf("1: the file has %d bytes, at most %d are read", len(src), maxArchive)
	}
	a := &archive{}
	seen := map[string]int{}
	into, line := &a.head, 0
	for len(src) > 0 {
		text := src
		if i := bytes.IndexByte(src, '\n'); i >= 0 {
			text = src[:i+1]
		}
		src = src[len(text):]
		line++
		name, ok := marked(string(text))
		if !ok {
			*into = append(*into, text...)
			continue
		}
		if first := seen[name]; first > 0 {
			return nil, fmt.Errorf("%d: the file %q stands on line %d already", line, name, first)
		}
		if len(a.files) == maxSections {
			return nil, fmt.Errorf("%d: more than %d files", line, maxSections)
		}
		seen[name] = line
		a.files = append(a.files, section{name: name, mark: string(text), line: line})
		into = &a.files[len(a.files)-1].data
	}
	return a, nil
}

// marked reads "-- NAME --"; the name has no space at its ends.
func marked(line string) (string, bool) {
	line = strings.TrimRight(line, "\r\n")
	name, ok := strings.CutPrefix(line, "-- ")
	if !ok {
		return "", false
	}
	if name, ok = strings.CutSuffix(name, " --"); !ok {
		return "", false
	}
	name = strings.TrimSpace(name)
	return name, name != ""
}

// file finds a section by name.
func (a *archive) file(name string) (*section, bool) {
	for i := range a.files {
		if a.files[i].name == name {
			return &a.files[i], true
		}
	}
	return nil, false
}

// put replaces a file or adds it at the end. Text ends with a line break, or the next mark would not stand on its own line.
func (a *archive) put(name string, data []byte) {
	if len(data) > 0 && data[len(data)-1] != '\n' {
		data = append(bytes.Clone(data), '\n')
	}
	if f, ok := a.file(name); ok {
		f.data = data
		return
	}
	if last := a.last(); len(*last) > 0 && (*last)[len(*last)-1] != '\n' {
		*last = append(*last, '\n')
	}
	a.files = append(a.files, section{name: name, mark: "-- " + name + " --\n", data: data})
}

func (a *archive) last() *[]byte {
	if n := len(a.files); n > 0 {
		return &a.files[n-1].data
	}
	return &a.head
}

// bytes is the text again.
func (a *archive) bytes() []byte {
	out := bytes.Clone(a.head)
	for _, f := range a.files {
		out = append(append(out, f.mark...), f.data...)
	}
	return out
}

// value is a file's content as a stored value: the one line break that ends every file of an archive is not part of it.
func (s *section) value() []byte {
	data := bytes.TrimSuffix(s.data, []byte("\n"))
	return bytes.Clone(bytes.TrimSuffix(data, []byte("\r")))
}
