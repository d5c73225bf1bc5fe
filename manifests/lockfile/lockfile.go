// Package lockfile reads and writes arw.lock: which packs a host has, each by the one digest that was checked, where it came
// from, and the proofs it was admitted on. Bytes in, values out; Format has one form only, and Parse takes nothing that
// means two things. The normative text is docs/spec/lock.md.
package lockfile

import (
	"cmp"
	"fmt"
	"regexp"
	"slices"
	"strings"
	"unicode"

	"github.com/arw-project/arw/abi"
	"github.com/arw-project/arw/manifests/strict"
)

// FileName is what the file is called unless somebody says otherwise.
const FileName = "arw.lock"

// Bounds of a lock file.
const (
	MaxPacks  = 4096
	MaxProofs = 64 // of one pack
	maxText   = 4096
)

// File is a lock file.
type File struct {
	Packs []Pack `json:"packs"` // by name
}

// Pack is one pack of it.
type Pack struct {
	Name     string  `json:"name"`
	Version  string  `json:"version"`
	Digest   string  `json:"digest"`             // of the OCI manifest
	Registry string  `json:"registry,omitempty"` // location, as a reference begins with it; empty: the host's own
	Override bool    `json:"override,omitempty"` // a person admitted the digest although nothing trusted signed it
	Proofs   []Proof `json:"proofs"`             // by predicate and digest
}

// Proof is a bundle that counted when the pack was admitted: its signature, or an attestation the trust policy wants.
type Proof struct {
	Predicate string `json:"predicate"`
	Bundle    string `json:"bundle"` // digest of its bytes
	Key       string `json:"key,omitempty"`
	Identity  string `json:"identity,omitempty"`
	Issuer    string `json:"issuer,omitempty"`
}

type rawFile struct {
	Schema int       `toml:"schema,required"`
	Packs  []rawPack `toml:"pack"`
}

type rawPack struct {
	Name     string     `toml:"name,required"`
	Version  string     `toml:"version,required"`
	Digest   string     `toml:"digest,required"`
	Registry string     `toml:"registry"`
	Override bool       `toml:"override"`
	Proofs   []rawProof `toml:"proof"`
}

type rawProof struct {
	Predicate string `toml:"predicate,required"`
	Bundle    string `toml:"bundle,required"`
	Key       string `toml:"key"`
	Identity  string `toml:"identity"`
	Issuer    string `toml:"issuer"`
}

var (
	nameGrammar   = regexp.MustCompile(`^[a-z0-9]+(?:-+[a-z0-9]+)*/[a-z0-9]+(?:-+[a-z0-9]+)*$`)
	digestGrammar = regexp.MustCompile(`^sha256:[0-9a-f]{64}$`)
	versionWord   = regexp.MustCompile(`^[0-9][0-9A-Za-z.+-]{0,127}$`)
)

// Parse reads a lock file. The error is an *abi.Error with code Invalid that names the file and every problem's line where
// the text has one.
func Parse(file string, src []byte) (*File, error) {
	var raw rawFile
	if _, err := strict.Decode(file, src, &raw); err != nil {
		return nil, abi.Errorf(abi.Invalid, "read lock file: %w", err).WithHint("write it anew: arw pack lock")
	}
	if raw.Schema != 1 {
		return nil, abi.Errorf(abi.Unsupported, "read lock file %q: schema %d, this program knows 1", file, raw.Schema)
	}
	f := &File{Packs: []Pack{}}
	for _, r := range raw.Packs {
		p := Pack{Name: r.Name, Version: r.Version, Digest: r.Digest, Registry: r.Registry, Override: r.Override, Proofs: []Proof{}}
		for _, q := range r.Proofs {
			p.Proofs = append(p.Proofs, Proof(q))
		}
		f.Packs = append(f.Packs, p)
	}
	if wrong := f.check(); wrong != "" {
		return nil, abi.Errorf(abi.Invalid, "read lock file %q: %s", file, wrong).WithHint("write it anew: arw pack lock")
	}
	f.sort()
	return f, nil
}

// check says what is wrong, "" when nothing is.
func (f *File) check() string {
	if len(f.Packs) > MaxPacks {
		return fmt.Sprintf("it has %d packs, at most %d are allowed", len(f.Packs), MaxPacks)
	}
	seen := map[string]bool{}
	for _, p := range f.Packs {
		switch {
		case len(p.Name) > maxText || !nameGrammar.MatchString(p.Name):
			return fmt.Sprintf("%q is no pack's name (namespace/name)", clip(p.Name))
		case seen[p.Name]:
			return fmt.Sprintf("pack %q stands in it twice", p.Name)
		case !versionWord.MatchString(p.Version):
			return fmt.Sprintf("pack %q: %q is no version", p.Name, clip(p.Version))
		case !digestGrammar.MatchString(p.Digest):
			return fmt.Sprintf("pack %q: %q is no digest (sha256: and 64 hexadecimal digits): a lock names exact bytes only", p.Name, clip(p.Digest))
		case !plain(p.Registry):
			return fmt.Sprintf("pack %q: the registry %q is no location", p.Name, clip(p.Registry))
		case len(p.Proofs) > MaxProofs:
			return fmt.Sprintf("pack %q: it has %d proofs, at most %d are allowed", p.Name, len(p.Proofs), MaxProofs)
		case len(p.Proofs) == 0 && !p.Override:
			return fmt.Sprintf("pack %q: it names no proof", p.Name)
		}
		seen[p.Name] = true
		for _, q := range p.Proofs {
			if wrong := q.check(); wrong != "" {
				return fmt.Sprintf("pack %q: %s", p.Name, wrong)
			}
		}
	}
	return ""
}

func (q Proof) check() string {
	switch {
	case q.Predicate == "" || !plain(q.Predicate):
		return fmt.Sprintf("%q is no predicate type", clip(q.Predicate))
	case !digestGrammar.MatchString(q.Bundle):
		return fmt.Sprintf("%q is no digest of a bundle", clip(q.Bundle))
	case !plain(q.Key) || !plain(q.Identity) || !plain(q.Issuer):
		return "a signer is text without control characters"
	case (q.Key == "") == (q.Identity == ""):
		return "a proof is by a key or by an identity, one of the two"
	case (q.Identity == "") != (q.Issuer == ""):
		return "identity and issuer stand together"
	}
	return ""
}

func plain(s string) bool { return len(s) <= maxText && !strings.ContainsFunc(s, unicode.IsControl) }

func clip(s string) string {
	if len(s) > 100 {
		return strings.ToValidUTF8(s[:100], "") + "…"
	}
	return s
}

func (f *File) sort() {
	slices.SortFunc(f.Packs, func(a, b Pack) int { return cmp.Compare(a.Name, b.Name) })
	for _, p := range f.Packs {
		slices.SortFunc(p.Proofs, func(a, b Proof) int {
			return cmp.Or(cmp.Compare(a.Predicate, b.Predicate), cmp.Compare(a.Bundle, b.Bundle), cmp.Compare(a.Key+a.Identity, b.Key+b.Identity))
		})
	}
}

// Format writes a lock file in its one form: sorted, keys in the order of the specification, absent ones left out. The same
// packs give the same bytes. The error is Invalid for what Parse would refuse.
func (f *File) Format() ([]byte, error) {
	if wrong := f.check(); wrong != "" {
		return nil, abi.Errorf(abi.Invalid, "write lock file: %s", wrong)
	}
	f.sort()
	var b strings.Builder
	b.WriteString("# The packs of a host, by digest. Written by \"arw pack lock\", read by \"arw pack sync\".\nschema = 1\n")
	pair := func(key, value string) {
		if value != "" {
			fmt.Fprintf(&b, "%s = %s\n", key, quote(value))
		}
	}
	for _, p := range f.Packs {
		b.WriteString("\n[[pack]]\n")
		pair("name", p.Name)
		pair("version", p.Version)
		pair("digest", p.Digest)
		pair("registry", p.Registry)
		if p.Override {
			b.WriteString("override = true\n")
		}
		for _, q := range p.Proofs {
			b.WriteString("[[pack.proof]]\n")
			pair("predicate", q.Predicate)
			pair("bundle", q.Bundle)
			pair("key", q.Key)
			pair("identity", q.Identity)
			pair("issuer", q.Issuer)
		}
	}
	return []byte(b.String()), nil
}

// quote writes a basic string of TOML. There are no control characters in it.
func quote(s string) string {
	return `"` + strings.NewReplacer(`\`, `\\`, `"`, `\"`).Replace(s) + `"`
}

// Find finds a pack by name.
func (f *File) Find(name string) (Pack, bool) {
	for _, p := range f.Packs {
		if p.Name == name {
			return p, true
		}
	}
	return Pack{}, false
}
