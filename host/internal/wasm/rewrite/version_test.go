package rewrite_test

import (
	"crypto/sha256"
	"fmt"
	"testing"

	"github.com/arw-project/arw/host/internal/wasm/rewrite"
)

// TestVersion: rewritten modules are kept by Version, so what Rewrite makes of a module may not change under the same one.
// When this fails on purpose, raise Version and write the new sum down.
func TestVersion(t *testing.T) {
	const version, want = 1, "36a40fc8fd4e32a0"
	h := sha256.New()
	for _, bin := range [][]byte{
		tightLoop(),
		priced(3, 0x41, 1, 0x40, 0, 0x1a, 0x10, 0, 0x10, 1),                                          // grows, calls out and in
		priced(20, 0x03, 0x40, 0x41, 0, 0x41, 0, 0x41, 9, 0xfc, 11, 0, 0x20, 0, 0x0d, 0, 0x0b, 0x0f), // a loop, a fill, a return
		priced(0, 0x41, 0, 0x11, 0, 0),                                                               // an indirect call
	} {
		m, err := rewrite.Decode(bin)
		if err != nil {
			t.Fatal(err)
		}
		for _, o := range []rewrite.Options{{Pages: 4}, {Pages: 4, Spare: true, TakeData: true}} {
			r, err := m.Rewrite(o)
			if err != nil {
				t.Fatal(err)
			}
			h.Write(r.Binary)
		}
	}
	if sum := fmt.Sprintf("%.8x", h.Sum(nil)); sum != want || rewrite.Version != version {
		t.Errorf("the output is %s under version %d, was %s under %d", sum, rewrite.Version, want, version)
	}
}
