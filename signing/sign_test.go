package signing_test

import (
	"context"
	"encoding/base64"
	"encoding/json"
	"errors"
	"testing"

	"github.com/arw-project/arw/abi"
	"github.com/arw-project/arw/signing"
)

// The exact shape that stock cosign verifies (docs/spec/trust.md): only the signature differs from run to run.
func TestSignHasTheShapeCosignVerifies(t *testing.T) {
	t.Parallel()
	b := signedBy(t, "alice", digestA)
	var doc struct {
		MediaType            string
		VerificationMaterial struct{ PublicKey struct{ Hint string } }
		DSSEEnvelope         struct {
			Payload     []byte
			PayloadType string
			Signatures  []struct{ Sig []byte }
		}
	}
	check(t, json.Unmarshal(b, &doc))
	env := doc.DSSEEnvelope
	want := `{"_type":"https://in-toto.io/Statement/v1","subject":[{"digest":{"sha256":"` + digestA[7:] +
		`"}}],"predicateType":"https://sigstore.dev/cosign/sign/v1","predicate":{}}`
	if string(env.Payload) != want {
		t.Fatalf("statement\n%s\nwant\n%s", env.Payload, want)
	}
	whole := `{"mediaType":"application/vnd.dev.sigstore.bundle.v0.3+json","verificationMaterial":{"publicKey":{"hint":"` +
		keyOf(t, "alice").ID() + `"}},"dsseEnvelope":{"payload":"` + base64.StdEncoding.EncodeToString([]byte(want)) +
		`","payloadType":"application/vnd.in-toto+json","signatures":[{"sig":"` + base64.StdEncoding.EncodeToString(env.Signatures[0].Sig) + `"}]}}`
	if string(b) != whole {
		t.Fatalf("bundle\n%s\nwant\n%s", b, whole)
	}
	if signing.BundleMediaType != doc.MediaType {
		t.Fatal("BundleMediaType is not what is written")
	}
}

func TestSignRefuses(t *testing.T) {
	t.Parallel()
	key := keyOf(t, "alice")
	for name, digest := range map[string]string{
		"empty": "", "no algorithm": digestA[7:], "short": "sha256:aa", "upper case": "sha256:" + "A" + digestA[8:],
		"other algorithm": "sha512:" + digestA[7:], "newline": digestA + "\n",
	} {
		_, err := signing.Sign(t.Context(), key, digest)
		if abi.CodeOf(err) != abi.Invalid {
			t.Errorf("%s: %v", name, err)
		}
	}
	for name, predicate := range map[string]string{"nothing": "", "not JSON": "{", "array": "[]", "null": "null", "twice": `{"a":1,"a":2}`} {
		_, err := signing.Attest(t.Context(), key, digestA, sbom, json.RawMessage(predicate))
		if abi.CodeOf(err) != abi.Invalid {
			t.Errorf("predicate %s: %v", name, err)
		}
	}
	gone, cancel := context.WithCancel(t.Context())
	cancel()
	if _, err := signing.Sign(gone, key, digestA); !errors.Is(err, context.Canceled) {
		t.Errorf("cancelled: %v", err)
	}
}
