package signing_test

import (
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/sha256"
	"crypto/x509"
	"encoding/pem"
	"errors"
	"fmt"
	"io/fs"
	"net"
	"net/http"
	"os"
	"strings"
	"sync/atomic"
	"testing"

	"github.com/arw-project/arw/abi"
	"github.com/arw-project/arw/signing"
)

const (
	digestA = "sha256:aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa"
	digestB = "sha256:bbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbb"
	sbom    = "https://cyclonedx.org/bom"
)

// dials counts attempts to reach a network in the whole run of the tests.
var dials atomic.Int64

type refuseNetwork struct{}

func (refuseNetwork) RoundTrip(r *http.Request) (*http.Response, error) {
	dials.Add(1)
	return nil, fmt.Errorf("this package must not ask %s", r.URL)
}

// TestMain holds every test to the promise that signing and verification never dial: any request, and any lookup of a
// name, fails and fails the run.
func TestMain(m *testing.M) {
	http.DefaultTransport = refuseNetwork{}
	net.DefaultResolver = &net.Resolver{PreferGo: true, Dial: func(context.Context, string, string) (net.Conn, error) {
		dials.Add(1)
		return nil, errors.New("this package must not look up names")
	}}
	code := m.Run()
	if n := dials.Load(); n > 0 {
		fmt.Fprintf(os.Stderr, "%d attempts to use the network\n", n)
		code = 1
	}
	os.Exit(code)
}

// keyOf is the same key in every run for a name, so that fuzz seeds stay valid.
func keyOf(t testing.TB, name string) *signing.Key {
	t.Helper()
	scalar := sha256.Sum256([]byte("arw test key " + name))
	private, err := ecdsa.ParseRawPrivateKey(elliptic.P256(), scalar[:])
	check(t, err)
	der, err := x509.MarshalPKCS8PrivateKey(private)
	check(t, err)
	key, err := signing.ParseKey(pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: der}), nil)
	check(t, err)
	return key
}

// files serves the files of a policy from memory.
type files map[string][]byte

func (f files) read(name string) ([]byte, error) {
	data, ok := f[name]
	if !ok {
		return nil, &fs.PathError{Op: "open", Path: name, Err: fs.ErrNotExist}
	}
	return data, nil
}

func parse(t testing.TB, text string, f files) *signing.Policy {
	t.Helper()
	p, err := signing.ParsePolicy("trust.toml", []byte(text), f.read)
	check(t, err)
	return p
}

// people is a policy with a key for every named person and the rules given.
func people(t testing.TB, rules string, names ...string) *signing.Policy {
	t.Helper()
	text, f := "schema = 1\n", files{}
	for _, name := range names {
		text += fmt.Sprintf("[signer.%s]\nkey = %q\ntlog = 0\n", name, name+".pub")
		f[name+".pub"] = keyOf(t, name).PublicPEM()
	}
	return parse(t, text+rules, f)
}

func signedBy(t testing.TB, name, digest string) []byte {
	t.Helper()
	b, err := signing.Sign(t.Context(), keyOf(t, name), digest)
	check(t, err)
	return b
}

func attestedBy(t testing.TB, name, digest, predicate, body string) []byte {
	t.Helper()
	b, err := signing.Attest(t.Context(), keyOf(t, name), digest, predicate, []byte(body))
	check(t, err)
	return b
}

func wantCode(t testing.TB, err error, code abi.Code) {
	t.Helper()
	if got := abi.CodeOf(err); got != code {
		t.Fatalf("code %s, want %s: %v", got, code, err)
	}
}

// allow expects the digest to be trusted by exactly these signers, in the order of the bundles.
func allow(t testing.TB, p *signing.Policy, pack, digest string, bundles [][]byte, signers ...string) *signing.Verdict {
	t.Helper()
	v, err := p.Verify(t.Context(), pack, digest, bundles)
	if err != nil {
		t.Fatalf("refused: %v\n%+v", err, v.Rejected)
	}
	var names []string
	for _, s := range v.Signers {
		names = append(names, s.Name)
	}
	if !v.Allowed || strings.Join(names, " ") != strings.Join(signers, " ") {
		t.Fatalf("allowed %v by %q, want %q", v.Allowed, names, signers)
	}
	return v
}

// deny expects a refusal with this code, in which the bundles were rejected for these reasons, in order.
func deny(t testing.TB, p *signing.Policy, pack, digest string, bundles [][]byte, code abi.Code, reasons ...signing.Reason) *signing.Verdict {
	t.Helper()
	v, err := p.Verify(t.Context(), pack, digest, bundles)
	wantCode(t, err, code)
	if v.Allowed {
		t.Fatal("an error beside a verdict that allows")
	}
	e, _ := errors.AsType[*abi.Error](err)
	if e.Detail != any(v) {
		t.Fatal("the error does not carry the verdict")
	}
	wantReasons(t, v, reasons...)
	return v
}

func wantReasons(t testing.TB, v *signing.Verdict, reasons ...signing.Reason) {
	t.Helper()
	var got []signing.Reason
	for _, r := range v.Rejected {
		if r.Reason == "" {
			t.Errorf("bundle %d: rejected without words", r.Bundle)
		}
		got = append(got, r.Code)
	}
	if fmt.Sprint(got) != fmt.Sprint(reasons) {
		t.Fatalf("rejected for %v, want %v: %+v", got, reasons, v.Rejected)
	}
}
