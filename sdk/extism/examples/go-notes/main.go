//go:build wasip1

// Command go-notes keeps short notes by name: a plugin in plain Go whose imports are declared by hand, as the Extism PDK for
// Go declares them. "arw pack build" compiles it with the Go toolchain.
package main

import (
	"encoding/json"
	"strings"
)

func main() {}

//go:wasmimport extism:host/env input_length
func inputLength() uint64

//go:wasmimport extism:host/env input_load_u8
func inputLoad(at uint64) uint32

//go:wasmimport extism:host/env alloc
func alloc(n uint64) uint64

//go:wasmimport extism:host/env length
func length(at uint64) uint64

//go:wasmimport extism:host/env load_u8
func load(at uint64) uint32

//go:wasmimport extism:host/env store_u8
func store(at uint64, v uint32)

//go:wasmimport extism:host/env output_set
func outputSet(at, n uint64)

//go:wasmimport extism:host/env error_set
func errorSet(at uint64)

//go:wasmimport extism:host/user arw_kv_get
func kvGet(key uint64) uint64

//go:wasmimport extism:host/user arw_kv_put
func kvPut(key, val uint64) uint64

const frameError = 2

func block(b []byte) uint64 {
	at := alloc(uint64(len(b)))
	for i, c := range b {
		store(at+uint64(i), uint32(c))
	}
	return at
}

// reply is what a host function answered: a value, or an error frame.
func reply(at uint64) (value, frame []byte) {
	b := make([]byte, length(at))
	for i := range b {
		b[i] = byte(load(at + uint64(i)))
	}
	if len(b) == 0 || b[0] == frameError {
		return nil, b
	}
	return b[1:], nil
}

type note struct {
	Name string `json:"name"`
	Text string `json:"text"`
}

// input reads the call's input; ok is false when an error was set.
func input(n *note) (ok bool) {
	b := make([]byte, inputLength())
	for i := range b {
		b[i] = byte(inputLoad(uint64(i)))
	}
	if err := json.Unmarshal(b, n); err != nil {
		errorSet(block([]byte("the input is no note: " + err.Error())))
		return false
	}
	n.Name = strings.ToLower(strings.TrimSpace(n.Name))
	return true
}

func answer(n note) int32 {
	b, _ := json.Marshal(n) // two texts
	outputSet(block(b), uint64(len(b)))
	return 0
}

// refused passes the host's error on, code and message.
func refused(frame []byte) int32 {
	errorSet(block(frame))
	return 1
}

//go:wasmexport note_write
func noteWrite() int32 {
	var n note
	if !input(&n) {
		return 1
	}
	if _, frame := reply(kvPut(block([]byte("note/"+n.Name)), block([]byte(n.Text)))); frame != nil {
		return refused(frame)
	}
	return answer(n)
}

//go:wasmexport note_read
func noteRead() int32 {
	var n note
	if !input(&n) {
		return 1
	}
	text, frame := reply(kvGet(block([]byte("note/" + n.Name))))
	if frame != nil {
		return refused(frame)
	}
	n.Text = string(text)
	return answer(n)
}
