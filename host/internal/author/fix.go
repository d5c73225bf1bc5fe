package author

import (
	"bytes"
	"os"
	"path/filepath"

	"github.com/arw-project/arw/abi"
	"github.com/arw-project/arw/manifests"
)

// cutTable takes a table out of TOML text: from the line that is its header, with the comment lines right above it, to
// the line before the next header. Text with strings over several lines is left alone: a header may stand inside one.
func cutTable(text []byte, header string) ([]byte, bool) {
	if bytes.Contains(text, []byte(`"""`)) || bytes.Contains(text, []byte(`'''`)) {
		return nil, false
	}
	lines := bytes.SplitAfter(text, []byte("\n"))
	start := -1
	for i, l := range lines {
		if string(bytes.TrimSpace(l)) == header {
			if start >= 0 {
				return nil, false
			}
			start = i
		}
	}
	if start < 0 {
		return nil, false
	}
	end := start + 1
	for end < len(lines) && !bytes.HasPrefix(bytes.TrimSpace(lines[end]), []byte("[")) {
		end++
	}
	for end > start+1 && (len(bytes.TrimSpace(lines[end-1])) == 0 || bytes.HasPrefix(bytes.TrimSpace(lines[end-1]), []byte("#"))) {
		end-- // what stands right above the next header belongs to that
	}
	for start > 0 && bytes.HasPrefix(bytes.TrimSpace(lines[start-1]), []byte("#")) {
		start--
	}
	if end < len(lines) && len(bytes.TrimSpace(lines[end])) == 0 {
		end++
	}
	head, rest := bytes.Join(lines[:start], nil), bytes.Join(lines[end:], nil)
	if len(bytes.TrimSpace(rest)) == 0 {
		return append(bytes.TrimRight(head, " \t\r\n"), '\n'), true
	}
	return append(head, rest...), true
}

// rewrite puts a new manifest in place of the old one, when it is one and asks for exactly so many capabilities less.
func (f *Folder) rewrite(text []byte, less int) error {
	path := filepath.Join(f.Dir, ManifestName)
	m, err := manifests.ParsePack(path, text)
	if err != nil || len(m.Capabilities) != len(f.Manifest.Capabilities)-less {
		return abi.Errorf(abi.Conflict, "fix %q: what would be left does not read as the same manifest", path).WithHint("take the named lines out by hand")
	}
	tmp := path + ".new"
	defer os.Remove(tmp)
	if err := os.WriteFile(tmp, text, 0o644); err != nil {
		return abi.Errorf(abi.StorageFull, "fix %q: %w", path, err)
	}
	if err := os.Rename(tmp, path); err != nil {
		return abi.Errorf(abi.Unavailable, "fix %q: %w", path, err)
	}
	f.TOML, f.Manifest = text, m
	return nil
}
