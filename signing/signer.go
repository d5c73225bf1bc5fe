package signing

import (
	"bytes"
	"crypto"
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/rsa"
	"crypto/x509"
	"encoding/pem"
	"fmt"
	"regexp"
	"strings"
	"time"

	"github.com/sigstore/sigstore-go/pkg/root"
	"github.com/sigstore/sigstore-go/pkg/verify"
	"github.com/sigstore/sigstore/pkg/signature"
)

// signer is one [signer.x] of a trust policy, resolved: who it is and what proof its signatures need. Immutable.
type signer struct {
	name     string
	keyID    string                      // a key signer
	identity *verify.CertificateIdentity // a keyless signer
	glob     string                      // its identity as the policy writes it
	material root.TrustedMaterial
	proof    proof
	from     time.Time // what it signed before counts for nothing; zero: no bound
	until    time.Time // nor what it signed after
}

// proof is how much evidence a signature must bring beside itself; every number counts distinct authorities.
type proof struct {
	sct, tlog, timestamps int
	integrated            bool // a log's own word for the time counts as a timestamp (Rekor v1)
}

// options translates proof for the library. Only a bare key may do without a time.
func (p proof) options() []verify.VerifierOption {
	opts := []verify.VerifierOption{verify.WithoutStatementPredicate()}
	if p.tlog > 0 {
		opts = append(opts, verify.WithTransparencyLog(p.tlog))
	}
	if p.sct > 0 {
		opts = append(opts, verify.WithSignedCertificateTimestamps(p.sct))
	}
	switch {
	case p.timestamps == 0:
		return append(opts, verify.WithNoObserverTimestamps())
	case p.integrated:
		return append(opts, verify.WithObserverTimestamps(p.timestamps))
	}
	return append(opts, verify.WithSignedTimestamps(p.timestamps))
}

// keyMaterial trusts one public key, whatever hint a bundle gives, beside what base trusts (nil: nothing).
func keyMaterial(public crypto.PublicKey, base root.TrustedMaterial) (root.TrustedMaterial, error) {
	verifier, err := signature.LoadDefaultVerifier(public)
	if err != nil {
		return nil, err
	}
	always := root.NewExpiringKey(verifier, time.Time{}, time.Time{})
	only := root.NewTrustedPublicKeyMaterial(func(string) (root.TimeConstrainedVerifier, error) { return always, nil })
	if base == nil {
		return only, nil
	}
	return root.TrustedMaterialCollection{only, base}, nil
}

// parsePublicKey reads the one PEM block "PUBLIC KEY" of a file and names the key.
func parsePublicKey(text []byte) (crypto.PublicKey, string, error) {
	block, rest := pem.Decode(text)
	if block == nil {
		return nil, "", fmt.Errorf("there is no PEM block in it")
	}
	if strings.HasSuffix(block.Type, "PRIVATE KEY") {
		return nil, "", fmt.Errorf("it is a private key; a trust policy names public keys only")
	}
	if block.Type != pemPublic || len(bytes.TrimSpace(rest)) > 0 {
		return nil, "", fmt.Errorf("it is not one PEM block %q", pemPublic)
	}
	public, err := x509.ParsePKIXPublicKey(block.Bytes)
	if err != nil {
		return nil, "", fmt.Errorf("%s", clean(err.Error()))
	}
	switch k := public.(type) {
	case *ecdsa.PublicKey:
		if k.Curve.Params().BitSize < 256 {
			return nil, "", fmt.Errorf("%s is too weak", kindOf(public))
		}
	case *rsa.PublicKey:
		if bits := k.N.BitLen(); bits != 2048 && bits != 3072 && bits != 4096 {
			return nil, "", fmt.Errorf("%s is not of 2048, 3072 or 4096 bits", kindOf(public))
		}
	case ed25519.PublicKey:
	default:
		return nil, "", fmt.Errorf("%s keys do not sign packs", kindOf(public))
	}
	// Encoded anew rather than taken from the block, so that one key has one name however its file spells it.
	spki, err := x509.MarshalPKIXPublicKey(public)
	if err != nil {
		return nil, "", fmt.Errorf("%s", clean(err.Error()))
	}
	return public, keyID(spki), nil
}

// globPattern anchors an identity glob: * stands for any run of characters but "/", everything else for itself.
func globPattern(glob string) string {
	parts := strings.Split(glob, "*")
	for i := range parts {
		parts[i] = regexp.QuoteMeta(parts[i])
	}
	return `\A` + strings.Join(parts, `[^/]*`) + `\z`
}

// subjectOf makes the library's option for what was signed; a function, because a reader can be read only once.
type subjectOf func() (verify.ArtifactPolicyOption, error)

// digestSubject is the subject a policy judges: a sha256 digest.
func digestSubject(digest []byte) subjectOf {
	return func() (verify.ArtifactPolicyOption, error) { return verify.WithArtifactDigest("sha256", digest), nil }
}

// check verifies a bundle as this signer's: proofs, certificate, signature, subject, identity, all offline.
func (s *signer) check(c *claim, what subjectOf) (*verify.VerificationResult, *refusal) {
	result, r := s.checkWith(s.material, c, what)
	if r != nil || s.proof.tlog == 0 {
		return result, r
	}
	// The library ignores the end of a Rekor v2 log's validity, because such entries carry no time. The verified
	// timestamps are the time, so a second look trusts only the logs that were in service then.
	if live := inService(s.material, result.VerifiedTimestamps); live != nil {
		return s.checkWith(live, c, what)
	}
	return result, nil
}

func (s *signer) checkWith(material root.TrustedMaterial, c *claim, what subjectOf) (*verify.VerificationResult, *refusal) {
	verifier, err := verify.NewVerifier(material, s.proof.options()...)
	if err != nil {
		return nil, refuse(ReasonSignature, "%v", err)
	}
	who := verify.WithKey()
	if s.identity != nil {
		who = verify.WithCertificateIdentity(*s.identity)
	}
	subject, err := what()
	if err != nil {
		return nil, refuse(ReasonSubject, "read it: %v", err)
	}
	result, err := verifier.Verify(c.bundle, verify.NewPolicy(subject, who))
	if err != nil {
		code := s.diagnose(verifier, material, c)
		// The library formats an absent cause so; it is noise.
		said := strings.TrimSuffix(err.Error(), "; error: %!w(<nil>)")
		return nil, refuse(code, "%s%s (%s)", s.label(), s.proof.lacks(code), clean(said))
	}
	return result, nil
}

// label begins a message about a signer that has a name.
func (s *signer) label() string {
	if s.name == "" {
		return ""
	}
	return fmt.Sprintf("signer %q: ", s.name)
}

// lacks says in words what a failed step means.
func (p proof) lacks(code Reason) string {
	switch code {
	case ReasonTransparency:
		return fmt.Sprintf("no good proof from %d of the root's transparency logs", p.tlog)
	case ReasonTimestamp:
		return fmt.Sprintf("no good time from %d of the root's timestamp authorities", p.timestamps)
	case ReasonCertificate:
		return "its certificate is not from the root's authority, or was not valid when it signed"
	case ReasonSCT:
		return fmt.Sprintf("its certificate is not in %d of the root's certificate logs", p.sct)
	}
	return "the signature does not fit"
}

// diagnose finds which step of a failed verification failed, by taking the steps one by one in the library's order: its
// errors are prose, and a stable code must not hang on prose.
func (s *signer) diagnose(verifier *verify.Verifier, material root.TrustedMaterial, c *claim) Reason {
	logged, err := verifier.VerifyTransparencyLogInclusion(c.bundle)
	if err != nil {
		return ReasonTransparency
	}
	times, err := verifier.VerifyObserverTimestamps(c.bundle, logged)
	if err != nil {
		return ReasonTimestamp
	}
	content, err := c.bundle.VerificationContent()
	if err != nil || content.Certificate() == nil {
		return ReasonSignature
	}
	for _, t := range times {
		chains, err := verify.VerifyLeafCertificate(t.Timestamp, content.Certificate(), material)
		if err != nil {
			return ReasonCertificate
		}
		if s.proof.sct > 0 && verify.VerifySignedCertificateTimestamp(chains, s.proof.sct, material) != nil {
			return ReasonSCT
		}
	}
	return ReasonSignature
}

// servingLogs is trusted material less the logs that were out of service.
type servingLogs struct {
	root.TrustedMaterial
	logs map[string]*root.TransparencyLog
}

func (m servingLogs) RekorLogs() map[string]*root.TransparencyLog { return m.logs }

// inService returns the material without the logs whose validity does not cover every given time (the present, when
// there is none); nil when that changes nothing.
func inService(material root.TrustedMaterial, times []verify.TimestampVerificationResult) root.TrustedMaterial {
	if len(times) == 0 {
		times = []verify.TimestampVerificationResult{{Timestamp: time.Now()}}
	}
	all := material.RekorLogs()
	live := make(map[string]*root.TransparencyLog, len(all))
	for id, log := range all {
		covers := true
		for _, t := range times {
			covers = covers && !t.Timestamp.Before(log.ValidityPeriodStart) &&
				(log.ValidityPeriodEnd.IsZero() || !t.Timestamp.After(log.ValidityPeriodEnd))
		}
		if covers {
			live[id] = log
		}
	}
	if len(live) == len(all) {
		return nil
	}
	return servingLogs{material, live}
}
