package recall

import (
	"slices"
	"strings"
	"unicode"
)

// words are what a verifier looks at in a question. A vector puts "before 2020" beside "after 2021"; this does not.
type words struct {
	content []string // words that carry meaning, without their endings, in order
	numbers []string // each with the word behind it, which may be its unit, in order
	quoted  []string // in quotation marks, as written, sorted
	marks   []string // names, identifiers, dates, words of direction and of asking: they must stand in the other question too
	negated int
}

// direction is a word of direction with what it leads to: "from Rome to Paris" is not "from Paris to Rome". The "to" of "how to
// mend" leads nowhere.
func direction(tokens []string, i int) string {
	word := strings.ToLower(tokens[i])
	if word == "to" && (i == 0 || function[strings.ToLower(tokens[i-1])] || marking[strings.ToLower(tokens[i-1])]) {
		return ""
	}
	for _, t := range tokens[i+1:] {
		if low := strings.ToLower(t); !function[low] {
			return word + " " + stem(low)
		}
	}
	return word
}

// wordsOf reads a question. It knows English function words; words of other languages all carry meaning, so that it refuses
// there rather than guesses.
func wordsOf(text string) (w words) {
	text, w.quoted = quotations(strings.ReplaceAll(text, "’", "'"))
	tokens := split(text)
	for i, t := range tokens {
		low := strings.ToLower(t)
		bare := strings.ReplaceAll(low, "'", "")
		switch {
		case negations[bare] || strings.HasSuffix(bare, "nt") && strings.HasSuffix(low, "n't"):
			w.negated++
			continue
		case strings.IndexFunc(t, unicode.IsDigit) >= 0:
			number := low
			if i+1 < len(tokens) && pure(low) {
				number += " " + stem(strings.ToLower(tokens[i+1]))
			}
			w.numbers = append(w.numbers, number)
		case towards[bare]:
			if m := direction(tokens, i); m != "" {
				w.marks = append(w.marks, m)
			}
		case marking[bare]:
			w.marks = append(w.marks, bare)
		case name(t, i == 0):
			w.marks = append(w.marks, stem(bare))
		}
		if !function[bare] && !towards[bare] {
			w.content = append(w.content, stem(bare))
		}
	}
	w.content = append(w.content, w.quoted...)
	return w
}

// same reports whether two questions differ in nothing that a verifier can see. strict asks for the same words: who only counts
// words cannot know that two mean the same.
func same(a, b words, strict bool) bool {
	if a.negated != b.negated || !slices.Equal(a.numbers, b.numbers) || !slices.Equal(a.quoted, b.quoted) || !holdsAll(a, b) || !holdsAll(b, a) {
		return false
	}
	return !strict || slices.Equal(set(a.content), set(b.content))
}

// holdsAll reports whether each mark of a stands in b, as a mark or in small letters.
func holdsAll(a, b words) bool {
	for _, m := range a.marks {
		if !slices.Contains(b.marks, m) && !slices.Contains(b.content, m) {
			return false
		}
	}
	return true
}

func set(list []string) []string { return slices.Compact(slices.Sorted(slices.Values(list))) }

// quotations takes what stands in quotation marks or backquotes out of a text.
func quotations(text string) (rest string, quoted []string) {
	var out strings.Builder
	for text != "" {
		i := strings.IndexAny(text, "\"`“«")
		if i < 0 {
			break
		}
		open := []rune(text[i:])[0]
		closing := map[rune]rune{'"': '"', '`': '`', '“': '”', '«': '»'}[open]
		from := i + len(string(open))
		n := strings.IndexRune(text[from:], closing)
		if n < 0 {
			break
		}
		out.WriteString(text[:i] + " ")
		quoted = append(quoted, text[from:from+n])
		text = text[from+n+len(string(closing)):]
	}
	out.WriteString(text)
	slices.Sort(quoted)
	return out.String(), quoted
}

// split gives the words, with the signs inside them that make identifiers, versions, paths and dates, and the sign of a number.
func split(text string) []string {
	inner := func(r rune) bool { return strings.ContainsRune("_.-/:@#'%+", r) }
	var out []string
	for _, f := range strings.FieldsFunc(text, func(r rune) bool {
		return !unicode.IsLetter(r) && !unicode.IsDigit(r) && !unicode.IsMark(r) && !inner(r)
	}) {
		sign := ""
		if t := strings.TrimLeft(f, "-+"); t != "" && len(f)-len(t) == 1 && unicode.IsDigit(rune(t[0])) {
			sign = f[:1]
		}
		end := strings.TrimRightFunc(f, func(r rune) bool { return inner(r) && r != '%' && r != '+' && r != '#' })
		if t := sign + strings.TrimLeftFunc(end, func(r rune) bool { return inner(r) }); t != sign {
			out = append(out, t)
		}
	}
	return out
}

// pure reports whether a word is a number alone, so that a unit may follow.
func pure(t string) bool {
	return strings.IndexFunc(t, unicode.IsLetter) < 0 && !strings.HasSuffix(t, "%")
}

// name reports whether a word is a name or an identifier: with a capital that no beginning of a sentence explains, or a sign inside.
func name(t string, first bool) bool {
	runes := []rune(t)
	capitals := 0
	for _, r := range runes {
		if unicode.IsUpper(r) {
			capitals++
		}
	}
	return strings.ContainsAny(t, "_./:@#+") || capitals > 1 || capitals == 1 && !(first && unicode.IsUpper(runes[0])) && t != "I"
}

// stem takes English endings off: coarse, and the same for both sides.
func stem(w string) string {
	for _, s := range []string{"'s", "ies", "ing", "ed", "es", "s"} {
		if rest, ok := strings.CutSuffix(w, s); ok && len(rest) >= 3 {
			switch {
			case s == "ies":
				return rest + "y"
			case s == "s" && (strings.HasSuffix(rest, "s") || strings.HasSuffix(rest, "u") || strings.HasSuffix(rest, "i")):
				return w
			case (s == "ing" || s == "ed") && len(rest) > 3 && rest[len(rest)-1] == rest[len(rest)-2]:
				return rest[:len(rest)-1]
			}
			return strings.TrimSuffix(rest, "e")
		}
	}
	return strings.TrimSuffix(w, "e")
}

func listed(text string) map[string]bool {
	out := map[string]bool{}
	for _, w := range strings.Fields(text) {
		out[w] = true
	}
	return out
}

// The lists. What is in two is a mark first.
var (
	negations = listed("no not never none neither nor without cannot nobody nothing nowhere except unless")
	// Words on which the answer hangs although they are short or alike in meaning: of asking, direction, order, comparison,
	// quantity, date, and pairs of opposites.
	marking = listed(`who whom whose when where why
		before after since until above below over under up down in out inside outside left right north south east west
		more less most least fewer greater smaller larger higher lower than minimum maximum min max first last next previous earlier later
		all any every each some only both either other others same different always sometimes often rarely
		enable disable enabled disabled start stop open close allow deny allowed denied add remove increase decrease include exclude
		on off true false yes buy sell import export send receive read write upload download grant revoke lock unlock old new best worst
		january february march april may june july august september october november december
		monday tuesday wednesday thursday friday saturday sunday today tomorrow yesterday`)
	towards  = listed(`from to into onto`)
	function = listed(`a an the this that these those is are was were be been being am do does did done doing have has had having
		i you he she it we they me him her us them my your his its our their of for by with at as and or if then so
		what which how can could would should will shall might must please tell show give find explain describe about there here let lets
		whats hows thats im ive id`)
)
