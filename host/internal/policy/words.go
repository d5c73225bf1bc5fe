package policy

import (
	"fmt"
	"maps"
	"regexp"
	"slices"
	"strconv"
	"strings"

	"github.com/cedar-policy/cedar-go/x/exp/schema/resolved"
)

// excerpt is the text of one policy and where it stands.
type excerpt struct {
	file string
	line int
	text string
}

// find is the line on which a name stands, the policy's first line when it does not appear. The validator reports no
// positions of its own.
func (e excerpt) find(name string) int {
	for _, form := range []string{name, lastWord(name)} {
		if form == "" {
			continue
		}
		word := regexp.MustCompile(`(^|\W)` + regexp.QuoteMeta(form) + `($|\W)`)
		if at := word.FindStringIndex(e.text); at != nil {
			start := at[0] + strings.Index(e.text[at[0]:at[1]], form)
			return e.line + strings.Count(e.text[:start], "\n")
		}
	}
	return e.line
}

var identifier = regexp.MustCompile(`\w+`)

func lastWord(s string) string {
	all := identifier.FindAllString(s, -1)
	if len(all) == 0 {
		return ""
	}
	return all[len(all)-1]
}

// vocabulary is every name the schema declares, for hints.
type vocabulary struct {
	actions, types, attributes []string
	enums                      map[string][]string
	groups                     map[string]bool // actions that others lie in
}

func newVocabulary(shape *resolved.Schema) vocabulary {
	v := vocabulary{enums: map[string][]string{}, groups: map[string]bool{}}
	attributes := map[string]bool{}
	for uid, action := range shape.Actions {
		v.actions = append(v.actions, string(uid.ID))
		for group := range action.Entity.Parents.All() {
			v.groups[string(group.ID)] = true
		}
		if action.AppliesTo == nil { // a group of actions
			continue
		}
		for name := range action.AppliesTo.Context {
			attributes[string(name)] = true
		}
	}
	for name, entity := range shape.Entities {
		v.types = append(v.types, string(name))
		for attr := range entity.Shape {
			attributes[string(attr)] = true
		}
	}
	for name, enum := range shape.Enums {
		v.types = append(v.types, string(name))
		for _, value := range enum.Values {
			v.enums[string(name)] = append(v.enums[string(name)], string(value.ID))
		}
	}
	slices.Sort(v.actions)
	slices.Sort(v.types)
	v.attributes = slices.Sorted(maps.Keys(attributes))
	return v
}

// hint proposes a name for the one that the validator did not know.
func (v vocabulary) hint(msg, quoted string) string {
	switch {
	case strings.HasPrefix(msg, "unrecognized action"):
		return nearest(lastWord(quoted), v.actions)
	case strings.HasPrefix(msg, "unrecognized entity type"):
		return nearest(quoted, v.types)
	case strings.HasPrefix(msg, "attribute"):
		return nearest(lastWord(quoted), v.attributes)
	}
	return ""
}

// nearest is `did you mean "x"?` for the closest of the known words, or the list of them when none is close; nothing when
// the word itself is known, since then it only stands in the wrong place.
func nearest(word string, known []string) string {
	if slices.Contains(known, word) {
		return ""
	}
	best, at := "", len(word)/3+2
	for _, k := range known {
		if d := distance(word, k); d < at {
			best, at = k, d
		}
	}
	if best != "" {
		return fmt.Sprintf("did you mean %q?", best)
	}
	return "there are " + strings.Join(known, ", ")
}

// distance is Levenshtein's, over bytes.
func distance(a, b string) int {
	row := make([]int, len(b)+1)
	for j := range row {
		row[j] = j
	}
	for i := range len(a) {
		diagonal := row[0]
		row[0] = i + 1
		for j := range len(b) {
			change := diagonal
			if a[i] != b[j] {
				change++
			}
			diagonal = row[j+1]
			row[j+1] = min(change, row[j]+1, row[j+1]+1)
		}
	}
	return row[len(b)]
}

var (
	parserPosition  = regexp.MustCompile(`^(?:parser error: )?(?:parse error at )?<input>:(\d+):(\d+)(?: "(?:[^"\\]|\\.)*")?: `)
	parserUnmatched = regexp.MustCompile(`^exact got (.*) want (.*)$`)
	parserEffect    = regexp.MustCompile(`^unexpected effect: (.*)$`)
)

// parseProblem turns the parser's complaint into a line and a sentence. The parser reports the token behind the one it
// rejects, which may stand lines below; where it names the rejected one, that one's line is searched.
func parseProblem(text []byte, err error) (line int, msg string) {
	msg = strings.TrimPrefix(err.Error(), "parser error: ")
	at := parserPosition.FindStringSubmatch(err.Error())
	if at == nil {
		return 1, msg
	}
	line, _ = strconv.Atoi(at[1])
	column, _ := strconv.Atoi(at[2])
	msg = err.Error()[len(at[0]):]
	rejected := ""
	if m := parserUnmatched.FindStringSubmatch(msg); m != nil {
		rejected, msg = m[1], fmt.Sprintf("found %q where %q belongs", m[1], m[2])
		if rejected == "" {
			line, msg = 1+strings.Count(strings.TrimSpace(string(text)), "\n"), fmt.Sprintf("the file ends where %q belongs", m[2])
		}
	} else if m := parserEffect.FindStringSubmatch(msg); m != nil {
		rejected, msg = m[1], fmt.Sprintf("found %q where permit or forbid belongs", m[1])
	}
	if rejected != "" {
		before := upTo(string(text), line, column)
		if i := strings.LastIndex(before, rejected); i >= 0 {
			line = 1 + strings.Count(before[:i], "\n")
		}
	}
	return max(line, 1), msg
}

// upTo is the text before a line and column, both counted from 1.
func upTo(text string, line, column int) string {
	start := 0
	for range line - 1 {
		i := strings.IndexByte(text[start:], '\n')
		if i < 0 {
			return text
		}
		start += i + 1
	}
	return text[:min(start+column-1, len(text))]
}
