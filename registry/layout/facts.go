package layout

import (
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync"
)

// document is what this registry reads of a manifest, image or index alike.
type document struct {
	SchemaVersion int               `json:"schemaVersion"`
	MediaType     string            `json:"mediaType"`
	ArtifactType  string            `json:"artifactType"`
	Config        *Descriptor       `json:"config"`
	Layers        []Descriptor      `json:"layers"`
	Manifests     []Descriptor      `json:"manifests"`
	Subject       *Descriptor       `json:"subject"`
	Annotations   map[string]string `json:"annotations"`
}

// fact is what is remembered of one manifest: what it says about itself and what it stands on.
type fact struct {
	subject      string
	artifactType string
	annotations  map[string]string // kept for referrers alone
	blobs        []string          // digests that must be blobs of the repository
	children     []string          // digests that must be manifests of the repository
}

// facts remembers manifests by digest. Since the digest is that of the bytes, what is remembered can never be out of
// date; the map is emptied when it has grown large.
type facts struct {
	mu sync.RWMutex
	m  map[string]*fact
}

const maxFacts = 1 << 14

func (k *facts) get(digest string) *fact {
	k.mu.RLock()
	defer k.mu.RUnlock()
	return k.m[digest]
}

func (k *facts) put(digest string, f *fact) {
	k.mu.Lock()
	defer k.mu.Unlock()
	if k.m == nil || len(k.m) >= maxFacts {
		k.m = make(map[string]*fact)
	}
	k.m[digest] = f
}

// factOf reads a manifest. Types the registry does not know are stored as they are: JSON with nothing behind it.
func factOf(mediaType string, raw []byte) (*fact, error) {
	var doc document
	if err := json.Unmarshal(raw, &doc); err != nil {
		return nil, err
	}
	if doc.MediaType != "" && doc.MediaType != mediaType {
		return nil, fmt.Errorf("its mediaType is %q and it was sent as %q", doc.MediaType, mediaType)
	}
	f := &fact{artifactType: doc.ArtifactType}
	switch mediaType {
	case mediaManifest, mediaDockerManifest:
		if doc.Config == nil {
			return nil, errors.New("it has no config")
		}
		if f.artifactType == "" {
			f.artifactType = doc.Config.MediaType
		}
		f.blobs = append(f.blobs, doc.Config.Digest)
		for _, l := range doc.Layers {
			if !strings.Contains(l.MediaType, "nondistributable") && !strings.Contains(l.MediaType, "foreign") {
				f.blobs = append(f.blobs, l.Digest)
			}
		}
	case mediaIndex, mediaDockerList:
		for _, m := range doc.Manifests {
			f.children = append(f.children, m.Digest)
		}
	}
	if doc.Subject != nil {
		f.subject, f.annotations = doc.Subject.Digest, doc.Annotations
	}
	for _, d := range slices.Concat(f.blobs, f.children) {
		if _, _, err := splitDigest(d); err != nil {
			return nil, err
		}
	}
	if f.subject != "" {
		if _, _, err := splitDigest(f.subject); err != nil {
			return nil, err
		}
	}
	return f, nil
}
