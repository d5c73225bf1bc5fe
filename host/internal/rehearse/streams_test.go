package rehearse_test

import (
	"context"
	"path/filepath"
	"strings"
	"testing"

	"github.com/arw-project/arw/abi"
	"github.com/arw-project/arw/host/hosttest"
	"github.com/arw-project/arw/host/internal/rehearse"
	"github.com/arw-project/arw/host/internal/wasm"
	"github.com/arw-project/arw/manifests"
)

func streamer(t *testing.T) (*rehearse.Stage, *manifests.Pack) {
	t.Helper()
	a := hosttest.Streamer(t, 1)
	man, err := manifests.ParsePack("pack.toml", []byte(a.TOML))
	if err != nil {
		t.Fatal(err)
	}
	e, err := wasm.Open(wasm.Options{})
	if err != nil {
		t.Fatal(err)
	}
	s, err := rehearse.Load(t.Context(), e, man, "sha256:0", a.Module, false)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = s.Close(context.Background()); _ = e.Close() })
	return s, man
}

// TestStreams plays cases whose callers stream in and take parts; with -update it writes their goldens.
func TestStreams(t *testing.T) {
	t.Parallel()
	s, man := streamer(t)
	names, err := filepath.Glob("testdata/streams/*.txtar")
	if err != nil || len(names) == 0 {
		t.Fatal(names, err)
	}
	for _, name := range names {
		c := parse(t, man, name)
		for _, r := range s.Play(t.Context(), c, *update) {
			if !r.OK {
				t.Errorf("%s", tell([]rehearse.Result{r}))
			}
		}
		golden(t, name, string(c.Text()))
	}
}

// TestStreamsFail shows that a case fails when other bytes or parts come, and when nothing is streamed that it says is.
func TestStreamsFail(t *testing.T) {
	t.Parallel()
	s, man := streamer(t)
	for text, want := range map[string]string{
		"tool = \"streams.copy\"\n-- stream.in --\nab\n-- stream.out --\nac\n":                 "it streams other bytes out (stream.out)",
		"tool = \"streams.copy\"\n-- stream.in --\nab\n-- frames --\nbytes \"ab\"\n":           "it gives other parts (frames)",
		"tool = \"streams.copy\"\n-- stream.in --\nab\n-- frames --\nbytes \"ab\\n\"\nend\n":   "it gives other parts (frames)",
		"tool = \"streams.copy\"\n-- stream.in --\n-- stream.out --\nmore\n":                   "it streams other bytes out (stream.out)",
		"tool = \"streams.sum\"\nmax_memory = \"1MiB\"\nstream_base64 = \"AA==\"\ntake = true": "more than max_memory",
	} {
		c, err := rehearse.ParseCase("x.txtar", []byte(text), man)
		if err != nil {
			t.Fatal(err)
		}
		if said := tell(s.Play(t.Context(), c, false)); !strings.Contains(said, want) {
			t.Errorf("%q: %s", text, said)
		}
	}
	for text, want := range map[string]string{
		"tool = \"streams.visit\"\n-- stream.in --\nx\n":                                          "declares no input stream",
		"tool = \"streams.visit\"\n-- frames --\n":                                                "declares no output stream",
		"tool = \"streams.copy\"\nstream_times = 2\n":                                             "nothing is streamed in",
		"tool = \"streams.copy\"\nstream_piece = \"1B\"\n":                                        "nothing is streamed in",
		"tool = \"streams.copy\"\nstream_base64 = \"!\"\n":                                        "not base64",
		"tool = \"streams.copy\"\nstream_base64 = \"AA==\"\n-- stream.in --\n":                    "there is a stream_base64 too",
		"tool = \"streams.copy\"\nstream_times = -1\n-- stream.in --\nx\n":                        "nothing that can be streamed",
		"[[step]]\ntool = \"streams.copy\"\n[[step]]\ntool = \"streams.copy\"\n-- stream.in --\n": "has no meaning here",
	} {
		if _, err := rehearse.ParseCase("x.txtar", []byte(text), man); abi.CodeOf(err) != abi.Invalid || !strings.Contains(err.Error(), want) {
			t.Errorf("%q: %v", text, err)
		}
	}
}
