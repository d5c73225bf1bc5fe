package signing

import (
	"fmt"
	"time"
)

// Verdict is a decision and everything that led to it: every bundle that was given stands either in Signers or in
// Rejected. Its JSON form is specified in docs/spec/trust.md. Text in it that a bundle wrote is made printable and short.
type Verdict struct {
	Allowed      bool        `json:"allowed"`
	Refusal      Refusal     `json:"refusal,omitempty"` // why not
	Pack         string      `json:"pack"`
	Version      string      `json:"version,omitempty"` // as the caller read it under the digest
	Digest       string      `json:"digest"`
	Rule         string      `json:"rule,omitempty"` // the pattern of the one rule that applies; empty: no rule covers the pack
	Publisher    string      `json:"publisher,omitempty"`
	MinVersion   string      `json:"min_version,omitempty"`
	Expires      *time.Time  `json:"expires,omitempty"` // of the rule
	Needed       int         `json:"needed"`            // distinct signers the rule wants for its own predicate
	Predicates   []string    `json:"predicates"`        // what counted signatures state, each once, sorted
	Signers      []Signer    `json:"signers"`           // counted, in the order of the bundles
	Rejected     []Rejection `json:"rejected"`          // not counted, in the order of the bundles
	Unmet        []Unmet     `json:"unmet,omitempty"`
	PolicyDigest string      `json:"policy_digest"`
}

// Refusal is the stable word for why a pack is not trusted.
type Refusal string

// The refusals, in the order in which a pack meets them.
const (
	RefusalNoRule   Refusal = "no_rule"          // no rule covers it
	RefusalExpired  Refusal = "rule_expired"     // the rule that does has run out
	RefusalVersion  Refusal = "version"          // older than the rule's min_version, or of no version
	RefusalTooMany  Refusal = "too_many_bundles" // more than MaxBundles
	RefusalUnsigned Refusal = "unsigned"         // there is no bundle
	RefusalUnmet    Refusal = "unmet"            // the bundles do not satisfy the rule
)

// Signer is one signature that counted.
type Signer struct {
	Bundle    int               `json:"bundle"`         // index into the bundles that were given
	Name      string            `json:"name,omitempty"` // the signer's name in trust.toml
	Role      string            `json:"role,omitempty"` // author, reviewer, or the policy's own word
	KeyID     string            `json:"key_id,omitempty"`
	Identity  string            `json:"identity,omitempty"`
	Issuer    string            `json:"issuer,omitempty"`
	Serial    string            `json:"serial,omitempty"` // of the certificate, hex
	Claims    map[string]string `json:"claims,omitempty"` // of the certificate, by the words of trust.toml
	Predicate string            `json:"predicate"`
	Builder   string            `json:"builder,omitempty"` // SLSA provenance only
	Time      *time.Time        `json:"time,omitempty"`    // the earliest time that an authority attested, if the policy asks for one
	Times     []Attested        `json:"times,omitempty"`   // all of them
	Log       *LogEntry         `json:"log,omitempty"`     // where it stands in a transparency log, if the policy asks for one
}

// Attested is one authority's verified word for when a signature existed.
type Attested struct {
	By   string    `json:"by"` // timestamp (RFC 3161) or log (Rekor v1)
	URI  string    `json:"uri,omitempty"`
	Time time.Time `json:"time"`
}

// LogEntry is a place in a transparency log.
type LogEntry struct {
	ID         string     `json:"id"`               // hex
	Origin     string     `json:"origin,omitempty"` // the log's address in the trusted root
	Index      int64      `json:"index"`
	Integrated *time.Time `json:"integrated,omitempty"` // Rekor v1 only
}

// Rejection is one bundle that did not count, and why. KeyID, Identity, Issuer, Serial and Predicate are what the bundle
// claims, not what was verified.
type Rejection struct {
	Bundle    int    `json:"bundle"`
	Code      Reason `json:"code"`
	Reason    string `json:"reason"`
	KeyID     string `json:"key_id,omitempty"`
	Identity  string `json:"identity,omitempty"`
	Issuer    string `json:"issuer,omitempty"`
	Serial    string `json:"serial,omitempty"`
	Predicate string `json:"predicate,omitempty"`
}

// Unmet is one demand of the rule that the counted signatures do not satisfy.
type Unmet struct {
	Role      string   `json:"role,omitempty"`
	Predicate string   `json:"predicate"`
	Needed    int      `json:"needed"`
	Have      int      `json:"have"`
	Signers   []string `json:"signers"` // who may satisfy it
}

// Reason is the stable word for why a bundle did not count.
type Reason string

// The reasons, in the order in which a bundle meets them.
const (
	ReasonTooLarge        Reason = "too_large"        // more than MaxBundleSize
	ReasonMalformed       Reason = "malformed"        // not a bundle: syntax, depth, duplicate or unknown keys, broken parts
	ReasonMediaType       Reason = "media_type"       // another bundle version
	ReasonContent         Reason = "content"          // not a DSSE envelope
	ReasonPayloadType     Reason = "payload_type"     // the envelope holds no in-toto statement
	ReasonStatement       Reason = "statement"        // not an in-toto statement
	ReasonSubject         Reason = "subject"          // about another digest
	ReasonPredicate       Reason = "predicate"        // says something the rule does not ask for
	ReasonUnknownKey      Reason = "unknown_key"      // by no key of the policy
	ReasonUnknownIdentity Reason = "unknown_identity" // by no identity of the policy
	ReasonNotListed       Reason = "not_listed"       // by a signer of the policy whom the rule does not list
	ReasonTransparency    Reason = "tlog"             // not (enough) in a trusted log
	ReasonTimestamp       Reason = "timestamp"        // not (enough) attested in time
	ReasonCertificate     Reason = "certificate"      // not by a trusted authority, or not valid at the time
	ReasonSCT             Reason = "sct"              // the certificate is in no trusted certificate log
	ReasonSignature       Reason = "signature"        // the signature does not fit
	ReasonPeriod          Reason = "period"           // made before or after the policy trusts its signer
	ReasonBuilder         Reason = "builder"          // provenance of another builder
	ReasonDuplicate       Reason = "duplicate"        // its signer is counted already
)

// refusal is a Rejection before it is known whose.
type refusal struct {
	code Reason
	text string
}

func refuse(code Reason, format string, args ...any) *refusal {
	return &refusal{code: code, text: clean(fmt.Sprintf(format, args...))}
}

func (r *refusal) reject(n int, c *claim) Rejection {
	out := Rejection{Bundle: n, Code: r.code, Reason: r.text}
	if c != nil {
		out.KeyID, out.Identity, out.Issuer = c.who()
		out.Serial, out.Predicate = c.serial, clean(c.predicate)
	}
	return out
}

// who is the claimed signer, fit to be shown.
func (c *claim) who() (keyID, identity, issuer string) {
	if c.keyed {
		return clean(c.hint), "", ""
	}
	return "", clean(c.summary.SubjectAlternativeName), clean(c.summary.Issuer)
}
