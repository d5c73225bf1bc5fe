package journal

import (
	"bytes"
	"crypto/ed25519"
	"encoding/json"
	"fmt"

	"github.com/arw-project/arw/abi"
)

// Report says how far the chain holds.
type Report struct {
	OK    bool   `json:"ok"`
	Count int64  `json:"count"`            // records that were checked and are good
	Last  int64  `json:"last"`             // id of the last good one
	Head  string `json:"head"`             // its hash: note it down elsewhere to prove later that nothing was rewritten
	Bad   int64  `json:"bad_id,omitempty"` // first id that is not as it was written
	Why   string `json:"why,omitempty"`    // what is wrong with it

	Pruned      int64 `json:"pruned,omitempty"`         // the records 1 to this one were removed, and the host signed that it did so
	Checkpoints int   `json:"checkpoints"`              // that are good
	Signed      int64 `json:"signed"`                   // records up to this id are vouched for by a checkpoint
	Unsigned    int64 `json:"unsigned"`                 // good records behind the last good checkpoint: the chain alone holds them
	BadPoint    int64 `json:"bad_checkpoint,omitempty"` // first checkpoint, by seq, that is not as it was signed
	Redacted    int   `json:"redacted,omitempty"`       // good records of whose bodies a part was taken out
}

// walk checks a journal record by record, from wherever the records come. It holds no more than the checkpoints and one
// sum for each redacted record.
type walk struct {
	keys Keys
	rep  Report
	at   link

	point   *Checkpoint // the last one met
	stands  map[int64][32]byte
	vouched map[int64][32]byte
}

// newWalk begins at the first record, or behind an anchor. points are the kept checkpoints in order, or only the first.
func newWalk(keys Keys, anchor *Anchor, first *Checkpoint) (*walk, string) {
	w := &walk{keys: keys, at: genesis(), stands: map[int64][32]byte{}, vouched: map[int64][32]byte{}}
	w.rep.Head = w.at.text
	if anchor == nil {
		return w, ""
	}
	if why := w.signature(anchor.Key, anchor.message(), anchor.Sig); why != "" {
		return w, "the anchor in place of the removed records: " + why
	}
	w.rep.Pruned, w.rep.Last = anchor.ID, anchor.ID
	if len(anchor.Hash) != len(w.at.hash) || anchor.ID < 1 || anchor.Removed != anchor.ID {
		return w, "the anchor in place of the removed records makes no sense"
	}
	if first == nil || first.Seq != anchor.Seq || first.ID != anchor.ID || !bytes.Equal(first.Hash, anchor.Hash) {
		return w, fmt.Sprintf("the anchor in place of the removed records stands on checkpoint %d, which is missing or another", anchor.Seq)
	}
	w.at = link{id: anchor.ID, text: digest(anchor.Hash)}
	copy(w.at.hash[:], anchor.Hash)
	w.rep.Head = w.at.text
	// What was signed before the anchor is gone with it; this one names a predecessor that nobody can check.
	w.point = &Checkpoint{Seq: first.Seq - 1}
	return w, ""
}

func (w *walk) signature(id KeyID, msg, sig []byte) string {
	key, known := w.keys[id]
	switch {
	case !known:
		return fmt.Sprintf("it was signed with a key that is not among those believed (%s)", id)
	case !ed25519.Verify(key, msg, sig):
		return "its signature is not that of its key"
	}
	return ""
}

// next checks one record. sum is what its body's salted sum was before a part was taken out, nil when none was.
func (w *walk) next(r *stored) string {
	now := r.e.sum
	if r.was != nil {
		if len(r.was) != len(now) {
			return "what is kept of its redaction makes no sense"
		}
		r.e.sum = [32]byte(r.was)
	}
	next, why := r.follows(w.at)
	if why != "" {
		return why
	}
	if r.was != nil {
		w.stands[r.id] = now
	}
	if r.e.Kind == RedactedKind {
		if why := w.redaction(r); why != "" {
			return why
		}
	}
	w.at = next
	w.rep.Last, w.rep.Head = next.id, next.text
	w.rep.Count = next.id - w.rep.Pruned
	w.rep.Unsigned++
	return ""
}

// redaction notes what the chain itself says about the body that stands in place of another now.
func (w *walk) redaction(r *stored) string {
	var told Redaction
	if err := json.Unmarshal(r.body, &told); err != nil {
		return "it is no redaction: " + err.Error()
	}
	for _, one := range told.Records {
		sum, err := undigest(one.Sum)
		if err != nil || one.ID >= r.id {
			return fmt.Sprintf("it is no redaction: it tells of record %d with sum %q", one.ID, one.Sum)
		}
		w.vouched[one.ID] = [32]byte(sum)
	}
	return ""
}

// checkpoint checks one that vouches for the record the walk has reached.
func (w *walk) checkpoint(c *Checkpoint) string {
	switch {
	case w.point == nil && (c.Seq != 1 || !zero(c.Prev)):
		return "it is not the first: those before it are missing"
	case w.point != nil && c.Seq != w.point.Seq+1:
		return fmt.Sprintf("it stands behind checkpoint %d: some are missing", w.point.Seq)
	case w.point != nil && w.point.Sig != nil && !bytes.Equal(c.Prev, w.point.sum()):
		return "it does not continue the checkpoint before it"
	case len(c.Hash) != len(w.at.hash) || len(c.Prev) != len(w.at.hash):
		return "it makes no sense"
	}
	if why := w.signature(c.Key, c.message(), c.Sig); why != "" {
		return why
	}
	w.point = c
	return ""
}

// reach is checkpoint, and that what it signed is what the walk found. badRecord is the first record that may be another
// than the one that was signed, 0 when the checkpoint itself is at fault.
func (w *walk) reach(c *Checkpoint) (why string, badRecord int64) {
	if why := w.checkpoint(c); why != "" {
		return why, 0
	}
	if !bytes.Equal(c.Hash, w.at.hash[:]) {
		return fmt.Sprintf("the records up to %d are not those that checkpoint %d was signed for", c.ID, c.Seq), w.rep.Signed + 1
	}
	w.rep.Checkpoints++
	w.rep.Signed, w.rep.Unsigned = c.ID, 0
	return "", 0
}

// end says whether every body that was changed after the fact was changed as the chain tells.
func (w *walk) end() (why string, bad int64) {
	for id, now := range w.stands {
		if w.vouched[id] == now {
			w.rep.Redacted++
		} else if bad == 0 || id < bad {
			bad, why = id, "a part of its body was taken out, but not the part that the journal tells of"
		}
	}
	return why, bad
}

// bad closes the report with the first id that is wrong.
func (w *walk) bad(of string, id int64, why string) (Report, error) {
	w.rep.Bad, w.rep.Why = id, why
	if id <= w.rep.Last {
		w.rep.Last, w.rep.Count = id-1, max(0, id-1-w.rep.Pruned)
		w.rep.Unsigned = max(0, w.rep.Last-max(w.rep.Signed, w.rep.Pruned))
	}
	return w.rep, abi.Errorf(abi.Corrupt, "verify journal in %q: event %d: %s", of, id, why).WithDetail(w.rep).
		WithHint("events before %d are as they were written; keep a copy of the file and compare it with a backup", id)
}

// badPoint closes the report with the first checkpoint that is wrong; seq 0 is the anchor.
func (w *walk) badPoint(of string, seq int64, why string) (Report, error) {
	w.rep.BadPoint, w.rep.Why = seq, why
	what := fmt.Sprintf("checkpoint %d", seq)
	if seq == 0 {
		what = "its beginning"
	}
	return w.rep, abi.Errorf(abi.Corrupt, "verify journal in %q: %s: %s", of, what, why).WithDetail(w.rep).
		WithHint("records up to %d are vouched for by the checkpoints before; keep a copy and compare it with a backup", w.rep.Signed)
}

func zero(b []byte) bool { return len(bytes.Trim(b, "\x00")) == 0 }
