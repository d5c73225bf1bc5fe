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

// TestNetwork plays cases whose servers are data.
func TestNetwork(t *testing.T) {
	t.Parallel()
	man, err := manifests.ParsePack("pack.toml", []byte(hosttest.CourierTOML()))
	if err != nil {
		t.Fatal(err)
	}
	e, err := wasm.Open(wasm.Options{})
	if err != nil {
		t.Fatal(err)
	}
	s, err := rehearse.Load(t.Context(), e, man, "sha256:0", hosttest.Courier(t).Module, false)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = s.Close(context.Background()); _ = e.Close() })
	names, err := filepath.Glob("testdata/network/*.txtar")
	if err != nil || len(names) == 0 {
		t.Fatal(err)
	}
	for _, name := range names {
		c := parse(t, man, name)
		for _, r := range s.Play(t.Context(), c, *update) {
			if !r.OK {
				t.Errorf("%s: %+v", r.Name, r.Problems)
			}
		}
		golden(t, name, string(c.Text()))
	}
	// What is not sent, or not answered, fails the case.
	for head, want := range map[string]string{
		"": "the file has no [[response]] left for that",
		"[[response]]\nrequest = \"GET https://other.example.com/*\"\ntext = \"x\"\n": "this response is left over",
	} {
		c, err := rehearse.ParseCase("x.txtar", []byte("tool = \"courier.fetch\"\nerror = \"unavailable\"\n"+head+"-- input.json --\n{\"url\": \"https://api.example.com/\"}\n"), man)
		if err != nil {
			t.Fatal(err)
		}
		r := s.Play(t.Context(), c, false)[0]
		said := ""
		for _, p := range r.Problems {
			said += p.What + "\n"
		}
		if r.OK || !strings.Contains(said, want) {
			t.Errorf("%q: %v %s", head, r.OK, said)
		}
	}
	for _, bad := range []string{
		"[[response]]\ntext = \"x\"\n", "[[response]]\nrequest = \"https://x\"\n", "[[response]]\nrequest = \"GET https://x/\"\nstatus = 7\n",
		"[[response]]\nrequest = \"GET https://x/\"\ntext = \"x\"\njson = 1\n", "[[response]]\nrequest = \"GET https://x/\"\nerror = \"what\"\n",
	} {
		if _, err := rehearse.ParseCase("x.txtar", []byte("tool = \"courier.fetch\"\n"+bad), man); abi.CodeOf(err) != abi.Invalid {
			t.Errorf("%q: %v", bad, err)
		}
	}
}
