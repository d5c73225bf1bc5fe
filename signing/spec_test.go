package signing_test

import (
	"os"
	"regexp"
	"strings"
	"testing"
)

// The specification shows what the tests run, and knows every reason.
func TestSpecificationAgrees(t *testing.T) {
	t.Parallel()
	read := func(name string) string {
		data, err := os.ReadFile(name)
		check(t, err)
		return string(data)
	}
	spec := read("../docs/spec/trust.md")
	for _, sample := range []string{"testdata/policies/full.toml", "testdata/verdict.json"} {
		if !strings.Contains(spec, "\n"+read(sample)+"```") {
			t.Errorf("docs/spec/trust.md does not show %s", sample)
		}
	}
	for _, m := range regexp.MustCompile(`Reason\w+ +Reason = "(\w+)"`).FindAllStringSubmatch(read("verdict.go"), -1) {
		if !strings.Contains(spec, "| `"+m[1]+"`") && !strings.Contains(spec, ", `"+m[1]+"` |") {
			t.Errorf("docs/spec/trust.md has no step that gives reason %q", m[1])
		}
	}
	for _, m := range regexp.MustCompile(`"(\w+)": +func\(e \*certificate`).FindAllStringSubmatch(read("policyfile.go"), -1) {
		if !strings.Contains(spec, "`"+m[1]+"`") {
			t.Errorf("docs/spec/trust.md does not name claim %q", m[1])
		}
	}
	files := files{"trusted_root.json": newSigstore(t).trustedRoot(), "acme.pub": keyOf(t, "alice").PublicPEM()}
	parse(t, read("testdata/policies/full.toml"), files)
}
