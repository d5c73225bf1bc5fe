package egress_test

import (
	"context"
	"crypto/x509"
	"fmt"
	"net"
	"net/http"
	"net/http/httptest"
	"net/netip"
	"path/filepath"
	"strings"
	"sync"
	"testing"

	"github.com/arw-project/arw/abi"
	"github.com/arw-project/arw/host/internal/db"
	"github.com/arw-project/arw/host/internal/egress"
	"github.com/arw-project/arw/host/internal/journal"
	"github.com/arw-project/arw/host/internal/netguard"
	"github.com/arw-project/arw/host/internal/view"
	"github.com/arw-project/arw/manifests/reach"
)

// world is a network in memory: names lead to addresses, addresses to servers of the test. Whoever is dialled is noted.
type world struct {
	mu      sync.Mutex
	names   map[string][]string // answers in turn, each a list separated by blanks; the last one stays
	asked   []string
	servers map[string]string // "address:port" -> address of a listener
	dialled []string
}

func (w *world) LookupNetIP(_ context.Context, _, host string) ([]netip.Addr, error) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.asked = append(w.asked, host)
	answers := w.names[strings.TrimSuffix(host, ".")]
	if len(answers) == 0 {
		return nil, &net.DNSError{Err: "no such host", Name: host, IsNotFound: true}
	}
	if len(answers) > 1 {
		w.names[strings.TrimSuffix(host, ".")] = answers[1:]
	}
	var out []netip.Addr
	for text := range strings.FieldsSeq(answers[0]) {
		out = append(out, netip.MustParseAddr(text))
	}
	return out, nil
}

func (w *world) dial(ctx context.Context, network, address string) (net.Conn, error) {
	w.mu.Lock()
	w.dialled = append(w.dialled, address)
	to, ok := w.servers[address]
	w.mu.Unlock()
	if !ok {
		return nil, fmt.Errorf("dial %s: connection refused", address)
	}
	return (&net.Dialer{}).DialContext(ctx, network, to)
}

func (w *world) reached() []string {
	w.mu.Lock()
	defer w.mu.Unlock()
	return append([]string(nil), w.dialled...)
}

// house is a guard on a database of its own, in front of a world.
type house struct {
	*egress.Guard
	*world
	db      *db.DB
	journal *journal.Journal
	view    *view.View
	roots   *x509.CertPool
}

func open(t testing.TB, dir string, change ...func(*egress.Config)) *house {
	t.Helper()
	ctx := context.Background()
	d, err := db.Open(ctx, filepath.Join(dir, "arw.db"), []db.Migration{
		{Owner: "journal", Steps: journal.Schema}, {Owner: "view", Steps: view.Schema}, {Owner: "egress", Steps: egress.Schema},
	})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { d.Close() })
	h := &house{db: d, world: &world{names: map[string][]string{}, servers: map[string]string{}}, roots: x509.NewCertPool()}
	if h.journal, err = journal.Open(ctx, d); err != nil {
		t.Fatal(err)
	}
	h.view = view.Open(d, h.journal)
	cfg := egress.Config{Resolver: h.world, Dial: h.world.dial, Roots: h.roots, Own: func() []netip.Addr {
		return []netip.Addr{netip.MustParseAddr("192.0.2.7"), netip.MustParseAddr("8.8.4.4")}
	}}
	for _, c := range change {
		c(&cfg)
	}
	if h.Guard, err = egress.Open(ctx, d, h.journal, h.view, cfg); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { h.Guard.Close() })
	return h
}

// serve puts a server at an address of the world, and a name in front of it. With TLS its certificate is for example.com and
// everything below.
func (h *house) serve(t testing.TB, name, address string, secure bool, handler http.Handler) {
	t.Helper()
	s := httptest.NewUnstartedServer(handler)
	port := "80"
	if secure {
		port = "443"
		s.EnableHTTP2 = true
		s.StartTLS()
		h.roots.AddCert(s.Certificate())
	} else {
		s.Start()
	}
	t.Cleanup(s.Close)
	h.world.mu.Lock()
	defer h.world.mu.Unlock()
	h.servers[net.JoinHostPort(address, port)] = s.Listener.Addr().String()
	if name != "" {
		h.names[name] = []string{address}
	}
}

// lease is an Authority that covers what its entries cover.
type lease struct {
	entries []string
	mu      sync.Mutex
	calls   int
	bytes   int64
	most    int64 // bytes; 0 is no bound
}

func leased(entries ...string) *lease { return &lease{entries: entries} }

func (l *lease) Would(_ context.Context, target string, _ netguard.Dest, _ int64) (egress.Permission, error) {
	split, ok := reach.ParseTarget(target)
	for _, text := range l.entries {
		e, err := reach.Parse(text)
		if err != nil {
			panic(err)
		}
		if ok && e.Covers(&split) {
			return egress.Permission{Lease: "lea_test", Scope: text}, nil
		}
	}
	return egress.Permission{}, abi.Errorf(abi.Denied, "use http on %q: it holds no lease for this", target)
}

func (l *lease) Permit(ctx context.Context, target string, d netguard.Dest, n int64) (egress.Permission, error) {
	p, err := l.Would(ctx, target, d, n)
	if err != nil {
		return p, err
	}
	p.Spend = l.spend
	l.mu.Lock()
	l.calls++
	l.mu.Unlock()
	return p, l.spend(ctx, n)
}

func (l *lease) spend(_ context.Context, n int64) error {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.bytes += n; l.most > 0 && l.bytes > l.most {
		return abi.Errorf(abi.BudgetExhausted, "the lease's bytes are spent")
	}
	return nil
}

var all = leased("* http://*", "* https://*", "* ws://*", "* wss://*", "* http://*:8080", "* https://*:8443")
