package logic

import (
	"encoding/json"
	"fmt"
	"strings"
	"testing"
)

// BenchmarkChange: 500 active units over 1,000 documents; the unit that is looked at, applied and reverted changes 200 of
// them. The aims are 50 ms for the difference and 100 ms for the change with its durable write.
func BenchmarkChange(b *testing.B) {
	s := open(b, b.TempDir(), nil)
	for i := range 1000 {
		t, err := parseTarget(fmt.Appendf(nil, `{"name":"bench/d%d","title":"d","schema":{"type":"object","additionalProperties":{"type":"integer"}},"default":{"a":1,"b":2}}`, i))
		if err != nil {
			b.Fatal(err)
		}
		s.targets[t.Name] = t
	}
	var uses []Use
	for i := range 500 {
		var patches strings.Builder
		for k := range 4 {
			patches.WriteString(merge(fmt.Sprintf("bench/d%d", (i*4+k*251)%1000), fmt.Sprintf(`{"u%d":%d}`, i, k)))
		}
		id := fmt.Sprintf("u%d", i)
		install(b, s, text(id, 50, "", patches.String()))
		uses = append(uses, Use{Unit: id, Params: map[string]json.RawMessage{}})
	}
	if _, err := s.Apply(b.Context(), Workspace, uses, how); err != nil {
		b.Fatal(err)
	}
	var patches strings.Builder
	for i := range 200 {
		patches.WriteString(merge(fmt.Sprintf("bench/d%d", i*5), `{"a":7}`))
	}
	install(b, s, text("wide", 50, "", patches.String()))
	wide := []Use{{Unit: "wide"}}
	b.Run("diff", func(b *testing.B) {
		for b.Loop() {
			if _, err := s.Apply(b.Context(), Workspace, wide, How{DryRun: true, By: "operator"}); err != nil {
				b.Fatal(err)
			}
		}
	})
	b.Run("apply and revert", func(b *testing.B) {
		for b.Loop() {
			if _, err := s.Apply(b.Context(), Workspace, wide, how); err != nil {
				b.Fatal(err)
			}
			if _, err := s.Revert(b.Context(), "wide", Workspace, how); err != nil {
				b.Fatal(err)
			}
		}
	})
	b.Run("read one document", func(b *testing.B) {
		for b.Loop() {
			if _, err := s.Get("bench/d5"); err != nil {
				b.Fatal(err)
			}
		}
	})
}
