// Package capsule keeps one promise: a guard-rail that a trusted issuer signed holds on this host from its adoption until its
// lease ends, everywhere, above every policy and every lease. A capsule can only deny.
//
// A capsule is read from one form (RFC 8785 gives its signed bytes), its issuer stands in capsules.toml, Cedar decides whether
// it is adopted, and a ledger says what became of it. The normative text is docs/spec/capsule.md.
//
// A Book is safe for concurrent use. Its goroutine belongs to Run.
package capsule

import (
	"bytes"
	"crypto"
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/sha256"
	"encoding/base64"
	"encoding/hex"
	"encoding/json"
	"regexp"
	"slices"
	"time"

	"github.com/arw-project/arw/abi"
	"github.com/arw-project/arw/manifests"
)

// Bounds of a capsule.
const (
	MaxSize   = 16 << 10            // of an envelope, in bytes
	MaxDenies = 64                  // patterns
	MaxHops   = 16                  // of hop_ttl
	MaxLease  = 90 * 24 * time.Hour // from issued_at to lease_until
	Skew      = 5 * time.Minute     // how far in the future issued_at may lie
)

// Propagations are who a node may hand a capsule on to.
var Propagations = []string{"none", "children", "peers", "all"}

// Capsule is what an issuer signs. Times are UTC in whole seconds.
type Capsule struct {
	ID          string    `json:"id"`
	Version     int64     `json:"version"` // from 1; a later one takes the place of an earlier one
	Issuer      string    `json:"issuer"`
	IssuedAt    time.Time `json:"issued_at"`
	LeaseUntil  time.Time `json:"lease_until"`
	RenewWithin int64     `json:"renew_within_ms"` // before lease_until, when a renewal is due
	HopTTL      int       `json:"hop_ttl"`         // how many nodes may adopt it along one path
	Propagate   string    `json:"propagate"`
	Denies      []string  `json:"denies"`
}

// Envelope is a capsule on its way: the signature covers the capsule, the path is written by the nodes that handed it on.
type Envelope struct {
	Capsule   Capsule  `json:"capsule"`
	Signature string   `json:"signature,omitempty"` // base64; absent before Sign
	Path      []string `json:"path,omitempty"`      // node ids, the first one first
}

var idForm = regexp.MustCompile(`^[a-z0-9][a-z0-9._-]{0,62}$`)

// Parse reads an envelope, raw or as base64 (the form of the header). There is one spelling of every value: what is unknown,
// doubled, missing or spelt otherwise is refused. Errors: Invalid, TooLarge.
func Parse(text []byte) (*Envelope, error) {
	text = bytes.TrimSpace(text)
	if len(text) > MaxSize*4/3+4 {
		return nil, abi.Errorf(abi.TooLarge, "read capsule: %d bytes, the limit is %d", len(text), MaxSize)
	}
	if len(text) > 0 && text[0] != '{' {
		raw, err := base64.StdEncoding.Strict().DecodeString(string(text))
		if err != nil {
			return nil, abi.Errorf(abi.Invalid, "read capsule: it is neither a JSON object nor base64 of one")
		}
		text = raw
	}
	if len(text) > MaxSize {
		return nil, abi.Errorf(abi.TooLarge, "read capsule: %d bytes, the limit is %d", len(text), MaxSize)
	}
	given, err := manifests.CanonicalJSON(text)
	if err != nil {
		return nil, abi.Errorf(abi.Invalid, "read capsule: %w", err)
	}
	var e Envelope
	dec := json.NewDecoder(bytes.NewReader(given))
	dec.DisallowUnknownFields()
	if err := dec.Decode(&e); err != nil {
		return nil, abi.Errorf(abi.Invalid, "read capsule: %w", err)
	}
	again, err := canonical(e)
	if err != nil {
		return nil, err
	}
	// Go reads field names in any case and fills what is missing: what does not come out as it went in was not this form.
	if !bytes.Equal(given, again) {
		return nil, abi.Errorf(abi.Invalid, "read capsule: a field is missing, empty or not in its one spelling").
			WithHint("`arw capsule create` writes the form; docs/spec/capsule.md describes it")
	}
	return &e, e.check()
}

func canonical(v any) ([]byte, error) {
	raw, err := json.Marshal(v)
	if err != nil {
		return nil, abi.Errorf(abi.Invalid, "encode capsule: %w", err)
	}
	return manifests.CanonicalJSON(raw)
}

// check holds a capsule to its own bounds; it knows neither clock nor issuers.
func (e *Envelope) check() error {
	c := &e.Capsule
	wrong := func(format string, args ...any) error {
		return abi.Errorf(abi.Invalid, "read capsule %.80q: "+format, append([]any{c.ID}, args...)...)
	}
	switch {
	case !idForm.MatchString(c.ID):
		return wrong("an id has 1 to 63 of a-z, 0-9 and, not at the beginning, . _ -")
	case !idForm.MatchString(c.Issuer):
		return wrong("the issuer %.80q is no id", c.Issuer)
	case c.Version < 1:
		return wrong("version %d is less than 1", c.Version)
	case !plain(c.IssuedAt) || !plain(c.LeaseUntil):
		return wrong("times are UTC in whole seconds")
	case !c.LeaseUntil.After(c.IssuedAt) || c.LeaseUntil.Sub(c.IssuedAt) > MaxLease:
		return wrong("lease_until lies after issued_at, by at most %d days", MaxLease/(24*time.Hour))
	case c.RenewWithin < 0 || c.RenewWithin > c.LeaseUntil.Sub(c.IssuedAt).Milliseconds():
		return wrong("renew_within_ms %d does not lie within the lease", c.RenewWithin)
	case c.HopTTL < 1 || c.HopTTL > MaxHops:
		return wrong("hop_ttl %d is none of 1 to %d", c.HopTTL, MaxHops)
	case !slices.Contains(Propagations, c.Propagate):
		return wrong("propagate %.40q is none of none, children, peers and all", c.Propagate)
	case len(c.Denies) < 1 || len(c.Denies) > MaxDenies:
		return wrong("it denies %d patterns, not 1 to %d", len(c.Denies), MaxDenies)
	case len(e.Path) > MaxHops:
		return wrong("its path has more than %d nodes", MaxHops)
	}
	for i, d := range c.Denies {
		if err := checkPattern(d); err != nil {
			return wrong("%w", err)
		}
		if slices.Contains(c.Denies[:i], d) {
			return wrong("it denies %q twice", d)
		}
	}
	for i, n := range e.Path {
		if !idForm.MatchString(n) || slices.Contains(e.Path[:i], n) {
			return wrong("its path does not name nodes, each once")
		}
	}
	return nil
}

func plain(t time.Time) bool {
	_, off := t.Zone()
	return off == 0 && t.Nanosecond() == 0 && t.Year() >= 2000 && t.Year() < 10000
}

// signed is what a signature covers. The first line keeps it from being a signature over anything else.
func (c *Capsule) signed() ([]byte, error) {
	body, err := canonical(c)
	return append([]byte("arw policy capsule v1\n"), body...), err
}

// Fingerprint names the signed content: "sha256:" and the digest of what a signature covers.
func (c *Capsule) Fingerprint() string {
	msg, _ := c.signed() // a parsed capsule always marshals
	sum := sha256.Sum256(msg)
	return "sha256:" + hex.EncodeToString(sum[:])
}

// Sign makes the envelope of a capsule. The key is Ed25519 or ECDSA P-256 (as signing.Key's Signer is). Errors: Invalid,
// Unsupported.
func Sign(c Capsule, key crypto.Signer) (*Envelope, error) {
	e := &Envelope{Capsule: c}
	if err := e.check(); err != nil {
		return nil, err
	}
	msg, err := c.signed()
	if err != nil {
		return nil, err
	}
	var sig []byte
	switch public := key.Public().(type) {
	case ed25519.PublicKey:
		sig, err = key.Sign(rand.Reader, msg, crypto.Hash(0))
	case *ecdsa.PublicKey:
		if public.Curve != elliptic.P256() {
			return nil, abi.Errorf(abi.Unsupported, "sign capsule %q: the key is not on P-256", c.ID)
		}
		sum := sha256.Sum256(msg)
		sig, err = key.Sign(rand.Reader, sum[:], crypto.SHA256)
	default:
		return nil, abi.Errorf(abi.Unsupported, "sign capsule %q: the key is neither Ed25519 nor ECDSA P-256", c.ID)
	}
	if err != nil {
		return nil, abi.Errorf(abi.Unavailable, "sign capsule %q: %w", c.ID, err)
	}
	e.Signature = base64.StdEncoding.EncodeToString(sig)
	return e, nil
}

// Encode is the envelope in its canonical form.
func (e *Envelope) Encode() ([]byte, error) { return canonical(e) }

// Left is how many further nodes may adopt the envelope once a node has adopted it as it stands; negative when that one may not.
func (e *Envelope) Left() int { return e.Capsule.HopTTL - len(e.Path) - 1 }

// The other node, as the one that hands a capsule on knows it.
const (
	Child = "child"
	Peer  = "peer"
)

// Forward is the envelope that a node hands on to a child or a peer: the path has grown by the node. Errors: Denied; Invalid for another word.
func (e *Envelope) Forward(node, to string) (*Envelope, error) {
	only := map[string]string{"children": Child, "peers": Peer}[e.Capsule.Propagate]
	switch {
	case to != Child && to != Peer:
		return nil, abi.Errorf(abi.Invalid, "forward capsule %q: the other node is a child or a peer, not %.40q", e.Capsule.ID, to)
	case only != "" && only != to:
		return nil, abi.Errorf(abi.Denied, "forward capsule %q to a %s: its issuer lets it go to %s alone", e.Capsule.ID, to, e.Capsule.Propagate)
	case e.Capsule.Propagate == "none":
		return nil, abi.Errorf(abi.Denied, "forward capsule %q: its issuer lets it go no further (propagate none)", e.Capsule.ID)
	case e.Left() < 1:
		return nil, abi.Errorf(abi.Denied, "forward capsule %q: its %d hops are used up", e.Capsule.ID, e.Capsule.HopTTL)
	}
	out := *e
	out.Path = append(slices.Clone(e.Path), node)
	return &out, nil
}
