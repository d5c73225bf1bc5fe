package strict

import "strings"

// Closest is the known word that was probably meant by word, or "" when none is near: at most one edit for each three
// letters (and one in any case), counting a swap of neighbours as one, or else the only one that word abbreviates (by
// three letters or more); between equals the first of the list. Case and the choice between '-', '_' and '.' count as
// nothing.
func Closest(word string, known []string) string {
	if len(word) > 64 {
		return ""
	}
	best, near := "", max(1, len(word)/3)
	for _, candidate := range known {
		if n := edits(plain(word), plain(candidate)); n <= near {
			best, near = candidate, n-1
		}
	}
	if best == "" && len(word) >= 3 {
		return abbreviated(plain(word), known)
	}
	return best
}

func abbreviated(word string, known []string) string {
	full := ""
	for _, candidate := range known {
		if strings.HasPrefix(plain(candidate), word) {
			if full != "" {
				return ""
			}
			full = candidate
		}
	}
	return full
}

func plain(s string) string {
	return strings.NewReplacer("-", "_", ".", "_").Replace(strings.ToLower(s))
}

func didYouMean(word string, known []string) string {
	if guess := Closest(word, known); guess != "" {
		return `did you mean "` + guess + `"?`
	}
	if len(known) > 0 && len(known) <= 12 {
		return "known keys here: " + strings.Join(known, ", ")
	}
	return ""
}

// edits is the number of insertions, deletions, replacements and swaps of neighbours between a and b (optimal string
// alignment), in bytes.
func edits(a, b string) int {
	rows := make([][]int, len(a)+1)
	for i := range rows {
		rows[i] = make([]int, len(b)+1)
		rows[i][0] = i
	}
	for j := range rows[0] {
		rows[0][j] = j
	}
	for i := 1; i <= len(a); i++ {
		for j := 1; j <= len(b); j++ {
			cost := 1
			if a[i-1] == b[j-1] {
				cost = 0
			}
			rows[i][j] = min(rows[i-1][j]+1, rows[i][j-1]+1, rows[i-1][j-1]+cost)
			if i > 1 && j > 1 && a[i-1] == b[j-2] && a[i-2] == b[j-1] {
				rows[i][j] = min(rows[i][j], rows[i-2][j-2]+1)
			}
		}
	}
	return rows[len(a)][len(b)]
}
