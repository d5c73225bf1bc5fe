package logic

import (
	"bytes"
	"encoding/json"
	"fmt"
	"testing"

	"github.com/arw-project/arw/abi"
	"github.com/arw-project/arw/host/internal/view"
)

func shown(t testing.TB, s *Store, id string, into any) view.Doc {
	t.Helper()
	d, err := s.view.Get(t.Context(), id)
	if err != nil {
		t.Fatal(err)
	}
	if into != nil {
		if err := json.Unmarshal(d.Body, into); err != nil {
			t.Fatal(err)
		}
	}
	return d
}

type shownConfig struct {
	Version int64
	Digest  string
	Items   map[string]shownDoc
	Scopes  map[string]map[string]string
}

func TestReadModelsFollowTheConfiguration(t *testing.T) {
	t.Parallel()
	s := open(t, t.TempDir(), nil)
	var fresh shownConfig
	shown(t, s, ConfigView, &fresh)
	var schemas struct{ Items map[string]json.RawMessage }
	shown(t, s, SchemaView, &schemas)
	if len(schemas.Items) != len(s.targets) || len(fresh.Items) != len(s.targets) || fresh.Version != 0 {
		t.Fatalf("%d schemas and %d documents are shown at version %d, there are %d", len(schemas.Items), len(fresh.Items), fresh.Version, len(s.targets))
	}
	install(t, s, text("u", 50, "", merge("recipes/retrieval", `{"k":20}`)))
	apply(t, s, "project/p", "u")
	var now shownConfig
	shown(t, s, ConfigView, &now)
	d, err := s.Get("recipes/retrieval", "project/p")
	if err != nil {
		t.Fatal(err)
	}
	if now.Version != 1 || now.Digest == fresh.Digest || now.Scopes["project/p"]["recipes/retrieval"] != d.Digest || now.Items["recipes/retrieval"].Digest != fresh.Items["recipes/retrieval"].Digest {
		t.Fatalf("one project has it, and what is shown is %+v", now)
	}
	var units struct{ Items map[string]Unit }
	shown(t, s, UnitsView, &units)
	if a := units.Items["u"].Active; len(a) != 1 || a[0].Scope != "project/p" {
		t.Fatalf("the unit is shown as active in %+v", a)
	}
	if _, err := s.Promote(t.Context(), "u", "project/p", how); err != nil {
		t.Fatal(err)
	}
	shown(t, s, ConfigView, &now)
	if !bytes.Contains(now.Items["recipes/retrieval"].Body, []byte(`"k":20`)) {
		t.Errorf("the default of all is shown as %s", now.Items["recipes/retrieval"].Body)
	}
	if _, err := s.Revert(t.Context(), "u", Workspace, how); err != nil {
		t.Fatal(err)
	}
	var last shownConfig
	shown(t, s, ConfigView, &last)
	if last.Digest != fresh.Digest || last.Version != 3 || len(last.Scopes["project/p"]) != 0 {
		t.Errorf("after the revert %+v is shown", last)
	}
	var snapshots struct{ Items map[string]Snapshot }
	shown(t, s, SnapshotsView, &snapshots)
	if len(snapshots.Items) != 3 || snapshots.Items["2"].What != "promote u" {
		t.Errorf("the versions are shown as %+v", snapshots.Items)
	}
}

// What a change leaves of the read models is what a host that starts makes of its tables.
func TestReadModelsAreWhatAStartMakes(t *testing.T) {
	t.Parallel()
	s := open(t, t.TempDir(), nil)
	for i := range shownSnapshots + 20 {
		scope := []Scope{Workspace, "project/p", "agent/a"}[i%3]
		if i < 3 {
			install(t, s, text(fmt.Sprintf("u%d", i), 50, "", merge("context/assembly", fmt.Sprintf(`{"slots":{"n%d":1}}`, i))+merge("recipes/retrieval", fmt.Sprintf(`{"k":%d}`, i+2))))
		}
		id := fmt.Sprintf("u%d", i%3)
		var err error
		if s.active(id, scope) == nil {
			_, err = s.Apply(t.Context(), scope, []Use{{Unit: id}}, how)
		} else {
			_, err = s.Revert(t.Context(), id, scope, how)
		}
		if err != nil {
			t.Fatal(err)
		}
		if i == 10 || i == shownSnapshots+19 {
			sameAfterStart(t, s)
		}
	}
}

func sameAfterStart(t *testing.T, s *Store) {
	t.Helper()
	for _, id := range []string{UnitsView, ConfigView, SnapshotsView, SchemaView} {
		before := shown(t, s, id, nil)
		if err := s.showAll(t.Context()); err != nil {
			t.Fatal(err)
		}
		if after := shown(t, s, id, nil); after.Version != before.Version {
			t.Errorf("a start changes %s from\n%s\nto\n%s", id, before.Body, after.Body)
		}
	}
}

func TestADryRunIsNotShown(t *testing.T) {
	t.Parallel()
	s := open(t, t.TempDir(), nil)
	install(t, s, text("u", 50, "", merge("recipes/retrieval", `{"k":20}`)))
	before := shown(t, s, ConfigView, nil)
	if _, err := s.Apply(t.Context(), Workspace, []Use{{Unit: "u"}}, How{DryRun: true, By: "operator"}); err != nil {
		t.Fatal(err)
	}
	if after := shown(t, s, ConfigView, nil); after.Version != before.Version {
		t.Errorf("a dry run made %s", after.Body)
	}
}

func TestOneVersion(t *testing.T) {
	t.Parallel()
	s := open(t, t.TempDir(), nil)
	install(t, s, text("u", 50, "", merge("recipes/retrieval", `{"k":20}`)))
	apply(t, s, Workspace, "u")
	v, err := s.Snapshot(t.Context(), 1)
	if err != nil || v.What != "apply u to workspace" || v.Digest != digestOf(s.layers) {
		t.Errorf("version 1 is %+v, %v", v, err)
	}
	if v, err := s.Snapshot(t.Context(), 0); err != nil || v.Digest != digestOf(nil) {
		t.Errorf("version 0 is %+v, %v", v, err)
	}
	_, err = s.Snapshot(t.Context(), 2)
	wantErr(t, err, abi.NotFound, "there are 1")
}
