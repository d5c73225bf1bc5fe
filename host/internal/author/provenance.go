package author

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"os"
	"path/filepath"

	"github.com/arw-project/arw/abi"
	"github.com/arw-project/arw/signing"
)

// What provenance says of a build that arw made; docs/spec/provenance.md.
const (
	buildType      = "https://github.com/arw-project/arw/blob/main/docs/spec/provenance.md#build-type-1"
	DefaultBuilder = "urn:arw:builder:local" // a person's own machine: nobody vouches for it
)

// provenance is a SLSA provenance v1 predicate. It has no times, so that the same sources, toolchain and builder state the
// same.
type provenance struct {
	BuildDefinition struct {
		BuildType            string         `json:"buildType"`
		ExternalParameters   externalParams `json:"externalParameters"`
		InternalParameters   internalParams `json:"internalParameters"`
		ResolvedDependencies []resource     `json:"resolvedDependencies"`
	} `json:"buildDefinition"`
	RunDetails struct {
		Builder struct {
			ID      string            `json:"id"`
			Version map[string]string `json:"version,omitempty"`
		} `json:"builder"`
		Byproducts []resource `json:"byproducts"`
	} `json:"runDetails"`
}

type externalParams struct {
	Pack     string `json:"pack"`
	Version  string `json:"version"`
	Language string `json:"language,omitempty"`
}

type internalParams struct {
	Command      []string          `json:"command,omitempty"`
	Environment  map[string]string `json:"environment,omitempty"`
	Reproducible bool              `json:"reproducible"`
}

type resource struct {
	Name   string            `json:"name,omitempty"`
	URI    string            `json:"uri,omitempty"`
	Digest map[string]string `json:"digest,omitempty"`
}

// recipe is how a language's build is told to others. A language without one is told by its sources alone.
type recipe struct {
	command      []string
	environment  map[string]string
	toolchain    map[string]string // name and version of what compiled it
	reproducible bool              // the same sources give the same bytes
}

// library is something from outside that a module holds or was made with.
type library struct {
	name, version, purl string
	digest              map[string]string // by the names that in-toto has for algorithms
	license             string
	properties          map[string]string
}

// record writes provenance and bill of materials beside the module.
func (f *Folder) record(ctx context.Context, module []byte, builder, tool string) error {
	sources, err := f.sources()
	if err != nil {
		return err
	}
	libraries, err := f.libraries(module)
	if err != nil {
		return err
	}
	how := recipe{}
	l, known := f.language()
	if known && l.recipe != nil {
		how = l.recipe(ctx, f)
	}
	b := bill{Folder: f, module: module, tool: tool, how: how, sources: sources, libraries: libraries}
	if known {
		b.language = l.name
	}
	sbom, err := b.cycloneDX()
	if err != nil {
		return err
	}
	stated, err := b.provenance(builder, sbom)
	if err != nil {
		return err
	}
	for name, data := range map[string][]byte{f.provenanceName(): stated, f.sbomName(): sbom} {
		if err := replaceFile(filepath.Join(f.Dir, filepath.FromSlash(name)), data); err != nil {
			return err
		}
	}
	return nil
}

func replaceFile(path string, data []byte) error {
	tmp := path + ".new"
	defer os.Remove(tmp)
	if err := os.WriteFile(tmp, data, 0o644); err != nil {
		return abi.Errorf(abi.StorageFull, "write %q: %w", path, err)
	}
	if err := os.Rename(tmp, path); err != nil {
		return abi.Errorf(abi.Unavailable, "write %q: %w", path, err)
	}
	return nil
}

// bill is all that is known of a build.
type bill struct {
	*Folder
	module    []byte
	tool      string // version of arw
	language  string
	how       recipe
	sources   []source
	libraries []library
}

func digestOf(data []byte) map[string]string {
	sum := sha256.Sum256(data)
	return map[string]string{"sha256": hex.EncodeToString(sum[:])}
}

func (b *bill) provenance(builder string, sbom []byte) ([]byte, error) {
	var p provenance
	d := &p.BuildDefinition
	d.BuildType = buildType
	d.ExternalParameters = externalParams{Pack: b.Manifest.Name, Version: b.Manifest.Version, Language: b.language}
	d.InternalParameters = internalParams{Command: b.how.command, Environment: b.how.environment, Reproducible: b.how.reproducible}
	for _, s := range b.sources {
		d.ResolvedDependencies = append(d.ResolvedDependencies, resource{Name: s.path, Digest: map[string]string{"sha256": s.sha256}})
	}
	for _, l := range b.libraries {
		d.ResolvedDependencies = append(d.ResolvedDependencies, resource{Name: l.name, URI: l.purl, Digest: l.digest})
	}
	p.RunDetails.Builder.ID = builder
	p.RunDetails.Builder.Version = map[string]string{"arw": b.tool}
	for name, version := range b.how.toolchain {
		p.RunDetails.Builder.Version[name] = version
	}
	p.RunDetails.Byproducts = []resource{
		{Name: b.Manifest.Module.File, Digest: digestOf(b.module)},
		{Name: b.sbomName(), Digest: digestOf(sbom)},
	}
	out, err := json.MarshalIndent(p, "", "  ")
	if err != nil {
		return nil, abi.Errorf(abi.Internal, "write provenance: %w", err)
	}
	return append(out, '\n'), nil
}

// Attestation is a statement about a pack that its publisher signs beside the release.
type Attestation struct {
	Type      string
	Predicate json.RawMessage
}

// Attestations are the provenance and the bill of materials that Build left beside the module; none without them. Errors:
// Conflict when they are of another module than the one that would be published.
func (f *Folder) Attestations() ([]Attestation, error) {
	module, err := f.Module()
	if err != nil {
		return nil, err
	}
	stated, err := os.ReadFile(filepath.Join(f.Dir, filepath.FromSlash(f.provenanceName())))
	if os.IsNotExist(err) {
		return nil, nil
	}
	if err != nil {
		return nil, abi.Errorf(abi.Unavailable, "read provenance: %w", err)
	}
	sbom, err := os.ReadFile(filepath.Join(f.Dir, filepath.FromSlash(f.sbomName())))
	if err != nil && !os.IsNotExist(err) {
		return nil, abi.Errorf(abi.Unavailable, "read bill of materials: %w", err)
	}
	var p provenance
	if err := json.Unmarshal(stated, &p); err != nil {
		return nil, abi.Errorf(abi.Invalid, "read provenance %q: %w", f.provenanceName(), err).WithHint(`write it anew with "arw pack build %s"`, f.Dir)
	}
	for name, data := range map[string][]byte{f.Manifest.Module.File: module, f.sbomName(): sbom, ManifestName: f.TOML} {
		if !p.states(name, data) {
			return nil, abi.Errorf(abi.Conflict, "read provenance %q: it is not of the %q that is there now", f.provenanceName(), name).
				WithHint(`build it again with "arw pack build %s", or take the file away to publish without`, f.Dir)
		}
	}
	return []Attestation{{signing.PredicateProvenance, tight(stated)}, {signing.PredicateSBOM, tight(sbom)}}, nil
}

// states reports whether the provenance names a file with just these bytes.
func (p *provenance) states(name string, data []byte) bool {
	want := digestOf(data)["sha256"]
	for _, list := range [][]resource{p.RunDetails.Byproducts, p.BuildDefinition.ResolvedDependencies} {
		for _, r := range list {
			if r.Name == name && r.Digest["sha256"] == want {
				return true
			}
		}
	}
	return false
}

func tight(doc []byte) json.RawMessage {
	var out bytes.Buffer
	if json.Compact(&out, doc) != nil {
		return doc
	}
	return out.Bytes()
}
