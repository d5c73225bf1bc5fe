package view_test

import (
	"database/sql"
	"encoding/json"
	"fmt"
	"reflect"
	"strings"
	"testing"

	"github.com/arw-project/arw/host/internal/view"
)

// model is about 100 KB: 900 items of 110 bytes, keyed by id.
func model() json.RawMessage {
	items := map[string]any{}
	for i := range 900 {
		items[fmt.Sprintf("act_%06d", i)] = map[string]any{"state": "running", "kind": "research.search", "note": strings.Repeat("x", 50), "n": i}
	}
	b, err := json.Marshal(map[string]any{"items": items, "count": 900})
	if err != nil {
		panic(err)
	}
	return b
}

// BenchmarkPatch100KB compares making the patch at the change with the parts of comparing decoded documents: the
// comparison alone is a lower bound of any diff.
func BenchmarkPatch100KB(b *testing.B) {
	doc := model()
	edit := func(i int) func(*view.Edit) error {
		return func(e *view.Edit) error {
			id := fmt.Sprintf("act_%06d", i%900)
			e.Set([]string{"completed", "failed"}[i/900%2], "items", id, "state")
			e.Set(i, "count")
			return nil
		}
	}
	b.Run("at_the_change", func(b *testing.B) {
		root := view.Parse(doc)
		b.ReportAllocs()
		for i := 0; b.Loop(); i++ {
			var patch []byte
			if root, patch = view.MakePatch(root, edit(i)); len(patch) == 0 {
				b.Fatal("no patch")
			}
		}
	})
	b.Run("decode_and_compare", func(b *testing.B) {
		var old any
		if err := json.Unmarshal(doc, &old); err != nil {
			b.Fatal(err)
		}
		for b.Loop() {
			var now any
			if err := json.Unmarshal(doc, &now); err != nil || !reflect.DeepEqual(old, now) {
				b.Fatal(err)
			}
		}
	})
	b.Run("whole_change_in_a_group", func(b *testing.B) {
		v := open(b, b.TempDir())
		if _, err := v.Put(b.Context(), view.Cause{}, "d", doc); err != nil {
			b.Fatal(err)
		}
		b.ResetTimer()
		for n := 0; n < b.N; {
			if err := v.db.Write(b.Context(), func(tx *sql.Tx) error {
				for range min(256, b.N-n) {
					if _, err := v.ChangeTx(tx, view.Cause{}, "d", edit(n)); err != nil {
						return err
					}
					n++
				}
				return nil
			}); err != nil {
				b.Fatal(err)
			}
		}
	})
}
