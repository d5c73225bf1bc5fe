package main

import (
	"encoding/json"
	"fmt"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/arw-project/arw/abi"
	"github.com/arw-project/arw/host/api"
)

func (a *app) quotaCmd() *cobra.Command {
	cmd := &cobra.Command{
		Use:   "quota",
		Short: "See what is used of quotas, and let them begin anew",
		Long: `A quota says how much may be used in a time: calls, bytes, tokens, gas or money, per pack, person, project, publisher or host. Quotas
stand in quotas.toml of the state directory; docs/spec/quotas.md has its form.`,
	}
	cmd.AddCommand(a.quotaListCmd(), a.quotaResetCmd())
	return cmd
}

func (a *app) quotaListCmd() *cobra.Command {
	return &cobra.Command{
		Use:   "list",
		Short: "Accounts of quotas whose windows run",
		Args:  cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			c, err := a.client()
			if err != nil {
				return err
			}
			raw, err := c.Policy(cmd.Context(), "quotas", nil)
			if err != nil {
				return err
			}
			return a.printQuotas(raw, "nothing is counted yet: no quota has a window that runs")
		},
	}
}

func (a *app) quotaResetCmd() *cobra.Command {
	return &cobra.Command{
		Use:     "reset QUOTA [SUBJECT]",
		Short:   "Let the window of a quota begin anew, of every account or of one",
		Example: "  arw quota reset daily-tokens\n  arw quota reset daily-tokens person:ann",
		Args:    cobra.RangeArgs(1, 2),
		RunE: func(cmd *cobra.Command, args []string) error {
			c, err := a.client()
			if err != nil {
				return err
			}
			body := api.ResetQuota{ID: args[0]}
			if len(args) > 1 {
				body.Subject = args[1]
			}
			raw, err := c.Policy(cmd.Context(), "quotas/reset", body)
			if err != nil {
				return err
			}
			return a.printQuotas(raw, "nothing was used of it")
		},
	}
}

func (a *app) printQuotas(raw json.RawMessage, none string) error {
	var list api.List[api.Quota]
	if err := json.Unmarshal(raw, &list); err != nil {
		return abi.Errorf(abi.Invalid, "read the answer: %w", err)
	}
	return a.print(raw, func(u ui) error {
		if len(list.Items) == 0 {
			u.say("%s", none)
			return nil
		}
		var rows [][]string
		for _, q := range list.Items {
			state := ""
			if q.Exhausted {
				state = u.red("exhausted")
			} else if q.Nearing {
				state = "nearing"
			}
			rows = append(rows, []string{q.ID, q.Subject, q.On, usedOf(q), state, q.Resets.Local().Format(time.DateTime)})
		}
		return u.table([]string{"QUOTA", "ACCOUNT", "ON", "USED", "STATE", "BEGINS ANEW"}, rows)
	})
}

// usedOf says the bounded sides of an account.
func usedOf(q api.Quota) string {
	var parts []string
	for _, side := range []struct {
		name        string
		used, limit int64
	}{
		{"calls", q.Used.Calls, q.Limit.Calls}, {"bytes", q.Used.Bytes, q.Limit.Bytes}, {"tokens", q.Used.Tokens, q.Limit.Tokens}, {"gas", q.Used.Gas, q.Limit.Gas},
	} {
		if side.limit > 0 {
			parts = append(parts, fmt.Sprintf("%d of %d %s", side.used, side.limit, side.name))
		}
	}
	if q.Limit.Money > 0 {
		parts = append(parts, fmt.Sprintf("%.2f of %.2f USD", float64(q.Used.Money)/1e6, float64(q.Limit.Money)/1e6))
	}
	return strings.Join(parts, ", ")
}
