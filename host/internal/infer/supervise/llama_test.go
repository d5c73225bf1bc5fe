package supervise_test

import (
	"crypto/sha256"
	"encoding/hex"
	"os"
	"path/filepath"
	"testing"

	"github.com/arw-project/arw/host/internal/infer/infertest"
	"github.com/arw-project/arw/host/internal/infer/supervise"
)

// real is a supervisor and a want of the tiny model in a real llama-server, which `make runtimes` fetches.
func real(t testing.TB, change func(*supervise.Profile)) (*bench, supervise.Want) {
	t.Helper()
	binary := os.Getenv("ARW_LLAMA_SERVER")
	if binary == "" {
		t.Skip("ARW_LLAMA_SERVER names no llama-server; make runtimes fetches one")
	}
	b := open(t, func(c *supervise.Config) { c.Launch = nil })
	file := infertest.TinyGGUF(1)
	path := filepath.Join(b.dir, "tiny.gguf")
	if err := os.WriteFile(path, file, 0o600); err != nil {
		t.Fatal(err)
	}
	sum := sha256.Sum256(file)
	w := supervise.Want{Digest: "sha256:" + hex.EncodeToString(sum[:]), File: path, Size: int64(len(file)),
		Profile: supervise.Profile{Name: "tiny", Runtime: "llama", Binary: binary, Context: 1024, Slots: 2, Threads: 1}}
	if change != nil {
		change(&w.Profile)
	}
	return b, w
}

func TestRealLlamaConforms(t *testing.T) {
	for name, change := range map[string]func(*supervise.Profile){
		"text": nil, "embed": func(p *supervise.Profile) { p.Embed = true },
	} {
		t.Run(name, func(t *testing.T) {
			b, w := real(t, change)
			l, err := b.Lend(t.Context(), w)
			if err != nil {
				t.Fatal(err)
			}
			defer l.Release()
			t.Logf("%+v", l.Model.Info())
			can := l.Model.Info().Can
			if w.Profile.Embed != can.Embed || !w.Profile.Embed && !(can.Chat && can.Schema && can.Grammar && can.Tokenize) {
				t.Errorf("it can %+v", can)
			}
			infertest.Run(t, l.Model)
		})
	}
}

func TestRealLlamaRefusesATruncatedModel(t *testing.T) {
	b, w := real(t, nil)
	if err := os.Truncate(w.File, w.Size/2); err != nil {
		t.Fatal(err)
	}
	if l, err := b.Lend(t.Context(), w); err == nil {
		l.Release()
		t.Error("it loaded")
	}
}
