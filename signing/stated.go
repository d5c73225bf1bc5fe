package signing

import (
	"bytes"
	"context"
	"encoding/json"
)

// Stated reports whether a bundle is what Attest would make again: this very statement about the digest, signed by the key.
// Anything that cannot be read or verified is not.
func (k *Key) Stated(ctx context.Context, manifestDigest, predicateType string, predicate json.RawMessage, bundle []byte) bool {
	c, err := NewChecker(Expect{Key: k.publicPEM, Predicate: predicateType})
	if err != nil {
		return false
	}
	if _, err := c.Check(ctx, Artifact{Digest: manifestDigest}, bundle); err != nil {
		return false
	}
	var b struct {
		Envelope struct {
			Payload []byte `json:"payload"`
		} `json:"dsseEnvelope"`
	}
	var was struct {
		Predicate json.RawMessage `json:"predicate"`
	}
	if json.Unmarshal(bundle, &b) != nil || json.Unmarshal(b.Envelope.Payload, &was) != nil {
		return false
	}
	var before, now bytes.Buffer
	return json.Compact(&before, was.Predicate) == nil && json.Compact(&now, predicate) == nil && bytes.Equal(before.Bytes(), now.Bytes())
}
