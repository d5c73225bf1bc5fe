package hosttest

import (
	"bytes"
	"context"
	"encoding/json"
	"strings"

	"github.com/santhosh-tekuri/jsonschema/v6"

	"github.com/arw-project/arw/host/api"
	"github.com/arw-project/arw/host/internal/journal"
	"github.com/arw-project/arw/host/internal/spec"
)

// checkEvents holds everything that the host's own parts appended to the table of events: every kind is in it, every body is
// as it says. What a pack emitted is the pack's own, and what a test appended by itself names no actor.
func (h *Host) checkEvents() {
	h.t.Helper()
	kinds := map[string]api.EventKind{}
	for _, e := range api.Events() {
		kinds[e.Kind] = e
	}
	schemas := map[string]*jsonschema.Schema{}
	j := h.Host.Services().Journal
	for after := int64(0); ; {
		records, err := j.Read(context.Background(), after, 1000, journal.Filter{})
		if err != nil || len(records) == 0 {
			return // a test that breaks the journal says so itself
		}
		for _, r := range records {
			after = r.ID
			row, known := kinds[r.Kind]
			switch {
			case r.Actor == "" && !known, strings.HasPrefix(r.Actor, "pack:") && !known:
				continue
			case !known:
				h.t.Errorf("event %d has kind %q, which is not in api.Events", r.ID, r.Kind)
				continue
			case r.Actor == "" && string(r.Body) == "{}":
				continue
			}
			if schemas[r.Kind] == nil {
				schemas[r.Kind] = h.compile(row)
			}
			doc, err := jsonschema.UnmarshalJSON(bytes.NewReader(r.Body))
			if err == nil {
				err = schemas[r.Kind].Validate(doc)
			}
			if err != nil {
				h.t.Errorf("event %d of kind %q is not as api.Events has it: %v\n%s", r.ID, r.Kind, err, r.Body)
			}
		}
	}
}

func (h *Host) compile(e api.EventKind) *jsonschema.Schema {
	h.t.Helper()
	raw, err := json.Marshal(spec.Document(e.Kind, e.Body))
	if err != nil {
		h.t.Fatal(err)
	}
	doc, err := jsonschema.UnmarshalJSON(bytes.NewReader(raw))
	if err != nil {
		h.t.Fatal(err)
	}
	c := jsonschema.NewCompiler()
	if err := c.AddResource(e.Kind, doc); err != nil {
		h.t.Fatal(err)
	}
	s, err := c.Compile(e.Kind)
	if err != nil {
		h.t.Fatalf("schema of %q: %v", e.Kind, err)
	}
	return s
}
