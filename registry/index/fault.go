package index

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"time"

	"github.com/theupdateframework/go-tuf/v2/metadata"

	"github.com/arw-project/arw/abi"
	"github.com/arw-project/arw/registry"
)

// fetcher is the library's way to a tree.
type fetcher struct {
	ctx  context.Context
	tree registry.Tree
}

// DownloadFile reads a metadata file; one that is not there is told in the library's own words, by which it knows the end
// of the chain of roots.
func (f fetcher) DownloadFile(url string, limit int64, _ time.Duration) ([]byte, error) {
	name := strings.TrimLeft(strings.TrimPrefix(url, "index:"), "/")
	raw, err := f.tree.Read(f.ctx, name, limit)
	if abi.CodeOf(err) == abi.NotFound {
		return nil, &metadata.ErrDownloadHTTP{StatusCode: http.StatusNotFound, URL: name}
	}
	if abi.CodeOf(err) == abi.TooLarge && limit != maxRoot && limit != maxTimestamp && limit != maxSnapshot && limit != maxRole {
		// The limit is the length that other metadata give the file: it is another file.
		return nil, &metadata.ErrLengthOrHashMismatch{Msg: name + " has more bytes than it should"}
	}
	return raw, err
}

// refusal gives an error of the library its code and the next step.
func refusal(err error, format string, args ...any) error {
	what := fmt.Sprintf(format, args...)
	if e, ok := errors.AsType[*abi.Error](err); ok {
		out := abi.Errorf(e.Code, "%s: %w", what, err)
		out.Hint = e.Hint
		return out
	}
	var gone *metadata.ErrDownloadHTTP
	switch {
	case errors.Is(err, &metadata.ErrExpiredMetadata{}):
		return abi.Errorf(abi.Untrusted, "%s: it is out of date: %w", what, err).
			WithHint("ask the index's keeper to refresh it; if they did, somebody keeps the new one from you")
	case errors.Is(err, &metadata.ErrBadVersionNumber{}), errors.Is(err, &metadata.ErrEqualVersionNumber{}):
		return abi.Errorf(abi.Untrusted, "%s: its parts are older than what was seen, or do not belong together: %w", what, err).
			WithHint("use another mirror; this one serves an old or a mixed index")
	case errors.Is(err, &metadata.ErrLengthOrHashMismatch{}):
		return abi.Errorf(abi.DigestMismatch, "%s: a file is not what the metadata says: %w", what, err).
			WithHint("use another mirror; this one changes files")
	case errors.Is(err, &metadata.ErrUnsignedMetadata{}):
		return abi.Errorf(abi.Untrusted, "%s: not signed by the keys that must: %w", what, err).
			WithHint("check that root.json is this index's own; ask its keeper")
	case errors.As(err, &gone):
		return abi.Errorf(abi.NotFound, "%s: there is no %s", what, gone.URL).WithHint("check the place of the index")
	case errors.Is(err, &metadata.ErrRepository{}):
		return abi.Errorf(abi.Untrusted, "%s: %w", what, err).WithHint("use another mirror, or ask the index's keeper")
	}
	if code := abi.CodeOf(err); code == abi.Cancelled || code == abi.Deadline {
		return abi.Errorf(code, "%s: %w", what, err)
	}
	return abi.Errorf(abi.Untrusted, "%s: %w", what, err).WithHint("use another mirror, or ask the index's keeper")
}

// lock takes a file for this process; it waits as long as ctx allows.
func lock(ctx context.Context, path string) (func(), error) {
	f, err := os.OpenFile(path, os.O_RDWR|os.O_CREATE, 0o600)
	if err != nil {
		return nil, abi.Errorf(abi.Unavailable, "lock %q: %w", path, err)
	}
	for pause := time.Millisecond; ; pause = min(2*pause, 50*time.Millisecond) {
		err := syscall.Flock(int(f.Fd()), syscall.LOCK_EX|syscall.LOCK_NB)
		if err == nil {
			return func() { _ = syscall.Flock(int(f.Fd()), syscall.LOCK_UN); f.Close() }, nil
		}
		if !errors.Is(err, syscall.EWOULDBLOCK) && !errors.Is(err, syscall.EINTR) {
			f.Close()
			return nil, abi.Errorf(abi.Unavailable, "lock %q: %w", path, err)
		}
		select {
		case <-time.After(pause):
		case <-ctx.Done():
			f.Close()
			return nil, context.Cause(ctx)
		}
	}
}

// writeFile puts a file in place whole.
func writeFile(path string, data []byte) error {
	if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
		return err
	}
	f, err := os.CreateTemp(filepath.Dir(path), ".new-*")
	if err != nil {
		return err
	}
	_, err = f.Write(data)
	err = errors.Join(err, f.Chmod(0o644), f.Sync(), f.Close())
	if err == nil {
		err = os.Rename(f.Name(), path)
	}
	if err != nil {
		os.Remove(f.Name())
	}
	return err
}
