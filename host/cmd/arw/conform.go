package main

import (
	"fmt"
	"os"
	"strconv"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/arw-project/arw/abi"
	"github.com/arw-project/arw/host/internal/conform"
)

func (a *app) packConformCmd() *cobra.Command {
	var row bool
	cmd := &cobra.Command{
		Use:   "conform [DIR|MODULE]",
		Short: "Hold a conformance guest to the ABI: for who writes an SDK",
		Long: `Runs the conformance suite of abi/abitest against a module with the suite's tools (abi/abitest/README.md lists them): a
built pack folder or a module file. Every case that does not hold is told; the exit status is then 1.`,
		Args: cobra.MaximumNArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			name, runtime, module, err := conformanceGuest(args)
			if err != nil {
				return err
			}
			r, err := conform.Run(cmd.Context(), module, runtime)
			if err != nil {
				return err
			}
			err = a.print(r, func(u ui) error { return tellConformance(u, name, r, row) })
			if err == nil && len(r.Failures) > 0 {
				err = abi.Errorf(abi.ToolFailed, "conform %q: %d of %d cases do not hold", name, len(r.Failures), r.Passed+len(r.Failures)).
					WithHint("docs/spec/abi.md says what is expected; abi/abitest/testdata holds the cases")
			}
			return err
		},
	}
	cmd.Flags().BoolVar(&row, "row", false, "print one row of the table of sdk/README.md; failures go to standard error")
	return cmd
}

// conformanceGuest reads a module file, or the module of a pack folder whose description is the language's name.
func conformanceGuest(args []string) (name, runtime string, module []byte, err error) {
	if len(args) == 1 {
		if info, err := os.Stat(args[0]); err == nil && !info.IsDir() {
			module, err = os.ReadFile(args[0])
			return args[0], "arw", module, err
		}
	}
	f, err := folder(args)
	if err != nil {
		return "", "", nil, err
	}
	module, err = f.Module()
	return f.Manifest.Description, f.Manifest.Module.Runtime, module, err
}

func tellConformance(u ui, name string, r *conform.Report, row bool) error {
	for _, f := range r.Failures {
		if row {
			fmt.Fprintf(os.Stderr, "%s: %s: %s: %s\n", name, f.Topic, f.Case, f.Error)
		} else {
			u.say("%s %s: %s: %s", u.red("fails"), f.Topic, f.Case, f.Error)
		}
	}
	all := r.Passed + len(r.Failures)
	if len(r.Without) > 0 {
		name += ", without " + strings.Join(r.Without, ", ")
	}
	if row {
		u.say("| %s | %s | %s | %d of %d | %s | %.1f µs |", name, r.Runtime, r.ABI, r.Passed, all, grouped(r.Bytes), float64(r.Call)/float64(time.Microsecond))
		return nil
	}
	u.say("%s: %d of %d cases hold (ABI %s, runtime %s, %s bytes, %v a call)", u.bold(name), r.Passed, all, r.ABI, r.Runtime, grouped(r.Bytes), r.Call)
	return nil
}

// grouped writes a number with commas between thousands.
func grouped(n int) string {
	text := strconv.Itoa(n)
	for at := len(text) - 3; at > 0; at -= 3 {
		text = text[:at] + "," + text[at:]
	}
	return text
}
