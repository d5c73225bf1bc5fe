package memo

import (
	"bytes"
	"errors"
	"io/fs"
	"os"
	"path"
	"time"

	"github.com/arw-project/arw/abi"
	"github.com/arw-project/arw/manifests/strict"
)

// Policy is what the operator decides about cached answers, as cache.toml says it (docs/spec/cache.md).
type Policy struct {
	Schema int             `toml:"schema" json:"schema"`
	Off    bool            `toml:"off" json:"off"`       // true caches nothing
	Memory strict.Size     `toml:"memory" json:"memory"` // bytes in memory; of the policy at Open
	Disk   strict.Size     `toml:"disk" json:"disk"`     // bytes of answers on disk
	Entry  strict.Size     `toml:"entry" json:"entry"`   // bytes of the largest answer that is kept
	TTL    strict.Duration `toml:"ttl" json:"ttl"`       // age at which an answer is no longer given
	Allow  []string        `toml:"allow" json:"allow"`   // when set, only these tools: patterns of namespace/name:tool
	Deny   []string        `toml:"deny" json:"deny"`     // never these; outranks Allow
	Recall RecallPolicy    `toml:"recall" json:"recall"` // of answers given again to other questions; Off, Allow and Deny hold there too
}

// RecallPolicy is what the operator decides about answers that are given to questions which mean the same.
type RecallPolicy struct {
	Off     bool            `toml:"off" json:"off"`
	Entries int             `toml:"entries" json:"entries"`
	Memory  strict.Size     `toml:"memory" json:"memory"`
	TTL     strict.Duration `toml:"ttl" json:"ttl"`     // the longest; a manifest may say less
	Audit   int             `toml:"audit" json:"audit"` // one of so many near answers is made anew
	Rest    strict.Duration `toml:"rest" json:"rest"`   // how long a space that was wrong too often gives no near answers
	Model   string          `toml:"model" json:"model"` // that places questions; "" counts their words
}

// DefaultPolicy is what holds without a file.
func DefaultPolicy() Policy {
	return Policy{Schema: 1, Memory: 64 << 20, Disk: 512 << 20, Entry: 4 << 20, TTL: strict.Duration(24 * time.Hour), Allow: []string{}, Deny: []string{},
		Recall: RecallPolicy{Entries: 4096, Memory: 32 << 20, TTL: strict.Duration(time.Hour), Audit: 8, Rest: strict.Duration(10 * time.Minute)}}
}

// ParsePolicy reads cache.toml; what it leaves out keeps its default. Errors: Invalid with file and line.
func ParsePolicy(file string, src []byte) (Policy, error) {
	p := DefaultPolicy()
	lines, err := strict.Decode(file, src, &p)
	if err != nil {
		return Policy{}, abi.Errorf(abi.Invalid, "read cache policy: %w", err)
	}
	var bad strict.Problems
	problem := func(what, hint string, at ...any) { bad = append(bad, lines.Problem(what, hint, at...)) }
	if p.Schema != 1 {
		problem("this host knows schema 1", "write schema = 1", "schema")
	}
	for name, n := range map[string]strict.Size{"memory": p.Memory, "disk": p.Disk, "entry": p.Entry} {
		if n < 1 {
			problem(name+" must be above zero", "to cache nothing write off = true", name)
		}
	}
	if p.TTL <= 0 {
		problem("ttl must be above zero", "to cache nothing write off = true", "ttl")
	}
	r := p.Recall
	for name, ok := range map[string]bool{"entries": r.Entries > 0, "memory": r.Memory > 0, "ttl": r.TTL > 0, "audit": r.Audit > 0, "rest": r.Rest > 0} {
		if !ok {
			problem(name+" must be above zero", "to give nothing again write off = true in [recall]", "recall", name)
		}
	}
	for name, list := range map[string][]string{"allow": p.Allow, "deny": p.Deny} {
		for i, pattern := range list {
			if _, err := path.Match(pattern, ""); err != nil || pattern == "" {
				problem("is no pattern", `write it as "arw/research:*"`, name, i)
			}
		}
	}
	if len(bad) > 0 {
		return Policy{}, abi.Errorf(abi.Invalid, "read cache policy: %w", bad)
	}
	return p, nil
}

// Caches reports whether answers of a tool may be kept.
func (p *Policy) Caches(pack, tool string) bool {
	name := pack + ":" + tool
	return !p.Off && !matches(p.Deny, name) && (len(p.Allow) == 0 || matches(p.Allow, name))
}

func matches(patterns []string, name string) bool {
	for _, pattern := range patterns {
		if ok, _ := path.Match(pattern, name); ok {
			return true
		}
	}
	return false
}

// Policy is the one in force.
func (m *Memo) Policy() Policy { return *m.policy.Load() }

// Reload puts the policy of a file into force; a missing file is the default. After an error the policy before stays.
func (m *Memo) Reload(file string) (Policy, error) {
	src, err := os.ReadFile(file)
	switch {
	case errors.Is(err, fs.ErrNotExist):
		src = []byte("schema = 1\n")
	case err != nil:
		return m.Policy(), abi.Errorf(abi.Unavailable, "read cache policy %q: %w", file, err)
	}
	p, err := ParsePolicy(file, src)
	if err != nil {
		return m.Policy(), err
	}
	m.policy.Store(&p)
	m.front.SetMaximum(uint64(p.Memory))
	return p, nil
}

// watcher reads the file again when its bytes are others.
type watcher struct {
	memo    *Memo
	file    string
	last    []byte
	changed func(Policy)
}

func (w *watcher) first() {
	if w.file != "" {
		w.last, _ = os.ReadFile(w.file)
	}
	if w.changed != nil {
		w.changed(w.memo.Policy())
	}
}

func (w *watcher) look() {
	if w.file == "" {
		return
	}
	src, _ := os.ReadFile(w.file)
	if bytes.Equal(src, w.last) {
		return
	}
	w.last = src
	p, err := w.memo.Reload(w.file)
	if err != nil {
		w.memo.log.Error("the cache policy is not read; the one before stays in force", "error", err)
		return
	}
	if w.changed != nil {
		w.changed(p)
	}
}
