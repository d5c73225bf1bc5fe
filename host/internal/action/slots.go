package action

// slots are the workers: how many are busy, and for which pack, so that no pack holds them all. It does no locking; the
// Executor's mutex guards it.
type slots struct {
	workers, perPack, limit int
	running, waiting        int            // waiting counts reserved places too
	packs                   map[string]int // running, by pack
}

// take claims a worker for a pack.
func (s *slots) take(pack string) bool {
	if s.running >= s.workers || s.packs[pack] >= s.perPack {
		return false
	}
	s.force(pack)
	return true
}

// force claims a worker for an action that gave its own away for a while, whether or not one is free.
func (s *slots) force(pack string) {
	s.running++
	s.packs[pack]++
}

// free gives a worker back, and forgets packs that have none, so that packs that come and go leave nothing.
func (s *slots) free(pack string) {
	s.running--
	if s.packs[pack]--; s.packs[pack] <= 0 {
		delete(s.packs, pack)
	}
}

// reserve holds a place in the line; false when it is full.
func (s *slots) reserve() bool {
	if s.waiting >= s.limit {
		return false
	}
	s.waiting++
	return true
}
