package wasm

import (
	"bytes"
	"encoding/binary"
	"encoding/json"
	"errors"
	"fmt"
	"hash/crc32"
	"io/fs"
	"log/slog"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"time"

	"github.com/arw-project/arw/abi"
	"github.com/arw-project/arw/host/internal/wasm/rewrite"
)

// artifact is an admitted module: rewritten, with all a host must know to run it.
type artifact struct {
	Imports []Import
	Min     uint32 // pages it starts with
	Cap     uint32 // most pages
	Globals []uint32
	Start   bool
	Fixed   string
	Plugin  bool     // made for Extism
	Tools   []string // its exports that can be tools
	Places  []place  // where Data goes
	Size    int      // of the binary

	key    string
	data   []rewrite.Data
	binary []byte
}

type place struct {
	Offset uint32
	Size   int
}

// cache is a folder with one folder for every rewritten module, named by the digest of the original, the page limit and the
// version of the rewriter and of the ABI: the module itself, and the code the compiler made of it. Checksums find damage,
// which is told in the log and made good by doing the work again. They do not find malice: whoever can write here needs none.
type cache struct {
	dir   string // empty: nothing is kept
	log   *slog.Logger
	locks sync.Map // key → *sync.Mutex: one writer for each entry
}

const (
	moduleFile = "module"
	codeDir    = "code"
	sealFile   = "seal"
)

// version ends the name of every entry.
var version = fmt.Sprintf("r%d-%s", rewrite.Version, abi.Version)

// open makes the folder and lets the entries of other versions go.
func (c *cache) open() error {
	if c.dir == "" {
		return nil
	}
	if err := os.MkdirAll(c.dir, 0o700); err != nil {
		return err
	}
	entries, err := os.ReadDir(c.dir)
	if err != nil {
		return err
	}
	for _, e := range entries {
		digest, _, ours := strings.Cut(e.Name(), "-")
		switch ours = ours && len(digest) == 64; {
		case ours && !strings.HasSuffix(e.Name(), "-"+version):
			c.remove(e.Name())
		case ours:
			c.tidy(e.Name())
		}
	}
	return nil
}

// key names the entry of a module.
func (c *cache) key(digest [32]byte, pages uint32) string {
	return fmt.Sprintf("%x-%d-%s", digest, pages, version)
}

func (c *cache) lock(key string) (unlock func()) {
	mu, _ := c.locks.LoadOrStore(key, &sync.Mutex{})
	mu.(*sync.Mutex).Lock()
	return mu.(*sync.Mutex).Unlock
}

func (c *cache) remove(key string) {
	if err := os.RemoveAll(filepath.Join(c.dir, key)); err != nil {
		c.log.Warn("a cache entry cannot be removed", "entry", key, "error", err)
	}
}

var castagnoli = crc32.MakeTable(crc32.Castagnoli)

var errDamaged = errors.New("it is damaged")

// get reads an artifact; nil when there is none, or none that is whole.
func (c *cache) get(key string) *artifact {
	if c.dir == "" {
		return nil
	}
	raw, err := os.ReadFile(filepath.Join(c.dir, key, moduleFile))
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	a := &artifact{key: key}
	if err == nil {
		err = a.decode(raw)
	}
	if err != nil {
		c.log.Warn("a cached module is made again", "entry", key, "error", err)
		defer c.lock(key)()
		c.remove(key)
		return nil
	}
	return a
}

// put keeps an artifact. That it could not is told in the log and is nobody's problem.
func (c *cache) put(a *artifact) {
	if c.dir == "" {
		return
	}
	dir := filepath.Join(c.dir, a.key)
	err := os.MkdirAll(dir, 0o700)
	if err == nil {
		err = writeFile(dir, moduleFile, a.encode())
	}
	if err != nil {
		c.log.Warn("a rewritten module cannot be kept", "entry", a.key, "error", err)
	}
}

// writeFile makes a file appear whole or not at all.
func writeFile(dir, name string, data []byte) error {
	f, err := os.CreateTemp(dir, name+".*.tmp")
	if err != nil {
		return err
	}
	_, err = f.Write(data)
	if cerr := f.Close(); err == nil {
		err = cerr
	}
	if err == nil {
		err = os.Rename(f.Name(), filepath.Join(dir, name))
	}
	if err != nil {
		_ = os.Remove(f.Name()) // what is left of a failure that is told
	}
	return err
}

// encode: checksum, length of the head, head as JSON, data segments, binary.
func (a *artifact) encode() []byte {
	a.Places, a.Size = nil, len(a.binary)
	for _, d := range a.data {
		a.Places = append(a.Places, place{d.Offset, len(d.Bytes)})
	}
	head, _ := json.Marshal(a) // numbers and text: it cannot fail
	out := binary.LittleEndian.AppendUint32(make([]byte, 4, 8+len(head)+len(a.binary)), uint32(len(head)))
	out = append(out, head...)
	for _, d := range a.data {
		out = append(out, d.Bytes...)
	}
	out = append(out, a.binary...)
	binary.LittleEndian.PutUint32(out, crc32.Checksum(out[4:], castagnoli))
	return out
}

// decode is the other way round; the artifact shares raw.
func (a *artifact) decode(raw []byte) error {
	if len(raw) < 8 || binary.LittleEndian.Uint32(raw) != crc32.Checksum(raw[4:], castagnoli) {
		return errDamaged
	}
	n := binary.LittleEndian.Uint32(raw[4:])
	if raw = raw[8:]; uint64(n) > uint64(len(raw)) {
		return errDamaged
	}
	if err := json.Unmarshal(raw[:n], a); err != nil {
		return errDamaged
	}
	raw = raw[n:]
	for _, p := range a.Places {
		if p.Size < 0 || p.Size > len(raw) {
			return errDamaged
		}
		a.data = append(a.data, rewrite.Data{Offset: p.Offset, Bytes: raw[:p.Size:p.Size]})
		raw = raw[p.Size:]
	}
	if len(raw) != a.Size {
		return errDamaged
	}
	a.binary = raw
	return nil
}

// code is where an entry's compiled code lies, and whether it is there already; when it is not, a folder of the caller's
// own, since another process may be compiling the same module. The compiler's own checksum does not cover its tables of
// offsets, and a wrong one would be a jump into nowhere; so a seal over whole files is checked first. The seal names the
// folder it speaks for. The caller has the entry's lock.
func (c *cache) code(key string) (dir string, warm bool) {
	if c.dir == "" || key == "" {
		return "", false
	}
	entry := filepath.Join(c.dir, key)
	if sealed, err := os.ReadFile(filepath.Join(entry, sealFile)); err == nil {
		name, want, _ := bytes.Cut(sealed, []byte("\n"))
		dir = filepath.Join(entry, filepath.Base(string(name)))
		have, err := seal(dir)
		if err == nil && bytes.Equal(have, want) {
			return dir, true
		}
		c.log.Warn("cached code is compiled again", "entry", key, "error", errors.Join(err, errDamaged))
	}
	err := os.MkdirAll(entry, 0o700)
	if err == nil {
		dir, err = os.MkdirTemp(entry, codeDir+"-")
	}
	if err != nil {
		c.log.Warn("compiled code cannot be kept", "entry", key, "error", err)
		return "", false
	}
	return dir, false
}

// warm says whether compiled code waits, without looking at it.
func (c *cache) warm(key string) bool {
	if c.dir == "" {
		return false
	}
	_, err := os.Stat(filepath.Join(c.dir, key, sealFile))
	return err == nil
}

// seal writes down what the compiler left in a folder; the caller has the entry's lock. Of two processes that compiled
// the same module the last one's folder counts.
func (c *cache) seal(key, dir string) {
	sum, err := seal(dir)
	if err == nil {
		err = writeFile(filepath.Join(c.dir, key), sealFile, append([]byte(filepath.Base(dir)+"\n"), sum...))
	}
	if err != nil {
		c.log.Warn("compiled code is not sealed, and will be made again", "entry", key, "error", err)
	}
}

// leftFor is how long a folder of code that no seal names is left alone: a compiler may still be at work in it.
const leftFor = time.Hour

// tidy removes folders of code that no seal names: damaged ones, and those of compilers that did not come to their end.
func (c *cache) tidy(key string) {
	entry := filepath.Join(c.dir, key)
	sealed, _ := os.ReadFile(filepath.Join(entry, sealFile)) // none: no folder counts
	name, _, _ := bytes.Cut(sealed, []byte("\n"))
	dirs, _ := filepath.Glob(filepath.Join(entry, codeDir+"-*"))
	for _, dir := range dirs {
		st, err := os.Stat(dir)
		if err == nil && filepath.Base(dir) != string(name) && time.Since(st.ModTime()) > leftFor {
			c.remove(filepath.Join(key, filepath.Base(dir)))
		}
	}
}

// seal lists every file below dir with its checksum.
func seal(dir string) ([]byte, error) {
	var out []byte
	err := filepath.WalkDir(dir, func(path string, e fs.DirEntry, err error) error {
		if err != nil || e.IsDir() {
			return err
		}
		data, err := os.ReadFile(path)
		if err != nil {
			return err
		}
		rel, err := filepath.Rel(dir, path)
		out = fmt.Appendf(out, "%08x %d %s\n", crc32.Checksum(data, castagnoli), len(data), filepath.ToSlash(rel))
		return err
	})
	return out, err
}
