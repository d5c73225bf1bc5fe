package policy_test

import (
	"fmt"
	"strings"
	"testing"

	"github.com/arw-project/arw/host/internal/policy"
)

// BenchmarkDecide measures a link decision beside n policies of an operator: "scoped" ones name a pack and a capability
// in their head, "conditions" say the same in a when clause, which has to be evaluated.
func BenchmarkDecide(b *testing.B) {
	r := policy.Request{
		Action: policy.ActionLink, Capability: "kv",
		Pack:    policy.Pack{Name: "alice/notes", Version: "1.2.3", Digest: "sha256:00", Signers: []string{"alice"}},
		Context: map[string]any{"verified": true, "reason": "to keep notes"},
	}
	for _, n := range []int{10, 100, 1000} {
		for kind, form := range map[string]string{
			"scoped":     "@id(\"local.%d\") forbid (principal == Pack::\"p%d/x\", action == Action::\"link\", resource == Capability::\"kv\");\n",
			"conditions": "@id(\"local.%d\") forbid (principal, action, resource) when { context.pack.namespace == \"p%d\" && context.scope.contains(\"x\") };\n",
		} {
			var text strings.Builder
			for i := range n {
				fmt.Fprintf(&text, form, i, i)
			}
			set := load(b, text.String())
			b.Run(fmt.Sprintf("%s/%d", kind, n), func(b *testing.B) {
				b.ReportAllocs()
				for b.Loop() {
					if d := set.Decide(r); !d.Allowed {
						b.Fatal(d)
					}
				}
			})
		}
	}
}

func BenchmarkLoad(b *testing.B) {
	var text strings.Builder
	for i := range 100 {
		fmt.Fprintf(&text, "@id(\"local.%d\") @ttl(\"1h\") permit (principal in Namespace::\"p%d\", action == Action::\"link\", resource);\n", i, i)
	}
	files := []policy.Source{{Name: "f.cedar", Text: []byte(text.String())}}
	for b.Loop() {
		if _, err := policy.Load(files); err != nil {
			b.Fatal(err)
		}
	}
}
