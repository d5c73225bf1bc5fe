package signing

import (
	"errors"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"runtime"

	"github.com/arw-project/arw/abi"
)

// Save writes the private key to a new file that only its owner can read (mode 0600), durably; see MarshalPEM for the
// passphrase. It never overwrites: an existing file is a Conflict, because a lost signing key cannot be made again.
func (k *Key) Save(path string, passphrase []byte) error {
	text, err := k.MarshalPEM(passphrase)
	if err != nil {
		return err
	}
	return createFile("signing key", path, text, 0o600)
}

// SavePublic writes the public key to a new file (mode 0644), durably. It never overwrites.
func (k *Key) SavePublic(path string) error {
	return createFile("public key", path, k.publicPEM, 0o644)
}

// LoadKey reads a key file. It refuses one that others than its owner may read, as ssh does. The passphrase function is
// called at most once, and only when the key is encrypted; it may be nil. Errors: NotFound, Denied (permissions) and
// those of ParseKey.
func LoadKey(path string, passphrase func() ([]byte, error)) (*Key, error) {
	text, err := readKeyFile(path)
	if err != nil {
		return nil, err
	}
	var secret []byte
	if Encrypted(text) && passphrase != nil {
		if secret, err = passphrase(); err != nil {
			return nil, abi.Errorf(abi.Invalid, "open signing key %q: no passphrase: %w", path, err)
		}
	}
	key, err := ParseKey(text, secret)
	if err != nil {
		return nil, abi.Errorf(abi.CodeOf(err), "key file %q: %w", path, err).WithHint("%s", abi.HintOf(err))
	}
	return key, nil
}

// readKeyFile checks the permissions of the very file it reads, not of the name.
func readKeyFile(path string) ([]byte, error) {
	f, err := os.Open(path)
	if err != nil {
		return nil, fileError("open signing key", path, err)
	}
	defer f.Close()
	info, err := f.Stat()
	if err != nil {
		return nil, fileError("open signing key", path, err)
	}
	// Windows has no such bits: Go reports 0666 for every file there.
	if runtime.GOOS != "windows" && info.Mode().Perm()&0o077 != 0 {
		return nil, abi.Errorf(abi.Denied, "open signing key %q: others may read it (mode %04o)", path, info.Mode().Perm()).
			WithHint("chmod 600 %s", path)
	}
	text, err := io.ReadAll(io.LimitReader(f, maxKeyFile+1))
	if err != nil {
		return nil, fileError("read signing key", path, err)
	}
	return text, nil
}

// createFile makes the file or leaves nothing: written, synced and its name synced before it returns.
func createFile(what, path string, data []byte, mode fs.FileMode) (err error) {
	f, err := os.OpenFile(path, os.O_WRONLY|os.O_CREATE|os.O_EXCL, mode)
	if err != nil {
		return fileError("save "+what, path, err)
	}
	defer func() {
		if err != nil {
			os.Remove(path)
		}
	}()
	_, err = f.Write(data)
	if err == nil {
		err = f.Chmod(mode) // the umask may have taken bits away, never added any
	}
	if err == nil {
		err = f.Sync()
	}
	if cerr := f.Close(); err == nil {
		err = cerr
	}
	if err == nil {
		err = syncDir(filepath.Dir(path))
	}
	if err != nil {
		return fileError("save "+what, path, err)
	}
	return nil
}

func syncDir(dir string) error {
	d, err := os.Open(dir)
	if err != nil {
		return err
	}
	defer d.Close()
	if err := d.Sync(); err != nil && runtime.GOOS != "windows" {
		return err
	}
	return nil
}

func fileError(doing, path string, err error) error {
	switch {
	case errors.Is(err, fs.ErrExist):
		return abi.Errorf(abi.Conflict, "%s %q: the file exists and is never overwritten: %w", doing, path, err).
			WithHint("choose another name, or move the old key away first")
	case errors.Is(err, fs.ErrNotExist):
		return abi.Errorf(abi.NotFound, "%s %q: %w", doing, path, err)
	case errors.Is(err, fs.ErrPermission):
		return abi.Errorf(abi.Denied, "%s %q: %w", doing, path, err)
	}
	return abi.Errorf(abi.Unavailable, "%s %q: %w", doing, path, err)
}
