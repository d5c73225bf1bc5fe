// Command arw is the host daemon and every tool around it: it runs packs, and makes, signs, publishes, installs and
// explains them. This package reads flags, environment and configuration and prints answers; what it does it has others
// do: a running host through the HTTP client, the rest through the packages of the house.
package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"os/signal"
	"strings"
	"syscall"

	"github.com/arw-project/arw/abi"
	"github.com/arw-project/arw/host/api"
)

// version is set by the linker (-X main.version=…).
var version = "0.1.0-dev"

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	code := run(ctx, os.Args[1:], streams{in: os.Stdin, out: os.Stdout, err: os.Stderr, env: os.Getenv})
	stop()
	os.Exit(code)
}

// streams is the outside world of a run, so that a test can be it.
type streams struct {
	in       io.Reader
	out, err io.Writer
	env      func(string) string
}

// Exit codes: 0 done, 1 it failed, 2 the command line is wrong, 3 refused (policy, trust or a lease said no).
const (
	exitFailed  = 1
	exitUsage   = 2
	exitRefused = 3
)

func run(ctx context.Context, args []string, std streams) int {
	a := &app{std: std}
	root := a.root()
	root.SetArgs(args)
	root.SetIn(std.in)
	root.SetOut(std.out)
	root.SetErr(std.err)
	err := root.ExecuteContext(ctx)
	if err == nil {
		return 0
	}
	if errors.Is(err, context.Canceled) && ctx.Err() != nil {
		return exitFailed
	}
	a.complain(err)
	return exitCode(err)
}

func exitCode(err error) int {
	if _, usage := errors.AsType[*usageError](err); usage {
		return exitUsage
	}
	switch abi.CodeOf(err) {
	case abi.Denied, abi.Unauthenticated, abi.LeaseExpired, abi.LeaseRevoked, abi.BudgetExhausted, abi.Untrusted, abi.Unsigned:
		return exitRefused
	}
	return exitFailed
}

// complain prints an error as a person's next step, or as a problem document.
func (a *app) complain(err error) {
	if u, usage := errors.AsType[*usageError](err); usage {
		fmt.Fprintf(a.std.err, "arw: %s\n  %s\n", u.msg, u.next)
		return
	}
	if a.json {
		p := api.ProblemOf(err, "")
		p.Detail = err.Error() // this machine's own person may see what a remote client may not
		_ = json.NewEncoder(a.std.err).Encode(p)
		return
	}
	ui := a.ui(a.std.err)
	fmt.Fprintf(a.std.err, "%s %s\n", ui.red("arw:"), strings.ReplaceAll(err.Error(), "\n", "\n     "))
	if code := abi.CodeOf(err); code != abi.Internal {
		fmt.Fprintf(a.std.err, "  %s %s\n", ui.dim("code:"), code)
	}
	if hint := abi.HintOf(err); hint != "" && abi.CodeOf(err) != abi.Internal {
		fmt.Fprintf(a.std.err, "  %s %s\n", ui.dim("next:"), strings.ReplaceAll(hint, "\n", "\n        "))
	}
}

// usageError is a command line that cannot be understood.
type usageError struct{ msg, next string }

func (u *usageError) Error() string { return u.msg }
