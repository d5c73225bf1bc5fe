package memo

import (
	"encoding/hex"
	"sync/atomic"
	"time"
)

// EventKind is the kind of the events that tell what became of a call that could be cached.
const EventKind = "tool.cache"

type counters struct {
	hit, miss, coalesced, errors, bypass, tooLarge, corrupt, dropped atomic.Int64
	savedNS, savedBytes                                              atomic.Int64
}

// Stats is a snapshot; everything but Entries and Bytes counts since Open.
type Stats struct {
	Hits       int64         `json:"hit"`
	Misses     int64         `json:"miss"`
	Coalesced  int64         `json:"coalesced"`
	Errors     int64         `json:"errors"`
	Bypassed   int64         `json:"bypass"`
	TooLarge   int64         `json:"payload_too_large"`
	Corrupt    int64         `json:"corrupt"`     // entries whose bytes were not what they were: dropped, run again
	Dropped    int64         `json:"dropped"`     // answers that stayed in memory because the back was busy
	Entries    int           `json:"entries"`     // in memory
	Bytes      int64         `json:"bytes"`       // in memory
	Saved      time.Duration `json:"saved_ns"`    // time that runs would have taken, by what the first run took
	SavedBytes int64         `json:"saved_bytes"` // of answers that were not made again
}

// Stats reads the counters.
func (m *Memo) Stats() Stats {
	s := &m.stats
	return Stats{
		Hits: s.hit.Load(), Misses: s.miss.Load(), Coalesced: s.coalesced.Load(), Errors: s.errors.Load(), Bypassed: s.bypass.Load(),
		TooLarge: s.tooLarge.Load(), Corrupt: s.corrupt.Load(), Dropped: s.dropped.Load(),
		Entries: m.front.EstimatedSize(), Bytes: int64(m.front.WeightedSize()),
		Saved: time.Duration(s.savedNS.Load()), SavedBytes: s.savedBytes.Load(),
	}
}

// body is what a tool.cache event says.
type body struct {
	Tool    string        `json:"tool"`
	Outcome string        `json:"outcome"`
	Elapsed time.Duration `json:"elapsed_ns"`
	Key     string        `json:"key"`
	Digest  string        `json:"digest,omitempty"`
	Bytes   int           `json:"payload_bytes,omitempty"`
	Age     time.Duration `json:"age_ns,omitempty"`
	Saved   time.Duration `json:"saved_ns,omitempty"`
	Code    string        `json:"code,omitempty"`
}

func (m *Memo) hit(c Call, id ID, e *entry, start time.Time) {
	now := m.now()
	saved := max(0, e.cost-now.Sub(start))
	m.stats.hit.Add(1)
	m.stats.savedNS.Add(int64(saved))
	m.stats.savedBytes.Add(int64(len(e.Body)))
	m.tell(c, id, body{Outcome: string(Hit), Elapsed: now.Sub(start), Digest: e.digest, Bytes: len(e.Body), Age: now.Sub(e.made), Saved: saved})
}

func (m *Memo) coalesced(c Call, id ID, f *flight, start time.Time) {
	m.stats.coalesced.Add(1)
	m.stats.savedBytes.Add(int64(len(f.value.Body)))
	m.tell(c, id, body{Outcome: string(Coalesced), Elapsed: m.now().Sub(start), Bytes: len(f.value.Body)})
}

// missed tells of a run; e is nil when its answer may not be kept.
func (m *Memo) missed(c Call, id ID, e *entry, cost time.Duration) {
	b := body{Outcome: "not_cacheable", Elapsed: cost}
	if e != nil {
		b = body{Outcome: string(Miss), Elapsed: cost, Digest: e.digest, Bytes: len(e.Body)}
	}
	m.tell(c, id, b)
}

// tell journals in the background: a hit must not wait for the disk.
func (m *Memo) tell(c Call, id ID, b body) {
	b.Tool, b.Key = c.Tool, hex.EncodeToString(id[:])
	m.later(task{event: &b, name: c.Name, corr: c.Corr, action: c.Action, project: c.Project})
}
