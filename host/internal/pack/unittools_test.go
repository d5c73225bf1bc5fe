package pack_test

import (
	"encoding/json"
	"fmt"
	"strings"
	"testing"

	"github.com/arw-project/arw/abi"
	"github.com/arw-project/arw/host/hosttest"
	"github.com/arw-project/arw/host/internal/journal"
	"github.com/arw-project/arw/host/internal/logic"
	"github.com/arw-project/arw/registry"
)

func transformTOML(id, tool string) string {
	return fmt.Sprintf(`id = %q
title = "T"
version = "1.0.0"
category = "retrieval"
description = "x"
kind = "transform"
[transform]
pack = "test/tuner"
tool = %q
documents = ["recipes/retrieval"]
gas = 20000000
[parameters.factor]
type = "integer"
description = "by how much"
default = 3
minimum = 1
`, id, tool)
}

// A transform that comes with the pack of its tool: computed by the real engine, validated, taken back.
func TestATransformOfAPack(t *testing.T) {
	t.Parallel()
	h := hosttest.New(t, hosttest.Options{})
	p := hosttest.TunerPack(t)
	p.TOML += "\n[[units]]\nid = \"tuned\"\ntitle = \"u\"\nfile = \"units/tuned.toml\"\n"
	p.Files = []registry.File{{Name: "units/tuned.toml", MediaType: registry.MediaFile, Data: []byte(transformTOML("tuned", "tuner.tune"))}}
	h.Install(p)
	units := h.Services().Logic
	if u, err := units.Unit("tuned"); err != nil || u.Origin != "pack:test/tuner" {
		t.Fatalf("the unit is %+v, %v", u, err)
	}
	plan, err := units.Apply(t.Context(), "project/p", []logic.Use{{Unit: "tuned", Params: map[string]json.RawMessage{"factor": json.RawMessage("5")}}}, logic.How{By: "operator"})
	if err != nil {
		t.Fatal(err)
	}
	if c := plan.Docs[0].Changes[0]; c.Path != "/k" || c.After != json.Number("40") || !strings.HasPrefix(plan.Units[0].Computed.Version, "1.2.0 sha256:") {
		t.Errorf("the plan is %+v, by %+v", c, plan.Units[0].Computed)
	}
	if _, err := units.Revert(t.Context(), "tuned", "project/p", logic.How{By: "operator"}); err != nil {
		t.Fatal(err)
	}
}

func TestTransformsHaveNothingButTheirInput(t *testing.T) {
	t.Parallel()
	h := hosttest.New(t, hosttest.Options{})
	h.Install(hosttest.TunerPack(t))
	m := h.Services().Packs
	input := []byte(`{"documents":{"recipes/retrieval":{"k":4}},"parameters":{"factor":2}}`)
	for tool, want := range map[string]struct {
		code abi.Code
		says string
	}{
		"tuner.peek":   {abi.Denied, "clock"},
		"tuner.loop":   {abi.GasExhausted, "gas"},
		"tuner.impure": {abi.Denied, "a transform is pure"},
		"tuner.none":   {abi.NotFound, "tuner.none"},
	} {
		_, _, err := m.Pure(t.Context(), "test/tuner", tool, input, 20_000_000)
		if abi.CodeOf(err) != want.code || !strings.Contains(err.Error(), want.says) {
			t.Errorf("%s: %v, want %v that says %q", tool, err, want.code, want.says)
		}
	}
	for range 2 { // nothing of one call is left for the next
		out, _, err := m.Pure(t.Context(), "test/tuner", "tuner.count", input, 20_000_000)
		if err != nil || !strings.Contains(string(out), `"k":1`) {
			t.Errorf("it counts %s, %v", out, err)
		}
	}
	if evs := h.Events(journal.Filter{Prefixes: []string{"leases.exhausted"}}); len(evs) != 0 {
		t.Error("a transform spent a lease")
	}
}

func TestThePlugsContract(t *testing.T) {
	t.Parallel()
	h := hosttest.New(t, hosttest.Options{})
	h.Install(hosttest.TunerPack(t))
	m := h.Services().Packs
	for _, c := range []struct {
		pack, versions, tool string
		code                 abi.Code
		says                 string
	}{
		{"test/tuner", "^1.2", "tuner.tune", abi.OK, ""},
		{"test/none", "", "tuner.tune", abi.NotFound, "test/none"},
		{"test/tuner", "^2.0", "tuner.tune", abi.Incompatible, "1.2.0"},
		{"test/tuner", "", "tuner.peek", abi.Invalid, "no examples"},
		{"test/tuner", "", "tuner.crash", abi.Exited, "every capability refused"},
	} {
		err := m.Contract(t.Context(), c.pack, c.versions, []string{c.tool})
		if abi.CodeOf(err) != c.code && !(c.code == abi.Exited && abi.CodeOf(err) == abi.Trap) || err != nil && !strings.Contains(err.Error(), c.says) {
			t.Errorf("%s %s: %v, want %v that says %q", c.pack, c.tool, err, c.code, c.says)
		}
	}
}
