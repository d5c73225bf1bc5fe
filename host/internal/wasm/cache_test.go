package wasm

import (
	"encoding/binary"
	"hash/crc32"
	"reflect"
	"testing"

	"github.com/arw-project/arw/host/internal/wasm/rewrite"
)

// FuzzArtifact: a cached module that says anything at all is read or called damaged, also when its checksum is right.
func FuzzArtifact(f *testing.F) {
	a := &artifact{
		Imports: []Import{{"arw:kv", "get"}}, Min: 1, Cap: 16, Globals: []uint32{0, 3}, Start: true,
		data: []rewrite.Data{{Offset: 9, Bytes: []byte("data")}, {Offset: 0, Bytes: []byte("more")}}, binary: []byte("\x00asm"),
	}
	raw := a.encode()
	f.Add(raw[4:])
	f.Add(raw[4:12])
	f.Add([]byte("\xff\xff\xff\xff{}"))
	f.Add([]byte("\x1a\x00\x00\x00{\"Places\":[{\"Size\":-1}]}x"))
	f.Add([]byte("\x20\x00\x00\x00{\"Places\":[{\"Size\":99999999}]}x"))
	again := &artifact{}
	if err := again.decode(raw); err != nil || !reflect.DeepEqual(again, a) {
		f.Fatalf("%+v became %+v: %v", a, again, err)
	}
	f.Fuzz(func(t *testing.T, rest []byte) {
		raw := append(binary.LittleEndian.AppendUint32(nil, crc32.Checksum(rest, castagnoli)), rest...)
		if err := (&artifact{}).decode(raw); err != nil && err != errDamaged {
			t.Fatal(err)
		}
	})
}
