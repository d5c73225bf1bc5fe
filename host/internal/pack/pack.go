// Package pack takes a pack from a reference in a registry to answers for its callers, and tells at every step why.
//
// A Manager is safe for concurrent use; installs and removals run one at a time, calls run beside them.
package pack

import (
	"encoding/json"
	"time"

	"github.com/arw-project/arw/abi"
)

// State says whether an installed pack answers calls.
type State string

// The states of an installed pack. What is not installed has none.
const (
	Loading State = "loading" // installed; the program is loaded by the first call or in the background
	Ready   State = "ready"
	Broken  State = "broken" // kept, but refuses calls; Info.Reason says why and Install mends it
)

// Options of an install or a removal.
type Options struct {
	By   string // who asks, for the record
	Corr string // groups the events; made up when empty
	// Progress hears of bytes pulled; it may be nil and is called from the installing goroutine.
	Progress func(what string, done, total int64)
	// OverrideUnsigned admits this one manifest digest although no signature satisfies the trust policy. It never
	// carries over to another version.
	OverrideUnsigned string
	// Purge, in a removal, also deletes the pack's key space.
	Purge bool
}

// Info is an installed pack as a caller may see it.
type Info struct {
	Name        string    `json:"name"`
	Version     string    `json:"version"`
	Digest      string    `json:"digest"`
	Ref         string    `json:"ref"`
	State       State     `json:"state"`
	Reason      string    `json:"reason,omitempty"` // of a broken pack
	Description string    `json:"description"`
	License     string    `json:"license,omitempty"`
	Tools       []Tool    `json:"tools"`
	Installed   time.Time `json:"installed"`
	By          string    `json:"by,omitempty"`
	Verdict     *Verdict  `json:"verdict,omitempty"`
}

// Tool is one tool of an installed pack.
type Tool struct {
	ID          string          `json:"id"`
	Pack        string          `json:"pack"`
	Title       string          `json:"title,omitempty"`
	Description string          `json:"description"`
	Effects     abi.Effect      `json:"-"`
	EffectsName string          `json:"effects"`
	Input       json.RawMessage `json:"input_schema,omitempty"`
	Output      json.RawMessage `json:"output_schema,omitempty"`
	MaxInput    int64           `json:"-"`
}

// Verdict is everything that was decided about one artifact and by what: the same record in the journal
// (pack.installed, pack.refused), in Manager.Verdict and in "arw why". Where an install stopped early, the parts behind
// that step are empty.
type Verdict struct {
	Pack    string    `json:"pack,omitempty"`
	Version string    `json:"version,omitempty"`
	Ref     string    `json:"ref"`
	Allowed bool      `json:"allowed"`
	Time    time.Time `json:"time"`
	By      string    `json:"by,omitempty"`
	Corr    string    `json:"corr_id"`
	// Step is the last step that was begun: the one that refused, or "commit".
	Step    string   `json:"step"`
	Refused *Refusal `json:"refused,omitempty"`
	Digests Digests  `json:"digests"`
	// Signature is signing's own verdict; Override the digest a person admitted without one.
	Signature *Signature `json:"signature,omitempty"`
	Override  string     `json:"override,omitempty"`
	Load      *Decision  `json:"load,omitempty"`
	Grants    []Link     `json:"grants,omitempty"`   // one per capability the manifest asks for
	Imports   []string   `json:"imports,omitempty"`  // what the module really imports, as module.name
	Replaces  string     `json:"replaces,omitempty"` // digest of the version that ran before
	Examples  int        `json:"examples,omitempty"` // how many were run and held
}

// Refusal is the error that ended an install.
type Refusal struct {
	Code    string          `json:"code"`
	Message string          `json:"message"`
	Hint    string          `json:"hint,omitempty"`
	Detail  json.RawMessage `json:"detail,omitempty"`
}

// Digests name every byte the verdict rests on.
type Digests struct {
	Manifest    string `json:"manifest,omitempty"`     // of the OCI manifest: what is signed
	Module      string `json:"module,omitempty"`       // of the WebAssembly file
	PackTOML    string `json:"pack_toml,omitempty"`    // of pack.toml as published
	Canonical   string `json:"canonical,omitempty"`    // of its canonical form
	PolicySet   string `json:"policy_set,omitempty"`   // of the Cedar policies that decided
	TrustPolicy string `json:"trust_policy,omitempty"` // of trust.toml
}

// Signature says who signed and by which rule that counted.
type Signature struct {
	Allowed  bool        `json:"allowed"`
	Rule     string      `json:"rule,omitempty"`
	Needed   int         `json:"needed"`
	Signers  []Signer    `json:"signers,omitempty"`
	Rejected []Rejection `json:"rejected,omitempty"`
}

// Signer is one signature that counted.
type Signer struct {
	Name     string     `json:"name"`
	KeyID    string     `json:"key_id,omitempty"`
	Identity string     `json:"identity,omitempty"`
	Issuer   string     `json:"issuer,omitempty"`
	Time     *time.Time `json:"time,omitempty"`
}

// Rejection is one signature that did not.
type Rejection struct {
	Bundle   int    `json:"bundle"`
	KeyID    string `json:"key_id,omitempty"`
	Identity string `json:"identity,omitempty"`
	Issuer   string `json:"issuer,omitempty"`
	Reason   string `json:"reason"`
}

// Decision is Cedar's answer and the policies that determined it.
type Decision struct {
	Allowed  bool     `json:"allowed"`
	Policies []string `json:"policies,omitempty"`
	Reason   string   `json:"reason,omitempty"`
	Errors   []string `json:"errors,omitempty"`
}

// Outcomes of a link decision.
const (
	Granted = "granted"
	Asked   = "asked"  // a person must grant a lease; until then calls that need it are denied
	Denied  = "denied" // of an optional capability; a required one refuses the pack
)

// Link is what became of one capability.
type Link struct {
	Capability string        `json:"capability"`
	Scope      []string      `json:"scope,omitempty"`
	Reason     string        `json:"reason,omitempty"` // why the pack wants it, in its author's words
	Outcome    string        `json:"outcome"`
	Lease      string        `json:"lease,omitempty"`
	TTL        time.Duration `json:"ttl_ns,omitempty"`
	Calls      int64         `json:"budget_calls,omitempty"`
	Bytes      int64         `json:"budget_bytes,omitempty"`
	Decision   Decision      `json:"decision"`
}
