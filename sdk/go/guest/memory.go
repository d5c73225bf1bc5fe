//go:build !wasip1

package guest

import (
	"cmp"
	"crypto/rand"
	"encoding/binary"
	"encoding/json"
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"github.com/arw-project/arw/abi"
)

// Memory is a host for tests of a pack's own code: what a call stores is kept in maps, and everything it did can be
// looked at. The zero value works; set Deny to see how a tool takes a refusal. It is not for concurrent use.
type Memory struct {
	Keys    map[string][]byte
	States  map[string]json.RawMessage
	Events  []MemoryEvent
	Lines   []string // what was logged
	Folders []string // leased for reading and writing
	Clock   time.Time
	// Deny, when set, is asked before every host function ("kv.put") and may refuse it with an error.
	Deny func(function string) error
	// Tools answer calls of other tools.
	Tools map[string]func(in []byte) ([]byte, error)
}

// MemoryEvent is one event that was emitted.
type MemoryEvent struct {
	Kind string
	Body json.RawMessage
}

// Call gives a call against this host, for calling a tool's function directly.
func (m *Memory) Call() *Call { return &Call{tool: "test", sys: m} }

// Run calls a registered tool as the host would, frames and all. Output is nil when the tool failed.
func (m *Memory) Run(tool string, in []byte) (out []byte, err error) {
	_, out, err = abi.ParseFrame(dispatch(&Call{tool: tool, sys: m}, in))
	return out, err
}

func (m *Memory) may(function string) error {
	if m.Deny == nil {
		return nil
	}
	return m.Deny(function)
}

func (m *Memory) log(_ int, msg string) error {
	if err := m.may("log.write"); err != nil {
		return err
	}
	m.Lines = append(m.Lines, msg)
	return nil
}

func (m *Memory) kvGet(key []byte) ([]byte, error) {
	if err := m.may("kv.get"); err != nil {
		return nil, err
	}
	val, ok := m.Keys[string(key)]
	if !ok {
		return nil, abi.Errorf(abi.NotFound, "read key %q: there is none", key)
	}
	return slices.Clone(val), nil
}

func (m *Memory) put(key, val []byte) {
	if m.Keys == nil {
		m.Keys = map[string][]byte{}
	}
	m.Keys[string(key)] = slices.Clone(val)
}

func (m *Memory) kvPut(key, val []byte) error {
	if err := m.may("kv.put"); err != nil {
		return err
	}
	m.put(key, val)
	return nil
}

func (m *Memory) kvDelete(key []byte) error {
	if err := m.may("kv.delete"); err != nil {
		return err
	}
	delete(m.Keys, string(key))
	return nil
}

func (m *Memory) kvList(raw []byte) ([]byte, error) {
	if err := m.may("kv.list"); err != nil {
		return nil, err
	}
	var req struct {
		Prefix, After string
		Limit         int
	}
	if err := json.Unmarshal(raw, &req); err != nil {
		return nil, abi.Errorf(abi.Invalid, "list keys: %w", err)
	}
	keys := []Key{}
	for k, v := range m.Keys {
		if strings.HasPrefix(k, req.Prefix) && k > req.After {
			keys = append(keys, Key{k, len(v)})
		}
	}
	slices.SortFunc(keys, func(a, b Key) int { return cmp.Compare(a.Name, b.Name) })
	limit := cmp.Or(req.Limit, 1000)
	more := len(keys) > limit
	return json.Marshal(map[string]any{"keys": keys[:min(limit, len(keys))], "more": more})
}

func (m *Memory) kvBatch(ops []byte) error {
	if err := m.may("kv.batch"); err != nil {
		return err
	}
	next := func() []byte {
		n := binary.LittleEndian.Uint32(ops)
		part := ops[4 : 4+n]
		ops = ops[4+n:]
		return part
	}
	for len(ops) > 0 {
		kind := ops[0]
		ops = ops[1:]
		key := next()
		if kind == 2 {
			delete(m.Keys, string(key))
			continue
		}
		m.put(key, next())
	}
	return nil
}

func (m *Memory) emit(kind string, body []byte) error {
	if err := m.may("event.emit"); err != nil {
		return err
	}
	m.Events = append(m.Events, MemoryEvent{kind, slices.Clone(body)})
	return nil
}

func (m *Memory) stateGet(name string) ([]byte, error) {
	if err := m.may("state.get"); err != nil {
		return nil, err
	}
	doc, ok := m.States[name]
	if !ok {
		return nil, abi.Errorf(abi.NotFound, "read state %q: it was never written", name)
	}
	return doc, nil
}

func (m *Memory) statePut(name string, doc []byte) error {
	if err := m.may("state.put"); err != nil {
		return err
	}
	if m.States == nil {
		m.States = map[string]json.RawMessage{}
	}
	m.States[name] = slices.Clone(doc)
	return nil
}

// leased finds the folder that a path lies in.
func (m *Memory) leased(function, path string) error {
	if err := m.may(function); err != nil {
		return err
	}
	for _, f := range m.Folders {
		if rel, err := filepath.Rel(f, path); err == nil && filepath.IsLocal(rel) {
			return nil
		}
	}
	return abi.Errorf(abi.Denied, "%s %q: no leased folder holds it", function, path)
}

func entry(path string, info fs.FileInfo) abi.FSEntry {
	mode := "other"
	switch {
	case info.IsDir():
		mode = "dir"
	case info.Mode().IsRegular():
		mode = "file"
	case info.Mode()&fs.ModeSymlink != 0:
		mode = "symlink"
	}
	return abi.FSEntry{Path: path, Size: info.Size(), Mode: mode, MTimeMS: info.ModTime().UnixMilli()}
}

func (m *Memory) fsList(raw []byte) ([]byte, error) {
	var req abi.FSList
	if err := json.Unmarshal(raw, &req); err != nil {
		return nil, abi.Errorf(abi.Invalid, "list folder: %w", err)
	}
	if err := m.leased("fs.list", req.Path); err != nil {
		return nil, err
	}
	entries := []abi.FSEntry{}
	err := filepath.WalkDir(req.Path, func(path string, d fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		if path != req.Path && path > req.After {
			info, err := d.Info()
			if err != nil {
				return err
			}
			entries = append(entries, entry(path, info))
		}
		if d.IsDir() && path != req.Path && !req.Recursive {
			return fs.SkipDir
		}
		return nil
	})
	if err != nil {
		return nil, osError("list", req.Path, err)
	}
	slices.SortFunc(entries, func(a, b abi.FSEntry) int { return cmp.Compare(a.Path, b.Path) })
	limit := cmp.Or(req.Limit, 1000)
	more := len(entries) > limit
	return json.Marshal(map[string]any{"entries": entries[:min(limit, len(entries))], "more": more})
}

func osError(what, path string, err error) error {
	if errors.Is(err, fs.ErrNotExist) {
		return abi.Errorf(abi.NotFound, "%s %q: %w", what, path, err)
	}
	return abi.Errorf(abi.Invalid, "%s %q: %w", what, path, err)
}

func (m *Memory) fsStat(path string) ([]byte, error) {
	if err := m.leased("fs.stat", path); err != nil {
		return nil, err
	}
	info, err := os.Lstat(path)
	if err != nil {
		return nil, osError("stat", path, err)
	}
	return json.Marshal(entry(path, info))
}

func (m *Memory) fsRead(path string, offset int64, out []byte) (int, error) {
	if err := m.leased("fs.read", path); err != nil {
		return 0, err
	}
	data, err := os.ReadFile(path)
	if err != nil {
		return 0, osError("read", path, err)
	}
	return copy(out, data[min(offset, int64(len(data))):]), nil
}

func (m *Memory) fsWrite(path string, data []byte) error {
	if err := m.leased("fs.write", path); err != nil {
		return err
	}
	return os.WriteFile(path, data, 0o644)
}

func (m *Memory) fsRemove(path string) error {
	if err := m.leased("fs.remove", path); err != nil {
		return err
	}
	return os.Remove(path)
}

func (m *Memory) now(out []byte) error {
	if err := m.may("clock.now"); err != nil {
		return err
	}
	at := m.Clock
	if at.IsZero() {
		at = time.Date(2026, 1, 2, 3, 4, 5, 0, time.UTC)
	}
	binary.LittleEndian.PutUint64(out, uint64(at.UnixNano()))
	return nil
}

func (m *Memory) monotonic(out []byte) error { return m.now(out) }

func (m *Memory) random(out []byte) error {
	if err := m.may("rand.bytes"); err != nil {
		return err
	}
	_, err := rand.Read(out)
	return err
}

func (m *Memory) call(tool string, in []byte) ([]byte, error) {
	if err := m.may("action.call"); err != nil {
		return nil, err
	}
	run, ok := m.Tools[tool]
	if !ok {
		return nil, abi.Errorf(abi.NotFound, "call tool %q: there is none", tool)
	}
	body, err := run(in)
	if err != nil {
		return nil, err
	}
	return abi.AppendFrame(nil, abi.FrameJSON, body), nil
}
