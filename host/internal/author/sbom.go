package author

import (
	"bytes"
	"cmp"
	"maps"
	"slices"

	cdx "github.com/CycloneDX/cyclonedx-go"

	"github.com/arw-project/arw/abi"
)

// cycloneDX is the bill of materials, CycloneDX 1.6: the pack, its source files, and the libraries in its module. It has
// neither serial number nor time, so that the same build writes the same bytes.
func (b *bill) cycloneDX() ([]byte, error) {
	m := b.Manifest
	ref := m.Name + "@" + m.Version
	root := cdx.Component{
		BOMRef: ref, Type: cdx.ComponentTypeApplication, Name: m.Name, Version: m.Version, Description: m.Description,
		Hashes: hashes(digestOf(b.module)), Licenses: licenses(m.License),
	}
	if len(m.Authors) > 0 {
		var people []cdx.OrganizationalContact
		for _, a := range m.Authors {
			people = append(people, cdx.OrganizationalContact{Name: a})
		}
		root.Authors = &people
	}
	var links []cdx.ExternalReference
	for kind, url := range map[cdx.ExternalReferenceType]string{cdx.ERTypeWebsite: m.Homepage, cdx.ERTypeVCS: m.Repository} {
		if url != "" {
			links = append(links, cdx.ExternalReference{Type: kind, URL: url})
		}
	}
	if len(links) > 0 {
		slices.SortFunc(links, func(a, b cdx.ExternalReference) int { return cmp.Compare(a.Type, b.Type) })
		root.ExternalReferences = &links
	}
	bom := cdx.NewBOM()
	bom.Metadata = &cdx.Metadata{Component: &root, Tools: b.tools()}
	components, needs := b.components()
	bom.Components = &components
	bom.Dependencies = &[]cdx.Dependency{{Ref: ref, Dependencies: &needs}}
	var out bytes.Buffer
	if err := cdx.NewBOMEncoder(&out, cdx.BOMFileFormatJSON).SetPretty(true).SetEscapeHTML(false).EncodeVersion(bom, cdx.SpecVersion1_6); err != nil {
		return nil, abi.Errorf(abi.Internal, "write bill of materials: %w", err)
	}
	return out.Bytes(), nil
}

func (b *bill) tools() *cdx.ToolsChoice {
	tools := []cdx.Component{{Type: cdx.ComponentTypeApplication, Name: "arw", Version: b.tool}}
	for _, name := range slices.Sorted(maps.Keys(b.how.toolchain)) {
		tools = append(tools, cdx.Component{Type: cdx.ComponentTypeApplication, Name: name, Version: b.how.toolchain[name]})
	}
	return &cdx.ToolsChoice{Components: &tools}
}

// components lists files and libraries, and the references of the libraries.
func (b *bill) components() (all []cdx.Component, needs []string) {
	needs = []string{}
	for _, s := range b.sources {
		all = append(all, cdx.Component{
			BOMRef: "file:" + s.path, Type: cdx.ComponentTypeFile, Name: s.path, Hashes: hashes(map[string]string{"sha256": s.sha256}),
		})
	}
	for _, l := range b.libraries {
		c := cdx.Component{
			BOMRef: cmp.Or(l.purl, l.name+"@"+l.version), Type: cdx.ComponentTypeLibrary, Name: l.name, Version: l.version, PackageURL: l.purl,
			Hashes: hashes(l.digest), Licenses: licenses(l.license),
		}
		var properties []cdx.Property
		for _, name := range slices.Sorted(maps.Keys(l.properties)) {
			properties = append(properties, cdx.Property{Name: name, Value: l.properties[name]})
		}
		if len(properties) > 0 {
			c.Properties = &properties
		}
		all, needs = append(all, c), append(needs, c.BOMRef)
	}
	return all, needs
}

func licenses(expression string) *cdx.Licenses {
	if expression == "" {
		return nil
	}
	return &cdx.Licenses{{Expression: expression}}
}

// hashes are those that CycloneDX has a name for.
func hashes(digest map[string]string) *[]cdx.Hash {
	names := map[string]cdx.HashAlgorithm{"sha256": cdx.HashAlgoSHA256, "sha512": cdx.HashAlgoSHA512, "sha1": cdx.HashAlgoSHA1}
	var out []cdx.Hash
	for _, alg := range slices.Sorted(maps.Keys(digest)) {
		if name, ok := names[alg]; ok {
			out = append(out, cdx.Hash{Algorithm: name, Value: digest[alg]})
		}
	}
	if len(out) == 0 {
		return nil
	}
	return &out
}
