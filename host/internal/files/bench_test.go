package files_test

import (
	"fmt"
	"os"
	"path/filepath"
	"testing"

	"github.com/arw-project/arw/abi"
	"github.com/arw-project/arw/host/internal/files"
)

func BenchmarkFolders(b *testing.B) {
	dir := b.TempDir()
	for i := range 1000 {
		if err := os.WriteFile(filepath.Join(dir, fmt.Sprintf("%04d.md", i)), make([]byte, 4096), 0o644); err != nil {
			b.Fatal(err)
		}
	}
	f := files.New()
	b.Run("read_4KiB", func(b *testing.B) {
		buf := make([]byte, 8192)
		for b.Loop() {
			if n, err := f.Read(b.Context(), "read:"+dir, filepath.Join(dir, "0500.md"), 0, buf); n != 4096 || err != nil {
				b.Fatal(n, err)
			}
		}
	})
	b.Run("list_1000", func(b *testing.B) {
		for b.Loop() {
			if e, _, err := f.List(b.Context(), "read:"+dir, abi.FSList{Path: dir}); len(e) != 1000 || err != nil {
				b.Fatal(len(e), err)
			}
		}
	})
	b.Run("os_ReadFile_4KiB", func(b *testing.B) {
		for b.Loop() {
			if _, err := os.ReadFile(filepath.Join(dir, "0500.md")); err != nil {
				b.Fatal(err)
			}
		}
	})
}
