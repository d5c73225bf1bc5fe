package manifests

import (
	_ "embed"
	"slices"
)

//go:embed pack.schema.json
var packSchema []byte

// PackSchema is the JSON Schema (2020-12) of pack.toml for editors. It refuses what can be refused without knowing more
// than one key at a time; ParsePack refuses that and more. The caller owns the bytes.
func PackSchema() []byte { return slices.Clone(packSchema) }
