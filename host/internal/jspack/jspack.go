// Package jspack makes one module of a JavaScript engine and a pack's scripts. Its promise: what comes out keeps the ABI like
// any other module, imports only what the pack's capabilities name, and is the same bytes for the same input.
//
// The engine is QuickJS as a package of npm carries it. It was made for another host, so the functions it wants of that host
// are written here, in WebAssembly, and put in their places.
package jspack

import (
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"io/fs"
	"slices"
	"strings"

	"github.com/arw-project/arw/abi"
	"github.com/arw-project/arw/host/internal/wasm/rewrite"
	"github.com/arw-project/arw/sdk/javascript"
)

// Main is the script whose exports are the tools.
const Main = "main.js"

// Names of the modules that are not the pack's own.
const (
	nameSDK  = "arw"
	nameHost = "arw:host"
)

// entry starts a pack: the SDK first, then the pack's own script, so that an error in that one can be told.
const entry = `import { start } from "arw"; start(() => import("./` + Main + `"));`

// Build makes the module. Scripts are by name, all in one folder; caps are what pack.toml asks for: functions of any other
// capability are not linked, and calling one says what to add. sdk is the SDK's source, "" for this build's own. Errors:
// Incompatible for an engine that is not the one this build knows; Invalid without main.js.
func Build(engine []byte, scripts map[string]string, sdk string, caps []abi.Capability) ([]byte, error) {
	sum := sha256.Sum256(engine)
	if got := hex.EncodeToString(sum[:]); got != javascript.EngineSHA256 {
		return nil, abi.Errorf(abi.Incompatible, "the engine %s has the SHA-256 %s, not %s", javascript.EngineFile, got, javascript.EngineSHA256).
			WithHint("install %s@%s with npm, exactly", javascript.EnginePackage, javascript.EngineVersion)
	}
	if _, ok := scripts[Main]; !ok {
		return nil, abi.Errorf(abi.Invalid, "there is no %s", Main).WithHint("export the pack's tools from %s", Main)
	}
	if sdk == "" {
		src, err := fs.ReadFile(javascript.Source, "arw.js")
		if err != nil {
			return nil, err
		}
		sdk = string(src)
	}
	m, err := rewrite.Decode(engine)
	if err != nil {
		return nil, err
	}
	linked := linkedFuncs(caps)
	modules := map[string]string{nameSDK: sdk, nameHost: hostModule(linked)}
	for name, src := range scripts {
		modules[name] = src
	}
	d := newData(m.Memory.Min*65536, modules)
	bin, err := m.Graft(graft(d, linked))
	if err != nil {
		return nil, fmt.Errorf("join engine and scripts: %w", err)
	}
	return bin, nil
}

// linkedFuncs are the host functions a pack with these capabilities can call.
func linkedFuncs(caps []abi.Capability) []abi.Func {
	var out []abi.Func
	for _, f := range abi.Functions {
		if f.Capability.Ambient() || slices.Contains(caps, f.Capability) {
			out = append(out, f)
		}
	}
	return out
}

// hostModule tells the SDK the numbers of functions and codes. A function that is not linked has a number that the
// adapter does not know, and answers -1.
func hostModule(linked []abi.Func) string {
	numbers := map[string]int{}
	for _, f := range abi.Functions {
		numbers[string(f.Capability)+"."+f.Name] = unlinked
	}
	for i, f := range linked {
		numbers[string(f.Capability)+"."+f.Name] = firstFunc + i
	}
	codes := make([]string, len(abi.Codes))
	for i, c := range abi.Codes {
		codes[i] = c.Name
	}
	return "export const functions = " + asJSON(numbers) + ";\nexport const codes = " + asJSON(codes) + ";\n"
}

func asJSON(v any) string {
	b, err := json.Marshal(v) // of strings and numbers
	if err != nil {
		panic(err)
	}
	return string(b)
}

// data is what lies behind the engine's own memory: a work area, texts, and the table of modules.
type data struct {
	at    uint32 // of its beginning
	bytes []byte
	// Where things lie.
	table, count, entry, entryLen, entryName, hostFn, enter, leave uint32
}

// The work area, from data.at.
const (
	workLen  = 0   // where the engine writes lengths
	workVec  = 8   // one vector of fd_write and the count it answers
	workArgv = 32  // arguments of a call into the engine
	workArgs = 64  // arguments of a host function, up to 16
	workSize = 128 // bytes
)

func newData(at uint32, modules map[string]string) *data {
	d := &data{at: at, bytes: make([]byte, workSize)}
	names := make([]string, 0, len(modules))
	for name := range modules {
		names = append(names, name)
	}
	slices.Sort(names)
	var rows []uint32
	for _, name := range names {
		rows = append(rows, d.text(name), d.text(modules[name]), uint32(len(modules[name])))
	}
	for len(d.bytes)%4 != 0 {
		d.bytes = append(d.bytes, 0)
	}
	d.table, d.count = at+uint32(len(d.bytes)), uint32(len(names))
	for _, v := range rows {
		d.bytes = append(d.bytes, byte(v), byte(v>>8), byte(v>>16), byte(v>>24))
	}
	d.entry, d.entryLen, d.entryName = d.text(entry), uint32(len(entry)), d.text("arw:start")
	d.hostFn, d.enter, d.leave = d.text("__arw"), d.text("__arw_enter"), d.text("__arw_leave")
	return d
}

// text adds a text with the zero byte that C wants behind it.
func (d *data) text(s string) uint32 {
	at := d.at + uint32(len(d.bytes))
	d.bytes = append(append(d.bytes, s...), 0)
	return at
}

// Scripts reads a pack's scripts: every .js file of the folder itself.
func Scripts(dir fs.FS) (map[string]string, error) {
	entries, err := fs.ReadDir(dir, ".")
	if err != nil {
		return nil, err
	}
	scripts := map[string]string{}
	for _, e := range entries {
		if !e.Type().IsRegular() || !strings.HasSuffix(e.Name(), ".js") || strings.HasSuffix(e.Name(), ".test.js") {
			continue
		}
		src, err := fs.ReadFile(dir, e.Name())
		if err != nil {
			return nil, err
		}
		scripts[e.Name()] = string(src)
	}
	return scripts, nil
}
