package policy_test

import (
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/arw-project/arw/abi"
	"github.com/arw-project/arw/host/internal/policy"
)

// Whatever a policy file holds, Load accepts it or says where it is wrong, and no accepted file lets an unsigned pack in
// or anybody but the operator grant.
func FuzzLoad(f *testing.F) {
	f.Add(string(policy.Default().Text))
	f.Add(`@id("x") @ttl("1h") permit (principal, action == Action::"link", resource);`)
	f.Add(`@id("x") permit (principal, action, resource) when { context.ttl.toMilliseconds() * 9223372036854775807 > 0 };`)
	f.Add("@id(\"x\")\npermit (principal,\naction == Action::\"lnk\", resource)\nwhen { principal.nope like \"a*\" };")
	archives, _ := filepath.Glob("testdata/policy/*.txtar")
	for _, name := range archives {
		if text, err := os.ReadFile(name); err == nil {
			f.Add(string(text))
		}
	}
	unsigned := policy.Request{Action: policy.ActionLoad, Pack: policy.Pack{Name: "a/b"}}
	stranger := policy.Request{Action: policy.ActionGrant, Pack: policy.Pack{Name: "a/b"}, Capability: "kv", Actor: "agent:x"}
	f.Fuzz(func(t *testing.T, text string) {
		set, err := policy.Load([]policy.Source{{Name: "f.cedar", Text: []byte(text)}})
		if err != nil {
			e, ok := errors.AsType[*abi.Error](err)
			if !ok || e.Code != abi.Invalid {
				t.Fatalf("not a typed error: %v", err)
			}
			lines := 1 + strings.Count(text, "\n")
			for _, p := range e.Detail.([]policy.Problem) {
				if p.File != "f.cedar" || p.Line < 1 || p.Line > lines || p.Msg == "" {
					t.Fatalf("a problem without a place: %+v", p)
				}
			}
			return
		}
		for _, r := range []policy.Request{unsigned, stranger} {
			if d := set.Decide(r); d.Outcome != policy.Deny || d.Allowed {
				t.Fatalf("%s: %+v", r, d)
			}
		}
	})
}

func FuzzTest(f *testing.F) {
	archives, _ := filepath.Glob("testdata/policy/*.txtar")
	for _, name := range archives {
		if text, err := os.ReadFile(name); err == nil {
			f.Add(text)
		}
	}
	f.Fuzz(func(t *testing.T, text []byte) {
		if _, err := policy.Test(nil, policy.Source{Name: "a.txtar", Text: text}); err != nil && abi.CodeOf(err) != abi.Invalid {
			t.Fatalf("not a typed error: %v", err)
		}
	})
}

func FuzzUnits(f *testing.F) {
	f.Add("64MiB")
	f.Add("7d")
	f.Fuzz(func(t *testing.T, s string) {
		if n, err := policy.ParseBytes(s); err == nil && (n < 1 || n > policy.MaxBudgetBytes) {
			t.Errorf("%q is %d bytes", s, n)
		}
		if d, err := policy.ParseTTL(s); err == nil && (d < policy.MinTTL || d > policy.MaxTTL) {
			t.Errorf("%q is %v", s, d)
		}
	})
}
