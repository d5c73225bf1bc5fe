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
)

// Verify decides whether the bundles make a digest trusted as the named pack ("namespace/name"). It touches neither
// network nor disk, and never trusts the order of the bundles. The verdict is never nil when the names are well formed,
// also beside an error, and is then the error's Detail too.
//
// Errors: Unsigned (a rule applies and there are no bundles), Untrusted (no rule applies, or its demands are not met),
// TooLarge (more than MaxBundles), Invalid (malformed pack name or digest), the context's own.
// Cost: about 0.2 ms for a bare key's bundle, 2 ms for a keyless one; hostile ones up to some 50 ms each.
func (p *Policy) Verify(ctx context.Context, pack, manifestDigest string, bundles [][]byte) (*Verdict, error) {
	sum, err := parseDigest(manifestDigest)
	if err != nil {
		return nil, err
	}
	if !packName.MatchString(pack) {
		return nil, abi.Errorf(abi.Invalid, "trust pack %q: a pack is called namespace/name in lower case", clean(pack))
	}
	v := &Verdict{Pack: pack, Digest: manifestDigest, PolicyDigest: p.digest, Signers: []Signer{}, Rejected: []Rejection{}}
	r := p.ruleFor(pack)
	if r == nil {
		namespace, _, _ := strings.Cut(pack, "/")
		return v, abi.Errorf(abi.Untrusted, "trust pack %q: no rule of the trust policy covers it", pack).
			WithHint("add a [[rule]] with packs = %q to trust.toml, if you know who signs it", namespace+"/*").WithDetail(v)
	}
	v.Rule, v.Needed = r.pattern, r.demands[0].threshold
	if len(bundles) > MaxBundles {
		return v, abi.Errorf(abi.TooLarge, "trust pack %q: %d bundles on %s, at most %d are read", pack, len(bundles), manifestDigest, MaxBundles).
			WithHint("remove the foreign referrers from the registry").WithDetail(v)
	}
	j := newJudge(p, r, sum, v)
	for n, data := range bundles {
		if err := ctx.Err(); err != nil {
			return v, err
		}
		j.weigh(n, data)
	}
	return v, j.settle(len(bundles))
}

// judge holds one decision while it is made.
type judge struct {
	policy  *Policy
	rule    *rule
	sum     string
	digest  []byte
	verdict *Verdict
	counted []map[*signer]int // per demand: who counts, and by which bundle
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
	result, r := s.check(c, j.digest)
	if r != nil {
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
	out := &Signer{Bundle: n, Name: s.name, Predicate: c.predicate, Time: earliest(result.VerifiedTimestamps)}
	if s.identity == nil {
		out.KeyID = s.keyID
	} else {
		_, out.Identity, out.Issuer = c.who()
	}
	if s.proof.tlog > 0 {
		out.Log = c.loggedIn(s.material)
	}
	return out, nil
}

// loggedIn is the first entry that names a log of the root; entries of other logs are skipped, as verification does.
func (c *claim) loggedIn(material root.TrustedMaterial) *LogEntry {
	logs := material.RekorLogs()
	for _, entry := range c.bundle.VerificationMaterial.GetTlogEntries() {
		if id := hex.EncodeToString(entry.GetLogId().GetKeyId()); logs[id] != nil {
			return &LogEntry{ID: id, Index: entry.GetLogIndex()}
		}
	}
	return nil
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
			v.Unmet = append(v.Unmet, Unmet{Predicate: demand.predicate, Needed: demand.threshold, Have: have, Signers: demand.names()})
		}
	}
	if v.Allowed = len(v.Unmet) == 0; v.Allowed {
		return nil
	}
	if given == 0 {
		return abi.Errorf(abi.Unsigned, "trust pack %q: nothing signed %s", v.Pack, v.Digest).WithDetail(v)
	}
	unmet := v.Unmet[0]
	why := ""
	if len(v.Rejected) > 0 {
		why = fmt.Sprintf("; bundle %d: %s", v.Rejected[0].Bundle, v.Rejected[0].Reason)
	}
	return abi.Errorf(abi.Untrusted, "trust pack %q: rule %q wants %d of [%s] to sign %q, %d did%s", v.Pack, v.Rule,
		unmet.Needed, strings.Join(unmet.Signers, " "), unmet.Predicate, unmet.Have, why).WithDetail(v)
}
