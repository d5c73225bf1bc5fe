package signing_test

import (
	"bytes"
	"crypto/ecdh"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/rsa"
	"crypto/sha256"
	"crypto/x509"
	"encoding/binary"
	"encoding/pem"
	"errors"
	"fmt"
	"math/big"
	"strings"
	"testing"

	"github.com/arw-project/arw/abi"
	"github.com/arw-project/arw/manifests/strict"
	"github.com/arw-project/arw/signing"
)

func TestOneRuleApplies(t *testing.T) {
	t.Parallel()
	rule := func(packs, who string) string {
		return fmt.Sprintf("[[rule]]\npacks = %q\nsigners = [%q]\n", packs, who)
	}
	p := people(t, rule("*", "any")+rule("acme/*", "acme")+rule("acme/web-*", "web")+rule("acme/web-ui", "ui")+rule("acmex/*", "x"),
		"any", "acme", "web", "ui", "x")
	for pack, want := range map[string][2]string{
		"acme/echo": {"acme/*", "acme"}, "acme/web-api": {"acme/web-*", "web"}, "acme/web-ui": {"acme/web-ui", "ui"},
		"acme/web-ui2": {"acme/web-*", "web"}, "acme/web": {"acme/*", "acme"}, "acmex/echo": {"acmex/*", "x"},
		"beta/echo": {"*", "any"}, "acm/echo": {"*", "any"},
	} {
		v := allow(t, p, pack, digestA, [][]byte{signedBy(t, want[1], digestA)}, want[1])
		if v.Rule != want[0] {
			t.Errorf("%s: rule %q, want %q", pack, v.Rule, want[0])
		}
	}
	// Rules never add up: who may sign all of acme may not sign the pack that has a rule of its own.
	deny(t, p, "acme/web-ui", digestA, [][]byte{signedBy(t, "acme", digestA), signedBy(t, "any", digestA)}, abi.Untrusted,
		signing.ReasonNotListed, signing.ReasonNotListed)
}

func TestEmptyPolicyTrustsNobody(t *testing.T) {
	t.Parallel()
	p := parse(t, "schema = 1\n", nil)
	_, err := p.Verify(t.Context(), "acme/echo", digestA, [][]byte{signedBy(t, "alice", digestA)})
	wantCode(t, err, abi.Untrusted)
}

func TestPolicyDigestCoversTheKeys(t *testing.T) {
	t.Parallel()
	text := "schema = 1\n[signer.a]\nkey = \"a.pub\"\ntlog = 0\n"
	alice, bob := files{"a.pub": keyOf(t, "alice").PublicPEM()}, files{"a.pub": keyOf(t, "bob").PublicPEM()}
	one, same := parse(t, text, alice).Digest(), parse(t, text, alice).Digest()
	if one != same || !strings.HasPrefix(one, "sha256:") || len(one) != 71 {
		t.Fatalf("%q, %q", one, same)
	}
	if parse(t, text, bob).Digest() == one || parse(t, text+"# x\n", alice).Digest() == one {
		t.Fatal("another policy, the same digest")
	}
	// The encoding is specified, so that another program can compute it.
	var spec bytes.Buffer
	spec.WriteString("arw trust policy 1\n")
	for _, part := range []string{text, "a.pub", string(alice["a.pub"])} {
		check(t, binary.Write(&spec, binary.BigEndian, uint64(len(part))))
		spec.WriteString(part)
	}
	if want := fmt.Sprintf("sha256:%x", sha256.Sum256(spec.Bytes())); one != want {
		t.Fatalf("digest %s, by the specification %s", one, want)
	}
}

func TestWarnings(t *testing.T) {
	t.Parallel()
	s := newSigstore(t)
	p := parse(t, byIdentity+`[signer.bare]
key = "a.pub"
tlog = 0
[root.spare]
trusted_root = "trusted_root.json"
[[rule]]
packs = "*"
signers = ["ci"]
`, files{"trusted_root.json": s.trustedRoot(), "a.pub": keyOf(t, "alice").PublicPEM()})
	got := strings.Join(p.Warnings(), "\n")
	for _, want := range []string{
		"trust.toml:13: signer.bare.tlog: its signatures need not stand in any log",
		"trust.toml:11: signer.bare: listed in no rule",
		"trust.toml:14: root.spare: used by no signer",
		"trust.toml:17: rule[1].packs: this rule covers every pack",
	} {
		if !strings.Contains(got, want) {
			t.Errorf("no %q in\n%s", want, got)
		}
	}
	if n := len(p.Warnings()); n != 4 {
		t.Errorf("%d warnings:\n%s", n, got)
	}
}

func TestBadPolicies(t *testing.T) {
	t.Parallel()
	s := newSigstore(t)
	f := files{
		"root.json": s.trustedRoot(), "alice.pub": keyOf(t, "alice").PublicPEM(), "bob.pub": keyOf(t, "bob").PublicPEM(),
		"empty": {}, "twice.json": []byte(`{"mediaType":"a","mediaType":"b"}`), "other.json": []byte(`{"mediaType":"x"}`),
		"big": make([]byte, 5<<20), "two.pub": append(keyOf(t, "alice").PublicPEM(), keyOf(t, "bob").PublicPEM()...),
	}
	private, err := keyOf(t, "alice").MarshalPEM(nil)
	check(t, err)
	f["alice.key"] = private
	p224, err := ecdsa.GenerateKey(elliptic.P224(), rand.Reader)
	check(t, err)
	x, err := ecdh.X25519().GenerateKey(rand.Reader)
	check(t, err)
	f["p224.pub"], f["x25519.pub"], f["rsa1024.pub"] = publicPEM(t, p224.Public()), publicPEM(t, x.Public()), publicPEM(t, &rsa.PublicKey{N: new(big.Int).SetBit(big.NewInt(1), 1023, 1), E: 65537})
	f["nolog.json"] = edit(t, f["root.json"], func(m map[string]any) { delete(m, "tlogs"); delete(m, "ctlogs"); delete(m, "timestampAuthorities") })
	// Line 1 is the schema; $R is a good root on 2–3, $A a good key signer, $K a good keyless one.
	expand := strings.NewReplacer("$R", "[root.main]\ntrusted_root = \"root.json\"\n", "$A", "[signer.alice]\nkey = \"alice.pub\"\ntlog = 0\n",
		"$K", "[signer.ci]\nroot = \"main\"\nissuer = \"https://i.example\"\nidentity = \"ci@acme.example\"\n")
	for name, c := range map[string]struct{ text, want string }{
		"no schema":               {"$A", `trust.toml:1: schema: this key is required`},
		"other schema":            {"schema = 2\n", `trust.toml:1: schema: 2 is not a schema of this host; it reads schema = 1`},
		"syntax":                  {"schema = 1\n[signer\n", `trust.toml:3: expected`},
		"unknown key":             {"schema = 1\n$A[[rule]]\npacks = \"a/*\"\nsigner = [\"alice\"]\nsigners = [\"alice\"]\n", `trust.toml:7: rule[0].signer: unknown key; did you mean "signers"?`},
		"unknown table":           {"schema = 1\n[index]\n", `trust.toml:2: index: unknown key`},
		"wrong type":              {"schema = 1\n$A[[rule]]\npacks = 1\nsigners = [\"alice\"]\n", `trust.toml:6: rule[0].packs: expected a string, found the integer 1`},
		"root without file":       {"schema = 1\n[root.main]\n", `trust.toml:2: root.main.trusted_root: this key is required`},
		"root file absent":        {"schema = 1\n[root.main]\ntrusted_root = \"nope.json\"\n", `trust.toml:3: root.main.trusted_root: read "nope.json": open nope.json: file does not exist`},
		"root over TUF":           {"schema = 1\n[root.main]\ntrusted_root = \"tuf:root.json\"\n", `trust.toml:3: root.main.trusted_root: trusted roots are not fetched over TUF here`},
		"root empty":              {"schema = 1\n[root.main]\ntrusted_root = \"empty\"\n", `trust.toml:3: root.main.trusted_root: "empty" is no trusted root: it is not one JSON value`},
		"root with a key twice":   {"schema = 1\n[root.main]\ntrusted_root = \"twice.json\"\n", `key "mediaType" stands twice`},
		"root of another type":    {"schema = 1\n[root.main]\ntrusted_root = \"other.json\"\n", `trust.toml:3: root.main.trusted_root: "other.json" is no trusted root: unsupported TrustedRoot media type`},
		"root too big":            {"schema = 1\n[root.main]\ntrusted_root = \"big\"\n", `trust.toml:3: root.main.trusted_root: read "big": 5242880 bytes, at most 4194304`},
		"root offers no SCT":      {"schema = 1\n[root.main]\ntrusted_root = \"nolog.json\"\ntlog = 0\ntimestamps = 0\n", `trust.toml:2: root.main.sct: 1 wanted, the trusted root knows 0 certificate logs`},
		"root offers no log":      {"schema = 1\n[root.main]\ntrusted_root = \"nolog.json\"\nsct = 0\ntlog = 1\ntimestamps = 0\n", `trust.toml:5: root.main.tlog: 1 wanted, the trusted root knows 0 transparency logs`},
		"root offers one time":    {"schema = 1\n[root.main]\ntrusted_root = \"root.json\"\ntimestamps = 2\n", `trust.toml:4: root.main.timestamps: 2 wanted, the trusted root knows 1 timestamp authorities`},
		"negative threshold":      {"schema = 1\n[root.main]\ntrusted_root = \"root.json\"\ntlog = -1\n", `trust.toml:4: root.main.tlog: -1 is not a number from 0 to 32`},
		"root name":               {"schema = 1\n[root.\"a b\"]\ntrusted_root = \"root.json\"\n", `trust.toml:2: root."a b": not a name`},
		"signer name":             {"schema = 1\n[signer.ALICE]\nkey = \"alice.pub\"\ntlog = 0\n", `trust.toml:2: signer.ALICE: not a name`},
		"signer of no kind":       {"schema = 1\n[signer.x]\ntlog = 0\n", `trust.toml:2: signer.x: it does not say who it is`},
		"signer of both kinds":    {"schema = 1\n$R[signer.x]\nroot = \"main\"\nkey = \"alice.pub\"\nissuer = \"i\"\n", `trust.toml:4: signer.x: both a key and an identity`},
		"signer, unknown root":    {"schema = 1\n[signer.x]\nkey = \"alice.pub\"\nroot = \"main\"\n", `trust.toml:4: signer.x.root: there is no root "main"; add [root.main]`},
		"key absent":              {"schema = 1\n[signer.x]\nkey = \"x.pub\"\ntlog = 0\n", `trust.toml:3: signer.x.key: read "x.pub": open x.pub: file does not exist`},
		"key empty":               {"schema = 1\n[signer.x]\nkey = \"empty\"\ntlog = 0\n", `trust.toml:3: signer.x.key: "empty" is no public key: there is no PEM block in it`},
		"key private":             {"schema = 1\n[signer.x]\nkey = \"alice.key\"\ntlog = 0\n", `it is a private key; a trust policy names public keys only`},
		"key and a half":          {"schema = 1\n[signer.x]\nkey = \"two.pub\"\ntlog = 0\n", `it is not one PEM block`},
		"key too weak":            {"schema = 1\n[signer.x]\nkey = \"p224.pub\"\ntlog = 0\n", `ECDSA P-224 is too weak`},
		"key too short":           {"schema = 1\n[signer.x]\nkey = \"rsa1024.pub\"\ntlog = 0\n", `RSA 1024 is not of 2048, 3072 or 4096 bits`},
		"key that cannot sign":    {"schema = 1\n[signer.x]\nkey = \"x25519.pub\"\ntlog = 0\n", `*ecdh.PublicKey keys do not sign packs`},
		"key, silent about logs":  {"schema = 1\n[signer.x]\nkey = \"alice.pub\"\n", `trust.toml:2: signer.x: without a root nothing can show that its signatures were logged; say tlog = 0 to accept that, or name a root`},
		"key, log without root":   {"schema = 1\n[signer.x]\nkey = \"alice.pub\"\ntlog = 1\n", `trust.toml:2: signer.x: it asks for log entries or timestamps and has no root`},
		"key twice":               {"schema = 1\n$A[signer.bob]\nkey = \"alice.pub\"\ntlog = 0\n", `trust.toml:6: signer.bob.key: the same key as signer "alice"`},
		"identity, no issuer":     {"schema = 1\n$R[signer.x]\nroot = \"main\"\nidentity = \"a@b\"\n", `trust.toml:4: signer.x: it needs an issuer and an identity, both`},
		"issuer, no identity":     {"schema = 1\n$R[signer.x]\nroot = \"main\"\nissuer = \"https://i\"\n", `trust.toml:4: signer.x: it needs an issuer and an identity, both`},
		"anybody":                 {"schema = 1\n$R[signer.x]\nroot = \"main\"\nissuer = \"https://i\"\nidentity = \"*\"\n", `trust.toml:7: signer.x.identity: "*" is anybody the issuer knows`},
		"identity, no root":       {"schema = 1\n[signer.x]\nissuer = \"https://i\"\nidentity = \"a@b\"\n", `trust.toml:2: signer.x: an identity can only be checked with a root`},
		"identity, own threshold": {"schema = 1\n$R$Ktlog = 0\n", `trust.toml:4: signer.ci: an identity takes its thresholds from its root`},
		"identity without a time": {"schema = 1\n[root.main]\ntrusted_root = \"root.json\"\ntimestamps = 0\n$K", `trust.toml:6: signer.ci.root: root "main" asks for no timestamp, but a certificate lives minutes`},
		"unknown claim":           {"schema = 1\n$R$Kclaims = { owner = \"1\" }\n", `trust.toml:8: signer.ci.claims.owner: unknown claim; claims are build_config_digest`},
		"empty claim":             {"schema = 1\n$R$Kclaims = { build_trigger = \"\" }\n", `trust.toml:8: signer.ci.claims.build_trigger: an empty claim would fit any certificate`},
		"pattern":                 {"schema = 1\n$A[[rule]]\npacks = \"acme\"\nsigners = [\"alice\"]\n", `trust.toml:6: rule[0].packs: "acme" is not a pack pattern; write packs = "namespace/*"`},
		"pattern, star inside":    {"schema = 1\n$A[[rule]]\npacks = \"a*/x\"\nsigners = [\"alice\"]\n", `trust.toml:6: rule[0].packs: "a*/x" is not a pack pattern`},
		"pattern, open namespace": {"schema = 1\n$A[[rule]]\npacks = \"acme*\"\nsigners = [\"alice\"]\n", `"acme*" is not a pack pattern`},
		"equal prefixes":          {"schema = 1\n$A[[rule]]\npacks = \"a/x\"\nsigners = [\"alice\"]\n[[rule]]\npacks = \"a/x*\"\nsigners = [\"alice\"]\n", `trust.toml:9: rule[1].packs: "a/x*" covers as much as rule "a/x": exactly one rule may apply to a pack`},
		"the same rule twice":     {"schema = 1\n$A[[rule]]\npacks = \"a/*\"\nsigners = [\"alice\"]\n[[rule]]\npacks = \"a/*\"\nsigners = [\"alice\"]\n", `trust.toml:9: rule[1].packs: "a/*" covers as much as rule "a/*"`},
		"rule without signers":    {"schema = 1\n[[rule]]\npacks = \"a/*\"\n", `trust.toml:2: rule[0].signers: this key is required`},
		"rule with no signers":    {"schema = 1\n[[rule]]\npacks = \"a/*\"\nsigners = []\n", `trust.toml:4: rule[0].signers: it lists nobody`},
		"unknown signer":          {"schema = 1\n$A[[rule]]\npacks = \"a/*\"\nsigners = [\"alice\",\n\"bob\"]\n", `trust.toml:8: rule[0].signers[1]: there is no signer "bob"; add [signer.bob]`},
		"signer listed twice":     {"schema = 1\n$A[[rule]]\npacks = \"a/*\"\nsigners = [\"alice\", \"alice\"]\n", `trust.toml:7: rule[0].signers[1]: signer "alice" is listed twice`},
		"threshold above":         {"schema = 1\n$A[[rule]]\npacks = \"a/*\"\nsigners = [\"alice\"]\nthreshold = 2\n", `trust.toml:8: rule[0].threshold: 2 of 1 signers; it is a number from 1 to the number of signers`},
		"threshold zero":          {"schema = 1\n$A[[rule]]\npacks = \"a/*\"\nsigners = [\"alice\"]\nthreshold = 0\n", `trust.toml:8: rule[0].threshold: 0 of 1 signers`},
		"threshold, a word":       {"schema = 1\n$A[[rule]]\npacks = \"a/*\"\nsigners = [\"alice\"]\nthreshold = \"most\"\n", `trust.toml:8: rule[0].threshold: expected a number, "any" or "all", found the string "most"`},
		"threshold, a float":      {"schema = 1\n$A[[rule]]\npacks = \"a/*\"\nsigners = [\"alice\"]\nthreshold = 1.5\n", `found the float 1.5`},
		"require, no predicate":   {"schema = 1\n$A[[rule]]\npacks = \"a/*\"\nsigners = [\"alice\"]\n[[rule.require]]\nsigners = [\"alice\"]\n", `trust.toml:8: rule[0].require[0].predicate: this key is required`},
		"require, empty":          {"schema = 1\n$A[[rule]]\npacks = \"a/*\"\nsigners = [\"alice\"]\n[[rule.require]]\npredicate = \"\"\nsigners = [\"alice\"]\n", `trust.toml:9: rule[0].require[0].predicate: it is empty`},
		"builder of an SBOM":      {"schema = 1\n$A[[rule]]\npacks = \"a/*\"\nsigners = [\"alice\"]\n[[rule.require]]\npredicate = \"" + sbom + "\"\nsigners = [\"alice\"]\nbuilder_id = \"x\"\n", `trust.toml:11: rule[0].require[0].builder_id: a builder is read from https://slsa.dev/provenance/v1 only`},
		"two roles for one":       {"schema = 1\n$A[[rule]]\npacks = \"a/*\"\nsigners = [\"alice\"]\n[[rule.require]]\npredicate = \"" + signing.PredicateSign + "\"\nsigners = [\"alice\"]\n", `trust.toml:10: rule[0].require[0].signers: signer "alice" stands in two lists for "https://sigstore.dev/cosign/sign/v1"`},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			p, err := signing.ParsePolicy("trust.toml", []byte(expand.Replace(c.text)), f.read)
			wantCode(t, err, abi.Invalid)
			if p != nil {
				t.Error("a policy beside an error")
			}
			if !strings.Contains(err.Error(), c.want) {
				t.Errorf("got\n%v\nwant\n%s", err, c.want)
			}
			problems, ok := errors.AsType[strict.Problems](err)
			if !ok || len(problems) == 0 {
				t.Fatalf("no problems in %v", err)
			}
			for _, problem := range problems {
				if problem.File != "trust.toml" || problem.Line < 1 {
					t.Errorf("%+v", problem)
				}
			}
		})
	}
}

func publicPEM(t testing.TB, key any) []byte {
	der, err := x509.MarshalPKIXPublicKey(key)
	check(t, err)
	return pem.EncodeToMemory(&pem.Block{Type: "PUBLIC KEY", Bytes: der})
}

// Everything wrong is said at once, in the order of the file.
func TestAllProblemsAtOnce(t *testing.T) {
	t.Parallel()
	_, err := signing.ParsePolicy("t.toml", []byte("schema = 3\n[signer.a]\nkey = \"a\"\ntlog = 0\n[[rule]]\npacks = \"x\"\nsigners = [\"a\"]\n"), files{}.read)
	problems, _ := errors.AsType[strict.Problems](err)
	var at []int
	for _, p := range problems {
		at = append(at, p.Line)
	}
	if fmt.Sprint(at) != "[1 3 6]" {
		t.Fatalf("lines %v: %v", at, err)
	}
	if !strings.HasPrefix(err.Error(), `read trust policy "t.toml": `) {
		t.Fatal(err)
	}
}

func TestPolicySizeAndMissingReader(t *testing.T) {
	t.Parallel()
	_, err := signing.ParsePolicy("t.toml", make([]byte, 2<<20), nil)
	wantCode(t, err, abi.TooLarge)
	_, err = signing.ParsePolicy("t.toml", []byte("schema = 1\n[signer.a]\nkey = \"a\"\ntlog = 0\n"), nil)
	wantCode(t, err, abi.Invalid)
}

// Each file is read once, however often it is named.
func TestFilesAreReadOnce(t *testing.T) {
	t.Parallel()
	reads := map[string]int{}
	f := files{"root.json": newSigstore(t).trustedRoot(), "a.pub": keyOf(t, "alice").PublicPEM()}
	_, err := signing.ParsePolicy("t.toml", []byte(`schema = 1
[root.a]
trusted_root = "root.json"
[root.b]
trusted_root = "root.json"
tlog = 0
[signer.a]
key = "a.pub"
root = "b"
`), func(name string) ([]byte, error) { reads[name]++; return f.read(name) })
	check(t, err)
	if reads["root.json"] != 1 || reads["a.pub"] != 1 {
		t.Fatal(reads)
	}
}
