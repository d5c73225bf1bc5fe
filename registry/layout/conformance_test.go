//go:build conformance

package layout_test

import (
	"context"
	"encoding/xml"
	"flag"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"testing"

	"github.com/arw-project/arw/registry/layout"
)

var (
	suite   = flag.String("suite", "", "the OCI distribution conformance program")
	results = flag.String("results", "", "where its reports go")
)

// leastPassed is what the suite counts in its 1.1 mode; fewer means that part of it did not run.
const leastPassed = 854

// TestConformance runs the public suite against the server. registry/conformance.sh fetches the suite and calls it.
func TestConformance(t *testing.T) {
	dir, err := layout.Open(t.TempDir())
	if err != nil {
		t.Fatal(err)
	}
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	ctx, stop := context.WithCancel(t.Context())
	done := make(chan error, 1)
	go func() { done <- dir.Serve(ctx, l, layout.ServerOptions{}) }()
	cmd := exec.Command(*suite)
	cmd.Dir = *results
	cmd.Env = append(os.Environ(), "OCI_REGISTRY="+l.Addr().String(), "OCI_TLS=disabled", "OCI_VERSION=1.1", "OCI_RESULTS_DIR="+*results)
	out, err := cmd.CombinedOutput()
	if err := os.WriteFile(filepath.Join(*results, "output.txt"), out, 0o644); err != nil {
		t.Error(err)
	}
	stop()
	if e := <-done; e != nil {
		t.Error(e)
	}
	if err != nil {
		t.Errorf("the suite: %v", err)
	}
	report(t)
}

type junit struct {
	Suites []struct {
		Name     string `xml:"name,attr"`
		Tests    int    `xml:"tests,attr"`
		Failures int    `xml:"failures,attr"`
		Skipped  int    `xml:"skipped,attr"`
		Errors   int    `xml:"errors,attr"`
		Disabled int    `xml:"disabled,attr"` // by the version asked for
	} `xml:"testsuite"`
}

func report(t *testing.T) {
	raw, err := os.ReadFile(filepath.Join(*results, "junit.xml"))
	if err != nil {
		t.Fatal(err)
	}
	var j junit
	if err := xml.Unmarshal(raw, &j); err != nil {
		t.Fatal(err)
	}
	passed := 0
	for _, s := range j.Suites {
		t.Logf("%s: %d tests, %d failed, %d errors, %d skipped, %d disabled", s.Name, s.Tests, s.Failures, s.Errors, s.Skipped, s.Disabled)
		passed += s.Tests - s.Failures - s.Errors - s.Skipped - s.Disabled
		if s.Failures+s.Errors > 0 {
			t.Errorf("%s: %d failed", s.Name, s.Failures+s.Errors)
		}
	}
	if passed < leastPassed {
		t.Errorf("%d passed, there are %d", passed, leastPassed)
	}
}
