package signing_test

import (
	"bytes"
	"context"
	"encoding/base64"
	"encoding/json"
	"errors"
	"os"
	"strings"
	"testing"

	"github.com/arw-project/arw/abi"
	"github.com/arw-project/arw/signing"
)

const acmeByAlice = `
[[rule]]
packs = "acme/*"
signers = ["alice"]
`

func TestSignedByTheKeyOfTheRule(t *testing.T) {
	t.Parallel()
	p := people(t, acmeByAlice, "alice", "bob")
	v := allow(t, p, "acme/echo", digestA, [][]byte{signedBy(t, "alice", digestA)}, "alice")
	if v.Rule != "acme/*" || v.Needed != 1 || v.PolicyDigest != p.Digest() || len(v.Rejected) != 0 || len(v.Unmet) != 0 {
		t.Fatalf("%+v", v)
	}
	s := v.Signers[0]
	if s.KeyID != keyOf(t, "alice").ID() || s.Predicate != signing.PredicateSign || s.Time != nil || s.Log != nil {
		t.Fatalf("%+v", s)
	}
}

func TestVerdictJSON(t *testing.T) {
	t.Parallel()
	p := people(t, "[[rule]]\npacks = \"acme/*\"\nsigners = [\"alice\", \"bob\"]\nthreshold = 2\n", "alice", "bob")
	v := deny(t, p, "acme/echo", digestA, [][]byte{signedBy(t, "alice", digestA), signedBy(t, "mallory", digestA)}, abi.Untrusted, signing.ReasonUnknownKey)
	got, err := json.MarshalIndent(v, "", "  ")
	check(t, err)
	text := strings.NewReplacer(keyOf(t, "alice").ID(), "ALICE", keyOf(t, "mallory").ID(), "MALLORY", p.Digest(), "POLICY").Replace(string(got))
	want, err := os.ReadFile("testdata/verdict.json")
	check(t, err)
	if text+"\n" != string(want) {
		t.Fatalf("got\n%s\nwant\n%s", text, want)
	}
}

func TestNothingSigned(t *testing.T) {
	t.Parallel()
	v := deny(t, people(t, acmeByAlice, "alice"), "acme/echo", digestA, nil, abi.Unsigned)
	if len(v.Unmet) != 1 || v.Unmet[0].Have != 0 || v.Unmet[0].Needed != 1 {
		t.Fatalf("%+v", v.Unmet)
	}
}

func TestGoodBesideUnknownKey(t *testing.T) {
	t.Parallel()
	p := people(t, acmeByAlice, "alice")
	good, unknown := signedBy(t, "alice", digestA), signedBy(t, "mallory", digestA)
	for _, bundles := range [][][]byte{{good, unknown}, {unknown, good}} {
		v := allow(t, p, "acme/echo", digestA, bundles, "alice")
		wantReasons(t, v, signing.ReasonUnknownKey)
		if v.Rejected[0].KeyID != keyOf(t, "mallory").ID() {
			t.Fatalf("%+v", v.Rejected[0])
		}
	}
}

func TestRightKeyWrongNamespace(t *testing.T) {
	t.Parallel()
	p := people(t, acmeByAlice+"[[rule]]\npacks = \"beta/*\"\nsigners = [\"bob\"]\n", "alice", "bob")
	v := deny(t, p, "acme/echo", digestA, [][]byte{signedBy(t, "bob", digestA)}, abi.Untrusted, signing.ReasonNotListed)
	if !strings.Contains(v.Rejected[0].Reason, `"bob"`) {
		t.Fatalf("%+v", v.Rejected[0])
	}
}

func TestNoRuleNeverInstalls(t *testing.T) {
	t.Parallel()
	p := people(t, acmeByAlice, "alice")
	for _, bundles := range [][][]byte{nil, {signedBy(t, "alice", digestA)}} {
		v, err := p.Verify(t.Context(), "other/echo", digestA, bundles)
		wantCode(t, err, abi.Untrusted)
		if v.Allowed || v.Rule != "" || !strings.Contains(abi.HintOf(err), `"other/*"`) {
			t.Fatalf("%+v hint %q", v, abi.HintOf(err))
		}
	}
}

func TestThresholdCountsPeople(t *testing.T) {
	t.Parallel()
	rule := "[[rule]]\npacks = \"acme/*\"\nsigners = [\"alice\", \"bob\", \"carol\"]\nthreshold = "
	a1, a2, b, c := signedBy(t, "alice", digestA), signedBy(t, "alice", digestA), signedBy(t, "bob", digestA), signedBy(t, "carol", digestA)
	two := people(t, rule+"2\n", "alice", "bob", "carol")
	v := deny(t, two, "acme/echo", digestA, [][]byte{a1, a2}, abi.Untrusted, signing.ReasonDuplicate)
	if v.Unmet[0].Have != 1 || v.Unmet[0].Needed != 2 {
		t.Fatalf("%+v", v.Unmet)
	}
	deny(t, two, "acme/echo", digestA, [][]byte{a1, a1}, abi.Untrusted, signing.ReasonDuplicate)
	allow(t, two, "acme/echo", digestA, [][]byte{a1, b}, "alice", "bob")
	v = allow(t, two, "acme/echo", digestA, [][]byte{a1, a2, b, c}, "alice", "bob", "carol")
	wantReasons(t, v, signing.ReasonDuplicate)
	all := people(t, rule+"\"all\"\n", "alice", "bob", "carol")
	deny(t, all, "acme/echo", digestA, [][]byte{a1, b}, abi.Untrusted)
	allow(t, all, "acme/echo", digestA, [][]byte{a1, b, c}, "alice", "bob", "carol")
	allow(t, people(t, rule+"\"any\"\n", "alice", "bob", "carol"), "acme/echo", digestA, [][]byte{c}, "carol")
}

func TestAttestationIsNoSignature(t *testing.T) {
	t.Parallel()
	p := people(t, acmeByAlice, "alice")
	bill := attestedBy(t, "alice", digestA, sbom, `{"bomFormat":"CycloneDX"}`)
	deny(t, p, "acme/echo", digestA, [][]byte{bill}, abi.Untrusted, signing.ReasonPredicate)
	wantReasons(t, allow(t, p, "acme/echo", digestA, [][]byte{bill, signedBy(t, "alice", digestA)}, "alice"), signing.ReasonPredicate)
}

func TestRequiredAttestations(t *testing.T) {
	t.Parallel()
	p := people(t, acmeByAlice+`
[[rule.require]]
predicate = "`+sbom+`"
signers = ["alice"]
[[rule.require]]
predicate = "`+signing.PredicateProvenance+`"
signers = ["robot"]
builder_id = "https://builder.example/v1"
[[rule.require]]
predicate = "`+signing.PredicateSign+`"
signers = ["reviewer"]
`, "alice", "robot", "reviewer")
	built := func(who, id string) []byte {
		return attestedBy(t, who, digestA, signing.PredicateProvenance, `{"runDetails":{"builder":{"id":"`+id+`"}}}`)
	}
	release, review, bill := signedBy(t, "alice", digestA), signedBy(t, "reviewer", digestA), attestedBy(t, "alice", digestA, sbom, "{}")
	good := built("robot", "https://builder.example/v1")
	allow(t, p, "acme/echo", digestA, [][]byte{release, review, bill, good}, "alice", "reviewer", "alice", "robot")
	for name, c := range map[string]struct {
		bundles [][]byte
		unmet   string
		reasons []signing.Reason
	}{
		"no SBOM":             {[][]byte{release, review, good}, sbom, nil},
		"SBOM by another":     {[][]byte{release, review, good, attestedBy(t, "robot", digestA, sbom, "{}")}, sbom, []signing.Reason{signing.ReasonNotListed}},
		"SBOM of another":     {[][]byte{release, review, good, attestedBy(t, "alice", digestB, sbom, "{}")}, sbom, []signing.Reason{signing.ReasonSubject}},
		"other builder":       {[][]byte{release, review, bill, built("robot", "https://laptop.example")}, signing.PredicateProvenance, []signing.Reason{signing.ReasonBuilder}},
		"no builder":          {[][]byte{release, review, bill, attestedBy(t, "robot", digestA, signing.PredicateProvenance, `{"runDetails":[]}`)}, signing.PredicateProvenance, []signing.Reason{signing.ReasonBuilder}},
		"provenance by hand":  {[][]byte{release, review, bill, built("alice", "https://builder.example/v1")}, signing.PredicateProvenance, []signing.Reason{signing.ReasonNotListed}},
		"no review":           {[][]byte{release, bill, good}, signing.PredicateSign, nil},
		"author reviews self": {[][]byte{release, signedBy(t, "alice", digestA), bill, good}, signing.PredicateSign, []signing.Reason{signing.ReasonDuplicate}},
	} {
		t.Run(name, func(t *testing.T) {
			v := deny(t, p, "acme/echo", digestA, c.bundles, abi.Untrusted, c.reasons...)
			if len(v.Unmet) != 1 || v.Unmet[0].Predicate != c.unmet {
				t.Fatalf("%+v", v.Unmet)
			}
		})
	}
}

// Every way to spoil one bundle, and the stable reason for it.
func TestSpoiledBundles(t *testing.T) {
	t.Parallel()
	p := people(t, acmeByAlice, "alice", "bob")
	good := signedBy(t, "alice", digestA)
	envelope := func(change func(env map[string]any)) []byte {
		return edit(t, good, func(m map[string]any) { change(m["dsseEnvelope"].(map[string]any)) })
	}
	payload := func(old, new string) []byte {
		return envelope(func(env map[string]any) {
			raw, err := base64.StdEncoding.DecodeString(env["payload"].(string))
			check(t, err)
			if !bytes.Contains(raw, []byte(old)) {
				t.Fatalf("no %q in %s", old, raw)
			}
			env["payload"] = bytes.Replace(raw, []byte(old), []byte(new), 1)
		})
	}
	hint := func(h string) []byte {
		return edit(t, good, func(m map[string]any) {
			m["verificationMaterial"] = map[string]any{"publicKey": map[string]any{"hint": h}}
		})
	}
	material := func(v any) []byte { return edit(t, good, func(m map[string]any) { m["verificationMaterial"] = v }) }
	media := func(s string) []byte { return edit(t, good, func(m map[string]any) { m["mediaType"] = s }) }
	for name, c := range map[string]struct {
		bundle []byte
		reason signing.Reason
	}{
		"another artefact":         {signedBy(t, "alice", digestB), signing.ReasonSubject},
		"statement tampered":       {payload(`"predicate":{}`, `"predicate":{ }`), signing.ReasonSignature},
		"digest swapped in":        {edit(t, signedBy(t, "alice", digestB), func(m map[string]any) { m["dsseEnvelope"].(map[string]any)["payload"] = dsse(t, good)["payload"] }), signing.ReasonSignature},
		"signature of another":     {envelope(func(e map[string]any) { e["signatures"] = dsse(t, signedBy(t, "alice", digestB))["signatures"] }), signing.ReasonSignature},
		"signature cut":            {envelope(func(e map[string]any) { e["signatures"] = []any{map[string]any{"sig": "AAAA"}} }), signing.ReasonSignature},
		"signature missing":        {envelope(func(e map[string]any) { e["signatures"] = []any{} }), signing.ReasonMalformed},
		"signature null":           {envelope(func(e map[string]any) { e["signatures"] = []any{nil} }), signing.ReasonMalformed},
		"two signatures":           {envelope(func(e map[string]any) { s := e["signatures"].([]any); e["signatures"] = append(s, s[0]) }), signing.ReasonMalformed},
		"key of another":           {hint(keyOf(t, "bob").ID()), signing.ReasonNotListed},
		"unknown key, alice's sig": {signedBy(t, "mallory", digestA), signing.ReasonUnknownKey},
		"mallory as alice":         {edit(t, signedBy(t, "mallory", digestA), func(m map[string]any) { m["verificationMaterial"] = decode(t, good)["verificationMaterial"] }), signing.ReasonSignature},
		"other payload type":       {envelope(func(e map[string]any) { e["payloadType"] = "application/json" }), signing.ReasonPayloadType},
		"statement of another era": {payload("Statement/v1", "Statement/v9"), signing.ReasonStatement},
		"statement unknown key":    {payload(`"predicate":`, `"extra":1,"predicate":`), signing.ReasonStatement},
		"statement key in case":    {payload(`"subject":`, `"Subject":`), signing.ReasonStatement},
		"statement key twice":      {payload(`"predicate":`, `"predicateType":"x","predicate":`), signing.ReasonStatement},
		"statement wrong type":     {payload(`"predicateType":"https://sigstore.dev/cosign/sign/v1"`, `"predicateType":7`), signing.ReasonStatement},
		"statement an array":       {envelope(func(e map[string]any) { e["payload"] = []byte("[]") }), signing.ReasonStatement},
		"statement not JSON":       {envelope(func(e map[string]any) { e["payload"] = []byte("{") }), signing.ReasonStatement},
		"statement not UTF-8":      {payload(`"predicate":{}`, "\"predicate\":{\"a\":\"\xff\"}"), signing.ReasonStatement},
		"statement deep":           {payload(`"predicate":{}`, `"predicate":`+strings.Repeat("[", 80)+strings.Repeat("]", 80)), signing.ReasonStatement},
		"no subject":               {payload(`{"digest":{"sha256":"`+digestA[7:]+`"}}`, ``), signing.ReasonSubject},
		"subject without digest":   {payload(`{"digest":`, `{"Digest":`), signing.ReasonStatement},
		"subject by other hash":    {payload(`"sha256"`, `"sha512"`), signing.ReasonSubject},
		"too many subjects":        {payload(`"subject":[`, `"subject":[`+strings.Repeat(`{"digest":{"sha256":"00"}},`, 1024)), signing.ReasonStatement},
		"other predicate":          {payload("sign/v1", "sign/v2"), signing.ReasonPredicate},
		"no predicate type":        {payload(`"predicateType":"https://sigstore.dev/cosign/sign/v1",`, ""), signing.ReasonPredicate},
		"unknown media type":       {media("application/json"), signing.ReasonMediaType},
		"no media type":            {media(""), signing.ReasonMediaType},
		"older bundle":             {media("application/vnd.dev.sigstore.bundle+json;version=0.2"), signing.ReasonMediaType},
		"same version, other name": {media("application/vnd.dev.sigstore.bundle+json;version=0.3"), signing.ReasonMediaType},
		"later bundle":             {media("application/vnd.dev.sigstore.bundle.v0.4+json"), signing.ReasonMediaType},
		"a bare signature": {edit(t, good, func(m map[string]any) {
			delete(m, "dsseEnvelope")
			m["messageSignature"] = map[string]any{"messageDigest": map[string]any{"algorithm": "SHA2_256", "digest": "qqo="}, "signature": "qqo="}
		}), signing.ReasonContent},
		"both contents":      {edit(t, good, func(m map[string]any) { m["messageSignature"] = map[string]any{} }), signing.ReasonMalformed},
		"no content":         {edit(t, good, func(m map[string]any) { delete(m, "dsseEnvelope") }), signing.ReasonMalformed},
		"no material":        {edit(t, good, func(m map[string]any) { delete(m, "verificationMaterial") }), signing.ReasonMalformed},
		"empty material":     {material(map[string]any{}), signing.ReasonMalformed},
		"a chain":            {material(map[string]any{"x509CertificateChain": map[string]any{"certificates": []any{}}}), signing.ReasonMalformed},
		"broken certificate": {material(map[string]any{"certificate": map[string]any{"rawBytes": "AAAA"}}), signing.ReasonMalformed},
		"empty log entry": {edit(t, good, func(m map[string]any) {
			m["verificationMaterial"].(map[string]any)["tlogEntries"] = []any{map[string]any{}}
		}), signing.ReasonMalformed},
		"unknown field":            {edit(t, good, func(m map[string]any) { m["note"] = "x" }), signing.ReasonMalformed},
		"key twice":                {bytes.Replace(good, []byte(`{"mediaType"`), []byte(`{"mediaType":"x","mediaType"`), 1), signing.ReasonMalformed},
		"key twice, two spellings": {bytes.Replace(good, []byte(`{"mediaType"`), []byte(`{"media_type":"x","mediaType"`), 1), signing.ReasonMalformed},
		"key twice, one escaped":   {bytes.Replace(good, []byte(`{"mediaType"`), []byte(`{"\u006dediaType":"x","mediaType"`), 1), signing.ReasonMalformed},
		"two documents":            {append(bytes.Clone(good), good...), signing.ReasonMalformed},
		"not UTF-8":                {bytes.Replace(good, []byte("hint"), []byte("h\xffnt"), 1), signing.ReasonMalformed},
		"deeply nested":            {[]byte(strings.Repeat(`{"a":`, 100000) + "1" + strings.Repeat("}", 100000)), signing.ReasonMalformed},
		"deeply open":              {[]byte(strings.Repeat("[", 1<<20)), signing.ReasonMalformed},
		"oversized":                {append(bytes.Clone(good), bytes.Repeat([]byte(" "), signing.MaxBundleSize)...), signing.ReasonTooLarge},
		"empty":                    {nil, signing.ReasonMalformed},
		"null":                     {[]byte("null"), signing.ReasonMalformed},
		"cut short":                {good[:len(good)/2], signing.ReasonMalformed},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			deny(t, p, "acme/echo", digestA, [][]byte{c.bundle}, abi.Untrusted, c.reason)
			// Whatever it is, it cannot spoil a good one beside it.
			wantReasons(t, allow(t, p, "acme/echo", digestA, [][]byte{c.bundle, good}, "alice"), c.reason)
		})
	}
}

func decode(t testing.TB, b []byte) (m map[string]any) {
	t.Helper()
	check(t, json.Unmarshal(b, &m))
	return m
}

func dsse(t testing.TB, b []byte) map[string]any {
	return decode(t, b)["dsseEnvelope"].(map[string]any)
}

// A hint is advice: a bundle of another tool, with a hint of its own, is judged by its signature.
func TestForeignHintStillVerifies(t *testing.T) {
	t.Parallel()
	p := people(t, "[[rule]]\npacks = \"acme/*\"\nsigners = [\"bob\", \"alice\"]\n", "alice", "bob", "carol")
	for _, hint := range []string{"", "my key"} {
		b := edit(t, signedBy(t, "alice", digestA), func(m map[string]any) {
			m["verificationMaterial"] = map[string]any{"publicKey": map[string]any{"hint": hint}}
		})
		allow(t, p, "acme/echo", digestA, [][]byte{b}, "alice")
	}
}

func TestOtherKeyKindsVerify(t *testing.T) {
	t.Parallel()
	for name, pair := range foreignKeys(t) {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			text, err := pair.GetPublicKeyPem()
			check(t, err)
			p := parse(t, "schema = 1\n[signer.x]\nkey = \"x.pub\"\ntlog = 0\n[[rule]]\npacks = \"acme/*\"\nsigners = [\"x\"]\n", files{"x.pub": []byte(text)})
			s := newSigstore(t)
			b := s.bundle(order{key: pair, noCert: true, noLog: true, noTime: true})
			allow(t, p, "acme/echo", digestA, [][]byte{b}, "x")
		})
	}
}

func TestVerifyRefusesNonsense(t *testing.T) {
	t.Parallel()
	p := people(t, acmeByAlice, "alice")
	good := signedBy(t, "alice", digestA)
	for _, pack := range []string{"", "acme", "acme/", "/echo", "acme/echo/x", "Acme/echo", "acme/echo\n", "acme/-x", "acme/*"} {
		v, err := p.Verify(t.Context(), pack, digestA, [][]byte{good})
		if abi.CodeOf(err) != abi.Invalid || v != nil {
			t.Errorf("pack %q: %v", pack, err)
		}
	}
	if _, err := p.Verify(t.Context(), "acme/echo", "sha256:x", [][]byte{good}); abi.CodeOf(err) != abi.Invalid {
		t.Errorf("digest: %v", err)
	}
	many := make([][]byte, signing.MaxBundles+1)
	for i := range many {
		many[i] = good
	}
	deny(t, p, "acme/echo", digestA, many, abi.TooLarge)
	allowed, err := p.Verify(t.Context(), "acme/echo", digestA, many[1:])
	check(t, err)
	if len(allowed.Signers) != 1 || len(allowed.Rejected) != signing.MaxBundles-1 {
		t.Errorf("%d signers, %d rejected", len(allowed.Signers), len(allowed.Rejected))
	}
	gone, cancel := context.WithCancel(t.Context())
	cancel()
	if v, err := p.Verify(gone, "acme/echo", digestA, [][]byte{good}); !errors.Is(err, context.Canceled) || v.Allowed {
		t.Errorf("cancelled: %v", err)
	}
}

// What a stranger wrote must not drive the terminal that shows it.
func TestRejectionsArePrintable(t *testing.T) {
	t.Parallel()
	p := people(t, acmeByAlice, "alice")
	b := edit(t, signedBy(t, "mallory", digestA), func(m map[string]any) {
		m["verificationMaterial"] = map[string]any{"publicKey": map[string]any{"hint": "\x1b[2J\u202e" + strings.Repeat("é", 4000)}}
	})
	v := deny(t, p, "acme/echo", digestA, [][]byte{b}, abi.Untrusted, signing.ReasonUnknownKey)
	for _, s := range []string{v.Rejected[0].KeyID, v.Rejected[0].Reason} {
		if strings.ContainsAny(s, "\x1b\u202e") || len(s) > 400 {
			t.Errorf("%d bytes: %.60q", len(s), s)
		}
	}
}
