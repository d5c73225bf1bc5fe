package wasm

import (
	"fmt"
	"slices"
	"strings"

	"github.com/arw-project/arw/abi"
	"github.com/arw-project/arw/host/internal/wasm/rewrite"
)

// extismEnvTypes are the functions of the Extism runtime and their signatures. Those that reach the world, and those
// whose answer is a setting of the whole process in the SDK, are answered by this host instead: extismOurs.
func extismEnvTypes() map[string]signature {
	types := map[string]signature{}
	for _, line := range strings.Fields(extismEnvTable) {
		name, sig, _ := strings.Cut(line, ":")
		params, results, _ := strings.Cut(sig, ">")
		letters := strings.NewReplacer("i", i32, "l", i64)
		types[name] = signature{letters.Replace(params), letters.Replace(results)}
	}
	return types
}

// extismEnvTable has name:parameters>results, i for i32 and l for i64.
const extismEnvTable = `alloc:l>l free:l> length:l>l length_unsafe:l>l load_u8:l>i load_u64:l>l store_u8:li> store_u64:ll>
input_set:ll> input_length:>l input_offset:>l input_load_u8:l>i input_load_u64:l>l output_set:ll> output_length:>l output_offset:>l
reset:> error_set:l> error_get:>l memory_bytes:>l config_get:l>l var_get:l>l var_set:ll> http_request:ll>l http_status_code:>i
http_headers:>l get_log_level:>i log_trace:l> log_debug:l> log_info:l> log_warn:l> log_error:l>`

// extismFunc finds the ABI function behind an import of extism:host/user, such as arw_kv_get.
func extismFunc(name string) (abi.Func, bool) {
	rest, ok := strings.CutPrefix(name, "arw_")
	for _, f := range abi.Functions {
		if ok && f.Capability != abi.IO && rest == string(f.Capability)+"_"+f.Name {
			return f, true
		}
	}
	return abi.Func{}, false
}

// extismArg is one parameter of a host function as an Extism guest sees it: every one is an i64.
type extismArg struct {
	name  string
	words int  // how many parameters of the ABI function it stands for
	block bool // an offset of a memory block, for a pointer and its length
}

// extismShape says how a function of the ABI looks to an Extism guest: pointer and length become one block, a 64-bit
// offset one number, and the buffer for the reply goes away, since the reply is a new block. Only a function that fills
// as much as it is given room for keeps a number in that place: how many bytes the guest wants.
func extismShape(f abi.Func) (args []extismArg, out int) {
	out = -1
	for i := 0; i < len(f.Params); i++ {
		name := f.Params[i]
		next := ""
		if i+1 < len(f.Params) {
			next = f.Params[i+1]
		}
		switch {
		case next == name+"_cap":
			out = i
			if fills(f) {
				args = append(args, extismArg{name: "n", words: 2})
			}
			i++
		case next == name+"_len":
			args = append(args, extismArg{name: name, words: 2, block: true})
			i++
		case strings.HasSuffix(name, "_lo"):
			args = append(args, extismArg{name: strings.TrimSuffix(name, "_lo"), words: 2})
			i++
		default:
			args = append(args, extismArg{name: name, words: 1})
		}
	}
	return args, out
}

// fills says whether a function writes as many bytes as it has room for, rather than a reply of its own size.
func fills(f abi.Func) bool {
	return f.Capability == abi.FS && f.Name == "read" || f.Capability == abi.Rand || f.Capability == abi.Stream
}

// extismExports are the exports of an Extism module that can be tools: what takes nothing and returns a status or nothing.
func extismExports(m *rewrite.Module) []string {
	var names []string
	for _, e := range m.Exports {
		plain := e.Kind == rewrite.KindFunc && (e.Type.Is("", i32) || e.Type.Is("", ""))
		if plain && !slices.Contains(extismStarts, e.Name) {
			names = append(names, e.Name)
		}
	}
	return names
}

// extismStarts are exports that prepare a module and are no tools. The first two are called before the snapshot.
var extismStarts = []string{abi.ExportInitialize, "__wasm_call_ctors", "hs_init", "hs_exit"}

// extismTool finds the export behind a tool's id: the one of the same name, else the only one that differs in case or in
// the marks between words, since ids and the names of many languages' functions do not look alike.
func extismTool(exports []string, tool string) (string, error) {
	if slices.Contains(exports, tool) {
		return tool, nil
	}
	var like []string
	for _, e := range exports {
		if plainName(e) == plainName(tool) {
			like = append(like, e)
		}
	}
	switch len(like) {
	case 1:
		return like[0], nil
	case 0:
		return "", abi.Errorf(abi.NotFound, "the module does not export a function for tool %q", tool).
			WithHint("it exports %s: name the tool in pack.toml after one of them", clean(fmt.Sprintf("%q", exports), 300))
	}
	return "", abi.Errorf(abi.NotFound, "tool %q could be any of the exports %q", tool, like).
		WithHint("name the tool in pack.toml exactly as its export")
}

// plainName is a name without case and marks.
func plainName(s string) string {
	return strings.NewReplacer("_", "", "-", "", ".", "").Replace(strings.ToLower(s))
}

// extismFaults names what keeps a module from being a plugin.
func extismFaults(m *rewrite.Module) []string {
	var faults []string
	if m.Memory == nil {
		faults = append(faults, "it does not define a memory")
	}
	if len(extismExports(m)) == 0 {
		faults = append(faults, "it exports no function that takes nothing and returns a status: no tool can be one of its exports")
	}
	for _, e := range m.Exports {
		if strings.HasPrefix(e.Name, rewrite.Reserved) {
			faults = append(faults, fmt.Sprintf("its export %q begins with %q, which is reserved", e.Name, rewrite.Reserved))
		}
	}
	return faults
}
