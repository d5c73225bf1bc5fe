package rehearse

import (
	"bytes"
	"context"
	"fmt"
	"maps"
	"path"
	"slices"
	"strings"

	"github.com/arw-project/arw/abi"
	"github.com/arw-project/arw/manifests"
)

// Views of the world where two capabilities have a method of the same name.
type (
	keys    struct{ *world }
	docs    struct{ *world }
	folders struct{ *world }
)

// maxPage is how many entries one list gives, as on a real host.
const maxPage = 1000

// did asks for a refusal of the file, then does it, and writes the line.
func (w *world) did(function, target, what string, do func() (string, error)) error {
	line := function + " " + what
	err := w.refuse(function, target)
	if err == nil {
		var reply string
		if reply, err = do(); err == nil && reply != "" {
			line += " -> " + reply
		}
	}
	return w.note(line, err)
}

func quoted(b []byte) string { return fmt.Sprintf("%q", b) }

func (k keys) Get(_ context.Context, key []byte) (val []byte, err error) {
	err = k.did("kv.get", string(key), quoted(key), func() (string, error) {
		var ok bool
		if val, ok = k.kv[string(key)]; !ok {
			return "", abi.Errorf(abi.NotFound, "read key %q: there is none", key)
		}
		return show(val), nil
	})
	return val, err
}

func (k keys) Put(_ context.Context, key, val []byte) error {
	return k.did("kv.put", string(key), quoted(key)+" "+show(val), func() (string, error) {
		k.kv[string(key)] = bytes.Clone(val)
		return "", nil
	})
}

func (k keys) Delete(_ context.Context, key []byte) error {
	return k.did("kv.delete", string(key), quoted(key), func() (string, error) {
		delete(k.kv, string(key))
		return "", nil
	})
}

func (k keys) Batch(_ context.Context, ops []abi.KVOp) error {
	var words []string
	for _, op := range ops {
		if op.Delete {
			words = append(words, "delete "+quoted(op.Key))
		} else {
			words = append(words, "put "+quoted(op.Key)+" "+show(op.Val))
		}
	}
	return k.did("kv.batch", "", strings.Join(words, "; "), func() (string, error) {
		for _, op := range ops {
			if op.Delete {
				delete(k.kv, string(op.Key))
			} else {
				k.kv[string(op.Key)] = bytes.Clone(op.Val)
			}
		}
		return "", nil
	})
}

func (k keys) List(_ context.Context, prefix, after []byte, limit int) (found []abi.KVEntry, more bool, err error) {
	if limit <= 0 || limit > maxPage {
		limit = maxPage
	}
	what := quoted(prefix)
	if len(after) > 0 {
		what += " after " + quoted(after)
	}
	err = k.did("kv.list", string(prefix), what, func() (string, error) {
		for _, name := range slices.Sorted(maps.Keys(k.kv)) {
			if !strings.HasPrefix(name, string(prefix)) || name <= string(after) && len(after) > 0 {
				continue
			}
			if more = len(found) == limit; more {
				break
			}
			found = append(found, abi.KVEntry{Key: []byte(name), Size: len(k.kv[name])})
		}
		return count(len(found), "key", more), nil
	})
	return found, more, err
}

func count(n int, what string, more bool) string {
	s := fmt.Sprintf("%d %ss", n, what)
	if n == 1 {
		s = "1 " + what
	}
	if more {
		s += " and more"
	}
	return s
}

func (d docs) Get(_ context.Context, name string) (doc []byte, err error) {
	err = d.did("state.get", name, name, func() (string, error) {
		if _, err := d.model(name); err != nil {
			return "", err
		}
		var ok bool
		if doc, ok = d.state[name]; !ok {
			return "", abi.Errorf(abi.NotFound, "read model %q: there is none yet", name)
		}
		return show(doc), nil
	})
	return doc, err
}

func (d docs) Put(_ context.Context, name string, doc []byte) error {
	return d.did("state.put", name, name+" "+show(doc), func() (string, error) {
		m, err := d.model(name)
		if err == nil {
			err = m.Schema.Validate(doc)
		}
		if err != nil {
			return "", err
		}
		d.state[name] = bytes.Clone(doc)
		return "", nil
	})
}

func (d docs) model(name string) (*manifests.State, error) {
	for i := range d.man.State {
		if d.man.State[i].ID == name {
			return &d.man.State[i], nil
		}
	}
	return nil, abi.Errorf(abi.Denied, "use read model %q: pack.toml does not contribute it", name).WithHint("add to pack.toml:\n[[state]]\nid = %q", name)
}

// entry describes a path; a folder is there when something lies in it.
func (f folders) entry(name string) (abi.FSEntry, bool) {
	e := abi.FSEntry{Path: name, MTimeMS: f.start.UnixMilli()}
	if data, ok := f.files[name]; ok {
		e.Mode, e.Size = "file", int64(len(data))
		return e, true
	}
	for file := range f.files {
		if name == "/" || strings.HasPrefix(file, name+"/") {
			e.Mode = "dir"
			return e, true
		}
	}
	return e, false
}

func (f folders) find(doing, name string) (abi.FSEntry, error) {
	e, ok := f.entry(name)
	if !ok {
		return e, abi.Errorf(abi.NotFound, "%s %q: there is no such file", doing, name)
	}
	return e, nil
}

func (f folders) List(_ context.Context, _ string, req abi.FSList) (found []abi.FSEntry, more bool, err error) {
	what := req.Path
	if req.Recursive {
		what += " recursive"
	}
	if req.After != "" {
		what += " after " + req.After
	}
	err = f.did("fs.list", req.Path, what, func() (string, error) {
		e, err := f.find("list", req.Path)
		switch {
		case err != nil:
			return "", err
		case e.Mode != "dir":
			return "", abi.Errorf(abi.Unsupported, "list %q: it is not a folder", req.Path)
		}
		found, more = f.below(req)
		return count(len(found), "entry", more), nil
	})
	return found, more, err
}

// below lists in byte order of the paths.
func (f folders) below(req abi.FSList) (found []abi.FSEntry, more bool) {
	prefix := strings.TrimSuffix(req.Path, "/") + "/"
	names := map[string]bool{}
	for file := range f.files {
		for name := file; strings.HasPrefix(name, prefix) && name != prefix; name = path.Dir(name) {
			if name > req.After && (req.Recursive || !strings.Contains(name[len(prefix):], "/")) {
				names[name] = true
			}
		}
	}
	limit := req.Limit
	if limit <= 0 || limit > maxPage {
		limit = maxPage
	}
	for _, name := range slices.Sorted(maps.Keys(names)) {
		if len(found) == limit {
			return found, true
		}
		e, _ := f.entry(name)
		found = append(found, e)
	}
	return found, false
}

func (f folders) Stat(_ context.Context, _, name string) (e abi.FSEntry, err error) {
	err = f.did("fs.stat", name, name, func() (string, error) {
		e, err = f.find("describe", name)
		return e.Mode, err
	})
	return e, err
}

func (f folders) Read(_ context.Context, _, name string, off int64, buf []byte) (n int, err error) {
	err = f.did("fs.read", name, fmt.Sprintf("%s at %d", name, off), func() (string, error) {
		e, err := f.find("read", name)
		switch {
		case err != nil:
			return "", err
		case e.Mode != "file":
			return "", abi.Errorf(abi.Unsupported, "read %q: it is a folder, not a file", name)
		case off < e.Size:
			n = copy(buf, f.files[name][off:])
		}
		return count(n, "byte", false), nil
	})
	return n, err
}

func (f folders) Write(_ context.Context, _, name string, data []byte) error {
	return f.did("fs.write", name, name+" "+show(data), func() (string, error) {
		if err := f.writable(name); err != nil {
			return "", err
		}
		f.files[name] = bytes.Clone(data)
		return "", nil
	})
}

func (f folders) Remove(_ context.Context, _, name string) error {
	return f.did("fs.remove", name, name, func() (string, error) {
		e, err := f.find("remove", name)
		switch {
		case err != nil:
			return "", err
		case e.Mode == "dir":
			return "", abi.Errorf(abi.Conflict, "remove %q: the folder is not empty", name)
		}
		delete(f.files, name)
		return "", nil
	})
}
