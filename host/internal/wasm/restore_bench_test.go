package wasm

import (
	"fmt"
	"testing"
)

// BenchmarkRestore is what compareAll and the choice of memory stand on: setting back a memory of which a call has written
// three pages, by size, in each way there is: copying the whole image, comparing every page, asking the kernel which pages
// were written, and throwing written pages away so that the next touch maps the file's again.
func BenchmarkRestore(b *testing.B) {
	for _, kib := range []int{64, 128, 256, 1088, 2624, 16384} {
		n := kib << 10
		first := make([]byte, n)
		for at := 0; at < n; at += 5 * osPage {
			first[at+9] = 7 // a fifth of the pages is not zero
		}
		ways := []struct {
			name     string
			portable bool
			restore  func(l *linear)
		}{
			{"copy", true, func(l *linear) { copy(l.buf, l.image.bytes) }},
			{"compare", true, func(l *linear) { l.setBack(0, n) }},
			{"ask", false, func(l *linear) { l.room.changed(l.image, l.back) }},
			{"remap", false, func(l *linear) { l.room.drop(0, n) }},
		}
		for _, w := range ways {
			b.Run(fmt.Sprintf("%dKiB/%s", kib, w.name), func(b *testing.B) {
				img := newImage(first, w.portable).survey()
				defer img.release()
				l := newLinear(w.portable, func(int64) bool { return true }, nil)
				l.image = img
				l.Allocate(0, uint64(n))
				l.Reallocate(uint64(n))
				defer l.Free()
				if !w.portable && !l.room.changed(img, l.back) {
					b.Skip("the system does not tell which pages were written")
				}
				for b.Loop() {
					l.buf[8]++
					l.buf[n/2]++
					l.buf[n-1]++
					w.restore(l)
				}
				if l.buf[8] != 0 || l.buf[n/2] != first[n/2] || l.buf[n-1] != 0 {
					b.Fatal("the memory is not what it was")
				}
			})
		}
	}
}
