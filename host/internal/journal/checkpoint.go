package journal

import (
	"context"
	"crypto/ed25519"
	"crypto/sha256"
	"database/sql"
	"encoding/binary"
	"encoding/json"
	"errors"
	"time"

	"github.com/arw-project/arw/abi"
)

// Checkpoint is the host's signed word that the journal had one hash at one record. Checkpoints are numbered and name
// the one before, so none can be taken out of the middle.
type Checkpoint struct {
	Seq  int64  // 1, 2, 3, …
	ID   int64  // the record it vouches for, 0: the journal before its first record
	Hash []byte // of that record
	Time time.Time
	Prev []byte // SHA-256 of the message of the checkpoint before; zeros for the first
	Key  KeyID  // which key signed
	Sig  []byte // Ed25519 over the message
	// Bytes are those of all bodies up to ID. It steers retention, is not signed and not exported.
	Bytes int64
}

// Anchor is the host's signed word that it removed all records up to one, in place of which the anchor stands: the chain
// is verified from here on.
type Anchor struct {
	Seq     int64 // the checkpoint that vouched for the last removed record, and is kept
	ID      int64 // the last removed record
	Hash    []byte
	Time    time.Time
	Removed int64 // records removed since the journal began; equal to ID
	Key     KeyID
	Sig     []byte
}

// Domains of what is signed; see hashDomain.
const (
	checkpointDomain = "arw.checkpoint.1\n"
	anchorDomain     = "arw.anchor.1\n"
)

func (c *Checkpoint) message() []byte {
	msg := append(make([]byte, 0, 128), checkpointDomain...)
	msg = binary.BigEndian.AppendUint64(msg, uint64(c.Seq))
	msg = binary.BigEndian.AppendUint64(msg, uint64(c.ID))
	msg = append(msg, c.Hash...)
	msg = binary.BigEndian.AppendUint64(msg, uint64(c.Time.UnixMilli()))
	return append(msg, c.Prev...)
}

func (c *Checkpoint) sum() []byte {
	sum := sha256.Sum256(c.message())
	return sum[:]
}

func (a *Anchor) message() []byte {
	msg := append(make([]byte, 0, 128), anchorDomain...)
	msg = binary.BigEndian.AppendUint64(msg, uint64(a.Seq))
	msg = binary.BigEndian.AppendUint64(msg, uint64(a.ID))
	msg = append(msg, a.Hash...)
	msg = binary.BigEndian.AppendUint64(msg, uint64(a.Time.UnixMilli()))
	return binary.BigEndian.AppendUint64(msg, uint64(a.Removed))
}

// signed is the wire form of both.
type signed struct {
	Seq     int64  `json:"seq"`
	ID      int64  `json:"id"`
	Hash    string `json:"hash"`
	Time    string `json:"time"`
	Prev    string `json:"prev,omitempty"`
	Removed int64  `json:"removed,omitempty"`
	Key     string `json:"key"`
	Sig     []byte `json:"signature"` // base64
}

// MarshalJSON gives the form of docs/spec/journal.md.
func (c Checkpoint) MarshalJSON() ([]byte, error) {
	return json.Marshal(signed{Seq: c.Seq, ID: c.ID, Hash: digest(c.Hash), Time: stamp(c.Time), Prev: digest(c.Prev), Key: c.Key.String(), Sig: c.Sig})
}

// UnmarshalJSON reads that form; the error says which member is not as specified.
func (c *Checkpoint) UnmarshalJSON(b []byte) error {
	s, hash, at, key, err := readSigned("checkpoint", b)
	if err != nil {
		return err
	}
	prev, err := undigest(s.Prev)
	if err != nil {
		return abi.Errorf(abi.Invalid, "read checkpoint %d: prev %q is no digest", s.Seq, s.Prev)
	}
	*c = Checkpoint{Seq: s.Seq, ID: s.ID, Hash: hash, Time: at, Prev: prev, Key: key, Sig: s.Sig}
	return nil
}

// MarshalJSON gives the form of docs/spec/journal.md.
func (a Anchor) MarshalJSON() ([]byte, error) {
	return json.Marshal(signed{Seq: a.Seq, ID: a.ID, Hash: digest(a.Hash), Time: stamp(a.Time), Removed: a.Removed, Key: a.Key.String(), Sig: a.Sig})
}

// UnmarshalJSON reads that form.
func (a *Anchor) UnmarshalJSON(b []byte) error {
	s, hash, at, key, err := readSigned("anchor", b)
	if err != nil {
		return err
	}
	*a = Anchor{Seq: s.Seq, ID: s.ID, Hash: hash, Time: at, Removed: s.Removed, Key: key, Sig: s.Sig}
	return nil
}

func readSigned(what string, b []byte) (s signed, hash []byte, at time.Time, key KeyID, err error) {
	if err = json.Unmarshal(b, &s); err != nil {
		return s, nil, at, key, abi.Errorf(abi.Invalid, "read %s: %w", what, err)
	}
	if hash, err = undigest(s.Hash); err != nil {
		return s, nil, at, key, abi.Errorf(abi.Invalid, "read %s %d: hash %q is no digest", what, s.Seq, s.Hash)
	}
	id, err := undigest(s.Key)
	if err != nil {
		return s, nil, at, key, abi.Errorf(abi.Invalid, "read %s %d: key %q is no digest", what, s.Seq, s.Key)
	}
	if at, err = time.Parse(time.RFC3339Nano, s.Time); err != nil {
		return s, nil, at, key, abi.Errorf(abi.Invalid, "read %s %d: time %q is not RFC 3339", what, s.Seq, s.Time)
	}
	return s, hash, at, KeyID(id), nil
}

func stamp(t time.Time) string { return t.UTC().Format("2006-01-02T15:04:05.000Z") }

// Signed makes the journal sign checkpoints and anchors with key, which Open keeps.
func Signed(key ed25519.PrivateKey) Option { return func(j *Journal) { j.key = key } }

// Checkpoint signs the journal as it stands, durably, unless the newest checkpoint says the same; it returns the newest
// one. Errors: Unsupported without a key, those of db.Write.
func (j *Journal) Checkpoint(ctx context.Context) (Checkpoint, error) {
	if j.key == nil {
		return Checkpoint{}, abi.Errorf(abi.Unsupported, "sign a checkpoint of the journal: it was opened without a key")
	}
	var c Checkpoint
	err := j.db.Write(ctx, func(tx *sql.Tx) (err error) {
		c, err = j.checkpoint(tx)
		return err
	})
	return c, err
}

// checkpoint runs on the writer's goroutine. What it signs may be of the same transaction: both become durable or neither.
func (j *Journal) checkpoint(tx *sql.Tx) (Checkpoint, error) {
	if err := j.freshen(tx); err != nil {
		return Checkpoint{}, err
	}
	last, found, err := newestCheckpoint(context.Background(), tx)
	if err != nil || found && last.ID == j.tail.id {
		return last, j.db.Explain("sign a checkpoint of the journal", err)
	}
	c := Checkpoint{
		Seq: last.Seq + 1, ID: j.tail.id, Hash: append([]byte(nil), j.tail.hash[:]...), Time: j.now().UTC().Truncate(time.Millisecond),
		Prev: make([]byte, sha256.Size), Key: IDOf(j.key.Public().(ed25519.PublicKey)), Bytes: j.tail.bytes,
	}
	if found {
		c.Prev = last.sum()
	}
	c.Sig = ed25519.Sign(j.key, c.message())
	stmt, err := j.db.Stmt(tx, "INSERT INTO event_checkpoint (seq, id, hash, time_ms, prev, key, sig, bytes) VALUES (?, ?, ?, ?, ?, ?, ?, ?)")
	if err == nil {
		_, err = stmt.Exec(c.Seq, c.ID, c.Hash, c.Time.UnixMilli(), c.Prev, c.Key[:], c.Sig, c.Bytes)
	}
	return c, j.db.Explain("sign a checkpoint of the journal", err)
}

const checkpointColumns = "SELECT seq, id, hash, time_ms, prev, key, sig, bytes FROM event_checkpoint"

func newestCheckpoint(ctx context.Context, q queryer) (c Checkpoint, found bool, err error) {
	err = c.scan(q.QueryRowContext(ctx, checkpointColumns+" ORDER BY seq DESC LIMIT 1"))
	if errors.Is(err, sql.ErrNoRows) {
		return c, false, nil
	}
	return c, err == nil, err
}

type scanner interface{ Scan(into ...any) error }

func (c *Checkpoint) scan(row scanner) error {
	var ms int64
	var key []byte
	if err := row.Scan(&c.Seq, &c.ID, &c.Hash, &ms, &c.Prev, &key, &c.Sig, &c.Bytes); err != nil {
		return err
	}
	c.Time = time.UnixMilli(ms).UTC()
	copy(c.Key[:], key)
	return nil
}

// readCheckpoints gives all that are kept, in order.
func readCheckpoints(ctx context.Context, pool reader) ([]Checkpoint, error) {
	rows, err := pool.QueryContext(ctx, checkpointColumns+" ORDER BY seq")
	if err != nil {
		return nil, err
	}
	defer rows.Close()
	var all []Checkpoint
	for rows.Next() {
		var c Checkpoint
		if err := c.scan(rows); err != nil {
			return nil, err
		}
		all = append(all, c)
	}
	return all, rows.Err()
}

// readAnchor gives the anchor; found is false when nothing was ever removed.
func readAnchor(ctx context.Context, q queryer) (a Anchor, found bool, err error) {
	var ms int64
	var key []byte
	err = q.QueryRowContext(ctx, "SELECT seq, id, hash, time_ms, removed, key, sig FROM event_anchor").Scan(&a.Seq, &a.ID, &a.Hash, &ms, &a.Removed, &key, &a.Sig)
	if errors.Is(err, sql.ErrNoRows) {
		return a, false, nil
	}
	a.Time = time.UnixMilli(ms).UTC()
	copy(a.Key[:], key)
	return a, err == nil, err
}
