package logic

import (
	"context"
	"database/sql"
	"encoding/json"
	"strings"
	"time"

	"github.com/arw-project/arw/abi"
	"github.com/arw-project/arw/host/internal/journal"
)

// Bounds of an approval's life.
const (
	ApprovalTTL    = 7 * 24 * time.Hour // when none is given
	MaxApprovalTTL = 90 * 24 * time.Hour
)

// Approval is one person's yes to a unit as it is active, with its parameters, until it expires. Another revision or other
// parameters need another yes.
type Approval struct {
	Unit    string    `json:"unit"`
	What    string    `json:"what"` // digest of the revision and its parameters
	By      string    `json:"by"`
	Note    string    `json:"note,omitempty"`
	Time    time.Time `json:"time"`
	Expires time.Time `json:"expires"`
}

// whatOf names what an approval of a layer is for.
func whatOf(l *layer) string {
	params, _ := json.Marshal(l.params) // it was read from JSON
	return digest([]byte(l.digest + "\n" + string(params)))
}

// Approve notes that somebody agrees to the promotion of a unit as it is active in a scope. A second yes by the same person
// replaces the first. Errors: NotFound when it is not active there; Denied for what is no person; Invalid for the lifetime.
func (s *Store) Approve(ctx context.Context, id string, scope Scope, ttl time.Duration, note string, how How) (Approval, error) {
	if ttl == 0 {
		ttl = ApprovalTTL
	}
	if ttl < time.Minute || ttl > MaxApprovalTTL || len(note) > 1000 {
		return Approval{}, abi.Errorf(abi.Invalid, "approve unit %q: an approval lasts 1m to 90d, its note has at most 1000 bytes", id)
	}
	if how.By != "operator" && !strings.HasPrefix(how.By, "person:") {
		return Approval{}, abi.Errorf(abi.Denied, "approve unit %q as %q: only people approve", id, how.By).WithHint("a person's own token is made with: arw token create")
	}
	s.turn.Lock()
	defer s.turn.Unlock()
	l := s.active(id, scope)
	if l == nil {
		return Approval{}, abi.Errorf(abi.NotFound, "approve unit %q: it is not active in %s", id, scope)
	}
	a := Approval{Unit: id, What: whatOf(l), By: how.By, Note: note, Time: s.now(), Expires: s.now().Add(ttl)}
	err := s.db.Write(ctx, func(tx *sql.Tx) error {
		_, err := tx.Exec("INSERT OR REPLACE INTO logic_approval (unit, what, actor, note, at_ms, expire_ms) VALUES (?,?,?,?,?,?)",
			a.Unit, a.What, a.By, a.Note, a.Time.UnixMilli(), a.Expires.UnixMilli())
		if err != nil {
			return err
		}
		_, err = s.journal.AppendTx(tx, journal.Event{Kind: "logic.unit.approved", Actor: how.By, Corr: how.Corr, Body: map[string]any{
			"id": id, "version": l.version, "digest": l.digest, "params": l.params, "scope": scope.String(), "expires": a.Expires, "note": note,
		}})
		return err
	})
	return a, s.db.Explain(`approve unit "`+id+`"`, err)
}

// Approvals are those of a unit that were given and have not expired, oldest first.
func (s *Store) Approvals(ctx context.Context, id string) ([]Approval, error) {
	rows, err := s.db.Read().QueryContext(ctx, "SELECT what, actor, note, at_ms, expire_ms FROM logic_approval WHERE unit = ? AND expire_ms > ? ORDER BY at_ms, actor", id, s.now().UnixMilli())
	if err != nil {
		return nil, s.db.Explain("list approvals", err)
	}
	defer rows.Close()
	list := []Approval{}
	for rows.Next() {
		a := Approval{Unit: id}
		var at, until int64
		if err := rows.Scan(&a.What, &a.By, &a.Note, &at, &until); err != nil {
			return nil, s.db.Explain("list approvals", err)
		}
		a.Time, a.Expires = time.UnixMilli(at).UTC(), time.UnixMilli(until).UTC()
		list = append(list, a)
	}
	return list, s.db.Explain("list approvals", rows.Err())
}

// Archive puts a unit away: it stays known and cannot be applied. Installing it again brings it back. Errors: NotFound;
// Conflict while it is active somewhere.
func (s *Store) Archive(ctx context.Context, id string, how How) (Unit, error) {
	return s.move(ctx, id, Archived, how)
}

// Take makes a suggested unit an installed one. Errors: NotFound; Conflict for one that was not suggested.
func (s *Store) Take(ctx context.Context, id string, how How) (Unit, error) {
	return s.move(ctx, id, Installed, how)
}

func (s *Store) move(ctx context.Context, id, state string, how How) (Unit, error) {
	s.turn.Lock()
	defer s.turn.Unlock()
	u, err := s.find(id, "")
	if err != nil {
		return Unit{}, err
	}
	for _, l := range s.layers {
		if l.unit == id && state == Archived {
			return Unit{}, abi.Errorf(abi.Conflict, "archive unit %q: it is active in %s", id, l.scope).WithHint("arw unit revert %s --scope %s", id, l.scope)
		}
	}
	if state == Installed && u.state != Suggested {
		return Unit{}, abi.Errorf(abi.Conflict, "take unit %q: it is %s, not suggested", id, u.state)
	}
	if state == Installed {
		if err := mayRun(u.man, u.origin, how.Override); err != nil {
			return Unit{}, err
		}
	}
	moved := *u
	moved.state, moved.at, moved.actor = state, s.now(), how.By
	err = s.db.Write(ctx, func(tx *sql.Tx) error { return s.keepUnit(tx, &moved, "", how) })
	if err != nil {
		return Unit{}, s.db.Explain(`change unit "`+id+`"`, err)
	}
	s.remember(&moved)
	return s.Unit(id)
}
