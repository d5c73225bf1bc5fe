// Package index promises an honest list of packs: which versions there are, which digest each has, and which were yanked
// or revoked and why, signed so that whoever serves the list can neither change it, nor show an old one as new, nor mix
// two of them. Publisher writes an index into a folder of plain files; Client reads one from any registry.Tree.
//
// It is TUF (The Update Framework 1.0.31) with consistent snapshots and one delegated role for each namespace; the form
// of it is docs/spec/index.md. An index says what a name means; who made a pack is the trust policy's question, which is
// asked besides.
package index

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"regexp"
	"slices"
	"strings"
	"time"
	"unicode"
	"unicode/utf8"

	"github.com/arw-project/arw/abi"
	"github.com/arw-project/arw/registry"
)

// Limits of what is read before anything of it is believed.
const (
	maxRoot      = 512 << 10
	maxTimestamp = 16 << 10
	maxSnapshot  = 4 << 20
	maxRole      = 16 << 20
	maxDocument  = 4 << 20
	maxText      = 500
)

// Pack is one pack's page of the index.
type Pack struct {
	Schema      int       `json:"schema"` // 1
	Name        string    `json:"name"`   // namespace/name
	Description string    `json:"description,omitempty"`
	Versions    []Version `json:"versions"` // oldest first
}

// Version is what the index says of one published version.
type Version struct {
	Version     string       `json:"version"`
	Digest      string       `json:"digest"` // of the OCI manifest
	Published   time.Time    `json:"published"`
	ABI         string       `json:"abi,omitempty"`         // range of ABI versions
	Permissions []Permission `json:"permissions,omitempty"` // what its manifest asks for, for a person to read
	Superseded  string       `json:"superseded,omitempty"`  // the version its publisher wants used instead
	Yanked      *Mark        `json:"yanked,omitempty"`      // not for new installs
	Revoked     *Mark        `json:"revoked,omitempty"`     // not to run at all
}

// Permission is one capability a version asks for.
type Permission struct {
	Capability string   `json:"capability"`
	Scope      []string `json:"scope,omitempty"`
	Optional   bool     `json:"optional,omitempty"`
}

// Mark is why and since when a version is not to be used.
type Mark struct {
	Reason string    `json:"reason"`
	Time   time.Time `json:"time"`
}

// Status is the version's state in one word: "current", "superseded", "yanked" or "revoked".
func (v *Version) Status() string {
	switch {
	case v.Revoked != nil:
		return "revoked"
	case v.Yanked != nil:
		return "yanked"
	case v.Superseded != "":
		return "superseded"
	}
	return "current"
}

// Find gives the entry of a version.
func (p *Pack) Find(version string) (*Version, bool) {
	for i := range p.Versions {
		if p.Versions[i].Version == version {
			return &p.Versions[i], true
		}
	}
	return nil, false
}

// Newest is the highest release that may be installed; a pre-release only when there is nothing else.
func (p *Pack) Newest() (*Version, bool) {
	var best *Version
	for i := range p.Versions {
		v := &p.Versions[i]
		if v.Yanked != nil || v.Revoked != nil {
			continue
		}
		if best == nil || newer(v.Version, best.Version) {
			best = v
		}
	}
	return best, best != nil
}

func newer(a, b string) bool {
	pa, pb := preRelease(a), preRelease(b)
	if pa != pb {
		return pb
	}
	return registry.CompareVersions(a, b) > 0
}

func preRelease(v string) bool {
	core, _, _ := strings.Cut(v, "+")
	return strings.Contains(core, "-")
}

// summary is what the metadata itself says of a pack, so that searching and asking for revocations fetch no pages.
type summary struct {
	Description string          `json:"description,omitempty"`
	Latest      string          `json:"latest,omitempty"`
	Revoked     map[string]Mark `json:"revoked,omitempty"` // by digest
}

func (p *Pack) summary() summary {
	s := summary{Description: p.Description}
	if v, ok := p.Newest(); ok {
		s.Latest = v.Version
	}
	for _, v := range p.Versions {
		if v.Revoked != nil {
			if s.Revoked == nil {
				s.Revoked = map[string]Mark{}
			}
			s.Revoked[v.Digest] = *v.Revoked
		}
	}
	return s
}

var (
	nameGrammar   = regexp.MustCompile(`^[a-z0-9]+(?:-+[a-z0-9]+)*/[a-z0-9]+(?:-+[a-z0-9]+)*$`)
	spaceGrammar  = regexp.MustCompile(`^[a-z0-9]+(?:-+[a-z0-9]+)*$`)
	digestGrammar = regexp.MustCompile(`^sha256:[0-9a-f]{64}$`)
)

// ParsePack reads a page and refuses what two readers could read in two ways or no publisher writes: unknown members,
// another name than the one asked for, a version or a digest twice. Errors: Invalid, TooLarge.
func ParsePack(name string, raw []byte) (*Pack, error) {
	bad := func(format string, args ...any) (*Pack, error) {
		return nil, abi.Errorf(abi.Invalid, "read the index's page of %q: %w", name, fmt.Errorf(format, args...)).
			WithHint("the index is damaged or made by something else; ask who keeps it")
	}
	if len(raw) > maxDocument {
		return nil, abi.Errorf(abi.TooLarge, "read the index's page of %q: %d bytes, the limit is %d", name, len(raw), maxDocument)
	}
	p := &Pack{}
	dec := json.NewDecoder(bytes.NewReader(raw))
	dec.DisallowUnknownFields()
	if err := dec.Decode(p); err != nil {
		return bad("%w", err)
	}
	if _, err := dec.Token(); !errors.Is(err, io.EOF) {
		return bad("something follows the value")
	}
	if p.Schema != 1 {
		return bad("it has schema %d, this host knows 1", p.Schema)
	}
	if p.Name != name {
		return bad("it is the page of %q", p.Name)
	}
	if err := p.check(); err != nil {
		return bad("%w", err)
	}
	return p, nil
}

// check holds a page to its grammar, the publisher's own included.
func (p *Pack) check() error {
	if !nameGrammar.MatchString(p.Name) {
		return fmt.Errorf("%q is not the name of a pack", p.Name)
	}
	if !plain(p.Description) {
		return errors.New("its description is too long or holds characters that a terminal obeys")
	}
	versions := map[string]bool{}
	for i, v := range p.Versions {
		_, ok := registry.Version(registry.Tag(v.Version))
		switch {
		case !ok:
			return fmt.Errorf("%q is not a version", v.Version)
		case versions[v.Version]:
			return fmt.Errorf("version %q is there twice", v.Version)
		case !digestGrammar.MatchString(v.Digest):
			return fmt.Errorf("version %q has %q for a digest", v.Version, v.Digest)
		case i > 0 && registry.CompareVersions(p.Versions[i-1].Version, v.Version) > 0:
			return fmt.Errorf("version %q is out of order", v.Version)
		}
		versions[v.Version] = true
		for _, m := range []*Mark{v.Yanked, v.Revoked} {
			if m != nil && (m.Reason == "" || !plain(m.Reason)) {
				return fmt.Errorf("version %q is marked without a reason, or with one that is too long or not plain text", v.Version)
			}
		}
	}
	return nil
}

// plain reports whether a text may be shown to a person as it is.
func plain(s string) bool {
	return len(s) <= maxText && utf8.ValidString(s) && !strings.ContainsFunc(s, func(c rune) bool {
		return !unicode.IsPrint(c) && c != '\n' || c == utf8.RuneError
	})
}

// encode is the one form of a page.
func (p *Pack) encode() ([]byte, error) {
	p.Schema = 1
	slices.SortStableFunc(p.Versions, func(a, b Version) int { return registry.CompareVersions(a.Version, b.Version) })
	if err := p.check(); err != nil {
		return nil, abi.Errorf(abi.Invalid, "write the index's page of %q: %w", p.Name, err)
	}
	raw, err := json.MarshalIndent(p, "", " ")
	if err != nil {
		return nil, err
	}
	if len(raw) > maxDocument {
		return nil, abi.Errorf(abi.TooLarge, "write the index's page of %q: %d bytes, the limit is %d", p.Name, len(raw), maxDocument)
	}
	return append(raw, '\n'), nil
}

// pagePath is the target of a pack's page.
func pagePath(name string) string { return "packs/" + name + ".json" }

// roleOf is the delegated role of a namespace.
func roleOf(namespace string) string { return "packs-" + namespace }

func namespaceOf(name string) string {
	ns, _, _ := strings.Cut(name, "/")
	return ns
}
