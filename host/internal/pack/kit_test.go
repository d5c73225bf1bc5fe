package pack_test

import (
	"encoding/json"
	"errors"
	"strings"
	"testing"

	"github.com/arw-project/arw/abi"
	"github.com/arw-project/arw/host/hosttest"
	"github.com/arw-project/arw/host/internal/journal"
	"github.com/arw-project/arw/host/internal/lease"
	"github.com/arw-project/arw/host/internal/pack"
)

const sinkName = "test/sink"

// installed is a running host with the sink pack.
func installed(t *testing.T, o hosttest.Options) *hosttest.Host {
	t.Helper()
	h := hosttest.New(t, o)
	h.Install(hosttest.SinkPack(t))
	return h
}

// change is the sink's manifest with pieces of text replaced; a piece that is not there fails the test.
func change(t *testing.T, toml string, oldnew ...string) string {
	t.Helper()
	for i := 0; i < len(oldnew); i += 2 {
		if !strings.Contains(toml, oldnew[i]) {
			t.Fatalf("the manifest does not contain %q", oldnew[i])
		}
		toml = strings.ReplaceAll(toml, oldnew[i], oldnew[i+1])
	}
	return toml
}

// live are the live leases of a pack.
func live(h *hosttest.Host, name string) []lease.Lease {
	return h.Services().Leases.List(lease.Filter{Pack: name, State: lease.Live})
}

// refused checks a refusal: code and step of the verdict, the same record in the journal, nothing installed, no lease.
func refused(t *testing.T, h *hosttest.Host, v *pack.Verdict, err error, step string, code abi.Code) {
	t.Helper()
	if abi.CodeOf(err) != code || v == nil || v.Allowed || v.Step != step || v.Refused == nil || v.Refused.Code != code.String() {
		t.Fatalf("got %v (%v), verdict %s; want %v at %q", err, abi.CodeOf(err), asJSON(t, v), code, step)
	}
	if v.Refused.Hint == "" && code != abi.Cancelled {
		t.Errorf("no hint: %v", err)
	}
	rs := h.Events(journal.Filter{Prefixes: []string{"pack.refused"}, Corr: v.Corr})
	if len(rs) != 1 || string(rs[0].Body) != asJSON(t, v) {
		t.Fatalf("journal: %d records\n%s\nverdict\n%s", len(rs), asJSON(t, rs), asJSON(t, v))
	}
	if v.Pack == "" {
		return
	}
	known, err := h.Services().Packs.Verdict(t.Context(), v.Pack)
	if err != nil || asJSON(t, known) != asJSON(t, v) {
		t.Fatalf("why: %s, %v", asJSON(t, known), err)
	}
}

// absent checks that nothing of a pack is installed.
func absent(t *testing.T, h *hosttest.Host, name string) {
	t.Helper()
	if _, err := h.Services().Packs.Get(name); !errors.Is(err, &abi.Error{Code: abi.NotFound}) {
		t.Fatalf("pack %q: %v", name, err)
	}
	if ls := live(h, name); len(ls) != 0 {
		t.Fatalf("leases of pack %q: %s", name, asJSON(t, ls))
	}
}

func asJSON(t *testing.T, v any) string {
	t.Helper()
	b, err := json.Marshal(v)
	if err != nil {
		t.Fatal(err)
	}
	return string(b)
}

func wantCode(t *testing.T, err error, want abi.Code) {
	t.Helper()
	if got := abi.CodeOf(err); got != want {
		t.Fatalf("got %v (%v), want %v", got, err, want)
	}
}

// withExamples adds examples to the sink's manifest, the first with a stated output. They are not there by default
// because a pack with examples is loaded a second time, on the interpreter.
func withExamples(t *testing.T, toml, output string) string {
	t.Helper()
	return change(t, toml,
		"input = { type = \"object\", properties = { n = { type = \"integer\" } } }\n",
		"input = { type = \"object\", properties = { n = { type = \"integer\" } } }\n[[tools.examples]]\ninput = { n = 1 }\noutput = "+output+"\n",
		"input = { type = \"object\", required = [\"key\", \"val\"] }\n",
		"input = { type = \"object\", required = [\"key\", \"val\"] }\n[[tools.examples]]\ninput = { key = \"a\", val = \"b\" }\noutput = { got = \"\" }\n",
		"id = \"sink.read\"\ndescription = \"reads a file\"\neffects = \"reads\"\n",
		"id = \"sink.read\"\ndescription = \"reads a file\"\neffects = \"reads\"\n[[tools.examples]]\ninput = { path = \"/etc/hosts\" }\n")
}
