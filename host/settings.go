package host

import (
	"log/slog"
	"time"

	"github.com/arw-project/arw/host/internal/infer"
	"github.com/arw-project/arw/host/internal/pack"
	"github.com/arw-project/arw/host/internal/snappy"
	"github.com/arw-project/arw/host/internal/starts"
	"github.com/arw-project/arw/registry"
)

// Config of a host. StateDir is required; everything else has a default that works.
type Config struct {
	// StateDir holds all state. It is made, with mode 0700, when it is missing.
	StateDir string
	// TrustFile is trust.toml; empty means the one in StateDir. A missing file trusts nobody.
	TrustFile string
	// PolicyDir holds *.cedar files; empty means "policy" in StateDir.
	PolicyDir string
	// CacheDir keeps compiled code; empty means cache/wasm in StateDir. It must be the user's own.
	CacheDir string
	// Registries are asked, in order, for a pack whose reference names none: "dir:/path" or "host:port".
	Registries []string
	// Registry is how registries are spoken to.
	Registry registry.Options
	// OpenProjects lets the first call that names a project make it; else its operator makes one before.
	OpenProjects bool
	// Workers is how many actions run at once; 0 means twice the processors, between 4 and 32.
	Workers int
	// Limits bound the rest.
	Limits Limits
	// Queue is where actions wait.
	Queue Queue
	// Schedules are tools that are called at given times.
	Schedules []Schedule
	// Upgrade is how new versions of packs are watched, and what is kept of old ones.
	Upgrade Upgrade
	// Snappy is how fast the host means to answer, and from when on it says that it does not.
	Snappy snappy.Config
	// Journal is how the record of everything is signed and what is kept of it.
	Journal Journal
	// Egress is how the network is reached.
	Egress Egress
	// Edge is how the API is reached.
	Edge Edge
	// Index is the signed index that new installs are looked up in; the zero value is none.
	Index Index
	// Revocations knows which packs must not run; nil asks the Index, if there is one.
	Revocations pack.Revocations
	// Models are asked beside those of models.toml, by their names; their owner keeps them running. For tests and unusual houses.
	Models map[string]infer.Model
	// ModelsEvery is how long changes of read models are gathered before they become one version: 250 ms.
	ModelsEvery time.Duration
	// Telemetry is where traces go; the zero value is nowhere.
	Telemetry Telemetry
	// Crashes say when a host that keeps dying starts safe.
	Crashes starts.Limits
	// Safe, when not empty, starts the host safe, with this reason: nothing of any pack is loaded or run.
	Safe string
	// Version of the program, for the record.
	Version string
	// Log receives what has no caller to return to, and what guests log; nil means nowhere.
	Log *slog.Logger
}

// Limits of a host; a zero field means the default named behind it.
type Limits struct {
	Queue     int           // actions waiting: 1,024
	PerPack   int           // actions of one pack at once: Workers less a quarter
	Input     int64         // bytes into an action: 8 MiB
	Output    int64         // bytes out of an action: 8 MiB
	Depth     int           // tools calling tools: 8
	Instances int           // guests of one pack at once: the engine's choice
	Compiles  int           // modules compiling at once: 1
	Grace     time.Duration // running actions at a stop: 5 s
	Drain     time.Duration // running calls at an upgrade: 30 s
	Sweep     time.Duration // how often unused blobs are looked for: 1 h
	Record    int64         // bytes of the record of one call: 64 MiB
	Models    int64         // bytes of model files that the host fetched: no bound
	Review    time.Duration // how long a write waits for a person: 7 days
	BlobGrace time.Duration // how long an unused blob is kept: 24 h
}

// Upgrade says what is kept of a version that is replaced, and when its successor is taken back without being asked.
type Upgrade struct {
	Keep  int              // replaced versions of a pack that can come back without a registry: 3
	Guard pack.Guard       // see there
	Now   func() time.Time // the clock of it; nil means the real one
}
