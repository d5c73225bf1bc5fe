package index_test

import (
	"context"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/arw-project/arw/abi"
	"github.com/arw-project/arw/registry"
	"github.com/arw-project/arw/registry/index"
	"github.com/arw-project/arw/signing"
)

// swapTree serves one file with other bytes.
type swapTree struct {
	registry.Tree
	name string
	data []byte
}

func (s swapTree) Read(ctx context.Context, name string, limit int64) ([]byte, error) {
	if name == s.name {
		if int64(len(s.data)) > limit {
			return nil, abi.Errorf(abi.TooLarge, "too much")
		}
		return s.data, nil
	}
	return s.Tree.Read(ctx, name, limit)
}

// FuzzMetadata has a mirror put anything in the place of a metadata file: nothing but the file itself is believed, and no
// bytes end in anything but a refusal with a code.
func FuzzMetadata(f *testing.F) {
	keys := map[string]*signing.Key{}
	dir := f.TempDir()
	p := &index.Publisher{Dir: dir, Key: func(role string) ([]*signing.Key, error) {
		if keys[role] == nil {
			k, err := signing.GenerateKey()
			if err != nil {
				return nil, err
			}
			keys[role] = k
		}
		return []*signing.Key{keys[role]}, nil
	}}
	ctx := context.Background()
	for _, err := range []error{p.Init(ctx, 1), p.Delegate(ctx, "acme"),
		p.Add(ctx, "acme/echo", "x", index.Version{Version: "1.0.0", Digest: "sha256:" + strings.Repeat("a", 64)})} {
		if err != nil {
			f.Fatal(err)
		}
	}
	root, err := os.ReadFile(filepath.Join(dir, "1.root.json"))
	if err != nil {
		f.Fatal(err)
	}
	names := []string{"timestamp.json", "3.snapshot.json", "2.targets.json", "2.packs-acme.json", "2.root.json"}
	for i, n := range names {
		raw, err := os.ReadFile(filepath.Join(dir, n))
		if err != nil {
			raw = root
		}
		f.Add(i, raw)
		f.Add(i, []byte(strings.Replace(string(raw), `"version":`, `"version":1`, 1)))
	}
	f.Add(0, []byte(`{"signed":{},"signatures":[]}`))
	f.Fuzz(func(t *testing.T, which int, data []byte) {
		name := names[uint(which)%uint(len(names))]
		good, _ := os.ReadFile(filepath.Join(dir, name))
		place, err := registry.OpenTree(ctx, "dir:"+dir, registry.Options{})
		if err != nil {
			t.Fatal(err)
		}
		c, err := index.NewClient(index.Options{Root: root, Cache: t.TempDir(), Now: time.Now, Open: func(context.Context) (registry.Tree, error) {
			return swapTree{place, name, data}, nil
		}})
		if err != nil {
			t.Fatal(err)
		}
		err = c.Refresh(ctx)
		if string(data) == string(good) {
			if err != nil {
				t.Fatal(err)
			}
			return
		}
		switch abi.CodeOf(err) {
		case abi.Untrusted, abi.DigestMismatch, abi.TooLarge, abi.Invalid:
		case abi.OK: // a file that says the same in other bytes: only the timestamp has no digest above it
			if name != "timestamp.json" {
				t.Fatalf("%s with other bytes is believed: %q", name, data)
			}
		default:
			t.Fatalf("%s: %v", name, err)
		}
	})
}
