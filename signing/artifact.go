package signing

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"slices"

	"github.com/arw-project/arw/abi"
	protocommon "github.com/sigstore/protobuf-specs/gen/pb-go/common/v1"
	"github.com/sigstore/sigstore-go/pkg/fulcio/certificate"
	"github.com/sigstore/sigstore-go/pkg/root"
	"github.com/sigstore/sigstore-go/pkg/verify"
)

// Expect says what a bundle has to prove about an artefact of any kind. Either Key, or Identity and Issuer together.
// Every number counts distinct authorities of the trusted root.
type Expect struct {
	TrustedRoot    []byte // trusted_root.json; may be missing for a key when TLog and Timestamps are 0
	Key            []byte // PEM "PUBLIC KEY"
	Identity       string // as in trust.toml: * stands for any run of characters but /
	Issuer         string // exact
	Predicate      string // the predicate type that must have been stated; empty: any, or a signature over the bare bytes
	Builder        string // the runDetails.builder.id that provenance must name; empty: any
	SCT            int
	TLog           int
	Timestamps     int
	IntegratedTime bool // a Rekor v1 log's own time counts as a timestamp
}

// Artifact is what was signed: data, or only its digest ("sha256:<64 hex>").
type Artifact struct {
	Data   io.ReadSeeker // nil: only the digest is known
	Digest string        // computed when there is data
}

// Proof is the answer about one bundle and one artefact. Its JSON form is specified in docs/spec/trust.md.
type Proof struct {
	Verified  bool       `json:"verified"`
	Artifact  string     `json:"artifact"` // sha256:…
	MediaType string     `json:"media_type,omitempty"`
	Signer    *Signer    `json:"signer,omitempty"`    // when verified
	Rejected  *Rejection `json:"rejection,omitempty"` // when not
}

// Checker verifies bundles offline against one Expect. It is immutable.
type Checker struct {
	expect Expect
	signer *signer
}

// NewChecker reads the key and the trusted root and refuses an Expect that could never be met, or that would accept
// anybody. Errors: Invalid.
func NewChecker(e Expect) (*Checker, error) {
	s := &signer{glob: e.Identity, proof: proof{sct: e.SCT, tlog: e.TLog, timestamps: e.Timestamps, integrated: e.IntegratedTime}}
	keyless := e.Identity != "" || e.Issuer != ""
	switch {
	case len(e.Key) > 0 && keyless:
		return nil, abi.Errorf(abi.Invalid, "verify: both a key and an identity are expected").WithHint("name one of the two")
	case len(e.Key) == 0 && (e.Identity == "" || e.Issuer == ""):
		return nil, abi.Errorf(abi.Invalid, "verify: nobody is expected").
			WithHint("name a key, or an identity and the issuer who vouches for it, both")
	}
	if len(e.TrustedRoot) > 0 {
		material, err := parseTrustedRoot(e.TrustedRoot)
		if err != nil {
			return nil, abi.Errorf(abi.Invalid, "read trusted root: %w", err).WithHint("it is Sigstore's trusted_root.json; arw trust root refresh fetches one")
		}
		s.material = material
	}
	if err := s.proof.possible(s.material); err != nil {
		return nil, err
	}
	if keyless {
		return s.identityChecker(e)
	}
	public, id, err := parsePublicKey(e.Key)
	if err == nil {
		s.material, err = keyMaterial(public, s.material)
	}
	if err != nil {
		return nil, abi.Errorf(abi.Invalid, "read public key: %w", err)
	}
	s.keyID, s.proof.sct = id, 0 // a bare key has no certificate to be logged
	return &Checker{e, s}, nil
}

func (s *signer) identityChecker(e Expect) (*Checker, error) {
	if s.material == nil {
		return nil, abi.Errorf(abi.Invalid, "verify identity %q: there is no trusted root to check its certificate with", clean(e.Identity)).
			WithHint("give a trusted_root.json")
	}
	if s.proof.timestamps == 0 {
		return nil, abi.Errorf(abi.Invalid, "verify identity %q: no time is asked for, and a certificate lives minutes", clean(e.Identity)).
			WithHint("ask for one timestamp")
	}
	if len(bytes.Trim([]byte(e.Identity), "*")) == 0 {
		return nil, abi.Errorf(abi.Invalid, "verify identity %q: that is anybody the issuer knows", clean(e.Identity)).
			WithHint("name at least a domain or a repository")
	}
	san, err := verify.NewSANMatcher("", globPattern(e.Identity))
	if err != nil {
		return nil, abi.Errorf(abi.Invalid, "verify identity %q: %w", clean(e.Identity), err)
	}
	identity, err := verify.NewCertificateIdentity(san, verify.IssuerMatcher{Issuer: e.Issuer}, certificate.Extensions{})
	if err != nil {
		return nil, abi.Errorf(abi.Invalid, "verify identity %q: %w", clean(e.Identity), err)
	}
	s.identity = &identity
	return &Checker{e, s}, nil
}

// possible refuses numbers that a root can never reach.
func (p proof) possible(m root.TrustedMaterial) error {
	for _, n := range []int{p.sct, p.tlog, p.timestamps} {
		if n < 0 || n > maxThreshold {
			return abi.Errorf(abi.Invalid, "verify: a threshold of %d", n).WithHint("it is a number from 0 to %d", maxThreshold)
		}
	}
	if m == nil {
		if p.tlog > 0 || p.timestamps > 0 {
			return abi.Errorf(abi.Invalid, "verify: log entries or timestamps are expected, and there is no trusted root to check them with").
				WithHint("give a trusted_root.json, or accept that nothing shows the signature was logged: 0 log entries and 0 timestamps")
		}
		return nil
	}
	for _, need := range p.needs(m) {
		if need.want > need.have {
			return abi.Errorf(abi.Invalid, "verify: %d %s wanted, the trusted root knows %d", need.want, need.what, need.have).
				WithHint("lower the number if you accept that, or use a trusted root that has them")
		}
	}
	return nil
}

// Check verifies a bundle over an artefact. It never dials. The proof is never nil unless the artefact itself cannot be
// read, and is also the Detail of the error that says no. Errors: Untrusted (the bundle does not prove what is expected;
// the proof's rejection has the reason), Invalid, Unavailable (the artefact cannot be read).
func (c *Checker) Check(ctx context.Context, a Artifact, data []byte) (*Proof, error) {
	sum, err := a.sum(ctx)
	if err != nil {
		return nil, err
	}
	out := &Proof{Artifact: "sha256:" + sum}
	claim, r := c.read(data, sum)
	if claim != nil {
		out.MediaType = claim.bundle.GetMediaType()
	}
	if r == nil {
		out.Signer, r = c.prove(claim, a, sum)
	}
	if r == nil {
		out.Verified = true
		return out, nil
	}
	rejection := r.reject(0, claim)
	out.Rejected = &rejection
	return out, abi.Errorf(abi.Untrusted, "verify %s: %s: %s", out.Artifact, r.code, r.text).WithDetail(out)
}

// read turns a bundle into a claim; a fault in a parser is a refusal, as in Policy.Judge. The claim may stand beside a
// refusal, to say whose it claims to be.
func (c *Checker) read(data []byte, sum string) (out *claim, r *refusal) {
	defer func() {
		if fault := recover(); fault != nil {
			r = refuse(ReasonMalformed, "reading it failed: %v", fault)
		}
	}()
	out, r = readBundle(data)
	if r != nil {
		return nil, r
	}
	if r := out.readSigner(); r != nil {
		return nil, r
	}
	return out, out.readAny(sum)
}

// readAny is readStatement for artefacts that are no packs: a bare signature will do, and subjects may be named by other
// hashes, which the library compares.
func (c *claim) readAny(sum string) *refusal {
	content, err := c.bundle.SignatureContent()
	if err != nil {
		return refuse(ReasonMalformed, "%v", err)
	}
	if envelope := content.EnvelopeContent(); envelope != nil {
		return c.readEnvelope(envelope, sum, false)
	}
	digest := c.bundle.GetMessageSignature().GetMessageDigest()
	if digest.GetAlgorithm() == protocommon.HashAlgorithm_SHA2_256 && hex.EncodeToString(digest.GetDigest()) != sum {
		return refuse(ReasonSubject, "it is about sha256:%x, not this artefact", digest.GetDigest())
	}
	return nil
}

func (c *Checker) prove(claim *claim, a Artifact, sum string) (found *Signer, r *refusal) {
	defer func() {
		if fault := recover(); fault != nil {
			found, r = nil, refuse(ReasonMalformed, "checking it failed: %v", fault)
		}
	}()
	if want := c.expect.Predicate; want != "" && claim.predicate != want {
		return nil, refuse(ReasonPredicate, "it says %q, expected is %q", clean(claim.predicate), want)
	}
	if r := c.isBy(claim); r != nil {
		return nil, r
	}
	result, r := c.signer.check(claim, a.subject(sum))
	if r != nil && claim.keyed && isKeyID(claim.hint) && claim.hint != c.signer.keyID {
		// Whatever step failed, the cause is that another key signed.
		return nil, refuse(ReasonUnknownKey, "signed by key %q, expected is key %q", claim.hint, c.signer.keyID)
	}
	if r != nil {
		return nil, r
	}
	if want := c.expect.Builder; want != "" && claim.builder != want {
		return nil, refuse(ReasonBuilder, "built by %q, expected is %q", clean(claim.builder), want)
	}
	return c.signer.found(claim, result), nil
}

// isBy compares who a bundle claims to be by with who is expected.
func (c *Checker) isBy(claim *claim) *refusal {
	s := c.signer
	switch {
	case claim.keyed && s.identity != nil:
		return refuse(ReasonUnknownKey, "signed by key %q, expected is identity %q", clean(claim.hint), s.glob)
	case !claim.keyed && s.identity == nil:
		_, identity, issuer := claim.who()
		return refuse(ReasonUnknownIdentity, "signed by %q of %q, expected is key %q", identity, issuer, s.keyID)
	case s.identity == nil:
		return nil // a hint is advice: the signature will tell
	}
	if s.identity.Verify(claim.summary) == nil {
		return nil
	}
	_, identity, issuer := claim.who()
	return refuse(ReasonUnknownIdentity, "signed by %q of %q, expected is %q of %q", identity, issuer, s.glob, c.expect.Issuer)
}

// sum is the artefact's sha256 in hex.
func (a Artifact) sum(ctx context.Context) (string, error) {
	if a.Data == nil {
		return parseDigest(a.Digest)
	}
	h := sha256.New()
	if _, err := a.Data.Seek(0, io.SeekStart); err != nil {
		return "", abi.Errorf(abi.Unavailable, "read artefact: %w", err)
	}
	if _, err := io.Copy(h, contextReader{ctx, a.Data}); err != nil {
		return "", abi.Errorf(abi.Unavailable, "read artefact: %w", err)
	}
	return hex.EncodeToString(h.Sum(nil)), nil
}

func (a Artifact) subject(sum string) subjectOf {
	if a.Data == nil {
		digest, _ := hex.DecodeString(sum) // parseDigest has seen that it is hex
		return digestSubject(digest)
	}
	return func() (verify.ArtifactPolicyOption, error) {
		_, err := a.Data.Seek(0, io.SeekStart)
		return verify.WithArtifact(a.Data), err
	}
}

// contextReader ends a long read when its context ends.
type contextReader struct {
	ctx context.Context
	r   io.Reader
}

func (r contextReader) Read(p []byte) (int, error) {
	if err := r.ctx.Err(); err != nil {
		return 0, err
	}
	return r.r.Read(p)
}

// checkSubjects wants the digest among the subjects' sha256 digests. With strict false, subjects that name no sha256 are
// left to the library.
func checkSubjects(subjects []map[string]json.RawMessage, sum string, strict bool) *refusal {
	if len(subjects) > maxSubjects {
		return refuse(ReasonStatement, "%d subjects, at most %d", len(subjects), maxSubjects)
	}
	var seen []string
	for _, s := range subjects {
		digest, err := digestsOf(s)
		if err != nil {
			return refuse(ReasonStatement, "%v", err)
		}
		if value, named := digest["sha256"]; named || strict {
			seen = append(seen, value)
		}
	}
	switch {
	case slices.Contains(seen, sum), !strict && len(seen) < len(subjects):
		return nil
	case len(seen) == 0:
		return refuse(ReasonSubject, "the statement names no subject")
	}
	return refuse(ReasonSubject, "it is about sha256:%s, not this digest", clean(seen[0]))
}

func digestsOf(subject map[string]json.RawMessage) (map[string]string, error) {
	var digest map[string]string
	if err := json.Unmarshal(subject["digest"], &digest); err != nil {
		return nil, errors.New("a subject without a digest")
	}
	if digest == nil {
		return nil, fmt.Errorf("a subject with the digest null")
	}
	return digest, nil
}
