package host

import (
	"context"

	"github.com/arw-project/arw/abi"
	"github.com/arw-project/arw/host/api"
	"github.com/arw-project/arw/host/internal/lease"
	"github.com/arw-project/arw/host/internal/policy"
	"github.com/arw-project/arw/host/internal/project"
)

// openProjects reads which projects there are; what one lets another read is for the policies to decide.
func (h *Host) openProjects(ctx context.Context) (err error) {
	s := &h.parts
	s.Projects, err = project.Open(ctx, project.Parts{DB: h.db, Journal: s.Journal, Leases: s.Leases, Judge: h.mayExport, Open: h.cfg.OpenProjects})
	return err
}

// mayExport asks Cedar whether whoever made an export may let the pack read that.
func (h *Host) mayExport(e api.ProjectExport) ([]string, error) {
	got := h.parts.Policy.Decide(policy.Request{
		Action: policy.ActionGrant, Pack: policy.Pack{Name: e.Pack}, Capability: string(lease.Export), Scope: []string{e.From + ":" + e.What}, Actor: e.By,
		Project: e.To, Context: map[string]any{"reason": e.Reason},
	})
	if got.Allowed {
		return got.Policies, nil
	}
	return got.Policies, abi.Errorf(abi.Denied, "export %q of project %q to project %q as %q: %s", e.What, e.From, e.To, e.By, got.Reason).WithDetail(got)
}

// projects is the document of the projects and of what they let each other read.
func (h *Host) projects(context.Context) (any, error) {
	items, exports := map[string]any{}, map[string]any{}
	for _, p := range h.parts.Projects.List() {
		items[p.ID] = p
	}
	for _, e := range h.parts.Projects.Exports(lease.Live) {
		exports[e.ID] = e
	}
	return map[string]any{"items": items, "exports": exports}, nil
}
