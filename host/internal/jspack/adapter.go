package jspack

import (
	"slices"

	"github.com/arw-project/arw/abi"
	"github.com/arw-project/arw/host/internal/wasm/rewrite"
)

// Numbers by which the SDK calls the adapter; the first are the adapter's own, and from firstFunc on come the host
// functions that are linked.
const (
	callFail   = 0 // a text: print it and end
	callText   = 1 // bytes to a string
	callBytes  = 2 // a string to bytes
	callRandom = 3 // fill a buffer
	callPrint  = 4 // descriptor and text
	firstFunc  = 16
	unlinked   = 999_999
)

// Functions that are added, by place.
const (
	fnZone = iota
	fnInterrupt
	fnRejection
	fnNormalize
	fnLoad
	fnHostCall
	fnAlloc
	fnCall
	fnInit
	fnJobs
	fnDie
)

// Globals that are added.
const (
	glRoom  = iota // where requests go
	glEnter        // the SDK's two functions
	glLeave
	glFrame // the reply that the host may still be reading
	globals
)

const (
	i32, i64, f64 = rewrite.I32, rewrite.I64, 0x7c
	flagModule    = 1
	// stackSize bounds the engine's own stack, about 1,500 nested functions: a script that recurses without end gets a RangeError
	// that it can catch, before the host's bound on depth ends the call.
	stackSize = 384 << 10
)

func sig(params, results string) rewrite.FuncType {
	types := map[rune]byte{'i': i32, 'l': i64, 'd': f64}
	var t rewrite.FuncType
	for _, c := range params {
		t.Params = append(t.Params, types[c])
	}
	for _, c := range results {
		t.Results = append(t.Results, types[c])
	}
	return t
}

// graft says what is put into the engine's module.
func graft(d *data, linked []abi.Func) rewrite.Graft {
	g := rewrite.Graft{
		Replace: map[string]int{
			"env.host_get_timezone_offset": fnZone, "env.host_interrupt": fnInterrupt, "env.host_promise_rejection": fnRejection,
			"env.host_module_normalize": fnNormalize, "env.host_module_load": fnLoad, "env.host_call": fnHostCall,
		},
		Globals: globals,
		Data:    d.bytes,
		Keep:    []string{abi.ExportMemory, abi.ExportInitialize},
	}
	for _, f := range linked {
		t := rewrite.FuncType{Params: slices.Repeat([]byte{i32}, len(f.Params)), Results: []byte{i64}}
		g.Imports = append(g.Imports, rewrite.Import{Module: abi.ModulePrefix + string(f.Capability), Name: f.Name, Type: t})
	}
	a := adapter{d, linked}
	g.Funcs = []rewrite.GraftFunc{
		fnZone:      {Type: sig("ii", "i"), Body: in(func(at) []byte { return num(0) })},
		fnInterrupt: {Type: sig("", "i"), Body: in(func(at) []byte { return num(0) })},
		fnRejection: {Type: sig("iii", ""), Body: in(a.rejection)},
		fnNormalize: {Type: sig("ii", "i"), Body: in(a.normalize)},
		fnLoad:      {Type: sig("ii", "i"), Locals: []byte{i32, i32}, Body: in(a.load)},
		fnHostCall:  {Type: sig("iiiii", "i"), Locals: []byte{i32, i32, i32, i32}, Body: in(a.hostCall)},
		fnAlloc:     {Export: abi.ExportAlloc, Type: sig("i", "i"), Body: in(a.alloc)},
		fnCall:      {Export: abi.ExportCall, Type: sig("iiii", "l"), Locals: []byte{i32}, Body: in(a.call)},
		fnInit:      {Export: abi.ExportInit, Type: sig("", ""), Locals: []byte{i32, i32}, Body: in(a.init)},
		fnJobs:      {Type: sig("", ""), Body: in(a.jobs)},
		fnDie:       {Type: sig("ii", ""), Body: in(a.die)},
	}
	return g
}

type adapter struct {
	d      *data
	linked []abi.Func
}

func (a adapter) work(at uint32) []byte { return num(a.d.at + at) }

// rejection lets go of what the engine hands over: the SDK settles its own promises.
func (a adapter) rejection(x at) []byte {
	return code(get(0), x.call("qjs_free_value"), get(1), x.call("qjs_free_value"))
}

// normalize makes "./name.js" the name of a script: all are in one folder.
func (a adapter) normalize(x at) []byte {
	return code(
		get(1), get(1), load16(0), num('.'|'/'<<8), eq, num(1), shl, add,
		x.call("strdup"))
}

// load finds a module by name: (name, where its length goes) → a copy of its source, which the engine frees.
func (a adapter) load(x at) []byte {
	return code(
		num(a.d.table), set(2),
		block(loop(
			get(2), num(a.d.table+12*a.d.count), geU, brIf(1),
			get(0), get(2), load32(0), x.call("strcmp"), eqz, when(
				get(1), get(2), load32(8), store32(0),
				get(2), load32(4), x.call("strdup"), ret),
			get(2), num(12), add, set(2), br(0))),
		num(0))
}

// alloc gives room for a request; the room before is let go.
func (a adapter) alloc(x at) []byte {
	return code(
		getG(x, glRoom), x.call("wasm_free"),
		get(0), x.call("wasm_malloc"), setG(x, glRoom),
		getG(x, glRoom))
}

// jobs runs what promises wait for.
func (a adapter) jobs(x at) []byte {
	return block(loop(x.call("qjs_is_job_pending"), eqz, brIf(1), x.call("qjs_execute_pending_job"), drop, br(0)))
}

// die prints a text to standard error, where the host looks for last words, and traps.
func (a adapter) die(x at) []byte {
	return code(
		a.work(workVec), get(0), store32(0), a.work(workVec), get(1), store32(4),
		num(2), a.work(workVec), num(1), a.work(workVec+8), x.call("wasi_snapshot_preview1.fd_write"), drop,
		unreachable)
}

// orDie ends everything when the value in a local is an exception that nobody caught.
func (a adapter) orDie(x at, local int) []byte {
	return code(get(local), x.call("qjs_is_exception"), when(
		x.call("qjs_get_exception"), a.work(workLen), x.call("qjs_get_string_len"),
		a.work(workLen), load32(0), x.own(fnDie)))
}

// init starts the engine and evaluates the scripts; what is left then is the state every call starts from.
func (a adapter) init(x at) []byte {
	d := a.d
	return code(
		x.call("qjs_init"), when(unreachable),
		num(1), x.call("qjs_set_module_loader"), num(stackSize), x.call("qjs_set_max_stack_size"),
		x.call("qjs_get_global"), set(0),
		get(0), num(d.hostFn), num(d.hostFn), num(5), num(0), x.call("qjs_new_host_function"), x.call("qjs_set_prop_string"), drop,
		num(d.entry), num(d.entryLen), num(d.entryName), num(flagModule), x.call("qjs_eval"), set(1),
		a.orDie(x, 1),
		x.own(fnJobs),
		get(0), num(d.enter), x.call("qjs_get_prop_string"), setG(x, glEnter),
		get(0), num(d.leave), x.call("qjs_get_prop_string"), setG(x, glLeave),
		getG(x, glEnter), x.call("qjs_is_function"), eqz, when(unreachable), // a top-level await that nothing ends
		x.call("qjs_run_gc"))
}

// call is arw_call: enter with the tool and the input, run what is pending, and leave with the frame.
func (a adapter) call(x at) []byte {
	argv := func(i uint32) []byte { return a.work(workArgv + 4*i) }
	return code(
		getG(x, glFrame), when(getG(x, glFrame), x.call("qjs_free_value")),
		num(0), setG(x, glFrame),
		argv(0), get(0), get(1), x.call("qjs_new_string"), store32(0),
		argv(1), get(2), get(3), x.call("qjs_new_array_buffer"), store32(0),
		getG(x, glEnter), x.call("qjs_get_undefined"), num(2), argv(0), x.call("qjs_call"), set(4),
		argv(0), load32(0), x.call("qjs_free_value"), argv(1), load32(0), x.call("qjs_free_value"),
		a.orDie(x, 4),
		get(4), x.call("qjs_free_value"),
		x.own(fnJobs),
		getG(x, glLeave), x.call("qjs_get_undefined"), num(0), argv(0), x.call("qjs_call"), set(4),
		a.orDie(x, 4),
		get(4), setG(x, glFrame),
		get(4), a.work(workLen), x.call("qjs_get_array_buffer"), extend, num64(32), shl64,
		a.work(workLen), load32(0), extend, or64)
}

// hostCall is what the SDK's sys function does: the first argument is a number, buffers become pointer and length, and a
// host function's status comes back as a number.
func (a adapter) hostCall(x at) []byte {
	const argc, argv, i, to, v, n = 3, 4, 5, 6, 7, 8
	arg := func(k uint32) []byte { return code(a.work(workArgs), load32(4*k)) }
	body := code(
		get(argv), load32(0), x.call("qjs_get_float64"), truncate, set(n),
		a.work(workArgs), set(to), num(1), set(i),
		block(loop(
			get(i), get(argc), geU, brIf(1), get(i), num(8), geU, brIf(1),
			get(argv), get(i), num(2), shl, add, load32(0), set(v),
			get(v), x.call("qjs_is_array_buffer"), ifElse(code(
				get(to), get(v), a.work(workLen), x.call("qjs_get_array_buffer"), store32(0),
				get(to), a.work(workLen), load32(0), store32(4),
				get(to), num(8), add, set(to),
			), code(
				get(n), num(callBytes), ne, when(get(to), get(v), x.call("qjs_get_float64"), truncate, store32(0)),
				get(to), num(4), add, set(to),
			)),
			get(i), num(1), add, set(i), br(0))),
	)
	on := func(number int, do ...[]byte) {
		body = code(body, get(n), num(uint32(number)), eq, when(append(do, ret)...))
	}
	on(callFail, arg(0), arg(1), x.own(fnDie), unreachable)
	on(callText, arg(0), arg(1), x.call("qjs_new_string"))
	on(callBytes, get(argv), load32(4), a.work(workLen), x.call("qjs_get_string_len"), set(v),
		get(v), a.work(workLen), load32(0), x.call("qjs_new_array_buffer"), get(v), x.call("qjs_free_cstring"))
	on(callRandom, arg(0), arg(1), x.call("wasi_snapshot_preview1.random_get"), drop, x.call("qjs_get_undefined"))
	on(callPrint, a.work(workVec), arg(1), store32(0), a.work(workVec), arg(2), store32(4),
		arg(0), a.work(workVec), num(1), a.work(workVec+8), x.call("wasi_snapshot_preview1.fd_write"), drop, x.call("qjs_get_undefined"))
	for k, f := range a.linked {
		do := [][]byte{}
		for j := range f.Params {
			do = append(do, arg(uint32(j)))
		}
		on(firstFunc+k, append(do, x.imported(k), toFloat, x.call("qjs_new_number"))...)
	}
	return code(body, minusOne, x.call("qjs_new_number"))
}
