package hosttest

import (
	"context"
	_ "embed"
	"encoding/json"
	"testing"

	"github.com/arw-project/arw/host/internal/action"
)

//go:embed testdata/keeper/main.go
var keeper string

//go:embed testdata/keeper/pack.toml
var keeperTOML string

// KeeperTOML is the manifest of Keeper.
func KeeperTOML() string { return keeperTOML }

// Keeper is a pack that keeps what it is told to in every store, at version 1.0.0.
func Keeper(t testing.TB) Artifact { return Artifact{TOML: keeperTOML, Module: Build(t, keeper)} }

// Step is one thing that Keeper does: what, the name it is about, and a value.
type Step [3]string

// Steps is Keeper's input.
func Steps(steps ...Step) []byte {
	list := make([]map[string]string, len(steps))
	for i, s := range steps {
		list[i] = map[string]string{"op": s[0], "name": s[1], "value": s[2]}
	}
	raw, err := json.Marshal(map[string]any{"steps": list})
	if err != nil {
		panic(err) // strings alone
	}
	return raw
}

// Keep has Keeper take steps in a project and returns what each gave; a refused one gives "!" and the code.
func (h *Host) Keep(project string, steps ...Step) []string {
	h.t.Helper()
	return h.Kept(action.Request{Kind: "keeper.run", Project: project, Actor: "operator"}, steps...)
}

// Kept is Keep with the rest of the request.
func (h *Host) Kept(r action.Request, steps ...Step) []string {
	h.t.Helper()
	r.Input = Steps(steps...)
	a, _, err := h.Services().Actions.Submit(context.Background(), r)
	if err != nil {
		h.t.Fatalf("submit %s: %v", r.Kind, err)
	}
	if a = h.Wait(a.ID); a.State != action.Completed {
		h.t.Fatalf("%s %s: %s: %+v", r.Kind, r.Input, a.State, a.Failure)
	}
	var out struct {
		Got []string `json:"got"`
	}
	if err := json.Unmarshal(a.Output, &out); err != nil {
		h.t.Fatal(err)
	}
	return out.Got
}
