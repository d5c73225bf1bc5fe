//go:build wasip1

package guest

import (
	"unsafe"

	"github.com/arw-project/arw/abi"
)

//go:wasmimport arw:io take
func ioTake(out unsafe.Pointer, outCap uint32) uint64

//go:wasmimport arw:log write
func logWrite(level uint32, msg unsafe.Pointer, msgLen uint32) uint64

//go:wasmimport arw:kv get
func kvGet(key unsafe.Pointer, keyLen uint32, out unsafe.Pointer, outCap uint32) uint64

//go:wasmimport arw:kv put
func kvPut(key unsafe.Pointer, keyLen uint32, val unsafe.Pointer, valLen uint32) uint64

//go:wasmimport arw:kv delete
func kvDelete(key unsafe.Pointer, keyLen uint32) uint64

//go:wasmimport arw:kv list
func kvList(req unsafe.Pointer, reqLen uint32, out unsafe.Pointer, outCap uint32) uint64

//go:wasmimport arw:kv batch
func kvBatch(ops unsafe.Pointer, opsLen uint32) uint64

//go:wasmimport arw:event emit
func eventEmit(kind unsafe.Pointer, kindLen uint32, body unsafe.Pointer, bodyLen uint32) uint64

//go:wasmimport arw:state get
func stateGet(name unsafe.Pointer, nameLen uint32, out unsafe.Pointer, outCap uint32) uint64

//go:wasmimport arw:state put
func statePut(name unsafe.Pointer, nameLen uint32, doc unsafe.Pointer, docLen uint32) uint64

//go:wasmimport arw:fs list
func fsList(req unsafe.Pointer, reqLen uint32, out unsafe.Pointer, outCap uint32) uint64

//go:wasmimport arw:fs stat
func fsStat(path unsafe.Pointer, pathLen uint32, out unsafe.Pointer, outCap uint32) uint64

//go:wasmimport arw:fs read
func fsRead(path unsafe.Pointer, pathLen, offsetLo, offsetHi uint32, out unsafe.Pointer, outCap uint32) uint64

//go:wasmimport arw:fs write
func fsWrite(path unsafe.Pointer, pathLen uint32, data unsafe.Pointer, dataLen uint32) uint64

//go:wasmimport arw:fs remove
func fsRemove(path unsafe.Pointer, pathLen uint32) uint64

//go:wasmimport arw:clock now
func clockNow(out unsafe.Pointer, outCap uint32) uint64

//go:wasmimport arw:clock monotonic
func clockMonotonic(out unsafe.Pointer, outCap uint32) uint64

//go:wasmimport arw:rand bytes
func randBytes(out unsafe.Pointer, outCap uint32) uint64

//go:wasmimport arw:action call
func actionCall(tool unsafe.Pointer, toolLen uint32, in unsafe.Pointer, inLen uint32, out unsafe.Pointer, outCap uint32) uint64

// imports is the host behind the imports.
type imports struct{}

// scratch is offered for every answer; a longer one is collected with io.take.
var scratch [4096]byte

func ptr[T ~[]byte | ~string](b T) (unsafe.Pointer, uint32) {
	if len(b) == 0 {
		return nil, 0
	}
	s := []byte(b)
	return unsafe.Pointer(unsafe.SliceData(s)), uint32(len(s))
}

// answer turns a status into what was written to scratch, collecting what did not fit, or into the host's error.
func answer(status uint64, what string) ([]byte, error) {
	s := abi.Status(status)
	switch s.Code() {
	case abi.OK:
		return append([]byte(nil), scratch[:s.Len()]...), nil
	case abi.More:
		return collect(s.Len()), nil
	}
	return nil, refusal(s, what)
}

// done is answer for functions that write nothing.
func done(status uint64, what string) error {
	if s := abi.Status(status); s.Code() != abi.OK {
		return refusal(s, what)
	}
	return nil
}

func collect(n uint32) []byte {
	out := make([]byte, n)
	s := abi.Status(ioTake(unsafe.Pointer(unsafe.SliceData(out)), n))
	return out[:min(s.Len(), n)]
}

// refusal is the host's error with its words, when it left any.
func refusal(s abi.Status, what string) error {
	msg := what + ": " + s.Code().String()
	if s.Len() > 0 {
		msg = string(collect(s.Len()))
	}
	return &abi.Error{Code: s.Code(), Msg: msg}
}

func out() (unsafe.Pointer, uint32) { return unsafe.Pointer(&scratch[0]), uint32(len(scratch)) }

func (imports) log(level int, msg string) error {
	p, n := ptr(msg)
	return done(logWrite(uint32(level), p, n), "log")
}

func (imports) kvGet(key []byte) ([]byte, error) {
	p, n := ptr(key)
	o, c := out()
	return answer(kvGet(p, n, o, c), "read key "+string(key))
}

func (imports) kvPut(key, val []byte) error {
	p, n := ptr(key)
	v, m := ptr(val)
	return done(kvPut(p, n, v, m), "write key "+string(key))
}

func (imports) kvDelete(key []byte) error {
	p, n := ptr(key)
	return done(kvDelete(p, n), "delete key "+string(key))
}

func (imports) kvList(req []byte) ([]byte, error) {
	p, n := ptr(req)
	o, c := out()
	return answer(kvList(p, n, o, c), "list keys")
}

func (imports) kvBatch(ops []byte) error {
	p, n := ptr(ops)
	return done(kvBatch(p, n), "write keys")
}

func (imports) emit(kind string, body []byte) error {
	p, n := ptr(kind)
	b, m := ptr(body)
	return done(eventEmit(p, n, b, m), "emit event "+kind)
}

func (imports) stateGet(name string) ([]byte, error) {
	p, n := ptr(name)
	o, c := out()
	return answer(stateGet(p, n, o, c), "read state "+name)
}

func (imports) statePut(name string, doc []byte) error {
	p, n := ptr(name)
	d, m := ptr(doc)
	return done(statePut(p, n, d, m), "write state "+name)
}

func (imports) fsList(req []byte) ([]byte, error) {
	p, n := ptr(req)
	o, c := out()
	return answer(fsList(p, n, o, c), "list folder")
}

func (imports) fsStat(path string) ([]byte, error) {
	p, n := ptr(path)
	o, c := out()
	return answer(fsStat(p, n, o, c), "stat "+path)
}

func (imports) fsRead(path string, offset int64, buf []byte) (int, error) {
	if len(buf) == 0 {
		return 0, nil
	}
	p, n := ptr(path)
	s := abi.Status(fsRead(p, n, uint32(offset), uint32(offset>>32), unsafe.Pointer(unsafe.SliceData(buf)), uint32(len(buf))))
	if s.Code() != abi.OK {
		return 0, refusal(s, "read "+path)
	}
	return int(s.Len()), nil
}

func (imports) fsWrite(path string, data []byte) error {
	p, n := ptr(path)
	d, m := ptr(data)
	return done(fsWrite(p, n, d, m), "write "+path)
}

func (imports) fsRemove(path string) error {
	p, n := ptr(path)
	return done(fsRemove(p, n), "remove "+path)
}

func (imports) now(buf []byte) error {
	return done(clockNow(unsafe.Pointer(unsafe.SliceData(buf)), uint32(len(buf))), "read the clock")
}

func (imports) monotonic(buf []byte) error {
	return done(clockMonotonic(unsafe.Pointer(unsafe.SliceData(buf)), uint32(len(buf))), "read the clock")
}

func (imports) random(buf []byte) error {
	if len(buf) == 0 {
		return nil
	}
	return done(randBytes(unsafe.Pointer(unsafe.SliceData(buf)), uint32(len(buf))), "draw random bytes")
}

func (imports) call(tool string, in []byte) ([]byte, error) {
	p, n := ptr(tool)
	i, m := ptr(in)
	o, c := out()
	return answer(actionCall(p, n, i, m, o, c), "call tool "+tool)
}
