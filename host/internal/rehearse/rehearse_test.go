package rehearse_test

import (
	"context"
	"encoding/json"
	"flag"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/arw-project/arw/host/hosttest"
	"github.com/arw-project/arw/host/internal/rehearse"
	"github.com/arw-project/arw/host/internal/wasm"
	"github.com/arw-project/arw/manifests"
)

var update = flag.Bool("update", false, "write golden files")

func sink(t testing.TB) *manifests.Pack {
	t.Helper()
	man, err := manifests.ParsePack("pack.toml", []byte(hosttest.SinkTOML("1.0.0")))
	if err != nil {
		t.Fatal(err)
	}
	return man
}

func stage(t testing.TB) (*rehearse.Stage, *manifests.Pack) {
	t.Helper()
	e, err := wasm.Open(wasm.Options{})
	if err != nil {
		t.Fatal(err)
	}
	man := sink(t)
	s, err := rehearse.Load(t.Context(), e, man, "sha256:0", hosttest.Sink(t), false)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := s.Close(context.Background()); err != nil {
			t.Error(err)
		}
		if err := e.Close(); err != nil {
			t.Error(err)
		}
	})
	return s, man
}

func parse(t testing.TB, man *manifests.Pack, name string) *rehearse.Case {
	t.Helper()
	src, err := os.ReadFile(name)
	if err != nil {
		t.Fatal(err)
	}
	c, err := rehearse.ParseCase(filepath.ToSlash(name), src, man)
	if err != nil {
		t.Fatal(err)
	}
	return c
}

func golden(t *testing.T, name, got string) {
	t.Helper()
	if *update {
		if err := os.WriteFile(name, []byte(got), 0o644); err != nil {
			t.Fatal(err)
		}
		return
	}
	want, err := os.ReadFile(name)
	if err != nil {
		t.Fatal(err)
	}
	if got != string(want) {
		t.Errorf("%s differs (-update writes it); got:\n%s", name, got)
	}
}

// tell writes results as text, without what differs from machine to machine.
func tell(results []rehearse.Result) string {
	var b strings.Builder
	for _, r := range results {
		fmt.Fprintf(&b, "%s %s ok=%v %s\n", r.Name, r.Tool, r.OK, r.Skipped)
		for _, p := range r.Problems {
			fmt.Fprintf(&b, "  line %d: %s\n%s", p.Line, p.What, p.Diff)
		}
	}
	return b.String()
}

// TestHold plays the cases that hold, twice: the same answer and the same gas.
func TestHold(t *testing.T) {
	t.Parallel()
	s, man := stage(t)
	names, err := filepath.Glob("testdata/hold/*.txtar")
	if err != nil || len(names) == 0 {
		t.Fatal(names, err)
	}
	for _, name := range names {
		t.Run(filepath.Base(name), func(t *testing.T) {
			first := s.Play(t.Context(), parse(t, man, name), false)
			for _, r := range first {
				if !r.OK {
					t.Errorf("%s", tell([]rehearse.Result{r}))
				}
			}
			for i, r := range s.Play(t.Context(), parse(t, man, name), false) {
				if r.Gas != first[i].Gas || r.HostCalls != first[i].HostCalls {
					t.Errorf("%s: %d gas and %d host calls, then %d and %d", r.Name, first[i].Gas, first[i].HostCalls, r.Gas, r.HostCalls)
				}
			}
		})
	}
}

// TestFail shows what a person reads when something is not as expected.
func TestFail(t *testing.T) {
	t.Parallel()
	s, man := stage(t)
	results := s.Play(t.Context(), parse(t, man, "testdata/fail/everything.txtar"), false)
	for _, r := range results {
		if r.OK {
			t.Errorf("%s passes", r.Name)
		}
	}
	golden(t, "testdata/fail/everything.want", tell(results))
}

// TestUpdate replaces goldens, keeps everything else byte for byte, and then the case holds.
func TestUpdate(t *testing.T) {
	t.Parallel()
	s, man := stage(t)
	const head = "# a comment\ntool = \"sink.echo\"   # and another\n\n"
	src := head + "-- input.json --\r\n{\"b\":1,\r\n \"a\":2}\n-- output.json --\n{\"old\":true}\n-- calls --\nold\n"
	c, err := rehearse.ParseCase("x.txtar", []byte(src), man)
	if err != nil {
		t.Fatal(err)
	}
	if r := s.Play(t.Context(), c, false); r[0].OK || string(c.Text()) != src {
		t.Fatalf("without update: %+v\n%s", r, c.Text())
	}
	if r := s.Play(t.Context(), c, true); !r[0].OK {
		t.Fatalf("%s", tell(r))
	}
	want := head + "-- input.json --\r\n{\"b\":1,\r\n \"a\":2}\n-- output.json --\n{\n  \"a\": 2,\n  \"b\": 1\n}\n-- calls --\n"
	if got := string(c.Text()); got != want {
		t.Fatalf("got\n%q\nwant\n%q", got, want)
	}
	c, err = rehearse.ParseCase("x.txtar", c.Text(), man)
	if err != nil {
		t.Fatal(err)
	}
	if r := s.Play(t.Context(), c, false); !r[0].OK {
		t.Fatalf("%s", tell(r))
	}
}

// TestExamples: an example that needs a folder is skipped, one that lies fails with a diff.
func TestExamples(t *testing.T) {
	t.Parallel()
	e, err := wasm.Open(wasm.Options{})
	if err != nil {
		t.Fatal(err)
	}
	defer e.Close()
	man, err := manifests.ParsePack("pack.toml", []byte(examples))
	if err != nil {
		t.Fatal(err)
	}
	s, err := rehearse.Load(t.Context(), e, man, "sha256:0", hosttest.Sink(t), false)
	if err != nil {
		t.Fatal(err)
	}
	defer s.Close(context.Background())
	got := tell(s.Examples(t.Context(), func(string) bool { return true }))
	want := "example:sink.echo#1 sink.echo ok=true \nexample:sink.echo#2 sink.echo ok=false \n  line 0: the answer is not the one that pack.toml states\n" +
		"  {\n-   \"n\": 2\n+   \"n\": 1\n  }\nexample:sink.read#1 sink.read ok=true it needs a folder or another tool; write a case for it in tests/\n"
	if got != want {
		t.Errorf("got\n%s\nwant\n%s", got, want)
	}
	if one := s.Examples(t.Context(), func(name string) bool { return strings.HasSuffix(name, "echo#1") }); len(one) != 1 {
		t.Errorf("chosen: %v", one)
	}
}

const examples = `
name = "test/sink"
version = "1.0.0"
description = "The sink with examples."
[module]
file = "sink.wasm"
abi = "^1.0"
[capabilities.fs]
scope = ["read:*"]
reason = "to read"
[[tools]]
id = "sink.echo"
description = "answers with its input"
[[tools.examples]]
input = { n = 1 }
output = { n = 1 }
[[tools.examples]]
input = { n = 1 }
output = { n = 2 }
[[tools]]
id = "sink.read"
description = "reads a file"
effects = "reads"
[[tools.examples]]
input = { path = "/x" }
`

// TestBad tells every problem of a file with its line.
func TestBad(t *testing.T) {
	t.Parallel()
	man := sink(t)
	src, err := os.ReadFile("testdata/bad/everything.txtar")
	if err != nil {
		t.Fatal(err)
	}
	_, err = rehearse.ParseCase("everything.txtar", src, man)
	if err == nil {
		t.Fatal("it reads")
	}
	golden(t, "testdata/bad/everything.want", err.Error()+"\n")
	for name, src := range map[string]string{
		"no call": "", "two of a name": "tool = \"sink.echo\"\n-- kv/a --\n-- kv/a --\n", "no TOML": "tool = \n", "no UTF-8": "\xff",
		"a step and a call": "tool = \"sink.echo\"\n[[step]]\ntool = \"sink.echo\"\n", "an error and an output": "tool = \"sink.echo\"\nerror = \"trap\"\n-- output.txt --\n",
		"a document that is no table": "tool = \"sink.echo\"\n[world.config]\n\"recipes/retrieval\" = 3\n",
		"no tool in a step":           "[[step]]\n", "two inputs": "tool = \"sink.echo\"\n-- input.json --\n{}\n-- input.txt --\n",
	} {
		if _, err := rehearse.ParseCase("x.txtar", []byte(src), man); err == nil || !strings.Contains(err.Error(), "x.txtar:") {
			t.Errorf("%s: %v", name, err)
		}
	}
}

func FuzzParseCase(f *testing.F) {
	for _, pattern := range []string{"testdata/*/*.txtar", "../../../packs/*/tests/*.txtar"} {
		names, err := filepath.Glob(pattern)
		if err != nil {
			f.Fatal(err)
		}
		for _, name := range names {
			src, err := os.ReadFile(name)
			if err != nil {
				f.Fatal(err)
			}
			f.Add(src)
		}
	}
	man := sink(f)
	f.Fuzz(func(t *testing.T, src []byte) {
		c, err := rehearse.ParseCase("x.txtar", src, man)
		if err != nil {
			if !strings.Contains(err.Error(), "x.txtar:") {
				t.Fatalf("no place: %v", err)
			}
			return
		}
		if string(c.Text()) != string(src) {
			t.Fatalf("%q comes out as %q", src, c.Text())
		}
	})
}

func TestResultIsJSON(t *testing.T) {
	t.Parallel()
	raw, err := json.Marshal(rehearse.Result{Name: "a", Tool: "t"})
	if err != nil || string(raw) != `{"name":"a","tool":"t","ok":false,"gas":0,"host_calls":0,"memory_bytes":0,"wall_ns":0}` {
		t.Fatalf("%s, %v", raw, err)
	}
}
