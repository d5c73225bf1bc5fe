package main

import (
	"fmt"
	"os"
	"strings"
	"time"
)

const reportHead = `# Interoperability, as run

Made by ` + "`make interop`" + ` on %s; do not edit. The run builds a private Sigstore from its own sources, at the versions below, and
starts it in a network namespace of its own, where nothing but loopback exists: what verifies here verifies offline. Every
line is one command that ended as the line says; a refusal counts only if its words name the right reason. The commands
themselves are in ` + "`signing/interop/steps.go`" + `.

| part | version |
|---|---|
| Fulcio | v1.8.8 |
| Rekor v2, POSIX backend | v2.3.0 |
| timestamp authority | v2.1.3 |
| cosign | v3.1.3 |
| CNCF distribution (a registry without the referrers API) | v3.1.2 |
| identity provider, certificate log | stubs of ` + "`signing/interop`" + ` |
`

// report writes the tables.
func (w *world) report(file, conformance string, results []result) error {
	if file == "" {
		return nil
	}
	var b strings.Builder
	fmt.Fprintf(&b, reportHead, time.Now().UTC().Format(time.DateOnly))
	group := ""
	for _, r := range results {
		if r.group != group {
			group = r.group
			fmt.Fprintf(&b, "\n## %s\n\n| step | result |\n|---|---|\n", group)
		}
		word := "works"
		if r.fails {
			word = "refused"
		}
		fmt.Fprintf(&b, "| %s | %s |\n", r.what, word)
	}
	if conformance != "" {
		table, err := suite(conformance)
		if err != nil {
			return err
		}
		b.WriteString("\n## OCI distribution conformance of our registry\n\nMade by `registry/conformance.sh`, which `make interop` runs too.\n\n```\n" + table + "```\n")
	}
	return os.WriteFile(file, []byte(b.String()), 0o644)
}

// suite is the table that the suite prints at its end.
func suite(file string) (string, error) {
	raw, err := os.ReadFile(file)
	if err != nil {
		return "", err
	}
	_, table, found := strings.Cut(string(raw), "API conformance:")
	if !found {
		return "", fmt.Errorf("%s holds no table", file)
	}
	return "API conformance:" + strings.TrimRight(table, "\n") + "\n", nil
}
