package codec_test

import (
	"encoding/json"
	"testing"

	"github.com/arw-project/arw/sdk/go/guest/codec"
)

type small struct {
	Name  string   `json:"name"`
	Count int      `json:"count"`
	Done  bool     `json:"done,omitempty"`
	Tags  []string `json:"tags"`
}

var (
	smallDoc  = []byte(`{"name":"Ada Lovelace","count":42,"tags":["first","second"]}`)
	smallJSON = codec.For[small]()
)

// BenchmarkSmall sets both codecs the same task: a document of 60 bytes in and out again.
func BenchmarkSmall(b *testing.B) {
	buf := make([]byte, 0, 256)
	b.Run("decode/codec", func(b *testing.B) {
		b.ReportAllocs()
		for b.Loop() {
			var v small
			if err := smallJSON.Decode(smallDoc, &v); err != nil {
				b.Fatal(err)
			}
		}
	})
	b.Run("decode/encoding-json", func(b *testing.B) {
		b.ReportAllocs()
		for b.Loop() {
			var v small
			if err := json.Unmarshal(smallDoc, &v); err != nil {
				b.Fatal(err)
			}
		}
	})
	v := small{Name: "Ada Lovelace", Count: 42, Tags: []string{"first", "second"}}
	b.Run("encode/codec", func(b *testing.B) {
		b.ReportAllocs()
		for b.Loop() {
			if _, err := smallJSON.Append(buf, &v); err != nil {
				b.Fatal(err)
			}
		}
	})
	b.Run("encode/encoding-json", func(b *testing.B) {
		b.ReportAllocs()
		for b.Loop() {
			if _, err := json.Marshal(&v); err != nil {
				b.Fatal(err)
			}
		}
	})
}
