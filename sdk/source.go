// Package sdk carries the sources of the guest libraries of other languages than Go. "arw pack init" lays them down beside
// a new pack and "arw pack build" compiles packs of this repository with them, so that both work offline.
package sdk

import "embed"

// Source holds one folder for each language, without conformance guests and examples.
//
//go:embed c/*.h c/*.c
//go:embed rust/Cargo.toml rust/src
//go:embed assemblyscript/lib
//go:embed zig/*.zig
var Source embed.FS
