package serve

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"regexp"
	"strings"

	"github.com/arw-project/arw/abi"
)

// What follows changes models.toml of a folder, for the one who runs the host; a running host reads it when it has changed. Other
// lines and comments stay as they are, and a text that Open would refuse is never written.

var nameShape = regexp.MustCompile(`^[a-z0-9][a-z0-9._-]{0,62}$`)

// CheckName refuses what is no name of a model, with Invalid.
func CheckName(name string) error {
	if !nameShape.MatchString(name) {
		return abi.Errorf(abi.Invalid, "add model %.80q: a name has 1 to 63 of a-z, 0-9 and, not at the beginning, . _ -", name)
	}
	return nil
}

// Add puts a model into models.toml. Its Digest is computed when it is empty, and compared when it is not. Errors: Invalid,
// Conflict for a name that is taken, DigestMismatch, Unavailable.
func Add(ctx context.Context, dir string, m Model) (Model, error) {
	s, err := Open(dir, nil, nil)
	if err != nil {
		return m, err
	}
	if err := CheckName(m.Name); err != nil {
		return m, err
	}
	if _, taken := s.table().models[m.Name]; taken {
		return m, abi.Errorf(abi.Conflict, "add model %q: there is one of that name", m.Name)
	}
	if m.File, err = filepath.Abs(m.File); err != nil {
		return m, abi.Errorf(abi.Invalid, "add model %q: %w", m.Name, err)
	}
	got, err := sum(ctx, m.File)
	if err != nil {
		return m, err
	}
	if m.Digest != "" && m.Digest != got {
		return m, abi.Errorf(abi.DigestMismatch, "add model %q: the file %q is %s, not %s", m.Name, m.File, got, m.Digest)
	}
	m.Digest = got
	var b strings.Builder
	fmt.Fprintf(&b, "\n[model.%s]\n", text(m.Name))
	for _, kv := range [][2]string{{"file", m.File}, {"digest", m.Digest}, {"profile", m.Profile}, {"license", m.License}, {"source", m.Source}} {
		if kv[1] != "" {
			fmt.Fprintf(&b, "%s = %s\n", kv[0], text(kv[1]))
		}
	}
	return m, s.rewrite(dir, func(old []byte) []byte {
		return append(bytes.TrimLeft(append(bytes.TrimRight(old, "\n"), '\n'), "\n"), b.String()...)
	})
}

// text quotes a string: what JSON escapes, TOML escapes alike.
func text(s string) string {
	b, _ := json.Marshal(s) // a string always marshals
	return string(b)
}

// Remove takes a model out of models.toml; its file stays. Errors: NotFound, Unsupported for a table that was not written the
// way Add does, Unavailable.
func Remove(dir, name string) error {
	return change(dir, name, func(lines []string) []string { return nil })
}

// SetDefault makes a model the only default. Errors as for Remove.
func SetDefault(dir, name string) error {
	s, err := Open(dir, nil, nil)
	if err != nil {
		return err
	}
	if _, ok := s.table().models[name]; !ok {
		return abi.Errorf(abi.NotFound, "change model %.100q: models.toml has none of that name", name)
	}
	for _, m := range s.List() {
		if m.Default && m.Name != name {
			if err := change(dir, m.Name, without); err != nil {
				return err
			}
		}
	}
	return change(dir, name, func(lines []string) []string {
		lines = without(lines)
		return append([]string{lines[0], "default = true"}, lines[1:]...)
	})
}

var defaultLine = regexp.MustCompile(`^\s*default\s*=`)

func without(lines []string) (out []string) {
	for _, l := range lines {
		if !defaultLine.MatchString(l) {
			out = append(out, l)
		}
	}
	return out
}

// change edits the lines of one model's table, of which the first is its head.
func change(dir, name string, edit func([]string) []string) error {
	s, err := Open(dir, nil, nil)
	if err != nil {
		return err
	}
	if _, ok := s.table().models[name]; !ok {
		return abi.Errorf(abi.NotFound, "change model %.100q: models.toml has none of that name", name)
	}
	found := false
	err = s.rewrite(dir, func(old []byte) []byte {
		lines := strings.Split(string(old), "\n")
		for i, l := range lines {
			head, _, _ := strings.Cut(l, "#")
			if head = strings.TrimSpace(head); head != "[model."+name+"]" && head != "[model."+text(name)+"]" {
				continue
			}
			end := i + 1
			for end < len(lines) && !strings.HasPrefix(strings.TrimSpace(lines[end]), "[") {
				end++
			}
			found = true
			return []byte(strings.Join(append(lines[:i:i], append(edit(lines[i:end:end]), lines[end:]...)...), "\n"))
		}
		return old
	})
	if err == nil && !found {
		err = abi.Errorf(abi.Unsupported, "change model %q: models.toml has no line [model.%s]", name, name).WithHint("change it by hand")
	}
	return err
}

// rewrite replaces models.toml whole, or not at all.
func (s *Service) rewrite(dir string, edit func([]byte) []byte) error {
	name := filepath.Join(dir, "models.toml")
	old, err := read(name)
	if err != nil {
		return err
	}
	next := edit(old)
	if _, err := parse(name, next, s.table().profiles); err != nil {
		return err
	}
	f, err := os.CreateTemp(dir, ".models-*")
	if err != nil {
		return abi.Errorf(abi.Unavailable, "write %q: %w", name, err)
	}
	defer os.Remove(f.Name())
	_, err = f.Write(next)
	if err == nil {
		err = f.Sync()
	}
	if closed := f.Close(); err == nil {
		err = closed
	}
	if err == nil {
		err = os.Rename(f.Name(), name)
	}
	if err != nil {
		return abi.Errorf(abi.Unavailable, "write %q: %w", name, err)
	}
	return nil
}

// Verify reads the file of a model and compares it with its digest. Errors: NotFound, DigestMismatch, Corrupt, Unavailable.
func (s *Service) Verify(ctx context.Context, name string) error {
	m, ok := s.table().models[name]
	if !ok {
		return abi.Errorf(abi.NotFound, "verify model %.100q: models.toml has none of that name", name)
	}
	s.mu.Lock()
	delete(s.proven, m.File)
	s.mu.Unlock()
	_, err := s.prove(ctx, m)
	return err
}

// sum is the digest of a file.
func sum(ctx context.Context, name string) (string, error) {
	f, err := os.Open(name)
	if err != nil {
		return "", abi.Errorf(abi.Unavailable, "read model: %w", err)
	}
	defer f.Close()
	h := sha256.New()
	if _, err := io.Copy(h, cancellable{ctx, f}); err != nil {
		return "", abi.Errorf(abi.Unavailable, "read model %q: %w", name, err)
	}
	return "sha256:" + hex.EncodeToString(h.Sum(nil)), nil
}
