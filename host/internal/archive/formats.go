package archive

import (
	"archive/tar"
	"archive/zip"
	"bufio"
	"bytes"
	"cmp"
	"compress/bzip2"
	"compress/gzip"
	"errors"
	"io"
	"io/fs"
	"slices"
	"strings"

	"github.com/arw-project/arw/abi"
)

// format is a way in which archives are written.
type format string

const (
	zipped  format = "zip"
	tape    format = "tar"
	tapeGz  format = "tar.gz"
	tapeBz2 format = "tar.bz2"
	gz      format = "gzip"  // one compressed file
	bz2     format = "bzip2" // one compressed file
	bare    format = ""      // no archive
)

// detect tells formats apart by their first bytes; names lie.
func detect(src Source) (format, error) {
	head := make([]byte, 512)
	n, err := src.ReadAt(head, 0)
	if err != nil && err != io.EOF {
		return bare, abi.Errorf(abi.Unavailable, "unpack: read the archive: %w", err)
	}
	head = head[:n]
	switch {
	case bytes.HasPrefix(head, []byte("PK\x03\x04")), bytes.HasPrefix(head, []byte("PK\x05\x06")):
		return zipped, nil
	case isTar(head):
		return tape, nil
	case bytes.HasPrefix(head, []byte{0x1f, 0x8b}):
		return inside(src, gz, tapeGz), nil
	case bytes.HasPrefix(head, []byte("BZh")):
		return inside(src, bz2, tapeBz2), nil
	}
	return bare, blocked(abi.Unsupported, ReasonUnknown, "", "unpack: this is no zip, tar, gzip or bzip2 archive").
		WithHint("a truncated download looks like this too; compare its size and digest")
}

// isTar looks for the mark of POSIX and GNU tar.
func isTar(head []byte) bool { return len(head) >= 262 && string(head[257:262]) == "ustar" }

// inside looks at the first block of what is compressed.
func inside(src Source, single, tape format) format {
	r, err := decompress(io.NewSectionReader(src, 0, src.Size()), single)
	if err != nil {
		return single
	}
	head := make([]byte, 512)
	n, _ := io.ReadFull(r, head)
	if isTar(head[:n]) {
		return tape
	}
	return single
}

func decompress(r io.Reader, f format) (io.Reader, error) {
	r = bufio.NewReaderSize(r, 64<<10)
	if f == bz2 || f == tapeBz2 {
		return bzip2.NewReader(r), nil
	}
	z, err := gzip.NewReader(r)
	if err != nil {
		return nil, err
	}
	return z, nil
}

// each gives every entry, in the order of the archive.
func (f format) each(src Source, give func(entry) error) error {
	whole := io.NewSectionReader(src, 0, src.Size())
	switch f {
	case zipped:
		return eachZip(src, give)
	case tape:
		return eachTar(whole, give)
	}
	r, err := decompress(whole, f)
	if err != nil {
		return damaged("", err)
	}
	if f == tapeGz || f == tapeBz2 {
		return eachTar(r, give)
	}
	name := "content"
	if z, ok := r.(*gzip.Reader); ok && z.Name != "" {
		name = z.Name
	}
	return give(entry{name: name, size: -1, open: func() (io.Reader, error) { return r, nil }})
}

func eachTar(r io.Reader, give func(entry) error) error {
	t := tar.NewReader(r)
	for {
		h, err := t.Next()
		if err == io.EOF {
			return nil
		}
		if err != nil && !errors.Is(err, tar.ErrInsecurePath) {
			return damaged("", err)
		}
		e := entry{name: h.Name, size: h.Size, mode: fs.FileMode(h.Mode) & 0o777, open: func() (io.Reader, error) { return t, nil }}
		switch h.Typeflag {
		case tar.TypeReg, '\x00', tar.TypeCont:
		case tar.TypeDir:
			e.mode |= fs.ModeDir
		case tar.TypeSymlink:
			e.mode |= fs.ModeSymlink
		case tar.TypeLink:
			e.mode |= fs.ModeIrregular
		case tar.TypeXGlobalHeader:
			continue
		default: // also sparse files, whose claimed size costs nothing to claim
			e.mode |= fs.ModeDevice
		}
		if err := give(e); err != nil {
			return err
		}
	}
}

func eachZip(src Source, give func(entry) error) error {
	z, err := zip.NewReader(src, src.Size())
	if err != nil && !errors.Is(err, zip.ErrInsecurePath) {
		return damaged("", err)
	}
	if err := apart(z.File); err != nil {
		return err
	}
	for _, f := range z.File {
		if f.Flags&1 != 0 {
			return blocked(abi.Unsupported, ReasonLocked, f.Name, "unpack: %q is encrypted", clip(f.Name))
		}
		mode := f.Mode()
		if strings.HasSuffix(f.Name, "/") {
			mode = mode&0o777 | fs.ModeDir
		}
		var body io.ReadCloser
		err := give(entry{name: f.Name, mode: mode, size: int64(min(f.UncompressedSize64, 1<<62)), open: func() (_ io.Reader, err error) {
			body, err = f.Open()
			return body, err
		}})
		if body != nil {
			_ = body.Close()
		}
		if err != nil {
			return err
		}
	}
	return nil
}

// apart refuses entries that share bytes. No writer makes such; they let a few kilobytes unpack to petabytes with every
// single ratio looking honest (D. Fifield, "A better zip bomb", 2019).
func apart(files []*zip.File) error {
	type stretch struct {
		from, to int64
		name     string
	}
	all := make([]stretch, 0, len(files))
	for _, f := range files {
		from, err := f.DataOffset()
		if err != nil {
			return damaged(f.Name, err)
		}
		if f.CompressedSize64 > 1<<62 {
			return blocked(abi.Corrupt, ReasonDamaged, f.Name, "unpack: %q claims %d bytes", clip(f.Name), f.CompressedSize64)
		}
		all = append(all, stretch{from, from + int64(f.CompressedSize64), f.Name})
	}
	slices.SortFunc(all, func(a, b stretch) int { return cmp.Or(cmp.Compare(a.from, b.from), cmp.Compare(a.to, b.to)) })
	for i := 1; i < len(all); i++ {
		if all[i].from < all[i-1].to {
			return blocked(abi.Denied, ReasonOverlap, all[i].name, "unpack: %q and %q share bytes", clip(all[i-1].name), clip(all[i].name))
		}
	}
	return nil
}
