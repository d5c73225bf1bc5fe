package docs_test

import (
	"flag"
	"fmt"
	"os"
	"strings"
	"testing"

	"github.com/arw-project/arw/abi"
)

var update = flag.Bool("update", false, "rewrite generated pages")

// TestErrorPageIsTheTable keeps docs/spec/errors.md equal to the one table of codes.
func TestErrorPageIsTheTable(t *testing.T) {
	t.Parallel()
	var b strings.Builder
	b.WriteString("# Errors\n\nOne table serves the ABI (the number in a status word or an error frame), HTTP (the status and `code` of a problem\ndocument) and the command line. Generated from `abi/codes.go`; numbers are never reused.\n\n")
	b.WriteString("| number | code | HTTP | what happened | what to do |\n|---|---|---|---|---|\n")
	for _, row := range abi.Codes {
		fmt.Fprintf(&b, "| %d | `%s` | %d | %s | %s |\n", row.Code, row.Name, row.Status, row.Doc, row.Next)
	}
	const page = "spec/errors.md"
	if *update {
		if err := os.WriteFile(page, []byte(b.String()), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	have, err := os.ReadFile(page)
	if err != nil {
		t.Fatal(err)
	}
	if string(have) != b.String() {
		t.Errorf("%s is not the table of abi/codes.go: run go test ./docs -run ErrorPage -update", page)
	}
}
