//go:build wasip1

// Work of several kinds, to measure what counting costs.
package main

import (
	"crypto/sha256"
	"encoding/json"
	"sort"
	"strings"
)

func main() {}

var sink int

//go:wasmexport sha
func sha(n uint32) {
	data := make([]byte, 1024)
	for range n {
		sum := sha256.Sum256(data)
		data[0] = sum[0]
	}
}

//go:wasmexport sorting
func sorting(n uint32) {
	v := make([]int, n)
	x := uint32(1)
	for i := range v {
		x = x*1664525 + 1013904223
		v[i] = int(x >> 8)
	}
	sort.Ints(v)
	sink += v[0]
}

//go:wasmexport parse
func parse(n uint32) {
	doc := []byte(`{"id":7,"method":"get","key":"user:42","list":[1,2,3,4.5,"x",null,true],"nested":{"a":{"b":[{}]}}}`)
	for range n {
		var v map[string]any
		if json.Unmarshal(doc, &v) == nil {
			sink += len(v)
		}
	}
}

//go:wasmexport text
func text(n uint32) {
	s := strings.Repeat("the quick brown fox jumps over the lazy dog ", 20)
	for range n {
		sink += strings.Count(strings.ToUpper(s), "FOX") + len(strings.Fields(s))
	}
}
