package signing_test

import (
	"strings"
	"testing"
	"time"

	"github.com/arw-project/arw/abi"
	"github.com/arw-project/arw/signing"
)

// ask judges a bundle list and returns the verdict, which must be beside an error exactly when it refuses.
func ask(t *testing.T, p *signing.Policy, q signing.Question, bundles ...[]byte) *signing.Verdict {
	t.Helper()
	if q.Pack == "" {
		q.Pack = "acme/echo"
	}
	if q.Digest == "" {
		q.Digest = digestA
	}
	v, err := p.Judge(t.Context(), q, bundles)
	if v == nil || v.Allowed != (err == nil) || v.Allowed != (v.Refusal == "") {
		t.Fatalf("%+v beside %v", v, err)
	}
	return v
}

func TestMinVersion(t *testing.T) {
	t.Parallel()
	p := people(t, acmeByAlice+"min_version = \"1.4.0\"\n", "alice")
	good := signedBy(t, "alice", digestA)
	for version, want := range map[string]signing.Refusal{
		"1.4.0": "", "1.10.0": "", "2.0.0-rc.1": "",
		"1.3.9": signing.RefusalVersion, "1.4.0-rc.1": signing.RefusalVersion,
		"": signing.RefusalVersion, "1.4": signing.RefusalVersion, "v1.4.0": signing.RefusalVersion, "new": signing.RefusalVersion,
	} {
		if v := ask(t, p, signing.Question{Version: version}, good); v.Refusal != want || v.MinVersion != "1.4.0" || len(v.Signers) != 1 {
			t.Errorf("version %q: %+v", version, v)
		}
	}
	// A version never stands in for a signature.
	if v := ask(t, p, signing.Question{Version: "9.0.0"}); v.Refusal != signing.RefusalUnsigned {
		t.Errorf("%+v", v)
	}
}

func TestRuleExpires(t *testing.T) {
	t.Parallel()
	p := people(t, acmeByAlice+"expires = 2030-01-01T00:00:00Z\n", "alice")
	good := signedBy(t, "alice", digestA)
	end := time.Date(2030, 1, 1, 0, 0, 0, 0, time.UTC)
	if v := ask(t, p, signing.Question{Now: end.Add(-time.Second)}, good); !v.Allowed || v.Expires == nil || !v.Expires.Equal(end) {
		t.Errorf("%+v", v)
	}
	for _, now := range []time.Time{end, end.AddDate(1, 0, 0)} {
		if v := ask(t, p, signing.Question{Now: now}, good); v.Refusal != signing.RefusalExpired {
			t.Errorf("%v: %+v", now, v)
		}
	}
}

// A signer counts for what it signed while it was trusted, whenever that is asked; without an attested time only the
// present is known.
func TestSignerPeriod(t *testing.T) {
	t.Parallel()
	s := newSigstore(t)
	hour := func(n int) string { return s.now.Add(time.Duration(n) * time.Hour).Format(time.RFC3339) }
	period := func(line string) *signing.Policy { return s.policy(swap("[[rule]]", line+"\n[[rule]]")) }
	b := s.bundle(order{})
	for line, fits := range map[string]bool{
		"until = " + hour(1):                            true,
		"until = " + hour(0):                            false,
		"until = " + hour(-1):                           false,
		"from = " + hour(0):                             true,
		"from = " + hour(1):                             false,
		"from = " + hour(-1) + "\nuntil = " + hour(1):   true,
		"from = " + hour(-20) + "\nuntil = " + hour(-9): false,
	} {
		v := ask(t, period(line), signing.Question{Now: s.now.AddDate(9, 0, 0)}, b)
		if v.Allowed != fits || !fits && v.Rejected[0].Code != signing.ReasonPeriod {
			t.Errorf("%s: %+v", line, v)
		}
	}
	text := strings.Replace(acmeByAlice, "[[rule]]", "until = 2030-01-01T00:00:00Z\n[[rule]]", 1)
	p := people(t, text, "alice")
	bare := signedBy(t, "alice", digestA)
	if v := ask(t, p, signing.Question{Now: time.Date(2029, 1, 1, 0, 0, 0, 0, time.UTC)}, bare); !v.Allowed {
		t.Errorf("%+v", v)
	}
	if v := ask(t, p, signing.Question{Now: time.Date(2031, 1, 1, 0, 0, 0, 0, time.UTC)}, bare); v.Allowed || v.Rejected[0].Code != signing.ReasonPeriod {
		t.Errorf("%+v", v)
	}
}

func TestRolesAndPublisher(t *testing.T) {
	t.Parallel()
	p := people(t, `[[rule]]
publisher = "Acme Ltd"
packs = ["acme/*", "acme-labs/*"]
signers = ["alice"]
[[rule.require]]
predicate = "`+signing.PredicateSign+`"
signers = ["bob"]
[[rule.require]]
role = "auditor"
predicate = "`+signing.PredicateSBOM+`"
signers = ["carol"]
`, "alice", "bob", "carol")
	all := [][]byte{signedBy(t, "bob", digestA), signedBy(t, "alice", digestA), attestedBy(t, "carol", digestA, signing.PredicateSBOM, "{}")}
	for _, pack := range []string{"acme/echo", "acme-labs/echo"} {
		v := ask(t, p, signing.Question{Pack: pack}, all...)
		var roles []string
		for _, s := range v.Signers {
			roles = append(roles, s.Role+"="+s.Name)
		}
		if got := strings.Join(roles, " "); got != "reviewer=bob author=alice auditor=carol" || v.Publisher != "Acme Ltd" {
			t.Errorf("%s of %q", got, v.Publisher)
		}
		if got := strings.Join(v.Predicates, " "); got != signing.PredicateSBOM+" "+signing.PredicateSign {
			t.Errorf("predicates %s", got)
		}
	}
	v := ask(t, p, signing.Question{}, all[1], all[2])
	if v.Refusal != signing.RefusalUnmet || len(v.Unmet) != 1 || v.Unmet[0].Role != "reviewer" {
		t.Errorf("%+v", v)
	}
	if v := ask(t, p, signing.Question{Pack: "acme-evil/echo"}, all...); v.Refusal != signing.RefusalNoRule {
		t.Errorf("%+v", v)
	}
}

func TestRuleNotes(t *testing.T) {
	t.Parallel()
	p := people(t, "[[rule]]\npacks = [\"acme/*\", \"acme/ec*\", \"acme/echo\", \"beta/*\"]\nsigners = [\"alice\"]\n", "alice")
	var got []string
	for _, n := range p.Rules("acme/echo") {
		word := "-"
		if n.Applies {
			word = "+"
		}
		got = append(got, word+n.Rule+": "+n.Why)
	}
	want := `+acme/echo: it names the pack
-acme/ec*: rule "acme/echo" is nearer to the pack
-acme/*: rule "acme/echo" is nearer to the pack
-beta/*: it does not cover the pack`
	if strings.Join(got, "\n") != want {
		t.Errorf("got\n%s", strings.Join(got, "\n"))
	}
	if n := p.Rules("acme/eclair")[1]; !n.Applies || n.Why != "of the rules that cover the pack, its pattern is the longest" {
		t.Errorf("%+v", n)
	}
}

// Everything `arw why` shows of a keyless signature is in the verdict.
func TestVerdictTellsAll(t *testing.T) {
	t.Parallel()
	s := newSigstore(t)
	v := ask(t, s.policy(byIdentity), signing.Question{}, s.bundle(order{ownerID: "12345"}), s.bundle(order{email: "eve@acme.example"}))
	got := v.Signers[0]
	if got.Serial == "" || got.Claims["source_repository_owner_id"] != "12345" || got.Log.Origin != s.logURL || got.Log.Integrated != nil {
		t.Errorf("%+v %+v", got, got.Log)
	}
	if len(got.Times) != 1 || got.Times[0].By != "timestamp" || !got.Times[0].Time.Equal(s.now) || got.Times[0].URI != "https://time.example" {
		t.Errorf("%+v", got.Times)
	}
	if r := v.Rejected[0]; r.Identity != "eve@acme.example" || r.Serial == "" || r.Predicate != signing.PredicateSign {
		t.Errorf("%+v", r)
	}
	old := s.policy(swap("[signer.ci]", "allow_integrated_time = true\n[signer.ci]"))
	v = ask(t, old, signing.Question{}, s.bundle(order{noTime: true, v1: true}))
	if got := v.Signers[0]; got.Log.Integrated == nil || !got.Log.Integrated.Equal(s.now) || got.Times[0].By != "log" {
		t.Errorf("%+v %+v", got, got.Log)
	}
}

func TestNewKeysOfThePolicyRefuse(t *testing.T) {
	t.Parallel()
	head := "schema = 1\n[signer.alice]\nkey = \"alice.pub\"\ntlog = 0\n"
	rule := "[[rule]]\npacks = \"a/*\"\nsigners = [\"alice\"]\n"
	f := files{"alice.pub": keyOf(t, "alice").PublicPEM()}
	for name, c := range map[string]struct{ text, want string }{
		"version short":    {head + rule + "min_version = \"1.4\"\n", `trust.toml:8: rule[0].min_version: "1.4" is not a version; write it as in pack.toml`},
		"version with v":   {head + rule + "min_version = \"v1.4.0\"\n", `trust.toml:8: rule[0].min_version: "v1.4.0" is not a version`},
		"expires a string": {head + rule + "expires = \"2030\"\n", `trust.toml:8: rule[0].expires: expected a date and time such as`},
		"until a number":   {head + "until = 7\n" + rule, `trust.toml:5: signer.alice.until: expected a date and time such as`},
		"backwards":        {head + "from = 2030-01-01T00:00:00Z\nuntil = 2029-01-01T00:00:00Z\n" + rule, `trust.toml:6: signer.alice.until: its time ends before it begins`},
		"role":             {head + rule + "role = \"Head Of\"\n", `trust.toml:8: rule[0].role: "Head Of" is not a name`},
		"publisher":        {head + rule + "publisher = \"a\\u001b[2J\"\n", `trust.toml:8: rule[0].publisher: it cannot be shown in one line`},
		"no packs":         {head + "[[rule]]\npacks = []\nsigners = [\"alice\"]\n", `trust.toml:6: rule[0].packs: it lists no pack`},
		"packs mixed":      {head + "[[rule]]\npacks = [\"a/*\", 7]\nsigners = [\"alice\"]\n", `trust.toml:6: rule[0].packs[1]: expected a string, found the integer 7`},
		"packs a table":    {head + "[[rule]]\npacks = {}\nsigners = [\"alice\"]\n", `trust.toml:6: rule[0].packs: expected a string, found`},
		"pattern in list":  {head + "[[rule]]\npacks = [\"a/*\",\n\"b\"]\nsigners = [\"alice\"]\n", `trust.toml:7: rule[0].packs[1]: "b" is not a pack pattern`},
		"twice in a list":  {head + "[[rule]]\npacks = [\"a/*\", \"a/*\"]\nsigners = [\"alice\"]\n", `rule[0].packs[1]: "a/*" covers as much as rule "a/*"`},
	} {
		_, err := signing.ParsePolicy("trust.toml", []byte(c.text), f.read)
		if abi.CodeOf(err) != abi.Invalid || !strings.Contains(err.Error(), c.want) {
			t.Errorf("%s: got\n%v\nwant\n%s", name, err, c.want)
		}
	}
}
