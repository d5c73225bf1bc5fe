package policy

import "sync/atomic"

// Live is the set in force, which may be replaced while the host runs. Each question is answered by one set, whole. It is safe
// for concurrent use; the zero value holds no set and must not be asked.
type Live struct{ set atomic.Pointer[Set] }

// NewLive holds a set.
func NewLive(s *Set) *Live {
	l := &Live{}
	l.set.Store(s)
	return l
}

// Current is the set in force.
func (l *Live) Current() *Set { return l.set.Load() }

// Swap puts a set in force; what is asked from now on, it answers.
func (l *Live) Swap(s *Set) { l.set.Store(s) }

// Decide asks the set in force.
func (l *Live) Decide(r Request) Decision { return l.Current().Decide(r) }

// Digest names the set in force.
func (l *Live) Digest() string { return l.Current().Digest() }
