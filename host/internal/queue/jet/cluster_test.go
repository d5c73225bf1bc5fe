package jet_test

import (
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"fmt"
	"math/big"
	"net"
	"os"
	"path/filepath"
	"slices"
	"testing"
	"time"

	"github.com/nats-io/nats-server/v2/server"

	"github.com/arw-project/arw/abi"
	"github.com/arw-project/arw/host/internal/queue"
	"github.com/arw-project/arw/host/internal/queue/jet"
)

// cluster starts three servers that know each other.
func cluster(t *testing.T) []*server.Server {
	t.Helper()
	dir := t.TempDir()
	ports := make([]int, 3)
	routes := ""
	for i := range ports {
		ln, err := net.Listen("tcp", "127.0.0.1:0")
		if err != nil {
			t.Fatal(err)
		}
		ports[i] = ln.Addr().(*net.TCPAddr).Port
		ln.Close()
		routes += fmt.Sprintf(",nats://127.0.0.1:%d", ports[i])
	}
	routes = routes[1:]
	var nodes []*server.Server
	for i, port := range ports {
		s, err := server.NewServer(&server.Options{
			ServerName: fmt.Sprint("n", i), Host: "127.0.0.1", Port: server.RANDOM_PORT, JetStream: true, StoreDir: filepath.Join(dir, fmt.Sprint(i)), SyncAlways: true, NoSigs: true, NoLog: true,
			Cluster: server.ClusterOpts{Name: "arw", Host: "127.0.0.1", Port: port}, Routes: server.RoutesFromStr(routes),
		})
		if err != nil {
			t.Fatal(err)
		}
		s.Start()
		t.Cleanup(func() { down(s) })
		nodes = append(nodes, s)
	}
	ready := time.NewTicker(20 * time.Millisecond)
	defer ready.Stop()
	for end := time.After(60 * time.Second); ; {
		leader, all := false, true
		for _, s := range nodes {
			leader = leader || s.JetStreamIsLeader()
			all = all && s.NumRoutes() > 0
		}
		if leader && all {
			return nodes
		}
		select {
		case <-ready.C:
		case <-end:
			t.Fatal("the servers found no leader")
		}
	}
}

// The leader of the queue's stream goes away in mid-job; two of three servers go on.
func TestTheLeaderFailsInMidJob(t *testing.T) {
	t.Parallel()
	nodes := cluster(t)
	urls := []string{nodes[0].ClientURL(), nodes[1].ClientURL(), nodes[2].ClientURL()}
	link, err := jet.Dial(t.Context(), jet.Server{URLs: urls})
	if err != nil {
		t.Fatal(err)
	}
	q, err := jet.Open(t.Context(), link, jet.Options{Name: "three", Replicas: 3, Wait: 2 * time.Second, Record: record(t, t.TempDir())})
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan error, 1)
	go func() { done <- q.Run(ctx, nil) }()
	t.Cleanup(func() { cancel(); <-done; q.Close() })
	for i := range 20 {
		if _, err := q.Put(t.Context(), queue.Job{ID: fmt.Sprint("j", i), Lane: fmt.Sprint("l", i%3)}, nil, wrote); err != nil {
			t.Fatal(err)
		}
	}
	held := take(t, q)
	at := slices.IndexFunc(nodes, func(s *server.Server) bool { return s.JetStreamIsStreamLeader("$G", "ARW_THREE") })
	if at < 0 {
		t.Fatal("the stream has no leader")
	}
	down(nodes[at])
	if _, err := q.End(t.Context(), held, queue.End{How: queue.Done, Also: wrote}); err != nil {
		t.Fatal(err)
	}
	if _, err := q.Put(t.Context(), queue.Job{ID: "after", Lane: "l0"}, nil, wrote); err != nil {
		t.Fatal(err)
	}
	seen := map[string]bool{held.ID: true}
	for len(seen) < 21 {
		l := take(t, q)
		if seen[l.ID] {
			t.Fatalf("%q was done and came again", l.ID)
		}
		if _, err := q.End(t.Context(), l, queue.End{How: queue.Done, Also: wrote}); err != nil {
			t.Fatal(err)
		}
		seen[l.ID] = true
	}
}

// authority makes certificates for the test.
type authority struct {
	t    *testing.T
	dir  string
	cert *x509.Certificate
	key  *ecdsa.PrivateKey
	n    int64
}

func newAuthority(t *testing.T) *authority {
	a := &authority{t: t, dir: t.TempDir()}
	a.cert, a.key = a.make("ca", true)
	return a
}

func (a *authority) make(name string, ca bool) (*x509.Certificate, *ecdsa.PrivateKey) {
	a.t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		a.t.Fatal(err)
	}
	a.n++
	tmpl := &x509.Certificate{
		SerialNumber: big.NewInt(a.n), Subject: pkix.Name{CommonName: name}, NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(time.Hour),
		IsCA: ca, BasicConstraintsValid: true, KeyUsage: x509.KeyUsageDigitalSignature | x509.KeyUsageCertSign, IPAddresses: []net.IP{net.IPv4(127, 0, 0, 1)},
		ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth, x509.ExtKeyUsageClientAuth},
	}
	parent, signer := a.cert, a.key
	if ca {
		parent, signer = tmpl, key
	}
	der, err := x509.CreateCertificate(rand.Reader, tmpl, parent, &key.PublicKey, signer)
	if err != nil {
		a.t.Fatal(err)
	}
	cert, err := x509.ParseCertificate(der)
	if err != nil {
		a.t.Fatal(err)
	}
	kder, err := x509.MarshalECPrivateKey(key)
	if err != nil {
		a.t.Fatal(err)
	}
	a.write(name+".pem", "CERTIFICATE", der)
	a.write(name+".key", "EC PRIVATE KEY", kder)
	return cert, key
}

func (a *authority) write(name, kind string, der []byte) {
	if err := os.WriteFile(a.file(name), pem.EncodeToMemory(&pem.Block{Type: kind, Bytes: der}), 0o600); err != nil {
		a.t.Fatal(err)
	}
}

func (a *authority) file(name string) string { return filepath.Join(a.dir, name) }

func TestServersWithCertificates(t *testing.T) {
	t.Parallel()
	a := newAuthority(t)
	a.make("server", false)
	a.make("client", false)
	pair, err := tls.LoadX509KeyPair(a.file("server.pem"), a.file("server.key"))
	if err != nil {
		t.Fatal(err)
	}
	roots := x509.NewCertPool()
	roots.AddCert(a.cert)
	s, err := server.NewServer(&server.Options{
		Host: "127.0.0.1", Port: server.RANDOM_PORT, JetStream: true, StoreDir: t.TempDir(), NoSigs: true, NoLog: true, TLS: true, TLSVerify: true,
		TLSConfig: &tls.Config{Certificates: []tls.Certificate{pair}, ClientCAs: roots, ClientAuth: tls.RequireAndVerifyClientCert, MinVersion: tls.VersionTLS12},
	})
	if err != nil {
		t.Fatal(err)
	}
	s.Start()
	t.Cleanup(func() { down(s) })
	if !s.ReadyForConnections(20 * time.Second) {
		t.Fatal("the server is not ready")
	}
	url := "tls://" + s.Addr().String()
	for _, c := range []struct {
		name string
		s    jet.Server
		ok   bool
	}{
		{"both know each other", jet.Server{CA: a.file("ca.pem"), Cert: a.file("client.pem"), Key: a.file("client.key")}, true},
		{"the host has no certificate", jet.Server{CA: a.file("ca.pem")}, false},
		{"the server's authority is unknown", jet.Server{Cert: a.file("client.pem"), Key: a.file("client.key")}, false},
		{"the authority's file is missing", jet.Server{CA: a.file("none.pem")}, false},
	} {
		t.Run(c.name, func(t *testing.T) {
			c.s.URLs = []string{url}
			link, err := jet.Dial(t.Context(), c.s)
			if !c.ok {
				if abi.CodeOf(err) != abi.Unavailable {
					t.Fatalf("got %v", err)
				}
				return
			}
			if err != nil {
				t.Fatal(err)
			}
			q, err := jet.Open(t.Context(), link, jet.Options{Name: "tls", Record: record(t, t.TempDir())})
			if err != nil {
				t.Fatal(err)
			}
			defer q.Close()
			if _, err := q.Put(t.Context(), queue.Job{ID: "a", Lane: "a"}, nil, nil); err != nil {
				t.Fatal(err)
			}
		})
	}
}
