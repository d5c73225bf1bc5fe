package signing_test

import (
	"bytes"
	"encoding/json"
	"os"
	"strings"
	"testing"
	"time"

	"github.com/arw-project/arw/abi"
	"github.com/arw-project/arw/signing"
)

// real reads what the real Fulcio, Rekor, timestamp authority and cosign made: "make interop" with --keep.
func real(t testing.TB, name string) []byte {
	t.Helper()
	data, err := os.ReadFile("testdata/real/" + name)
	check(t, err)
	return data
}

const realIssuer = "http://localhost:8888"

// realPolicy trusts, of the real run, an identity as ci and a key as acme.
func realPolicy(t testing.TB, rules string) *signing.Policy {
	return parse(t, `schema = 1
[root.main]
trusted_root = "trusted_root.json"
[signer.ci]
root = "main"
issuer = "`+realIssuer+`"
identity = "ci@acme.example"
[signer.acme]
root = "main"
key = "acme.pub"
`+rules, files{"trusted_root.json": real(t, "trusted_root.json"), "acme.pub": real(t, "acme.pub")})
}

const realRule = "[[rule]]\npacks = \"acme/*\"\nsigners = [\"ci\", \"acme\"]\n"

func TestRealSignatures(t *testing.T) {
	t.Parallel()
	digest := strings.TrimSpace(string(real(t, "digest")))
	p := realPolicy(t, realRule)
	for _, name := range []string{"keyless-release.json", "cosign-keyless-release.json"} {
		v := allow(t, p, "acme/echo", digest, [][]byte{real(t, name)}, "ci")
		if s := v.Signers[0]; s.Identity != "ci@acme.example" || s.Issuer != realIssuer || s.Serial == "" || s.Log == nil || s.Log.Origin != "http://localhost:3003" || s.Time == nil {
			t.Errorf("%s: %+v", name, s)
		}
	}
	for _, name := range []string{"logged-release.json", "cosign-key-release.json"} {
		v := allow(t, p, "acme/echo", digest, [][]byte{real(t, name)}, "acme")
		if s := v.Signers[0]; s.Log == nil || s.Time == nil {
			t.Errorf("%s: %+v", name, s)
		}
	}
	attested := realPolicy(t, realRule+`[[rule.require]]
predicate = "`+signing.PredicateProvenance+`"
signers = ["ci"]
builder_id = "https://builder.example/v1"
[[rule.require]]
predicate = "`+signing.PredicateSBOM+`"
signers = ["ci"]
`)
	all := [][]byte{real(t, "keyless-release.json"), real(t, "keyless-provenance.json"), real(t, "keyless-sbom.json")}
	v := allow(t, attested, "acme/echo", digest, all, "ci", "ci", "ci")
	if v.Signers[1].Builder != "https://builder.example/v1" {
		t.Errorf("%+v", v.Signers[1])
	}
	allow(t, attested, "acme/echo", digest, [][]byte{all[0], real(t, "cosign-keyless-provenance.json"), all[2]}, "ci", "ci", "ci")
	deny(t, attested, "acme/echo", digest, all[:2], abi.Untrusted)
}

// Every way to spoil what the real services made; each beside a good one does it no harm.
func TestRealSignaturesSpoiled(t *testing.T) {
	t.Parallel()
	digest := strings.TrimSpace(string(real(t, "digest")))
	good, other := real(t, "keyless-release.json"), real(t, "cosign-keyless-release.json")
	material := func(m map[string]any) map[string]any { return m["verificationMaterial"].(map[string]any) }
	entry := func(m map[string]any) map[string]any { return material(m)["tlogEntries"].([]any)[0].(map[string]any) }
	tamper := func(change func(m map[string]any)) []byte { return edit(t, good, change) }
	for name, c := range map[string]struct {
		bundle []byte
		reason signing.Reason
	}{
		"no log entry":           {tamper(func(m map[string]any) { delete(material(m), "tlogEntries") }), signing.ReasonTransparency},
		"entry of another":       {tamper(func(m map[string]any) { material(m)["tlogEntries"] = material(decode(t, other))["tlogEntries"] }), signing.ReasonTransparency},
		"entry of a foreign log": {tamper(func(m map[string]any) { entry(m)["logId"] = map[string]any{"keyId": make([]byte, 32)} }), signing.ReasonTransparency},
		"bad inclusion proof": {tamper(func(m map[string]any) {
			entry(m)["inclusionProof"].(map[string]any)["hashes"] = []any{make([]byte, 32)}
		}), signing.ReasonTransparency},
		"no timestamp, expired": {tamper(func(m map[string]any) { delete(material(m), "timestampVerificationData") }), signing.ReasonTimestamp},
		"timestamp of another": {tamper(func(m map[string]any) {
			material(m)["timestampVerificationData"] = material(decode(t, other))["timestampVerificationData"]
		}), signing.ReasonTimestamp},
		"certificate of another":  {tamper(func(m map[string]any) { material(m)["certificate"] = material(decode(t, other))["certificate"] }), signing.ReasonTransparency},
		"provenance as a release": {real(t, "keyless-provenance.json"), signing.ReasonPredicate},
		"other payload type":      {tamper(func(m map[string]any) { m["dsseEnvelope"].(map[string]any)["payloadType"] = "text/plain" }), signing.ReasonPayloadType},
		"a bare file's signature": {real(t, "blob-keyless.json"), signing.ReasonContent},
		"unknown media type":      {tamper(func(m map[string]any) { m["mediaType"] = "application/vnd.dev.sigstore.bundle.v9+json" }), signing.ReasonMediaType},
		"key twice":               {bytes.Replace(good, []byte(`{"mediaType"`), []byte(`{"mediaType":"x","mediaType"`), 1), signing.ReasonMalformed},
		"a key nobody knows":      {signedBy(t, "mallory", digest), signing.ReasonUnknownKey},
		"another artefact":        {signedBy(t, "mallory", digestA), signing.ReasonSubject},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			p := realPolicy(t, realRule)
			deny(t, p, "acme/echo", digest, [][]byte{c.bundle}, abi.Untrusted, c.reason)
			wantReasons(t, allow(t, p, "acme/echo", digest, [][]byte{c.bundle, good}, "ci"), c.reason)
		})
	}
	deny(t, realPolicy(t, realRule), "acme/echo", digestA, [][]byte{good}, abi.Untrusted, signing.ReasonSubject)
	swapped := func(old, new string) *signing.Policy {
		text := strings.Replace(`schema = 1
[root.main]
trusted_root = "trusted_root.json"
[signer.ci]
root = "main"
issuer = "`+realIssuer+`"
identity = "ci@acme.example"
[[rule]]
packs = "acme/*"
signers = ["ci"]
`, old, new, 1)
		return parse(t, text, files{"trusted_root.json": real(t, "trusted_root.json")})
	}
	deny(t, swapped("ci@", "eve@"), "acme/echo", digest, [][]byte{good}, abi.Untrusted, signing.ReasonUnknownIdentity)
	deny(t, swapped(realIssuer, "https://token.example"), "acme/echo", digest, [][]byte{good}, abi.Untrusted, signing.ReasonUnknownIdentity)
	end := time.Date(2026, 1, 1, 0, 0, 0, 0, time.UTC).Format(time.RFC3339)
	deny(t, swapped("[[rule]]", "until = "+end+"\n[[rule]]"), "acme/echo", digest, [][]byte{good}, abi.Untrusted, signing.ReasonPeriod)
}

func FuzzRealBundle(f *testing.F) {
	addFiles(f, "testdata/real/*-*.json")
	digest := strings.TrimSpace(string(real(f, "digest")))
	p := realPolicy(f, realRule)
	checker, err := signing.NewChecker(signing.Expect{TrustedRoot: real(f, "trusted_root.json"), Identity: "ci@acme.example", Issuer: realIssuer, SCT: 1, TLog: 1, Timestamps: 1})
	check(f, err)
	f.Fuzz(func(t *testing.T, data []byte) {
		v, err := p.Verify(t.Context(), "acme/echo", digest, [][]byte{data})
		if v == nil || v.Allowed != (err == nil) || len(v.Signers)+len(v.Rejected) != 1 {
			t.Fatalf("%+v beside %v", v, err)
		}
		proof, err := checker.Check(t.Context(), signing.Artifact{Data: strings.NewReader("another file")}, data)
		if proof == nil || proof.Verified || abi.CodeOf(err) != abi.Untrusted || proof.Rejected.Code == "" {
			t.Fatalf("%+v beside %v", proof, err)
		}
	})
}

func TestDescribeRoot(t *testing.T) {
	t.Parallel()
	got, err := signing.DescribeRoot(real(t, "trusted_root.json"))
	check(t, err)
	var kinds []string
	for _, a := range got {
		kinds = append(kinds, a.Kind)
		if a.From == nil || a.Subject == "" && a.ID == "" {
			t.Errorf("%+v", a)
		}
	}
	if strings.Join(kinds, " ") != "ca ct log timestamp" {
		t.Errorf("%v", kinds)
	}
	for _, bad := range []string{"", "{", "[]", `{"mediaType":"x"}`, `{"a":1,"a":1}`} {
		if _, err := signing.DescribeRoot([]byte(bad)); abi.CodeOf(err) != abi.Invalid {
			t.Errorf("%q: %v", bad, err)
		}
	}
}

// Any file, as `arw verify` asks.
func TestChecker(t *testing.T) {
	t.Parallel()
	digest := strings.TrimSpace(string(real(t, "digest")))
	blob := real(t, "blob.txt")
	identity := signing.Expect{TrustedRoot: real(t, "trusted_root.json"), Identity: "ci@acme.example", Issuer: realIssuer, SCT: 1, TLog: 1, Timestamps: 1}
	key := signing.Expect{TrustedRoot: identity.TrustedRoot, Key: real(t, "acme.pub"), SCT: 1, TLog: 1, Timestamps: 1}
	with := func(e signing.Expect, change func(*signing.Expect)) signing.Expect { change(&e); return e }
	file := func(data []byte) signing.Artifact { return signing.Artifact{Data: bytes.NewReader(data)} }
	pack := signing.Artifact{Digest: digest}
	for name, c := range map[string]struct {
		expect   signing.Expect
		artifact signing.Artifact
		bundle   string
		reason   signing.Reason // empty: it verifies
	}{
		"file, identity":   {identity, file(blob), "blob-keyless.json", ""},
		"file, pattern":    {with(identity, func(e *signing.Expect) { e.Identity = "*@acme.example" }), file(blob), "blob-keyless.json", ""},
		"file, key":        {key, file(blob), "blob-key.json", ""},
		"digest, identity": {identity, pack, "keyless-release.json", ""},
		"digest, key":      {key, pack, "cosign-key-release.json", ""},
		"provenance, its builder": {with(identity, func(e *signing.Expect) {
			e.Predicate, e.Builder = signing.PredicateProvenance, "https://builder.example/v1"
		}), pack, "keyless-provenance.json", ""},
		"another builder":         {with(identity, func(e *signing.Expect) { e.Builder = "https://laptop.example" }), pack, "keyless-provenance.json", signing.ReasonBuilder},
		"another predicate":       {with(identity, func(e *signing.Expect) { e.Predicate = signing.PredicateSBOM }), pack, "keyless-release.json", signing.ReasonPredicate},
		"predicate of bare bytes": {with(identity, func(e *signing.Expect) { e.Predicate = signing.PredicateSign }), file(blob), "blob-keyless.json", signing.ReasonPredicate},
		"tampered file":           {identity, file([]byte("other")), "blob-keyless.json", signing.ReasonSubject},
		"tampered file, key":      {key, file([]byte("other")), "blob-key.json", signing.ReasonSubject},
		"another digest":          {identity, signing.Artifact{Digest: digestA}, "keyless-release.json", signing.ReasonSubject},
		"other identity":          {with(identity, func(e *signing.Expect) { e.Identity = "eve@acme.example" }), file(blob), "blob-keyless.json", signing.ReasonUnknownIdentity},
		"pattern over a slash":    {with(identity, func(e *signing.Expect) { e.Identity = "ci*/x" }), file(blob), "blob-keyless.json", signing.ReasonUnknownIdentity},
		"other issuer":            {with(identity, func(e *signing.Expect) { e.Issuer = "https://token.example" }), file(blob), "blob-keyless.json", signing.ReasonUnknownIdentity},
		"key's as an identity's":  {identity, file(blob), "blob-key.json", signing.ReasonUnknownKey},
		"identity's as a key's":   {key, file(blob), "blob-keyless.json", signing.ReasonUnknownIdentity},
		"another key":             {with(key, func(e *signing.Expect) { e.Key = keyOf(t, "mallory").PublicPEM() }), file(blob), "blob-key.json", signing.ReasonUnknownKey},
		"two logs wanted of one":  {with(identity, func(e *signing.Expect) { e.TrustedRoot = newSigstore(t).trustedRoot() }), file(blob), "blob-keyless.json", signing.ReasonTransparency},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			checker, err := signing.NewChecker(c.expect)
			check(t, err)
			proof, err := checker.Check(t.Context(), c.artifact, real(t, c.bundle))
			if c.reason == "" {
				check(t, err)
				if !proof.Verified || proof.Signer == nil || proof.Signer.Log == nil || proof.Rejected != nil {
					t.Errorf("%+v", proof)
				}
				return
			}
			wantCode(t, err, abi.Untrusted)
			if proof.Verified || proof.Signer != nil || proof.Rejected.Code != c.reason {
				t.Errorf("%+v", proof.Rejected)
			}
		})
	}
	for name, data := range map[string][]byte{"empty": nil, "null": []byte("null"), "deep": bytes.Repeat([]byte("["), 1<<16), "big": make([]byte, 2<<20), "cut": real(t, "blob-keyless.json")[:900]} {
		checker, err := signing.NewChecker(identity)
		check(t, err)
		proof, err := checker.Check(t.Context(), file(blob), data)
		if abi.CodeOf(err) != abi.Untrusted || proof.Verified || proof.Rejected.Code != signing.ReasonMalformed && proof.Rejected.Code != signing.ReasonTooLarge {
			t.Errorf("%s: %+v %v", name, proof, err)
		}
	}
}

func TestCheckerRefusesToTrustAnybody(t *testing.T) {
	t.Parallel()
	root := real(t, "trusted_root.json")
	for name, e := range map[string]signing.Expect{
		"nobody":           {TrustedRoot: root},
		"identity alone":   {TrustedRoot: root, Identity: "a@b", TLog: 1, Timestamps: 1},
		"issuer alone":     {TrustedRoot: root, Issuer: "https://i", TLog: 1, Timestamps: 1},
		"anybody":          {TrustedRoot: root, Identity: "**", Issuer: "https://i", TLog: 1, Timestamps: 1},
		"both":             {TrustedRoot: root, Identity: "a@b", Issuer: "https://i", Key: real(t, "acme.pub"), Timestamps: 1},
		"no root":          {Identity: "a@b", Issuer: "https://i"},
		"no time":          {TrustedRoot: root, Identity: "a@b", Issuer: "https://i", TLog: 1},
		"log without root": {Key: real(t, "acme.pub"), TLog: 1},
		"two logs of one":  {TrustedRoot: root, Identity: "a@b", Issuer: "https://i", TLog: 2, Timestamps: 1},
		"below zero":       {TrustedRoot: root, Identity: "a@b", Issuer: "https://i", TLog: -1, Timestamps: 1},
		"bad root":         {TrustedRoot: []byte("{}"), Key: real(t, "acme.pub")},
		"bad key":          {Key: []byte("x")},
	} {
		c, err := signing.NewChecker(e)
		if abi.CodeOf(err) != abi.Invalid || c != nil {
			t.Errorf("%s: %v", name, err)
		}
	}
	bare, err := signing.NewChecker(signing.Expect{Key: keyOf(t, "alice").PublicPEM()})
	check(t, err)
	proof, err := bare.Check(t.Context(), signing.Artifact{Digest: digestA}, signedBy(t, "alice", digestA))
	check(t, err)
	if text, _ := json.Marshal(proof); !strings.Contains(string(text), `"verified":true`) || strings.Contains(string(text), "rejection") {
		t.Errorf("%s", text)
	}
	if _, err := bare.Check(t.Context(), signing.Artifact{Digest: "sha256:x"}, nil); abi.CodeOf(err) != abi.Invalid {
		t.Errorf("%v", err)
	}
}
