package host_test

import (
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"math/big"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/arw-project/arw/abi"
	"github.com/arw-project/arw/host"
	"github.com/arw-project/arw/host/api"
	"github.com/arw-project/arw/host/hosttest"
	"github.com/arw-project/arw/sdk/go/client"
)

// authority makes certificates.
type authority struct {
	t    *testing.T
	cert *x509.Certificate
	key  *ecdsa.PrivateKey
}

func newAuthority(t *testing.T) *authority {
	a := &authority{t: t}
	a.cert, a.key, _, _ = a.issue("test authority", true)
	return a
}

// issue makes a certificate; the PEM texts are of it and its key.
func (a *authority) issue(name string, ca bool) (*x509.Certificate, *ecdsa.PrivateKey, []byte, []byte) {
	a.t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		a.t.Fatal(err)
	}
	serial, _ := rand.Int(rand.Reader, big.NewInt(1<<60))
	tmpl := &x509.Certificate{
		SerialNumber: serial, Subject: pkix.Name{CommonName: name}, NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(time.Hour),
		IsCA: ca, BasicConstraintsValid: true, KeyUsage: x509.KeyUsageDigitalSignature | x509.KeyUsageCertSign,
		ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth, x509.ExtKeyUsageClientAuth}, DNSNames: []string{name, "localhost"},
	}
	parent, signer := a.cert, a.key
	if parent == nil {
		parent, signer = tmpl, key
	}
	der, err := x509.CreateCertificate(rand.Reader, tmpl, parent, &key.PublicKey, signer)
	if err != nil {
		a.t.Fatal(err)
	}
	cert, _ := x509.ParseCertificate(der)
	k, err := x509.MarshalPKCS8PrivateKey(key)
	if err != nil {
		a.t.Fatal(err)
	}
	return cert, key, pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der}), pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: k})
}

func put(t *testing.T, path string, text []byte) string {
	t.Helper()
	if err := os.WriteFile(path, text, 0o600); err != nil {
		t.Fatal(err)
	}
	return path
}

func TestBeyondLoopbackNeedsTLSAndAName(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	_, _, cert, key := newAuthority(t).issue("host.example", false)
	c, k := put(t, filepath.Join(dir, "c.pem"), cert), put(t, filepath.Join(dir, "k.pem"), key)
	for name, tt := range map[string]struct {
		edge    host.Edge
		address string
		want    abi.Code
	}{
		"every address":   {host.Edge{}, "0.0.0.0:0", abi.Denied},
		"no host":         {host.Edge{}, ":0", abi.Denied},
		"a name":          {host.Edge{}, "host.example:0", abi.Denied},
		"TLS and no name": {host.Edge{Cert: c, Key: k}, "0.0.0.0:0", abi.Denied},
		"no key":          {host.Edge{Cert: c, Names: []string{"host.example"}}, "0.0.0.0:0", abi.Denied},
		"no certificate":  {host.Edge{Cert: filepath.Join(dir, "none"), Key: k}, "127.0.0.1:0", abi.Invalid},
		"bad authorities": {host.Edge{Cert: c, Key: k, ClientCA: k}, "127.0.0.1:0", abi.Invalid},
		"no port":         {host.Edge{}, "127.0.0.1", abi.Invalid},
	} {
		if ln, err := tt.edge.Listen(tt.address); abi.CodeOf(err) != tt.want {
			t.Errorf("%s: %v, want %s", name, err, tt.want)
			if ln != nil {
				ln.Close()
			}
		}
	}
	open := host.Edge{Cert: c, Key: k, Names: []string{"host.example"}}
	ln, err := open.Listen("0.0.0.0:0")
	if err != nil {
		t.Fatal(err)
	}
	ln.Close()
	if !open.NeedToken {
		t.Error("beyond loopback nobody is asked for a token")
	}
}

// serve runs the API until the test ends.
func serve(t *testing.T, e host.Edge) (*hosttest.Host, net.Addr) {
	t.Helper()
	ln, err := e.Listen("127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	h := hosttest.New(t, hosttest.Options{Stopped: true, Config: func(c *host.Config) { c.Edge = e }})
	h.ServeAt(ln)
	return h, ln.Addr()
}

func TestClientsShowCertificatesAndNewOnesCountAtOnce(t *testing.T) {
	t.Parallel()
	dir, ours, others := t.TempDir(), newAuthority(t), newAuthority(t)
	_, _, cert, key := ours.issue("host.example", false)
	e := host.Edge{
		Cert: put(t, filepath.Join(dir, "c.pem"), cert), Key: put(t, filepath.Join(dir, "k.pem"), key),
		ClientCA: put(t, filepath.Join(dir, "ca.pem"), pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: ours.cert.Raw})),
		Names:    []string{"host.example"}, NeedToken: true,
	}
	h, addr := serve(t, e)
	roots := x509.NewCertPool()
	roots.AddCert(ours.cert)
	ask := func(who *authority, token, name string) (*http.Response, error) {
		with := &tls.Config{RootCAs: roots, ServerName: "host.example"}
		if who != nil {
			_, _, c, k := who.issue("client", false)
			pair, err := tls.X509KeyPair(c, k)
			if err != nil {
				t.Fatal(err)
			}
			with.Certificates = []tls.Certificate{pair}
		}
		req, _ := http.NewRequest("GET", "https://"+addr.String()+"/lock", nil)
		req.Host = name
		if token != "" {
			req.Header.Set("Authorization", "Bearer "+token)
		}
		resp, err := (&http.Client{Transport: &http.Transport{TLSClientConfig: with, DisableKeepAlives: true}}).Do(req)
		if err == nil {
			resp.Body.Close()
		}
		return resp, err
	}
	for name, who := range map[string]*authority{"nobody": nil, "a stranger": others} {
		if resp, err := ask(who, "", "host.example"); err == nil {
			t.Errorf("%s was answered %d", name, resp.StatusCode)
		}
	}
	token, err := h.Token()
	if err != nil {
		t.Fatal(err)
	}
	for _, tt := range []struct {
		token, name string
		want        int
	}{{"", "host.example", 401}, {"arw_wrong", "host.example", 401}, {token, "host.example", 200}, {token, "evil.example", 403}} {
		resp, err := ask(ours, tt.token, tt.name)
		if err != nil || resp.StatusCode != tt.want {
			t.Fatalf("with token %.8q as %q: %v, want %d", tt.token, tt.name, resp, tt.want)
		}
		if tt.want == 200 && resp.Header.Get("Strict-Transport-Security") == "" {
			t.Error("no Strict-Transport-Security over TLS")
		}
	}
	serial := func() string {
		resp, err := ask(ours, token, "host.example")
		if err != nil {
			t.Fatal(err)
		}
		return resp.TLS.PeerCertificates[0].SerialNumber.String()
	}
	before := serial()
	put(t, e.Key, []byte("half a key")) // as a slow copy looks for a moment
	future := time.Now().Add(2 * time.Second)
	if err := os.Chtimes(e.Key, future, future); err != nil {
		t.Fatal(err)
	}
	if got := serial(); got != before {
		t.Error("a key that cannot be read took the certificate away")
	}
	next, _, cert, key := ours.issue("host.example", false)
	put(t, e.Cert, cert)
	put(t, e.Key, key)
	later := time.Now().Add(4 * time.Second)
	for _, p := range []string{e.Cert, e.Key} {
		if err := os.Chtimes(p, later, later); err != nil {
			t.Fatal(err)
		}
	}
	if got := serial(); got != next.SerialNumber.String() {
		t.Error("the new certificate is not in use")
	}
}

func TestTheSocketIsTheOperators(t *testing.T) {
	t.Parallel()
	h, addr := serve(t, host.Edge{Socket: true, NeedToken: true})
	path := filepath.Join(h.State, host.SocketName)
	c := client.New("unix:"+path, "")
	ctx := context.Background()
	if _, err := client.New("http://"+addr.String(), "").Health(ctx); err != nil { // the socket is there before the address answers
		t.Fatal(err)
	}
	made, err := c.CreateToken(ctx, api.CreateToken{Name: "laptop", Role: "guest"})
	if err != nil {
		t.Fatal(err)
	}
	info, err := os.Stat(path)
	if err != nil || info.Mode().Perm() != 0o600 {
		t.Errorf("the socket has mode %v, %v", info.Mode(), err)
	}
	guest := client.New("unix:"+path, made.Secret)
	if _, err := guest.Tokens(ctx); abi.CodeOf(err) != abi.Denied {
		t.Errorf("a guest's token over the socket: %v", err)
	}
	if _, err := guest.Submit(ctx, api.SubmitAction{Kind: "a.b", Input: []byte(`{}`)}, false); abi.CodeOf(err) != abi.Denied {
		t.Errorf("a guest has a tool run: %v", err)
	}
	if _, err := c.RevokeToken(ctx, "laptop"); err != nil {
		t.Fatal(err)
	}
	if _, err := guest.Health(ctx); err != nil {
		t.Errorf("health needs nothing: %v", err)
	}
	if _, err := guest.Tokens(ctx); abi.CodeOf(err) != abi.Unauthenticated {
		t.Errorf("a revoked token: %v", err)
	}
}
