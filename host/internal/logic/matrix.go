package logic

import (
	"context"
	"fmt"
	"maps"
	"slices"
)

// Pair says how two units stand to each other in one scope, with their default parameters. With conflicts they cannot be
// active there together; notes say which of them shows where both change one place. B is empty where A cannot be active
// for want of a unit that is not installed.
type Pair struct {
	A         string     `json:"a"`
	B         string     `json:"b,omitempty"`
	Conflicts []Conflict `json:"conflicts,omitempty"`
	Notes     []string   `json:"notes,omitempty"`
}

// Matrix compares the newest revisions of all installed units, each with each, and gives the pairs of which there is
// something to say, in order of their ids: those that are not named go together. Cost: the square of their number.
func (s *Store) Matrix(ctx context.Context) ([]Pair, error) {
	s.mu.RLock()
	var known []*unit
	for _, id := range slices.Sorted(maps.Keys(s.units)) {
		if u := newest(s.units[id]); u.state == Installed {
			known = append(known, u)
		}
	}
	s.mu.RUnlock()
	layers := make([]*layer, len(known))
	pairs := []Pair{}
	for i, u := range known {
		pairs = append(pairs, s.wants(u, known)...)
		for _, c := range s.needs(ctx, u.man) {
			pairs = append(pairs, Pair{A: u.man.ID, Conflicts: []Conflict{c}})
		}
		s.turn.Lock()
		l, _, err := s.layerOf(ctx, u, Workspace, nil)
		s.turn.Unlock()
		if err != nil && u.man.Transform == nil {
			return nil, err
		}
		if err != nil { // its tool is not there, or fails
			c := Conflict{Kind: "pack", Unit: u.man.ID, With: u.man.Transform.Pack, Text: err.Error()}
			pairs = append(pairs, Pair{A: u.man.ID, Conflicts: []Conflict{c}})
			l = &layer{unit: u.man.ID, digest: u.digest, rank: u.man.Priority, share: 100}
		}
		layers[i] = l
		for _, other := range layers[:i] {
			conflicts := s.declared(other, []*layer{l})
			more, note := s.between(other, l, false)
			p := Pair{A: other.unit, B: l.unit, Conflicts: append(conflicts, more...)}
			if note != "" {
				p.Notes = []string{note}
			}
			if len(p.Conflicts)+len(p.Notes) > 0 {
				pairs = append(pairs, p)
			}
		}
	}
	slices.SortFunc(pairs, func(a, b Pair) int { return slices.Compare([]string{a.A, a.B}, []string{b.A, b.B}) })
	return pairs, nil
}

// wants names what a unit requires and nobody has installed.
func (s *Store) wants(u *unit, known []*unit) (pairs []Pair) {
	for _, id := range u.man.Requires {
		if !slices.ContainsFunc(known, func(k *unit) bool { return k.man.ID == id }) {
			text := fmt.Sprintf("%s requires %s, which is not installed", u.man.ID, id)
			pairs = append(pairs, Pair{A: u.man.ID, Conflicts: []Conflict{{Kind: "requires", Unit: u.man.ID, With: id, Text: text}}})
		}
	}
	return pairs
}
