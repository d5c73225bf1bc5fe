package journal

import (
	"bytes"
	"context"
	"crypto/rand"
	"database/sql"
	"encoding/hex"
	"encoding/json"
	"errors"
	"slices"
	"strings"

	"github.com/arw-project/arw/abi"
)

// RedactedKind is the kind of the event that tells of a redaction and vouches for what stands in its place.
const RedactedKind = "journal.redacted"

// Redaction is the body of RedactedKind.
type Redaction struct {
	By      string           `json:"by"` // path or value
	Reason  string           `json:"reason,omitempty"`
	Records []RedactedRecord `json:"records"`
}

// RedactedRecord is one record of whose body a part was taken out.
type RedactedRecord struct {
	ID    int64    `json:"id"`
	Paths []string `json:"paths"` // JSON Pointers (RFC 6901) to what was taken out, at most 20
	Count int      `json:"count"` // how many places that were
	Sum   string   `json:"sum"`   // salted sum of what stands there now
}

// Mark stands where something was taken out.
const Mark = "[redacted]"

// MinSecret is how many bytes a value has at least that is searched for.
const MinSecret = 6

// redactStep is how many records one redaction event tells of.
const redactStep = 256

// Author is on whose behalf a redaction is made.
type Author struct{ Actor, Corr, Reason string }

// RedactPath takes the value at a JSON Pointer out of the body of one record, for good: Mark stands in its place, and an
// event of kind RedactedKind vouches for the rest. Errors: NotFound for a record or a place that is not there, Conflict
// for a record that must stay as it is, those of db.Write.
func (j *Journal) RedactPath(ctx context.Context, by Author, id int64, pointer string) (Redaction, error) {
	at, err := parsePointer(pointer)
	if err != nil {
		return Redaction{}, err
	}
	hit := func(path []string, value []byte, name bool) []byte {
		if name || !slices.Equal(path, at) {
			return nil
		}
		return []byte(`"` + Mark + `"`)
	}
	done, err := j.redact(ctx, by, "path", []int64{id}, hit)
	if err == nil && len(done.Records) == 0 {
		err = abi.Errorf(abi.NotFound, "redact event %d: its body has nothing at %q", id, pointer).WithHint("look at it: arw journal tail --after %d -n 1", id-1)
	}
	return done, err
}

// RedactValue takes every occurrence of secret out of all bodies: out of strings, names of members and numbers. It tells
// what it did step by step; a step that fails leaves those before it done. Errors: Invalid for a secret shorter than 6
// bytes, which would tear holes everywhere.
func (j *Journal) RedactValue(ctx context.Context, by Author, secret string) (all []Redaction, err error) {
	if len(secret) < MinSecret {
		return nil, abi.Errorf(abi.Invalid, "redact a value: it has %d bytes, at least %d are needed", len(secret), MinSecret).WithHint("name the event and the place: arw journal redact ID --path /place")
	}
	hit := finder(secret)
	for after := j.Floor(); after < j.Last(); {
		page, err := j.Read(ctx, after, 0, Filter{})
		if err != nil {
			return all, err
		}
		var ids []int64
		for i := range page {
			if after = page[i].ID; j.hits(&page[i], hit) {
				ids = append(ids, page[i].ID)
			}
		}
		for len(ids) > 0 {
			n := min(len(ids), redactStep)
			done, err := j.redact(ctx, by, "value", ids[:n], hit)
			if err != nil {
				return all, err
			}
			all, ids = append(all, done), ids[n:]
		}
		if len(page) == 0 {
			break
		}
	}
	return all, nil
}

// Purge takes what free space and the log still have of secret out of the database's files, and reports whether some of it
// is left all the same: then it stands in a table that is not the journal's, or the file is too large to be rewritten while
// the host runs. Cost: a pass over the files, and where something was found, writing them anew.
func (j *Journal) Purge(ctx context.Context, secret string) (left bool, err error) {
	quoted, err := json.Marshal(secret)
	if err != nil {
		return false, err
	}
	forms := [][]byte{quoted[1 : len(quoted)-1], []byte(secret)}
	if err := j.db.Fold(ctx); err != nil && abi.CodeOf(err) != abi.Busy {
		return false, err
	}
	if left, err = j.holds(ctx, forms); !left || err != nil {
		return left, err
	}
	if err := j.db.Rewrite(ctx); err != nil {
		if code := abi.CodeOf(err); code == abi.TooLarge || code == abi.Busy {
			err = nil // what is left is told
		}
		return true, err
	}
	return j.holds(ctx, forms)
}

func (j *Journal) holds(ctx context.Context, forms [][]byte) (bool, error) {
	for _, form := range forms {
		if found, err := j.db.Holds(ctx, form); found || err != nil {
			return found, err
		}
	}
	return false, nil
}

// Scrub puts Mark in the place of secret in any JSON value without white space, as RedactValue does in bodies.
func Scrub(text []byte, secret string) (out []byte, hit bool) {
	out, pointers := rewrite(text, finder(secret))
	return out, len(pointers) > 0
}

func (j *Journal) hits(r *Record, hit hitFunc) bool {
	_, paths := rewrite(r.Body, hit)
	return r.Kind != RedactedKind && len(paths) > 0
}

// finder is the hitFunc that finds secret in scalars and names.
func finder(secret string) hitFunc {
	return func(_ []string, value []byte, name bool) []byte {
		switch value[0] {
		case '{', '[':
			return nil
		case '"':
			text := unescape(value)
			if !strings.Contains(text, secret) {
				return nil
			}
			out, err := json.Marshal(strings.ReplaceAll(text, secret, Mark))
			if err != nil { // a string marshals
				panic(err)
			}
			return out
		}
		if !bytes.Contains(value, []byte(secret)) {
			return nil
		}
		return []byte(`"` + Mark + `"`)
	}
}

// redact changes the records of ids in one transaction with the event that tells of it. A record that hit leaves as it is
// does not count.
func (j *Journal) redact(ctx context.Context, by Author, how string, ids []int64, hit hitFunc) (Redaction, error) {
	var done Redaction
	var changed []*Record
	err := j.db.Write(ctx, func(tx *sql.Tx) error {
		done, changed = Redaction{By: how, Reason: by.Reason, Records: []RedactedRecord{}}, nil
		// What is replaced must not stay behind in the file's free space.
		if _, err := tx.Exec("PRAGMA secure_delete = ON"); err != nil {
			return err
		}
		defer func() { _, _ = tx.Exec("PRAGMA secure_delete = OFF") }()
		for _, id := range ids {
			r, told, err := j.redactOne(tx, id, hit)
			if err != nil {
				return err
			}
			if told.Count > 0 {
				changed, done.Records = append(changed, r), append(done.Records, told)
			}
		}
		if len(changed) == 0 {
			return nil
		}
		_, err := j.AppendTx(tx, Event{Kind: RedactedKind, Actor: by.Actor, Corr: by.Corr, Body: done})
		return err
	})
	if err != nil {
		return Redaction{}, err
	}
	j.pub.replace(changed)
	return done, nil
}

func (j *Journal) redactOne(tx *sql.Tx, id int64, hit hitFunc) (*Record, RedactedRecord, error) {
	told := RedactedRecord{ID: id}
	r, err := j.readOne(tx, id)
	if err != nil {
		return nil, told, err
	}
	if r.Kind == RedactedKind {
		return nil, told, abi.Errorf(abi.Conflict, "redact event %d: it vouches for other redactions and stays as it is", id)
	}
	body, paths := rewrite(r.Body, hit)
	if len(paths) == 0 {
		return nil, told, nil
	}
	if body, err = encodeBody(r.Kind, json.RawMessage(body), nil); err != nil {
		return nil, told, err
	}
	salt := make([]byte, saltSize)
	_, _ = rand.Read(salt) // never fails
	oldSalt, err := hex.DecodeString(r.Salt)
	if err != nil {
		return nil, told, err
	}
	was, now := bodySum(oldSalt, r.Body), bodySum(salt, body)
	told.Paths, told.Count, told.Sum = paths[:min(len(paths), 20)], len(paths), digest(now[:])
	// The first redaction keeps the sum that the chain covers; a later one finds it kept.
	if _, err = tx.Exec("INSERT OR IGNORE INTO event_redacted (id, sum) VALUES (?, ?)", id, was[:]); err == nil {
		_, err = tx.Exec("UPDATE event SET body = ?, salt = ? WHERE id = ?", string(body), salt, id)
	}
	r.Body, r.Salt = body, hex.EncodeToString(salt)
	return r, told, err
}

func (j *Journal) readOne(tx *sql.Tx, id int64) (*Record, error) {
	rows, err := tx.Query(columns+" WHERE id = ?", id)
	if err != nil {
		return nil, err
	}
	defer rows.Close()
	if id <= j.Floor() || !rows.Next() {
		return nil, errors.Join(rows.Err(), abi.Errorf(abi.NotFound, "redact event %d: the journal does not have it", id))
	}
	return scan(rows)
}
