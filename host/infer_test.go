package host_test

import (
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/arw-project/arw/abi"
	"github.com/arw-project/arw/host"
	"github.com/arw-project/arw/host/hosttest"
	"github.com/arw-project/arw/host/internal/infer/infertest"
)

// A host without a model says so, with what to do, and makes nothing up.
func TestWithoutAModelInferenceSaysSo(t *testing.T) {
	t.Parallel()
	h := hosttest.New(t, hosttest.Options{})
	for kind, input := range map[string]string{
		"infer.generate": `{"prompt":"say something"}`, "infer.embed": `{"texts":["a"]}`, "infer.rerank": `{"query":"a","documents":["b"]}`, "infer.tokenize": `{"prompt":"a"}`,
	} {
		a := h.FailCall(kind, input, abi.NoModel)
		if a.Output != nil || !strings.Contains(a.Failure.Hint, "models.toml") {
			t.Errorf("%s: %+v", kind, a.Failure)
		}
	}
	if got := h.MustCall("infer.models", `{}`); got != `{"models":[]}` {
		t.Errorf("models %s", got)
	}
}

// models are files of the state directory of a host that asks a real llama-server.
func models(t *testing.T, digest func(string) string) (dir string) {
	t.Helper()
	binary := os.Getenv("ARW_LLAMA_SERVER")
	if binary == "" {
		t.Skip("ARW_LLAMA_SERVER names no llama-server; make runtimes fetches one")
	}
	dir, err := os.MkdirTemp("", "arw") // a socket's path is short
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = os.RemoveAll(dir) })
	file := infertest.TinyGGUF(1)
	sum := sha256.Sum256(file)
	for name, text := range map[string]string{
		"tiny.gguf":     string(file),
		"models.toml":   fmt.Sprintf("[model.tiny]\nfile = %q\ndigest = %q\nprofile = \"small\"\n", filepath.Join(dir, "tiny.gguf"), digest("sha256:"+hex.EncodeToString(sum[:]))),
		"runtimes.toml": fmt.Sprintf("[profile.small]\nruntime = \"llama\"\nbinary = %q\ncontext = 512\nthreads = 1\n", binary),
	} {
		if err := os.WriteFile(filepath.Join(dir, name), []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	return dir
}

func at(dir string) func(*host.Config) { return func(c *host.Config) { c.StateDir = dir } }

func TestRealInferenceByActions(t *testing.T) {
	h := hosttest.New(t, hosttest.Options{Config: at(models(t, func(s string) string { return s }))})
	var a struct {
		Engine string `json:"engine"`
		Kind   string `json:"engine_kind"`
		Model  string `json:"model"`
		Text   string `json:"text"`
		Usage  struct {
			Output int `json:"completion_tokens"`
		} `json:"usage"`
	}
	got := h.MustCall("infer.generate", `{"prompt":"The quick brown fox","max_tokens":8,"seed":1,"temperature":0}`)
	if err := json.Unmarshal([]byte(got), &a); err != nil || a.Engine != "llama.cpp" || a.Kind != "neural" || a.Model != "tiny" || a.Usage.Output == 0 || a.Text == "" {
		t.Errorf("got %s, %v", got, err)
	}
	doc, err := h.Services().View.Get(t.Context(), "runtimes")
	if err != nil || !strings.Contains(string(doc.Body), `"state":"ready"`) || !strings.Contains(string(doc.Body), `"restart_budget":5`) {
		t.Errorf("runtimes %s, %v", doc.Body, err)
	}
	h.FailCall("infer.generate", `{"prompt":"`+strings.Repeat("more words ", 600)+`"}`, abi.TooLarge)
}

func TestRealModelOfAnotherDigestIsNotLoaded(t *testing.T) {
	h := hosttest.New(t, hosttest.Options{Config: at(models(t, func(string) string { return "sha256:" + strings.Repeat("0", 64) }))})
	h.FailCall("infer.generate", `{"prompt":"a"}`, abi.DigestMismatch)
}

// Without any model the doctor says what to do, a stranger's runtime is not found, and agents handle none.
func TestRuntimesAreForPeople(t *testing.T) {
	t.Parallel()
	h := hosttest.New(t, hosttest.Options{})
	if got := h.MustCall("runtimes.doctor", `{}`); !strings.Contains(got, "arw model pull") || !strings.Contains(got, `"severity":"error"`) {
		t.Errorf("doctor %s", got)
	}
	h.FailCall("runtimes.start", `{}`, abi.NoModel)
	h.FailCall("runtimes.stop", `{"id":"x"}`, abi.NotFound)
	for _, kind := range []string{"runtimes.start", "runtimes.stop", "runtimes.logs", "runtimes.doctor", "models.sweep"} {
		in := map[string]string{}
		if kind == "runtimes.stop" || kind == "runtimes.logs" {
			in["id"] = "x"
		}
		if a := asOperator(t, h, kind, in, "agent:bob"); a.Failure == nil || a.Failure.Code != abi.Denied {
			t.Errorf("%s by an agent: %s %+v", kind, a.Output, a.Failure)
		}
	}
	h.WriteState("runtimes.toml", "[profile.small]\nruntime = \"llama\"\nbinary = \"/nowhere/llama-server\"\ngpu_layers = 9\n")
	if got := h.MustCall("runtimes.doctor", `{}`); !strings.Contains(got, "profile small") || !strings.Contains(got, "cannot be run") {
		t.Errorf("doctor %s", got)
	}
	h.WriteState("runtimes.toml", "[profile.small]\nruntime = \"perl\"\n")
	if got := h.MustCall("runtimes.doctor", `{}`); !strings.Contains(got, "the last good ones are in force") {
		t.Errorf("doctor %s", got)
	}
}

// A runtime is started, shown, read and stopped by hand.
func TestRealRuntimesByHand(t *testing.T) {
	h := hosttest.New(t, hosttest.Options{Config: at(models(t, func(s string) string { return s }))})
	if got := h.MustCall("runtimes.doctor", `{}`); !strings.Contains(got, `"prefix_cache":"slot"`) || !strings.Contains(got, `"fits":true`) || strings.Contains(got, `"severity":"error"`) {
		t.Errorf("doctor %s", got)
	}
	var got struct {
		ID    string
		Lines []string
	}
	read := func(text string) {
		t.Helper()
		if err := json.Unmarshal([]byte(text), &got); err != nil {
			t.Fatal(err)
		}
	}
	read(h.MustCall("runtimes.start", `{"model":"tiny"}`))
	id := got.ID
	matrix := func(want string) {
		t.Helper()
		hosttest.Eventually(t, "the matrix has "+want, func() bool {
			doc, err := h.Services().View.Get(t.Context(), "runtime_matrix")
			return err == nil && strings.Contains(string(doc.Body), want) && strings.Contains(string(doc.Body), `"remaining":5`) && strings.Contains(string(doc.Body), `"accelerator":"cpu"`)
		})
	}
	matrix(`"states":{"ready":1}`)
	read(h.MustCall("runtimes.logs", fmt.Sprintf(`{"id":%q}`, id)))
	if len(got.Lines) == 0 {
		t.Error("it wrote nothing")
	}
	h.MustCall("runtimes.stop", fmt.Sprintf(`{"id":%q}`, id))
	matrix(`"states":{"stopped":1}`)
	h.MustCall("infer.generate", `{"prompt":"again","max_tokens":1}`)
}
