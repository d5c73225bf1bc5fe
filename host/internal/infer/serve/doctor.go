package serve

import (
	"fmt"
	"os"
	"slices"
	"strings"

	"github.com/arw-project/arw/host/internal/infer/gguf"
	"github.com/arw-project/arw/host/internal/infer/supervise"
)

// Finding is one thing that is, or might be, wrong; Severity is "error", "warning" or "ok".
type Finding struct {
	Severity string `json:"severity"`
	About    string `json:"about"` // "model tiny", "profile small", "models.toml"
	Says     string `json:"says"`
	Next     string `json:"next,omitempty"`
}

// Hints are what a model will take in its profile, by its header: before anything is loaded.
type Hints struct {
	Model   string `json:"model"`
	Profile string `json:"profile"`
	Weights int64  `json:"weights_bytes"`
	// KV is the memory for keys and values of all slots at their full context; 0 when the header does not say enough.
	KV     int64  `json:"kv_bytes,omitempty"`
	Memory int64  `json:"memory_bytes"`           // that the profile allows
	Fits   bool   `json:"fits"`                   // weights and KV together are below it
	Cache  string `json:"prefix_cache"`           // how prompts are reused: "slot", "shared" or "none"
	Train  uint64 `json:"trained_for,omitempty"`  // tokens of context
	Long   bool   `json:"long_context,omitempty"` // the profile asks for more than that: answers beyond it get worse
	GPU    string `json:"gpu,omitempty"`          // "asked for", "asked for and not seen"
}

// Report is what Doctor found.
type Report struct {
	Findings []Finding `json:"findings"` // an error first
	Hints    []Hints   `json:"hints"`
}

// Doctor looks at files, profiles and machine, and starts nothing.
func (s *Service) Doctor() Report {
	r := Report{Findings: []Finding{}, Hints: []Hints{}}
	t := s.table()
	add := func(severity, about, next, format string, args ...any) {
		r.Findings = append(r.Findings, Finding{severity, about, fmt.Sprintf(format, args...), next})
	}
	if t.fault != nil {
		add("error", "models.toml and runtimes.toml", "mend them: the last good ones are in force", "%v", t.fault)
	}
	if len(t.models) == 0 {
		add("error", "models", "arw model pull, or arw model add", "no model is configured")
	}
	for _, name := range sortedNames(t.profiles) {
		p := t.profiles[name]
		if p.Runtime == supervise.Remote {
			add("ok", "profile "+name, "", "requests leave for %s, through the guard", p.URL)
			continue
		}
		switch info, err := os.Stat(p.Binary); {
		case err != nil:
			add("error", "profile "+name, "install the runtime, or correct binary in runtimes.toml", "its binary cannot be run: %v", err)
		case info.IsDir() || info.Mode()&0o111 == 0:
			add("error", "profile "+name, "chmod +x, or correct binary in runtimes.toml", "its binary %q is no program", p.Binary)
		default:
			add("ok", "profile "+name, "", "%s, %d slots of %d tokens", p.Runtime, p.Slots, p.Context)
		}
		if p.GPULayers > 0 && !gpuSeen() {
			add("warning", "profile "+name, "set gpu_layers = 0", "it asks for a GPU and this machine shows none: the runtime will use the CPU, or not start")
		}
	}
	for _, m := range s.List() {
		if _, given := s.given[m.Name]; given || m.Remote {
			continue
		}
		h, err := s.hints(m, t.profiles[m.Profile])
		if err != nil {
			add("error", "model "+m.Name, "arw model verify "+m.Name, "%v", err)
			continue
		}
		r.Hints = append(r.Hints, h)
		switch {
		case !h.Fits:
			add("warning", "model "+m.Name, "a smaller context or fewer slots, cache_type = \"q8_0\", or more memory", "weights and keys may take %d bytes, profile %s allows %d", h.Weights+h.KV, m.Profile, h.Memory)
		case h.Long:
			add("warning", "model "+m.Name, "a context of at most what it was trained for", "profile %s gives it more context than the %d tokens it was trained for", m.Profile, h.Train)
		default:
			add("ok", "model "+m.Name, "", "%d bytes of weights, %d of keys at most", h.Weights, h.KV)
		}
	}
	order := map[string]int{"error": 0, "warning": 1, "ok": 2}
	slices.SortStableFunc(r.Findings, func(a, b Finding) int { return order[a.Severity] - order[b.Severity] })
	return r
}

func sortedNames(m map[string]supervise.Profile) (names []string) {
	for name := range m {
		names = append(names, name)
	}
	slices.Sort(names)
	return names
}

// hints reads a header.
func (s *Service) hints(m Model, p supervise.Profile) (Hints, error) {
	h := Hints{Model: m.Name, Profile: m.Profile, Memory: int64(p.Memory), Cache: map[string]string{"llama": "slot", "vllm": "shared"}[p.Runtime]}
	if h.Cache == "" {
		h.Cache = "none"
	}
	if p.GPULayers > 0 {
		if h.GPU = "asked for"; !gpuSeen() {
			h.GPU = "asked for and not seen"
		}
	}
	f, err := os.Open(m.File)
	if err != nil {
		return h, err
	}
	defer f.Close()
	info, err := f.Stat()
	if err != nil {
		return h, err
	}
	h.Weights = info.Size()
	if p.Runtime == "llama" {
		g, err := gguf.Read(f, info.Size())
		if err != nil {
			return h, err
		}
		h.KV = int64(min(g.CacheBytes(uint64(p.Context*p.Slots)), 1<<62)) * kvShare(p.CacheType) / 16
		h.Train, h.Long = g.Context, g.Context > 0 && uint64(p.Context) > g.Context
	} else if err := inspect(p.Runtime, f, info.Size()); err != nil {
		return h, err
	}
	h.Fits = h.Weights+h.KV < h.Memory
	return h, nil
}

// kvShare is how many sixteenths of 16-bit keys and values a type takes.
func kvShare(cacheType string) int64 {
	switch {
	case strings.HasPrefix(cacheType, "q8"):
		return 9 // 8.5 bits
	case strings.HasPrefix(cacheType, "q4"):
		return 5 // 4.5 bits
	}
	return 16
}

// gpuSeen reports whether the machine shows a device that a runtime could use.
func gpuSeen() bool {
	for _, name := range []string{"/dev/nvidia0", "/dev/kfd", "/dev/dri/renderD128"} {
		if _, err := os.Stat(name); err == nil {
			return true
		}
	}
	return false
}
