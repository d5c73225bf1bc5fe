package host

import (
	"context"
	"errors"
	"io/fs"
	"os"
	"path/filepath"

	"github.com/arw-project/arw/abi"
	"github.com/arw-project/arw/host/internal/policy"
	"github.com/arw-project/arw/host/internal/prompt"
)

// loadAuthority reads what decides: the policies and the declared grants. Any fault stops the start.
func (h *Host) loadAuthority() error {
	set, err := loadPolicy(h.cfg.PolicyDir)
	if err != nil {
		return err
	}
	if h.grants, err = loadGrants(h.cfg.StateDir); err != nil {
		return err
	}
	h.parts.Policy = policy.NewLive(set)
	return nil
}

// loadGrants reads the declared grants; a missing file declares none.
func loadGrants(dir string) (*prompt.Grants, error) {
	file := filepath.Join(dir, prompt.GrantsFile)
	info, err := os.Stat(file)
	if errors.Is(err, fs.ErrNotExist) {
		return &prompt.Grants{}, nil
	}
	if err != nil {
		return nil, abi.Errorf(abi.Unavailable, "read grants %q: %w", file, err)
	}
	if info.Mode().Perm()&0o022 != 0 {
		return nil, abi.Errorf(abi.Invalid, "read grants %q: others may write it (mode %04o)", file, info.Mode().Perm()).WithHint("chmod go-w %s", file)
	}
	src, err := os.ReadFile(file)
	if err != nil {
		return nil, abi.Errorf(abi.Unavailable, "read grants %q: %w", file, err)
	}
	return prompt.ParseGrants(file, src)
}

// openPrompts makes the book of questions that only a person answers.
func (h *Host) openPrompts(ctx context.Context) (err error) {
	s := &h.parts
	s.Prompts, err = prompt.Open(ctx, h.db, s.Journal, s.View)
	return err
}
