package models

import (
	"encoding/json"

	"github.com/arw-project/arw/host/api"
	"github.com/arw-project/arw/host/internal/journal"
	"github.com/arw-project/arw/host/internal/view"
)

// Bounds of the document "usage".
const (
	MaxUsageNames = 300 // models, packs, projects or actors that are summed by name; the rest as "other"
	MaxUsageDays  = 120
)

// foldUsage adds up what models were asked: in all, by day, and by whom.
func foldUsage(e *view.Edit, r *journal.Record) error {
	var told api.InferEvent
	if err := json.Unmarshal(r.Body, &told); err != nil {
		return err
	}
	by := api.UsageSum{Prompt: told.Prompt, Cached: told.Cached, Output: told.Output, MS: told.MS, Money: told.Money}
	switch r.Kind {
	case "infer.done":
		by.Calls = 1
	case "infer.failed":
		by.Failed = 1
	case "infer.refused":
		by.Refused = 1
	default:
		return nil
	}
	if err := sum(e, by, "total"); err != nil {
		return err
	}
	for _, of := range [][2]string{{"models", told.Model}, {"packs", r.Pack}, {"projects", r.Project}, {"actors", r.Actor}} {
		table, name := of[0], of[1]
		if name == "" {
			continue
		}
		if known, err := e.Get(nil, table, name); err != nil || !known && e.Len(table) >= MaxUsageNames {
			name = "other"
		}
		if err := sum(e, by, table, name); err != nil {
			return err
		}
	}
	if err := sum(e, by, "days", r.Time.UTC().Format("2006-01-02")); err != nil {
		return err
	}
	e.Keep(MaxUsageDays, "days")
	return nil
}

func sum(e *view.Edit, by api.UsageSum, path ...string) error {
	var n api.UsageSum
	if _, err := e.Get(&n, path...); err != nil {
		return err
	}
	e.Set(api.UsageSum{
		Calls: n.Calls + by.Calls, Failed: n.Failed + by.Failed, Refused: n.Refused + by.Refused, Prompt: n.Prompt + by.Prompt,
		Cached: n.Cached + by.Cached, Output: n.Output + by.Output, MS: n.MS + by.MS, Money: n.Money + by.Money,
	}, path...)
	return nil
}
