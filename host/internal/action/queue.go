package action

// queue holds the actions that wait for a worker and hands them out fairly: packs take turns, each pack's own actions
// stay in order, and no pack runs more than perPack at once. It does no locking; the Executor's mutex guards it.
type queue struct {
	workers, perPack, limit int
	running, waiting        int // waiting counts reserved places too
	lanes                   map[string]*lane
	turn                    []*lane // lanes with something pending, next to be served first
}

// lane is one pack's line.
type lane struct {
	pack    string
	pending []*entry
	running int
}

func (q *queue) lane(pack string) *lane {
	l := q.lanes[pack]
	if l == nil {
		l = &lane{pack: pack}
		q.lanes[pack] = l
	}
	return l
}

// takeSlot claims a worker for the pack at once. It refuses while the pack's own line is not empty, so that nobody
// overtakes; other packs' lines are waiting for their own cap and are not harmed.
func (q *queue) takeSlot(pack string) bool {
	l := q.lane(pack)
	if q.running >= q.workers || l.running >= q.perPack || len(l.pending) > 0 {
		q.drop(l)
		return false
	}
	q.running++
	l.running++
	return true
}

// freeSlot gives a worker back.
func (q *queue) freeSlot(pack string) {
	l := q.lane(pack)
	q.running--
	l.running--
	q.drop(l)
}

// forceSlot claims a worker for an action that gave its own away for a while, whether or not one is free.
func (q *queue) forceSlot(pack string) {
	q.running++
	q.lane(pack).running++
}

// reserve holds a place in the line; false when it is full.
func (q *queue) reserve() bool {
	if q.waiting >= q.limit {
		return false
	}
	q.waiting++
	return true
}

// unreserve gives a held place back.
func (q *queue) unreserve() { q.waiting-- }

// push fills a reserved place.
func (q *queue) push(e *entry) {
	l := q.lane(e.pack)
	if len(l.pending) == 0 {
		q.turn = append(q.turn, l)
	}
	l.pending = append(l.pending, e)
}

// pop takes the next action whose pack may run another one, with its slot; nil when there is none.
func (q *queue) pop() *entry {
	if q.running >= q.workers {
		return nil
	}
	for i, l := range q.turn {
		if l.running >= q.perPack {
			continue
		}
		e := l.pending[0]
		l.pending[0] = nil
		l.pending = l.pending[1:]
		q.turn = append(q.turn[:i], q.turn[i+1:]...)
		if len(l.pending) > 0 {
			q.turn = append(q.turn, l)
		}
		q.waiting--
		q.running++
		l.running++
		return e
	}
	return nil
}

// remove takes a cancelled action out of the line; false when it is no longer there.
func (q *queue) remove(e *entry) bool {
	l := q.lane(e.pack)
	for i, p := range l.pending {
		if p != e {
			continue
		}
		l.pending = append(l.pending[:i], l.pending[i+1:]...)
		q.waiting--
		if len(l.pending) == 0 {
			for k, t := range q.turn {
				if t == l {
					q.turn = append(q.turn[:k], q.turn[k+1:]...)
					break
				}
			}
		}
		q.drop(l)
		return true
	}
	q.drop(l)
	return false
}

// drop forgets an idle lane, so that packs that come and go leave nothing.
func (q *queue) drop(l *lane) {
	if l.running == 0 && len(l.pending) == 0 {
		delete(q.lanes, l.pack)
	}
}
