// Package javascript holds the SDK that packs in JavaScript import as "arw". Its promise: the files here are what "arw pack
// init --lang js" lays beside a new pack and what "arw pack build" puts into a module, and nothing else.
package javascript

import "embed"

// Source holds arw.js, which goes into every module, and arw.d.ts, which editors read.
//
//go:embed arw.js arw.d.ts
var Source embed.FS

// The engine that runs a pack's script: QuickJS-NG, built for WebAssembly, as it lies in a package of npm. It is fetched by
// the author's own npm and recognised by its bytes; it is never part of this repository.
const (
	EnginePackage = "quickjs-wasi"
	EngineVersion = "3.6.2"
	EngineFile    = "quickjs.wasm"
	EngineSHA256  = "d4c9375f2b1ca4dc95f72c8aa2982a7a9951ac8011490d79c6582df732b4bbd9"
)
