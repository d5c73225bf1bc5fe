package hosttest

import (
	_ "embed"
	"testing"
)

//go:embed testdata/reader/main.go
var reader string

//go:embed testdata/reader/pack.toml
var readerTOML string

// ReaderTOML is the manifest of Reader.
func ReaderTOML() string { return readerTOML }

// Reader is a pack that reads documents of the configuration below recipes/, at version 1.0.0.
func Reader(t testing.TB) Artifact { return Artifact{TOML: readerTOML, Module: Build(t, reader)} }
