package layout

import (
	"encoding/json"
	"errors"
	"io/fs"
	"os"
	"path"
	"slices"
)

// cosignKind is the annotation by which "cosign save" says what an entry of index.json is.
const cosignKind = "kind"

// A signature's manifest has about 1 KiB; so many files at most are looked at.
const (
	maxSavedManifest = 64 << 10
	maxSavedBlobs    = 4096
)

// adoptSaved completes the index of a layout that "cosign save" wrote: it stores what refers to its image (OCI 1.1
// bundles) among the blobs and leaves it out of index.json. Such a layout is small; for all others this does nothing.
func (x *index) adoptSaved(root *os.Root) error {
	if !slices.ContainsFunc(x.Manifests, func(d Descriptor) bool { return d.Annotations[cosignKind] == "dev.cosignproject.cosign/image" }) {
		return nil
	}
	const dir = "blobs/sha256"
	files, err := fs.ReadDir(root.FS(), dir)
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	if err != nil {
		return err
	}
	for n, f := range files {
		if n == maxSavedBlobs {
			break
		}
		info, err := f.Info()
		digest := "sha256:" + f.Name()
		if _, _, bad := splitDigest(digest); bad != nil || err != nil || !info.Mode().IsRegular() || info.Size() > maxSavedManifest {
			continue
		}
		if slices.ContainsFunc(x.Manifests, func(d Descriptor) bool { return d.Digest == digest }) {
			continue
		}
		raw, err := readSmall(root, path.Join(dir, f.Name()), maxSavedManifest)
		if err != nil {
			return err
		}
		var doc document
		if json.Unmarshal(raw, &doc) == nil && doc.Subject != nil && doc.MediaType == mediaManifest && hashes(raw, digest) {
			x.Manifests = append(x.Manifests, Descriptor{MediaType: doc.MediaType, Digest: digest, Size: int64(len(raw)), ArtifactType: doc.ArtifactType})
		}
	}
	return nil
}
