package signing

import (
	"fmt"
	"maps"
	"slices"
	"strings"

	"github.com/sigstore/sigstore-go/pkg/fulcio/certificate"
	"github.com/sigstore/sigstore-go/pkg/root"
	"github.com/sigstore/sigstore-go/pkg/verify"
)

const nameHint = "names are lower-case letters, digits, dots, dashes and underscores"

func (l *loader) loadRoot(name string, in rootEntry) {
	l.roots[name] = nil
	at := func(key string) []any { return []any{"root", name, key} }
	if !entryName.MatchString(name) {
		l.bad("not a name", nameHint, "root", name)
		return
	}
	proof := proof{
		sct: l.count(in.SCT, 1, at("sct")), tlog: l.count(in.TLog, 1, at("tlog")),
		timestamps: l.count(in.Timestamps, 1, at("timestamps")), integrated: in.AllowIntegratedTime,
	}
	if strings.HasPrefix(in.TrustedRoot, "tuf:") {
		l.bad("trusted roots are not fetched over TUF here", "name a trusted_root.json file", at("trusted_root")...)
		return
	}
	text, err := l.fetch(in.TrustedRoot, maxRootFile)
	if err != nil {
		l.bad(fmt.Sprintf("read %q: %v", in.TrustedRoot, err), "the file lies beside trust.toml", at("trusted_root")...)
		return
	}
	material, err := parseTrustedRoot(text)
	if err != nil {
		l.bad(fmt.Sprintf("%q is no trusted root: %v", in.TrustedRoot, err), "it is Sigstore's trusted_root.json", at("trusted_root")...)
		return
	}
	if l.offers(name, material, proof) {
		l.roots[name] = &trustedRoot{material, proof}
	}
}

func parseTrustedRoot(text []byte) (root.TrustedMaterial, error) {
	if err := checkJSON(text); err != nil {
		return nil, err
	}
	material, err := root.NewTrustedRootFromJSON(text)
	if err != nil {
		return nil, fmt.Errorf("%s", clean(err.Error()))
	}
	return material, nil
}

// offers refuses thresholds that the root can never meet: better a line number now than a riddle at the first install.
func (l *loader) offers(name string, m root.TrustedMaterial, p proof) bool {
	ok := true
	for _, need := range p.needs(m) {
		if need.want > need.have {
			l.bad(fmt.Sprintf("%d wanted, the trusted root knows %d %s", need.want, need.have, need.what),
				"lower the number if you accept that, or use a trusted root that has them", "root", name, need.key)
			ok = false
		}
	}
	return ok
}

// need is one threshold beside what a trusted root has to offer.
type need struct {
	key, what  string
	want, have int
}

func (p proof) needs(m root.TrustedMaterial) []need {
	times := len(m.TimestampingAuthorities())
	if p.integrated {
		times += len(m.RekorLogs())
	}
	return []need{
		{"sct", "certificate logs", p.sct, len(m.CTLogs())},
		{"tlog", "transparency logs", p.tlog, len(m.RekorLogs())},
		{"timestamps", "timestamp authorities", p.timestamps, times},
	}
}

// maxThreshold bounds every threshold of a root.
const maxThreshold = 32

// count is a threshold that may be left out.
func (l *loader) count(n *int, fallback int, path []any) int {
	if n == nil {
		return fallback
	}
	if *n < 0 || *n > maxThreshold {
		l.bad(fmt.Sprintf("%d is not a number from 0 to %d", *n, maxThreshold), "", path...)
		return fallback
	}
	return *n
}

func (l *loader) loadSigner(name string, in signerEntry) *signer {
	if !entryName.MatchString(name) {
		l.bad("not a name", nameHint, "signer", name)
		return nil
	}
	var base *trustedRoot
	if in.Root != "" {
		var known bool
		if base, known = l.roots[in.Root]; !known {
			l.bad(fmt.Sprintf("there is no root %q", clean(in.Root)), "add [root."+clean(in.Root)+"]", "signer", name, "root")
			return nil
		}
		l.used["root "+in.Root] = true
		if base == nil {
			return nil // the root has its own complaint
		}
	}
	if !in.From.IsZero() && !in.Until.IsZero() && !in.From.Before(in.Until) {
		l.bad("its time ends before it begins", "let until be later than from", "signer", name, "until")
		return nil
	}
	keyless := in.Issuer != "" || in.Identity != "" || len(in.Claims) > 0
	switch {
	case in.Key != "" && keyless:
		l.bad("both a key and an identity", "make two signers of it", "signer", name)
		return nil
	case in.Key != "":
		return l.loadKeySigner(name, in, base)
	case keyless:
		return l.loadKeyless(name, in, base)
	}
	l.bad("it does not say who it is", "add key = \"file.pub\", or issuer and identity with a root", "signer", name)
	return nil
}

// loadKeySigner makes weak proof explicit: without a root there is nothing to check a log entry against, and then the
// policy has to say tlog = 0 in so many letters.
func (l *loader) loadKeySigner(name string, in signerEntry, base *trustedRoot) *signer {
	at := func(key string) []any { return []any{"signer", name, key} }
	var material root.TrustedMaterial
	want := proof{}
	if base != nil {
		material, want = base.material, base.proof
		want.sct = 0 // a bare key has no certificate to be logged
	} else if in.TLog == nil {
		l.bad("without a root nothing can show that its signatures were logged",
			"say tlog = 0 to accept that, or name a root", "signer", name)
		return nil
	}
	want.tlog = l.count(in.TLog, want.tlog, at("tlog"))
	want.timestamps = l.count(in.Timestamps, want.timestamps, at("timestamps"))
	if base == nil && (want.tlog > 0 || want.timestamps > 0) {
		l.bad("it asks for log entries or timestamps and has no root to check them with", "name a root", "signer", name)
		return nil
	}
	text, err := l.fetch(in.Key, maxKeyFile)
	if err != nil {
		l.bad(fmt.Sprintf("read %q: %v", in.Key, err), "the file lies beside trust.toml", at("key")...)
		return nil
	}
	public, id, err := parsePublicKey(text)
	if err == nil {
		material, err = keyMaterial(public, material)
	}
	if err != nil {
		l.bad(fmt.Sprintf("%q is no public key: %v", in.Key, err), "it is a PEM file that starts -----BEGIN PUBLIC KEY-----", at("key")...)
		return nil
	}
	if want.tlog == 0 {
		l.warn("its signatures need not stand in any log, so misuse of the key would leave no trace", at("tlog")...)
	}
	return &signer{name: name, keyID: id, material: material, proof: want, from: in.From, until: in.Until}
}

func (l *loader) loadKeyless(name string, in signerEntry, base *trustedRoot) *signer {
	at := func(key string) []any { return []any{"signer", name, key} }
	before := len(l.problems)
	if in.Issuer == "" || in.Identity == "" {
		l.bad("it needs an issuer and an identity, both",
			"an identity means nothing without who vouches for it", "signer", name)
	}
	if strings.Trim(in.Identity, "*") == "" && in.Identity != "" {
		l.bad(fmt.Sprintf("%q is anybody the issuer knows", in.Identity), "name at least a domain or a repository", at("identity")...)
	}
	if base == nil {
		l.bad("an identity can only be checked with a root", "add root = \"…\"", "signer", name)
	} else if base.proof.timestamps == 0 {
		l.bad(fmt.Sprintf("root %q asks for no timestamp, but a certificate lives minutes", in.Root),
			"set timestamps = 1 on the root", at("root")...)
	}
	if in.TLog != nil || in.Timestamps != nil {
		l.bad("an identity takes its thresholds from its root",
			"make a [root] of its own with other numbers, over the same file", "signer", name)
	}
	claims := l.loadClaims(name, in.Claims)
	if len(l.problems) > before {
		return nil
	}
	san, err := verify.NewSANMatcher("", globPattern(in.Identity))
	if err != nil {
		l.bad(err.Error(), "", at("identity")...)
		return nil
	}
	identity, err := verify.NewCertificateIdentity(san, verify.IssuerMatcher{Issuer: in.Issuer}, claims)
	if err != nil {
		l.bad(err.Error(), "", "signer", name)
		return nil
	}
	return &signer{name: name, identity: &identity, glob: in.Identity, material: base.material, proof: base.proof,
		from: in.From, until: in.Until}
}

// loadClaims refuses an empty claim: to the library it would mean "any".
func (l *loader) loadClaims(name string, in map[string]string) certificate.Extensions {
	var out certificate.Extensions
	for _, claim := range slices.Sorted(maps.Keys(in)) {
		field, known := claimFields[claim]
		switch {
		case !known:
			l.bad("unknown claim", "claims are "+strings.Join(claimNames(), ", "), "signer", name, "claims", claim)
		case in[claim] == "":
			l.bad("an empty claim would fit any certificate", "give the value it must have, or leave it out", "signer", name, "claims", claim)
		default:
			*field(&out) = in[claim]
		}
	}
	return out
}
