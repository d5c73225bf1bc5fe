package author

import (
	"crypto/sha256"
	"errors"
	"io/fs"
	"os"
	"path"
	"path/filepath"
	"slices"
	"strings"
	"time"
)

// Watcher tells what changed in a pack's folder since it looked last. It looks when it is asked: sizes and times first,
// contents of what differs there, so that a file that was written again as it was is no change. That works the same on
// every file system and for every way an editor saves; a folder of a hundred files costs a fraction of a millisecond.
// It is not safe for concurrent use.
type Watcher struct {
	dir  string
	seen map[string]stamp
}

type stamp struct {
	size int64
	mod  time.Time
	sum  [sha256.Size]byte
}

// NewWatcher looks for the first time; everything there is counts as seen. f says what build writes, as far as known.
func NewWatcher(dir string, f *Folder) (*Watcher, error) {
	w := &Watcher{dir: dir, seen: map[string]stamp{}}
	_, err := w.Changed(f)
	return w, err
}

// Changed lists the files that were written, made or removed since it was asked last: those that a build reads, the cases
// in tests/, and of a pack that arw does not build the module itself. f may be nil, when the manifest does not read.
func (w *Watcher) Changed(f *Folder) ([]string, error) {
	now := map[string]stamp{}
	var changed []string
	err := filepath.WalkDir(w.dir, func(p string, d fs.DirEntry, err error) error {
		if errors.Is(err, fs.ErrNotExist) {
			return nil // removed while we looked; the next look tells
		}
		if err != nil {
			return err
		}
		name, err := filepath.Rel(w.dir, p)
		if err != nil {
			return err
		}
		name = filepath.ToSlash(name)
		if d.IsDir() {
			if name != "." && name != TestsDir && foreign(name) {
				return fs.SkipDir
			}
			return nil
		}
		if !d.Type().IsRegular() || !watched(f, name) {
			return nil
		}
		s, differs, err := w.look(p, name, d)
		if errors.Is(err, fs.ErrNotExist) {
			return nil
		}
		if err != nil {
			return err
		}
		now[name] = s
		if differs {
			changed = append(changed, name)
		}
		return nil
	})
	if err != nil {
		return nil, err
	}
	for name := range w.seen {
		if _, ok := now[name]; !ok {
			changed = append(changed, name)
		}
	}
	w.seen = now
	slices.Sort(changed)
	return changed, nil
}

func (w *Watcher) look(p, name string, d fs.DirEntry) (stamp, bool, error) {
	info, err := d.Info()
	if err != nil {
		return stamp{}, false, err
	}
	before, known := w.seen[name]
	if known && before.size == info.Size() && before.mod.Equal(info.ModTime()) {
		return before, false, nil
	}
	data, err := os.ReadFile(p)
	if err != nil {
		return stamp{}, false, err
	}
	s := stamp{info.Size(), info.ModTime(), sha256.Sum256(data)}
	return s, !known || s.sum != before.sum, nil
}

// watched reports whether a change of a file means something. Temporary files of editors do not.
func watched(f *Folder, name string) bool {
	base := path.Base(name)
	if strings.HasSuffix(base, "~") || strings.HasPrefix(base, ".#") || strings.HasSuffix(base, ".swp") || strings.HasSuffix(base, ".building") ||
		strings.HasSuffix(base, ".new") || strings.HasSuffix(base, "_test.go") {
		return false
	}
	if f == nil {
		return !strings.HasSuffix(base, ".wasm") && !strings.HasSuffix(base, ".json")
	}
	l, known := f.language()
	built := known && l.build != nil
	if name == path.Clean(f.Manifest.Module.File) {
		return !built
	}
	if f.made(name) {
		return false
	}
	return !built || f.travels(name) || slices.Contains(l.endings, path.Ext(name)) || strings.HasPrefix(name, TestsDir+"/")
}
