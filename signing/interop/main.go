// Command interop runs a whole private Sigstore (Fulcio, Rekor v2, a timestamp authority, and stubs for the identity
// provider and the certificate log), signs with arw and with cosign, has each verify what the other made, and writes what
// it saw as docs/interop.md. It expects to be alone in a network namespace; run.sh puts it there.
//
//	interop -bin DIR -arw FILE -work DIR [-report FILE] [-keep DIR]
//	interop browse URL        the browser of a login: follows the address
package main

import (
	"context"
	"flag"
	"fmt"
	"io"
	"net/http"
	"os"
	"os/signal"
	"time"
)

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt)
	defer stop()
	var err error
	if len(os.Args) == 3 && os.Args[1] == "browse" {
		err = browse(ctx, os.Args[2])
	} else {
		err = interop(ctx)
	}
	if err != nil {
		fmt.Fprintln(os.Stderr, "interop:", err)
		os.Exit(1)
	}
}

func interop(ctx context.Context) error {
	var w world
	var report, keep, conformance string
	flag.StringVar(&w.bin, "bin", "", "folder with the built parts")
	flag.StringVar(&w.arw, "arw", "", "the arw to test")
	flag.StringVar(&w.dir, "work", "", "folder to work in; must be empty")
	flag.StringVar(&w.pack, "pack", "", "folder of a built pack")
	flag.StringVar(&report, "report", "", "file to write the tables to")
	flag.StringVar(&conformance, "conformance", "", "output of the OCI distribution suite, for the report")
	flag.StringVar(&keep, "keep", "", "folder to copy the signatures to, as test data")
	flag.Parse()
	ctx, cancel := context.WithTimeout(ctx, 15*time.Minute)
	defer cancel()
	if err := loopbackUp(); err != nil {
		return fmt.Errorf("bring loopback up: %w", err)
	}
	if err := w.ceremony(); err != nil {
		return fmt.Errorf("key ceremony: %w", err)
	}
	s, err := w.start(ctx)
	if err != nil {
		return err
	}
	defer s.stop()
	results, err := w.run(ctx)
	if err != nil {
		return err
	}
	if keep != "" {
		if err := w.keep(keep); err != nil {
			return err
		}
	}
	return w.report(report, conformance, results)
}

// browse is a person at a browser who is logged in already and says yes to everything.
func browse(ctx context.Context, at string) error {
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, at, nil)
	if err != nil {
		return err
	}
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		return err
	}
	defer resp.Body.Close()
	_, err = io.Copy(io.Discard, resp.Body)
	return err
}
