package supervise_test

import (
	"bytes"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/arw-project/arw/host/internal/infer"
	"github.com/arw-project/arw/host/internal/infer/infertest"
	"github.com/arw-project/arw/host/internal/infer/supervise"
)

// asking asks a scope's prompt of a fresh start of the runtime, and gives the text and how much of the prompt was cached.
type asking struct {
	t *testing.T
	b *bench
	w supervise.Want
}

func (a asking) ask(scope, prompt string) (text string, cached, all int64) {
	a.t.Helper()
	l, err := a.b.Lend(a.t.Context(), a.w)
	if err != nil {
		a.t.Fatal(err)
	}
	defer l.Release()
	zero, seed := 0.0, int64(1)
	got, err := infer.Collect(infer.Engine{}, infer.Generate(a.t.Context(), l.Model, &infer.Request{
		Prompt: infer.Prompt{Text: prompt}, MaxTokens: 12, Scope: scope, Params: infer.Params{Temperature: &zero, Seed: &seed},
	}))
	if err != nil {
		a.t.Fatal(err)
	}
	return got.Text, got.Usage.Cached, got.Usage.Prompt
}

func (a asking) restart() {
	a.t.Helper()
	for _, st := range a.b.List() {
		if err := a.b.Stop(a.t.Context(), st.ID); err != nil {
			a.t.Fatal(err)
		}
	}
}

func kept(t *testing.T, dir, pattern string) []string {
	t.Helper()
	names, err := filepath.Glob(filepath.Join(dir, "prompts", "*", pattern))
	if err != nil {
		t.Fatal(err)
	}
	return names
}

// withPrompts is a real llama-server whose memories are kept.
func withPrompts(t *testing.T) asking {
	t.Helper()
	b, w := real(t, nil)
	again := open(t, func(c *supervise.Config) { c.Launch, c.Prompts = nil, filepath.Join(b.dir, "prompts") })
	again.dir = b.dir
	return asking{t, again, w}
}

// The measure of prompt reuse: of a repeated scaffold at least 95 % of the tokens are not computed, in a warm runtime and in one
// that was restarted, and the answer is the same.
func TestRealPromptsAreReused(t *testing.T) {
	a := withPrompts(t)
	scaffold := strings.Repeat("you are careful and answer in few words ", 8)
	first, cold, all := a.ask("a", scaffold+"first")
	text, warm, _ := a.ask("a", scaffold+"first")
	t.Logf("%d tokens: cold %d, warm %d cached", all, cold, warm)
	if cold != 0 || float64(warm) < .95*float64(all) || text != first {
		t.Errorf("warm: %d of %d; %q, then %q", warm, all, first, text)
	}
	if _, other, _ := a.ask("b", scaffold+"first"); other != 0 {
		t.Errorf("another scope got %d tokens", other)
	}
	a.restart()
	text, back, _ := a.ask("a", scaffold+"first")
	t.Logf("restarted: %d cached", back)
	if float64(back) < .95*float64(all) || text != first {
		t.Errorf("restarted: %d of %d; %q, then %q", back, all, first, text)
	}
	if st := a.b.List()[0].Cache; st == nil || st.Restored != 1 || st.Spoiled != 0 {
		t.Errorf("%+v", st)
	}
}

// The runtime takes damaged memories and those of other weights without a word and answers otherwise; ours never gives it one.
func TestRealWrongMemoriesAreNeverRestored(t *testing.T) {
	scaffold := strings.Repeat("you are careful and answer in few words ", 8)
	for name, spoil := range map[string]func(t *testing.T, a asking, file string){
		"a flipped bit": func(t *testing.T, _ asking, file string) {
			raw, err := os.ReadFile(file)
			if err != nil {
				t.Fatal(err)
			}
			raw[len(raw)/2] ^= 0x40
			if err := os.WriteFile(file, raw, 0o600); err != nil {
				t.Fatal(err)
			}
		},
		"other weights": func(t *testing.T, a asking, file string) {
			other := a
			other.w.File, other.w.Digest = filepath.Join(a.b.dir, "other.gguf"), "sha256:"+strings.Repeat("2", 64)
			if err := os.WriteFile(other.w.File, infertest.TinyGGUF(2), 0o600); err != nil {
				t.Fatal(err)
			}
			before := kept(t, a.b.dir, "*.bin")
			other.ask("a", scaffold+"first")
			other.restart()
			for _, name := range kept(t, a.b.dir, "*.bin") {
				if !strings.Contains(strings.Join(before, " "), name) {
					raw, err := os.ReadFile(name)
					if err != nil {
						t.Fatal(err)
					}
					if mine, err := os.ReadFile(file); err != nil || bytes.Equal(mine, raw) || len(mine) != len(raw) {
						t.Fatalf("the memories of two models are no pair: %d and %d bytes, %v", len(mine), len(raw), err)
					}
					if err := os.WriteFile(file, raw, 0o600); err != nil {
						t.Fatal(err)
					}
					return
				}
			}
			t.Fatal("the other model left no memory")
		},
	} {
		t.Run(name, func(t *testing.T) {
			a := withPrompts(t)
			first, _, _ := a.ask("a", scaffold+"first")
			a.restart()
			files := kept(t, a.b.dir, "*.bin")
			if len(files) != 1 {
				t.Fatalf("kept %q", files)
			}
			spoil(t, a, files[0])
			text, cached, _ := a.ask("a", scaffold+"first")
			if cached != 0 || text != first {
				t.Errorf("%d tokens came from it; %q, then %q", cached, first, text)
			}
		})
	}
}
