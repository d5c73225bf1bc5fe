// Package strict reads TOML and has a file and a line for every complaint.
//
// The common way to read a configuration file forgives: an unknown key is dropped, the first wrong type hides the
// others, and nobody is told on which line. A file that grants authority must not be read that way. Decode collects
// every unknown key (with the known one that was probably meant), every wrong type and every missing key, and the Lines
// it returns let the caller add problems of meaning that carry lines too.
//
// The package reads TOML 1.0 and the multi-line inline tables of 1.1. It refuses sources above MaxSize, nesting above
// MaxDepth and anything that is not UTF-8, so that text from strangers costs a bounded amount of memory and stack. It
// does no I/O; every function is safe for concurrent use.
package strict

import (
	"errors"
	"fmt"
	"reflect"
	"unicode/utf8"

	"github.com/BurntSushi/toml"
)

// Bounds of a source, and of what is said about it. MaxDepth counts the parts of keys, from the header inwards, and
// arrays.
const (
	MaxSize     = 1 << 20
	MaxDepth    = 64
	MaxProblems = 100
)

// Decode reads src into the struct that into points to. The file name is used in problems only.
//
// Fields are named by the tag `toml:"name"`, or else by their name in lower case; with `toml:"name,required"` a missing
// key is a problem, and `toml:"-"` hides a field. Fields may be strings, booleans, numbers, slices, maps with string
// keys, structs, pointers to these, time.Time, any, types with UnmarshalTOML (see Unmarshaler) and types with
// UnmarshalText (which receive strings only).
//
// The error is of type Problems, sorted by line. When the source is not TOML at all it holds one problem and Lines is
// nil; otherwise Lines is complete and everything that could be decoded has been, so that a caller may go on to look
// for problems of meaning and report all of them together.
func Decode(file string, src []byte, into any) (*Lines, error) {
	target := reflect.ValueOf(into)
	if target.Kind() != reflect.Pointer || target.IsNil() || target.Elem().Kind() != reflect.Struct {
		return nil, fmt.Errorf("decode %q: the target must be a pointer to a struct, not %T", file, into)
	}
	lines, tree, problem := parse(file, src)
	if problem != nil {
		return nil, Problems{*problem}
	}
	d := decoder{lines: lines}
	d.table(nil, tree, target.Elem())
	return lines, d.problems.Err()
}

// parse gives the position of every key and the tree of values, or the one thing that made the source unreadable.
func parse(file string, src []byte) (*Lines, map[string]any, *Problem) {
	at := func(line int, format string, args ...any) *Problem {
		return &Problem{File: file, Line: max(line, 1), Msg: fmt.Sprintf(format, args...)}
	}
	if len(src) > MaxSize {
		return nil, nil, at(1, "the file has %d bytes, at most %d are read", len(src), MaxSize)
	}
	if !utf8.Valid(src) {
		return nil, nil, at(lineOfBadUTF8(src), "the file is not UTF-8")
	}
	root, stop := scan(src)
	if stop != nil && stop.depth {
		return nil, nil, at(stop.line, "nested deeper than %d levels", MaxDepth)
	}
	// The parser recurses. It sees nothing beyond the point where the scanner gave up (a few bytes more, for its
	// message), so the scanner's bound on depth is also the parser's.
	if stop != nil {
		src = src[:min(len(src), stop.offset+64)]
	}
	tree, err := parseTOML(string(src))
	if err != nil {
		if perr, ok := errors.AsType[toml.ParseError](err); ok {
			return nil, nil, at(perr.Position.Line, "%s", perr.Message)
		}
		return nil, nil, at(1, "%s", err)
	}
	if stop != nil {
		return nil, nil, at(stop.line, "this is not valid TOML")
	}
	return &Lines{file: file, root: root}, tree, nil
}

// parseTOML turns the library's own panics on input it did not foresee into errors: a file must not end the process.
func parseTOML(src string) (tree map[string]any, err error) {
	defer func() {
		if r := recover(); r != nil {
			tree, err = nil, fmt.Errorf("this is not valid TOML (%v)", r)
		}
	}()
	_, err = toml.Decode(src, &tree)
	if tree == nil {
		tree = map[string]any{}
	}
	return tree, err
}

func lineOfBadUTF8(src []byte) int {
	line := 1
	for len(src) > 0 {
		r, n := utf8.DecodeRune(src)
		if r == utf8.RuneError && n == 1 {
			break
		}
		if r == '\n' {
			line++
		}
		src = src[n:]
	}
	return line
}
