package wasm

import (
	"sync"
	_ "unsafe" // for go:linkname
)

// The interpreter stops at 2,000 nested calls, far below our limit on depth, and offers no option for it. A guest that
// nests deeper would live on the compiler and fall on the interpreter, so the two would not be one engine. The variable is the
// engine's own; when a later version moves it, this package does not link, and TestTiers says whether it still works.
//
//go:linkname interpreterFrames github.com/tetratelabs/wazero/internal/engine/interpreter.callStackCeiling
var interpreterFrames int

// deepen lets the interpreter go as deep as the deepest call that our own counter lets pass.
var deepen = sync.OnceFunc(func() { interpreterFrames = int(DefaultLimits().Depth) + 64 })
