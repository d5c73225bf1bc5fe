package rehearse

import "strings"

// Bounds of a diff: longer texts are compared by their first lines that differ alone.
const (
	maxDiffLines = 2000
	diffContext  = 3
)

// diff shows how got differs from want, line by line: " " both, "-" expected, "+" came, with some lines of context.
func diff(want, got string) string {
	a, b := splitLines(want), splitLines(got)
	if len(a) > maxDiffLines || len(b) > maxDiffLines {
		a, b = a[:min(len(a), maxDiffLines)], b[:min(len(b), maxDiffLines)]
	}
	return render(edits(a, b))
}

func splitLines(s string) []string {
	if s == "" {
		return nil
	}
	return strings.Split(strings.TrimSuffix(s, "\n"), "\n")
}

// edits is the shortest list of kept, removed and added lines, by the longest common subsequence.
func edits(a, b []string) []string {
	common := make([][]int32, len(a)+1)
	for i := range common {
		common[i] = make([]int32, len(b)+1)
	}
	for i := len(a) - 1; i >= 0; i-- {
		for j := len(b) - 1; j >= 0; j-- {
			if a[i] == b[j] {
				common[i][j] = common[i+1][j+1] + 1
			} else {
				common[i][j] = max(common[i+1][j], common[i][j+1])
			}
		}
	}
	var out []string
	i, j := 0, 0
	for i < len(a) || j < len(b) {
		switch {
		case i < len(a) && j < len(b) && a[i] == b[j]:
			out = append(out, "  "+a[i])
			i++
			j++
		case i < len(a) && (j == len(b) || common[i+1][j] >= common[i][j+1]):
			out = append(out, "- "+a[i])
			i++
		default:
			out = append(out, "+ "+b[j])
			j++
		}
	}
	return out
}

// render keeps the changed lines and those near them.
func render(lines []string) string {
	near := make([]bool, len(lines))
	for i, l := range lines {
		if l[0] == ' ' {
			continue
		}
		for k := max(0, i-diffContext); k <= min(len(lines)-1, i+diffContext); k++ {
			near[k] = true
		}
	}
	var out strings.Builder
	skipping := false
	for i, l := range lines {
		if near[i] {
			out.WriteString(strings.TrimRight(l, " ") + "\n")
		} else if !skipping {
			out.WriteString("  ...\n")
		}
		skipping = !near[i]
	}
	return out.String()
}
