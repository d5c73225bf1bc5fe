// Command extism is a plugin that keeps to Extism's own contract, with its imports written out, so that the tests need no
// PDK: what it imports and exports is what the Extism PDK for Go does.
package main

import (
	"crypto/rand"
	"encoding/hex"
	"fmt"
	"strconv"
	"strings"
	"time"
)

func main() {}

//go:wasmimport extism:host/env input_length
func inputLength() uint64

//go:wasmimport extism:host/env input_load_u8
func inputLoadU8(at uint64) uint32

//go:wasmimport extism:host/env input_load_u64
func inputLoadU64(at uint64) uint64

//go:wasmimport extism:host/env output_set
func outputSet(at, n uint64)

//go:wasmimport extism:host/env error_set
func errorSet(at uint64)

//go:wasmimport extism:host/env alloc
func alloc(n uint64) uint64

//go:wasmimport extism:host/env length
func length(at uint64) uint64

//go:wasmimport extism:host/env store_u8
func storeU8(at uint64, v uint32)

//go:wasmimport extism:host/env load_u8
func loadU8(at uint64) uint32

//go:wasmimport extism:host/env var_get
func varGet(name uint64) uint64

//go:wasmimport extism:host/env var_set
func varSet(name, value uint64)

//go:wasmimport extism:host/env config_get
func configGet(name uint64) uint64

//go:wasmimport extism:host/env http_request
func httpRequest(req, body uint64) uint64

//go:wasmimport extism:host/env log_info
func logInfo(at uint64)

//go:wasmimport extism:host/env get_log_level
func logLevel() int32

//go:wasmimport extism:host/user arw_kv_get
func kvGet(key uint64) uint64

//go:wasmimport extism:host/user arw_kv_put
func kvPut(key, val uint64) uint64

//go:wasmimport extism:host/user arw_clock_now
func clockNow() uint64

//go:wasmimport extism:host/user arw_rand_bytes
func randBytes(n uint64) uint64

//go:wasmimport extism:host/user arw_fs_read
func fsRead(path, offset, n uint64) uint64

//go:wasmimport extism:host/user arw_action_call
func actionCall(tool, in uint64) uint64

//go:wasmimport extism:host/user arw_log_write
func logWrite(level, msg uint64) uint64

//go:wasmimport extism:host/user arw_stream_read
func streamRead(handle, n uint64) uint64

//go:wasmimport extism:host/user arw_stream_write
func streamWrite(handle, data uint64) uint64

//go:wasmexport pump
func pump() int32 {
	for total := 0; ; {
		part := read(streamRead(0, 4))
		if part[0] != 1 || len(part) == 1 {
			return output(strconv.Itoa(total) + part[1:])
		}
		total += len(part) - 1
		if r := read(streamWrite(1, block(strings.ToUpper(part[1:])))); r != "\x01" {
			return output(r)
		}
	}
}

func input() string {
	n := inputLength()
	b := make([]byte, 0, n)
	for i := uint64(0); i < n; i++ {
		b = append(b, byte(inputLoadU8(i)))
	}
	return string(b)
}

func block(s string) uint64 {
	at := alloc(uint64(len(s)))
	for i := range len(s) {
		storeU8(at+uint64(i), uint32(s[i]))
	}
	return at
}

func read(at uint64) string {
	b := make([]byte, length(at))
	for i := range b {
		b[i] = byte(loadU8(at + uint64(i)))
	}
	return string(b)
}

func output(s string) int32 {
	outputSet(block(s), uint64(len(s)))
	return 0
}

var count = 100

//go:wasmexport echo
func echo() int32 { return output(input()) }

//go:wasmexport countUp
func countUp() int32 { count++; return output(strconv.Itoa(count)) }

//go:wasmexport fails
func fails() int32 { errorSet(block("it is " + input())); return 1 }

//go:wasmexport fails_silently
func failsSilently() int32 { return 7 }

//go:wasmexport traps
func traps() int32 { var p *int; return int32(*p) }

//go:wasmexport panics
func panics() int32 { panic("boom") }

// far reads outside Extism's memory.
//
//go:wasmexport far
func far() int32 { return int32(inputLoadU64(1 << 33)) }

//go:wasmexport far_byte
func farByte() int32 { storeU8(1<<40, 1); return output(strconv.Itoa(int(loadU8(1 << 40)))) }

//go:wasmexport spins
func spins() int32 {
	for i := uint64(0); ; i++ {
		if inputLoadU64(i%8) == 12345 { // never
			return 1
		}
	}
}

//go:wasmexport recurses
func recurses() int32 { return deeper(1) + 1 }

//go:noinline
func deeper(n int32) int32 {
	if n == 0 {
		return 0
	}
	return deeper(n+1) + n
}

var kept [][]byte

//go:wasmexport grows
func grows() int32 {
	for {
		kept = append(kept, make([]byte, 1<<20))
	}
}

//go:wasmexport fills_blocks
func fillsBlocks() int32 {
	for n := 0; ; n++ {
		if alloc(1<<20) == 0 {
			return output(strconv.Itoa(n))
		}
	}
}

//go:wasmexport vars
func vars() int32 {
	was := ""
	if v := varGet(block("v")); v != 0 {
		was = read(v)
	}
	varSet(block("v"), block(input()))
	return output(was + "|" + read(varGet(block("v"))))
}

//go:wasmexport configured
func configured() int32 { return output(strconv.FormatUint(configGet(block("k")), 10)) }

//go:wasmimport extism:host/env http_status_code
func httpStatus() int32

//go:wasmimport extism:host/env http_headers
func httpHeaders() uint64

//go:wasmexport fetches
func fetches() int32 {
	body := httpRequest(block(input()), block("the body"))
	return output(strconv.Itoa(int(httpStatus())) + " " + read(httpHeaders()) + " " + read(body))
}

//go:wasmexport http
func http() int32 {
	httpRequest(block(`{"url":"http://127.0.0.1:1/","method":"GET"}`), 0)
	return output("unreachable")
}

//go:wasmexport logs
func logs() int32 { logInfo(block(input())); return output(strconv.Itoa(int(logLevel()))) }

//go:wasmexport get
func get() int32 { return output(read(kvGet(block(input())))) }

//go:wasmexport put
func put() int32 {
	k, v, _ := strings.Cut(input(), "=")
	return output(read(kvPut(block(k), block(v))))
}

//go:wasmexport now
func now() int32 { return output(hex.EncodeToString([]byte(read(clockNow())))) }

//go:wasmexport random
func random() int32 { return output(read(randBytes(5))) }

//go:wasmexport file
func file() int32 { return output(read(fsRead(block(input()), 3, 64))) }

//go:wasmexport action
func action() int32 { return output(read(actionCall(block("ns/p"), block(input())))) }

//go:wasmexport writes_log
func writesLog() int32 { return output(read(logWrite(9, block("x")))) }

//go:wasmexport bad_block
func badBlock() int32 { return output(read(kvGet(12345678))) }

//go:wasmexport leftovers
func leftovers() int32 {
	// What an earlier call left in Extism's memory must not be seen.
	at := alloc(4096)
	seen := 0
	for i := range uint64(4096) {
		if loadU8(at+i) != 0 {
			seen++
		}
	}
	for i := range uint64(4096) {
		storeU8(at+i, 0xaa)
	}
	return output(strconv.Itoa(seen))
}

//go:wasmexport wasi
func wasi() int32 {
	var b [4]byte
	_, _ = rand.Read(b[:])
	fmt.Println("printed")
	return output(time.Now().UTC().Format(time.RFC3339))
}

//go:wasmexport takes
func takes(int32) int32 { return 0 }
