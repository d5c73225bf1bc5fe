package signing

import (
	"fmt"
	"time"
)

// Verdict is a decision and everything that led to it: every bundle that was given stands either in Signers or in
// Rejected. Its JSON form is specified in docs/spec/trust.md. Text in it that a bundle wrote is made printable and short.
type Verdict struct {
	Allowed      bool        `json:"allowed"`
	Pack         string      `json:"pack"`
	Digest       string      `json:"digest"`
	Rule         string      `json:"rule,omitempty"` // the pattern of the one rule that applies; empty: no rule covers the pack
	Needed       int         `json:"needed"`         // distinct signers the rule wants for its own predicate
	Signers      []Signer    `json:"signers"`        // counted, in the order of the bundles
	Rejected     []Rejection `json:"rejected"`       // not counted, in the order of the bundles
	Unmet        []Unmet     `json:"unmet,omitempty"`
	PolicyDigest string      `json:"policy_digest"`
}

// Signer is one signature that counted.
type Signer struct {
	Bundle    int        `json:"bundle"` // index into the bundles that were given
	Name      string     `json:"name"`   // the signer's name in trust.toml
	KeyID     string     `json:"key_id,omitempty"`
	Identity  string     `json:"identity,omitempty"`
	Issuer    string     `json:"issuer,omitempty"`
	Predicate string     `json:"predicate"`
	Time      *time.Time `json:"time,omitempty"` // the earliest time that an authority attested, if the policy asks for one
	Log       *LogEntry  `json:"log,omitempty"`  // where it stands in a transparency log, if the policy asks for one
}

// LogEntry is a place in a transparency log.
type LogEntry struct {
	ID    string `json:"id"` // hex
	Index int64  `json:"index"`
}

// Rejection is one bundle that did not count, and why. KeyID, Identity and Issuer are what the bundle claims, not what
// was verified.
type Rejection struct {
	Bundle   int    `json:"bundle"`
	Code     Reason `json:"code"`
	Reason   string `json:"reason"`
	KeyID    string `json:"key_id,omitempty"`
	Identity string `json:"identity,omitempty"`
	Issuer   string `json:"issuer,omitempty"`
}

// Unmet is one demand of the rule that the counted signatures do not satisfy.
type Unmet struct {
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
