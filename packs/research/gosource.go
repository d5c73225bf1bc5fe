package main

import "strings"

// splitGo gives the documentation of a Go file: the package comment and the comments of declarations at the top level,
// each under a heading that names what is declared ("func (Buffer) Write"). Nothing inside of functions is read. It is a
// scanner of its own, because parsing whole files costs a guest ten times the gas.
func splitGo(text string) []passage {
	g := gofile{src: text, at: 1}
	g.run()
	return g.s.done()
}

type gofile struct {
	s     splitter
	src   string
	pos   int
	at    int    // line
	depth int    // open braces, parentheses and brackets
	group string // keyword of the declaration group that is open at depth 1
	doc   []docLine
	ends  int // line of the last comment
}

type docLine struct {
	n    int
	text string
}

// run reads token by token; only those that begin a line can begin a declaration.
func (g *gofile) run() {
	fresh := true // nothing but space before on this line
	for g.pos < len(g.src) {
		c := g.src[g.pos]
		switch {
		case c == '\n':
			g.pos++
			g.at++
			fresh = true
		case c == ' ' || c == '\t' || c == '\r':
			g.pos++
		case c == '/' && strings.HasPrefix(g.src[g.pos:], "//"):
			g.lineComment(fresh)
		case c == '/' && strings.HasPrefix(g.src[g.pos:], "/*"):
			g.blockComment(fresh)
		case c == '"' || c == '\'' || c == '`':
			g.quoted(c)
			fresh = false
		default:
			if fresh && (g.depth == 0 || g.depth == 1 && g.group != "") && g.declaration() {
				fresh = false
				continue
			}
			fresh = false
			g.step(c)
		}
	}
}

// step passes one token that matters only for its depth.
func (g *gofile) step(c byte) {
	switch {
	case c == '{' || c == '(' || c == '[':
		g.depth++
	case c == '}' || c == ')' || c == ']':
		g.depth = max(0, g.depth-1)
		if g.depth == 0 {
			g.group = ""
		}
	case isWord(c):
		for g.pos+1 < len(g.src) && isWord(g.src[g.pos+1]) {
			g.pos++
		}
	}
	g.pos++
}

func isWord(c byte) bool {
	return c == '_' || 'a' <= c && c <= 'z' || 'A' <= c && c <= 'Z' || '0' <= c && c <= '9' || c >= 0x80
}

// lineComment takes a // comment that stands alone on its line into the documentation to come. Directives are not
// documentation (go.dev/doc/comment).
func (g *gofile) lineComment(alone bool) {
	line, _, _ := strings.Cut(g.src[g.pos:], "\n")
	g.pos += len(line)
	if !alone || !g.wanted() {
		return
	}
	if g.at != g.ends+1 {
		g.doc = g.doc[:0]
	}
	g.ends = g.at
	text := strings.TrimRight(line[2:], " \t\r")
	if !isDirective(text) {
		g.doc = append(g.doc, docLine{g.at, strings.TrimPrefix(text, " ")})
	}
}

// wanted reports whether a comment here could document a declaration.
func (g *gofile) wanted() bool { return g.depth == 0 || g.depth == 1 && g.group != "" }

// isDirective recognises //go:build, //export and +build lines.
func isDirective(text string) bool {
	if strings.HasPrefix(text, "line ") || strings.HasPrefix(text, "export ") || strings.HasPrefix(text, "extern ") || strings.HasPrefix(text, " +build ") {
		return true
	}
	word, _, ok := strings.Cut(text, ":")
	if !ok || word == "" {
		return false
	}
	for i := range len(word) {
		if c := word[i]; (c < 'a' || c > 'z') && (c < '0' || c > '9') {
			return false
		}
	}
	return len(text) > len(word)+1 && text[len(word)+1] != ' '
}

func (g *gofile) blockComment(alone bool) {
	body, _, _ := strings.Cut(g.src[g.pos+2:], "*/")
	keep := alone && g.wanted()
	if keep {
		g.doc = g.doc[:0]
	}
	n := g.at
	for line := range strings.Lines(body) {
		if keep {
			g.doc = append(g.doc, docLine{n, strings.TrimRight(line, " \t\r\n")})
		}
		n++
	}
	g.at += strings.Count(body, "\n")
	g.ends = g.at
	g.pos = min(len(g.src), g.pos+len(body)+4)
}

// quoted passes a string or rune. One that is not closed ends with its line, so that a broken file hides one line only.
func (g *gofile) quoted(quote byte) {
	for g.pos++; g.pos < len(g.src); g.pos++ {
		switch c := g.src[g.pos]; {
		case c == quote:
			g.pos++
			return
		case c == '\\' && quote != '`':
			if g.pos+1 < len(g.src) && g.src[g.pos+1] != '\n' {
				g.pos++
			}
		case c == '\n' && quote != '`':
			return
		case c == '\n':
			g.at++
		}
	}
}

// declaration looks at the word that begins a line at the top level or in a group. It reports whether it moved on.
func (g *gofile) declaration() bool {
	end := g.pos
	for end < len(g.src) && isWord(g.src[end]) {
		end++
	}
	word := g.src[g.pos:end]
	if word == "" {
		return false
	}
	heading := ""
	switch {
	case g.depth == 1:
		heading = g.group + " " + word
	case word == "package":
		heading = "package " + g.name(end)
	case word == "func":
		heading = g.function(end)
	case word == "type" || word == "const" || word == "var":
		rest := strings.TrimLeft(g.src[end:], " \t")
		if strings.HasPrefix(rest, "(") {
			g.group, heading = word, word
			g.emit(heading)
			g.depth++
			g.pos = len(g.src) - len(rest) + 1
			return true
		}
		heading = word + " " + g.name(end)
	default:
		return false
	}
	g.emit(heading)
	g.pos = end
	return true
}

// name is the identifier that follows a position.
func (g *gofile) name(at int) string {
	rest := strings.TrimLeft(g.src[at:], " \t")
	end := 0
	for end < len(rest) && isWord(rest[end]) {
		end++
	}
	return rest[:end]
}

// function is the heading of a function: its name, with the receiver's type when it is a method.
func (g *gofile) function(at int) string {
	rest := strings.TrimLeft(g.src[at:], " \t")
	if !strings.HasPrefix(rest, "(") {
		return "func " + g.name(at)
	}
	receiver, after, ok := strings.Cut(rest[1:], ")")
	if !ok {
		return "func"
	}
	of := receiver[strings.LastIndexAny(receiver, " \t*")+1:]
	if i := strings.IndexByte(receiver, '['); i >= 0 { // type parameters hold spaces
		of = receiver[:i]
		of = of[strings.LastIndexAny(of, " \t*")+1:]
	}
	return "func (" + of + ") " + g.name(len(g.src)-len(after))
}

// emit makes a passage of the documentation that ends on the line before.
func (g *gofile) emit(heading string) {
	if len(g.doc) == 0 || g.ends+1 != g.at {
		g.doc = g.doc[:0]
		return
	}
	g.s.under(heading)
	for _, l := range g.doc {
		if strings.TrimSpace(l.text) == "" {
			g.s.blank()
			continue
		}
		g.s.line(l.n, l.text)
	}
	g.doc = g.doc[:0]
}
