package hosttest

import (
	_ "embed"
	"testing"
)

//go:embed testdata/tuner/main.go
var tuner string

// TunerTOML is the manifest of the pack test/tuner, whose tools compute patches of logic units.
const TunerTOML = `name = "test/tuner"
version = "1.2.0"
description = "Computes patches of logic units."
[module]
file = "module.wasm"
abi = "^1.0"
[capabilities.clock]
reason = "to be refused"
[capabilities.kv]
reason = "to be refused"
[[tools]]
id = "tuner.tune"
description = "Multiplies."
effects = "pure"
  [[tools.examples]]
  input = { parameters = { factor = 2 }, documents = { "recipes/retrieval" = { k = 4 } } }
  output = { patches = [{ target = "recipes/retrieval", value = { k = 8 } }] }
[[tools]]
id = "tuner.peek"
description = "Asks for the time."
effects = "pure"
[[tools]]
id = "tuner.loop"
description = "Never ends."
effects = "pure"
[[tools]]
id = "tuner.count"
description = "Counts its calls."
effects = "pure"
[[tools]]
id = "tuner.impure"
description = "Could do more."
effects = "writes"
[[tools]]
id = "tuner.crash"
description = "Crashes when it is refused something."
effects = "writes"
  [[tools.examples]]
  input = {}
`

// TunerPack is that pack.
func TunerPack(t testing.TB) Artifact { return Artifact{TOML: TunerTOML, Module: Build(t, tuner)} }
