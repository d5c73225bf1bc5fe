package pack

import (
	"cmp"
	"context"
	"errors"
	"log/slog"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/arw-project/arw/abi"
	"github.com/arw-project/arw/host/internal/cas"
	"github.com/arw-project/arw/host/internal/db"
	"github.com/arw-project/arw/host/internal/egress"
	"github.com/arw-project/arw/host/internal/files"
	"github.com/arw-project/arw/host/internal/journal"
	"github.com/arw-project/arw/host/internal/kv"
	"github.com/arw-project/arw/host/internal/lease"
	"github.com/arw-project/arw/host/internal/memo"
	"github.com/arw-project/arw/host/internal/policy"
	"github.com/arw-project/arw/host/internal/project"
	"github.com/arw-project/arw/host/internal/prompt"
	"github.com/arw-project/arw/host/internal/quota"
	"github.com/arw-project/arw/host/internal/recall"
	"github.com/arw-project/arw/host/internal/redact"
	"github.com/arw-project/arw/host/internal/vault"
	"github.com/arw-project/arw/host/internal/view"
	"github.com/arw-project/arw/host/internal/wasm"
	"github.com/arw-project/arw/registry"
	"github.com/arw-project/arw/signing"
)

// Parts are what a Manager stands on; all are required except Projects, Reviews, Rails, Second, Revocations, Catalogue, Config, Vault and Redact.
type Parts struct {
	DB      *db.DB
	Journal *journal.Journal
	CAS     *cas.Store
	KV      *kv.Store
	Files   *files.Folders
	View    *view.View
	Leases  *lease.Book
	Policy  *policy.Live
	// Prompts asks a person where a policy says so; nil asks nobody.
	Prompts *prompt.Book
	Trust   *signing.Policy
	Engine  *wasm.Engine
	// Memo keeps answers of pure tools; nil keeps none.
	Memo *memo.Memo
	// Recall gives answers again to questions that mean the same, for tools whose manifest allows it; nil never does.
	Recall *recall.Recall
	// Vault signs for packs whose lease covers the secret; nil has no secrets.
	Vault *vault.Vault
	// Redact takes secrets out of what packs write into the log; nil takes out none.
	Redact *redact.Redactor
	// Revocations knows which digests must not run; nil knows none.
	Revocations Revocations
	// Catalogue decides which digest a name and a version mean; nil leaves it to the registries.
	Catalogue Catalogue
	// Second is an engine of another kind on which a pack's examples must give the same answers; nil runs them once.
	Second *wasm.Engine
	// Egress is the way to the network; nil gives nobody any.
	Egress *egress.Guard
	// Models answers packs that ask models; nil has none to ask.
	Models Models
	// Config reads documents of the configuration; nil has none.
	Config Documents
	// Units keeps the logic units that packs bring; nil keeps none.
	Units Units
	// Projects knows what one project lets another read; nil lets nobody read anything.
	Projects *project.Book
	// Reviews lets writes wait for a person where the policies do not trust them; nil lets none wait.
	Reviews Reviews
	// Quotas count what everybody else allows; nil counts nothing.
	Quotas *quota.Book
	// Rails deny above every lease and policy; nil denies nothing.
	Rails Rails
	Log   *slog.Logger
}

// Rails are denies that stand above every lease and policy: signed capsules. Both are asked at every use, also in mid-call.
type Rails interface {
	Action(pack, tool string) error
	Use(c abi.Capability, target string) error
}

// Config of a Manager; the zero value works, but finds only packs whose reference names a registry.
type Config struct {
	// Held says why no pack may run or come now; nil, or a nil error, when all may.
	Held func() error
	// Registries are asked in this order for a reference that names none.
	Registries []string
	// Registry is how registries are spoken to.
	Registry registry.Options
	// Instances bounds how many guests of one pack run at once; 0 leaves it to the engine.
	Instances int
	// Drain is how long a removal waits for running calls, and how long a version that was replaced may go on with its
	// calls and sessions; 0 means 30 seconds.
	Drain time.Duration
	// Keep is how many replaced versions of a pack can come back without a registry; 0 means 3.
	Keep int
	// Guard is when a new version is taken back by the host itself.
	Guard Guard
	// Now is the clock of trials and records; nil means the real one.
	Now func() time.Time
	// Record bounds the record of one call in bytes; 0 means 64 MiB.
	Record int64
}

// Manager keeps the packs of a host. A pack's life:
//
//  1. resolve: the reference is looked up in its registry (or the configured ones, in order) and becomes one manifest
//     digest. From here on only that digest counts.
//  2. pull: manifest, files and signatures are fetched; every digest and size is checked.
//  3. verify: the trust policy judges the signatures over the manifest digest. Without a sufficient one the pack is
//     refused, unless a person admitted exactly this digest.
//  4. manifest: pack.toml is parsed; its name, version and module must be those of the artifact; its ABI range must
//     hold this host's; its tools and read models must not collide with another pack's.
//  5. inspect: the module's imports are compared with the manifest: what it uses it must have asked for.
//  6. admit: Cedar decides load, then link for each capability. Allowed links become leases; those a person must decide
//     are recorded as asked; a refused one that is not optional refuses the pack.
//  7. compare (upgrade): what the manifest asks for is compared with the version before. A lower version, one that was
//     rolled back, and one by other hands are refused unless a person says so. What widened will be held.
//  8. store: all blobs go to the content store. Nothing refers to them yet.
//  9. load: the program is compiled and initialised; the version before serves meanwhile.
//  10. examples: the manifest's examples run in a scratch world, on both engines when there are two, and must hold.
//  11. commit: one database transaction makes the pack row, the verdict, the leases and the events pack.installed,
//     leases.granted and leases.carried. Before it nothing is installed, after it everything is. From then on new calls
//     run on the new version; those on the old one end beside it, and it is closed when they have, or when Config.Drain
//     is over. What the new version may have too is carried to it; the rest is revoked once the old one is closed, or at
//     the next start. The old version's row and blobs are kept, so that Rollback needs no registry.
//  12. call: input checked against its schema, Cedar decides call, the lease book gates every host function, output
//     checked against its schema.
//  13. restart: the program is loaded again from the content store, its digest checked; when the trust or Cedar
//     policies have changed, steps 3 and 6 are asked again. What does not hold makes the pack broken, not the host.
//  14. watch: for a while after an upgrade failures and refusals are counted; too many roll it back (see Guard).
//  15. remove: drain, then the row goes, and the leases are revoked. The journal keeps the history.
//
// A failure in 1 to 11 is journaled as pack.refused with the verdict so far, and what was installed before goes on.
//
// A Manager is safe for concurrent use; installs and removals run one at a time, calls run beside them.
type Manager struct {
	Parts
	cfg Config

	turn  chan struct{} // holds one token: the right to install or remove
	index atomic.Pointer[index]
	loads sync.WaitGroup // background loads, versions that drain, rollbacks

	closing chan struct{} // closed by Close

	declaredGrants atomic.Pointer[prompt.Grants]

	mu     sync.Mutex // guards the rest
	closed bool
	shelf  shelf
}

// index finds packs and tools; it is replaced whole, never changed.
type index struct {
	packs map[string]*slot
	tools map[string]*slot // by tool id
}

// Open reads what is installed. Programs are not loaded yet: the first call of each does it, or Run.
func Open(ctx context.Context, p Parts, cfg Config) (*Manager, error) {
	cfg.Drain = cmp.Or(cfg.Drain, 30*time.Second)
	cfg.Keep, cfg.Guard = cmp.Or(cfg.Keep, 3), cfg.Guard.or(defaultGuard)
	m := &Manager{Parts: p, cfg: cfg, turn: make(chan struct{}, 1), closing: make(chan struct{}), shelf: shelf{}}
	rows, err := m.rows(ctx)
	if err != nil {
		return nil, abi.Errorf(abi.CodeOf(err), "open packs: %w", err)
	}
	if err := m.openShelf(ctx); err != nil {
		return nil, wrap(err, "open packs")
	}
	idx := &index{packs: map[string]*slot{}, tools: map[string]*slot{}}
	for _, r := range rows {
		v := m.revive(ctx, r)
		s := &slot{name: r.Name, cur: v}
		idx.add(s, v)
	}
	m.index.Store(idx)
	if err := errors.Join(m.reconcile(ctx), m.Recheck(ctx)); err != nil {
		return nil, wrap(err, "open packs")
	}
	m.bringAll(ctx)
	return m, nil
}

// reconcile revokes what a stop between a commit and its revocations left: leases of packs and versions that are not
// installed.
func (m *Manager) reconcile(ctx context.Context) error {
	corr := newCorr()
	for _, l := range m.Leases.List(lease.Filter{}) {
		s := m.index.Load().packs[l.Pack]
		if s != nil && s.current().row.Digest == l.Digest {
			continue
		}
		if err := m.revoke(ctx, corr, l, byHost, "its pack is not installed any more"); err != nil {
			return err
		}
	}
	return nil
}

// revoke takes a lease back unless it has ended for good.
func (m *Manager) revoke(ctx context.Context, corr string, l lease.Lease, by, why string) error {
	if l.State != lease.Live && !(l.State == lease.Expired && l.Renewable) {
		return nil
	}
	_, err := m.Leases.Revoke(ctx, corr, l.ID, by, why)
	return err
}

func (x *index) add(s *slot, v *version) {
	x.packs[s.name] = s
	for id := range v.tools {
		x.tools[id] = s
	}
}

// with is the index with one slot's tools replaced; v nil leaves the slot out.
func (x *index) with(s *slot, v *version) *index {
	next := &index{packs: map[string]*slot{}, tools: map[string]*slot{}}
	for _, other := range x.packs {
		if other != s {
			next.add(other, other.current())
		}
	}
	if v != nil {
		next.add(s, v)
	}
	return next
}

// Run loads the programs of all installed packs, one after the other, and then waits for ctx to end.
func (m *Manager) Run(ctx context.Context) error {
	for _, name := range m.names() {
		if s := m.index.Load().packs[name]; s != nil {
			if v := s.current(); v != nil {
				// A pack that does not load says so itself, in its state and in the journal.
				_, _ = m.program(ctx, v)
			}
		}
	}
	<-ctx.Done()
	return nil
}

// held is why nothing of any pack may run now.
func (m *Manager) held() error {
	if m.cfg.Held == nil {
		return nil
	}
	return m.cfg.Held()
}

// Close ends all programs. Calls in flight must have ended: end the executor first.
func (m *Manager) Close() error {
	m.mu.Lock()
	closed := m.closed
	m.closed = true
	m.mu.Unlock()
	if closed {
		return nil
	}
	close(m.closing)
	m.loads.Wait()
	var errs []error
	for _, s := range m.index.Load().packs {
		if v := s.current(); v != nil {
			errs = append(errs, v.close(context.Background()))
		}
	}
	return errors.Join(errs...)
}

func (m *Manager) names() []string {
	var names []string
	for name := range m.index.Load().packs {
		names = append(names, name)
	}
	slices.Sort(names)
	return names
}

// List describes the installed packs by name, without their verdicts.
func (m *Manager) List() []Info {
	infos := []Info{}
	for _, name := range m.names() {
		if info, err := m.Get(name); err == nil {
			info.Verdict = nil
			infos = append(infos, info)
		}
	}
	return infos
}

// Get describes one installed pack; NotFound.
func (m *Manager) Get(name string) (Info, error) {
	if s := m.index.Load().packs[name]; s != nil {
		if v := s.current(); v != nil {
			info := v.info()
			info.Calls, info.Draining = s.running()
			return info, nil
		}
	}
	return Info{}, notInstalled(name)
}

func notInstalled(name string) *abi.Error {
	return abi.Errorf(abi.NotFound, "find pack %q: it is not installed", name).WithHint("install it: arw pack install %s", name)
}

// Tools lists every tool of every installed pack, by id.
func (m *Manager) Tools() []Tool {
	tools := []Tool{}
	for _, info := range m.List() {
		tools = append(tools, info.Tools...)
	}
	slices.SortFunc(tools, func(a, b Tool) int { return strings.Compare(a.ID, b.ID) })
	return tools
}

// Live reports whether an installed pack, or a version that can come back, refers to a blob, for the content store's sweep. A running install's blobs are
// protected by the sweep's grace alone.
func (m *Manager) Live(digest string) bool {
	for _, s := range m.index.Load().packs {
		for _, v := range s.versions() {
			if v.blobs[digest] {
				return true
			}
		}
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	for _, rows := range m.shelf {
		for _, r := range rows {
			if slices.Contains(r.Content.digests(), digest) {
				return true
			}
		}
	}
	return false
}

// background runs f beside everything, waited for by Close; false when the Manager is closed already.
func (m *Manager) background(f func()) bool {
	m.mu.Lock()
	defer m.mu.Unlock()
	if !m.closed {
		m.loads.Go(f)
	}
	return !m.closed
}

// now is the moment by Config.Now.
func (m *Manager) now() time.Time {
	if m.cfg.Now != nil {
		return m.cfg.Now().UTC().Truncate(time.Millisecond)
	}
	return now()
}

// take waits for the right to install or remove; the returned function gives it back.
func (m *Manager) take(ctx context.Context) (func(), error) {
	select {
	case m.turn <- struct{}{}:
		return func() { <-m.turn }, nil
	case <-ctx.Done():
		return nil, ctx.Err()
	}
}
