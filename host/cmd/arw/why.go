package main

import (
	"encoding/json"
	"fmt"
	"strings"

	"github.com/spf13/cobra"

	"github.com/arw-project/arw/abi"
	"github.com/arw-project/arw/host/api"
	"github.com/arw-project/arw/host/internal/pack"
)

// whyDoc is pack.Why as it comes over the wire.
type whyDoc struct {
	pack.Verdict
	Installed *pack.Now     `json:"installed"`
	Running   *pack.Verdict `json:"running"`
	Linked    []pack.Linked `json:"linked"`
	Index     *pack.Index   `json:"index"`
	Leases    []api.Lease   `json:"leases"`
	History   []pack.Change `json:"history"`
}

func (a *app) whyCmd() *cobra.Command {
	return &cobra.Command{
		Use:   "why PACK",
		Short: "Tell who signed a pack, what decided, what it may and may not do, and what became of it",
		Args:  cobra.ExactArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			c, err := a.client()
			if err != nil {
				return err
			}
			raw, err := c.Verdict(cmd.Context(), args[0])
			if err != nil {
				return err
			}
			var w whyDoc
			if err := json.Unmarshal(raw, &w); err != nil {
				return abi.Errorf(abi.Invalid, "read why: %w", err)
			}
			return a.print(raw, func(u ui) error { return tellWhy(u, &w) })
		},
	}
}

// tellWhy prints the verdict, then what stands now.
func tellWhy(u ui, w *whyDoc) error {
	if err := tellVerdict(u, &w.Verdict); err != nil {
		return err
	}
	if d := w.Diff; d != nil && len(d.Items) > 0 {
		u.say("\n%s", u.bold("Against the version before"))
		if err := tellDiff(u, d); err != nil {
			return err
		}
	}
	tellNow(u, w)
	if r := w.Running; r != nil {
		u.say("\n%s", u.bold("What runs was decided before"))
		if err := tellVerdict(u, r); err != nil {
			return err
		}
	}
	tellImports(u, w.Linked)
	if x := w.Index; x != nil {
		u.say("\n%s", u.bold("Index"))
		revoked := "no"
		if x.Revoked {
			revoked = u.red("yes: " + x.Reason)
		}
		facts := []string{"revoked", revoked, "says", x.Source}
		if state, ok := x.State.(map[string]any); ok { // it came from JSON
			for _, name := range sortedKeys(state) {
				facts = append(facts, name, fmt.Sprint(state[name]))
			}
		}
		u.facts(facts...)
	}
	u.say("\n%s", u.bold("Leases now"))
	if err := tellLeases(u, w.Leases); err != nil {
		return err
	}
	u.say("\n%s", u.bold("History"))
	return tellHistory(u, w.History)
}

func tellNow(u ui, w *whyDoc) {
	n := w.Installed
	u.say("\n%s", u.bold("Now"))
	if n == nil {
		u.say("  nothing of this name is installed")
		return
	}
	u.facts("version", n.Version, "digest", n.Digest, "state", string(n.State), "because", n.Reason)
	if s := n.Suspension; s != nil {
		u.facts("suspended by", fmt.Sprintf("%s, %s", s.By, s.Time.Local().Format("2006-01-02 15:04:05")))
	}
	if n.Draining > 0 {
		u.facts("finishing", fmt.Sprintf("%d versions before it end their calls", n.Draining))
	}
	if t := n.Trial; t != nil {
		u.facts("watched", fmt.Sprintf("until %s: %d calls, %d failed, in %d something was refused", t.Until.Local().Format("15:04:05"), t.Calls, t.Failures, t.Denials))
	}
	for _, i := range n.Held {
		u.facts("waits for you", i.Words+"  (arw pack accept "+w.Pack+" "+i.Subject()+")")
	}
}

// tellImports prints what the module imports, by what became of it.
func tellImports(u ui, linked []pack.Linked) {
	if len(linked) == 0 {
		return
	}
	by := map[string][]string{}
	var order []string
	for _, l := range linked {
		if by[l.Outcome] == nil {
			order = append(order, l.Outcome)
		}
		by[l.Outcome] = append(by[l.Outcome], l.Import)
	}
	u.say("\n%s", u.bold("Imports"))
	for _, outcome := range order {
		u.facts(outcome, strings.Join(by[outcome], " "))
	}
}
