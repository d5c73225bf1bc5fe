package gguf_test

import (
	"bytes"
	"encoding/binary"
	"io"
	"strings"
	"testing"

	"github.com/arw-project/arw/abi"
	"github.com/arw-project/arw/host/internal/infer/gguf"
	"github.com/arw-project/arw/host/internal/infer/infertest"
)

func TestAHeaderIsKnownBeforeLoading(t *testing.T) {
	t.Parallel()
	file := infertest.TinyGGUF(1)
	m, err := gguf.Read(bytes.NewReader(file), int64(len(file)))
	if err != nil {
		t.Fatal(err)
	}
	want := gguf.Model{
		Version: 3, Architecture: "llama", Name: "arw tiny 1", License: "none: random numbers", Quantisation: "F32", Context: infertest.TinyContext,
		Width: 64, Layers: 2, Heads: 4, KVHeads: 2, Vocabulary: m.Vocabulary, Tensors: 21, Parameters: m.Parameters, Template: true,
		DataAt: m.DataAt, DataEnd: int64(len(file)),
	}
	if *m != want {
		t.Errorf("got  %+v\nwant %+v", *m, want)
	}
	if got := m.CacheBytes(512); got != 2*2*512*2*32 {
		t.Errorf("a cache of %d bytes for 512 tokens", got)
	}
}

// Wherever a file is cut off, it is refused, and the header is said to be the place when it is.
func TestATruncatedFileIsRefused(t *testing.T) {
	t.Parallel()
	file := infertest.TinyGGUF(1)
	for _, n := range []int{0, 3, 4, 23, 24, 100, 5000, len(file) / 2, len(file) - 1} {
		if _, err := gguf.Read(bytes.NewReader(file[:n]), int64(n)); abi.CodeOf(err) != abi.Corrupt {
			t.Errorf("%d of %d bytes: %v", n, len(file), err)
		}
	}
}

func TestAForeignFileIsRefused(t *testing.T) {
	t.Parallel()
	head := func(version uint32, tensors, keys uint64) []byte {
		b := append([]byte("GGUF"), make([]byte, 20)...)
		binary.LittleEndian.PutUint32(b[4:], version)
		binary.LittleEndian.PutUint64(b[8:], tensors)
		binary.LittleEndian.PutUint64(b[16:], keys)
		return b
	}
	for _, c := range []struct {
		name string
		file []byte
		code abi.Code
		says string
	}{
		{"text", []byte(strings.Repeat("not a model ", 10)), abi.Corrupt, "begins with"},
		{"pickle", append([]byte("PK\x03\x04"), make([]byte, 60)...), abi.Corrupt, "begins with"},
		{"version 1", head(1, 0, 0), abi.Incompatible, "version 1"},
		{"big endian", head(3<<24, 0, 0), abi.Incompatible, "version"},
		{"many tensors", head(3, 1<<40, 0), abi.Corrupt, "tensors"},
		{"a giant text", append(head(3, 0, 1), 0xff, 0xff, 0xff, 0xff, 0, 0, 0, 0), abi.Corrupt, "a text of"},
		{"no architecture", head(3, 0, 0), abi.Corrupt, "architecture"},
	} {
		if _, err := gguf.Read(bytes.NewReader(c.file), int64(len(c.file))); abi.CodeOf(err) != c.code || !strings.Contains(err.Error(), c.says) {
			t.Errorf("%s: %v (%v), want %v that says %q", c.name, err, abi.CodeOf(err), c.code, c.says)
		}
	}
}

// Whatever the bytes are, reading ends, needs no memory that they only claim, and refuses with a code or gives a header
// that lies inside what was read.
func FuzzRead(f *testing.F) {
	file := infertest.TinyGGUF(1)
	f.Add(file[:12000])
	f.Add(file[:2000])
	f.Add([]byte("GGUF\x03\x00\x00\x00"))
	f.Fuzz(func(t *testing.T, in []byte) {
		m, err := gguf.Read(bytes.NewReader(in), -1)
		if err != nil {
			if code := abi.CodeOf(err); code != abi.Corrupt && code != abi.Incompatible || err == io.EOF {
				t.Fatalf("%v has code %v", err, code)
			}
			return
		}
		if m.DataAt > int64(len(in))+1<<20 || m.DataEnd < m.DataAt || m.Architecture == "" {
			t.Fatalf("%+v of %d bytes", m, len(in))
		}
		m.CacheBytes(1 << 40)
	})
}
