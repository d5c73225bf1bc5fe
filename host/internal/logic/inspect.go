package logic

import (
	"encoding/json"
	"fmt"
	"strings"
)

// inspect looks at everything that joins the configuration: what a unit says of itself, and the values of its patches with
// parameters filled in or of the hand's change. A high finding is a conflict until a person has answered for exactly this
// list of findings. What is hidden today beneath a higher layer is looked at too, since that may go.
func (s *Store) inspect(c *change, plan *Plan) error {
	if len(c.joined) == 0 {
		return nil
	}
	scanner, err := s.scanner()
	if err != nil {
		return err
	}
	var seen []string // what the digest stands for beside the findings
	for _, l := range c.joined {
		if l.unit != "" {
			plan.Safety = append(plan.Safety, scanner.Manifest(s.revision(l).Canonical(), false)...)
		}
		for _, p := range l.patches {
			plan.Safety = append(plan.Safety, scanner.Value(p.Target, "", p.Value)...)
		}
		raw, _ := json.Marshal([]any{l.unit, l.digest, l.patches}) // trees always marshal
		seen = append(seen, string(raw))
	}
	if len(plan.Safety) == 0 {
		return nil
	}
	raw, _ := json.Marshal([]any{plan.Safety, seen})
	plan.SafetyDigest = digest(raw)
	answered := c.how.Excuse == plan.SafetyDigest
	person := c.how.By == "operator" || strings.HasPrefix(c.how.By, "person:")
	unit := ""
	if len(c.joined) == 1 {
		unit = c.joined[0].unit
	}
	for _, f := range plan.Safety {
		text := fmt.Sprintf("%s %s: %s (%s)", f.Where, f.Pointer, f.Text, f.Code)
		switch {
		case f.Severity != "high" || answered && person:
			plan.Notes = append(plan.Notes, text)
		case answered:
			plan.Conflicts = append(plan.Conflicts, Conflict{Kind: "safety", Unit: unit, Target: f.Where, Pointer: f.Pointer, Text: text + ", and only people answer for that"})
		default:
			plan.Conflicts = append(plan.Conflicts, Conflict{Kind: "safety", Unit: unit, Target: f.Where, Pointer: f.Pointer, Text: text})
		}
	}
	return nil
}
