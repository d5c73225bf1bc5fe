package pack

import (
	"crypto/rand"
	"encoding/binary"
	"encoding/json"
	"fmt"
	"time"

	"github.com/arw-project/arw/host/internal/policy"
	"github.com/arw-project/arw/signing"
)

// Verdict is everything that was decided about one artifact and by what: the same record in the journal
// (pack.installed, pack.refused), in Manager.Verdict and in "arw why". Where an install stopped early, the parts behind
// that step are empty. A Verdict that has been handed out does not change.
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
	// Signature is the trust policy's own verdict; Override is the digest a person admitted although it is a refusal.
	Signature *signing.Verdict `json:"signature,omitempty"`
	Override  string           `json:"override,omitempty"`
	// Load is Cedar's answer to running the pack at all; Links has one answer per capability of the manifest.
	Load     *policy.Decision `json:"load,omitempty"`
	Links    []Link           `json:"links,omitempty"`
	Imports  []string         `json:"imports,omitempty"`  // host functions the module imports, "kv.get"
	Replaces string           `json:"replaces,omitempty"` // digest of the version that ran before
	// Diff is what the version asks for beyond the one it replaces, or less; Held are the subjects of it that it goes
	// without until a person accepts them; Signer is set when nobody who signed the one before signed this one.
	Diff     *Diff         `json:"diff,omitempty"`
	Held     []string      `json:"held,omitempty"`
	Signer   *SignerChange `json:"signer_change,omitempty"`
	Registry string        `json:"registry,omitempty"` // where it came from, as resolved
	Warning  string        `json:"warning,omitempty"`  // of the index: the version is superseded, or yanked and named by digest
	Proofs   []Proof       `json:"proofs,omitempty"`   // the bundles that counted
	Carried  []Carry       `json:"carried,omitempty"`  // leases people gave that version and this one keeps
	Examples int           `json:"examples,omitempty"` // how many of the manifest's examples were run and held
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

// Outcomes of a link.
const (
	Granted = "granted" // a lease was given
	Asked   = "asked"   // a person must give one; until then every use is denied
	Denied  = "denied"  // of an optional capability; a required one refuses the pack
	Held    = "held"    // it widened with an upgrade; what the version before had stays, the rest waits for a person
)

// Link is what became of one capability.
type Link struct {
	Capability string          `json:"capability"`
	Scope      []string        `json:"scope,omitempty"`
	Reason     string          `json:"reason,omitempty"` // why the pack wants it, in its author's words
	Optional   bool            `json:"optional,omitempty"`
	Used       bool            `json:"used"` // the module imports it
	Outcome    string          `json:"outcome"`
	Lease      string          `json:"lease,omitempty"`
	Expires    *time.Time      `json:"expires,omitempty"`
	Calls      int64           `json:"budget_calls,omitempty"`
	Bytes      int64           `json:"budget_bytes,omitempty"`
	Tokens     int64           `json:"budget_tokens,omitempty"`
	Money      int64           `json:"budget_usd_micros,omitempty"`
	Decision   policy.Decision `json:"decision"`
}

// SignerChange is another hand: no key or identity that counted for the version before counts for this one.
type SignerChange struct {
	Before []string `json:"before"`
	After  []string `json:"after"`
}

// Proof is one bundle that counted, by what it says and the digest of its bytes.
type Proof struct {
	Predicate string `json:"predicate"`
	Bundle    string `json:"bundle"`
	Signer    string `json:"signer"` // its name in the trust policy
	KeyID     string `json:"key_id,omitempty"`
	Identity  string `json:"identity,omitempty"`
	Issuer    string `json:"issuer,omitempty"`
}

// Carry is a lease that an upgrade kept: it reaches no further and lives no longer than the one it comes from. It is the
// same lease unless the new version asks for less.
type Carry struct {
	Capability string `json:"capability"`
	Lease      string `json:"lease"`
	From       string `json:"from"`
}

// newCorr makes a correlation id: a UUIDv7 (RFC 9562), so that ids sort by time.
func newCorr() string {
	var u [16]byte
	_, _ = rand.Read(u[6:]) // it never fails
	var ms [8]byte
	binary.BigEndian.PutUint64(ms[:], uint64(time.Now().UnixMilli()))
	copy(u[:6], ms[2:])
	u[6], u[8] = u[6]&0x0f|0x70, u[8]&0x3f|0x80
	return fmt.Sprintf("cor_%x-%x-%x-%x-%x", u[:4], u[4:6], u[6:8], u[8:10], u[10:])
}
