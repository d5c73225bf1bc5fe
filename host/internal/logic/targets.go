package logic

import (
	"embed"
	"encoding/json"
	"io/fs"
	"maps"
	"slices"
	"strings"

	"github.com/arw-project/arw/abi"
	"github.com/arw-project/arw/host/internal/logic/tree"
	"github.com/arw-project/arw/manifests"
	"github.com/arw-project/arw/manifests/strict"
)

// Target is a configuration document that units and people may change: what it is called, what may be in it, and what is
// in it as long as nobody has changed it.
type Target struct {
	Name    string            `json:"name"`
	Title   string            `json:"title"`
	Schema  *manifests.Schema `json:"schema"`
	Default json.RawMessage   `json:"default"`
	// Bounds are the values that hold packs and agents back, by JSON pointer: "cap" (at most; 0 is no bound) or "floor" (at
	// least). A unit that loosens one must say so.
	Bounds map[string]string `json:"bounds,omitempty"`
	root   any
}

//go:embed targets
var shipped embed.FS

// shippedTargets are the documents every host has. They are part of the program, so a fault in them is a panic.
func shippedTargets() map[string]*Target {
	targets := map[string]*Target{}
	files, err := fs.Glob(shipped, "targets/*.json")
	if err != nil {
		panic(err)
	}
	for _, file := range files {
		raw, err := shipped.ReadFile(file)
		if err != nil {
			panic(err)
		}
		t, err := parseTarget(raw)
		if err != nil {
			panic(file + ": " + err.Error())
		}
		targets[t.Name] = t
	}
	return targets
}

func parseTarget(raw []byte) (*Target, error) {
	var file struct {
		Name, Title     string
		Schema, Default json.RawMessage
		Bounds          map[string]string
	}
	if err := json.Unmarshal(raw, &file); err != nil {
		return nil, err
	}
	schema, err := manifests.ParseSchema(file.Schema)
	if err != nil {
		return nil, err
	}
	canonical, err := manifests.CanonicalJSON(file.Default)
	if err != nil {
		return nil, err
	}
	if err := schema.Validate(canonical); err != nil {
		return nil, err
	}
	root, err := tree.Parse(canonical)
	return &Target{file.Name, file.Title, schema, canonical, file.Bounds, root}, err
}

// Targets are all documents there may be, by name.
func (s *Store) Targets() []Target {
	var list []Target
	for _, name := range slices.Sorted(maps.Keys(s.targets)) {
		list = append(list, *s.targets[name])
	}
	return list
}

func (s *Store) target(name string) (*Target, error) {
	if t := s.targets[name]; t != nil {
		return t, nil
	}
	known := slices.Sorted(maps.Keys(s.targets))
	hint := "the documents are " + strings.Join(known, ", ")
	if guess := strict.Closest(name, known); guess != "" {
		hint = "did you mean " + guess + "?"
	}
	return nil, abi.Errorf(abi.NotFound, "find document %q: there is none of that name", name).WithHint("%s", hint)
}
