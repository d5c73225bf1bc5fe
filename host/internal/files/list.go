package files

import (
	"context"
	"errors"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"unicode/utf8"

	"github.com/arw-project/arw/abi"
)

// Bounds of a list.
const (
	maxList  = 1000 // entries of one list
	maxDepth = 128  // folders below each other that a recursive list enters
)

// List lists what is in the folder req.Path, or with req.Recursive everything below it, in byte order of the absolute
// paths and behind req.After: at most req.Limit entries, where 0 means 1,000, which is the most. more says that there are
// others. Symbolic links are listed as such and never entered; folders that may not be read are listed but not entered;
// names that are not UTF-8 are left out, since no path could name them, and so are files in the making. Memory is bounded by the limit, whatever the
// size of the folder. Errors: Denied outside of the scope, NotFound, Unsupported for what is no folder, Unavailable.
func (*Folders) List(ctx context.Context, scope string, req abi.FSList) (entries []abi.FSEntry, more bool, err error) {
	p, err := enter(ctx, "list", scope, req.Path)
	if err != nil {
		return nil, false, err
	}
	defer p.root.Close()
	st, err := p.root.Stat(p.rel)
	if err != nil {
		return nil, false, p.explain("list", err)
	}
	if !st.IsDir() {
		return nil, false, abi.Errorf(abi.Unsupported, "list %q: it is not a folder", req.Path)
	}
	w := walk{ctx: ctx, place: p, after: req.After, recursive: req.Recursive, limit: req.Limit}
	if w.limit <= 0 || w.limit > maxList {
		w.limit = maxList
	}
	if err := w.folder(p.rel, filepath.Join(p.folder, p.rel), 0); err != nil {
		return nil, false, p.explain("list", err)
	}
	return w.found, w.more, nil
}

type walk struct {
	ctx       context.Context
	place     *place
	after     string
	recursive bool
	limit     int
	found     []abi.FSEntry
	more      bool
}

// folder lists one folder. To keep byte order, what lies in the folder "a" has its place among the names as "a/": behind
// "a" and also behind "a-b".
func (w *walk) folder(rel, abs string, depth int) error {
	prefix := strings.TrimSuffix(abs, "/") + "/"
	for last, rest := "", true; rest; {
		var keys []string
		var err error
		if keys, rest, err = w.keys(rel, prefix, last); err != nil {
			return err
		}
		for _, key := range keys {
			last = key
			if name, below := strings.CutSuffix(key, "/"); below {
				err = w.enter(filepath.Join(rel, name), prefix+name, depth+1)
			} else {
				err = w.add(filepath.Join(rel, name), prefix+name)
			}
			if err != nil || w.more {
				return err
			}
		}
	}
	return nil
}

// keys gives the least names of a folder behind last that can matter, as many as could still be asked for; a subfolder
// that is to be entered has a second name with a slash. rest says that there are others.
func (w *walk) keys(rel, prefix, last string) (keys []string, rest bool, err error) {
	dir, err := w.place.root.Open(rel)
	if err != nil {
		return nil, false, err
	}
	defer dir.Close()
	enough := w.limit - len(w.found) + 1
	trim := func() {
		slices.Sort(keys)
		if len(keys) > enough {
			keys, rest = keys[:enough], true
		}
	}
	for {
		if err := w.ctx.Err(); err != nil {
			return nil, false, err
		}
		some, err := dir.ReadDir(512)
		for _, e := range some {
			name := e.Name()
			if !utf8.ValidString(name) || strings.HasPrefix(name, draftPrefix) && strings.HasSuffix(name, draftSuffix) {
				continue
			}
			if name > last && prefix+name > w.after {
				keys = append(keys, name)
			}
			if below := name + "/"; w.recursive && e.IsDir() && below > last && !w.passed(prefix+below) {
				keys = append(keys, below)
			}
		}
		if err == io.EOF {
			trim()
			return keys, rest, nil
		}
		if err != nil {
			return nil, false, err
		}
		if len(keys) > 2*enough+1024 {
			trim()
		}
	}
}

// passed reports whether every path that begins with prefix lies before w.after.
func (w *walk) passed(prefix string) bool {
	return w.after > prefix && !strings.HasPrefix(w.after, prefix)
}

// enter lists a subfolder, unless it may not be read, is gone, was replaced by something else or lies too deep.
func (w *walk) enter(rel, abs string, depth int) error {
	if depth > maxDepth {
		return nil
	}
	if st, err := w.place.root.Lstat(rel); err != nil || !st.IsDir() {
		return nil
	}
	err := w.folder(rel, abs, depth)
	if errors.Is(err, fs.ErrPermission) || errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	return err
}

func (w *walk) add(rel, abs string) error {
	if len(w.found) == w.limit {
		w.more = true
		return nil
	}
	st, err := w.place.root.Lstat(rel)
	if errors.Is(err, os.ErrNotExist) { // removed since
		return nil
	}
	if err != nil {
		return err
	}
	w.found = append(w.found, entry(abs, st))
	return nil
}
