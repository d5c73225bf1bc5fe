package api

import (
	"encoding/json"
	"time"
)

// HeaderCapsule carries a policy capsule, as JSON or as base64 of it, with POST /actions. HeaderGate is the name it had before,
// which is answered with 410.
const (
	HeaderCapsule = "X-Arw-Capsule"
	HeaderGate    = "X-Arw-Gate"
)

// CapsuleEntry is one line of the ledger, and the body of every event of a capsule.
type CapsuleEntry struct {
	Time        time.Time `json:"time"`
	Capsule     string    `json:"capsule"`
	Version     int64     `json:"version"`
	Fingerprint string    `json:"fingerprint"`
	Issuer      string    `json:"issuer"`
	Node        string    `json:"node"`
	Project     string    `json:"project,omitempty"`
	Decision    string    `json:"decision"` // adopted, renewed, refused, expired, torn_down, failed, forwarded
	Reason      string    `json:"reason,omitempty"`
	HopsLeft    int       `json:"hops_left"`
	LeaseUntil  time.Time `json:"lease_until"`
	By          string    `json:"by"`
	Corr        string    `json:"corr_id,omitempty"`
}

// Capsule is a capsule as this host has it, with countdowns at the time it was asked for.
type Capsule struct {
	ID           string    `json:"id"`
	Version      int64     `json:"version"`
	Issuer       string    `json:"issuer"`
	Fingerprint  string    `json:"fingerprint"`
	Denies       []string  `json:"denies"`
	Propagate    string    `json:"propagate"`
	HopTTL       int       `json:"hop_ttl"`
	HopsLeft     int       `json:"hops_left"`
	Path         []string  `json:"path,omitempty"`
	IssuedAt     time.Time `json:"issued_at"`
	Adopted      time.Time `json:"adopted"`
	By           string    `json:"by"`
	State        string    `json:"state"`     // active, expired, torn_down, failed
	RenewDue     bool      `json:"renew_due"` // active, and within renew_within_ms of its end
	RenewFrom    time.Time `json:"renew_from"`
	LeaseUntil   time.Time `json:"lease_until"`
	RenewInMS    int64     `json:"renew_in_ms"`
	ExpiresInMS  int64     `json:"expires_in_ms"`
	ExpiredForMS int64     `json:"expired_for_ms,omitempty"`
	Ended        time.Time `json:"ended,omitzero"`
	Reason       string    `json:"reason,omitempty"`
}

// AdoptCapsule is the body of POST /policy/capsules.
type AdoptCapsule struct {
	Capsule json.RawMessage `json:"capsule"` // the envelope, as `arw capsule sign` writes it
	Reason  string          `json:"reason,omitempty"`
}

// TeardownCapsules is the body of POST /policy/capsules/teardown: some by id, or all.
type TeardownCapsules struct {
	IDs    []string `json:"ids,omitempty"`
	All    bool     `json:"all,omitempty"`
	Reason string   `json:"reason,omitempty"`
	DryRun bool     `json:"dry_run,omitempty"`
}

// ForwardCapsule is the body of POST /policy/capsules/{id}/forward. To is "child" or "peer": what the other node is to this one.
type ForwardCapsule struct {
	To string `json:"to"`
}

// CapsulePreset is a ready set of denies.
type CapsulePreset struct {
	ID            string   `json:"id"`
	Means         string   `json:"means"`
	Denies        []string `json:"denies"`
	HopTTL        int      `json:"hop_ttl"`
	LeaseMS       int64    `json:"lease_ms"`
	RenewWithinMS int64    `json:"renew_within_ms"`
}
