package recall

import (
	"bytes"
	"time"
)

// trust is how far near answers of a space are believed. Recall.mu guards it.
type trust struct {
	near  float64 // what counts as near here, when above the rule's
	given int     // near answers since the last that was made anew
	doubt int     // near answers that are still all made anew
	last  []bool  // the latest comparisons, true where both agreed
	rests time.Time
	times int // it rested
}

// How trust is lost: of the latest memory comparisons wrongs may be wrong. After a rest the first doubts answers are all compared.
const (
	memory = 16
	wrongs = 2
	doubts = 4
	step   = 0.01
	top    = 0.999
)

// due reports whether the next near answer is made anew: the first of a space, one in Limits.Audit, and all of a space in doubt.
func (s *search) due() bool {
	s.r.mu.Lock()
	defer s.r.mu.Unlock()
	t := &s.r.spaceOf(s.c).trust
	if t.given++; t.doubt > 0 || t.given >= s.l.Audit {
		t.given = 0
		return true
	}
	return false
}

// judge compares the answer that would have been given with the one that was made.
func (s *search) judge(f *found, a Answer) {
	was, ok := value(f.body, s.c.Rule.Same)
	is, also := value(a.Body, s.c.Rule.Same)
	agreed := a.Kind == f.kind && ok == also && bytes.Equal(was, is)
	s.r.mu.Lock()
	sp := s.r.spaceOf(s.c)
	sp.n.Audits++
	if !agreed {
		sp.n.False++
	}
	rested := sp.learn(agreed, f.cosine, s.near, s.r.now(), s.l.Rest)
	near, until := max(sp.near, s.c.Rule.Near), sp.rests
	s.r.mu.Unlock()
	s.tell(KindAudited, Event{Outcome: string(Audit), Cosine: f.cosine, Near: near, Engine: f.vec.Name, EngineKind: string(f.vec.Kind), Agreed: &agreed})
	if rested {
		s.tell(KindRested, Event{Near: near, Until: &until})
	}
}

// learn takes one comparison in, and reports whether the space rests from now on.
func (t *trust) learn(agreed bool, cos, near float64, now time.Time, rest time.Duration) bool {
	if t.last = append(t.last, agreed); len(t.last) > memory {
		t.last = t.last[1:]
	}
	if agreed {
		t.doubt = max(0, t.doubt-1)
		return false
	}
	t.near = min(top, max(near, cos)+step)
	t.doubt = doubts
	wrong := 0
	for _, ok := range t.last {
		if !ok {
			wrong++
		}
	}
	if wrong <= wrongs {
		return false
	}
	t.rests, t.last = now.Add(rest<<min(t.times, 6)), nil
	t.times++
	return true
}
