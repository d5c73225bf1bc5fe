package serve

import (
	"encoding/binary"
	"os"
	"path/filepath"
	"testing"
)

// trained is the header of a GGUF file of a model that was trained for so many tokens.
func trained(context uint32) []byte {
	text := func(b []byte, s string) []byte {
		return append(binary.LittleEndian.AppendUint64(b, uint64(len(s))), s...)
	}
	b := binary.LittleEndian.AppendUint32([]byte("GGUF"), 3)
	b = binary.LittleEndian.AppendUint64(b, 0)
	b = binary.LittleEndian.AppendUint64(b, 2)
	b = text(binary.LittleEndian.AppendUint32(text(b, "general.architecture"), 8), "x")
	return binary.LittleEndian.AppendUint32(binary.LittleEndian.AppendUint32(text(b, "x.context_length"), 4), context)
}

// A model takes what its profile gives it, and no more than it was trained for.
func TestAModelsWindow(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	write := func(name string, data []byte) {
		t.Helper()
		if err := os.WriteFile(filepath.Join(dir, name), data, 0o600); err != nil {
			t.Fatal(err)
		}
	}
	write("short.gguf", trained(700))
	write("long.gguf", trained(70000))
	write("broken.gguf", []byte("no header"))
	write("runtimes.toml", []byte("[profile.l]\nruntime = \"llama\"\nbinary = \"/bin/true\"\ncontext = 1000\n[profile.d]\nruntime = \"llama\"\nbinary = \"/bin/true\"\n[profile.v]\nruntime = \"vllm\"\nbinary = \"/bin/true\"\ncontext = 2000\n"))
	s, err := Open(dir, nil, nil)
	if err != nil {
		t.Fatal(err)
	}
	for _, c := range []struct {
		file, profile string
		want          int64
	}{{"short", "l", 700}, {"long", "l", 1000}, {"long", "d", 4096}, {"short", "v", 2000}, {"broken", "l", 1000}, {"missing", "l", 1000}} {
		if got := s.Window(Model{Name: "m", File: filepath.Join(dir, c.file+".gguf"), Profile: c.profile}); got != c.want {
			t.Errorf("%s with profile %s takes %d tokens, want %d", c.file, c.profile, got, c.want)
		}
	}
}
