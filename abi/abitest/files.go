package abitest

import (
	"context"
	"slices"
	"strings"

	"github.com/arw-project/arw/abi"
)

// FS is the world's folder.
type FS struct{ w *World }

// FS gives the part of that name.
func (w *World) FS() FS { return FS{w} }

// fileTime is when every file was last written.
const fileTime = 1_600_000_000_000

// Stat describes a file or folder.
func (f FS) Stat(_ context.Context, _, path string) (abi.FSEntry, error) {
	f.w.mu.Lock()
	defer f.w.mu.Unlock()
	return f.w.entry(path)
}

func (w *World) entry(path string) (abi.FSEntry, error) {
	if data, ok := w.files[path]; ok {
		return abi.FSEntry{Path: path, Size: int64(len(data)), Mode: "file", MTimeMS: fileTime}, nil
	}
	for name := range w.files {
		if strings.HasPrefix(name, path+"/") {
			return abi.FSEntry{Path: path, Mode: "dir", MTimeMS: fileTime}, nil
		}
	}
	return abi.FSEntry{}, abi.Errorf(abi.NotFound, "there is no file %q", path)
}

// List gives entries in byte order.
func (f FS) List(_ context.Context, _ string, req abi.FSList) ([]abi.FSEntry, bool, error) {
	f.w.mu.Lock()
	defer f.w.mu.Unlock()
	if _, err := f.w.entry(req.Path); err != nil {
		return nil, false, err
	}
	names := map[string]bool{}
	for name := range f.w.files {
		rest, below := strings.CutPrefix(name, req.Path+"/")
		if !below {
			continue
		}
		parts := strings.Split(rest, "/")
		for i := range parts {
			if i == 0 || req.Recursive {
				names[req.Path+"/"+strings.Join(parts[:i+1], "/")] = true
			}
		}
	}
	var found []abi.FSEntry
	for name := range names {
		if e, err := f.w.entry(name); err == nil && name > req.After {
			found = append(found, e)
		}
	}
	slices.SortFunc(found, func(a, b abi.FSEntry) int { return strings.Compare(a.Path, b.Path) })
	if req.Limit > 0 && len(found) > req.Limit {
		return found[:req.Limit], true, nil
	}
	return found, false, nil
}

// Read reads at an offset.
func (f FS) Read(_ context.Context, _, path string, off int64, buf []byte) (int, error) {
	f.w.mu.Lock()
	defer f.w.mu.Unlock()
	data, ok := f.w.files[path]
	if !ok {
		return 0, abi.Errorf(abi.NotFound, "there is no file %q", path)
	}
	if off >= int64(len(data)) {
		return 0, nil
	}
	return copy(buf, data[off:]), nil
}

// Write replaces a file.
func (f FS) Write(_ context.Context, _, path string, data []byte) error {
	f.w.mu.Lock()
	defer f.w.mu.Unlock()
	f.w.files[path] = slices.Clone(data)
	return nil
}

// Remove removes a file.
func (f FS) Remove(_ context.Context, _, path string) error {
	f.w.mu.Lock()
	defer f.w.mu.Unlock()
	if _, ok := f.w.files[path]; !ok {
		return abi.Errorf(abi.NotFound, "there is no file %q", path)
	}
	delete(f.w.files, path)
	return nil
}
