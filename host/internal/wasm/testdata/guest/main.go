//go:build wasip1

// A guest that implements the ABI by hand, for the tests of the engine. Each tool does one thing, good or bad.
package main

import (
	crand "crypto/rand"
	"encoding/binary"
	"fmt"
	mrand "math/rand/v2"
	"os"
	"strings"
	"time"
	"unsafe"
)

//go:wasmimport arw:kv get
func kvGet(key unsafe.Pointer, keyLen uint32, out unsafe.Pointer, outCap uint32) uint64

//go:wasmimport arw:kv put
func kvPut(key unsafe.Pointer, keyLen uint32, val unsafe.Pointer, valLen uint32) uint64

//go:wasmimport arw:io take
func ioTake(out unsafe.Pointer, outCap uint32) uint64

var (
	request []byte
	reply   []byte
	counter int
	keep    [][]byte
)

func main() {}

//go:wasmexport arw_alloc
func alloc(n uint32) uint32 {
	request = make([]byte, n+1)
	return uint32(uintptr(unsafe.Pointer(&request[0])))
}

//go:wasmexport arw_init
func initialise() { counter = 100 }

//go:wasmexport arw_call
func call(tool, toolLen, in, inLen uint32) uint64 {
	name := string(view(tool, toolLen))
	kind, body := run(name, view(in, inLen))
	reply = append(append(reply[:0], kind), body...)
	return uint64(uintptr(unsafe.Pointer(&reply[0])))<<32 | uint64(len(reply))
}

func view(ptr, n uint32) []byte {
	if n == 0 {
		return nil
	}
	return unsafe.Slice((*byte)(unsafe.Pointer(uintptr(ptr))), n)
}

func run(name string, in []byte) (byte, []byte) {
	switch name {
	case "echo":
		return 1, in
	case "count":
		counter++
		return 0, fmt.Appendf(nil, "%d", counter)
	case "get":
		return get(in)
	case "put":
		key, val, _ := strings.Cut(string(in), "=")
		s := kvPut(ptr([]byte(key)), uint32(len(key)), ptr([]byte(val)), uint32(len(val)))
		return status(s, nil)
	case "loop":
		for i := 0; ; i++ {
			counter += i
		}
	case "recurse":
		return 0, fmt.Appendf(nil, "%d", recurse(1, [8]int{}))
	case "grow":
		for {
			keep = append(keep, make([]byte, 1<<20))
			keep[len(keep)-1][77] = 1
		}
	case "panic":
		panic("the guest panics on purpose")
	case "exit":
		os.Exit(7)
	case "nil":
		var p *int
		*p = 1
	case "time":
		start := time.Now()
		time.Sleep(20 * time.Millisecond)
		return 0, fmt.Appendf(nil, `{"now":%d,"slept":%d}`, start.UnixNano(), time.Since(start))
	case "rand":
		var b [8]byte
		crand.Read(b[:])
		return 0, fmt.Appendf(nil, "%d", binary.LittleEndian.Uint64(b[:])>>11)
	case "chance": // seeded once, before the snapshot
		return 0, fmt.Appendf(nil, "%d", mrand.Uint64()>>11)
	case "print":
		fmt.Println("to stdout")
		fmt.Fprintln(os.Stderr, "to stderr")
		return 0, []byte("null")
	case "goroutines":
		ch := make(chan int)
		for i := range 100 {
			go func() { ch <- i }()
		}
		sum := 0
		for range 100 {
			sum += <-ch
		}
		return 0, fmt.Appendf(nil, "%d", sum)
	case "env":
		return 0, fmt.Appendf(nil, `{"env":%d,"args":%d}`, len(os.Environ()), len(os.Args))
	case "files":
		_, err := os.ReadFile("/etc/passwd")
		return 0, fmt.Appendf(nil, "%q", fmt.Sprint(err))
	}
	return errorFrame(3, "no such tool")
}

//go:noinline
func recurse(n int, a [8]int) int {
	a[n%8] += n
	return recurse(n+1, a) + a[(n+1)%8]
}

func ptr(b []byte) unsafe.Pointer {
	if len(b) == 0 {
		return nil
	}
	return unsafe.Pointer(&b[0])
}

func get(key []byte) (byte, []byte) {
	var buf [64]byte
	s := kvGet(ptr(key), uint32(len(key)), unsafe.Pointer(&buf[0]), uint32(len(buf)))
	return status(s, buf[:])
}

func status(s uint64, buf []byte) (byte, []byte) {
	code, n := uint32(s>>32), uint32(s)
	switch {
	case code == 0:
		return 1, append([]byte(nil), buf[:n]...)
	case n == 0:
		return errorFrame(code, "")
	}
	msg := make([]byte, n)
	ioTake(unsafe.Pointer(&msg[0]), n)
	if code == 1 {
		return 1, msg
	}
	return errorFrame(code, string(msg))
}

func errorFrame(code uint32, msg string) (byte, []byte) {
	b := binary.LittleEndian.AppendUint32(nil, code)
	b = binary.LittleEndian.AppendUint32(b, uint32(len(msg)))
	return 2, append(b, msg...)
}
