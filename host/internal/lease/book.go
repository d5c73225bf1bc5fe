package lease

import (
	"cmp"
	"context"
	"database/sql"
	"slices"
	"sync"
	"time"

	"github.com/arw-project/arw/abi"
	"github.com/arw-project/arw/host/internal/db"
	"github.com/arw-project/arw/host/internal/journal"
)

// Book holds every lease of a host. All methods are safe for concurrent use. What memory says is never more generous than
// the table: a grant and a renewal show after they are durable, a revocation, an expiry and an empty budget before.
type Book struct {
	db      *db.DB
	journal *journal.Journal
	base    time.Time // where the monotonic clock of this book starts
	words   func(reason string) string

	wake chan struct{} // full while Run has something to look at

	// mu guards the rest, the mended fields of the entries and every change of their states. It is never held across I/O.
	mu      sync.Mutex
	leases  map[string]*entry
	holders map[holderKey]*Holder
	pending map[*entry]change // ended in memory, not yet in the table
	touched map[*Holder]bool  // to be arranged anew

	// The database's writer owns these; see watcher.
	staged []func()
	coming []coming // leases among them
	mark   int
}

type holderKey struct{ pack, digest string }

// change is an ending that has still to be written.
type change struct {
	ending *Ending // the entry's own at that moment: a renewal in between gives it another
	corr   string
}

// Option changes how Open makes a Book.
type Option func(*Book)

// Worded makes the reasons that people give for leases pass through clean before they are kept.
func Worded(clean func(reason string) string) Option { return func(b *Book) { b.words = clean } }

func (b *Book) reason(text string) string {
	if b.words == nil {
		return text
	}
	return b.words(text)
}

// Open reads the leases of a database whose migrations include Schema and writes nothing. Budgets that a crash left
// reserved count as used. The book lives as long as the database; Run it so that endings are journaled.
func Open(ctx context.Context, d *db.DB, j *journal.Journal, options ...Option) (*Book, error) {
	b := &Book{
		db: d, journal: j, base: time.Now(), wake: make(chan struct{}, 1),
		leases: map[string]*entry{}, holders: map[holderKey]*Holder{}, pending: map[*entry]change{},
		touched: map[*Holder]bool{},
	}
	for _, o := range options {
		o(b)
	}
	if err := b.load(ctx); err != nil {
		return nil, d.Explain("read the leases", err)
	}
	d.Watch(watcher{b})
	return b, nil
}

// now is the time of the monotonic clock.
func (b *Book) now() int64 { return int64(time.Since(b.base)) }

// poke makes Run look.
func (b *Book) poke() {
	select {
	case b.wake <- struct{}{}:
	default:
	}
}

// watcher lets the book follow the database's transactions: what a write stages becomes visible when it is durable.
type watcher struct{ b *Book }

func (w watcher) Mark() { w.b.mark = len(w.b.staged) }
func (w watcher) Undo() { w.drop(w.b.mark) }

// Abort forgets what was staged. Should a failing disk have kept it after all, it shows after a restart.
func (w watcher) Abort()  { w.drop(0) }
func (w watcher) Closed() {}

// Seal has nothing to add to a transaction.
func (w watcher) Seal(*sql.Tx) error { return nil }

func (w watcher) Commit() {
	if len(w.b.staged) == 0 {
		return
	}
	w.b.mu.Lock()
	for _, publish := range w.b.staged {
		publish()
	}
	w.b.arrange()
	w.b.mu.Unlock()
	w.drop(0)
	w.b.poke()
}

func (w watcher) drop(from int) {
	clear(w.b.staged[from:])
	w.b.staged = w.b.staged[:from]
	w.b.coming = slices.DeleteFunc(w.b.coming, func(c coming) bool { return c.at >= from })
}

// stage runs a function under mu once the write that calls it is durable.
func (b *Book) stage(publish func()) { b.staged = append(b.staged, publish) }

// Holder finds the leases of one version of a pack. The holder of a version that has none refuses everything.
func (b *Book) Holder(pack, digest string) *Holder {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.holder(pack, digest)
}

func (b *Book) holder(pack, digest string) *Holder {
	key := holderKey{pack, digest}
	h, ok := b.holders[key]
	if !ok {
		h = &Holder{book: b, pack: pack, digest: digest, entries: map[*entry]bool{}}
		h.view.Store(&view{})
		b.holders[key] = h
	}
	return h
}

// maxEnded is how many ended leases of one capability a holder remembers, so that a refusal can say what became of them.
const maxEnded = 8

// arrange renews the pictures of the holders whose leases were added, renewed, ended or forgotten.
func (b *Book) arrange() {
	for h := range b.touched {
		var live, ended []*entry
		for e := range h.entries {
			if e.state.Load() == stateLive {
				live = append(live, e)
			} else {
				ended = append(ended, e)
			}
		}
		slices.SortFunc(ended, func(x, y *entry) int { return b.endOf(y).Compare(b.endOf(x)) })
		kept := map[abi.Capability]int{}
		ended = slices.DeleteFunc(ended, func(e *entry) bool {
			kept[e.grant.Capability]++
			return kept[e.grant.Capability] > maxEnded
		})
		h.view.Store(newView(append(live, ended...)))
	}
	clear(b.touched)
}

// add puts an entry into the book, drop takes it out, touch says that it changed.
func (b *Book) add(e *entry) {
	b.leases[e.id] = e
	b.holder(e.grant.Pack, e.grant.Digest).entries[e] = true
	b.touch(e)
}

func (b *Book) drop(e *entry) {
	delete(b.leases, e.id) // a draining version that shares it lets it go with Release
	delete(b.holder(e.grant.Pack, e.grant.Digest).entries, e)
	b.touch(e)
}

func (b *Book) touch(e *entry) { b.touched[b.holder(e.grant.Pack, e.grant.Digest)] = true }

// endOf is when a lease ended or would have.
func (b *Book) endOf(e *entry) time.Time {
	if e.ended != nil {
		return e.ended.Time
	}
	return e.expires
}

// lease copies an entry as of now.
func (b *Book) lease(e *entry) Lease {
	l := Lease{ID: e.id, Grant: e.grant, Created: e.created, Expires: e.expires, Used: e.used(), State: stateNames[e.stateAt(b.now())]}
	l.TTL = e.ttl
	l.Scope, l.Policies = slices.Clone(e.grant.Scope), slices.Clone(e.grant.Policies)
	switch {
	case e.ended != nil:
		ended := *e.ended
		l.Ended = &ended
	case l.State != Live:
		l.Ended = &Ending{Time: e.expires}
	}
	return l
}

// Get finds a lease by its id; the error is an *abi.Error with code NotFound.
func (b *Book) Get(id string) (Lease, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	e, err := b.find(id)
	if err != nil {
		return Lease{}, err
	}
	return b.lease(e), nil
}

func (b *Book) find(id string) (*entry, error) {
	if e, ok := b.leases[id]; ok {
		return e, nil
	}
	return nil, abi.Errorf(abi.NotFound, "find lease %q: there is none of that id", clip(id)).WithHint("arw lease list")
}

// List copies the leases that a filter selects, the oldest first. Those that ended are kept for Retention.
func (b *Book) List(f Filter) []Lease {
	b.mu.Lock()
	defer b.mu.Unlock()
	list := []Lease{}
	for _, e := range b.leases {
		if (f.Pack != "" && f.Pack != e.grant.Pack) || (f.Digest != "" && f.Digest != e.grant.Digest) ||
			(f.Project != "" && e.grant.Project != "" && f.Project != e.grant.Project) {
			continue
		}
		if l := b.lease(e); f.State == "" || f.State == l.State {
			list = append(list, l)
		}
	}
	slices.SortFunc(list, func(x, y Lease) int { return cmp.Or(x.Created.Compare(y.Created), cmp.Compare(x.ID, y.ID)) })
	return list
}

// write runs fn in the database's next transaction and names the failure.
func (b *Book) write(ctx context.Context, doing string, fn func(tx *sql.Tx) error) error {
	return b.db.Explain(doing, b.db.Write(ctx, fn))
}
