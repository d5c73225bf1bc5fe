package host

import (
	"context"

	"github.com/arw-project/arw/host/internal/access"
)

// openAccess reads who holds which credential.
func (h *Host) openAccess(ctx context.Context) (err error) {
	s := &h.parts
	s.Access, err = access.Open(ctx, h.db, s.Journal, s.Operator)
	return err
}
