// Package egress is the one way out of a host: every byte that leaves for the network leaves through a Guard, which knows
// who sends it, asks whether that one may, resolves the name once, judges every address, dials the one it judged, and writes
// a row of the ledger before the first byte and one after the last.
//
// The same guard serves packs (arw:http), the loopback proxy and the host's own clients. It refuses by default: an address, a
// name, a port or a redirect that is not plainly a place on the public network needs an operator's scope. What it cannot see it
// says: inside a tunnel there is a host, a port and a number of bytes, and nothing else. docs/spec/egress.md is normative.
//
// Registries are the exception, named there: package registry dials what the operator configured. A Guard is made with Open and
// safe for concurrent use; Run keeps its ledger short; what was lent to callers must be closed before Close.
package egress

import (
	"context"
	"crypto/rand"
	"crypto/x509"
	"encoding/hex"
	"encoding/json"
	"log/slog"
	"maps"
	"net"
	"net/netip"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"github.com/arw-project/arw/abi"
	"github.com/arw-project/arw/host/internal/db"
	"github.com/arw-project/arw/host/internal/dnsguard"
	"github.com/arw-project/arw/host/internal/journal"
	"github.com/arw-project/arw/host/internal/netguard"
	"github.com/arw-project/arw/host/internal/view"
)

// Caller is on whose behalf something leaves; it becomes part of every row.
type Caller struct {
	Actor   string `json:"actor,omitempty"`
	Pack    string `json:"pack,omitempty"`
	Digest  string `json:"digest,omitempty"`
	Tool    string `json:"tool,omitempty"`
	Action  string `json:"action,omitempty"`
	Corr    string `json:"corr_id,omitempty"`
	Project string `json:"project,omitempty"`
}

// pool is what may share connections: nobody rides on a connection that another one's lease opened.
func (c Caller) pool() string { return c.Actor + "\x00" + c.Pack + "\x00" + c.Digest }

// Authority answers for one caller. Every hop of every request asks it anew.
type Authority interface {
	// Permit asks for one use of a target ("METHOD scheme://host:port/path"), moving n bytes as far as that is known. The error is
	// an *abi.Error that the caller may see.
	Permit(ctx context.Context, target string, d netguard.Dest, n int64) (Permission, error)
	// Would is Permit without counting anything.
	Would(ctx context.Context, target string, d netguard.Dest, n int64) (Permission, error)
}

// Permission is what an Authority gave. Spend counts bytes as they pass; an error ends the transfer there. nil counts nothing.
type Permission struct {
	Lease    string   `json:"lease,omitempty"`
	Scope    string   `json:"scope,omitempty"`
	Policies []string `json:"policies,omitempty"`
	Spend    func(ctx context.Context, n int64) error
}

// Resolver finds the addresses of a name that ends with a dot.
type Resolver interface {
	LookupNetIP(ctx context.Context, network, host string) ([]netip.Addr, error)
}

// Config is how a guard works; the zero value of each field says what it means.
type Config struct {
	Posture  Posture                                                              // of a host that never set one; "" is Public
	Resolver Resolver                                                             // nil: the system's, by Go's own resolver
	Dial     func(ctx context.Context, network, address string) (net.Conn, error) // nil: the system's
	Own      func() []netip.Addr                                                  // addresses of this host; nil asks the system
	Roots    *x509.CertPool                                                       // nil: the system's
	Redact   func([]byte) []byte                                                  // applied to what is stored or shown of paths, headers and samples; nil changes nothing
	Deny     func(ctx context.Context, c Caller, target string) error             // denies that stand above every lease (capsules); nil denies nothing
	// Judge asks the policies about a caller that is no pack; nil allows what its token covers. The ids that it returns go into the row.
	Judge func(ctx context.Context, c Caller, target string, d netguard.Dest) (policies []string, err error)
	// Meter counts what a token's owner sends after everybody allowed it, calls and bytes as they pass; nil counts nothing. An error ends it.
	Meter  func(ctx context.Context, c Caller, calls, bytes int64) error
	Alarm  func(Anomaly)       // also hears what is odd about names; it is journaled in any case
	Odd    dnsguard.Thresholds // when a name is odd
	Limits Limits
	Log    *slog.Logger
}

// Limits bound one exchange and the ledger; 0 is the default that stands behind each.
type Limits struct {
	Header    int64         // bytes of an answer's head: 64 KiB
	Body      int64         // bytes of a body in either direction: 1 GiB
	Redirects int           // 5
	Time      time.Duration // a request until its answer's head: 30 s
	Dial      time.Duration // 10 s
	Pin       time.Duration // how long an address is kept for a name: 30 s
	Idle      time.Duration // how long a connection is kept: 30 s
	Rows      int64         // of the ledger: 200,000
	Age       time.Duration // of the ledger's rows: 90 days
	Tunnels   int           // open at once: 256
}

func (l Limits) filled() Limits {
	set := func(n *int64, or int64) {
		if *n <= 0 {
			*n = or
		}
	}
	set(&l.Header, 64<<10)
	set(&l.Body, 1<<30)
	set(&l.Rows, 200_000)
	set((*int64)(&l.Time), int64(30*time.Second))
	set((*int64)(&l.Dial), int64(10*time.Second))
	set((*int64)(&l.Pin), int64(30*time.Second))
	set((*int64)(&l.Idle), int64(30*time.Second))
	set((*int64)(&l.Age), int64(90*24*time.Hour))
	if l.Redirects <= 0 {
		l.Redirects = 5
	}
	if l.Tunnels <= 0 {
		l.Tunnels = 256
	}
	return l
}

// Guard is the one way out.
type Guard struct {
	cfg     Config
	limits  Limits
	db      *db.DB
	journal *journal.Journal
	view    *view.View
	boot    string // names this life in the rows, so that those of a life that ended are known
	log     *slog.Logger

	shown   []string // ids of the rows in the read model, the oldest first; owned by the database's writer after Open
	rules   atomic.Pointer[rules]
	names   *names
	odd     *dnsguard.Detector
	pool    *pool
	tunnels atomic.Int64

	counts counts

	mu     sync.Mutex // guards tokens, and orders changes of the rules
	tokens map[string]*token
}

// Open makes a guard over a database whose migrations include Schema. It reads posture, scopes and tokens and dials nothing.
func Open(ctx context.Context, d *db.DB, j *journal.Journal, v *view.View, cfg Config) (*Guard, error) {
	if cfg.Posture == "" {
		cfg.Posture = Public
	}
	if err := cfg.Posture.check(); err != nil {
		return nil, err
	}
	if cfg.Log == nil {
		cfg.Log = slog.New(slog.DiscardHandler)
	}
	g := &Guard{cfg: cfg, limits: cfg.Limits.filled(), db: d, journal: j, view: v, boot: newID("boot"), log: cfg.Log, tokens: map[string]*token{}}
	g.names, g.odd = newNames(g), dnsguard.NewDetector(cfg.Odd)
	g.pool = newPool(g)
	if err := g.load(ctx); err != nil {
		return nil, d.Explain("read the egress settings", err)
	}
	_, err := v.Change(ctx, view.Cause{Actor: "host"}, ViewID, func(e *view.Edit) error {
		g.rules.Load().show(e)
		rows := map[string]json.RawMessage{}
		if _, err := e.Get(&rows, "recent"); err != nil {
			return err
		}
		g.shown = slices.Sorted(maps.Keys(rows))
		if ok, err := e.Get(nil, "totals"); err != nil || ok {
			return err
		}
		e.Set(totals{}, "totals")
		return nil
	})
	return g, err
}

// Close ends the connections that are kept for reuse.
func (g *Guard) Close() error {
	g.pool.close()
	return nil
}

// Run keeps the ledger within its bounds and notes scopes that end, until ctx does.
func (g *Guard) Run(ctx context.Context) error {
	tick := time.NewTicker(time.Minute)
	defer tick.Stop()
	for {
		select {
		case <-ctx.Done():
			return nil
		case <-tick.C:
		}
		if err := g.tidy(ctx); err != nil && ctx.Err() == nil {
			g.log.Error("tidy the egress ledger", "error", err)
		}
	}
}

func (g *Guard) redact(s string) string {
	if g.cfg.Redact == nil || s == "" {
		return s
	}
	return string(g.cfg.Redact([]byte(s)))
}

func newID(kind string) string {
	var b [12]byte
	_, _ = rand.Read(b[:]) // it never fails
	return kind + "_" + hex.EncodeToString(b[:])
}

// denied is a refusal of the guard in the words of the house. The reason is in its detail, where programs find it.
func denied(reason, format string, args ...any) *abi.Error {
	return abi.Errorf(abi.Denied, format, args...).WithDetail(Denial{Reason: reason}).WithHint("arw egress preview tells what the host says about a destination, and why")
}

// Denial is the Detail of what the guard refuses.
type Denial struct {
	Reason string `json:"reason"`
	Row    string `json:"row,omitempty"` // of the ledger
	Why    any    `json:"why,omitempty"` // the decision of whoever refused, where it has more to say
}
