package main

import (
	"encoding/json"
	"io"
	"os"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/arw-project/arw/abi"
	"github.com/arw-project/arw/host/api"
)

func (a *app) callCmd() *cobra.Command {
	var in api.SubmitAction
	var detach bool
	var deadline time.Duration
	var files streamFlags
	cmd := &cobra.Command{
		Use:   "call TOOL [JSON | @FILE | -]",
		Short: "Call a tool and print what it answers",
		Long: `Call a tool of an installed pack. The input is one JSON value: on the command line, from a file (@FILE) or from
standard input (-); without one it is {}. The answer goes to standard output, so it can be piped on.

A tool that streams takes a file of any size with --input-file and gives one with --output-file; JSON parts that it gives on
the way go to standard error. Interrupting the command ends the call.

A tool is named by its id, or in full where two packs could be meant: NAMESPACE/NAME:TOOL.`,
		Example: `  arw call research.ingest '{"dir":"/home/me/notes"}'
  arw call research.search '{"query":"lease expiry","k":3}'
  arw call arw/collaboration:collab.note.list '{"project":"demo"}'`,
		Args: cobra.RangeArgs(1, 2),
		RunE: func(cmd *cobra.Command, args []string) error {
			in.Kind = args[0]
			var err error
			if in.Input, err = a.input(args[1:]); err != nil {
				return err
			}
			in.DeadlineMS = deadline.Milliseconds()
			c, err := a.client()
			if err != nil {
				return err
			}
			var act api.Action
			if in.Streams = files.named(); len(in.Streams) > 0 {
				if detach || files.in == "-" && len(args) > 1 && args[1] == "-" {
					return &usageError{"streams need this command to stay, and standard input is one", "leave --detach out, or name files"}
				}
				act, err = a.callStreamed(cmd.Context(), c, in, files)
			} else {
				act, err = c.Submit(cmd.Context(), in, !detach)
			}
			if err != nil {
				return err
			}
			if r := act.Record; r != nil && act.Final() {
				a.saidRecord(act)
			}
			if files.out == "-" && !a.json && act.Error == nil {
				return nil // standard output is the stream
			}
			return a.showAction(act)
		},
	}
	f := cmd.Flags()
	f.StringVar(&in.Project, "project", "", "project the call belongs to: it sees and keeps what is that project's alone")
	f.StringVar(&in.Session, "session", "", "session whose state the call continues, for tools with isolation = \"session\"")
	f.StringVar(&in.IdemKey, "key", "", "idempotency key: the same key and input give the same action back")
	f.DurationVar(&deadline, "deadline", 0, "give up after this long (default the tool's own limit)")
	f.StringVar(&files.in, "input-file", "", "stream this file in while the call runs (- is standard input)")
	f.StringVar(&files.out, "output-file", "", "write what the call streams out to this file (- is standard output, in the reply's stead)")
	f.BoolVar(&in.Record, "record", false, "keep all that the call sees, for \"arw replay\"; needs the operator's token")
	f.StringVar(&in.Priority, "priority", "", `"high", "normal" or "low": who goes first among what waits (default normal)`)
	f.BoolVar(&detach, "detach", false, "print the action and do not wait for its end")
	return cmd
}

// saidRecord tells where the record is, or why there is none, beside the answer.
func (a *app) saidRecord(act api.Action) {
	if a.json {
		return // the document has it
	}
	u := a.ui(a.std.err)
	switch r := act.Record; {
	case r.Error != "":
		u.say("%s %s", u.yellow("not recorded:"), r.Error)
	case r.Digest != "":
		u.say("recorded: %d bytes; replay it with: arw replay %s", r.Bytes, act.ID)
	}
}

// input reads the one JSON value of a call.
func (a *app) input(args []string) (json.RawMessage, error) {
	if len(args) == 0 {
		return json.RawMessage("{}"), nil
	}
	raw := []byte(args[0])
	var err error
	switch {
	case args[0] == "-":
		raw, err = io.ReadAll(a.std.in)
	case strings.HasPrefix(args[0], "@"):
		raw, err = os.ReadFile(args[0][1:])
	}
	if err != nil {
		return nil, abi.Errorf(abi.Invalid, "read input %q: %w", args[0], err)
	}
	if !json.Valid(raw) {
		return nil, abi.Errorf(abi.Invalid, "read input %q: it is not one JSON value", clip(args[0])).
			WithHint(`quote it for the shell: '{"query":"..."}'`)
	}
	return raw, nil
}

func clip(s string) string {
	if len(s) > 60 {
		return s[:57] + "..."
	}
	return s
}

// showAction prints an action's answer, or returns its failure.
func (a *app) showAction(act api.Action) error {
	if act.Error != nil && !a.json {
		return act.Error.Err()
	}
	err := a.print(act, func(u ui) error {
		switch {
		case !act.Final():
			u.say("%s %s (corr_id %s)", act.ID, act.State, act.Corr)
			return nil
		case act.Bytes != nil:
			_, err := u.w.Write(act.Bytes)
			return err
		}
		return indented(u, act.Output)
	})
	if err == nil && act.Error != nil {
		e := act.Error.Err()
		e.Detail = nil // it was printed
		return e
	}
	return err
}

func indented(u ui, raw json.RawMessage) error {
	var v any
	dec := json.NewDecoder(strings.NewReader(string(raw)))
	dec.UseNumber()
	if err := dec.Decode(&v); err != nil {
		return abi.Errorf(abi.Invalid, "print the answer: %w", err)
	}
	enc := json.NewEncoder(u.w)
	enc.SetIndent("", "  ")
	enc.SetEscapeHTML(false)
	return enc.Encode(v)
}
