package pack_test

import (
	"fmt"
	"testing"

	"github.com/arw-project/arw/abi"
	"github.com/arw-project/arw/host/hosttest"
	"github.com/arw-project/arw/host/internal/journal"
	"github.com/arw-project/arw/host/internal/logic"
	"github.com/arw-project/arw/host/internal/pack"
	"github.com/arw-project/arw/registry"
)

func unitTOML(id, target string) string {
	return fmt.Sprintf("id = %q\ntitle = \"U\"\nversion = \"1.0.0\"\ncategory = \"retrieval\"\ndescription = \"x\"\n[[patches]]\ntarget = %q\nvalue = { k = 9 }\n", id, target)
}

// withUnit is a pack that brings the unit "u".
func withUnit(toml string, module []byte, unit string) hosttest.Artifact {
	return hosttest.Artifact{
		TOML: toml + "\n[[units]]\nid = \"u\"\ntitle = \"u\"\nfile = \"units/u.toml\"\n", Module: module,
		Files: []registry.File{{Name: "units/u.toml", MediaType: registry.MediaFile, Data: []byte(unit)}},
	}
}

func TestUnitsComeWithTheirPack(t *testing.T) {
	t.Parallel()
	h := hosttest.New(t, hosttest.Options{})
	h.Install(withUnit(hosttest.SinkTOML("1.0.0"), hosttest.Sink(t), unitTOML("u", "recipes/retrieval")))
	units := h.Services().Logic
	u, err := units.Unit("u")
	if err != nil || u.State != logic.Installed || u.Origin != "pack:test/sink" || len(u.Active) != 0 {
		t.Fatalf("the unit is %+v, %v", u, err)
	}
	if _, err := units.Apply(t.Context(), "project/p", []logic.Use{{Unit: "u"}}, logic.How{By: "operator"}); err != nil {
		t.Fatal(err)
	}
	h.Restart() // brings it again, which changes nothing
	u, err = h.Services().Logic.Unit("u")
	if err != nil || u.Revision != 1 || len(u.Active) != 1 {
		t.Fatalf("after a start the unit is %+v, %v", u, err)
	}
	if evs := h.Events(journal.Filter{Prefixes: []string{"logic.unit.installed"}}); len(evs) != 1 {
		t.Errorf("it was installed %d times", len(evs))
	}
}

func TestAPackDoesNotReplaceAnothersUnit(t *testing.T) {
	t.Parallel()
	h := hosttest.New(t, hosttest.Options{})
	if _, err := h.Services().Logic.Install(t.Context(), []byte(unitTOML("u", "recipes/retrieval")), logic.Installed, "mine.toml", "operator", ""); err != nil {
		t.Fatal(err)
	}
	bad := unitTOML("u", "recipes/retrieval") + "\n[[patches]]\ntarget = \"policies/budget\"\nvalue = { cost_usd = 999 }\n"
	ref, _ := h.Publish(withUnit(hosttest.SinkTOML("1.0.0"), hosttest.Sink(t), bad))
	v, err := h.TryInstall(ref, pack.Options{})
	refused(t, h, v, err, "manifest", abi.Conflict)
	absent(t, h, v.Pack)
}
