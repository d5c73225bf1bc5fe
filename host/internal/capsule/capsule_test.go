package capsule_test

import (
	"bytes"
	"context"
	"crypto"
	"crypto/ed25519"
	"crypto/rand"
	"crypto/x509"
	"encoding/base64"
	"encoding/pem"
	"fmt"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/arw-project/arw/abi"
	"github.com/arw-project/arw/host/internal/capsule"
	"github.com/arw-project/arw/host/internal/db"
	"github.com/arw-project/arw/host/internal/journal"
	"github.com/arw-project/arw/host/internal/policy"
	"github.com/arw-project/arw/signing"
)

var epoch = time.Date(2026, 3, 1, 12, 0, 0, 0, time.UTC)

// kit is a book on a clock of its own, with the issuer acme.
type kit struct {
	t       *testing.T
	dir     string
	now     time.Time
	key     crypto.Signer
	issuers *capsule.Issuers
	db      *db.DB
	journal *journal.Journal
	*capsule.Book
}

func newKit(t *testing.T) *kit {
	t.Helper()
	_, key, err := ed25519.GenerateKey(rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	k := &kit{t: t, dir: t.TempDir(), now: epoch, key: key, issuers: issuers(t, map[string]crypto.Signer{"acme": key})}
	k.open()
	return k
}

func (k *kit) open() {
	k.t.Helper()
	ctx := context.Background()
	var err error
	if k.db, err = db.Open(ctx, filepath.Join(k.dir, "arw.db"), []db.Migration{{Owner: "journal", Steps: journal.Schema}, {Owner: "capsule", Steps: capsule.Schema}}); err != nil {
		k.t.Fatal(err)
	}
	k.t.Cleanup(func() { k.db.Close() })
	if k.journal, err = journal.Open(ctx, k.db); err != nil {
		k.t.Fatal(err)
	}
	set, err := policy.Load(nil)
	if err != nil {
		k.t.Fatal(err)
	}
	k.Book, err = capsule.Open(ctx, capsule.Parts{DB: k.db, Journal: k.journal, Policy: policy.NewLive(set), Issuers: k.issuers, Now: func() time.Time { return k.now }})
	if err != nil {
		k.t.Fatal(err)
	}
}

func (k *kit) restart() { k.t.Helper(); k.db.Close(); k.open() }

func issuers(t testing.TB, keys map[string]crypto.Signer) *capsule.Issuers {
	t.Helper()
	text := "schema = 1\n"
	for id, key := range keys {
		text += fmt.Sprintf("[[issuer]]\nid = %q\npublic_key = '''\n%s'''\n", id, publicPEM(t, key))
	}
	s, err := capsule.ParseIssuers("capsules.toml", []byte(text))
	if err != nil {
		t.Fatal(err)
	}
	return s
}

func publicPEM(t testing.TB, key crypto.Signer) []byte {
	t.Helper()
	der, err := x509.MarshalPKIXPublicKey(key.Public())
	if err != nil {
		t.Fatal(err)
	}
	return pem.EncodeToMemory(&pem.Block{Type: "PUBLIC KEY", Bytes: der})
}

// quiet denies all egress for ten minutes from at.
func quiet(at time.Time) capsule.Capsule {
	return capsule.Capsule{
		ID: "quiet", Version: 1, Issuer: "acme", IssuedAt: at, LeaseUntil: at.Add(10 * time.Minute), RenewWithin: 240_000, HopTTL: 2, Propagate: "all",
		Denies: []string{"capability:http", "http:*"},
	}
}

func (k *kit) sign(c capsule.Capsule) *capsule.Envelope {
	k.t.Helper()
	e, err := capsule.Sign(c, k.key)
	if err != nil {
		k.t.Fatal(err)
	}
	return e
}

func (k *kit) adopt(by string, e *capsule.Envelope, want abi.Code) capsule.Status {
	k.t.Helper()
	got, err := k.Adopt(k.t.Context(), capsule.Cause{By: by, Corr: "cor_x"}, e)
	if abi.CodeOf(err) != want {
		k.t.Fatalf("adopt %+v as %q: %v, want %v", e.Capsule, by, err, want)
	}
	return got
}

// denied checks whether the network is shut.
func (k *kit) denied(want bool) {
	k.t.Helper()
	for what, err := range map[string]error{
		"egress": k.Egress("GET https://api.example.com:443/x"), "name": k.Egress("api.example.com"), "use": k.Use(abi.HTTP, "GET https://api.example.com/x"),
	} {
		if (abi.CodeOf(err) == abi.Denied) != want {
			k.t.Fatalf("%s: %v, want denied %v", what, err, want)
		}
	}
}

func (k *kit) kinds() (out []string) {
	k.t.Helper()
	page, err := k.journal.Read(k.t.Context(), 0, 1000, journal.Filter{Prefixes: []string{"policy.capsule."}})
	if err != nil {
		k.t.Fatal(err)
	}
	for _, r := range page {
		out = append(out, strings.TrimPrefix(r.Kind, "policy.capsule."))
	}
	return out
}

func TestACapsuleHoldsUntilItsLeaseEnds(t *testing.T) {
	t.Parallel()
	k := newKit(t)
	k.denied(false)
	e := k.sign(quiet(epoch))
	s := k.adopt("operator", e, abi.OK)
	if s.State != capsule.Active || s.ExpiresInMS != 600_000 || s.RenewInMS != 360_000 || s.RenewDue || s.HopsLeft != 1 {
		t.Fatalf("%+v", s)
	}
	k.denied(true)
	if err := k.Use(abi.KV, "get"); err != nil {
		t.Fatal(err)
	}
	k.adopt("operator", e, abi.OK) // again: nothing
	k.restart()
	k.denied(true)
	k.now = epoch.Add(7 * time.Minute)
	if s := k.List()[0]; !s.RenewDue || s.ExpiresInMS != 180_000 {
		t.Fatalf("%+v", s)
	}
	k.now = epoch.Add(10 * time.Minute)
	k.denied(false) // before anything was written
	if s := k.List()[0]; s.State != capsule.Expired {
		t.Fatalf("%+v", s)
	}
	k.adopt("operator", e, abi.LeaseExpired)
	k.restart()
	if got := strings.Join(k.kinds(), " "); got != "applied failed expired" {
		t.Fatal(got)
	}
}

func TestRunWritesTheEnd(t *testing.T) {
	t.Parallel()
	k := newKit(t)
	k.adopt("operator", k.sign(quiet(epoch)), abi.OK)
	k.now = epoch.Add(time.Hour)
	ctx, stop := context.WithCancel(t.Context())
	done := make(chan error, 1)
	go func() { done <- k.Run(ctx) }()
	for r, err := range k.journal.Follow(t.Context(), 0, journal.Filter{Prefixes: []string{capsule.KindExpired}}) {
		if err != nil || r.Kind != capsule.KindExpired {
			t.Fatal(r, err)
		}
		break
	}
	stop()
	if err := <-done; err != nil {
		t.Fatal(err)
	}
}

func TestRenewalIsVerifiedAgain(t *testing.T) {
	t.Parallel()
	k := newKit(t)
	first := k.sign(quiet(epoch))
	k.adopt("operator", first, abi.OK)
	k.now = epoch.Add(8 * time.Minute)

	_, stranger, _ := ed25519.GenerateKey(rand.Reader)
	forged, err := capsule.Sign(quiet(k.now), stranger)
	if err != nil {
		t.Fatal(err)
	}
	k.adopt("operator", forged, abi.Untrusted)
	longer := *first
	longer.Capsule.LeaseUntil = epoch.Add(20 * time.Minute)
	k.adopt("operator", &longer, abi.Untrusted)
	unsigned := capsule.Envelope{Capsule: quiet(k.now)}
	k.adopt("operator", &unsigned, abi.Unsigned)

	s := k.adopt("agent:local", k.sign(quiet(k.now)), abi.OK)
	if !s.LeaseUntil.Equal(epoch.Add(18 * time.Minute)) {
		t.Fatalf("%+v", s)
	}
	k.adopt("operator", first, abi.Conflict) // the older word does not come back
	// Whoever is trusted no more holds nothing.
	if err := k.Trust(t.Context(), &capsule.Issuers{}); err != nil {
		t.Fatal(err)
	}
	k.denied(false)
	if s := k.List()[0]; s.State != capsule.Failed || !strings.Contains(s.Reason, "capsules.toml") {
		t.Fatalf("%+v", s)
	}
	found, err := k.Audit(t.Context(), "quiet", 100)
	if err != nil {
		t.Fatal(err)
	}
	var decisions []string
	for _, e := range found {
		decisions = append(decisions, e.Decision)
	}
	if got := strings.Join(decisions, " "); got != "failed refused renewed refused refused refused adopted" {
		t.Fatal(got)
	}
}

func TestCedarDecidesAdoption(t *testing.T) {
	t.Parallel()
	k := newKit(t)
	k.adopt("agent:local", k.sign(quiet(epoch)), abi.OK)
	less := quiet(epoch.Add(time.Second))
	less.Denies = []string{"http:*"}
	k.adopt("agent:local", k.sign(less), abi.Denied)
	k.denied(true)
	k.adopt("operator", k.sign(less), abi.OK)
	if _, err := k.Teardown(t.Context(), capsule.Cause{By: "operator", Reason: "over"}, nil, false); err != nil {
		t.Fatal(err)
	}
	k.adopt("agent:local", k.sign(less), abi.Denied) // nobody else undoes a teardown
	k.denied(false)
	k.adopt("operator", k.sign(less), abi.OK)
}

func TestTeardown(t *testing.T) {
	t.Parallel()
	k := newKit(t)
	k.adopt("operator", k.sign(quiet(epoch)), abi.OK)
	if _, err := k.Teardown(t.Context(), capsule.Cause{By: "operator"}, []string{"other"}, false); abi.CodeOf(err) != abi.NotFound {
		t.Fatal(err)
	}
	if got, err := k.Teardown(t.Context(), capsule.Cause{By: "operator"}, nil, true); err != nil || len(got) != 1 || got[0].State != capsule.Active {
		t.Fatal(got, err)
	}
	k.denied(true)
	got, err := k.Teardown(t.Context(), capsule.Cause{By: "operator", Reason: "over"}, []string{"quiet", "quiet"}, false)
	if err != nil || got[0].State != capsule.Torn || got[0].Reason != "over" {
		t.Fatal(got, err)
	}
	k.denied(false)
	k.restart()
	k.denied(false)
	if got := strings.Join(k.kinds(), " "); got != "applied teardown" {
		t.Fatal(got)
	}
}

// A chain of nodes: hop_ttl 2 reaches two of them, and no clock counts.
func TestHopsCountNodes(t *testing.T) {
	t.Parallel()
	a, b, c := newKit(t), newKit(t), newKit(t)
	for _, k := range []*kit{b, c} {
		if err := k.Trust(t.Context(), a.issuers); err != nil {
			t.Fatal(err)
		}
	}
	if s := a.adopt("operator", a.sign(quiet(epoch)), abi.OK); s.HopsLeft != 1 {
		t.Fatalf("%+v", s)
	}
	a.now = epoch.Add(5 * time.Minute)
	onward, err := a.Forward(t.Context(), capsule.Cause{By: "operator"}, "quiet", capsule.Peer)
	if err != nil || !slices.Equal(onward.Path, []string{a.Node()}) {
		t.Fatal(onward, err)
	}
	if s := b.adopt("operator", onward, abi.OK); s.HopsLeft != 0 {
		t.Fatalf("%+v", s)
	}
	b.denied(true)
	if _, err := b.Forward(t.Context(), capsule.Cause{By: "operator"}, "quiet", capsule.Peer); abi.CodeOf(err) != abi.Denied {
		t.Fatal(err)
	}
	further := *onward
	further.Path = []string{a.Node(), b.Node()}
	c.adopt("operator", &further, abi.Denied)
	home := quiet(epoch.Add(time.Second))
	home.HopTTL = 4
	back := a.sign(home)
	back.Path = []string{a.Node()}
	a.adopt("operator", back, abi.Denied) // a loop

	alone := quiet(epoch)
	alone.ID, alone.Propagate = "alone", "none"
	a.adopt("operator", a.sign(alone), abi.OK)
	if _, err := a.Forward(t.Context(), capsule.Cause{By: "operator"}, "alone", capsule.Peer); abi.CodeOf(err) != abi.Denied {
		t.Fatal(err)
	}
}

// TestPropagationNamesWhomItGoesTo: every rule of propagation against every kind of node.
func TestPropagationNamesWhomItGoesTo(t *testing.T) {
	t.Parallel()
	for propagate, want := range map[string][2]abi.Code{ // to a child, to a peer
		"none": {abi.Denied, abi.Denied}, "children": {abi.OK, abi.Denied}, "peers": {abi.Denied, abi.OK}, "all": {abi.OK, abi.OK},
	} {
		k := newKit(t)
		c := quiet(epoch)
		c.Propagate = propagate
		k.adopt("operator", k.sign(c), abi.OK)
		for i, to := range []string{capsule.Child, capsule.Peer} {
			if _, err := k.Forward(t.Context(), capsule.Cause{By: "operator"}, "quiet", to); abi.CodeOf(err) != want[i] {
				t.Errorf("%s to a %s: %v", propagate, to, err)
			}
		}
		if _, err := k.Forward(t.Context(), capsule.Cause{By: "operator"}, "quiet", "friend"); abi.CodeOf(err) != abi.Invalid {
			t.Errorf("to a friend: %v", err)
		}
	}
}

func TestIssuedInTheFuture(t *testing.T) {
	t.Parallel()
	k := newKit(t)
	k.adopt("operator", k.sign(quiet(epoch.Add(capsule.Skew+time.Second))), abi.Invalid)
	k.adopt("operator", k.sign(quiet(epoch.Add(capsule.Skew))), abi.OK)
}

func TestPatterns(t *testing.T) {
	t.Parallel()
	type ask struct {
		family, pack, name string
		want               bool
	}
	for pattern, asks := range map[string][]ask{
		"action:research.*":          {{"action", "arw/research", "research.search", true}, {"action", "arw/other", "other.search", false}},
		"action:arw/research:*":      {{"action", "arw/research", "research.search", true}, {"action", "x/research", "research.search", false}},
		"action:*":                   {{"action", "", "infer.chat", true}},
		"capability:fs:write:/etc/*": {{"use", "fs", "write:/etc/passwd", true}, {"use", "fs", "read:/etc/passwd", false}, {"use", "fs", "write:/etcetera", false}},
		"capability:fs":              {{"use", "fs", "read:/x", true}, {"use", "kv", "x", false}},
		"http:*.example.com":         {{"http", "", "GET https://a.example.com/", true}, {"http", "", "GET https://example.com/", false}, {"http", "", "GET https://a.example.com.evil.org/", false}},
		"http:example.com:8443":      {{"http", "", "GET https://example.com:8443/x", true}, {"http", "", "GET https://example.com/", false}},
		"http:example.com:80":        {{"http", "", "GET http://example.com/", true}, {"http", "", "CONNECT https://example.com:443/", false}},
		"http:a*b*c.com":             {{"http", "", "a1b2c.com", true}, {"http", "", "a1c.com", false}},
	} {
		k := newKit(t)
		c := quiet(epoch)
		c.Denies = []string{pattern}
		k.adopt("operator", k.sign(c), abi.OK)
		for _, a := range asks {
			var err error
			switch a.family {
			case "action":
				err = k.Action(a.pack, a.name)
			case "use":
				err = k.Use(abi.Capability(a.pack), a.name)
			default:
				err = k.Egress(a.name)
			}
			if (err != nil) != a.want {
				t.Errorf("%s on %+v: %v", pattern, a, err)
			}
			if err != nil && (abi.CodeOf(err) != abi.Denied || !strings.Contains(abi.HintOf(err), "arw capsule teardown quiet")) {
				t.Errorf("%s on %+v: %v", pattern, a, err)
			}
		}
	}
}

func TestParseRefuses(t *testing.T) {
	t.Parallel()
	k := newKit(t)
	good, err := k.sign(quiet(epoch)).Encode()
	if err != nil {
		t.Fatal(err)
	}
	for _, text := range [][]byte{good, []byte(base64.StdEncoding.EncodeToString(good)), append([]byte(" \n"), good...)} {
		if _, err := capsule.Parse(text); err != nil {
			t.Fatal(err)
		}
	}
	for name, edit := range map[string][2]string{
		"unknown field": {`"version":1`, `"version":1,"more":1`}, "other case": {`"version":1`, `"Version":1`}, "doubled": {`"version":1`, `"version":1,"version":2`},
		"missing": {`"version":1`, ``}, "version 0": {`"version":1`, `"version":0`}, "hop 0": {`"hop_ttl":2`, `"hop_ttl":0`}, "hops": {`"hop_ttl":2`, `"hop_ttl":99`},
		"propagate": {`"propagate":"all"`, `"propagate":"world"`}, "zone": {`"issued_at":"2026-03-01T12:00:00Z"`, `"issued_at":"2026-03-01T13:00:00+01:00"`},
		"never ends": {`"lease_until":"2026-03-01T12:10:00Z"`, `"lease_until":"2027-03-01T12:10:00Z"`}, "ended": {`"lease_until":"2026-03-01T12:10:00Z"`, `"lease_until":"2026-03-01T12:00:00Z"`},
		"no denies": {`["capability:http","http:*"]`, `[]`}, "family": {`"http:*"`, `"net:*"`}, "capability": {`"capability:http"`, `"capability:https"`}, "twice": {`"capability:http"`, `"http:*"`},
		"upper": {`"http:*"`, `"http:Example.com"`}, "renew": {`"renew_within_ms":240000`, `"renew_within_ms":6000000`}, "id": {`"id":"quiet"`, `"id":"../quiet"`},
	} {
		text := bytes.Replace(good, []byte(edit[0]), []byte(edit[1]), 1)
		if bytes.Equal(text, good) {
			t.Errorf("%s: the edit does nothing", name)
		}
		if _, err := capsule.Parse(text); abi.CodeOf(err) != abi.Invalid {
			t.Errorf("%s: %v", name, err)
		}
	}
	if _, err := capsule.Parse(bytes.Repeat([]byte("{"), 2*capsule.MaxSize)); abi.CodeOf(err) != abi.TooLarge {
		t.Fatal(err)
	}
}

// The keys that `arw key generate` makes sign too.
func TestSigningKeys(t *testing.T) {
	t.Parallel()
	key, err := signing.GenerateKey()
	if err != nil {
		t.Fatal(err)
	}
	e, err := capsule.Sign(quiet(epoch), key.Signer())
	if err != nil {
		t.Fatal(err)
	}
	trusted := issuers(t, map[string]crypto.Signer{"acme": key.Signer()})
	if err := trusted.Verify(e); err != nil {
		t.Fatal(err)
	}
	e.Capsule.Denies = e.Capsule.Denies[:1]
	if err := trusted.Verify(e); abi.CodeOf(err) != abi.Untrusted {
		t.Fatal(err)
	}
}

func TestIssuersAreReadStrictly(t *testing.T) {
	t.Parallel()
	_, key, _ := ed25519.GenerateKey(rand.Reader)
	one := fmt.Sprintf("[[issuer]]\nid = \"acme\"\npublic_key = '''\n%s'''\n", publicPEM(t, key))
	for name, text := range map[string]string{
		"no schema": one, "schema": "schema = 2\n" + one, "twice": "schema = 1\n" + one + one, "unknown": "schema = 1\n" + one + "alg = \"none\"\n",
		"no key": "schema = 1\n[[issuer]]\nid = \"acme\"\npublic_key = \"x\"\n", "id": strings.Replace("schema = 1\n"+one, "acme", "Acme Inc", 1), "not toml": "schema",
	} {
		if _, err := capsule.ParseIssuers("capsules.toml", []byte(text)); abi.CodeOf(err) != abi.Invalid || !strings.Contains(err.Error(), "capsules.toml:") {
			t.Errorf("%s: %v", name, err)
		}
	}
}

// What parses has one form, and comes back as it was.
func FuzzParse(f *testing.F) {
	_, key, _ := ed25519.GenerateKey(rand.Reader)
	e, err := capsule.Sign(quiet(epoch), key)
	if err != nil {
		f.Fatal(err)
	}
	good, _ := e.Encode()
	f.Add(good)
	f.Add([]byte(base64.StdEncoding.EncodeToString(good)))
	f.Add([]byte(`{"capsule":{}}`))
	f.Add([]byte(`{"capsule":{"id":"a","ID":"b"},"path":null}`))
	f.Fuzz(func(t *testing.T, text []byte) {
		e, err := capsule.Parse(text)
		if err != nil {
			return
		}
		once, err := e.Encode()
		if err != nil {
			t.Fatal(err)
		}
		again, err := capsule.Parse(once)
		if err != nil {
			t.Fatalf("%s: %v", once, err)
		}
		if twice, _ := again.Encode(); !bytes.Equal(once, twice) {
			t.Fatalf("%s and %s", once, twice)
		}
	})
}
