package cas

import (
	"context"
	"errors"
	"io"
	"io/fs"
	"path"
	"time"
)

// Swept says what a Sweep did.
type Swept struct {
	Scanned      int   `json:"scanned"`
	Kept         int   `json:"kept"`
	Deleted      int   `json:"deleted"`
	DeletedBytes int64 `json:"deleted_bytes"`
}

// Sweep deletes the blobs that live does not vouch for, unless they were stored (or stored again) less than grace ago:
// a blob is put before whatever will refer to it is written. live is called without any lock held, once per blob, and
// must answer true when in doubt. Sweep may run while the store is used. On error it has done a part, which is returned.
func (s *Store) Sweep(ctx context.Context, live func(digest string) bool, grace time.Duration) (Swept, error) {
	var done Swept
	before := time.Now().Add(-grace)
	dirs, err := s.names(shards)
	if err != nil {
		return done, explain("sweep the blob store", err)
	}
	for _, shard := range dirs {
		blobs, err := s.names(path.Join(shards, shard))
		if err != nil {
			return done, explain("sweep the blob store", err)
		}
		for _, sum := range blobs {
			if err := ctx.Err(); err != nil {
				return done, err
			}
			if _, err := file(algorithm + sum); err != nil {
				continue // not ours: leave it alone
			}
			done.Scanned++
			if live(algorithm + sum) {
				done.Kept++
				continue
			}
			size, err := s.removeOld(path.Join(shards, shard, sum), before)
			switch {
			case err != nil:
				return done, explain(`sweep blob "`+algorithm+sum+`"`, err)
			case size < 0:
				done.Kept++
			default:
				done.Deleted++
				done.DeletedBytes += size
			}
		}
	}
	return done, nil
}

// removeOld removes a file that was last stored before the given time and returns its size, or -1 for a younger one.
func (s *Store) removeOld(name string, before time.Time) (int64, error) {
	s.sweep.Lock()
	defer s.sweep.Unlock()
	st, err := s.root.Lstat(name)
	if errors.Is(err, fs.ErrNotExist) {
		return -1, nil
	}
	if err != nil || !st.ModTime().Before(before) {
		return -1, err
	}
	return st.Size(), s.root.Remove(name)
}

func (s *Store) names(dir string) ([]string, error) {
	d, err := s.root.Open(dir)
	if err != nil {
		return nil, err
	}
	defer d.Close()
	names, err := d.Readdirnames(-1)
	if err == io.EOF {
		err = nil
	}
	return names, err
}
