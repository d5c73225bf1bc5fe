package host

import (
	"context"
	"log/slog"
	"path/filepath"

	"github.com/arw-project/arw/host/internal/redact"
	"github.com/arw-project/arw/host/internal/vault"
)

// hush makes the log one that no secret passes: what looks like one from the beginning, what the vault holds once it is
// open.
func (h *Host) hush() (err error) {
	if h.parts.Redact, err = redact.New(redact.Shipped(), true); err != nil {
		return err
	}
	h.cfg.Log = slog.New(redact.Handler(h.parts.Redact, h.cfg.Log.Handler()))
	return nil
}

func (h *Host) openVault(ctx context.Context) (err error) {
	s := &h.parts
	if s.Vault, err = vault.Open(ctx, h.db, s.Journal, filepath.Join(h.cfg.StateDir, "vault.key")); err != nil {
		return err
	}
	s.Vault.Watch(s.Redact.SetValues)
	return nil
}
