package signing_test

import (
	"encoding/json"
	"strings"
	"testing"

	"github.com/arw-project/arw/signing"
)

// TestStated: a key knows its own statement again, and takes nothing else for it.
func TestStated(t *testing.T) {
	t.Parallel()
	var keys [2]*signing.Key
	for i := range keys {
		var err error
		if keys[i], err = signing.GenerateKey(); err != nil {
			t.Fatal(err)
		}
	}
	digest, other := "sha256:"+strings.Repeat("a", 64), "sha256:"+strings.Repeat("b", 64)
	said := json.RawMessage(`{"a": [1, 2]}`)
	bundle, err := keys[0].Attest(t.Context(), digest, signing.PredicateSBOM, said)
	if err != nil {
		t.Fatal(err)
	}
	for _, tc := range []struct {
		name         string
		key          *signing.Key
		digest, kind string
		predicate    string
		bundle       []byte
		want         bool
	}{
		{"itself", keys[0], digest, signing.PredicateSBOM, `{"a":[1,2]}`, bundle, true},
		{"another key", keys[1], digest, signing.PredicateSBOM, `{"a":[1,2]}`, bundle, false},
		{"another digest", keys[0], other, signing.PredicateSBOM, `{"a":[1,2]}`, bundle, false},
		{"another type", keys[0], digest, signing.PredicateSign, `{"a":[1,2]}`, bundle, false},
		{"another predicate", keys[0], digest, signing.PredicateSBOM, `{"a":[1,3]}`, bundle, false},
		{"a broken signature", keys[0], digest, signing.PredicateSBOM, `{"a":[1,2]}`, []byte(strings.Replace(string(bundle), `"sig":"`, `"sig":"AAAA`, 1)), false},
		{"no bundle", keys[0], digest, signing.PredicateSBOM, `{"a":[1,2]}`, []byte("{}"), false},
	} {
		if got := tc.key.Stated(t.Context(), tc.digest, tc.kind, json.RawMessage(tc.predicate), tc.bundle); got != tc.want {
			t.Errorf("%s: %t", tc.name, got)
		}
	}
}
