package host

import (
	"context"

	"github.com/arw-project/arw/abi"
	"github.com/arw-project/arw/host/internal/logic"
	"github.com/arw-project/arw/host/internal/policy"
	"github.com/arw-project/arw/manifests"
)

// openLogic opens the configuration; what becomes a default there is for the policies to decide.
func (h *Host) openLogic(ctx context.Context) (err error) {
	s := &h.parts
	s.Logic, err = logic.Open(ctx, h.db, s.Journal, s.View, h.mayPromote)
	return err
}

// mayPromote asks Cedar whether a unit may become the workspace's default.
func (h *Host) mayPromote(_ context.Context, u *manifests.LogicUnit, from logic.Scope, by string) error {
	got := h.parts.Policy.Decide(policy.Request{
		Action: policy.ActionPromote, Pack: policy.Pack{Name: "host/units"}, Actor: by,
		Unit: &policy.Unit{ID: u.ID, Version: u.Version, Digest: u.Digest(), Category: u.Category, Slots: u.Slots, From: from.String()},
	})
	if got.Allowed {
		return nil
	}
	return abi.Errorf(abi.Denied, "promote unit %q as %q: %s", u.ID, by, got.Reason).WithDetail(got)
}
