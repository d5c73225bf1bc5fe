package registry_test

import (
	"bytes"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/arw-project/arw/abi"
	"github.com/arw-project/arw/registry"
	"github.com/arw-project/arw/registry/layout"
)

const (
	mediaManifest = "application/vnd.oci.image.manifest.v1+json"
	emptyDigest   = "sha256:44136fa355b3678a1146ad16f7e8649e94fb4fc21fe77e8310c060f61caaff8a"
)

func sha256Of(b []byte) string {
	s := sha256.Sum256(b)
	return "sha256:" + hex.EncodeToString(s[:])
}

// TestReproducible: the manifest depends on files and annotations alone, not on their order, the kind of registry or the
// day. The digest is written down so that no change of the format goes unnoticed.
func TestReproducible(t *testing.T) {
	t.Parallel()
	const golden = "sha256:e5c8b30655872433f22d6ac65ecbb6f8f95ffd4b54e7566ce0d33f8fd764cca7"
	ann := map[string]string{"org.opencontainers.image.title": "Echo <&>", "org.opencontainers.image.licenses": "MIT"}
	files := pack("one")
	for _, location := range []string{"dir:" + t.TempDir(), serve(t, layout.ServerOptions{})} {
		slices.Reverse(files)
		got, err := open(t, location, registry.Options{}).Push(t.Context(), "acme/echo", "1.0.0", files, ann, nil)
		if err != nil || got != golden {
			t.Errorf("%s: %s, %v", location, got, err)
		}
	}
}

func TestPushRefuses(t *testing.T) {
	t.Parallel()
	r := open(t, "dir:"+t.TempDir(), registry.Options{MaxLayer: 100, MaxTotal: 150, MaxFiles: 4})
	wasm := registry.File{Name: "m.wasm", MediaType: registry.MediaWasm, Data: []byte("w")}
	toml := registry.File{Name: "pack.toml", Data: []byte("t")}
	named := func(names ...string) []registry.File {
		fs := []registry.File{wasm, toml}
		for _, n := range names {
			fs = append(fs, registry.File{Name: n})
		}
		return fs
	}
	big := make([]byte, 101)
	for _, c := range []struct {
		name, pack, version string
		files               []registry.File
		ann                 map[string]string
		code                abi.Code
		part                string
	}{
		{"no module", "acme/echo", "1.0.0", []registry.File{toml}, nil, abi.Invalid, "one module"},
		{"two modules", "acme/echo", "1.0.0", []registry.File{wasm, wasm, toml}, nil, abi.Invalid, "one module"},
		{"no manifest", "acme/echo", "1.0.0", []registry.File{wasm}, nil, abi.Invalid, "pack.toml"},
		{"manifest under another name", "acme/echo", "1.0.0", []registry.File{wasm, {Name: "x.toml", MediaType: registry.MediaPackTOML}}, nil, abi.Invalid, "x.toml"},
		{"unknown type", "acme/echo", "1.0.0", []registry.File{wasm, toml, {Name: "x", MediaType: "text/html"}}, nil, abi.Invalid, "text/html"},
		{"climbs", "acme/echo", "1.0.0", named("../x"), nil, abi.Invalid, "../x"},
		{"climbs within", "acme/echo", "1.0.0", named("a/../../x"), nil, abi.Invalid, "a/../../x"},
		{"absolute", "acme/echo", "1.0.0", named("/etc/passwd"), nil, abi.Invalid, "/etc/passwd"},
		{"backslash", "acme/echo", "1.0.0", named(`..\x`), nil, abi.Invalid, "x"},
		{"drive", "acme/echo", "1.0.0", named("c:x"), nil, abi.Invalid, "c:x"},
		{"dot", "acme/echo", "1.0.0", named("."), nil, abi.Invalid, `"."`},
		{"no name", "acme/echo", "1.0.0", named(""), nil, abi.Invalid, `""`},
		{"control character", "acme/echo", "1.0.0", named("a\nb"), nil, abi.Invalid, "name of a file"},
		{"not UTF-8", "acme/echo", "1.0.0", named("a\xff"), nil, abi.Invalid, "name of a file"},
		{"long name", "acme/echo", "1.0.0", named(strings.Repeat("a", 256)), nil, abi.Invalid, "name of a file"},
		{"same name", "acme/echo", "1.0.0", named("a", "a"), nil, abi.Invalid, `"a"`},
		{"same name in another case", "acme/echo", "1.0.0", named("a", "A"), nil, abi.Invalid, `"A"`},
		{"file and folder", "acme/echo", "1.0.0", named("a", "a/b"), nil, abi.Invalid, `"a/b"`},
		{"file too large", "acme/echo", "1.0.0", []registry.File{wasm, toml, {Name: "x", Data: big}}, nil, abi.TooLarge, `"x"`},
		{"all too large", "acme/echo", "1.0.0", []registry.File{wasm, toml, {Name: "x", Data: big[:90]}, {Name: "y", Data: big[:90]}}, nil, abi.TooLarge, "150"},
		{"too many", "acme/echo", "1.0.0", named("a", "b", "c"), nil, abi.TooLarge, "5 files"},
		{"bad name", "Acme/echo", "1.0.0", named(), nil, abi.Invalid, "Acme/echo"},
		{"name that climbs", "../echo", "1.0.0", named(), nil, abi.Invalid, "../echo"},
		{"three parts", "acme/echo/x", "1.0.0", named(), nil, abi.Invalid, "acme/echo/x"},
		{"no version", "acme/echo", "latest", named(), nil, abi.Invalid, "latest"},
		{"version that climbs", "acme/echo", "../1.0.0", named(), nil, abi.Invalid, "version"},
		{"other version", "acme/echo", "1.0.0", named(), map[string]string{"org.opencontainers.image.version": "2.0.0"}, abi.Invalid, "2.0.0"},
	} {
		_, err := r.Push(t.Context(), c.pack, c.version, c.files, c.ann, nil)
		if abi.CodeOf(err) != c.code || !strings.Contains(err.Error(), c.part) || abi.HintOf(err) == "" {
			t.Errorf("%s: %v", c.name, err)
		}
	}
	if names, err := r.Names(t.Context()); err != nil || len(names) != 0 {
		t.Errorf("something was stored: %v, %v", names, err)
	}
}

// manifest is a sound manifest of pack("one") as a document to spoil.
func manifest() map[string]any {
	layer := func(mediaType, name string, data []byte) map[string]any {
		return map[string]any{"mediaType": mediaType, "digest": sha256Of(data), "size": len(data),
			"annotations": map[string]any{"org.opencontainers.image.title": name}}
	}
	p := pack("one")
	return map[string]any{
		"schemaVersion": 2, "mediaType": mediaManifest, "artifactType": registry.ArtifactType,
		"config": map[string]any{"mediaType": "application/vnd.oci.empty.v1+json", "digest": emptyDigest, "size": 2},
		"layers": []any{layer(registry.MediaWasm, "echo.wasm", p[3].Data), layer(registry.MediaPackTOML, "pack.toml", p[2].Data),
			layer(registry.MediaPolicy, "policy.cedar", p[1].Data)},
	}
}

func TestReadPackRefuses(t *testing.T) {
	t.Parallel()
	layer := func(doc map[string]any, i int) map[string]any { return doc["layers"].([]any)[i].(map[string]any) }
	title := func(doc map[string]any, name any) {
		layer(doc, 2)["annotations"] = map[string]any{"org.opencontainers.image.title": name}
	}
	for name, c := range map[string]struct {
		spoil func(doc map[string]any)
		code  abi.Code
	}{
		"sound":                  {func(map[string]any) {}, abi.OK},
		"another artifact":       {func(d map[string]any) { d["artifactType"] = "application/x" }, abi.Incompatible},
		"a bare wasm artifact":   {func(d map[string]any) { delete(d, "artifactType") }, abi.Incompatible},
		"an index":               {func(d map[string]any) { d["mediaType"] = "application/vnd.oci.image.index.v1+json" }, abi.Incompatible},
		"another schema":         {func(d map[string]any) { d["schemaVersion"] = 1 }, abi.Incompatible},
		"a config":               {func(d map[string]any) { d["config"].(map[string]any)["size"] = 3 }, abi.Incompatible},
		"a subject":              {func(d map[string]any) { d["subject"] = d["config"] }, abi.Incompatible},
		"no layers":              {func(d map[string]any) { d["layers"] = []any{} }, abi.Incompatible},
		"manifest before module": {func(d map[string]any) { slices.Reverse(d["layers"].([]any)[:2]) }, abi.Incompatible},
		"a second module":        {func(d map[string]any) { layer(d, 2)["mediaType"] = registry.MediaWasm }, abi.Incompatible},
		"unknown layer type":     {func(d map[string]any) { layer(d, 2)["mediaType"] = "application/x" }, abi.Incompatible},
		"layer from elsewhere":   {func(d map[string]any) { layer(d, 2)["urls"] = []string{"http://evil.example"} }, abi.Incompatible},
		"digest that climbs":     {func(d map[string]any) { layer(d, 2)["digest"] = "sha256:../../x" }, abi.Invalid},
		"digest in sha512":       {func(d map[string]any) { layer(d, 2)["digest"] = "sha512:" + strings.Repeat("0", 128) }, abi.Invalid},
		"negative size":          {func(d map[string]any) { layer(d, 2)["size"] = -1 }, abi.Invalid},
		"size above the limit":   {func(d map[string]any) { layer(d, 2)["size"] = int64(1) << 40 }, abi.TooLarge},
		"size that overflows":    {func(d map[string]any) { layer(d, 2)["size"] = 1e30 }, abi.Invalid},
		"no title":               {func(d map[string]any) { delete(layer(d, 2), "annotations") }, abi.Invalid},
		"title that climbs":      {func(d map[string]any) { title(d, "../../x") }, abi.Invalid},
		"absolute title":         {func(d map[string]any) { title(d, "/x") }, abi.Invalid},
		"title of another file":  {func(d map[string]any) { title(d, "echo.wasm") }, abi.Invalid},
		"title in another case":  {func(d map[string]any) { title(d, "PACK.toml") }, abi.Invalid},
		"title that is no text":  {func(d map[string]any) { title(d, 7) }, abi.Invalid},
		"too many layers":        {func(d map[string]any) { d["layers"] = make([]struct{}, 2000) }, abi.TooLarge},
		"manifest under a new name": {func(d map[string]any) {
			layer(d, 1)["annotations"] = map[string]any{"org.opencontainers.image.title": "p.toml"}
		}, abi.Invalid},
	} {
		doc := manifest()
		c.spoil(doc)
		raw, err := json.Marshal(doc)
		if err != nil {
			t.Fatal(err)
		}
		if _, err := registry.ReadPack(raw); abi.CodeOf(err) != c.code {
			t.Errorf("%s: %v", name, err)
		}
	}
	sound, _ := json.Marshal(manifest())
	for name, raw := range map[string][]byte{
		"empty":               nil,
		"not JSON":            []byte("{"),
		"an array":            []byte("[]"),
		"something follows":   append(slices.Clone(sound), "{}"...),
		"a name twice":        bytes.Replace(sound, []byte(`{`), []byte(`{"artifactType":"x",`), 1),
		"a name in two cases": bytes.Replace(sound, []byte(`{`), []byte(`{"LAYERS":[],`), 1),
		"not UTF-8":           bytes.Replace(sound, []byte("echo.wasm"), []byte("ech\xff.wasm"), 1),
		"too deep":            []byte(strings.Repeat(`{"a":`, 100) + "1" + strings.Repeat("}", 100)),
		"deeper":              []byte(strings.Repeat("[", 1<<20)),
	} {
		if _, err := registry.ReadPack(raw); abi.CodeOf(err) != abi.Invalid {
			t.Errorf("%s: %v", name, err)
		}
	}
}

func FuzzReadPack(f *testing.F) {
	sound, _ := json.Marshal(manifest())
	f.Add(sound)
	f.Add([]byte("{}"))
	f.Add([]byte(`{"schemaVersion":2,"mediaType":"` + mediaManifest + `","layers":[{"size":9e99}]}`))
	f.Fuzz(func(t *testing.T, raw []byte) {
		n, err := registry.ReadPack(raw)
		if err == nil && n < 2 {
			t.Fatalf("%q passes with %d files", raw, n)
		}
		if err != nil && abi.CodeOf(err) == abi.Internal {
			t.Fatalf("%q: %v", raw, err)
		}
	})
}

// TestDirectoryTampered flips bytes all over a small registry, one at a time, cuts its files short, and pulls: either the pack
// comes back exactly as it was pushed, or the error says what is wrong.
func TestDirectoryTampered(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	r := open(t, "dir:"+dir, registry.Options{})
	files := pack("one")
	digest := push(t, r, "1.0.0", files)
	if _, err := r.Attach(t.Context(), "acme/echo", digest, []byte(`{"dsseEnvelope":{}}`), "p"); err != nil {
		t.Fatal(err)
	}
	refused := 0
	for _, file := range stored(t, dir) {
		sound, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		for at := 0; at <= len(sound); at = next(at, len(sound)) {
			spoiled := slices.Clone(sound)
			if at == len(sound) {
				spoiled = spoiled[:max(0, at-1)] // cut short instead
			} else {
				spoiled[at] ^= 1
			}
			if err := os.WriteFile(file, spoiled, 0o644); err != nil {
				t.Fatal(err)
			}
			if pullTampered(t, dir, digest, fmt.Sprintf("%s at %d", file, at)) {
				refused++
			}
		}
		if err := os.WriteFile(file, sound, 0o644); err != nil {
			t.Fatal(err)
		}
	}
	if refused < 100 {
		t.Errorf("only %d changes were refused", refused)
	}
}

// next goes on by a step that meets every part of a file, and to its last byte and beyond.
func next(at, size int) int {
	const step = 11
	if at < size-1 && at+step > size-1 {
		return size - 1
	}
	if at == size-1 {
		return size
	}
	return at + step
}

// stored lists the files of a registry in a directory.
func stored(t *testing.T, dir string) []string {
	t.Helper()
	var files []string
	err := filepath.WalkDir(dir, func(p string, e os.DirEntry, err error) error {
		if err == nil && !e.IsDir() && !strings.Contains(p, ".registry") && e.Name() != "oci-layout" {
			files = append(files, p)
		}
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	return files
}

func pullTampered(t *testing.T, dir, digest, what string) (refused bool) {
	t.Helper()
	r := open(t, "dir:"+dir, registry.Options{Retries: -1})
	a, err := r.Pull(t.Context(), registry.Ref{Name: "acme/echo", Digest: digest}, nil)
	if err == nil {
		checkPulled(t, a, pack("one"), digest)
	} else {
		refused = true
		switch code := abi.CodeOf(err); code {
		case abi.Corrupt, abi.NotFound, abi.DigestMismatch:
		default:
			t.Errorf("%s: pull: %v (%s)", what, err, code)
		}
	}
	bundles, err := r.Bundles(t.Context(), "acme/echo", digest)
	if err != nil {
		refused = true
		switch code := abi.CodeOf(err); code {
		case abi.Corrupt, abi.NotFound, abi.DigestMismatch:
		default:
			t.Errorf("%s: bundles: %v (%s)", what, err, code)
		}
	}
	for _, b := range bundles {
		if string(b) != `{"dsseEnvelope":{}}` {
			t.Errorf("%s: another bundle: %s", what, b)
		}
	}
	return refused
}
