package pack_test

import (
	"slices"
	"strings"
	"testing"

	"github.com/arw-project/arw/host/hosttest"
	"github.com/arw-project/arw/host/internal/pack"
	"github.com/arw-project/arw/manifests"
)

func manifest(t *testing.T, oldnew ...string) *manifests.Pack {
	t.Helper()
	m, err := manifests.ParsePack("pack.toml", []byte(change(t, hosttest.SinkTOML("1.0.0"), oldnew...)))
	if err != nil {
		t.Fatal(err)
	}
	return m
}

func TestCompare(t *testing.T) {
	t.Parallel()
	const echo = `input = { type = "object", properties = { n = { type = "integer" } } }`
	for _, c := range []struct {
		name     string
		old, new []string
		id       string
		class    pack.Class
		holds    bool
	}{
		{"nothing", nil, nil, "", pack.Same, false},
		{"a new capability", []string{"[capabilities.rand]\nreason = \"to roll dice\"\n", ""}, nil, "capability:rand", pack.Wider, true},
		{"a capability less", nil, []string{"[capabilities.rand]\nreason = \"to roll dice\"\n", ""}, "capability:rand", pack.Narrower, false},
		{"a wider folder", []string{`["read:*", "write:*"]`, `["read:/srv/a"]`}, []string{`["read:*", "write:*"]`, `["read:/srv"]`}, "capability:fs/scope", pack.Wider, true},
		{"a folder inside", []string{`["read:*", "write:*"]`, `["read:/srv"]`}, []string{`["read:*", "write:*"]`, `["read:/srv/a"]`}, "capability:fs/scope", pack.Narrower, false},
		{"to write as well", []string{`["read:*", "write:*"]`, `["read:/srv"]`}, []string{`["read:*", "write:*"]`, `["write:/srv"]`}, "capability:fs/scope", pack.Wider, true},
		{"more events", []string{`["sink."]`, `["sink.done"]`}, nil, "capability:event/scope", pack.Wider, true},
		{"fewer calls", nil, []string{"[capabilities.rand]\n", "[capabilities.rand]\nbudget = { calls = 3 }\n"}, "capability:rand/calls", pack.Narrower, false},
		{"more calls", []string{"[capabilities.rand]\n", "[capabilities.rand]\nbudget = { calls = 3 }\n"}, []string{"[capabilities.rand]\n", "[capabilities.rand]\nbudget = { calls = 4 }\n"}, "capability:rand/calls", pack.Wider, true},
		{"calls without end", []string{"[capabilities.rand]\n", "[capabilities.rand]\nbudget = { calls = 3 }\n"}, nil, "capability:rand/calls", pack.Wider, true},
		{"a longer lease", []string{"[capabilities.kv]\n", "[capabilities.kv]\nttl = \"1h\"\n"}, []string{"[capabilities.kv]\n", "[capabilities.kv]\nttl = \"2h\"\n"}, "capability:kv/ttl", pack.Wider, true},
		{"no question any more", []string{"[capabilities.kv]\n", "[capabilities.kv]\nask = true\n"}, nil, "capability:kv/ask", pack.Wider, true},
		{"a question now", nil, []string{"[capabilities.kv]\n", "[capabilities.kv]\nask = true\n"}, "capability:kv/ask", pack.Narrower, false},
		{"a new tool", []string{"sink.trap", "sink.oldtrap"}, nil, "tool:sink.trap", pack.Wider, true},
		{"more effects", []string{"description = \"reads a value\"\neffects = \"reads\"", "description = \"reads a value\"\neffects = \"pure\""}, nil, "tool:sink.get/effects", pack.Wider, true},
		{"fewer effects", nil, []string{"description = \"reads a value\"\neffects = \"reads\"", "description = \"reads a value\"\neffects = \"pure\""}, "tool:sink.get/effects", pack.Narrower, false},
		{"more gas", []string{"gas = 10_000_000_000_000", "gas = 10_000_000"}, nil, "limits:sink.wait/gas", pack.Wider, true},
		{"gas above the host's own", []string{"limits = { gas = 10_000_000_000_000, time = \"5m\" }", "limits = { time = \"5m\" }"}, nil, "limits:sink.wait/gas", pack.Wider, true},
		{"a stricter input", nil, []string{echo, `input = { type = "object", required = ["n"], properties = { n = { type = "integer" } } }`}, "tool:sink.echo/input", pack.Narrower, false},
		{"a laxer input", []string{echo, `input = { type = "object", required = ["n"], properties = { n = { type = "integer" } } }`}, nil, "tool:sink.echo/input", pack.Wider, false},
		{"a new read model", []string{"id = \"sink.model\"", "id = \"sink.other\"", `scope = ["sink.model"]`, `scope = ["sink.other"]`}, nil, "state:sink.model", pack.Wider, true},
		{"another ABI range", nil, []string{`abi = "^1.0"`, `abi = ">=1.0"`}, "abi", pack.Same, false},
		{"a unit", nil, []string{"[module]", "[[units]]\nid = \"sink.u\"\ntitle = \"u\"\nfile = \"u.toml\"\n[module]"}, "unit:sink.u", pack.Wider, false},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			d := pack.Compare(manifest(t, c.old...), manifest(t, c.new...))
			if c.id == "" {
				if len(d.Items) != 0 || d.Class != pack.Same {
					t.Fatalf("diff: %s", asJSON(t, d))
				}
				return
			}
			i := slices.IndexFunc(d.Items, func(i pack.Item) bool { return i.ID == c.id })
			if i < 0 {
				t.Fatalf("no item %s: %s", c.id, asJSON(t, d))
			}
			got := d.Items[i]
			if got.Class != c.class || got.Holds != c.holds || got.Words == "" || strings.Contains(got.Words, "%!") {
				t.Fatalf("got %s, want %s, holds %v", asJSON(t, got), c.class, c.holds)
			}
			if got.Holds && !slices.Contains(d.Held(), got.Subject()) {
				t.Errorf("held: %q", d.Held())
			}
		})
	}
}
