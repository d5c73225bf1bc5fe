package hosttest

import (
	_ "embed"
	"fmt"
	"strings"
	"testing"
)

//go:embed testdata/streamer/main.go
var streamer string

//go:embed testdata/streamer/pack.toml
var streamerTOML string

// Streamer is a pack whose tools stream, and one that asks the world for what is never the same twice, at version
// "RELEASE.0.0": its visits count by its release.
func Streamer(t testing.TB, release int) Artifact {
	t.Helper()
	source := strings.Replace(streamer, "const release = 1", fmt.Sprintf("const release = %d", release), 1)
	return Artifact{TOML: strings.ReplaceAll(streamerTOML, "VERSION", fmt.Sprintf("%d.0.0", release)), Module: Build(t, source)}
}
