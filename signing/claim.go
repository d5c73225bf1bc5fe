package signing

import (
	"crypto/x509"
	"encoding/json"
	"errors"
	"fmt"

	"github.com/sigstore/sigstore-go/pkg/bundle"
	"github.com/sigstore/sigstore-go/pkg/fulcio/certificate"
	"github.com/sigstore/sigstore-go/pkg/verify"
)

// The limits of a bundle, applied before anything parses it.
const (
	MaxBundles    = 64      // on one digest
	MaxBundleSize = 1 << 20 // bytes of JSON
	maxSubjects   = 1024
)

// claim is what a bundle says of itself: parsed strictly, not yet verified. Exactly one of hint's world (a bare key) and
// summary (a certificate) applies.
type claim struct {
	bundle    *bundle.Bundle
	predicate string
	builder   string // SLSA provenance v1 only
	keyed     bool
	hint      string
	summary   certificate.Summary
	serial    string // of the certificate
}

// parseClaim reads one bundle and checks everything that needs no key: size, strictness, media type, content, payload
// type, statement and subject.
func parseClaim(data []byte, sum string) (*claim, *refusal) {
	c, r := readBundle(data)
	if r != nil {
		return nil, r
	}
	if c.bundle.MediaType != BundleMediaType {
		return nil, refuse(ReasonMediaType, "media type %q is not %s", clean(c.bundle.MediaType), BundleMediaType)
	}
	if r := c.readStatement(sum); r != nil {
		return nil, r
	}
	if r := c.readSigner(); r != nil {
		return nil, r
	}
	return c, nil
}

// readBundle reads a bundle of any version the library knows, and nothing that is in it.
func readBundle(data []byte) (*claim, *refusal) {
	if len(data) > MaxBundleSize {
		return nil, refuse(ReasonTooLarge, "%d bytes, a bundle has at most %d", len(data), MaxBundleSize)
	}
	if err := checkJSON(data); err != nil {
		return nil, refuse(ReasonMalformed, "%v", err)
	}
	b := new(bundle.Bundle)
	if err := b.UnmarshalJSON(data); errors.Is(err, bundle.ErrUnsupportedMediaType) {
		return nil, refuse(ReasonMediaType, "media type %q is not %s", clean(b.GetMediaType()), BundleMediaType)
	} else if err != nil {
		return nil, refuse(ReasonMalformed, "%v", err)
	}
	return &claim{bundle: b}, nil
}

// readSigner takes what the bundle says about who signed it: a key hint or a certificate.
func (c *claim) readSigner() *refusal {
	content, err := c.bundle.VerificationContent()
	if err != nil {
		return refuse(ReasonMalformed, "%v", err)
	}
	if key := content.PublicKey(); key != nil {
		c.keyed, c.hint = true, key.Hint()
		return nil
	}
	return c.readCertificate(content.Certificate())
}

func (c *claim) readCertificate(cert *x509.Certificate) *refusal {
	summary, err := certificate.SummarizeCertificate(cert)
	if err != nil {
		return refuse(ReasonMalformed, "certificate: %v", err)
	}
	c.summary, c.serial = summary, clean(cert.SerialNumber.Text(16))
	return nil
}

// claimsOf lists what a certificate says besides its subject, as far as a policy could pin it.
func claimsOf(in certificate.Extensions) map[string]string {
	out := map[string]string{}
	for name, field := range claimFields {
		if text := *field(&in); text != "" {
			out[name] = clean(text)
		}
	}
	if len(out) == 0 {
		return nil
	}
	return out
}

// readStatement checks the envelope and its in-toto statement. The library reads statements leniently (keys in any case,
// the last of two wins, no look at the predicate type); here a key is a key, and an unknown one is refused.
func (c *claim) readStatement(sum string) *refusal {
	content, err := c.bundle.SignatureContent()
	if err != nil {
		return refuse(ReasonMalformed, "%v", err)
	}
	if content.EnvelopeContent() == nil {
		return refuse(ReasonContent, "it signs bytes, not a statement: a DSSE envelope is expected")
	}
	return c.readEnvelope(content.EnvelopeContent(), sum, true)
}

func (c *claim) readEnvelope(content verify.EnvelopeContent, sum string, strict bool) *refusal {
	envelope := content.RawEnvelope()
	if envelope.PayloadType != PayloadType {
		return refuse(ReasonPayloadType, "payload type %q is not %s", clean(envelope.PayloadType), PayloadType)
	}
	if n := len(envelope.Signatures); n != 1 {
		return refuse(ReasonMalformed, "the envelope holds %d signatures, not one", n)
	}
	payload, err := envelope.DecodeB64Payload()
	if err != nil {
		return refuse(ReasonMalformed, "payload: %v", err)
	}
	if err := checkJSON(payload); err != nil {
		return refuse(ReasonStatement, "the statement: %v", err)
	}
	var top struct {
		kind, predicateType string
		subjects            []map[string]json.RawMessage
		predicate           json.RawMessage
	}
	err = fields(payload, map[string]any{
		"_type": &top.kind, "predicateType": &top.predicateType, "subject": &top.subjects, "predicate": &top.predicate,
	})
	if err != nil {
		return refuse(ReasonStatement, "the statement: %v", err)
	}
	if top.kind != statementType && top.kind != statementTypeV0 {
		return refuse(ReasonStatement, "statement type %q is not %s", clean(top.kind), statementType)
	}
	c.predicate = top.predicateType
	if top.predicateType == PredicateProvenance {
		c.builder = builderOf(top.predicate)
	}
	return checkSubjects(top.subjects, sum, strict)
}

// fields decodes a JSON object whose keys must all be known; a key that is absent leaves its target alone.
func fields(data []byte, into map[string]any) error {
	var raw map[string]json.RawMessage
	if err := json.Unmarshal(data, &raw); err != nil {
		return errNotObject
	}
	for key, value := range raw {
		target, known := into[key]
		if !known {
			return fmt.Errorf("unknown key %q", clean(key))
		}
		if err := json.Unmarshal(value, target); err != nil {
			return fmt.Errorf("key %q has the wrong type", key)
		}
	}
	return nil
}

// builderOf reads runDetails.builder.id of SLSA provenance v1; empty when there is none.
func builderOf(predicate json.RawMessage) string {
	id := predicate
	for _, key := range []string{"runDetails", "builder", "id"} {
		var object map[string]json.RawMessage
		if json.Unmarshal(id, &object) != nil {
			return ""
		}
		id = object[key]
	}
	var text string
	if json.Unmarshal(id, &text) != nil {
		return ""
	}
	return text
}
