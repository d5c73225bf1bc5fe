package wasm_test

import (
	"context"
	"sync/atomic"

	"github.com/arw-project/arw/abi"
	"github.com/arw-project/arw/host/internal/wasm"
)

// wares is what a host lends by handle, and counts what is out; it also has one secret and one archive. It is used by many calls at once.
type wares struct {
	out  atomic.Int64
	lent atomic.Int64 // in all
}

func (w *wares) lend() *ware {
	w.out.Add(1)
	w.lent.Add(1)
	return &ware{wares: w}
}

func (w *wares) host(fs wasm.FS) wasm.Host {
	return wasm.Host{FS: fs, HTTP: lentHTTP{w}, Infer: lentInfer{w}, Secret: lentSecret{}, Archive: lentArchive{}}
}

// ware is a request or an answer of a model that has no end.
type ware struct{ *wares }

func (w *ware) Write(context.Context, []byte) error { return nil }
func (w *ware) Response(context.Context) (abi.HTTPResponse, error) {
	return abi.HTTPResponse{Status: 200}, nil
}
func (w *ware) Read(_ context.Context, buf []byte) (int, error)       { return copy(buf, "more"), nil }
func (w *ware) Engine() abi.InferEngine                               { return recEngine }
func (w *ware) Finish(context.Context) (r abi.InferResult, err error) { return r, nil }
func (w *ware) Close() error                                          { w.out.Add(-1); return nil }

type lentHTTP struct{ w *wares }

func (h lentHTTP) Open(context.Context, abi.HTTPRequest, []byte, bool) (wasm.Exchange, error) {
	return h.w.lend(), nil
}
func (h lentHTTP) Connect(context.Context, abi.HTTPRequest) (wasm.Socket, error) {
	return nil, abi.Errorf(abi.Unavailable, "nobody listens")
}

type lentInfer struct{ w *wares }

func (i lentInfer) Generate(context.Context, abi.InferRequest) (wasm.Answer, error) {
	return i.w.lend(), nil
}
func (lentInfer) Embed(context.Context, abi.InferEmbed) (v abi.InferVectors, err error) {
	return v, nil
}
func (lentInfer) Rerank(context.Context, abi.InferRerank) (v abi.InferScores, err error) {
	return v, nil
}
func (lentInfer) Tokenize(context.Context, abi.InferTokenize) (v abi.InferTokens, err error) {
	return v, nil
}

type lentSecret struct{}

func (lentSecret) Public(context.Context, string) ([]byte, error) { return []byte("public"), nil }
func (lentSecret) MAC(_ context.Context, _ string, data []byte) ([]byte, error) {
	return make([]byte, 32), nil
}
func (lentSecret) Sign(_ context.Context, _ string, data []byte) ([]byte, error) {
	return make([]byte, 64), nil
}

type lentArchive struct{}

func (lentArchive) Unpack(context.Context, string, string, abi.ArchiveUnpack) (u abi.ArchiveUnpacked, err error) {
	return u, nil
}

// lender collects the imports of a guest that misuses what is lent, and writes its calls.
type lender struct {
	*module
	fns map[string]uint64
}

// lending has every function that gives or takes a handle, and those on names and paths.
func lending(m *module) lender {
	l := lender{m, map[string]uint64{}}
	for _, name := range []string{
		"fs.open", "fs.create", "stream.read", "stream.write", "stream.send", "stream.close", "http.open", "http.response", "http.connect", "http.receive", "http.send",
		"infer.generate", "infer.finish", "secret.public", "secret.mac", "secret.sign", "archive.unpack",
	} {
		f := function(name)
		params := ""
		for range f.Params {
			params += "i"
		}
		l.fns[name] = m.imp(abi.ModulePrefix+string(f.Capability), f.Name, params, "l")
	}
	m.bytes(lendPath, "/x")
	m.bytes(lendRequestAt, lendRequest)
	m.bytes(lendPromptAt, lendPrompt)
	m.bytes(lendArchiveAt, lendUnpack)
	return l
}

const (
	lendPath, lendRequestAt, lendPromptAt, lendArchiveAt = 300, 400, 450, 500
	lendRequest, lendPrompt, lendUnpack                  = `{"url":"https://x/"}`, `{"prompt":"p"}`, `{"from":"/a","to":"/b"}`
	lendOut                                              = 1000
)

// call makes a host function's call; an int among the arguments is a constant, bytes are code that leaves the word.
func (l lender) call(name string, args ...any) []byte {
	var code []byte
	for _, a := range args {
		if n, ok := a.(int); ok {
			a = i32c(n)
		}
		code = cat(code, a.([]byte))
	}
	return cat(code, callf(l.fns[name]))
}

// code leaves the code of a status.
func code(status []byte) []byte { return cat(status, i64c(32), op(0x88), wrap) }

// must traps unless the status has this code: the guest finds out whether it was treated as the contract says.
func must(c abi.Code, status []byte) []byte {
	return cat(code(status), i32c(int(c)), op(0x47), iff(unreachable))
}

// gives are the calls that open something, each by the name of its function.
func (l lender) gives(name string) []byte {
	switch name {
	case "fs.open", "fs.create":
		return l.call(name, lendPath, 2, lendOut, 4)
	case "infer.generate":
		return l.call(name, lendPromptAt, len(lendPrompt), lendOut, 512)
	}
	return l.call(name, lendRequestAt, len(lendRequest), lendOut, 4)
}

// uses are all calls on a handle.
func (l lender) uses(handle []byte) [][]byte {
	return [][]byte{
		l.call("stream.read", handle, lendOut, 8), l.call("stream.write", handle, lendPath, 2), l.call("stream.send", handle, lendArchiveAt, len(lendUnpack)),
		l.call("http.response", handle, lendOut, 64), l.call("http.receive", handle, lendOut, 64), l.call("http.send", handle, 1, lendPath, 2),
		l.call("infer.finish", handle, lendOut, 64), l.call("stream.close", handle),
	}
}

// takesAll opens until there are no more, and finds that one given back makes room for one.
func (l lender) takesAll(name string) [][]byte {
	return [][]byte{block(loop(
		code(l.gives(name)), brif(1), // refused
		get(4), i32c(1), add32, tee(4), i32c(abi.MaxHandles), op(0x4b), iff(unreachable),
		br(0))),
		must(abi.Busy, l.gives(name)), must(abi.OK, l.call("stream.close", 2)), must(abi.OK, l.gives(name)), must(abi.Busy, l.gives(name))}
}

type misuse struct {
	name  string
	body  func(l lender) [][]byte
	traps bool
}

// misuses are guests that go wrong with what is lent. Local 4 is theirs to count.
var misuses = []misuse{
	{"takes files until it is refused", func(l lender) [][]byte { return l.takesAll("fs.open") }, false},
	{"takes drafts until it is refused", func(l lender) [][]byte { return l.takesAll("fs.create") }, false},
	{"takes requests until it is refused", func(l lender) [][]byte { return l.takesAll("http.open") }, false},
	{"takes answers until it is refused", func(l lender) [][]byte { return l.takesAll("infer.generate") }, false},
	{"forges the numbers of handles", func(l lender) [][]byte {
		var tries []byte
		for _, u := range l.uses(get(4)) {
			tries = cat(tries, must(abi.Invalid, u))
		}
		return [][]byte{i32c(2), set(4), loop(tries, get(4), i32c(1), add32, tee(4), i32c(70), op(0x49), brif(0)),
			i32c(-1), set(4), tries, i32c(-1 << 31), set(4), tries, i32c(1<<31 - 1), set(4), tries}
	}, false},
	{"uses handles that it closed", func(l lender) (all [][]byte) {
		for i, name := range []string{"fs.open", "fs.create", "http.open", "infer.generate"} {
			all = append(all, must(abi.OK, l.gives(name)), must(abi.OK, l.call("stream.close", 2+i)))
			for _, u := range l.uses(i32c(2 + i)) {
				all = append(all, must(abi.Invalid, u))
			}
		}
		return all
	}, false},
	{"uses handles for what they are not", func(l lender) [][]byte {
		return [][]byte{
			must(abi.OK, l.gives("fs.open")), must(abi.OK, l.gives("fs.create")), must(abi.OK, l.gives("infer.generate")),
			must(abi.Invalid, l.call("stream.write", 2, lendPath, 2)), must(abi.Invalid, l.call("stream.read", 3, lendOut, 8)),
			must(abi.Invalid, l.call("stream.write", 4, lendPath, 2)), must(abi.Invalid, l.call("infer.finish", 2, lendOut, 64)),
			must(abi.Invalid, l.call("http.response", 4, lendOut, 64)), must(abi.Invalid, l.call("http.receive", 3, lendOut, 64)),
		}
	}, false},
	{"lies about lengths", func(l lender) (all [][]byte) {
		const end = 131072
		for _, p := range [][2]int{{end, 1}, {end - 1, 2}, {-1, 2}, {0, -1}, {-8, 16}, {1 << 30, 1 << 30}} {
			at, n := p[0], p[1]
			all = append(all,
				must(abi.Invalid, l.call("fs.open", at, n, lendOut, 4)), must(abi.Invalid, l.call("fs.create", at, n, lendOut, 4)),
				must(abi.Invalid, l.call("fs.open", lendPath, 2, at, n)), must(abi.Invalid, l.call("infer.generate", at, n, lendOut, 512)),
				must(abi.Invalid, l.call("infer.generate", lendPromptAt, len(lendPrompt), at, n)), must(abi.Invalid, l.call("archive.unpack", at, n, lendOut, 512)),
				must(abi.Invalid, l.call("archive.unpack", lendArchiveAt, len(lendUnpack), at, n)),
				must(abi.Invalid, l.call("secret.public", at, n, lendOut, 64)), must(abi.Invalid, l.call("secret.mac", lendPath, 2, at, n, lendOut, 64)),
				must(abi.Invalid, l.call("secret.sign", lendPath, 2, lendPath, 2, at, n)), must(abi.Invalid, l.call("secret.mac", at, n, lendPath, 2, lendOut, 64)))
		}
		// What was refused has opened nothing: as many as ever are left.
		all = append(all, i32c(0), set(4), loop(must(abi.OK, l.gives("fs.open")), get(4), i32c(1), add32, tee(4), i32c(abi.MaxHandles), op(0x49), brif(0)),
			must(abi.Busy, l.gives("fs.open")))
		return all
	}, false},
	{"leaves handles open and traps", func(l lender) [][]byte {
		return [][]byte{l.gives("fs.create"), drop, l.gives("infer.generate"), drop, l.gives("http.open"), drop, l.call("stream.write", 2, lendPath, 2), drop, unreachable}
	}, true},
}

// keeper is an honest guest with a file by handle: it makes one of what it is told, reads it again, and answers with that.
func keeper() []byte {
	m := guest(2, -1)
	l := lending(m)
	m.abiAlloc()
	m.fn("arw_call", "iiii", "l", "",
		must(abi.OK, l.gives("fs.create")),
		must(abi.OK, l.call("stream.write", cat(i32c(lendOut), load32(0)), get(2), get(3))),
		must(abi.OK, l.call("stream.close", cat(i32c(lendOut), load32(0)))),
		must(abi.OK, l.gives("fs.open")),
		i32c(70_000), i32c(1), store8(0),
		packed(i32c(70_000), cat(l.call("stream.read", cat(i32c(lendOut), load32(0)), 70_001, 1024), wrap, i32c(1), add32)))
	return m.build()
}
