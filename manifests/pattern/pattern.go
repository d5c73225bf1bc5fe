// Package pattern says what the patterns in scopes cover: folders by stars, and the arguments of a tool call by conditions.
// Manifests, leases and the host function that opens a folder read them; one reader here keeps what a person was shown and what
// is checked the same. docs/spec/policy.md is the normative description.
//
// It reads text and does nothing else. Everything is safe for concurrent use.
package pattern

import "strings"

// Glob matches with * standing for any run of characters but those of stop. It takes time in the product of the lengths
// at worst and allocates nothing. A * in s is matched by a * alone, so that a pattern may stand for s: then the match says
// that everything s admits, the pattern admits.
func Glob(pattern, s, stop string) bool {
	star, retry := -1, 0 // the last * and where it was tried last
	i, j := 0, 0
	for j < len(s) {
		switch {
		case i < len(pattern) && pattern[i] == '*':
			star, retry = i, j
			i++
		case i < len(pattern) && pattern[i] == s[j]:
			i++
			j++
		case star >= 0 && strings.IndexByte(stop, s[retry]) < 0:
			retry++
			i, j = star+1, retry
		default:
			return false
		}
	}
	return strings.Trim(pattern[i:], "*") == ""
}

// Below reports whether an absolute, clean path is what a folder pattern names, or lies below it. A * in the pattern stands for
// any run of characters within one segment, also none and also one that begins with a dot. It allocates nothing.
func Below(pattern, path string) bool {
	pattern = strings.TrimSuffix(pattern, "/")
	for pattern != "" {
		want, got := "", ""
		if want, pattern = segment(pattern); path == "" {
			return false
		}
		if got, path = segment(path); got == "" || !Glob(want, got, "") {
			return false
		}
	}
	return true
}

// segment cuts the first segment, which begins with a slash, off a path.
func segment(path string) (first, rest string) {
	if i := strings.IndexByte(path[1:], '/'); i >= 0 {
		return path[1 : i+1], path[i+1:]
	}
	return path[1:], ""
}

// Fixed splits a folder pattern before its first segment with a star: the folder that whoever wrote the pattern named, and the
// rest; a pattern without a star is its own fixed part.
func Fixed(pattern string) (folder, rest string) {
	star := strings.IndexByte(pattern, '*')
	if star < 0 {
		return pattern, ""
	}
	cut := strings.LastIndexByte(pattern[:star], '/')
	if cut == 0 {
		return "/", pattern[1:]
	}
	return pattern[:cut], pattern[cut+1:]
}

// Concrete is the folder of a path that the pattern names; false when the path does not lie in it.
func Concrete(pattern, path string) (string, bool) {
	if !Below(pattern, path) {
		return "", false
	}
	if !strings.Contains(pattern, "*") {
		return pattern, true
	}
	end := 0
	for range strings.Count(strings.TrimSuffix(pattern, "/"), "/") {
		next := strings.IndexByte(path[end+1:], '/')
		if next < 0 {
			return path, true
		}
		end += 1 + next
	}
	return path[:end], true
}

// maxStars bounds what one comparison costs.
const maxStars = 8

// StarFault says what is wrong with the stars of a folder pattern, "" when nothing is.
func StarFault(folder string) string {
	switch n := strings.Count(folder, "*"); {
	case strings.Contains(folder, "**"):
		return "** is no pattern: a * stands for characters of one segment, and a folder includes all that is below it"
	case n > maxStars:
		return "a folder has at most 8 stars"
	}
	return ""
}

// Meet reports whether some path lies in the folders of both patterns.
func Meet(a, b string) bool {
	a, b = strings.TrimSuffix(a, "/"), strings.TrimSuffix(b, "/")
	for a != "" && b != "" {
		var x, y string
		x, a = segment(a)
		if y, b = segment(b); !overlap(x, y) {
			return false
		}
	}
	return true
}

// overlap reports whether some text is matched by both globs, in time and memory of the product of their lengths.
func overlap(a, b string) bool {
	below := make([]bool, len(b)+1) // for a[i+1:] and b[j:]
	for i := len(a); i >= 0; i-- {
		row := make([]bool, len(b)+1)
		for j := len(b); j >= 0; j-- {
			switch {
			case i == len(a) && j == len(b):
				row[j] = true
			case i < len(a) && a[i] == '*':
				row[j] = below[j] || j < len(b) && row[j+1]
			case j < len(b) && b[j] == '*':
				row[j] = row[j+1] || i < len(a) && below[j]
			default:
				row[j] = i < len(a) && j < len(b) && a[i] == b[j] && below[j+1]
			}
		}
		below = row
	}
	return below[0]
}
