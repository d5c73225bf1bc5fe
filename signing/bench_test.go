package signing_test

import (
	"testing"

	"github.com/arw-project/arw/signing"
)

func BenchmarkSign(b *testing.B) {
	key := keyOf(b, "alice")
	for b.Loop() {
		_, err := signing.Sign(b.Context(), key, digestA)
		check(b, err)
	}
}

func benchVerify(b *testing.B, p *signing.Policy, bundles ...[]byte) {
	b.ReportAllocs()
	for b.Loop() {
		_, err := p.Verify(b.Context(), "acme/echo", digestA, bundles)
		check(b, err)
	}
}

func BenchmarkVerifyKey(b *testing.B) {
	benchVerify(b, people(b, acmeByAlice, "alice"), signedBy(b, "alice", digestA))
}

func BenchmarkVerifyKeyless(b *testing.B) {
	s := newSigstore(b)
	benchVerify(b, s.policy(byIdentity), s.bundle(order{}))
}

// 63 bundles by strangers around a good one: what an attacker who may push referrers can make an install cost.
func BenchmarkVerifyAmongStrangers(b *testing.B) {
	bundles := [][]byte{signedBy(b, "alice", digestA)}
	for range signing.MaxBundles - 1 {
		bundles = append(bundles, signedBy(b, "mallory", digestA))
	}
	benchVerify(b, people(b, acmeByAlice, "alice"), bundles...)
}

func BenchmarkParsePolicy(b *testing.B) {
	s := newSigstore(b)
	f := files{"trusted_root.json": s.trustedRoot()}
	for b.Loop() {
		_, err := signing.ParsePolicy("trust.toml", []byte(byIdentity), f.read)
		check(b, err)
	}
}

func BenchmarkOpenSealedKey(b *testing.B) {
	text, err := keyOf(b, "alice").MarshalPEM([]byte("pw"))
	check(b, err)
	for b.Loop() {
		_, err := signing.ParseKey(text, []byte("pw"))
		check(b, err)
	}
}
