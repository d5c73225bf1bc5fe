package backup

import (
	"archive/tar"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"io"
	"io/fs"
	"os"
	"path"
	"path/filepath"
	"strings"

	"github.com/arw-project/arw/abi"
	"github.com/arw-project/arw/host/internal/journal"
)

// maxDocument bounds the two documents of an archive, which are held in memory.
const maxDocument = 256 << 20

// Verify reads a backup to its end and checks everything in it but the database's own pages, which Restore checks. Errors:
// Incompatible for what is no backup, or one of a later format; Corrupt for one that is damaged or cut off.
func Verify(ctx context.Context, file string) (*Manifest, error) {
	return read(ctx, file, func(string, fs.FileMode, io.Reader) error { return nil })
}

// Restore makes a state directory out of a backup. The directory must not be there, or be empty: a state that lives is never
// overwritten. It is made beside itself and put in place when every digest, every page of the database and the chain of the
// journal have been checked. Errors: those of Verify, and Conflict.
func Restore(ctx context.Context, file, dir string) (*Manifest, error) {
	if err := empty(dir); err != nil {
		return nil, err
	}
	dir = filepath.Clean(dir)
	if err := os.MkdirAll(filepath.Dir(dir), 0o700); err != nil {
		return nil, explain("restore to "+dir, err)
	}
	temp, err := os.MkdirTemp(filepath.Dir(dir), "."+filepath.Base(dir)+".restoring-*") // mode 0700
	if err != nil {
		return nil, explain("restore to "+dir, err)
	}
	man, err := unpack(ctx, file, temp)
	if err == nil {
		var rep journal.Report
		if rep, err = proven(ctx, temp, filepath.Join(temp, database)); err == nil && rep != man.Journal {
			err = abi.Errorf(abi.Corrupt, "restore backup %q: its journal ends at event %d, and its manifest says %d", file, rep.Last, man.Journal.Last)
		}
	}
	if err == nil {
		_ = os.Remove(filepath.Join(temp, database+"-shm")) // left by looking
		_ = os.Remove(filepath.Join(temp, database+"-wal"))
		if err = empty(dir); err == nil {
			_ = os.Remove(dir) // the empty one; anything else makes the rename fail
			err = os.Rename(temp, dir)
		}
	}
	if err == nil {
		err = syncDir(filepath.Dir(dir))
	}
	if err != nil {
		_ = os.RemoveAll(temp)
		return nil, explain("restore backup "+file, err)
	}
	return man, nil
}

// empty refuses a directory that has something in it.
func empty(dir string) error {
	entries, err := os.ReadDir(dir)
	switch {
	case errors.Is(err, fs.ErrNotExist):
		return nil
	case err != nil:
		return explain("restore to "+dir, err)
	case len(entries) > 0:
		return abi.Errorf(abi.Conflict, "restore to %q: there is something in it already", dir).
			WithHint("name a directory that is not there: --state DIR; nothing that lives is overwritten")
	}
	return nil
}

// unpack writes the files of an archive below a directory.
func unpack(ctx context.Context, file, dir string) (*Manifest, error) {
	root, err := os.OpenRoot(dir)
	if err != nil {
		return nil, err
	}
	defer root.Close()
	return read(ctx, file, func(name string, mode fs.FileMode, r io.Reader) error {
		if err := root.MkdirAll(path.Dir(name), 0o700); err != nil {
			return err
		}
		f, err := root.OpenFile(name, os.O_CREATE|os.O_EXCL|os.O_WRONLY, mode&0o777)
		if err != nil {
			return err
		}
		_, err = io.Copy(f, r)
		return errors.Join(err, f.Sync(), f.Close())
	})
}

// read goes through an archive, gives each file to do, and compares what came with the manifest at the end.
func read(ctx context.Context, file string, do func(name string, mode fs.FileMode, r io.Reader) error) (*Manifest, error) {
	f, err := os.Open(file)
	if err != nil {
		return nil, explain("read backup "+file, err)
	}
	defer f.Close()
	in := tar.NewReader(f)
	if err := head(file, in); err != nil {
		return nil, err
	}
	got := map[string]File{}
	for {
		if err := ctx.Err(); err != nil {
			return nil, explain("read backup "+file, err)
		}
		h, err := in.Next()
		if err != nil {
			return nil, damaged(file, "it ends before its manifest")
		}
		if h.Name == manifestName {
			return manifest(file, in, got)
		}
		if !fs.ValidPath(h.Name) || strings.Contains(h.Name, "\\") || h.Typeflag != tar.TypeReg || got[h.Name].Path != "" {
			return nil, damaged(file, "it has an entry that no backup has: "+clip(h.Name))
		}
		sum := sha256.New()
		counted := &count{r: io.TeeReader(in, sum)}
		if err := do(h.Name, fs.FileMode(h.Mode).Perm(), counted); err != nil {
			if counted.err != nil {
				return nil, damaged(file, "it is cut off in "+clip(h.Name))
			}
			return nil, explain("restore "+h.Name, err)
		}
		if _, err := io.Copy(io.Discard, counted); err != nil {
			return nil, damaged(file, "it is cut off in "+clip(h.Name))
		}
		got[h.Name] = File{Path: h.Name, Size: h.Size, Mode: uint32(fs.FileMode(h.Mode).Perm()), Digest: "sha256:" + hex.EncodeToString(sum.Sum(nil))}
	}
}

// count remembers whether reading failed.
type count struct {
	r   io.Reader
	err error
}

func (c *count) Read(p []byte) (int, error) {
	n, err := c.r.Read(p)
	if err != nil && err != io.EOF {
		c.err = err
	}
	return n, err
}

// head reads the first entry, which says what the file is.
func head(file string, in *tar.Reader) error {
	h, err := in.Next()
	var doc Head
	if err == nil && h.Name == headName && h.Size < maxDocument {
		err = json.NewDecoder(io.LimitReader(in, maxDocument)).Decode(&doc)
	}
	switch {
	case err != nil || doc.Format != "arw-backup":
		return abi.Errorf(abi.Incompatible, "read backup %q: it is no backup of an arw host", file).WithHint("arw backup create makes one")
	case doc.Schema != schema:
		return abi.Errorf(abi.Incompatible, "read backup %q: it is of format %d, this program reads %d", file, doc.Schema, schema).WithHint("use the program that made it, or a later one")
	}
	return nil
}

// manifest reads the last entry and holds what came to it.
func manifest(file string, in *tar.Reader, got map[string]File) (*Manifest, error) {
	var m Manifest
	raw, err := io.ReadAll(io.LimitReader(in, maxDocument))
	if err == nil {
		err = json.Unmarshal(raw, &m)
	}
	if err != nil || m.Format != "arw-backup" {
		return nil, damaged(file, "its manifest cannot be read")
	}
	if _, err := in.Next(); err != io.EOF {
		return nil, damaged(file, "something comes behind its manifest")
	}
	for _, want := range m.Files {
		have, ok := got[want.Path]
		switch {
		case !ok:
			return nil, damaged(file, want.Path+" is missing")
		case have != want:
			return nil, damaged(file, want.Path+" is not what was put in")
		case strings.HasPrefix(want.Path, blobs+"/") && want.Digest != "sha256:"+path.Base(want.Path):
			return nil, damaged(file, want.Path+" has another name than its digest")
		}
		delete(got, want.Path)
	}
	for name := range got {
		return nil, damaged(file, "its manifest does not know "+clip(name))
	}
	return &m, nil
}

func damaged(file, why string) error {
	return abi.Errorf(abi.Corrupt, "read backup %q: %s", file, why).WithHint("take an earlier backup; this one cannot be trusted")
}

// clip bounds and quotes a name that a stranger chose.
func clip(name string) string {
	raw, _ := json.Marshal(name[:min(len(name), 200)])
	return string(raw)
}
