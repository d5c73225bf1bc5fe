// Package starts keeps one promise: a host that keeps dying is not let run what it dies of. A small file remembers when the
// host began and whether it ended of its own will; too many starts in a short time that found no end behind them make the
// next one a safe one, and it stays so, over restarts too, until a person says otherwise.
//
// The file is written whole and durable, before anything else of the host is. Where it cannot be read it counts as a start
// that found no end: an unknown past is no reason for trust. One process at a time may have it open (the state directory's
// lock sees to that). All methods are safe for concurrent use.
package starts

import (
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"sync"
	"time"

	"github.com/arw-project/arw/abi"
)

// Limits say how many unclean ends in which time are too many.
type Limits struct {
	Crashes int           // 3 when 0; below 0 there is no limit
	Window  time.Duration // 10 minutes when 0
}

// Safe is why a host runs nothing.
type Safe struct {
	Reason  string      `json:"reason"`
	Crashes []time.Time `json:"crashes"` // when a start found that the one before had not ended
	Since   time.Time   `json:"since"`
}

// record is the file.
type record struct {
	Schema  int         `json:"schema"`
	Started time.Time   `json:"started"`
	Ended   *time.Time  `json:"ended,omitempty"`
	Crashes []time.Time `json:"crashes,omitempty"`
	Safe    *Safe       `json:"safe,omitempty"`
}

// keep bounds the crashes that are remembered.
const keep = 20

// Book is one host's memory of its starts.
type Book struct {
	path string
	now  func() time.Time

	mu  sync.Mutex
	rec record
}

// Open notes a start. told, when not empty, is a person's wish that it be a safe one, with the reason. Errors: StorageFull,
// Unavailable. Call End when the host ends of its own will.
func Open(path string, l Limits, told string, now func() time.Time) (*Book, error) {
	if l.Crashes == 0 {
		l.Crashes = 3
	}
	if l.Window == 0 {
		l.Window = 10 * time.Minute
	}
	if now == nil {
		now = time.Now
	}
	b := &Book{path: path, now: now}
	at := now().UTC().Truncate(time.Millisecond)
	was, found, err := read(path)
	b.rec = record{Schema: 1, Started: at, Crashes: was.Crashes, Safe: was.Safe}
	if err != nil || found && was.Ended == nil {
		b.rec.Crashes = append(b.rec.Crashes, at)
	}
	// A clock that was set back must not keep old crashes young for ever, nor may one that was set forward make them old.
	recent := slices.DeleteFunc(slices.Clone(b.rec.Crashes), func(t time.Time) bool { return at.Sub(t).Abs() > l.Window })
	b.rec.Crashes = b.rec.Crashes[max(0, len(b.rec.Crashes)-keep):]
	switch {
	case b.rec.Safe != nil:
	case told != "":
		b.rec.Safe = &Safe{Reason: told, Crashes: recent, Since: at}
	case l.Crashes > 0 && len(recent) >= l.Crashes:
		b.rec.Safe = &Safe{Reason: fmt.Sprintf("the host ended %d times within %s without being told to", len(recent), l.Window), Crashes: recent, Since: at}
	}
	return b, b.write()
}

// Peek reads the file of a host that may be running; Since is zero when it was never started.
func Peek(path string) (started time.Time, ended bool, safe *Safe, err error) {
	r, found, err := read(path)
	if err != nil || !found {
		return time.Time{}, true, nil, err
	}
	return r.Started, r.Ended != nil, r.Safe, nil
}

func read(path string) (r record, found bool, err error) {
	raw, err := os.ReadFile(path)
	if errors.Is(err, fs.ErrNotExist) {
		return record{}, false, nil
	}
	if err == nil {
		err = json.Unmarshal(raw, &r)
	}
	if err == nil && r.Schema != 1 {
		err = fmt.Errorf("its schema is %d", r.Schema)
	}
	if err != nil {
		return record{}, true, abi.Errorf(abi.Corrupt, "read %q: %w", path, err)
	}
	return r, true, nil
}

// Safe says why nothing may run; nil when everything may.
func (b *Book) Safe() *Safe {
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.rec.Safe == nil {
		return nil
	}
	s := *b.rec.Safe
	s.Crashes = slices.Clone(s.Crashes)
	return &s
}

// Leave ends the safe mode and forgets what led to it. Errors: Conflict when there is none; those of writing, and then it
// goes on.
func (b *Book) Leave() error {
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.rec.Safe == nil {
		return abi.Errorf(abi.Conflict, "leave the safe mode: the host is not in it").WithHint("arw doctor")
	}
	was := b.rec
	b.rec.Safe, b.rec.Crashes = nil, nil
	if err := b.write(); err != nil {
		b.rec = was
		return err
	}
	return nil
}

// End notes that the host ended of its own will.
func (b *Book) End() error {
	b.mu.Lock()
	defer b.mu.Unlock()
	at := b.now().UTC().Truncate(time.Millisecond)
	b.rec.Ended = &at
	return b.write()
}

// write replaces the file durably.
func (b *Book) write() error {
	raw, err := json.Marshal(b.rec)
	if err != nil {
		return abi.Errorf(abi.Internal, "write %q: %w", b.path, err)
	}
	f, err := os.CreateTemp(filepath.Dir(b.path), ".starts-*") // mode 0600
	if err != nil {
		return abi.Errorf(abi.Unavailable, "write %q: %w", b.path, err)
	}
	_, err = f.Write(append(raw, '\n'))
	err = errors.Join(err, f.Sync(), f.Close())
	if err == nil {
		err = os.Rename(f.Name(), b.path)
	}
	if err != nil {
		_ = os.Remove(f.Name())
		return abi.Errorf(abi.StorageFull, "write %q: %w", b.path, err)
	}
	d, err := os.Open(filepath.Dir(b.path))
	if err == nil {
		err = errors.Join(d.Sync(), d.Close())
	}
	if err != nil {
		return abi.Errorf(abi.Unavailable, "write %q: %w", b.path, err)
	}
	return nil
}
