package main

import (
	"bytes"
	"fmt"
	"os"

	"github.com/spf13/cobra"

	"github.com/arw-project/arw/abi"
	"github.com/arw-project/arw/host/api"
)

func (a *app) replayCmd() *cobra.Command {
	var with, save string
	cmd := &cobra.Command{
		Use:   "replay ACTION",
		Short: "Run a recorded call again, apart from everything, and compare",
		Long: `Run a call that was made with "arw call --record" again. Every answer of the world (keys, files, clocks, randomness,
other tools, streams) comes out of the record, so nothing the guest does reaches anything. The replay must give the same
reply, the same gas and the same host calls; where it leaves the record, the first difference is named.

With --with another version of the pack answers the same call, and what it says and does differently is shown. The version
is a reference, judged by the trust policy like one that is to be installed, or the word "installed".

A record holds all that the call saw, secrets included: only the operator can make, read and replay one.`,
		Example: `  arw call --record research.search '{"query":"lease"}'
  arw replay act_0190…
  arw replay act_0190… --with arw/research:0.2.0`,
		Args: cobra.ExactArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			c, err := a.client()
			if err != nil {
				return err
			}
			if save != "" {
				raw, err := c.Record(cmd.Context(), args[0])
				if err != nil {
					return err
				}
				if err := os.WriteFile(save, raw, 0o600); err != nil {
					return abi.Errorf(abi.Invalid, "save the record: %w", err)
				}
				a.ui(a.std.err).say("wrote %s (%d bytes); it holds all that the call saw", save, len(raw))
				return nil
			}
			r, err := c.Replay(cmd.Context(), args[0], with)
			if err != nil {
				return err
			}
			if err := a.print(r, func(u ui) error { return showReplay(u, r) }); err != nil {
				return err
			}
			if !r.Other && !r.Equal {
				return abi.Errorf(abi.Conflict, "replay action %q: it is not what was recorded", args[0]).
					WithHint("the engine or the machine differs from the one that recorded it; report it with the pack's module")
			}
			return nil
		},
	}
	f := cmd.Flags()
	f.StringVar(&with, "with", "", "replay with another version of the pack: a reference, or \"installed\"")
	f.StringVar(&save, "save", "", "write the record to this file instead of replaying it")
	return cmd
}

// showReplay says in words what was the same and what was not.
func showReplay(u ui, r api.Replay) error {
	if r.Equal {
		u.say("%s %s of %s@%s replays to the bit", u.green("equal:"), r.Tool, r.Pack, r.Recorded.Version)
	} else {
		u.say("%s %s of %s: recorded with %s, replayed with %s", u.yellow("different:"), r.Tool, r.Pack, r.Recorded.Version, r.Replayed.Version)
	}
	u.facts(
		"outcome", both(r.Recorded.Code, r.Replayed.Code), "gas", both(r.Recorded.Gas, r.Replayed.Gas),
		"host calls", both(r.Recorded.HostCalls, r.Replayed.HostCalls), "memory", both(r.Recorded.Memory, r.Replayed.Memory),
		"record", fmt.Sprintf("%s (%d bytes, %d answers)", shortDigest(r.Record.Digest), r.Record.Bytes, r.Record.Calls),
	)
	if d := r.Divergence; d != nil {
		what := "left the record at host call"
		if r.Other {
			what = "got stuck at host call"
		}
		u.say("%s %d\n  - %s\n  + %s", what, d.Call, d.Expected, d.Got)
	}
	if len(r.Changes) > 0 {
		u.say("host calls that only one of the two makes:")
		for _, c := range r.Changes {
			sign := u.red("-")
			if c.Added {
				sign = u.green("+")
			}
			u.say("  %s %s", sign, c.Text)
		}
	}
	if r.Recorded.Message != r.Replayed.Message {
		u.say("message:\n  - %s\n  + %s", r.Recorded.Message, r.Replayed.Message)
	}
	if !bytes.Equal(r.Recorded.Output, r.Replayed.Output) {
		u.say("reply:\n  - %s\n  + %s", r.Recorded.Output, r.Replayed.Output)
	}
	if !bytes.Equal(r.Recorded.Bytes, r.Replayed.Bytes) {
		u.say("reply: %d bytes, then %d bytes, which differ", len(r.Recorded.Bytes), len(r.Replayed.Bytes))
	}
	return nil
}

// both shows two values, once where they are the same.
func both[T comparable](was, is T) string {
	if was == is {
		return fmt.Sprint(was)
	}
	return fmt.Sprintf("%v, then %v", was, is)
}
