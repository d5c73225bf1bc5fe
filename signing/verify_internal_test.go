package signing

import (
	"testing"

	"github.com/arw-project/arw/abi"
)

// A crash inside the verifier (made here by trusted material that is not there) is a rejection of one bundle: the host
// goes on, and what crashed does not count.
func TestPanicIsARejection(t *testing.T) {
	t.Parallel()
	key, err := GenerateKey()
	if err != nil {
		t.Fatal(err)
	}
	const digest = "sha256:aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa"
	bundle, err := Sign(t.Context(), key, digest)
	if err != nil {
		t.Fatal(err)
	}
	broken := &signer{name: "broken", keyID: key.ID()}
	p := &Policy{
		keys:    map[string]*signer{key.ID(): broken},
		signers: []*signer{broken},
		rules:   []*rule{{prefix: "acme/", demands: []demand{{predicate: PredicateSign, signers: []*signer{broken}, threshold: 1}}}},
	}
	v, err := p.Verify(t.Context(), "acme/echo", digest, [][]byte{bundle, bundle})
	if abi.CodeOf(err) != abi.Untrusted || v.Allowed || len(v.Rejected) != 2 {
		t.Fatalf("%+v, %v", v, err)
	}
	for _, r := range v.Rejected {
		if r.Code != ReasonMalformed || r.KeyID != key.ID() {
			t.Errorf("%+v", r)
		}
	}
}
