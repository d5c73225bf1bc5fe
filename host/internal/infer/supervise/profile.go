package supervise

import (
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"net/url"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/arw-project/arw/abi"
	"github.com/arw-project/arw/host/internal/infer/openai"
	"github.com/arw-project/arw/manifests/strict"
)

// Profile says how a runtime is started. Every field is a value of a known kind that becomes one argument: there is no way to
// pass an argument of one's own, since runtimes have some that run tools, fetch weights or write files.
type Profile struct {
	Name    string `toml:"-"`
	Runtime string `toml:"runtime,required"` // llama, vllm, onnx or remote
	Binary  string `toml:"binary"`           // absolute path; empty for onnx: the host's own

	// Of a remote one, that nobody here starts: where it is, what it calls the model, and which secret of the vault shows who asks.
	URL    string `toml:"url"`
	Model  string `toml:"model"`
	Secret string `toml:"secret"`

	Context   int    `toml:"context"`    // tokens per request; 0: 4096
	Slots     int    `toml:"slots"`      // requests at once; 0: 2
	Queue     int    `toml:"queue"`      // requests waiting beside them; 0: 16
	Threads   int    `toml:"threads"`    // 0: the runtime's choice
	GPULayers int    `toml:"gpu_layers"` // layers on a GPU; 0: none
	CacheType string `toml:"cache_type"` // of keys and values: f16, q8_0, q4_0; empty: f16
	Embed     bool   `toml:"embed"`      // embeddings instead of text
	Rerank    bool   `toml:"rerank"`     // scores instead of text

	Prompts strict.Size     `toml:"prompts"` // of prompts' memories that are kept on disk; 0: 1 GiB
	Memory  strict.Size     `toml:"memory"`  // resident, above which the runtime is stopped; 0: 8 GiB
	Files   int             `toml:"files"`   // descriptors; 0: 1024
	Grace   strict.Duration `toml:"grace"`   // for loading; 0: 2 min
	Idle    strict.Duration `toml:"idle"`    // unused for so long, it is stopped; 0: 15 min
}

// file is runtimes.toml: [profile.NAME] tables.
type file struct {
	Profile map[string]Profile `toml:"profile"`
}

var profileName = regexp.MustCompile(`^[a-z][a-z0-9-]{0,31}$`)

// ParseProfiles reads runtimes.toml. The error is Invalid and names every problem with its line.
func ParseProfiles(name string, src []byte) (map[string]Profile, error) {
	var f file
	lines, err := strict.Decode(name, src, &f)
	problems, _ := err.(strict.Problems)
	if err != nil && problems == nil {
		return nil, abi.Errorf(abi.Internal, "read profiles %q: %w", name, err)
	}
	for _, key := range sortedKeys(f.Profile) {
		p := f.Profile[key]
		p.Name = key
		p.fill()
		f.Profile[key] = p
		if lines == nil {
			continue
		}
		for field, msg := range p.faults() {
			problems = append(problems, lines.Problem(msg, "", "profile", key, field))
		}
	}
	if err := problems.Err(); err != nil {
		return nil, abi.Errorf(abi.Invalid, "read profiles:\n%w", err)
	}
	return f.Profile, nil
}

func sortedKeys(m map[string]Profile) []string {
	keys := make([]string, 0, len(m))
	for k := range m {
		keys = append(keys, k)
	}
	slices.Sort(keys)
	return keys
}

// fill puts the defaults in the place of zeros.
func (p *Profile) fill() {
	for at, v := range map[*int]int{&p.Context: 4096, &p.Slots: 2, &p.Queue: 16, &p.Files: 1024} {
		if *at == 0 {
			*at = v
		}
	}
	if p.CacheType == "" {
		p.CacheType = "f16"
	}
	if p.Runtime == "onnx" && p.Binary == "" {
		p.Binary, _ = os.Executable() // none is refused as no absolute path
	}
	if p.Prompts == 0 {
		p.Prompts = 1 << 30
	}
	if p.Memory == 0 {
		p.Memory = 8 << 30
	}
	if p.Grace == 0 {
		p.Grace = strict.Duration(2 * time.Minute)
	}
	if p.Idle == 0 {
		p.Idle = strict.Duration(15 * time.Minute)
	}
}

func (p *Profile) faults() map[string]string {
	out := map[string]string{}
	if !profileName.MatchString(p.Name) {
		out["runtime"] = fmt.Sprintf("the name %.40q is not a-z, 0-9 and -, at most 32", p.Name)
	}
	if p.Runtime == Remote {
		p.remoteFaults(out)
		return out
	}
	if p.URL != "" || p.Model != "" || p.Secret != "" {
		out["url"] = "url, model and secret are for runtime = \"remote\""
	}
	if _, ok := launchers[p.Runtime]; !ok {
		out["runtime"] = fmt.Sprintf("%.40q is not llama, vllm, onnx or remote", p.Runtime)
	}
	if !filepath.IsAbs(p.Binary) || filepath.Clean(p.Binary) != p.Binary {
		out["binary"] = "a binary is an absolute path"
	}
	for field, v := range map[string][3]int{
		"context": {p.Context, 64, 1 << 24}, "slots": {p.Slots, 1, 256}, "queue": {p.Queue, 1, 4096}, "threads": {p.Threads, 0, 1024},
		"gpu_layers": {p.GPULayers, 0, 1 << 16}, "files": {p.Files, 64, 1 << 20},
	} {
		if v[0] < v[1] || v[0] > v[2] {
			out[field] = fmt.Sprintf("%d is not %d to %d", v[0], v[1], v[2])
		}
	}
	if !slices.Contains([]string{"f16", "q8_0", "q4_0"}, p.CacheType) {
		out["cache_type"] = fmt.Sprintf("%.40q is not f16, q8_0 or q4_0", p.CacheType)
	}
	if p.Embed && p.Rerank {
		out["rerank"] = "a runtime either embeds or reranks"
	}
	return out
}

// Remote is the runtime of a profile that names somebody else's server.
const Remote = "remote"

func (p *Profile) remoteFaults(out map[string]string) {
	u, err := url.Parse(p.URL)
	if err != nil || u.Scheme != "https" || u.Host == "" || u.User != nil || u.RawQuery != "" || u.Fragment != "" || strings.HasSuffix(u.Path, "/v1") {
		out["url"] = fmt.Sprintf("%.200q is no address of a server: it begins with https:// and has no query and no /v1 at its end", p.URL)
	}
	if p.Model == "" || len(p.Model) > 200 {
		out["model"] = "what the server calls the model is missing, or longer than 200 bytes"
	}
	if p.Binary != "" {
		out["binary"] = "a remote runtime has no program here"
	}
	if p.Context < 64 || p.Context > 1<<24 {
		out["context"] = fmt.Sprintf("%d is not 64 to %d", p.Context, 1<<24)
	}
}

// digest tells profiles apart by everything that matters to a process.
func (p *Profile) digest() string {
	text, _ := json.Marshal(p) // plain fields
	sum := sha256.Sum256(text)
	return hex.EncodeToString(sum[:8])
}

// Launch is how a kind of runtime is started and spoken to.
type Launch struct {
	Dialect openai.Dialect
	Args    func(p *Profile, model, socket, keyFile string) []string
	Health  string // path that answers 200 when it is ready
}

var launchers = map[string]Launch{
	"llama": {Dialect: openai.Llama, Args: llamaArgs, Health: "/health"},
	"vllm":  {Dialect: openai.VLLM, Args: vllmArgs, Health: "/health"},
	"onnx":  {Dialect: openai.ONNX, Args: onnxArgs, Health: "/health"},
}

// onnxArgs start the worker that this program brings, or another that takes the same.
func onnxArgs(_ *Profile, model, socket, keyFile string) []string {
	return []string{"onnx-worker", "--model", model, "--socket", socket, "--key-file", keyFile}
}

func llamaArgs(p *Profile, model, socket, keyFile string) []string {
	n := strconv.Itoa
	args := []string{
		"--model", model, "--alias", servedName, "--host", socket, "--api-key-file", keyFile, "--offline", "--no-ui", "--log-colors", "off",
		// The server divides its context by its slots.
		"--ctx-size", n(p.Context * p.Slots), "--parallel", n(p.Slots), "--gpu-layers", n(p.GPULayers),
		"--cache-type-k", p.CacheType, "--cache-type-v", p.CacheType,
		"--slot-save-path", filepath.Join(filepath.Dir(socket), "slots") + "/",
		// The cache of prompts beside the slots belongs to no scope.
		"--cache-ram", "0", "--no-context-shift",
	}
	if p.Threads > 0 {
		args = append(args, "--threads", n(p.Threads))
	}
	if p.Embed {
		args = append(args, "--embeddings", "--pooling", "mean")
	}
	if p.Rerank {
		args = append(args, "--reranking")
	}
	return args
}

func vllmArgs(p *Profile, model, socket, keyFile string) []string {
	args := []string{"serve", model, "--served-model-name", servedName, "--uds", socket, "--max-model-len", strconv.Itoa(p.Context),
		"--max-num-seqs", strconv.Itoa(p.Slots), "--enable-prefix-caching", "--disable-log-requests"}
	if p.CacheType == "q8_0" {
		args = append(args, "--kv-cache-dtype", "fp8")
	}
	return args
}

// servedName is what every supervised runtime calls its one model.
const servedName = "model"
