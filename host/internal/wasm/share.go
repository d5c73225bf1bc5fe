package wasm

import (
	"sync"

	"github.com/arw-project/arw/abi"
)

const (
	shareInstances = 4096
	shareMemory    = 8 << 30 // what guests can reach; pages nobody wrote to take none
)

// share divides what all programs of an engine have together. A program gets another instance, or more memory, only while
// it has less than what is still free: one that takes all it can gets half, two get a third each, and there is always
// something left for whoever comes next. At the bound a program that has nothing takes the place of somebody's idle
// instance.
type share struct {
	mu        sync.Mutex
	instances int
	memory    int64
	live      int
	used      int64
	pools     map[*pool]struct{}
}

func newShare(instances int, memory int64) *share {
	if instances <= 0 {
		instances = shareInstances
	}
	if memory <= 0 {
		memory = shareMemory
	}
	return &share{instances: instances, memory: memory, pools: map[*pool]struct{}{}}
}

func (s *share) add(po *pool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.pools[po] = struct{}{}
}

func (s *share) remove(po *pool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	delete(s.pools, po)
}

// errFull means that a program has its share.
var errFull = abi.Errorf(abi.Busy, "the pack has its share of the host's instances, and all of them are at work").
	WithHint("wait for calls to end, or raise the host's limits")

// take counts one more instance of the pool, or answers errFull.
func (s *share) take(po *pool) error {
	for {
		s.mu.Lock()
		free := s.instances - s.live
		if free > 0 && po.live < max(1, free) {
			s.live++
			po.live++
			s.mu.Unlock()
			return nil
		}
		var victim *pool
		if free <= 0 && po.live == 0 {
			victim = s.richest()
		}
		s.mu.Unlock()
		if victim == nil || !victim.evict() {
			return errFull
		}
	}
}

// richest is the pool with the most instances among those that have an idle one; the caller has the lock.
func (s *share) richest() *pool {
	var best *pool
	for po := range s.pools {
		if idle, _ := po.counts(); idle > 0 && (best == nil || po.live > best.live) {
			best = po
		}
	}
	return best
}

// give uncounts an instance and what memory it still has.
func (s *share) give(po *pool, memory int64) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.live--
	po.live--
	s.used -= memory
	po.memory -= memory
}

// grow counts n more bytes of the pool's memory; false when it has its share. Less memory (n < 0) is always granted.
func (s *share) grow(po *pool, n int64) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	if n > 0 && po.memory+n > s.memory-s.used-n {
		return false
	}
	s.used += n
	po.memory += n
	return true
}
