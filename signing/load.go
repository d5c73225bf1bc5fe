package signing

import (
	"crypto/sha256"
	"encoding/binary"
	"encoding/hex"
	"errors"
	"fmt"
	"maps"
	"slices"

	"github.com/arw-project/arw/abi"
	"github.com/arw-project/arw/manifests/strict"
	"github.com/sigstore/sigstore-go/pkg/root"
)

// Limits of what a policy is read from.
const (
	maxPolicyFile = 1 << 20
	maxRootFile   = 4 << 20
)

// ParsePolicy loads a trust policy. The file name is for messages; readFile fetches the key and trusted-root files by the
// names that stand in the policy (relative to trust.toml: the caller decides what a name may reach) and is called once
// for each name. Everything is resolved here: a policy that loads needs no file again.
//
// The error is an *abi.Error with code Invalid around strict.Problems: every fault that was found, with its line and what
// to do about it.
func ParsePolicy(file string, src []byte, readFile func(name string) ([]byte, error)) (*Policy, error) {
	if len(src) > maxPolicyFile {
		return nil, abi.Errorf(abi.TooLarge, "read trust policy %q: %d bytes, at most %d", file, len(src), maxPolicyFile)
	}
	l := &loader{file: file, src: src, read: readFile, files: map[string][]byte{}, roots: map[string]*trustedRoot{},
		signers: map[string]*signer{}, used: map[string]bool{}}
	lines, err := strict.Decode(file, src, &l.in)
	if err != nil {
		return nil, badPolicy(file, err)
	}
	l.lines = lines
	p := l.load()
	if err := l.problems.Err(); err != nil {
		return nil, badPolicy(file, err)
	}
	return p, nil
}

func badPolicy(file string, err error) error {
	out := abi.Errorf(abi.Invalid, "read trust policy %q: %w", file, err)
	if problems, ok := errors.AsType[strict.Problems](err); ok && len(problems) > 0 {
		out.Hint, out.Detail = problems[0].Hint, problems
	}
	return out
}

// loader turns trust.toml into a Policy and collects what is wrong with it.
type loader struct {
	file     string
	src      []byte
	in       policyFile
	lines    *strict.Lines
	read     func(string) ([]byte, error)
	files    map[string][]byte
	roots    map[string]*trustedRoot
	signers  map[string]*signer
	used     map[string]bool // "root x", "signer x"
	problems strict.Problems
	warnings []string
}

// trustedRoot is one [root.x], resolved.
type trustedRoot struct {
	material root.TrustedMaterial
	proof    proof
}

func (l *loader) bad(msg, hint string, path ...any) {
	l.problems = append(l.problems, l.lines.Problem(msg, hint, path...))
}

func (l *loader) warn(msg string, path ...any) {
	l.warnings = append(l.warnings, l.lines.Problem(msg, "", path...).String())
}

func (l *loader) load() *Policy {
	if l.in.Schema != 1 {
		l.bad(fmt.Sprintf("%d is not a schema of this host", l.in.Schema), "it reads schema = 1", "schema")
	}
	for _, name := range slices.Sorted(maps.Keys(l.in.Root)) {
		l.loadRoot(name, l.in.Root[name])
	}
	p := &Policy{keys: map[string]*signer{}}
	for _, name := range slices.Sorted(maps.Keys(l.in.Signer)) {
		s := l.loadSigner(name, l.in.Signer[name])
		l.signers[name] = s // nil when it is bad: a rule that lists it need not complain again
		if s == nil {
			continue
		}
		p.signers = append(p.signers, s)
		if s.identity != nil {
			continue
		}
		if twin := p.keys[s.keyID]; twin != nil {
			l.bad(fmt.Sprintf("the same key as signer %q", twin.name),
				"one key is one signer, or a threshold could count it twice", "signer", name, "key")
		}
		p.keys[s.keyID] = s
	}
	for i, entry := range l.in.Rule {
		for _, r := range l.loadRule(i, entry) {
			l.checkPrefix(p, r)
			p.rules = append(p.rules, r)
		}
	}
	slices.SortStableFunc(p.rules, func(a, b *rule) int { return len(b.prefix) - len(a.prefix) })
	l.warnUnused()
	p.digest, p.warnings = l.digest(), l.warnings
	return p
}

// checkPrefix refuses a rule of which nobody could say whether it or another applies.
func (l *loader) checkPrefix(p *Policy, r *rule) {
	for _, other := range p.rules {
		if other.prefix == r.prefix {
			l.bad(fmt.Sprintf("%q covers as much as rule %q: exactly one rule may apply to a pack", r.pattern, other.pattern),
				"join the two rules, or make one pattern longer", r.path...)
			return
		}
	}
}

func (l *loader) warnUnused() {
	for _, name := range slices.Sorted(maps.Keys(l.in.Root)) {
		if !l.used["root "+name] {
			l.warn("used by no signer", "root", name)
		}
	}
	for _, name := range slices.Sorted(maps.Keys(l.in.Signer)) {
		if !l.used["signer "+name] {
			l.warn("listed in no rule", "signer", name)
		}
	}
}

// fetch reads a named file once.
func (l *loader) fetch(name string, limit int) ([]byte, error) {
	if data, ok := l.files[name]; ok {
		return data, nil
	}
	if l.read == nil {
		return nil, errors.New("no files can be read here")
	}
	data, err := l.read(name)
	if err != nil {
		return nil, err
	}
	if len(data) > limit {
		return nil, fmt.Errorf("%d bytes, at most %d", len(data), limit)
	}
	l.files[name] = data
	return data, nil
}

// digest hashes the texts, each name and each text preceded by its length, trust.toml first and the others by name.
func (l *loader) digest() string {
	h := sha256.New()
	h.Write([]byte("arw trust policy 1\n"))
	put := func(b []byte) {
		h.Write(binary.BigEndian.AppendUint64(nil, uint64(len(b))))
		h.Write(b)
	}
	put(l.src)
	for _, name := range slices.Sorted(maps.Keys(l.files)) {
		put([]byte(name))
		put(l.files[name])
	}
	return "sha256:" + hex.EncodeToString(h.Sum(nil))
}
