package hosttest

import (
	_ "embed"
	"net/http"
	"net/http/httptest"
	"testing"

	"github.com/arw-project/arw/host/internal/infer"
	"github.com/arw-project/arw/host/internal/infer/infertest"
	"github.com/arw-project/arw/host/internal/infer/openai"
)

//go:embed testdata/thinker/main.go
var thinker string

//go:embed testdata/thinker/pack.toml
var thinkerTOML string

// Thinker is a pack that asks models.
func Thinker(t testing.TB) Artifact {
	t.Helper()
	return Artifact{TOML: thinkerTOML, Module: Build(t, thinker)}
}

// Model is a fake runtime behind the host's own adapter, for Config.Models.
func Model(t testing.TB, s *infertest.Server) infer.Model {
	t.Helper()
	srv := httptest.NewServer(s)
	t.Cleanup(func() { srv.CloseClientConnections(); srv.Close() })
	m, err := openai.Open(t.Context(), openai.Config{Base: srv.URL, Transport: http.DefaultTransport.(*http.Transport).Clone(), Model: s.Model, Dialect: openai.Dialect(s.Dialect)})
	if err != nil {
		t.Fatal(err)
	}
	return m
}
