package main

import (
	"github.com/spf13/cobra"
)

func (a *app) safeModeCmd() *cobra.Command {
	cmd := &cobra.Command{
		Use:   "safe-mode",
		Short: "Say whether the host runs packs at all, and let it run them again",
		Long: `A host that ended too often without being told to ([safe_mode] of arw.toml), and one started with --safe, loads and runs no
pack. Everything can be looked at; the operator can suspend and remove packs, take back leases and change policies. It stays so,
over restarts too, until you say otherwise.`,
		Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			c, err := a.client()
			if err != nil {
				return err
			}
			h, err := c.Health(cmd.Context())
			if err != nil {
				return err
			}
			return a.print(h, func(u ui) error {
				if h.Status != "safe" {
					u.say("the host is not in safe mode: packs run")
					return nil
				}
				u.say("the host is in safe mode: %s", h.Reason)
				u.say("next: remove or suspend what does it, then arw safe-mode exit")
				return nil
			})
		},
	}
	cmd.AddCommand(&cobra.Command{
		Use:   "exit",
		Short: "Let packs run again; what waits in the queue begins",
		Args:  cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			c, err := a.client()
			if err != nil {
				return err
			}
			h, err := c.LeaveSafeMode(cmd.Context())
			if err != nil {
				return err
			}
			return a.print(h, func(u ui) error { u.say("packs run again"); return nil })
		},
	})
	return cmd
}
