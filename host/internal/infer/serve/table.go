package serve

import (
	"os"
	"path/filepath"
	"time"

	"github.com/arw-project/arw/abi"
	"github.com/arw-project/arw/host/internal/infer/supervise"
)

// table is what the files of the folder said when they were last read. It does not change.
type table struct {
	profiles map[string]supervise.Profile
	models   map[string]Model
	seen     [2]look
	fault    error // why newer files do not hold
}

// look is how a file looked; the zero value is one that is not there.
type look struct {
	size  int64
	mtime time.Time
}

var tableFiles = [2]string{"runtimes.toml", "models.toml"}

func (s *Service) looks() (out [2]look) {
	for i, name := range tableFiles {
		if info, err := os.Stat(filepath.Join(s.dir, name)); err == nil {
			out[i] = look{info.Size(), info.ModTime()}
		}
	}
	return out
}

// read makes a table of the files as they are.
func (s *Service) read() (*table, error) {
	t := &table{seen: s.looks()} // before reading: a change in between is seen the next time
	name := filepath.Join(s.dir, tableFiles[0])
	text, err := read(name)
	if err != nil {
		return nil, err
	}
	if t.profiles, err = supervise.ParseProfiles(name, text); err != nil {
		return nil, err
	}
	name = filepath.Join(s.dir, tableFiles[1])
	if text, err = read(name); err != nil {
		return nil, err
	}
	if t.models, err = parse(name, text, t.profiles); err != nil {
		return nil, err
	}
	for name := range s.given {
		if _, twice := t.models[name]; twice {
			return nil, abi.Errorf(abi.Invalid, "read models: %q is given and stands in models.toml", name)
		}
		if t.models == nil {
			t.models = map[string]Model{}
		}
		t.models[name] = Model{Name: name}
	}
	return t, nil
}

// table is the one in force: two looks at files, and a reading when one has changed.
func (s *Service) table() *table {
	t, seen := s.now.Load(), s.looks()
	if t.seen == seen {
		return t
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if t = s.now.Load(); t.seen == seen {
		return t
	}
	next, err := s.read()
	if err != nil {
		old := *t
		old.seen, old.fault = seen, err
		next = &old
	}
	s.now.Store(next)
	return next
}

// Fault is why the files as they are do not hold; nil when they do.
func (s *Service) Fault() error { return s.table().fault }

// Profiles are those of runtimes.toml, by name.
func (s *Service) Profiles() map[string]supervise.Profile { return s.table().profiles }
