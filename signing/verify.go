package signing

import (
	"context"
	"encoding/hex"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/arw-project/arw/abi"
	"github.com/sigstore/sigstore-go/pkg/root"
	"github.com/sigstore/sigstore-go/pkg/verify"
	"golang.org/x/mod/semver"
)

// Question is what a policy is asked: may this digest be used as this pack?
type Question struct {
	Pack    string    // "namespace/name"
	Digest  string    // of its OCI manifest
	Version string    // of the pack, as a file under the digest says; a rule with a min_version refuses without it
	Now     time.Time // when it is asked; zero is the present
}

// Verify is Judge for a pack of no known version, asked now.
func (p *Policy) Verify(ctx context.Context, pack, manifestDigest string, bundles [][]byte) (*Verdict, error) {
	return p.Judge(ctx, Question{Pack: pack, Digest: manifestDigest}, bundles)
}

// Judge decides whether the bundles make a digest trusted as the named pack. It touches neither network nor disk, and
// never trusts the order of the bundles. The verdict is never nil when the names are well formed, also beside an error,
// and is then the error's Detail too.
//
// Errors: Unsigned (a rule applies and there are no bundles), Untrusted (no rule applies, it has expired, the version is
// too old, or its demands are not met), TooLarge (more than MaxBundles), Invalid (malformed pack name or digest), the
// context's own.
// Cost: about 0.2 ms for a bare key's bundle, 2 ms for a keyless one; hostile ones up to some 50 ms each.
func (p *Policy) Judge(ctx context.Context, q Question, bundles [][]byte) (*Verdict, error) {
	sum, err := parseDigest(q.Digest)
	if err != nil {
		return nil, err
	}
	if !packName.MatchString(q.Pack) {
		return nil, abi.Errorf(abi.Invalid, "trust pack %q: a pack is called namespace/name in lower case", clean(q.Pack))
	}
	if q.Now.IsZero() {
		q.Now = time.Now()
	}
	v := &Verdict{Pack: q.Pack, Version: clean(q.Version), Digest: q.Digest, PolicyDigest: p.digest,
		Predicates: []string{}, Signers: []Signer{}, Rejected: []Rejection{}}
	r := p.ruleFor(q.Pack)
	if r == nil {
		namespace, _, _ := strings.Cut(q.Pack, "/")
		return v, v.refuse(RefusalNoRule, abi.Errorf(abi.Untrusted, "trust pack %q: no rule of the trust policy covers it", q.Pack).
			WithHint("add a [[rule]] with packs = %q to trust.toml, if you know who signs it", namespace+"/*"))
	}
	v.Rule, v.Publisher, v.Needed, v.MinVersion = r.pattern, r.publisher, r.demands[0].threshold, strings.TrimPrefix(r.minVersion, "v")
	if len(bundles) > MaxBundles {
		return v, v.refuse(RefusalTooMany, abi.Errorf(abi.TooLarge, "trust pack %q: %d bundles on %s, at most %d are read",
			q.Pack, len(bundles), q.Digest, MaxBundles).WithHint("remove the foreign referrers from the registry"))
	}
	j := newJudge(p, r, sum, v)
	j.now = q.Now
	for n, data := range bundles {
		if err := ctx.Err(); err != nil {
			return v, err
		}
		j.weigh(n, data)
	}
	for _, s := range v.Signers {
		v.Predicates = append(v.Predicates, s.Predicate)
	}
	slices.Sort(v.Predicates)
	v.Predicates = slices.Compact(v.Predicates)
	if err := r.stands(q, v); err != nil {
		return v, err
	}
	return v, j.settle(len(bundles))
}

// refuse notes in the verdict why, and in the error the verdict.
func (v *Verdict) refuse(why Refusal, err *abi.Error) error {
	v.Refusal = why
	return err.WithDetail(v)
}

// stands asks what no signature can make good: whether the rule still holds, and for this version.
func (r *rule) stands(q Question, v *Verdict) error {
	if !r.expires.IsZero() {
		end := r.expires.UTC()
		v.Expires = &end
		if !q.Now.Before(end) {
			return v.refuse(RefusalExpired, abi.Errorf(abi.Untrusted, "trust pack %q: rule %q expired at %s", q.Pack, r.pattern,
				end.Format(time.RFC3339)).WithHint("see who stands behind the pack today, then give the rule a later expires"))
		}
	}
	if r.minVersion == "" {
		return nil
	}
	have, ok := canonicalVersion(q.Version)
	if !ok {
		return v.refuse(RefusalVersion, abi.Errorf(abi.Untrusted, "trust pack %q: rule %q wants version %s or later, and it says %q",
			q.Pack, r.pattern, v.MinVersion, clean(q.Version)).WithHint("name a pack whose pack.toml has a version"))
	}
	if semver.Compare(have, r.minVersion) < 0 {
		return v.refuse(RefusalVersion, abi.Errorf(abi.Untrusted, "trust pack %q: version %s is older than %s, the oldest that rule %q takes",
			q.Pack, q.Version, v.MinVersion, r.pattern).WithHint("install a later version"))
	}
	return nil
}

// judge holds one decision while it is made.
type judge struct {
	policy  *Policy
	rule    *rule
	sum     string
	digest  []byte
	verdict *Verdict
	counted []map[*signer]int // per demand: who counts, and by which bundle
	now     time.Time
}

func newJudge(p *Policy, r *rule, sum string, v *Verdict) *judge {
	digest, _ := hex.DecodeString(sum) // parseDigest has seen that it is hex
	j := &judge{policy: p, rule: r, sum: sum, digest: digest, verdict: v, counted: make([]map[*signer]int, len(r.demands))}
	for i := range j.counted {
		j.counted[i] = map[*signer]int{}
	}
	return j
}

// weigh puts one bundle into the verdict, as a signer or as a rejection. A panic in a parser is a rejection: whatever a
// stranger can push to a registry must not take the host down, and must not count either.
func (j *judge) weigh(n int, data []byte) {
	var c *claim
	defer func() {
		if fault := recover(); fault != nil {
			j.verdict.Rejected = append(j.verdict.Rejected, refuse(ReasonMalformed, "reading it failed: %v", fault).reject(n, c))
		}
	}()
	c, r := parseClaim(data, j.sum)
	var who *Signer
	if r == nil {
		who, r = j.attribute(n, c)
	}
	if r != nil {
		j.verdict.Rejected = append(j.verdict.Rejected, r.reject(n, c))
		return
	}
	j.verdict.Signers = append(j.verdict.Signers, *who)
}

// attribute finds the one signer of the rule whose signature this is. When it could be several (an identity that fits
// two patterns), the first of the rule whose proof holds has it, so that no signature ever counts twice and the result
// does not depend on the order of the bundles.
func (j *judge) attribute(n int, c *claim) (*Signer, *refusal) {
	if !j.rule.asksFor(c.predicate) {
		return nil, refuse(ReasonPredicate, "it says %q, which the rule does not ask for", clean(c.predicate))
	}
	fits, sure := j.policy.whoFits(c)
	var first *refusal
	for d, demand := range j.rule.demands {
		if demand.predicate != c.predicate {
			continue
		}
		for _, s := range demand.signers {
			if !slices.Contains(fits, s) {
				continue
			}
			result, r := j.prove(demand, s, c)
			if r == nil {
				return j.count(d, s, n, c, result)
			}
			if first == nil {
				first = r
			}
		}
	}
	switch {
	case !sure:
		return nil, j.policy.stranger(c)
	case first == nil:
		return nil, refuse(ReasonNotListed, "it claims to be by signer %q, whom the rule does not list for this", fits[0].name)
	}
	return nil, first
}

func (j *judge) prove(demand demand, s *signer, c *claim) (*verify.VerificationResult, *refusal) {
	result, r := s.check(c, digestSubject(j.digest))
	if r != nil {
		return nil, r
	}
	if r := s.period(result.VerifiedTimestamps, j.now); r != nil {
		return nil, r
	}
	if demand.builder != "" && c.builder != demand.builder {
		return nil, refuse(ReasonBuilder, "built by %q, the rule wants %q", clean(c.builder), demand.builder)
	}
	return result, nil
}

func (j *judge) count(d int, s *signer, n int, c *claim, result *verify.VerificationResult) (*Signer, *refusal) {
	if earlier, twice := j.counted[d][s]; twice {
		return nil, refuse(ReasonDuplicate, "signer %q is counted already, by bundle %d", s.name, earlier)
	}
	j.counted[d][s] = n
	out := s.found(c, result)
	out.Bundle, out.Role = n, j.rule.demands[d].role
	return out, nil
}

// found is what a verified bundle proves about who signed it.
func (s *signer) found(c *claim, result *verify.VerificationResult) *Signer {
	out := &Signer{Name: s.name, Predicate: c.predicate, Builder: clean(c.builder), Time: earliest(result.VerifiedTimestamps),
		Times: attested(result.VerifiedTimestamps)}
	if s.identity == nil {
		out.KeyID = s.keyID
	} else {
		_, out.Identity, out.Issuer = c.who()
		out.Serial, out.Claims = c.serial, claimsOf(c.summary.Extensions)
	}
	if s.proof.tlog > 0 {
		out.Log = c.loggedIn(s.material)
	}
	return out
}

// period holds every attested time, or the present where none is attested, to the signer's from and until.
func (s *signer) period(times []verify.TimestampVerificationResult, now time.Time) *refusal {
	if len(times) == 0 {
		times = []verify.TimestampVerificationResult{{Timestamp: now}}
	}
	for _, t := range times {
		at := t.Timestamp.UTC()
		if !s.from.IsZero() && at.Before(s.from) {
			return refuse(ReasonPeriod, "signed at %s, signer %q counts from %s", at.Format(time.RFC3339), s.name, s.from.UTC().Format(time.RFC3339))
		}
		if !s.until.IsZero() && !at.Before(s.until) {
			return refuse(ReasonPeriod, "signed at %s, signer %q counts until %s", at.Format(time.RFC3339), s.name, s.until.UTC().Format(time.RFC3339))
		}
	}
	return nil
}

// loggedIn is the first entry that names a log of the root; entries of other logs are skipped, as verification does.
func (c *claim) loggedIn(material root.TrustedMaterial) *LogEntry {
	logs := material.RekorLogs()
	for _, entry := range c.bundle.VerificationMaterial.GetTlogEntries() {
		id := hex.EncodeToString(entry.GetLogId().GetKeyId())
		log := logs[id]
		if log == nil {
			continue
		}
		out := &LogEntry{ID: id, Origin: log.BaseURL, Index: entry.GetLogIndex()}
		if entry.GetIntegratedTime() > 0 && entry.GetInclusionPromise() != nil {
			at := time.Unix(entry.GetIntegratedTime(), 0).UTC()
			out.Integrated = &at
		}
		return out
	}
	return nil
}

func attested(times []verify.TimestampVerificationResult) []Attested {
	var out []Attested
	for _, t := range times {
		by := "timestamp"
		if t.Type == "Tlog" {
			by = "log"
		}
		out = append(out, Attested{By: by, URI: t.URI, Time: t.Timestamp.UTC()})
	}
	return out
}

func earliest(times []verify.TimestampVerificationResult) *time.Time {
	var out *time.Time
	for _, t := range times {
		if at := t.Timestamp.UTC(); out == nil || at.Before(*out) {
			out = &at
		}
	}
	return out
}

// whoFits lists the policy's signers whom a bundle may be by, in no way verified. A key hint that the policy knows is
// sure; one that it does not know proves nothing (other tools write other hints), so every key is worth a try.
func (p *Policy) whoFits(c *claim) (fits []*signer, sure bool) {
	if s := p.keys[c.hint]; c.keyed && s != nil {
		return []*signer{s}, true
	}
	for _, s := range p.signers {
		switch {
		case c.keyed && s.identity == nil:
			fits = append(fits, s)
		case !c.keyed && s.identity != nil && s.identity.Verify(c.summary) == nil:
			fits, sure = append(fits, s), true
		}
	}
	return fits, sure
}

// stranger says that no signer of the policy made a bundle, and for a certificate how near it came.
func (p *Policy) stranger(c *claim) *refusal {
	if c.keyed {
		return refuse(ReasonUnknownKey, "signed by key %q, which no signer of the policy holds", clean(c.hint))
	}
	near := "which no signer of the policy has as issuer"
	for _, s := range p.signers {
		if s.identity == nil || s.identity.Issuer.Verify(c.summary) != nil {
			continue
		}
		near = fmt.Sprintf("of whom the policy's signer %q is %q", s.name, s.glob)
		if s.identity.SubjectAlternativeName.Verify(c.summary) == nil {
			near = fmt.Sprintf("but not with the claims of signer %q: %v", s.name, s.identity.Verify(c.summary))
			break
		}
	}
	_, identity, issuer := c.who()
	return refuse(ReasonUnknownIdentity, "signed by %q of %q, %s", identity, issuer, near)
}

// settle compares what counted with what the rule demands.
func (j *judge) settle(given int) error {
	v := j.verdict
	for d, demand := range j.rule.demands {
		if have := len(j.counted[d]); have < demand.threshold {
			v.Unmet = append(v.Unmet, Unmet{Role: demand.role, Predicate: demand.predicate, Needed: demand.threshold, Have: have, Signers: demand.names()})
		}
	}
	if v.Allowed = len(v.Unmet) == 0; v.Allowed {
		return nil
	}
	if given == 0 {
		return v.refuse(RefusalUnsigned, abi.Errorf(abi.Unsigned, "trust pack %q: nothing signed %s", v.Pack, v.Digest))
	}
	unmet := v.Unmet[0]
	why := ""
	if len(v.Rejected) > 0 {
		why = fmt.Sprintf("; bundle %d: %s", v.Rejected[0].Bundle, v.Rejected[0].Reason)
	}
	return v.refuse(RefusalUnmet, abi.Errorf(abi.Untrusted, "trust pack %q: rule %q wants %d of [%s] to sign %q, %d did%s", v.Pack, v.Rule,
		unmet.Needed, strings.Join(unmet.Signers, " "), unmet.Predicate, unmet.Have, why))
}
