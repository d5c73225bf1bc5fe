// Package archive keeps one promise: unpacking an archive from a stranger makes files inside one folder, within stated
// bounds, or leaves nothing behind and says which entry was at fault.
//
// It reads zip, tar, and tar or single files compressed with gzip or bzip2. Everything is written through os.Root into a
// hidden folder beside the target, which is renamed into place when all of it was good; names, types, sizes and ratios
// are judged before a byte is written and again while it is. docs/spec/archive.md is the normative description.
package archive

import (
	"context"
	"crypto/rand"
	"encoding/hex"
	"errors"
	"io"
	"io/fs"
	"os"
	"path"
	"syscall"
	"time"

	"github.com/arw-project/arw/abi"
)

// Limits bound one unpacking, nested archives included. A zero field means the default behind it.
type Limits struct {
	Bytes   int64         `json:"max_total_bytes,omitempty"` // unpacked: 512 MiB
	Entries int           `json:"max_entries,omitempty"`     // files and folders: 20,000
	Depth   int           `json:"max_depth,omitempty"`       // archives inside archives, when Nested: 2
	Ratio   int           `json:"max_ratio,omitempty"`       // unpacked to packed, beyond the first MiB: 250
	Timeout time.Duration `json:"-"`                         // 30 s
}

// Defaults are the limits of the zero value, and the most that a guest may ask for.
var Defaults = Limits{Bytes: 512 << 20, Entries: 20_000, Depth: 2, Ratio: 250, Timeout: 30 * time.Second}

// Options say what to do with an archive that is within the limits.
type Options struct {
	Limits
	Strip  int  `json:"strip_components,omitempty"` // leading folders taken off each name; entries with no more are left out
	Nested bool `json:"nested,omitempty"`           // unpack archives found inside into folders of their names
	Links  bool `json:"skip_links,omitempty"`       // leave out symbolic and hard links instead of refusing the archive
}

// Report is what was made.
type Report struct {
	Format  string `json:"format"`
	Files   int    `json:"files"`
	Folders int    `json:"folders"`
	Bytes   int64  `json:"bytes"`
	Skipped int    `json:"skipped"` // links and what Strip left nothing of
	Depth   int    `json:"depth"`   // the deepest archive inside, 1 for the archive itself
}

// Why an archive was blocked: Error's detail carries one as "reason".
const (
	ReasonEscape   = "escape"   // a name that leads out: "..", absolute, a drive, a backslash
	ReasonName     = "name"     // a name no file should have, or that stands twice
	ReasonLink     = "link"     // a symbolic or hard link
	ReasonDevice   = "device"   // a device, pipe or socket
	ReasonSize     = "size"     // more bytes than allowed
	ReasonCount    = "entries"  // more entries than allowed
	ReasonRatio    = "ratio"    // a bomb: too much out of too little
	ReasonDepth    = "depth"    // archives inside archives inside archives
	ReasonTimeout  = "timeout"  // it took too long
	ReasonDamaged  = "damaged"  // it does not read as what it claims to be
	ReasonOverlap  = "overlap"  // entries of a zip share bytes
	ReasonLocked   = "locked"   // encrypted
	ReasonUnknown  = "format"   // no archive we know
	ReasonOccupied = "occupied" // the target is there already
)

// Expand is Unpack for the words of the ABI. Errors are Unpack's, and Invalid for a negative number.
func Expand(ctx context.Context, src Source, root *os.Root, to string, req abi.ArchiveUnpack) (abi.ArchiveUnpacked, error) {
	if req.StripComponents < 0 || req.MaxTotalBytes < 0 || req.MaxEntries < 0 || req.MaxDepth < 0 {
		return abi.ArchiveUnpacked{}, abi.Errorf(abi.Invalid, "unpack %q: a limit is negative", req.From)
	}
	rep, err := Unpack(ctx, src, root, to, Options{
		Limits: Limits{Bytes: req.MaxTotalBytes, Entries: req.MaxEntries, Depth: req.MaxDepth},
		Strip:  req.StripComponents, Nested: req.Nested, Links: req.SkipLinks,
	})
	return abi.ArchiveUnpacked(rep), err
}

// Source is an archive's bytes.
type Source interface {
	io.ReaderAt
	Size() int64
}

// Unpack unpacks src into a new folder named to, below root; its parent must exist and to must not, or be empty. On any
// error nothing is left below root. It holds one entry's buffer in memory, whatever the sizes. Errors carry the reason in
// their detail (see the constants): TooLarge for a bound, Denied for a name or type, Corrupt for damage, Unsupported for
// an unknown or locked format, Deadline, Cancelled, Conflict for an occupied target, StorageFull, Unavailable.
func Unpack(ctx context.Context, src Source, root *os.Root, to string, opt Options) (Report, error) {
	opt.Limits = opt.Limits.within(Defaults)
	ctx, stop := context.WithTimeoutCause(ctx, opt.Timeout, errTimeout)
	defer stop()
	if err := vacant(root, to); err != nil {
		return Report{}, err
	}
	var salt [8]byte
	_, _ = rand.Read(salt[:])
	stage := path.Join(path.Dir(to), ".arw-unpack-"+hex.EncodeToString(salt[:]))
	if err := root.Mkdir(stage, 0o700); err != nil {
		return Report{}, trouble("make the folder to unpack into", stage, err)
	}
	done := false
	defer func() {
		if !done {
			_ = root.RemoveAll(stage)
		}
	}()
	jail, err := root.OpenRoot(stage)
	if err != nil {
		return Report{}, trouble("open the folder to unpack into", stage, err)
	}
	defer jail.Close()
	u := &unpacker{ctx: ctx, opt: opt, seen: map[string]string{}, packed: src.Size()}
	if err := u.archive(jail, src, "", 1); err != nil {
		return Report{}, err
	}
	if err := settle(jail); err != nil {
		return Report{}, trouble("write out", to, err)
	}
	// An empty folder of that name gives way; what has come to be there meanwhile does not.
	_ = root.Remove(to)
	if err := root.Rename(stage, to); err != nil {
		return Report{}, trouble("put the unpacked folder at", to, err)
	}
	done = true
	return u.report, nil
}

// settle makes what was written durable before it gets its name. Files are written out side by side, because a disk
// answers many such requests at once in the time of one.
func settle(jail *os.Root) error {
	names := make(chan string)
	failed := make(chan error, writers)
	for range writers {
		go func() {
			var first error
			for name := range names {
				if err := writeOut(jail, name); err != nil && first == nil {
					first = err
				}
			}
			failed <- first
		}()
	}
	err := fs.WalkDir(jail.FS(), ".", func(name string, _ fs.DirEntry, err error) error {
		if err == nil {
			names <- name
		}
		return err
	})
	close(names)
	for range writers {
		err = errors.Join(err, <-failed)
	}
	return err
}

const writers = 16

func writeOut(jail *os.Root, name string) error {
	f, err := jail.Open(name)
	if err != nil {
		return err
	}
	defer f.Close()
	return f.Sync()
}

var errTimeout = errors.New("the time for unpacking ran out")

// within is l with defaults for what is zero or asks for more.
func (l Limits) within(most Limits) Limits {
	if l.Bytes <= 0 || l.Bytes > most.Bytes {
		l.Bytes = most.Bytes
	}
	if l.Entries <= 0 || l.Entries > most.Entries {
		l.Entries = most.Entries
	}
	if l.Depth <= 0 || l.Depth > most.Depth {
		l.Depth = most.Depth
	}
	if l.Ratio <= 0 || l.Ratio > most.Ratio {
		l.Ratio = most.Ratio
	}
	if l.Timeout <= 0 || l.Timeout > most.Timeout {
		l.Timeout = most.Timeout
	}
	return l
}

func vacant(root *os.Root, to string) error {
	st, err := root.Lstat(to)
	switch {
	case errors.Is(err, fs.ErrNotExist):
		return nil
	case err != nil:
		return trouble("look at", to, err)
	case !st.IsDir():
		return blocked(abi.Conflict, ReasonOccupied, "", "unpack to %q: something else is there", to)
	}
	dir, err := root.Open(to)
	if err != nil {
		return trouble("look at", to, err)
	}
	defer dir.Close()
	if names, err := dir.Readdirnames(1); len(names) > 0 || err != nil && !errors.Is(err, io.EOF) {
		return blocked(abi.Conflict, ReasonOccupied, "", "unpack to %q: the folder is not empty", to)
	}
	return nil
}

// Detail is what Error's detail holds, as JSON.
type Detail struct {
	Reason string `json:"reason"`
	Entry  string `json:"entry,omitempty"` // the name in the archive, shortened
}

// blocked makes an error that names the entry at fault.
func blocked(code abi.Code, reason, entry, format string, args ...any) *abi.Error {
	return abi.Errorf(code, format, args...).WithDetail(Detail{reason, clip(entry)})
}

func clip(s string) string {
	if len(s) > 200 {
		return s[:200] + "…"
	}
	return s
}

func trouble(doing, name string, err error) error {
	code := abi.Unavailable
	switch {
	case errors.Is(err, syscall.ENOSPC) || errors.Is(err, syscall.EDQUOT):
		code = abi.StorageFull
	case errors.Is(err, fs.ErrNotExist):
		code = abi.NotFound
	case errors.Is(err, fs.ErrExist):
		code = abi.Conflict
	}
	return abi.Errorf(code, "%s %q: %w", doing, name, err)
}
