// Command sink is a pack with one tool for every host function and every way to misbehave, written against the ABI
// alone: docs/spec/abi.md is all it stands on, so that a fault of the SDK cannot hide one of the host.
//
// Inputs are flat JSON objects of strings, read by a scanner that knows just that; the host has validated them.
package main

import (
	"encoding/binary"
	"strconv"
	"strings"
	"unsafe"
)

func main() {}

//go:wasmimport arw:io take
func ioTake(out unsafe.Pointer, n uint32) uint64

//go:wasmimport arw:log write
func logWrite(level uint32, msg unsafe.Pointer, n uint32) uint64

//go:wasmimport arw:kv get
func kvGet(key unsafe.Pointer, n uint32, out unsafe.Pointer, room uint32) uint64

//go:wasmimport arw:kv put
func kvPut(key unsafe.Pointer, n uint32, val unsafe.Pointer, m uint32) uint64

//go:wasmimport arw:event emit
func eventEmit(kind unsafe.Pointer, n uint32, body unsafe.Pointer, m uint32) uint64

//go:wasmimport arw:state get
func stateGet(name unsafe.Pointer, n uint32, out unsafe.Pointer, room uint32) uint64

//go:wasmimport arw:state put
func statePut(name unsafe.Pointer, n uint32, doc unsafe.Pointer, m uint32) uint64

//go:wasmimport arw:fs read
func fsRead(path unsafe.Pointer, n, lo, hi uint32, out unsafe.Pointer, room uint32) uint64

//go:wasmimport arw:fs list
func fsList(req unsafe.Pointer, n uint32, out unsafe.Pointer, room uint32) uint64

//go:wasmimport arw:fs write
func fsWrite(path unsafe.Pointer, n uint32, data unsafe.Pointer, m uint32) uint64

//go:wasmimport arw:clock now
func clockNow(out unsafe.Pointer, room uint32) uint64

//go:wasmimport arw:rand bytes
func randBytes(out unsafe.Pointer, room uint32) uint64

//go:wasmimport arw:action call
func actionCall(tool unsafe.Pointer, n uint32, in unsafe.Pointer, m uint32, out unsafe.Pointer, room uint32) uint64

var (
	input []byte
	reply []byte
	out   = make([]byte, 1<<20)
	count int
)

//go:wasmexport arw_alloc
func alloc(n uint32) uint32 {
	input = make([]byte, max(n, 1))
	return uint32(uintptr(unsafe.Pointer(&input[0])))
}

//go:wasmexport arw_call
func call(tool, toolLen, in, inLen uint32) uint64 {
	name := unsafe.String((*byte)(unsafe.Pointer(uintptr(tool))), toolLen)
	doc := unsafe.String((*byte)(unsafe.Pointer(uintptr(in))), inLen)
	reply = run(strings.Clone(name[strings.LastIndexByte(name, '.')+1:]), strings.Clone(doc))
	return uint64(uintptr(unsafe.Pointer(&reply[0])))<<32 | uint64(len(reply))
}

func run(tool, in string) []byte {
	switch tool {
	case "echo":
		return value(in)
	case "put":
		return answer(kvPut(ptr(field(in, "key")), size(field(in, "key")), ptr(field(in, "val")), size(field(in, "val"))))
	case "get":
		return answer(kvGet(ptr(field(in, "key")), size(field(in, "key")), room(), uint32(len(out))))
	case "wait": // until the key is there; every round is a host call
		for {
			st := kvGet(ptr(field(in, "key")), size(field(in, "key")), room(), uint32(len(out)))
			if code := st >> 32; code != 3 { // not_found
				return answer(st)
			}
		}
	case "flood": // forty refused uses
		for range 40 {
			eventEmit(ptr("other.kind"), 10, ptr("{}"), 2)
		}
		return value(`{}`)
	case "emit":
		return answer(eventEmit(ptr(field(in, "kind")), size(field(in, "kind")), ptr(field(in, "body")), size(field(in, "body"))))
	case "state":
		name, doc := field(in, "name"), `{"n":`+field(in, "n")+`}`
		if st := statePut(ptr(name), size(name), ptr(doc), size(doc)); st>>32 != 0 {
			return answer(st)
		}
		return answer(stateGet(ptr(name), size(name), room(), uint32(len(out))))
	case "read":
		return answer(fsRead(ptr(field(in, "path")), size(field(in, "path")), 0, 0, room(), uint32(len(out))))
	case "list":
		req := `{"path":"` + field(in, "path") + `"}`
		return answer(fsList(ptr(req), size(req), room(), uint32(len(out))))
	case "write":
		return answer(fsWrite(ptr(field(in, "path")), size(field(in, "path")), ptr(field(in, "data")), size(field(in, "data"))))
	case "now":
		return answer(clockNow(room(), uint32(len(out))))
	case "rand":
		return answer(randBytes(room(), 8))
	case "call":
		target, doc := field(in, "tool"), strings.ReplaceAll(field(in, "input"), "'", `"`)
		st := actionCall(ptr(target), size(target), ptr(doc), size(doc), room(), uint32(len(out)))
		if st>>32 != 0 {
			return answer(st)
		}
		return append([]byte(nil), out[:uint32(st)]...) // a whole reply frame, passed on
	case "log":
		msg := field(in, "msg")
		return answer(logWrite(1, ptr(msg), size(msg)))
	case "fail":
		n, _ := strconv.Atoi(field(in, "code"))
		return failure(uint32(n), "as told")
	case "lie":
		return value(`{"unpromised":true}`)
	case "bytes":
		return []byte{1, 0xff, 0x00}
	case "count":
		count++
		return value(`{"n":` + strconv.Itoa(count) + `}`)
	case "trap":
		panic("on purpose")
	case "loop":
		for i := 0; ; i++ {
			count += i
		}
	}
	return failure(3, "no tool "+tool)
}

// answer turns a status into a reply: bytes as text, an error with the code and message the host gave.
func answer(st uint64) []byte {
	code, n := uint32(st>>32), uint32(st)
	switch {
	case code == 0:
		return value(`{"got":` + quote(out[:n]) + `}`)
	case n > 0:
		ioTake(room(), uint32(len(out)))
	}
	return failure(code, string(out[:n]))
}

// quote is a JSON string with one character for every byte.
func quote(b []byte) string {
	s := []byte{'"'}
	for _, c := range b {
		switch {
		case c == '"' || c == '\\':
			s = append(s, '\\', c)
		case c >= 0x20 && c < 0x7f:
			s = append(s, c)
		default:
			s = append(s, '\\', 'u', '0', '0', "0123456789abcdef"[c>>4], "0123456789abcdef"[c&15])
		}
	}
	return string(append(s, '"'))
}

func value(doc string) []byte { return append([]byte{0}, doc...) }

func failure(code uint32, msg string) []byte {
	b := binary.LittleEndian.AppendUint32([]byte{2}, code)
	b = binary.LittleEndian.AppendUint32(b, uint32(len(msg)))
	return append(b, msg...)
}

// field is the string member of a flat object; empty when it is not there.
func field(doc, name string) string {
	_, rest, ok := strings.Cut(doc, `"`+name+`":"`)
	if !ok {
		return ""
	}
	val, _, _ := strings.Cut(rest, `"`)
	return val
}

func room() unsafe.Pointer        { return unsafe.Pointer(&out[0]) }
func ptr(s string) unsafe.Pointer { return unsafe.Pointer(unsafe.StringData(s + "\x00")) }
func size(s string) uint32        { return uint32(len(s)) }
