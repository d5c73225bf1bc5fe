package archive

import (
	"context"
	"errors"
	"io"
	"io/fs"
	"os"
	"path"
	"strings"
	"unicode"
	"unicode/utf8"

	"golang.org/x/text/cases"
	"golang.org/x/text/unicode/norm"

	"github.com/arw-project/arw/abi"
)

// unpacker is one unpacking: the bounds it spends and what it has made.
type unpacker struct {
	ctx    context.Context
	opt    Options
	report Report
	packed int64             // bytes of the outermost archive, which the ratio is measured against
	spent  int64             // bytes written, also those of nested archives that were unpacked and removed
	count  int               // entries met
	seen   map[string]string // what was made, by its folded name: on some file systems "A" and "a" are one file
	buf    []byte
}

// entry is one thing in an archive.
type entry struct {
	name string
	mode fs.FileMode // type bits and whether it is executable
	size int64       // what the archive claims; -1 unknown
	open func() (io.Reader, error)
}

// archive unpacks src into the folder at prefix of jail; depth is 1 for the outermost.
func (u *unpacker) archive(jail *os.Root, src Source, prefix string, depth int) error {
	if depth > u.opt.Depth {
		return blocked(abi.TooLarge, ReasonDepth, prefix, "unpack: %q is an archive %d deep, at most %d are allowed", clip(prefix), depth, u.opt.Depth)
	}
	kind, err := detect(src)
	if err != nil {
		return err
	}
	u.report.Depth = max(u.report.Depth, depth)
	if depth == 1 {
		u.report.Format = string(kind)
	}
	return kind.each(src, func(e entry) error { return u.one(jail, e, prefix, depth) })
}

// one judges one entry and makes it.
func (u *unpacker) one(jail *os.Root, e entry, prefix string, depth int) error {
	if err := u.alive(); err != nil {
		return err
	}
	if u.count++; u.count > u.opt.Entries {
		return blocked(abi.TooLarge, ReasonCount, e.name, "unpack: more than %d entries", u.opt.Entries)
	}
	if err := judgeType(e, u.opt.Links); err != nil {
		return err
	}
	name, err := u.place(e, prefix)
	if err != nil {
		return err
	}
	if name == "" || e.mode.Type() == fs.ModeSymlink || e.mode.Type() == fs.ModeIrregular {
		u.report.Skipped++
		return nil
	}
	if e.mode.IsDir() {
		return u.folder(jail, name)
	}
	if e.size > u.opt.Bytes-u.spent {
		return u.tooMuch(e.name)
	}
	return u.file(jail, e, name, depth)
}

func (u *unpacker) alive() error {
	if u.ctx.Err() == nil {
		return nil
	}
	if context.Cause(u.ctx) == errTimeout {
		return blocked(abi.Deadline, ReasonTimeout, "", "unpack: not done within %s", u.opt.Timeout)
	}
	return abi.Errorf(abi.CodeOf(u.ctx.Err()), "unpack: %w", u.ctx.Err())
}

// judgeType refuses what is neither a file nor a folder. Hard links come as ModeIrregular, which no format has.
func judgeType(e entry, skipLinks bool) error {
	switch e.mode.Type() {
	case 0, fs.ModeDir:
		return nil
	case fs.ModeSymlink, fs.ModeIrregular:
		if skipLinks {
			return nil
		}
		return blocked(abi.Denied, ReasonLink, e.name, "unpack: %q is a link", clip(e.name)).WithHint("leave links out with skip_links if the rest is wanted")
	}
	return blocked(abi.Denied, ReasonDevice, e.name, "unpack: %q is a device, pipe or socket", clip(e.name))
}

// maxName bounds a whole path and each of its parts, in bytes.
const (
	maxName = 1024
	maxPart = 255
)

// place is where an entry goes below the target; "" when Strip leaves nothing of it.
func (u *unpacker) place(e entry, prefix string) (string, error) {
	name := strings.TrimSuffix(e.name, "/")
	if reason, why := judgeName(name); reason != "" {
		return "", blocked(abi.Denied, reason, e.name, "unpack: the name %q %s", clip(e.name), why)
	}
	parts := strings.Split(path.Clean(name), "/")
	if strip := u.opt.Strip; prefix == "" {
		if len(parts) <= strip {
			return "", nil
		}
		parts = parts[max(strip, 0):]
	}
	name = path.Join(prefix, path.Join(parts...))
	if name == "." {
		return "", nil
	}
	if e.mode.IsRegular() {
		if _, twice := u.seen[fold(name)]; twice {
			return "", standsTwice(e.name)
		}
		u.seen[fold(name)] = name
	}
	return name, nil
}

func standsTwice(name string) error {
	return blocked(abi.Denied, ReasonName, name, "unpack: the name %q stands twice, or differs from another in case only", clip(name))
}

// fold is what case-insensitive, normalising file systems compare.
func fold(name string) string { return cases.Fold().String(norm.NFC.String(name)) }

// reserved are the names of devices on Windows, where an unpacked folder may be taken.
var reserved = map[string]bool{"con": true, "prn": true, "aux": true, "nul": true}

// judgeName reports what is wrong with a name. It is judged as it is written: cleaning it first would judge another one.
func judgeName(name string) (reason, why string) {
	switch {
	case name == "" || len(name) > maxName:
		return ReasonName, "is empty or longer than 1,024 bytes"
	case !utf8.ValidString(name) || strings.ContainsFunc(name, func(r rune) bool { return unicode.IsControl(r) || r == '\u202e' || r == '\u2066' }):
		return ReasonName, "holds control characters or is no UTF-8"
	case name[0] == '/':
		return ReasonEscape, "is absolute"
	case strings.ContainsAny(name, "\\:"):
		return ReasonEscape, `holds a backslash or colon, which lead elsewhere on some systems`
	}
	if reason, why := judgeLook(name); reason != "" {
		return reason, why
	}
	for part := range strings.SplitSeq(name, "/") {
		switch {
		case part == "..":
			return ReasonEscape, `climbs with ".."`
		case len(part) > maxPart:
			return ReasonName, "has a part longer than 255 bytes"
		case device(part):
			return ReasonName, "is the name of a device"
		case part != "." && strings.TrimRight(part, " .") != part:
			return ReasonName, "has a part that ends with a dot or space, which some systems drop"
		}
	}
	return "", ""
}

// judgeLook judges a name as a system would read it that takes compatibility forms (fullwidth dots and slashes, superscript digits) for
// what they look like. A fullwidth colon is left alone: it is common in honest names.
func judgeLook(name string) (reason, why string) {
	plain := norm.NFKC.String(name)
	if plain == name {
		return "", ""
	}
	if strings.Count(plain, "/") != strings.Count(name, "/") || strings.Contains(plain, `\`) {
		return ReasonEscape, "holds a character that some systems read as a slash"
	}
	for part := range strings.SplitSeq(plain, "/") {
		switch {
		case part == "..":
			return ReasonEscape, `has a part that some systems read as ".."`
		case device(part):
			return ReasonName, "has a part that some systems read as the name of a device"
		}
	}
	return "", ""
}

// device reports whether a part of a name is that of a device on Windows, whatever its ending.
func device(part string) bool {
	stem, _, _ := strings.Cut(strings.ToLower(part), ".")
	return reserved[stem] || len(stem) == 4 && (stem[:3] == "com" || stem[:3] == "lpt") && stem[3] >= '1' && stem[3] <= '9'
}

// folder makes a folder and those above it.
func (u *unpacker) folder(jail *os.Root, name string) error {
	switch was, made := u.seen[fold(name)]; {
	case made && was != name:
		return standsTwice(name)
	case made:
		if st, err := jail.Lstat(name); err != nil || !st.IsDir() {
			return blocked(abi.Denied, ReasonName, name, "unpack: %q is a file and a folder at once", clip(name))
		}
		return nil
	}
	if parent := path.Dir(name); parent != "." {
		if err := u.folder(jail, parent); err != nil {
			return err
		}
	}
	if err := jail.Mkdir(name, 0o755); err != nil {
		return trouble("make the folder", name, err)
	}
	u.seen[fold(name)] = name
	// A folder that no entry named counts as well: one name can hold five hundred of them.
	if u.report.Folders++; u.report.Folders > u.opt.Entries {
		return blocked(abi.TooLarge, ReasonCount, name, "unpack: more than %d folders", u.opt.Entries)
	}
	return nil
}

// file writes one file, and unpacks it in turn when it is an archive and nested ones are wanted.
func (u *unpacker) file(jail *os.Root, e entry, name string, depth int) error {
	if parent := path.Dir(name); parent != "." {
		if err := u.folder(jail, parent); err != nil {
			return err
		}
	}
	perm := fs.FileMode(0o644)
	if e.mode&0o100 != 0 {
		perm = 0o755
	}
	f, err := jail.OpenFile(name, os.O_CREATE|os.O_EXCL|os.O_RDWR, perm)
	if errors.Is(err, fs.ErrExist) {
		return standsTwice(e.name)
	}
	if err != nil {
		return trouble("make the file", name, err)
	}
	defer f.Close()
	n, err := u.copy(f, e)
	if err != nil {
		return err
	}
	if u.opt.Nested {
		inner := io.NewSectionReader(f, 0, n)
		if kind, err := detect(inner); err == nil && kind != bare {
			return u.inner(jail, f, inner, name, depth)
		}
	}
	u.report.Files++
	u.report.Bytes += n
	return nil
}

// inner replaces an archive that was found inside by the folder of what it holds.
func (u *unpacker) inner(jail *os.Root, f *os.File, src Source, name string, depth int) error {
	// The bytes stay readable through f while the name becomes a folder; what cannot do that reads them from a neighbour.
	aside := name + ".arw-inner"
	delete(u.seen, fold(name))
	if err := jail.Rename(name, aside); err != nil {
		return trouble("set aside", name, err)
	}
	if err := u.folder(jail, name); err != nil {
		return err
	}
	if err := u.archive(jail, src, name, depth+1); err != nil {
		return err
	}
	_ = f.Close()
	if err := jail.Remove(aside); err != nil {
		return trouble("remove", aside, err)
	}
	return nil
}

const chunk = 256 << 10

// copy writes an entry's bytes and stops at the first bound it meets.
func (u *unpacker) copy(dst io.Writer, e entry) (int64, error) {
	src, err := e.open()
	if err != nil {
		return 0, damaged(e.name, err)
	}
	if u.buf == nil {
		u.buf = make([]byte, chunk)
	}
	var total int64
	for {
		if err := u.alive(); err != nil {
			return total, err
		}
		n, err := src.Read(u.buf)
		total += int64(n)
		u.spent += int64(n)
		if err := u.within(e.name); err != nil {
			return total, err
		}
		if n > 0 {
			if _, err := dst.Write(u.buf[:n]); err != nil {
				return total, trouble("write the file", e.name, err)
			}
		}
		if err == io.EOF {
			break
		}
		if err != nil {
			return total, damaged(e.name, err)
		}
	}
	if e.size >= 0 && total != e.size {
		return total, blocked(abi.Corrupt, ReasonDamaged, e.name, "unpack: %q has %d bytes where the archive says %d", clip(e.name), total, e.size)
	}
	return total, nil
}

// within refuses more bytes than are allowed, and more than an honest archive of this size would hold. The first MiB is
// free, because short texts that repeat themselves pack very well.
func (u *unpacker) within(name string) error {
	if u.spent > u.opt.Bytes {
		return u.tooMuch(name)
	}
	if u.spent > 1<<20 && u.spent/int64(u.opt.Ratio) > u.packed {
		return blocked(abi.TooLarge, ReasonRatio, name, "unpack: more than %d bytes come out of each of its %d bytes", u.opt.Ratio, u.packed)
	}
	return nil
}

func (u *unpacker) tooMuch(name string) error {
	return blocked(abi.TooLarge, ReasonSize, name, "unpack: at %q it exceeds %d bytes", clip(name), u.opt.Bytes)
}

func damaged(name string, err error) error {
	var e *abi.Error
	if errors.As(err, &e) {
		return err
	}
	return blocked(abi.Corrupt, ReasonDamaged, name, "unpack %q: %w", clip(name), err)
}
