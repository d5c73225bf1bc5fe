package lease

import (
	"context"
	"crypto/rand"
	"database/sql"
	"encoding/binary"
	"encoding/json"
	"fmt"
	"time"

	"github.com/arw-project/arw/abi"
)

// Schema is the table of this package, for db.Open. A lease that ended is removed after Retention.
var Schema = []string{`
CREATE TABLE lease (
	id TEXT PRIMARY KEY,
	pack TEXT NOT NULL,
	digest TEXT NOT NULL,
	capability TEXT NOT NULL,
	scope TEXT NOT NULL CHECK (json_valid(scope)),
	ttl_ms INTEGER NOT NULL,
	budget_calls INTEGER NOT NULL,
	budget_bytes INTEGER NOT NULL,
	granted_by TEXT NOT NULL,
	reason TEXT NOT NULL,
	policies TEXT NOT NULL CHECK (json_valid(policies)),
	renewable INTEGER NOT NULL,
	corr TEXT NOT NULL,
	created_ms INTEGER NOT NULL,
	expires_ms INTEGER NOT NULL,
	state TEXT NOT NULL CHECK (state IN ('live', 'expired', 'revoked', 'exhausted')),
	used_calls INTEGER NOT NULL, -- of a bounded budget: reserved, at least what was used
	used_bytes INTEGER NOT NULL,
	ended_ms INTEGER,
	ended_by TEXT NOT NULL DEFAULT '',
	ended_reason TEXT NOT NULL DEFAULT ''
) STRICT, WITHOUT ROWID;
`, `
ALTER TABLE lease ADD COLUMN budget_tokens INTEGER NOT NULL DEFAULT 0;
ALTER TABLE lease ADD COLUMN budget_gas INTEGER NOT NULL DEFAULT 0;
ALTER TABLE lease ADD COLUMN budget_money INTEGER NOT NULL DEFAULT 0;
ALTER TABLE lease ADD COLUMN used_tokens INTEGER NOT NULL DEFAULT 0;
ALTER TABLE lease ADD COLUMN used_gas INTEGER NOT NULL DEFAULT 0;
ALTER TABLE lease ADD COLUMN used_money INTEGER NOT NULL DEFAULT 0;
ALTER TABLE lease ADD COLUMN project TEXT NOT NULL DEFAULT '';
ALTER TABLE lease ADD COLUMN session TEXT NOT NULL DEFAULT '';
ALTER TABLE lease ADD COLUMN action TEXT NOT NULL DEFAULT '';
`}

const (
	insertLease = `INSERT INTO lease (id, pack, digest, capability, scope, ttl_ms, budget_calls, budget_bytes, granted_by,
		reason, policies, renewable, corr, created_ms, expires_ms, state, used_calls, used_bytes, budget_tokens, budget_gas, budget_money, project, session, action)
		VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, 'live', 0, 0, ?, ?, ?, ?, ?, ?)`
	selectLeases = `SELECT id, pack, digest, capability, scope, ttl_ms, budget_calls, budget_bytes, granted_by, reason, policies,
		renewable, corr, created_ms, expires_ms, state, used_calls, used_bytes, ended_ms, ended_by, ended_reason,
		budget_tokens, budget_gas, budget_money, used_tokens, used_gas, used_money, project, session, action FROM lease`
	renewLease = `UPDATE lease SET state = 'live', ttl_ms = ?, expires_ms = ?, ended_ms = NULL
		WHERE id = ? AND renewable = 1 AND state IN ('live', 'expired')`
	expireLease = `UPDATE lease SET state = 'expired', ended_ms = ? WHERE id = ? AND state = 'live' AND expires_ms = ?`
	spendLease  = `UPDATE lease SET state = 'exhausted', ended_ms = ?, used_calls = ?, used_bytes = ?, used_tokens = ?, used_gas = ?, used_money = ?
		WHERE id = ? AND state = 'live'`
	revokeLease = `UPDATE lease SET state = 'revoked', ended_ms = ?, ended_by = ?, ended_reason = ? WHERE id = ? AND state <> 'revoked'`
	countLease  = `UPDATE lease SET used_calls = ?, used_bytes = ?, used_tokens = ?, used_gas = ?, used_money = ? WHERE id = ? AND state <> 'exhausted'`
	forgetLease = `DELETE FROM lease WHERE id = ? AND state <> 'live'`
)

// exec runs one of the statements above in a write and says whether it changed a row.
func (b *Book) exec(tx *sql.Tx, query string, args ...any) (bool, error) {
	stmt, err := b.db.Stmt(tx, query)
	if err != nil {
		return false, err
	}
	result, err := stmt.Exec(args...)
	if err != nil {
		return false, err
	}
	n, err := result.RowsAffected()
	return n > 0, err
}

func (b *Book) insert(tx *sql.Tx, e *entry) error {
	g := e.grant
	scope, _ := json.Marshal(nonNil(g.Scope)) // strings always marshal
	policies, _ := json.Marshal(nonNil(g.Policies))
	_, err := b.exec(tx, insertLease, e.id, g.Pack, g.Digest, string(g.Capability), string(scope), e.ttl.Milliseconds(),
		g.Budget.Calls, g.Budget.Bytes, g.By, g.Reason, string(policies), g.Renewable, e.corr, e.created.UnixMilli(),
		e.expires.UnixMilli(), g.Budget.Tokens, g.Budget.Gas, g.Budget.Money, g.Project, g.Session, g.Action)
	return err
}

func (b *Book) updateExpiry(tx *sql.Tx, id string, ttl time.Duration, expires time.Time) (bool, error) {
	return b.exec(tx, renewLease, ttl.Milliseconds(), expires.UnixMilli(), id)
}

func (b *Book) updateState(tx *sql.Tx, to state, l Lease) (bool, error) {
	at := l.Ended.Time.UnixMilli()
	switch to {
	case stateRevoked:
		return b.exec(tx, revokeLease, at, l.Ended.By, l.Ended.Reason, l.ID)
	case stateExhausted:
		return b.exec(tx, spendLease, at, l.Used.Calls, l.Used.Bytes, l.Used.Tokens, l.Used.Gas, l.Used.Money, l.ID)
	default:
		return b.exec(tx, expireLease, at, l.ID, l.Expires.UnixMilli())
	}
}

// load reads the table into memory and works out what became of each lease since it was written.
func (b *Book) load(ctx context.Context) error {
	rows, err := b.db.Read().QueryContext(ctx, selectLeases)
	if err != nil {
		return err
	}
	defer rows.Close()
	for rows.Next() {
		e, err := b.scan(rows)
		if err != nil {
			return err
		}
		b.add(e)
	}
	if err := rows.Err(); err != nil {
		return err
	}
	for _, e := range b.leases {
		if e.state.Load() == stateLive && e.spent() {
			b.end(e, stateExhausted, e.corr, Ending{Time: time.Now().UTC()})
		}
	}
	b.arrange()
	return nil
}

func (b *Book) scan(rows *sql.Rows) (*entry, error) {
	e := &entry{gate: make(chan struct{}, 1)}
	g := &e.grant
	var scope, policies, stateName, by, reason string
	var ttl, created, expires int64
	var used Budget
	var ended sql.NullInt64
	if err := rows.Scan(&e.id, &g.Pack, &g.Digest, &g.Capability, &scope, &ttl, &g.Budget.Calls, &g.Budget.Bytes, &g.By, &g.Reason,
		&policies, &g.Renewable, &e.corr, &created, &expires, &stateName, &used.Calls, &used.Bytes, &ended, &by, &reason,
		&g.Budget.Tokens, &g.Budget.Gas, &g.Budget.Money, &used.Tokens, &used.Gas, &used.Money, &g.Project, &g.Session, &g.Action); err != nil {
		return nil, err
	}
	s, known := stateOf(stateName)
	if json.Unmarshal([]byte(scope), &g.Scope) != nil || json.Unmarshal([]byte(policies), &g.Policies) != nil || !known {
		return nil, abi.Errorf(abi.Corrupt, "read lease %q: its row does not read back as it was written", e.id)
	}
	var err error
	if e.patterns, err = parseScope(g.Capability, g.Scope); err != nil {
		return nil, abi.Errorf(abi.Corrupt, "read lease %q: %w", e.id, err)
	}
	e.ttl = time.Duration(ttl) * time.Millisecond
	g.TTL = e.ttl
	e.created, e.expires = time.UnixMilli(created).UTC(), time.UnixMilli(expires).UTC()
	e.state.Store(s)
	if ended.Valid {
		e.ended = &Ending{Time: time.UnixMilli(ended.Int64).UTC(), By: by, Reason: reason}
	}
	// The wall clock may have been set back while the host was down: nothing lives longer than its lifetime from now.
	left := min(time.Until(e.expires), e.ttl)
	e.deadline.Store(b.now() + int64(left))
	e.limit(g.Budget, used)
	e.flushed = used
	return e, nil
}

// limit sets the bounds of a new entry, and what of them is used or reserved.
func (e *entry) limit(b, used Budget) {
	gone := used.sides()
	for i, n := range b.sides() {
		e.count[i].init(n, min(gone[i], bounded(n)))
	}
}

// NewID is a prefix and a UUID of version 7 (RFC 9562): milliseconds and, in the next twelve bits, the part of a
// millisecond (method 3), so that ids sort by age.
func NewID(prefix string) string {
	var u [16]byte
	_, _ = rand.Read(u[8:]) // never fails
	now := time.Now()
	part := uint64(now.Nanosecond()%1e6) * 4096 / 1e6
	binary.BigEndian.PutUint64(u[:8], uint64(now.UnixMilli())<<16|0x7000|part)
	u[8] = u[8]&0x3f | 0x80
	return fmt.Sprintf("%s%x-%x-%x-%x-%x", prefix, u[:4], u[4:6], u[6:8], u[8:10], u[10:])
}
