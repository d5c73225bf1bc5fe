package main

import (
	"cmp"
	"math"
	"slices"
	"strings"
	"unicode"
)

// Vote is an answer and how many samples gave it.
type Vote struct {
	Answer string `json:"answer"`
	Count  int    `json:"count"`
}

// normal is what counts of an answer when two are compared: its letters and digits, in lower case, and signs within
// numbers. So "Forty-two." and "forty two" are one answer; "-4" and "4" are two, as are "1.5" and "15".
func normal(text string) string {
	runes := []rune(strings.ToLower(text))
	var b strings.Builder
	for i, r := range runes {
		digit := i+1 < len(runes) && unicode.IsDigit(runes[i+1])
		within := digit && i > 0 && unicode.IsDigit(runes[i-1]) && (r == '.' || r == ',' || r == ':' || r == '/')
		minus := digit && (r == '-' || r == '−') && (i == 0 || unicode.IsSpace(runes[i-1]))
		switch {
		case unicode.IsLetter(r) || unicode.IsDigit(r) || unicode.IsMark(r) || within || r == '%':
			b.WriteRune(r)
		case minus:
			b.WriteByte('-')
		default:
			b.WriteByte(' ')
		}
	}
	return strings.Join(strings.Fields(b.String()), " ")
}

// elect counts the samples' votes (Wang and others, Self-Consistency Improves Chain of Thought Reasoning, 2022). The answer with
// most of them wins; of equals the one that was drawn first. A sample without an answer has no vote and still counts as drawn.
func (w *work) elect(out *AnswerOut, drawn []sample) {
	first := map[string]int{}
	out.Samples = len(drawn)
	for i, s := range drawn {
		key := normal(s.text)
		if key == "" {
			continue
		}
		at := slices.IndexFunc(out.Votes, func(v Vote) bool { return normal(v.Answer) == key })
		if at < 0 {
			first[key] = i
			out.Votes = append(out.Votes, Vote{Answer: s.text})
			at = len(out.Votes) - 1
		}
		out.Votes[at].Count++
	}
	slices.SortStableFunc(out.Votes, func(a, b Vote) int { return cmp.Compare(b.Count, a.Count) })
	if len(out.Votes) == 0 {
		if len(drawn) > 0 {
			out.Steps = append(out.Steps, drawn[0].steps...)
		}
		return
	}
	won := drawn[first[normal(out.Votes[0].Answer)]]
	out.Answer = won.text
	out.Steps, out.Sources = append(out.Steps, won.steps...), append(out.Sources, won.sources...)
	out.Confidence = won.trust
	out.Agreement = math.Round(float64(out.Votes[0].Count)/float64(len(drawn))*1000) / 1000
}
