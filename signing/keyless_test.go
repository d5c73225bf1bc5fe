package signing_test

import (
	"encoding/hex"
	"strings"
	"testing"
	"time"

	"github.com/arw-project/arw/abi"
	"github.com/arw-project/arw/signing"
)

const byIdentity = `schema = 1
[root.main]
trusted_root = "trusted_root.json"
[signer.ci]
root = "main"
issuer = "https://token.example"
identity = "ci@acme.example"
[[rule]]
packs = "acme/*"
signers = ["ci"]
`

// swap edits the policy above.
func swap(old, new string) string { return strings.Replace(byIdentity, old, new, 1) }

func (s *sigstore) policy(text string) *signing.Policy {
	s.t.Helper()
	return parse(s.t, text, files{"trusted_root.json": s.trustedRoot()})
}

func TestKeyless(t *testing.T) {
	t.Parallel()
	s := newSigstore(t)
	v := allow(t, s.policy(byIdentity), "acme/echo", digestA, [][]byte{s.bundle(order{})}, "ci")
	got := v.Signers[0]
	if got.Identity != "ci@acme.example" || got.Issuer != "https://token.example" || got.KeyID != "" {
		t.Fatalf("%+v", got)
	}
	if got.Time == nil || !got.Time.Equal(s.now) || got.Time.Location() != time.UTC {
		t.Fatalf("time %v, want %v", got.Time, s.now)
	}
	if got.Log == nil || len(got.Log.ID) != 64 || got.Log.Index != 0 {
		t.Fatalf("log %+v", got.Log)
	}
}

func TestKeylessRefusals(t *testing.T) {
	t.Parallel()
	s, other := newSigstore(t), newSigstore(t)
	foreign := order{log: other}
	expired := s.now.Add(-2 * time.Hour)
	tamper := func(change func(m map[string]any)) []byte { return edit(t, s.bundle(order{}), change) }
	entries := func(m map[string]any) []any { return m["verificationMaterial"].(map[string]any)["tlogEntries"].([]any) }
	proof := func(m map[string]any) map[string]any {
		return entries(m)[0].(map[string]any)["inclusionProof"].(map[string]any)
	}
	for name, c := range map[string]struct {
		bundle []byte
		reason signing.Reason
	}{
		"other identity":          {s.bundle(order{email: "eve@acme.example"}), signing.ReasonUnknownIdentity},
		"identity with a tail":    {s.bundle(order{email: "ci@acme.example.evil.example"}), signing.ReasonUnknownIdentity},
		"other issuer":            {s.bundle(order{issuer: "https://token.evil.example"}), signing.ReasonUnknownIdentity},
		"no SCT":                  {s.bundle(order{noSCT: true}), signing.ReasonSCT},
		"no log entry":            {s.bundle(order{noLog: true}), signing.ReasonTransparency},
		"entry of a foreign log":  {s.bundle(foreign), signing.ReasonTransparency},
		"entry of another bundle": {tamper(func(m map[string]any) { entries(m)[0] = entries(decode(t, s.bundle(order{})))[0] }), signing.ReasonTransparency},
		"bad inclusion proof":     {tamper(func(m map[string]any) { proof(m)["hashes"] = []any{make([]byte, 32)} }), signing.ReasonTransparency},
		"bad tree head": {tamper(func(m map[string]any) {
			head := proof(m)["checkpoint"].(map[string]any)
			head["envelope"] = strings.Replace(head["envelope"].(string), "\n1\n", "\n2\n", 1)
		}), signing.ReasonTransparency},
		"same entry twice": {tamper(func(m map[string]any) {
			m["verificationMaterial"].(map[string]any)["tlogEntries"] = append(entries(m), entries(m)[0])
		}), signing.ReasonTransparency},
		"no timestamp":             {s.bundle(order{noTime: true}), signing.ReasonTimestamp},
		"timestamp of another":     {s.bundle(order{wrongTime: true}), signing.ReasonTimestamp},
		"expired when stamped":     {s.bundle(order{born: expired}), signing.ReasonCertificate},
		"stamped before its birth": {s.bundle(order{at: expired}), signing.ReasonCertificate},
		"foreign authority":        {other.bundle(order{log: s}), signing.ReasonTimestamp},
		"foreign CA":               {imposter(s, other).bundle(order{}), signing.ReasonCertificate},
		"signature of another":     {tamper(func(m map[string]any) { m["dsseEnvelope"] = dsse(t, s.bundle(order{})) }), signing.ReasonTransparency},
		"another artefact":         {s.bundle(order{digest: digestB}), signing.ReasonSubject},
		"an SBOM":                  {s.bundle(order{predicate: sbom}), signing.ReasonPredicate},
		"a bare key":               {s.bundle(order{noCert: true}), signing.ReasonUnknownKey},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			p := s.policy(byIdentity)
			v := deny(t, p, "acme/echo", digestA, [][]byte{c.bundle}, abi.Untrusted, c.reason)
			if strings.Contains(v.Rejected[0].Reason, "%!") {
				t.Error(v.Rejected[0].Reason)
			}
			wantReasons(t, allow(t, p, "acme/echo", digestA, [][]byte{c.bundle, s.bundle(order{})}, "ci"), c.reason)
		})
	}
}

// imposter is s with a certificate authority of other's: log, time and certificate log are all in order.
func imposter(s, other *sigstore) *sigstore {
	fake := *s
	fake.ca, fake.caKey, fake.caRoot = other.ca, other.caKey, other.caRoot
	return &fake
}

// A bundle may stand in logs that this root does not know; they neither help nor harm.
func TestEntryOfAForeignLogBesides(t *testing.T) {
	t.Parallel()
	s := newSigstore(t)
	b := s.bundle(order{})
	own := decode(t, b)["verificationMaterial"].(map[string]any)["tlogEntries"].([]any)[0]
	both := edit(t, b, func(m map[string]any) {
		foreign := decode(t, newSigstore(t).bundle(order{}))["verificationMaterial"].(map[string]any)["tlogEntries"].([]any)[0]
		m["verificationMaterial"].(map[string]any)["tlogEntries"] = []any{foreign, own}
	})
	v := allow(t, s.policy(byIdentity), "acme/echo", digestA, [][]byte{both}, "ci")
	if want := hex.EncodeToString(logID(t, s.logKey)); v.Signers[0].Log == nil || v.Signers[0].Log.ID != want {
		t.Fatalf("log %+v, want %s", v.Signers[0].Log, want)
	}
}

// A short-lived certificate counts for ever, if a time was attested while it lived.
func TestKeylessLongAfterwards(t *testing.T) {
	t.Parallel()
	s := newSigstore(t)
	then := s.now.Add(-3 * time.Hour)
	allow(t, s.policy(byIdentity), "acme/echo", digestA, [][]byte{s.bundle(order{born: then, at: then.Add(time.Minute)})}, "ci")
}

// sigstore-go accepts entries of a Rekor v2 log whose validity ended before the signature; we do not.
func TestLogOutOfService(t *testing.T) {
	t.Parallel()
	s := newSigstore(t)
	before := s.now.Add(-2 * time.Hour)
	early, late := s.bundle(order{born: before, at: before}), s.bundle(order{})
	s.logEnd = s.now.Add(-time.Hour)
	p := s.policy(byIdentity)
	allow(t, p, "acme/echo", digestA, [][]byte{early}, "ci")
	deny(t, p, "acme/echo", digestA, [][]byte{late}, abi.Untrusted, signing.ReasonTransparency)
}

func TestThresholdsOfARoot(t *testing.T) {
	t.Parallel()
	s := newSigstore(t)
	for name, c := range map[string]struct {
		setting string
		bundle  order
	}{
		"no certificate log":  {"sct = 0", order{noSCT: true}},
		"no transparency log": {"tlog = 0", order{noLog: true}},
		"the log's own time":  {"allow_integrated_time = true", order{noTime: true, v1: true}},
		"older log":           {"", order{v1: true}},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			p := s.policy(swap("[signer.ci]", c.setting+"\n[signer.ci]"))
			allow(t, p, "acme/echo", digestA, [][]byte{s.bundle(c.bundle)}, "ci")
		})
	}
	deny(t, s.policy(byIdentity), "acme/echo", digestA, [][]byte{s.bundle(order{noTime: true, v1: true})}, abi.Untrusted, signing.ReasonTimestamp)
}

func TestIdentityGlobs(t *testing.T) {
	t.Parallel()
	s := newSigstore(t)
	glob := "https://git.example/acme/packs/.release.yml@refs/tags/*"
	p := s.policy(swap(`"ci@acme.example"`, `"`+glob+`"`))
	for uri, fits := range map[string]bool{
		"https://git.example/acme/packs/.release.yml@refs/tags/v1":                      true,
		"https://git.example/acme/packs/.release.yml@refs/tags/":                        true,
		"https://git.example/acme/packs/.release.yml@refs/tags/v1/x":                    false,
		"https://git.example/acme/packs/Xrelease.yml@refs/tags/v1":                      false,
		"https://git.example/acme/packs/.release.yml@refs/heads/main":                   false,
		"https://git.example/acme-evil/packs/.release.yml@refs/tags/v1":                 false,
		"https://evil.example/https://git.example/acme/packs/.release.yml@refs/tags/v1": false,
	} {
		b := s.bundle(order{uri: uri})
		if fits {
			allow(t, p, "acme/echo", digestA, [][]byte{b}, "ci")
		} else {
			deny(t, p, "acme/echo", digestA, [][]byte{b}, abi.Untrusted, signing.ReasonUnknownIdentity)
		}
	}
}

func TestClaims(t *testing.T) {
	t.Parallel()
	s := newSigstore(t)
	p := s.policy(swap("[[rule]]", "claims = { source_repository_owner_id = \"12345\" }\n[[rule]]"))
	allow(t, p, "acme/echo", digestA, [][]byte{s.bundle(order{ownerID: "12345"})}, "ci")
	// The name is the same, the owner is not: somebody took the account over.
	for _, owner := range []string{"", "999"} {
		v := deny(t, p, "acme/echo", digestA, [][]byte{s.bundle(order{ownerID: owner})}, abi.Untrusted, signing.ReasonUnknownIdentity)
		if !strings.Contains(v.Rejected[0].Reason, `not with the claims of signer "ci"`) {
			t.Errorf("%+v", v.Rejected[0])
		}
	}
}

// An identity that fits two signers of a rule counts for the first of them, in whatever order the bundles come.
func TestOneIdentityIsOneSigner(t *testing.T) {
	t.Parallel()
	s := newSigstore(t)
	p := s.policy(strings.NewReplacer(`signers = ["ci"]`, "signers = [\"boss\", \"ci\"]\nthreshold = 2", `"ci@acme.example"`, `"*@acme.example"
[signer.boss]
root = "main"
issuer = "https://token.example"
identity = "boss@acme.example"`).Replace(byIdentity))
	boss, again, ci := s.bundle(order{email: "boss@acme.example"}), s.bundle(order{email: "boss@acme.example"}), s.bundle(order{})
	deny(t, p, "acme/echo", digestA, [][]byte{boss, again}, abi.Untrusted, signing.ReasonDuplicate)
	deny(t, p, "acme/echo", digestA, [][]byte{ci, s.bundle(order{email: "eve@acme.example"})}, abi.Untrusted, signing.ReasonDuplicate)
	allow(t, p, "acme/echo", digestA, [][]byte{ci, boss}, "ci", "boss")
	allow(t, p, "acme/echo", digestA, [][]byte{boss, ci}, "boss", "ci")
}

// Two roots, as while a private Sigstore renews its keys: the signature is judged by the one that made it.
func TestTwoRoots(t *testing.T) {
	t.Parallel()
	old, young := newSigstore(t), newSigstore(t)
	text := strings.NewReplacer("[signer.ci]", "[root.young]\ntrusted_root = \"young.json\"\n[signer.ci]", "[[rule]]", `[signer.ci-young]
root = "young"
issuer = "https://token.example"
identity = "ci@acme.example"
[[rule]]`, `signers = ["ci"]`, `signers = ["ci", "ci-young"]`).Replace(byIdentity)
	p := parse(t, text, files{"trusted_root.json": old.trustedRoot(), "young.json": young.trustedRoot()})
	allow(t, p, "acme/echo", digestA, [][]byte{old.bundle(order{})}, "ci")
	allow(t, p, "acme/echo", digestA, [][]byte{young.bundle(order{})}, "ci-young")
	mixed := old.bundle(order{log: young})
	deny(t, p, "acme/echo", digestA, [][]byte{mixed}, abi.Untrusted, signing.ReasonTransparency)
}

// A key beside a root: the log entry and the timestamp are demanded and checked, the certificate log is not.
func TestLoggedKey(t *testing.T) {
	t.Parallel()
	s := newSigstore(t)
	pair := foreignKeys(t)["ECDSA P-256"]
	pub, err := pair.GetPublicKeyPem()
	check(t, err)
	text := func(more string) string {
		return "schema = 1\n[root.main]\ntrusted_root = \"trusted_root.json\"\n[signer.k]\nkey = \"k.pub\"\nroot = \"main\"\n" + more +
			"\n[[rule]]\npacks = \"acme/*\"\nsigners = [\"k\"]\n"
	}
	f := files{"trusted_root.json": s.trustedRoot(), "k.pub": []byte(pub)}
	full := s.bundle(order{key: pair, noCert: true})
	bare := s.bundle(order{key: pair, noCert: true, noLog: true, noTime: true})
	logged := s.bundle(order{key: pair, noCert: true, noTime: true})
	strict := parse(t, text(""), f)
	v := allow(t, strict, "acme/echo", digestA, [][]byte{full}, "k")
	if v.Signers[0].Time == nil || v.Signers[0].Log == nil {
		t.Fatalf("%+v", v.Signers[0])
	}
	deny(t, strict, "acme/echo", digestA, [][]byte{bare}, abi.Untrusted, signing.ReasonTransparency)
	deny(t, strict, "acme/echo", digestA, [][]byte{logged}, abi.Untrusted, signing.ReasonTimestamp)
	deny(t, strict, "acme/echo", digestA, [][]byte{s.bundle(order{key: pair, noCert: true, log: newSigstore(t)})}, abi.Untrusted, signing.ReasonTransparency)
	allow(t, parse(t, text("timestamps = 0"), f), "acme/echo", digestA, [][]byte{logged}, "k")
	allow(t, parse(t, text("timestamps = 0\ntlog = 0"), f), "acme/echo", digestA, [][]byte{bare}, "k")
}
