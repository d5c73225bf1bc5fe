package view

import (
	"context"
	"encoding/json"
	"sync"
	"time"

	"github.com/arw-project/arw/abi"
)

// DefaultEvery is how long changes of a Live document are gathered before they become one version.
const DefaultEvery = 250 * time.Millisecond

// Live is a document that changes often and is made durable now and then: changes are made in memory and cost the caller
// no disk, and whatever changed since the last version becomes the next one, with one event and one net patch, at every
// beat of Keep. A reader (Get, a follower) sees only the durable versions, so both see the same.
//
// What was changed since the last beat is lost by a crash. A Live document must therefore be something that can be told
// again: a projection of the journal (Project does it) or a measurement. One that must never lag behind what it tells of
// is changed by ChangeTx instead. A document has one Live and no other writer. Safe for concurrent use.
type Live struct {
	v  *View
	id string

	mu   sync.Mutex
	root *node // as changed
	kept *node // as of the last durable version; the same node when nothing has changed since

	flushing sync.Mutex
}

// Live gives the one Live of a document, beginning with what is durable. Errors: Invalid for a name, those of reading.
func (v *View) Live(ctx context.Context, id string) (*Live, error) {
	if err := checkID(id); err != nil {
		return nil, err
	}
	s, err := v.committed(ctx, id)
	if err != nil {
		return nil, v.db.Explain(`read document "`+id+`"`, err)
	}
	v.mu.Lock()
	defer v.mu.Unlock()
	if l := v.lives[id]; l != nil {
		return l, nil
	}
	l := &Live{v: v, id: id, root: s.root, kept: s.root}
	v.lives[id] = l
	return l, nil
}

// Change lets fn describe a change, all or none of it. Errors: fn's own, Invalid for an operation that is not possible,
// TooLarge for a document above MaxDoc. fn must not keep the Edit or wait for anything.
func (l *Live) Change(fn func(*Edit) error) error {
	l.mu.Lock()
	defer l.mu.Unlock()
	e := &Edit{root: l.root, clean: l.v.clean}
	if err := fn(e); err != nil {
		return err
	}
	return l.take(e)
}

// Put is Change to doc as a whole, a JSON value; what is equal in both stays as it is and is not part of the patch.
func (l *Live) Put(doc json.RawMessage) error {
	root, err := parseClean(doc, l.v.clean)
	if err != nil {
		return abi.Errorf(abi.Invalid, "put document %q: %w", l.id, err)
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.root != nil && l.root.equal(root) {
		return nil
	}
	return l.take(&Edit{root: root})
}

func (l *Live) take(e *Edit) error {
	if e.err != nil {
		return abi.Errorf(abi.Invalid, "change document %q: %w", l.id, e.err)
	}
	if e.root != nil && e.root.size > MaxDoc {
		return abi.Errorf(abi.TooLarge, "change document %q: it would have %d bytes, at most %d are allowed", l.id, e.root.size, MaxDoc).
			WithHint("keep fewer entries in it (Edit.Keep)")
	}
	l.root = e.root
	return nil
}

// Flush makes the changes so far durable as one version; without any it does nothing. Errors are View.Change's, and the
// changes are kept for the next attempt.
func (l *Live) Flush(ctx context.Context) error {
	l.flushing.Lock() // versions must not overtake each other
	defer l.flushing.Unlock()
	l.mu.Lock()
	root, kept := l.root, l.kept
	l.mu.Unlock()
	if root == kept || root == nil {
		return nil
	}
	_, err := l.v.Change(ctx, Cause{Actor: "host"}, l.id, func(e *Edit) error {
		if e.root == nil {
			e.ops = []op{{"add", "", root}}
		} else {
			// What was not changed is the same node in both and is passed over without a look inside.
			e.ops = diff(nil, "", e.root, root)
		}
		e.root = root
		return nil
	})
	if err != nil {
		return err
	}
	l.mu.Lock()
	l.kept = root
	l.mu.Unlock()
	return nil
}

// Keep flushes every Live document at each beat until ctx ends, and once more then. every 0 means DefaultEvery; failed
// hears of a flush that failed, which is tried again at the next beat. It returns nil.
func (v *View) Keep(ctx context.Context, every time.Duration, failed func(id string, err error)) error {
	if every <= 0 {
		every = DefaultEvery
	}
	beat := time.NewTicker(every)
	defer beat.Stop()
	for {
		select {
		case <-ctx.Done():
			last, cancel := context.WithTimeout(context.WithoutCancel(ctx), 5*time.Second)
			defer cancel()
			v.flush(last, failed)
			return nil
		case <-beat.C:
			v.flush(ctx, failed)
		}
	}
}

// flush flushes all documents at once, so that they share a group commit.
func (v *View) flush(ctx context.Context, failed func(id string, err error)) {
	v.mu.RLock()
	lives := make([]*Live, 0, len(v.lives))
	for _, l := range v.lives {
		lives = append(lives, l)
	}
	v.mu.RUnlock()
	var wg sync.WaitGroup
	for _, l := range lives {
		if !l.dirty() {
			continue
		}
		wg.Go(func() {
			if err := l.Flush(ctx); err != nil && ctx.Err() == nil && failed != nil {
				failed(l.id, err)
			}
		})
	}
	wg.Wait()
}

func (l *Live) dirty() bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.root != l.kept
}
