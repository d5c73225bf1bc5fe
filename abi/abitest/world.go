package abitest

import (
	"context"
	"crypto/rand"
	"encoding/json"
	"fmt"
	"io"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/arw-project/arw/abi"
)

// World is what lies outside the guest in one case: everything in memory, everything it was asked written down. Its parts
// have the methods that an engine's interfaces for capabilities want.
type World struct {
	mu       sync.Mutex
	withheld map[abi.Capability]bool
	refused  map[abi.Capability]string
	revoked  map[abi.Capability]int // uses that are left
	keys     map[string][]byte
	states   map[string][]byte
	files    map[string][]byte
	events   []string
	lines    []string
	ticks    time.Duration
}

// wantWorld is what a case wants to find at the end; nil parts are not looked at.
type wantWorld struct {
	Keys   map[string]string
	States map[string]string
	Files  map[string]string
	Absent []string // files that must not be there
	Events []string // kind and body
	Log    []string // level and line
}

// The fixed facts of every world.
const (
	WorldTime   = 1_700_000_000_123_456_789 // nanoseconds since 1970
	worldFolder = "/f"
)

// NewWorld makes a world that holds the files /f/a ("alpha"), /f/b/c ("gamma"), /f/big ("0123456789", 30,000 times) and
// /z/pack.zip (x/a.txt: "hello", x/b/c.txt: "deep"), the secrets and the document that README.md names, and nothing else.
func NewWorld(withhold []abi.Capability, refuse map[abi.Capability]string) *World {
	w := &World{
		withheld: map[abi.Capability]bool{}, refused: refuse, keys: map[string][]byte{}, states: map[string][]byte{},
		files: map[string][]byte{"/f/a": []byte("alpha"), "/f/b/c": []byte("gamma"), "/f/big": []byte(strings.Repeat("0123456789", 30_000)), "/z/pack.zip": zipped()},
	}
	for _, c := range withhold {
		w.withheld[c] = true
	}
	return w
}

// Granted says whether the capability is to be linked at all.
func (w *World) Granted(c abi.Capability) bool { return !w.withheld[c] }

// Use is the lease that covers every capability that the case does not refuse; its scope is the world's folder.
func (w *World) Use(_ context.Context, c abi.Capability, _ string, _ int) (string, error) {
	if name, ok := w.refused[c]; ok {
		code, _ := abi.CodeByName(name)
		return "", abi.Errorf(code, "the lease for %s is over", c)
	}
	w.mu.Lock()
	defer w.mu.Unlock()
	if left, ok := w.revoked[c]; ok {
		if left == 0 {
			return "", abi.Errorf(abi.LeaseRevoked, "the lease for %s was revoked", c)
		}
		w.revoked[c] = left - 1
	}
	return worldFolder, nil
}

func (want *wantWorld) check(w *World) error {
	if want == nil {
		return nil
	}
	w.mu.Lock()
	defer w.mu.Unlock()
	for _, part := range []struct {
		name      string
		got, want any
	}{
		{"keys", texts(w.keys), want.Keys}, {"states", texts(w.states), want.States},
		{"events", w.events, want.Events}, {"log", w.lines, want.Log},
	} {
		if fmt.Sprint(part.want) == "map[]" || fmt.Sprint(part.want) == "[]" {
			continue
		}
		if got, want := fmt.Sprint(part.got), fmt.Sprint(part.want); got != want {
			return fmt.Errorf("the world's %s are %.400s, want %.400s", part.name, got, want)
		}
	}
	for _, path := range want.Absent {
		if got, ok := w.files[path]; ok {
			return fmt.Errorf("the world has a file %q (%.100q), and must not", path, got)
		}
	}
	for path, text := range want.Files {
		if got, ok := w.files[path]; !ok || string(got) != text {
			return fmt.Errorf("the world's file %q holds %.100q, want %.100q", path, got, text)
		}
	}
	return nil
}

func texts(m map[string][]byte) map[string]string {
	out := map[string]string{}
	for k, v := range m {
		out[k] = string(v)
	}
	return out
}

// KV is the world's key space.
type KV struct{ w *World }

// KV gives the part of that name.
func (w *World) KV() KV { return KV{w} }

// Get reads a value.
func (k KV) Get(_ context.Context, key []byte) ([]byte, error) {
	k.w.mu.Lock()
	defer k.w.mu.Unlock()
	if v, ok := k.w.keys[string(key)]; ok {
		return v, nil
	}
	return nil, abi.Errorf(abi.NotFound, "there is no key %q", key)
}

// Put stores a value.
func (k KV) Put(_ context.Context, key, val []byte) error {
	k.w.mu.Lock()
	defer k.w.mu.Unlock()
	k.w.keys[string(key)] = slices.Clone(val)
	return nil
}

// Delete removes a key.
func (k KV) Delete(_ context.Context, key []byte) error {
	k.w.mu.Lock()
	defer k.w.mu.Unlock()
	delete(k.w.keys, string(key))
	return nil
}

// List gives keys in byte order.
func (k KV) List(_ context.Context, prefix, after []byte, limit int) (found []abi.KVEntry, more bool, err error) {
	k.w.mu.Lock()
	defer k.w.mu.Unlock()
	for key, val := range k.w.keys {
		if strings.HasPrefix(key, string(prefix)) && key > string(after) {
			found = append(found, abi.KVEntry{Key: []byte(key), Size: len(val)})
		}
	}
	slices.SortFunc(found, func(a, b abi.KVEntry) int { return strings.Compare(string(a.Key), string(b.Key)) })
	if len(found) > limit {
		return found[:limit], true, nil
	}
	return found, false, nil
}

// Batch applies operations in order.
func (k KV) Batch(ctx context.Context, ops []abi.KVOp) error {
	for _, op := range ops {
		if op.Delete {
			_ = k.Delete(ctx, op.Key) // neither fails
		} else {
			_ = k.Put(ctx, op.Key, op.Val)
		}
	}
	return nil
}

// Log is the world's log.
type Log struct{ w *World }

// Log gives the part of that name.
func (w *World) Log() Log { return Log{w} }

// Write takes a line.
func (l Log) Write(_ context.Context, level int, msg string) error {
	l.w.mu.Lock()
	defer l.w.mu.Unlock()
	l.w.lines = append(l.w.lines, fmt.Sprintf("%d %s", level, msg))
	return nil
}

// Event is the world's journal.
type Event struct{ w *World }

// Event gives the part of that name.
func (w *World) Event() Event { return Event{w} }

// Emit takes an event.
func (e Event) Emit(_ context.Context, kind string, body []byte) error {
	e.w.mu.Lock()
	defer e.w.mu.Unlock()
	e.w.events = append(e.w.events, kind+" "+canonical(body))
	return nil
}

// canonical makes two ways to write the same JSON equal.
func canonical(raw []byte) string {
	if v, err := decode(raw); err == nil {
		if b, err := marshal(v); err == nil {
			return string(b)
		}
	}
	return string(raw)
}

// State holds the world's read models.
type State struct{ w *World }

// State gives the part of that name.
func (w *World) State() State { return State{w} }

// Get reads a read model.
func (s State) Get(_ context.Context, name string) ([]byte, error) {
	s.w.mu.Lock()
	defer s.w.mu.Unlock()
	if doc, ok := s.w.states[name]; ok {
		return doc, nil
	}
	return nil, abi.Errorf(abi.NotFound, "there is no read model %q", name)
}

// Put replaces a read model.
func (s State) Put(_ context.Context, name string, doc []byte) error {
	s.w.mu.Lock()
	defer s.w.mu.Unlock()
	s.w.states[name] = []byte(canonical(doc))
	return nil
}

// Clock is the world's clock: Now stands still, Monotonic moves by a millisecond with each reading.
type Clock struct{ w *World }

// Clock gives the part of that name.
func (w *World) Clock() Clock { return Clock{w} }

// Now is WorldTime.
func (Clock) Now() time.Time { return time.Unix(0, WorldTime) }

// Monotonic goes on.
func (c Clock) Monotonic() time.Duration {
	c.w.mu.Lock()
	defer c.w.mu.Unlock()
	c.w.ticks += time.Millisecond
	return c.w.ticks
}

// Rand is a cryptographic source.
func (w *World) Rand() io.Reader { return rand.Reader }

// Action is the other packs: other/pack:echo answers with its input, other/pack:bytes with its input as bytes,
// other/pack:broken with an error frame; there are no others.
type Action struct{ w *World }

// Action gives the part of that name.
func (w *World) Action() Action { return Action{w} }

// Call calls another pack's tool.
func (a Action) Call(_ context.Context, tool string, in []byte) (abi.FrameKind, []byte, error) {
	switch tool {
	case "other/pack:echo":
		return abi.FrameJSON, in, nil
	case "other/pack:bytes":
		return abi.FrameBytes, in, nil
	case "other/pack:broken":
		return abi.FrameError, nil, abi.Errorf(abi.Busy, "not now").WithDetail(json.RawMessage(`{"after":5}`))
	}
	return 0, nil, abi.Errorf(abi.NotFound, "there is no tool %q", tool)
}
