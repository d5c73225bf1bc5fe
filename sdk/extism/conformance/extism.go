//go:build wasip1

package main

import (
	"encoding/binary"
	"encoding/json"
)

// Extism's runtime and the host's functions, declared as the Extism PDK for Go declares them.

//go:wasmimport extism:host/env input_length
func inputLength() uint64

//go:wasmimport extism:host/env input_load_u64
func inputLoad64(at uint64) uint64

//go:wasmimport extism:host/env input_load_u8
func inputLoad8(at uint64) uint32

//go:wasmimport extism:host/env alloc
func alloc(n uint64) uint64

//go:wasmimport extism:host/env length
func length(at uint64) uint64

//go:wasmimport extism:host/env load_u64
func load64(at uint64) uint64

//go:wasmimport extism:host/env load_u8
func load8(at uint64) uint32

//go:wasmimport extism:host/env store_u64
func store64(at, v uint64)

//go:wasmimport extism:host/env store_u8
func store8(at uint64, v uint32)

//go:wasmimport extism:host/env output_set
func outputSet(at, n uint64)

//go:wasmimport extism:host/env error_set
func errorSet(at uint64)

//go:wasmimport extism:host/user arw_log_write
func logWrite(level, msg uint64) uint64

//go:wasmimport extism:host/user arw_kv_get
func kvGet(key uint64) uint64

//go:wasmimport extism:host/user arw_kv_put
func kvPut(key, val uint64) uint64

//go:wasmimport extism:host/user arw_kv_delete
func kvDelete(key uint64) uint64

//go:wasmimport extism:host/user arw_kv_list
func kvList(req uint64) uint64

//go:wasmimport extism:host/user arw_kv_batch
func kvBatch(ops uint64) uint64

//go:wasmimport extism:host/user arw_event_emit
func eventEmit(kind, body uint64) uint64

//go:wasmimport extism:host/user arw_state_get
func stateGet(name uint64) uint64

//go:wasmimport extism:host/user arw_state_put
func statePut(name, doc uint64) uint64

//go:wasmimport extism:host/user arw_fs_list
func fsList(req uint64) uint64

//go:wasmimport extism:host/user arw_fs_stat
func fsStat(path uint64) uint64

//go:wasmimport extism:host/user arw_fs_read
func fsRead(path, offset, n uint64) uint64

//go:wasmimport extism:host/user arw_fs_write
func fsWrite(path, data uint64) uint64

//go:wasmimport extism:host/user arw_fs_remove
func fsRemove(path uint64) uint64

//go:wasmimport extism:host/user arw_clock_now
func clockNow() uint64

//go:wasmimport extism:host/user arw_clock_monotonic
func clockMonotonic() uint64

//go:wasmimport extism:host/user arw_rand_bytes
func randBytes(n uint64) uint64

//go:wasmimport extism:host/user arw_action_call
func actionCall(tool, in uint64) uint64

func input() []byte {
	n := inputLength()
	b := make([]byte, 0, n+8)
	at := uint64(0)
	for ; at+8 <= n; at += 8 {
		b = binary.LittleEndian.AppendUint64(b, inputLoad64(at))
	}
	for ; at < n; at++ {
		b = append(b, byte(inputLoad8(at)))
	}
	return b
}

func block(b []byte) uint64 {
	at := alloc(uint64(len(b)))
	i := 0
	for ; i+8 <= len(b); i += 8 {
		store64(at+uint64(i), binary.LittleEndian.Uint64(b[i:]))
	}
	for ; i < len(b); i++ {
		store8(at+uint64(i), uint32(b[i]))
	}
	return at
}

func read(at uint64) []byte {
	n := length(at)
	b := make([]byte, 0, n+8)
	i := uint64(0)
	for ; i+8 <= n; i += 8 {
		b = binary.LittleEndian.AppendUint64(b, load64(at+i))
	}
	for ; i < n; i++ {
		b = append(b, byte(load8(at+i)))
	}
	return b
}

// hostError is an error frame.
type hostError struct {
	code   uint32
	msg    string
	detail json.RawMessage
}

func (e *hostError) Error() string { return e.msg }

// frame is how the error is told to the host.
func (e *hostError) frame() []byte {
	b := binary.LittleEndian.AppendUint32([]byte{2}, e.code)
	b = binary.LittleEndian.AppendUint32(b, uint32(len(e.msg)))
	return append(append(b, e.msg...), e.detail...)
}

// reply takes a host function's answer apart.
func reply(at uint64) (kind byte, body []byte, err error) {
	b := read(at)
	if len(b) == 0 {
		return 0, nil, &hostError{code: memoryExhausted, msg: "no room for the reply"}
	}
	if b[0] != 2 {
		return b[0], b[1:], nil
	}
	n := binary.LittleEndian.Uint32(b[5:])
	return 2, nil, &hostError{code: binary.LittleEndian.Uint32(b[1:]), msg: string(b[9 : 9+n])}
}
