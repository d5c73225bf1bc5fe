package index

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"github.com/theupdateframework/go-tuf/v2/metadata"

	"github.com/arw-project/arw/abi"
	"github.com/arw-project/arw/registry"
)

// Hit is a pack that Search found.
type Hit struct {
	Name        string `json:"name"`
	Latest      string `json:"latest,omitempty"` // empty when nothing of it may be installed
	Description string `json:"description,omitempty"`
}

// Search lists the packs whose name or description holds every word of the text, case aside, by name. An empty text lists
// all.
func (c *Client) Search(text string) ([]Hit, error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	v, err := c.current()
	if err != nil {
		return nil, err
	}
	words := strings.Fields(strings.ToLower(text))
	hits := []Hit{}
	for name, e := range v.packs {
		hay := strings.ToLower(name + " " + e.Description)
		if !slices.ContainsFunc(words, func(w string) bool { return !strings.Contains(hay, w) }) {
			hits = append(hits, Hit{name, e.Latest, e.Description})
		}
	}
	slices.SortFunc(hits, func(a, b Hit) int { return strings.Compare(a.Name, b.Name) })
	return hits, nil
}

// Pack fetches a pack's page, or takes it from the cache when it is what the metadata says. Errors: NotFound for a pack
// that is not listed, and those of Refresh.
func (c *Client) Pack(ctx context.Context, name string) (*Pack, error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	v, err := c.current()
	if err != nil {
		return nil, err
	}
	e, ok := v.packs[name]
	if !ok {
		return nil, abi.Errorf(abi.NotFound, "find %q in the index: it is not listed", name).WithHint("arw pack search lists what there is")
	}
	raw, err := c.page(ctx, v.tree, e.file)
	if err != nil {
		return nil, refusal(err, "read the index's page of %q", name)
	}
	return ParsePack(name, raw)
}

// page reads a target by the digest the metadata gives it.
func (c *Client) page(ctx context.Context, tree registry.Tree, f *metadata.TargetFiles) ([]byte, error) {
	if f.Length < 0 || f.Length > maxDocument {
		return nil, abi.Errorf(abi.TooLarge, "%d bytes, the limit is %d", f.Length, maxDocument)
	}
	sum, ok := f.Hashes["sha256"]
	if !ok || len(sum) != sha256.Size {
		return nil, abi.Errorf(abi.Untrusted, "the metadata gives it no sha256")
	}
	cached := filepath.Join(c.dir, "pages", hex.EncodeToString(sum))
	if raw, err := os.ReadFile(cached); err == nil && f.VerifyLengthHashes(raw) == nil {
		return raw, nil
	}
	raw, err := tree.Read(ctx, "targets/"+hashed(f.Path, sum), f.Length)
	if err != nil {
		if abi.CodeOf(err) == abi.TooLarge {
			return nil, abi.Errorf(abi.DigestMismatch, "more bytes came than the metadata says")
		}
		return nil, err
	}
	if err := f.VerifyLengthHashes(raw); err != nil {
		return nil, err
	}
	return raw, writeFile(cached, raw) // the cache must not decide whether there is an answer, but a full disk is worth a word
}

// hashed is the name of a target's file: dir/HASH.name.
func hashed(path string, sum []byte) string {
	i := strings.LastIndexByte(path, '/') + 1
	return path[:i] + hex.EncodeToString(sum) + "." + path[i:]
}

// Pick decides which digest a name and a version mean: version "" is the newest that may be installed; a digest, when
// given, must be the one the index has for some version. It is for new installs: what is yanked is refused too, unless the
// digest was named, which only yields a warning. Errors: NotFound, Denied (yanked, revoked), DigestMismatch, and those of Pack.
func (c *Client) Pick(ctx context.Context, name, version, digest string) (v *Version, warning string, err error) {
	p, err := c.Pack(ctx, name)
	if err != nil {
		return nil, "", err
	}
	switch {
	case version != "":
		found, ok := p.Find(version)
		if !ok {
			return nil, "", abi.Errorf(abi.NotFound, "find %q in the index: it does not list that version", name+":"+version).
				WithHint("arw pack info %s lists what there is", name)
		}
		if digest != "" && digest != found.Digest {
			return nil, "", abi.Errorf(abi.DigestMismatch, "version %q of %q is %s in the index and %s was asked for", version, name, found.Digest, digest).
				WithHint("drop the digest, or ask the publisher which one is right")
		}
		v = found
	case digest != "":
		i := slices.IndexFunc(p.Versions, func(v Version) bool { return v.Digest == digest })
		if i < 0 {
			return nil, "", abi.Errorf(abi.NotFound, "find %q in the index: it lists no version with that digest", name+"@"+digest).
				WithHint("arw pack info %s lists what there is", name)
		}
		v = &p.Versions[i]
	default:
		var ok bool
		if v, ok = p.Newest(); !ok {
			return nil, "", abi.Errorf(abi.NotFound, "find %q in the index: no version of it may be installed", name).
				WithHint("arw pack info %s says why", name)
		}
	}
	warning, err = v.judge(name, digest != "")
	return v, warning, err
}

// judge refuses what is not for installs.
func (v *Version) judge(name string, named bool) (warning string, err error) {
	switch {
	case v.Revoked != nil:
		return "", abi.Errorf(abi.Denied, "use %q: it was revoked: %s", name+":"+v.Version, v.Revoked.Reason).
			WithHint("choose another version: arw pack info %s", name)
	case v.Yanked != nil && !named:
		return "", abi.Errorf(abi.Denied, "use %q: it was yanked: %s", name+":"+v.Version, v.Yanked.Reason).
			WithHint("choose another version (arw pack info %s), or name its digest if you must have this one", name)
	case v.Yanked != nil:
		return fmt.Sprintf("version %s was yanked: %s", v.Version, v.Yanked.Reason), nil
	case v.Superseded != "":
		return fmt.Sprintf("version %s is superseded by %s", v.Version, v.Superseded), nil
	}
	return "", nil
}
