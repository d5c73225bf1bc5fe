package wasm

import (
	"strings"

	"github.com/arw-project/arw/abi"
)

// extismFunc finds the ABI function behind an import of extism:host/user, such as arw_kv_get.
func extismFunc(name string) (abi.Func, bool) {
	rest, ok := strings.CutPrefix(name, "arw_")
	for _, f := range abi.Functions {
		if ok && rest == string(f.Capability)+"_"+f.Name {
			return f, true
		}
	}
	return abi.Func{}, false
}
