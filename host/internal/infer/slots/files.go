package slots

import (
	"crypto/rand"
	"crypto/sha256"
	"encoding/binary"
	"encoding/hex"
	"encoding/json"
	"errors"
	"io"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/arw-project/arw/abi"
)

// stale is how long memories of a runtime that is not used any more are kept.
const stale = 30 * 24 * time.Hour

// entry describes one memory on disk; its file's name is its key.
type entry struct {
	Key    string  `json:"key"`
	Sum    string  `json:"sha256"` // of the file
	Size   int64   `json:"size"`
	Scope  string  `json:"scope"` // a digest
	Tokens []int32 `json:"tokens"`
	used   time.Time
}

// files are the memories of one runtime, in a folder of their own.
type files struct {
	dir   string // kept
	lent  string // where the server reads
	facts string // a digest
	quota int64

	mu  sync.Mutex
	all map[string]*entry // by key
}

func digest(parts ...string) string {
	h := sha256.New()
	for _, s := range parts {
		var n [8]byte
		binary.LittleEndian.PutUint64(n[:], uint64(len(s))) // no two lists of parts look alike
		h.Write(n[:])
		h.Write([]byte(s))
	}
	return hex.EncodeToString(h.Sum(nil))
}

// key names a memory by all that it depends on.
func key(facts, scope string, tokens []int32) string {
	raw := make([]byte, 0, 4*len(tokens))
	for _, t := range tokens {
		raw = binary.LittleEndian.AppendUint32(raw, uint32(t))
	}
	return digest("arw slot 1", facts, scope, string(raw))
}

// fileName is one that no other has.
func fileName() string { return rand.Text() + ".bin" }

func openFiles(cfg Config) (*files, error) {
	f := &files{lent: cfg.Dir, facts: digest(cfg.Facts...), quota: cfg.Quota, all: map[string]*entry{}}
	f.dir = filepath.Join(cfg.Store, f.facts[:32])
	if err := os.MkdirAll(f.dir, 0o700); err != nil {
		return nil, abi.Errorf(abi.Unavailable, "keep memories of prompts in %q: %w", cfg.Store, err)
	}
	now := time.Now()
	_ = os.Chtimes(f.dir, now, now) // in use
	others, _ := filepath.Glob(filepath.Join(cfg.Store, "*"))
	for _, dir := range others {
		if info, err := os.Stat(dir); err == nil && info.IsDir() && now.Sub(info.ModTime()) > stale {
			_ = os.RemoveAll(dir) // the next start tries again
		}
	}
	names, _ := filepath.Glob(filepath.Join(f.dir, "*.json"))
	for _, name := range names {
		text, err := os.ReadFile(name)
		var e entry
		if err != nil || json.Unmarshal(text, &e) != nil || e.Key != strings.TrimSuffix(filepath.Base(name), ".json") || key(f.facts, e.Scope, e.Tokens) != e.Key {
			_ = os.Remove(name) // of another format, or not what it says
			continue
		}
		if info, err := os.Stat(name); err == nil {
			e.used = info.ModTime()
		}
		f.all[e.Key] = &e
	}
	return f, nil
}

// scoped is what is written of a scope: its digest.
func scoped(scope string) string { return digest("arw slot scope", scope) }

func (f *files) has(scope string, tokens []int32) bool {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.all[key(f.facts, scoped(scope), tokens)] != nil
}

func (f *files) any(scope string) bool {
	f.mu.Lock()
	defer f.mu.Unlock()
	scope = scoped(scope)
	for _, e := range f.all {
		if e.Scope == scope {
			return true
		}
	}
	return false
}

// put takes a file that the server wrote.
func (f *files) put(name, scope string, tokens []int32) error {
	defer f.drop(name)
	e := &entry{Scope: scoped(scope), Tokens: tokens, used: time.Now()}
	e.Key = key(f.facts, e.Scope, tokens)
	kept := filepath.Join(f.dir, e.Key)
	var err error
	if e.Sum, e.Size, err = copied(filepath.Join(f.lent, name), kept+".bin", f.quota); err != nil {
		return err
	}
	text, err := json.Marshal(e)
	if err == nil {
		err = os.WriteFile(kept+".json", text, 0o600)
	}
	if err != nil {
		return errors.Join(err, os.Remove(kept+".bin"))
	}
	f.mu.Lock()
	defer f.mu.Unlock()
	f.all[e.Key] = e
	f.shrink()
	return nil
}

// shrink forgets what was used longest ago until the quota holds; the caller holds mu.
func (f *files) shrink() {
	list, total := []*entry{}, int64(0)
	for _, e := range f.all {
		list, total = append(list, e), total+e.Size
	}
	slices.SortFunc(list, func(a, b *entry) int { return a.used.Compare(b.used) })
	for _, e := range list {
		if total <= f.quota {
			break
		}
		total -= e.Size
		f.forget(e)
	}
}

func (f *files) forget(e *entry) {
	delete(f.all, e.Key)
	_ = os.Remove(filepath.Join(f.dir, e.Key+".json")) // without it the other is nothing
	_ = os.Remove(filepath.Join(f.dir, e.Key+".bin"))
}

// lend copies the memory of a scope that begins most like the tokens to where the server reads, and proves the copy: no byte
// that the server gets was not looked at. spoiled counts what had to be forgotten.
func (f *files) lend(scope string, tokens []int32, least int) (name string, spoiled int, ok bool) {
	f.mu.Lock()
	defer f.mu.Unlock()
	scope = scoped(scope)
	for {
		var best *entry
		most := least - 1
		for _, e := range f.all {
			if n := alike(e.Tokens, tokens); e.Scope == scope && n > most {
				best, most = e, n
			}
		}
		if best == nil {
			return "", spoiled, false
		}
		name = fileName()
		sum, size, err := copied(filepath.Join(f.dir, best.Key+".bin"), filepath.Join(f.lent, name), best.Size)
		if err == nil && sum == best.Sum && size == best.Size {
			best.used = time.Now()
			_ = os.Chtimes(filepath.Join(f.dir, best.Key+".json"), best.used, best.used) // else it is forgotten sooner
			return name, spoiled, true
		}
		f.drop(name)
		f.forget(best)
		spoiled++
	}
}

// drop removes a file that the server need not read any more.
func (f *files) drop(name string) { _ = os.Remove(filepath.Join(f.lent, name)) } // the folder goes with the server

// alike is how many tokens two prompts begin with in common.
func alike(a, b []int32) int {
	for i := range min(len(a), len(b)) {
		if a[i] != b[i] {
			return i
		}
	}
	return min(len(a), len(b))
}

// copied copies a file of at most so many bytes, and tells what was copied.
func copied(from, to string, most int64) (sum string, size int64, err error) {
	src, err := os.Open(from)
	if err != nil {
		return "", 0, err
	}
	defer src.Close()
	dst, err := os.OpenFile(to, os.O_CREATE|os.O_WRONLY|os.O_TRUNC, 0o600)
	if err != nil {
		return "", 0, err
	}
	h := sha256.New()
	size, err = io.Copy(io.MultiWriter(dst, h), io.LimitReader(src, most+1))
	if err == nil && size > most {
		err = abi.Errorf(abi.TooLarge, "keep the memory of a prompt: it takes more than %d bytes", most)
	}
	if err = errors.Join(err, dst.Close()); err != nil {
		return "", 0, errors.Join(err, os.Remove(to))
	}
	return hex.EncodeToString(h.Sum(nil)), size, nil
}
