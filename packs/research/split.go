package main

import (
	"strings"
	"unicode/utf8"
)

// maxPassage is the most bytes of a passage's text: some paragraphs, enough to answer a question and to be read at once.
const maxPassage = 1200

// maxHeading bounds the heading that is kept with every passage.
const maxHeading = 200

// passage is a piece of a file with where it stands.
type passage struct {
	from, to int // lines, from 1
	heading  string
	text     string
}

// splitter collects lines into paragraphs and paragraphs into passages. Paragraphs with the same heading are joined
// while they fit.
type splitter struct {
	out     []passage
	heading string

	para        []byte // the open paragraph
	first, last int
	group       []byte // the open passage, of closed paragraphs
	groupFrom   int
	groupTo     int
	cuts        []cut // line starts in para, for a paragraph that is too long
}

type cut struct{ at, line int }

// line adds a line to the open paragraph.
func (s *splitter) line(n int, text string) {
	if len(s.para) == 0 {
		s.first = n
	} else {
		s.para = append(s.para, '\n')
	}
	s.cuts = append(s.cuts, cut{len(s.para), n})
	s.para = append(s.para, text...)
	s.last = n
}

// blank ends the paragraph.
func (s *splitter) blank() {
	if len(s.para) == 0 {
		return
	}
	if len(s.group) > 0 && len(s.group)+2+len(s.para) > maxPassage {
		s.close()
	}
	if len(s.para) > maxPassage {
		s.long()
	} else {
		if len(s.group) == 0 {
			s.groupFrom = s.first
		} else {
			s.group = append(s.group, "\n\n"...)
		}
		s.group = append(s.group, s.para...)
		s.groupTo = s.last
	}
	s.para, s.cuts = s.para[:0], s.cuts[:0]
}

// long cuts a paragraph that is no passage: between lines where that is possible, else between words, else anywhere.
func (s *splitter) long() {
	text := string(s.para)
	lineAt := func(pos int) int {
		n := s.first
		for _, c := range s.cuts {
			if c.at > pos {
				break
			}
			n = c.line
		}
		return n
	}
	for at := 0; at < len(text); {
		end := len(text)
		if end-at > maxPassage {
			end = at + cutPoint(text[at:])
		}
		if piece := strings.TrimSpace(text[at:end]); piece != "" {
			from := at + strings.Index(text[at:end], piece)
			s.out = append(s.out, passage{lineAt(from), lineAt(from + len(piece) - 1), s.heading, piece})
		}
		at = end
	}
}

// cutPoint is where a text longer than a passage is cut, in its later half.
func cutPoint(text string) int {
	for _, sep := range []string{"\n", ". ", " "} {
		if i := strings.LastIndex(text[:maxPassage], sep); i > maxPassage/2 {
			return i + len(sep)
		}
	}
	end := maxPassage
	for end > maxPassage-utf8.UTFMax && !utf8.RuneStart(text[end]) {
		end--
	}
	return end
}

// close ends the passage.
func (s *splitter) close() {
	if len(s.group) == 0 {
		return
	}
	if text := strings.TrimSpace(string(s.group)); text != "" {
		s.out = append(s.out, passage{s.groupFrom, s.groupTo, s.heading, text})
	}
	s.group = s.group[:0]
}

// under ends the passage and begins a heading.
func (s *splitter) under(heading string) {
	s.blank()
	s.close()
	heading = strings.Join(strings.Fields(heading), " ")
	if len(heading) > maxHeading {
		end := maxHeading
		for !utf8.RuneStart(heading[end]) {
			end--
		}
		heading = heading[:end]
	}
	s.heading = heading
}

func (s *splitter) done() []passage {
	s.blank()
	s.close()
	return s.out
}

// lines calls yield for every line with its number and without its end.
func lines(text string, yield func(n int, line string)) {
	n := 0
	for line := range strings.Lines(text) {
		n++
		yield(n, strings.TrimRight(line, " \t\r\n\f\v"))
	}
}

// splitText splits plain text at empty lines.
func splitText(text string) []passage {
	var s splitter
	lines(text, func(n int, line string) {
		if line == "" {
			s.blank()
			return
		}
		s.line(n, line)
	})
	return s.done()
}

// splitMarkdown splits Markdown at empty lines and headings (CommonMark 4.2 and 4.3). A passage's heading is the path of
// headings above it. What stands in a fence is text, also when it looks like a heading.
func splitMarkdown(text string) []passage {
	var s splitter
	var path headings
	fence := ""
	lines(text, func(n int, line string) {
		bare := strings.TrimLeft(line, " ")
		indent := len(line) - len(bare)
		switch {
		case fence != "":
			s.line(n, line)
			if indent < 4 && closesFence(bare, fence) {
				fence = ""
			}
		case indent < 4 && opensFence(bare) != "":
			fence = opensFence(bare)
			s.line(n, line)
		case line == "":
			s.blank()
		case indent < 4 && isATX(bare):
			level := len(bare) - len(strings.TrimLeft(bare, "#"))
			s.under(path.enter(level, strings.TrimRight(strings.TrimSpace(bare[level:]), "# ")))
		case indent < 4 && len(s.cuts) == 1 && isUnderline(bare):
			title := strings.TrimSpace(string(s.para))
			s.para, s.cuts = s.para[:0], s.cuts[:0]
			level := 1
			if bare[0] == '-' {
				level = 2
			}
			s.under(path.enter(level, title))
		default:
			s.line(n, line)
		}
	})
	return s.done()
}

func isATX(line string) bool {
	rest := strings.TrimLeft(line, "#")
	level := len(line) - len(rest)
	return level >= 1 && level <= 6 && (rest == "" || rest[0] == ' ' || rest[0] == '\t')
}

// isUnderline recognises the second line of a setext heading.
func isUnderline(line string) bool {
	return len(line) >= 2 && (strings.Trim(line, "=") == "" || strings.Trim(line, "-") == "")
}

func opensFence(line string) string {
	for _, mark := range []string{"`", "~"} {
		rest := strings.TrimLeft(line, mark)
		if n := len(line) - len(rest); n >= 3 && (mark == "~" || !strings.Contains(rest, "`")) {
			return line[:n]
		}
	}
	return ""
}

func closesFence(line, fence string) bool {
	return strings.HasPrefix(line, fence) && strings.Trim(line, fence[:1]) == ""
}

// headings is the path of headings that a line stands under.
type headings [6]string

// enter sets the heading of a level, forgets those below it and gives the path.
func (h *headings) enter(level int, title string) string {
	h[level-1] = title
	for i := level; i < len(h); i++ {
		h[i] = ""
	}
	var words []string
	for _, t := range h {
		if t != "" {
			words = append(words, t)
		}
	}
	return strings.Join(words, " › ")
}
