//go:build wasip1

package guest

import (
	"unsafe"

	"github.com/arw-project/arw/abi"
)

// system is nothing here: the host is one import away.
type system struct{}

// The host functions, as abi.Functions lists them. Each has a small Go function of its own, so that a module imports only
// what its code can reach.

//go:wasmimport arw:io take
func ioTake(out unsafe.Pointer, outCap uint32) uint64

//go:wasmimport arw:stream read
func streamRead(handle uint32, out unsafe.Pointer, outCap uint32) uint64

//go:wasmimport arw:stream write
func streamWrite(handle uint32, data unsafe.Pointer, dataLen uint32) uint64

//go:wasmimport arw:stream send
func streamSend(handle uint32, doc unsafe.Pointer, docLen uint32) uint64

//go:wasmimport arw:stream close
func streamClose(handle uint32) uint64

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
func fsRead(path unsafe.Pointer, pathLen, offLo, offHi uint32, out unsafe.Pointer, outCap uint32) uint64

//go:wasmimport arw:fs write
func fsWrite(path unsafe.Pointer, pathLen uint32, data unsafe.Pointer, dataLen uint32) uint64

//go:wasmimport arw:fs open
func fsOpen(path unsafe.Pointer, pathLen uint32, out unsafe.Pointer, outCap uint32) uint64

//go:wasmimport arw:fs create
func fsCreate(path unsafe.Pointer, pathLen uint32, out unsafe.Pointer, outCap uint32) uint64

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

//go:wasmimport arw:secret public
func secretPublic(name unsafe.Pointer, nameLen uint32, out unsafe.Pointer, outCap uint32) uint64

//go:wasmimport arw:secret mac
func secretMAC(name unsafe.Pointer, nameLen uint32, data unsafe.Pointer, dataLen uint32, out unsafe.Pointer, outCap uint32) uint64

//go:wasmimport arw:secret sign
func secretSign(name unsafe.Pointer, nameLen uint32, data unsafe.Pointer, dataLen uint32, out unsafe.Pointer, outCap uint32) uint64

//go:wasmimport arw:archive unpack
func archiveUnpack(req unsafe.Pointer, reqLen uint32, out unsafe.Pointer, outCap uint32) uint64

//go:wasmimport arw:config get
func configGet(name unsafe.Pointer, nameLen uint32, out unsafe.Pointer, outCap uint32) uint64

//go:wasmimport arw:http fetch
func httpFetch(req unsafe.Pointer, reqLen uint32, body unsafe.Pointer, bodyLen uint32, out unsafe.Pointer, outCap uint32) uint64

//go:wasmimport arw:http open
func httpOpen(req unsafe.Pointer, reqLen uint32, out unsafe.Pointer, outCap uint32) uint64

//go:wasmimport arw:http response
func httpResponse(handle uint32, out unsafe.Pointer, outCap uint32) uint64

//go:wasmimport arw:http connect
func httpConnect(req unsafe.Pointer, reqLen uint32, out unsafe.Pointer, outCap uint32) uint64

//go:wasmimport arw:http send
func httpSend(handle, kind uint32, data unsafe.Pointer, dataLen uint32) uint64

//go:wasmimport arw:http receive
func httpReceive(handle uint32, out unsafe.Pointer, outCap uint32) uint64

//go:wasmimport arw:infer generate
func inferGenerate(req unsafe.Pointer, reqLen uint32, out unsafe.Pointer, outCap uint32) uint64

//go:wasmimport arw:infer embed
func inferEmbed(req unsafe.Pointer, reqLen uint32, out unsafe.Pointer, outCap uint32) uint64

//go:wasmimport arw:infer rerank
func inferRerank(req unsafe.Pointer, reqLen uint32, out unsafe.Pointer, outCap uint32) uint64

//go:wasmimport arw:infer tokenize
func inferTokenize(req unsafe.Pointer, reqLen uint32, out unsafe.Pointer, outCap uint32) uint64

//go:wasmimport arw:infer finish
func inferFinish(handle uint32, out unsafe.Pointer, outCap uint32) uint64

func text(s string) (unsafe.Pointer, uint32) {
	return unsafe.Pointer(unsafe.StringData(s)), uint32(len(s))
}

func data(b []byte) (unsafe.Pointer, uint32) {
	return unsafe.Pointer(unsafe.SliceData(b)), uint32(len(b))
}

func hostTake(_ *Call, out []byte) abi.Status { return abi.Status(ioTake(data(out))) }

func hostStreamRead(_ *Call, handle uint32, out []byte) abi.Status {
	o, on := data(out)
	return abi.Status(streamRead(handle, o, on))
}

func hostStreamWrite(_ *Call, handle uint32, part []byte) abi.Status {
	p, n := data(part)
	return abi.Status(streamWrite(handle, p, n))
}

func hostStreamSend(_ *Call, handle uint32, doc []byte) abi.Status {
	p, n := data(doc)
	return abi.Status(streamSend(handle, p, n))
}

func hostStreamClose(_ *Call, handle uint32) abi.Status { return abi.Status(streamClose(handle)) }

func hostLog(_ *Call, level uint32, msg string) abi.Status {
	p, n := text(msg)
	return abi.Status(logWrite(level, p, n))
}

func hostKVGet(_ *Call, key string, out []byte) abi.Status {
	k, kn := text(key)
	o, on := data(out)
	return abi.Status(kvGet(k, kn, o, on))
}

func hostKVPut(_ *Call, key string, val []byte) abi.Status {
	k, kn := text(key)
	v, vn := data(val)
	return abi.Status(kvPut(k, kn, v, vn))
}

func hostKVDelete(_ *Call, key string) abi.Status { return abi.Status(kvDelete(text(key))) }

func hostKVList(_ *Call, req, out []byte) abi.Status {
	r, rn := data(req)
	o, on := data(out)
	return abi.Status(kvList(r, rn, o, on))
}

func hostKVBatch(_ *Call, ops []byte) abi.Status { return abi.Status(kvBatch(data(ops))) }

func hostEmit(_ *Call, kind string, body []byte) abi.Status {
	k, kn := text(kind)
	b, bn := data(body)
	return abi.Status(eventEmit(k, kn, b, bn))
}

func hostStateGet(_ *Call, name string, out []byte) abi.Status {
	k, kn := text(name)
	o, on := data(out)
	return abi.Status(stateGet(k, kn, o, on))
}

func hostStatePut(_ *Call, name string, doc []byte) abi.Status {
	k, kn := text(name)
	d, dn := data(doc)
	return abi.Status(statePut(k, kn, d, dn))
}

func hostFSList(_ *Call, req, out []byte) abi.Status {
	r, rn := data(req)
	o, on := data(out)
	return abi.Status(fsList(r, rn, o, on))
}

func hostFSStat(_ *Call, path string, out []byte) abi.Status {
	p, pn := text(path)
	o, on := data(out)
	return abi.Status(fsStat(p, pn, o, on))
}

func hostFSRead(_ *Call, path string, off int64, out []byte) abi.Status {
	p, pn := text(path)
	o, on := data(out)
	return abi.Status(fsRead(p, pn, uint32(off), uint32(off>>32), o, on))
}

func hostFSWrite(_ *Call, path string, content []byte) abi.Status {
	p, pn := text(path)
	d, dn := data(content)
	return abi.Status(fsWrite(p, pn, d, dn))
}

func hostFSOpen(_ *Call, path string, out []byte) abi.Status {
	p, pn := text(path)
	o, on := data(out)
	return abi.Status(fsOpen(p, pn, o, on))
}

func hostFSCreate(_ *Call, path string, out []byte) abi.Status {
	p, pn := text(path)
	o, on := data(out)
	return abi.Status(fsCreate(p, pn, o, on))
}

func hostFSRemove(_ *Call, path string) abi.Status { return abi.Status(fsRemove(text(path))) }

func hostNow(_ *Call, out []byte) abi.Status { return abi.Status(clockNow(data(out))) }

func hostMonotonic(_ *Call, out []byte) abi.Status { return abi.Status(clockMonotonic(data(out))) }

func hostRandom(_ *Call, out []byte) abi.Status { return abi.Status(randBytes(data(out))) }

func hostAction(_ *Call, tool string, in, out []byte) abi.Status {
	t, tn := text(tool)
	i, in32 := data(in)
	o, on := data(out)
	return abi.Status(actionCall(t, tn, i, in32, o, on))
}

func hostSecretPublic(_ *Call, name string, out []byte) abi.Status {
	n, nn := text(name)
	o, on := data(out)
	return abi.Status(secretPublic(n, nn, o, on))
}

func hostSecretMAC(_ *Call, name string, content, out []byte) abi.Status {
	n, nn := text(name)
	d, dn := data(content)
	o, on := data(out)
	return abi.Status(secretMAC(n, nn, d, dn, o, on))
}

func hostSecretSign(_ *Call, name string, content, out []byte) abi.Status {
	n, nn := text(name)
	d, dn := data(content)
	o, on := data(out)
	return abi.Status(secretSign(n, nn, d, dn, o, on))
}

func hostUnpack(_ *Call, req, out []byte) abi.Status {
	r, rn := data(req)
	o, on := data(out)
	return abi.Status(archiveUnpack(r, rn, o, on))
}

func hostConfig(_ *Call, name string, out []byte) abi.Status {
	n, nn := text(name)
	o, on := data(out)
	return abi.Status(configGet(n, nn, o, on))
}

func hostHTTPFetch(_ *Call, req, body, out []byte) abi.Status {
	r, rn := data(req)
	b, bn := data(body)
	o, on := data(out)
	return abi.Status(httpFetch(r, rn, b, bn, o, on))
}

func hostHTTPOpen(_ *Call, req, out []byte) abi.Status {
	r, rn := data(req)
	o, on := data(out)
	return abi.Status(httpOpen(r, rn, o, on))
}

func hostHTTPResponse(_ *Call, handle uint32, out []byte) abi.Status {
	o, on := data(out)
	return abi.Status(httpResponse(handle, o, on))
}

func hostHTTPConnect(_ *Call, req, out []byte) abi.Status {
	r, rn := data(req)
	o, on := data(out)
	return abi.Status(httpConnect(r, rn, o, on))
}

func hostHTTPSend(_ *Call, handle, kind uint32, msg []byte) abi.Status {
	m, mn := data(msg)
	return abi.Status(httpSend(handle, kind, m, mn))
}

func hostHTTPReceive(_ *Call, handle uint32, out []byte) abi.Status {
	o, on := data(out)
	return abi.Status(httpReceive(handle, o, on))
}

func hostInferGenerate(_ *Call, req, out []byte) abi.Status {
	r, rn := data(req)
	o, on := data(out)
	return abi.Status(inferGenerate(r, rn, o, on))
}

func hostInferEmbed(_ *Call, req, out []byte) abi.Status {
	r, rn := data(req)
	o, on := data(out)
	return abi.Status(inferEmbed(r, rn, o, on))
}

func hostInferRerank(_ *Call, req, out []byte) abi.Status {
	r, rn := data(req)
	o, on := data(out)
	return abi.Status(inferRerank(r, rn, o, on))
}

func hostInferTokenize(_ *Call, req, out []byte) abi.Status {
	r, rn := data(req)
	o, on := data(out)
	return abi.Status(inferTokenize(r, rn, o, on))
}

func hostInferFinish(_ *Call, handle uint32, out []byte) abi.Status {
	o, on := data(out)
	return abi.Status(inferFinish(handle, o, on))
}
