package host

import (
	"context"
	"errors"
	"io/fs"
	"os"
	"path/filepath"

	"github.com/arw-project/arw/abi"
	"github.com/arw-project/arw/host/internal/capsule"
	"github.com/arw-project/arw/host/internal/egress"
)

// openCapsules reads which guard-rails hold; they must before anything can act.
func (h *Host) openCapsules(ctx context.Context) error {
	issuers, err := loadIssuers(h.cfg.StateDir)
	if err != nil {
		return err
	}
	s := &h.parts
	s.Capsules, err = capsule.Open(ctx, capsule.Parts{DB: h.db, Journal: s.Journal, Policy: s.Policy, Issuers: issuers, Log: h.cfg.Log})
	h.rails.Store(s.Capsules)
	return err
}

// loadIssuers reads whose capsules may be adopted; a missing file trusts nobody.
func loadIssuers(dir string) (*capsule.Issuers, error) {
	file := filepath.Join(dir, capsule.IssuersFile)
	info, err := os.Stat(file)
	if errors.Is(err, fs.ErrNotExist) {
		return &capsule.Issuers{}, nil
	}
	if err != nil {
		return nil, abi.Errorf(abi.Unavailable, "read issuers of capsules %q: %w", file, err)
	}
	if info.Mode().Perm()&0o022 != 0 {
		return nil, abi.Errorf(abi.Invalid, "read issuers of capsules %q: others may write it (mode %04o)", file, info.Mode().Perm()).WithHint("chmod go-w %s", file)
	}
	src, err := os.ReadFile(file)
	if err != nil {
		return nil, abi.Errorf(abi.Unavailable, "read issuers of capsules %q: %w", file, err)
	}
	return capsule.ParseIssuers(file, src)
}

// clientMay is what the host's own clients (of registries, indexes, collectors of traces) ask about every request: "METHOD scheme://host/path".
func (h *Host) clientMay(target string) error {
	rails := h.rails.Load()
	if rails == nil {
		return nil // the host is being opened: what it sends for itself waits for that
	}
	return rails.Egress(target)
}

// capsuleDenies is what the guard of the network asks about every destination, whoever sends.
func (h *Host) capsuleDenies(_ context.Context, _ egress.Caller, target string) error {
	return h.parts.Capsules.Egress(target)
}
