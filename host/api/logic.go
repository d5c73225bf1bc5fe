package api

import "encoding/json"

// InstallUnit is the body of POST /logic/units: either the text of a unit.toml, or a reference to a signed artefact.
type InstallUnit struct {
	Source  string `json:"source,omitempty"`
	Ref     string `json:"ref,omitempty"`     // [REGISTRY/]NAMESPACE/NAME[:VERSION][@DIGEST]
	Origin  string `json:"origin,omitempty"`  // where a text came from, in words
	Suggest bool   `json:"suggest,omitempty"` // only propose it
	// OverrideUnsigned is the digest of a unit that runs code and that nobody signed, for whom the caller answers.
	OverrideUnsigned string `json:"override_unsigned,omitempty"`
}

// MoveUnit is the body of POST /logic/take and /logic/archive.
type MoveUnit struct {
	Unit             string `json:"unit"`
	OverrideUnsigned string `json:"override_unsigned,omitempty"`
}

// ApproveUnit is the body of POST /logic/approve.
type ApproveUnit struct {
	Unit  string `json:"unit"`
	Scope string `json:"scope,omitempty"` // in which it is on trial
	TTL   string `json:"ttl,omitempty"`   // as "72h"; a week when absent
	Note  string `json:"note,omitempty"`
}

// TestUnit is the body of POST /logic/units/test: either a unit that the host knows or the text of a unit.toml.
type TestUnit struct {
	Unit   string `json:"unit,omitempty"`
	Source string `json:"source,omitempty"`
}

// UseUnit is one unit to be applied; Digest "" is its newest revision.
type UseUnit struct {
	Unit   string                     `json:"unit"`
	Digest string                     `json:"digest,omitempty"`
	Params map[string]json.RawMessage `json:"params,omitempty"`
}

// ChangeLogic is the body of POST /logic/apply (Units), /logic/revert and /logic/promote (Unit). Scope is "workspace",
// "project/ID" or "agent/ID"; of a promotion it is the scope that the unit was tried in.
type ChangeLogic struct {
	Units     []UseUnit `json:"units,omitempty"`
	Unit      string    `json:"unit,omitempty"`
	Scope     string    `json:"scope,omitempty"`
	DryRun    bool      `json:"dry_run,omitempty"`
	KeepHand  bool      `json:"keep_hand,omitempty"`
	Accept    bool      `json:"accept_permissions,omitempty"` // what packs may do more is accepted
	Findings  string    `json:"accept_findings,omitempty"`    // safety_digest of the plan whose findings the caller answers for
	Share     int       `json:"share,omitempty"`              // percent of runs that have the units; 0 is all
	Shadow    bool      `json:"shadow,omitempty"`             // of a promotion: replay what was recorded first
	IfVersion *int64    `json:"if_version,omitempty"`
}

// ChangeConfig is the body of POST /patch/apply: a change of one document by hand.
type ChangeConfig struct {
	Target    string          `json:"target"`
	Scope     string          `json:"scope,omitempty"`
	Op        string          `json:"op,omitempty"` // merge (default) or jsonpatch
	Value     json.RawMessage `json:"value"`
	DryRun    bool            `json:"dry_run,omitempty"`
	Findings  string          `json:"accept_findings,omitempty"` // as in ChangeLogic
	IfVersion *int64          `json:"if_version,omitempty"`
}

// RevertConfig is the body of POST /patch/revert: either Target, whose changes by hand in Scope are taken back, or
// Version, to which the whole configuration goes back.
type RevertConfig struct {
	Target   string `json:"target,omitempty"`
	Scope    string `json:"scope,omitempty"`
	Version  *int64 `json:"version,omitempty"`
	DryRun   bool   `json:"dry_run,omitempty"`
	Accept   bool   `json:"accept_permissions,omitempty"` // what packs may do more again is accepted
	Findings string `json:"accept_findings,omitempty"`    // as in ChangeLogic
}
