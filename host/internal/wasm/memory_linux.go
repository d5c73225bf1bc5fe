//go:build linux && (amd64 || arm64)

package wasm

import (
	"encoding/binary"
	"os"
	"sync"
	"unsafe"

	"golang.org/x/sys/unix"
)

// On Linux the image lives in an anonymous file that every instance maps copy-on-write. The kernel then knows which pages
// an instance has written: those that are no longer the file's. Setting back copies just these, in place, so that the
// next call meets no page faults; idle instances share all the rest.

// newImage copies buf into an image. Without anonymous files the image lives on the heap, and everything is compared.
func newImage(buf []byte, portable bool) *image {
	if len(buf) == 0 || portable {
		return heapImage(buf)
	}
	fd, err := unix.MemfdCreate("arw-image", unix.MFD_CLOEXEC|unix.MFD_ALLOW_SEALING)
	if err != nil {
		return heapImage(buf)
	}
	for off := 0; off < len(buf) && err == nil; {
		var n int
		n, err = unix.Pwrite(fd, buf[off:], int64(off))
		off += n
	}
	if err == nil {
		// From here on nobody, this process included, can change what calls start from.
		_, err = unix.FcntlInt(uintptr(fd), unix.F_ADD_SEALS, unix.F_SEAL_WRITE|unix.F_SEAL_SHRINK|unix.F_SEAL_GROW|unix.F_SEAL_SEAL)
	}
	var mem []byte
	if err == nil {
		mem, err = unix.Mmap(fd, 0, len(buf), unix.PROT_READ, unix.MAP_SHARED)
	}
	if err != nil {
		_ = unix.Close(fd) // a descriptor that was never written to disk
		return heapImage(buf)
	}
	return &image{bytes: mem, fd: fd}
}

func (i *image) release() {
	if i.fd >= 0 {
		_ = unix.Munmap(i.bytes) // it is ours and mapped: there is nothing to do about an error
		_ = unix.Close(i.fd)
	}
	i.bytes, i.fd = nil, -1
}

func newRoom(portable bool) room {
	if portable {
		return &heapRoom{}
	}
	return &mapRoom{}
}

// mapRoom is a reservation of addresses, the beginning of which can be used.
type mapRoom struct {
	base      unsafe.Pointer
	most      int
	committed int
	mapped    bool // the beginning is an image's file
	// What the kernel is asked and what it answers. They are here because their addresses must not change.
	ask     pagemapScanArg
	regions [32]pageRegion
}

// reserve takes addresses for most bytes, and no memory. One page is taken when most is 0, so that there is a base.
func (r *mapRoom) reserve(most int) error {
	base, err := unix.MmapPtr(-1, 0, nil, uintptr(max(most, pageSize)), unix.PROT_NONE, unix.MAP_PRIVATE|unix.MAP_ANON|unix.MAP_NORESERVE)
	if err != nil {
		return os.NewSyscallError("mmap", err)
	}
	r.base, r.most = base, most
	return nil
}

func (r *mapRoom) bytes() []byte { return unsafe.Slice((*byte)(r.base), r.committed) }

// commit makes the first n bytes usable; new ones are zero.
func (r *mapRoom) commit(n int) error {
	if n > r.most {
		return errNoMemory
	}
	if n <= r.committed {
		return nil
	}
	more := unsafe.Slice((*byte)(unsafe.Add(r.base, r.committed)), n-r.committed)
	if err := unix.Mprotect(more, unix.PROT_READ|unix.PROT_WRITE); err != nil {
		return os.NewSyscallError("mprotect", err)
	}
	r.committed = n
	return nil
}

// attach puts the image at the beginning of the room.
func (r *mapRoom) attach(img *image) error {
	if img.fd < 0 {
		if err := r.commit(len(img.bytes)); err != nil {
			return err
		}
		copy(r.bytes(), img.bytes)
		return nil
	}
	_, err := unix.MmapPtr(img.fd, 0, r.base, uintptr(len(img.bytes)), unix.PROT_READ|unix.PROT_WRITE, unix.MAP_PRIVATE|unix.MAP_FIXED|unix.MAP_NORESERVE)
	if err != nil {
		return os.NewSyscallError("mmap", err)
	}
	r.committed, r.mapped = max(r.committed, len(img.bytes)), true
	return nil
}

// drop gives the memory between from and to back; it reads as zero afterwards.
func (r *mapRoom) drop(from, to int) bool {
	return unix.Madvise(unsafe.Slice((*byte)(unsafe.Add(r.base, from)), to-from), unix.MADV_DONTNEED) == nil
}

func (r *mapRoom) release() {
	if r.base != nil {
		_ = unix.MunmapPtr(r.base, uintptr(max(r.most, pageSize))) // it is ours and mapped: there is nothing to do about an error
	}
	*r = mapRoom{}
}

// changed tells the ranges of the image's mapping that may have been written; false when the kernel does not say.
func (r *mapRoom) changed(img *image, tell func(from, to int)) bool {
	if !r.mapped {
		return false
	}
	switch pm := pagemap(); {
	case pm == nil:
		return false
	case pm.scan:
		return r.scan(pm, len(img.bytes), tell)
	default:
		return r.read(pm, len(img.bytes), tell)
	}
}

// pagemapFile is the kernel's description of this process's pages.
type pagemapFile struct {
	file *os.File
	fd   uintptr
	scan bool // the kernel has PAGEMAP_SCAN (Linux 6.7)
	page int
}

// pagemap opens the description once; nil where it cannot be read.
var pagemap = sync.OnceValue(func() *pagemapFile {
	f, err := os.Open("/proc/self/pagemap")
	if err != nil {
		return nil
	}
	pm := &pagemapFile{file: f, fd: f.Fd(), page: os.Getpagesize()}
	var entry [8]byte
	probe := make([]byte, 2*pm.page)
	at := uintptr(unsafe.Pointer(&probe[0])) / uintptr(pm.page) * uintptr(pm.page)
	r := &mapRoom{}
	_, pm.scan = r.ioctl(pm, at, at+uintptr(pm.page))
	if _, err := f.ReadAt(entry[:], int64(at)/int64(pm.page)*8); err != nil && !pm.scan {
		return nil
	}
	return pm
})

// PAGEMAP_SCAN, as linux/fs.h has it.
const (
	pagemapScan   = 0xc0606610
	pageIsFile    = 1 << 2
	pageIsPresent = 1 << 3
	pageIsSwapped = 1 << 4
)

type pageRegion struct{ start, end, categories uint64 }

type pagemapScanArg struct {
	size, flags, start, end, walkEnd, vec, vecLen, maxPages uint64
	inverted, mask, anyOf, returned                         uint64
}

// ioctl asks for the pages between start and end that exist and are not the file's; the answer is in r.regions.
func (r *mapRoom) ioctl(pm *pagemapFile, start, end uintptr) (found int, ok bool) {
	r.ask = pagemapScanArg{
		size: uint64(unsafe.Sizeof(r.ask)), start: uint64(start), end: uint64(end),
		vec: uint64(uintptr(unsafe.Pointer(&r.regions[0]))), vecLen: uint64(len(r.regions)),
		inverted: pageIsFile, mask: pageIsFile, anyOf: pageIsPresent | pageIsSwapped,
	}
	// Raw: the answer takes a microsecond, and telling the scheduler of it would take as long again.
	n, _, errno := unix.RawSyscall(unix.SYS_IOCTL, pm.fd, pagemapScan, uintptr(unsafe.Pointer(&r.ask)))
	return int(n), errno == 0
}

func (r *mapRoom) scan(pm *pagemapFile, n int, tell func(from, to int)) bool {
	base := uintptr(r.base)
	for at, end := base, base+uintptr(n); at < end; at = uintptr(r.ask.walkEnd) {
		found, ok := r.ioctl(pm, at, end)
		if !ok || r.ask.walkEnd <= uint64(at) {
			return false
		}
		for _, reg := range r.regions[:found] {
			tell(int(uintptr(reg.start)-base), int(uintptr(reg.end)-base))
		}
	}
	return true
}

// Bits of an entry of /proc/self/pagemap.
const (
	entryFile    = 1 << 61
	entrySwapped = 1 << 62
	entryPresent = 1 << 63
)

func (r *mapRoom) read(pm *pagemapFile, n int, tell func(from, to int)) bool {
	var entries [512 * 8]byte
	for from := 0; from < n; {
		count := min(len(entries)/8, (n-from+pm.page-1)/pm.page)
		at := (int64(uintptr(r.base)) + int64(from)) / int64(pm.page) * 8
		if _, err := pm.file.ReadAt(entries[:count*8], at); err != nil {
			return false
		}
		for i := range count {
			e := binary.LittleEndian.Uint64(entries[i*8:])
			if e&(entryPresent|entrySwapped) != 0 && e&entryFile == 0 {
				tell(from, min(from+pm.page, n))
			}
			from += pm.page
		}
	}
	return true
}
