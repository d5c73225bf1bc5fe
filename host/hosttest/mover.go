package hosttest

import (
	_ "embed"
	"testing"
)

//go:embed testdata/mover/main.go
var mover string

//go:embed testdata/mover/pack.toml
var moverTOML string

// Mover is a pack that moves files by handle, in 8 MiB of memory, at version 1.0.0.
func Mover(t testing.TB) Artifact { return Artifact{TOML: moverTOML, Module: Build(t, mover)} }
