package main

import (
	"strings"

	"golang.org/x/net/html"
	"golang.org/x/net/html/atom"
)

// splitHTML splits the visible text of a page by its block elements and headings. It reads tokens, not a tree, so that a
// page of any depth costs no more than its length. Line numbers are those of the source.
func splitHTML(text string) []passage {
	p := page{at: 1}
	z := html.NewTokenizer(strings.NewReader(text))
	z.SetMaxBuf(len(text) + 1)
	for {
		kind := z.Next()
		if kind == html.ErrorToken {
			break // the end; a page that is cut off ends too
		}
		newlines := strings.Count(string(z.Raw()), "\n")
		switch kind {
		case html.TextToken:
			if p.skip == 0 {
				p.text(string(z.Text()))
			}
		case html.StartTagToken, html.SelfClosingTagToken:
			name, _ := z.TagName()
			p.open(atom.Lookup(name), kind == html.SelfClosingTagToken)
		case html.EndTagToken:
			name, _ := z.TagName()
			p.shut(atom.Lookup(name))
		}
		p.at += newlines
	}
	p.flush()
	return p.s.done()
}

// page is where the reading of a page stands.
type page struct {
	s     splitter
	path  headings
	at    int      // line of the source
	skip  int      // open elements that show nothing
	head  int      // level of the heading that is open, 0 none
	title []string // words of it
	words []string // of the open line
	from  int      // where they began
}

// text takes words. Each source line stays a line, so that a passage knows where it stands.
func (p *page) text(text string) {
	line := p.at
	for part := range strings.Lines(text) {
		if words := strings.Fields(part); len(words) > 0 {
			switch {
			case p.head > 0:
				p.title = append(p.title, words...)
			default:
				if len(p.words) > 0 && p.from != line {
					p.flush()
				}
				p.from = line
				p.words = append(p.words, words...)
			}
		}
		if strings.HasSuffix(part, "\n") {
			line++
		}
	}
}

// flush hands the open line over.
func (p *page) flush() {
	if len(p.words) > 0 {
		p.s.line(p.from, strings.Join(p.words, " "))
		p.words = p.words[:0]
	}
}

func (p *page) block() {
	p.flush()
	p.s.blank()
}

func (p *page) open(a atom.Atom, selfClosing bool) {
	switch {
	case hidden(a):
		if !selfClosing {
			p.skip++
		}
	case level(a) > 0:
		p.block()
		p.head, p.title = level(a), nil
	case isBlock(a):
		p.block()
	}
}

func (p *page) shut(a atom.Atom) {
	switch {
	case hidden(a):
		p.skip = max(0, p.skip-1)
	case level(a) > 0 && p.head > 0:
		at := p.head
		p.head = 0
		if title := strings.Join(p.title, " "); title != "" {
			p.s.under(p.path.enter(at, title))
		}
	case isBlock(a):
		p.block()
	}
}

func hidden(a atom.Atom) bool {
	switch a {
	case atom.Script, atom.Style, atom.Noscript, atom.Template, atom.Svg, atom.Math, atom.Iframe, atom.Textarea, atom.Select:
		return true
	}
	return false
}

func level(a atom.Atom) int {
	switch a {
	case atom.Title, atom.H1:
		return 1
	case atom.H2:
		return 2
	case atom.H3:
		return 3
	case atom.H4:
		return 4
	case atom.H5:
		return 5
	case atom.H6:
		return 6
	}
	return 0
}

func isBlock(a atom.Atom) bool {
	switch a {
	case atom.P, atom.Div, atom.Section, atom.Article, atom.Aside, atom.Header, atom.Footer, atom.Nav, atom.Main, atom.Li, atom.Ul,
		atom.Ol, atom.Dl, atom.Dt, atom.Dd, atom.Table, atom.Tr, atom.Caption, atom.Blockquote, atom.Pre, atom.Figure,
		atom.Figcaption, atom.Form, atom.Fieldset, atom.Details, atom.Summary, atom.Hr, atom.Address, atom.Body, atom.Head:
		return true
	}
	return false
}
