package signing_test

import (
	"bytes"
	"context"
	"crypto"
	"encoding/base64"
	"encoding/hex"
	"encoding/json"

	"github.com/cyberphone/json-canonicalization/go/src/webpki.org/jsoncanonicalizer"
	protobundle "github.com/sigstore/protobuf-specs/gen/pb-go/bundle/v1"
	protocommon "github.com/sigstore/protobuf-specs/gen/pb-go/common/v1"
	protorekor "github.com/sigstore/protobuf-specs/gen/pb-go/rekor/v1"
	"github.com/sigstore/rekor/pkg/types"
	rekordsse "github.com/sigstore/rekor/pkg/types/dsse"
	rekorutil "github.com/sigstore/rekor/pkg/util"
	"github.com/sigstore/sigstore/pkg/signature"
	"github.com/transparency-dev/merkle/rfc6962"
)

// rekorV1 is the older log: its entries carry the log's own signed word for the time.
type rekorV1 struct{ s *sigstore }

func (r rekorV1) GetTransparencyLogEntry(ctx context.Context, certOrKey []byte, b *protobundle.Bundle) error {
	t := r.s.t
	body := r.body(ctx, certOrKey, b)
	id, at := logID(t, r.s.logKey), r.s.now.Unix()
	signer, err := signature.LoadECDSASignerVerifier(r.s.logKey, crypto.SHA256)
	check(t, err)
	promise, err := json.Marshal(map[string]any{"body": base64.StdEncoding.EncodeToString(body), "integratedTime": at, "logIndex": 0, "logID": hex.EncodeToString(id)})
	check(t, err)
	promise, err = jsoncanonicalizer.Transform(promise)
	check(t, err)
	set, err := signer.SignMessage(bytes.NewReader(promise))
	check(t, err)
	leaf := rfc6962.DefaultHasher.HashLeaf(body)
	head, err := rekorutil.CreateAndSignCheckpoint(ctx, "log.example", 7, 1, leaf, signer)
	check(t, err)
	b.VerificationMaterial.TlogEntries = append(b.VerificationMaterial.TlogEntries, &protorekor.TransparencyLogEntry{
		LogId: &protocommon.LogId{KeyId: id}, KindVersion: &protorekor.KindVersion{Kind: "dsse", Version: "0.0.1"}, IntegratedTime: at,
		InclusionPromise:  &protorekor.InclusionPromise{SignedEntryTimestamp: set},
		InclusionProof:    &protorekor.InclusionProof{TreeSize: 1, RootHash: leaf, Checkpoint: &protorekor.Checkpoint{Envelope: string(head)}},
		CanonicalizedBody: body,
	})
	return nil
}

// body is the canonical log entry that Rekor v1 makes of an envelope.
func (r rekorV1) body(ctx context.Context, certOrKey []byte, b *protobundle.Bundle) []byte {
	t := r.s.t
	env := b.GetDsseEnvelope()
	raw, err := json.Marshal(map[string]any{"payload": env.Payload, "payloadType": env.PayloadType,
		"signatures": []any{map[string]any{"sig": env.Signatures[0].Sig}}})
	check(t, err)
	proposed, err := types.NewProposedEntry(ctx, rekordsse.KIND, "0.0.1", types.ArtifactProperties{
		ArtifactBytes: raw, PublicKeyBytes: [][]byte{certOrKey}, PKIFormat: "x509"})
	check(t, err)
	entry, err := types.CreateVersionedEntry(proposed)
	check(t, err)
	body, err := types.CanonicalizeEntry(ctx, entry)
	check(t, err)
	return body
}
