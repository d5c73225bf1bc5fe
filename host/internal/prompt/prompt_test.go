package prompt_test

import (
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/arw-project/arw/abi"
	"github.com/arw-project/arw/host/internal/lease"
	"github.com/arw-project/arw/host/internal/prompt"
)

func TestTerms(t *testing.T) {
	t.Parallel()
	for text, want := range map[string]prompt.Terms{
		"": {Once: true}, "once": {Once: true}, "calls=3": {Calls: 3}, "15m": {For: 15 * time.Minute}, "session": {Session: true}, "project": {Project: true},
	} {
		if got, err := prompt.ParseTerms(text); err != nil || got != want {
			t.Errorf("%q: %+v, %v", text, got, err)
		}
	}
	for _, text := range []string{"always", "calls=0", "calls=-1", "calls=+1", "calls=1000000000000001", "0s", "10ms", "9000h", " once"} {
		if got, err := prompt.ParseTerms(text); abi.CodeOf(err) != abi.Invalid {
			t.Errorf("%q: %+v, %v", text, got, err)
		}
	}
}

func TestGrantsAnswerWhatTheySay(t *testing.T) {
	t.Parallel()
	g, err := prompt.ParseGrants("grants.toml", []byte(`schema = 1
[[grant]]
pack = "arw/*"
capability = "fs"
scope = ["read:/srv"]
ttl = "8h"
tokens = 5
project = "p"
reason = "r"
[[grant]]
pack = "a/b"
digest = "sha256:1"
capability = "kv"
ttl = "1h"
reason = "r"
`))
	if err != nil {
		t.Fatal(err)
	}
	ask := func(pack, digest string, c abi.Capability, project string, scope ...string) prompt.Ask {
		return prompt.Ask{Pack: pack, Digest: digest, Capability: c, Scope: scope, Where: lease.Where{Project: project}}
	}
	for name, tc := range map[string]struct {
		ask  prompt.Ask
		want bool
	}{
		"inside":          {ask("arw/x", "", abi.FS, "p", "read:/srv/docs"), true},
		"another project": {ask("arw/x", "", abi.FS, "q", "read:/srv/docs"), false},
		"outside":         {ask("arw/x", "", abi.FS, "p", "read:/home"), false},
		"wider":           {ask("arw/x", "", abi.FS, "p", "write:/srv"), false},
		"another space":   {ask("arwx/x", "", abi.FS, "p", "read:/srv"), false},
		"that digest":     {ask("a/b", "sha256:1", abi.KV, ""), true},
		"another digest":  {ask("a/b", "sha256:2", abi.KV, ""), false},
		"another pack":    {ask("a/bb", "sha256:1", abi.KV, ""), false},
		"no scope asked":  {ask("arw/x", "", abi.FS, "p"), false},
	} {
		if d, got := g.For(tc.ask); got != tc.want {
			t.Errorf("%s: %+v", name, d)
		}
	}
}

// FuzzGrants holds the reader of grants.toml to: what it accepts is within every bound, and what it refuses yields nothing.
func FuzzGrants(f *testing.F) {
	for _, seed := range []string{
		"", "schema = 1\n", "schema = 1\n[[grant]]\npack = \"a/b\"\ncapability = \"kv\"\nttl = \"1h\"\nreason = \"r\"\n",
		"schema = 1\n[[grant]]\npack = \"a/*\"\ncapability = \"fs\"\nscope = [\"read:/\"]\nttl = \"1h\"\nreason = \"r\"\ncalls = 1\n", "schema = 2", "[[grant]]", "grant = 3\nschema = 1",
	} {
		f.Add([]byte(seed))
	}
	f.Fuzz(func(t *testing.T, src []byte) {
		g, err := prompt.ParseGrants(filepath.Join("x", prompt.GrantsFile), src)
		if err != nil {
			if g != nil || abi.CodeOf(err) != abi.Invalid {
				t.Fatalf("got %v, %v", g, err)
			}
			return
		}
		for _, d := range g.List() {
			if d.TTL < lease.MinTTL || d.TTL > lease.MaxTTL || lease.CheckScope(d.Capability, d.Scope) != nil || d.Reason == "" || strings.HasPrefix(d.Pack, "*") {
				t.Fatalf("accepted %+v", d)
			}
		}
	})
}

// FuzzTerms: accepted terms read back as themselves.
func FuzzTerms(f *testing.F) {
	for _, seed := range []string{"once", "calls=12", "15m", "1h30m", "session", "project", "calls=01", "-1h"} {
		f.Add(seed)
	}
	f.Fuzz(func(t *testing.T, text string) {
		a, err := prompt.ParseTerms(text)
		if err != nil {
			return
		}
		if b, err := prompt.ParseTerms(a.String()); err != nil || a != b {
			t.Fatalf("%q is %+v, and %q is %+v, %v", text, a, a.String(), b, err)
		}
	})
}
