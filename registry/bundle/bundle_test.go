package bundle_test

import (
	"archive/tar"
	"bytes"
	"context"
	"errors"
	"io"
	"net/http"
	"net/url"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/arw-project/arw/abi"
	"github.com/arw-project/arw/registry"
	"github.com/arw-project/arw/registry/bundle"
	"github.com/arw-project/arw/registry/index"
	"github.com/arw-project/arw/signing"
)

// offline is how a registry is spoken to when every dial is a failure of the test.
func offline(t *testing.T) registry.Options {
	return registry.Options{Proxy: func(r *http.Request) (*url.URL, error) {
		t.Errorf("something dialled %s", r.URL)
		return nil, errors.New("no network")
	}}
}

const packTOML = `schema = 1
name = "acme/NAME"
version = "VERSION"
description = "Says it again"
license = "MIT"

[module]
file = "m.wasm"
abi = "^1.0"

[[tools]]
id = "NAME.say"
description = "Says it"
effects = "pure"
`

// world is a publisher: a registry, an index and keys.
type world struct {
	t      *testing.T
	dir    string
	reg    *registry.Registry
	key    *signing.Key
	policy *signing.Policy
	pub    *index.Publisher
	now    time.Time
}

func newWorld(t *testing.T) *world {
	t.Helper()
	w := &world{t: t, dir: t.TempDir(), now: time.Now().Truncate(time.Second)}
	var err error
	w.reg, err = registry.Open("dir:"+filepath.Join(w.dir, "registry"), offline(t))
	w.ok(err)
	w.key, err = signing.GenerateKey()
	w.ok(err)
	w.policy = w.trust("acme/*", w.key)
	keys := map[string]*signing.Key{}
	w.pub = &index.Publisher{Dir: filepath.Join(w.dir, "index"), Now: func() time.Time { return w.now }, Key: func(role string) ([]*signing.Key, error) {
		if keys[role] == nil {
			k, err := signing.GenerateKey()
			if err != nil {
				return nil, err
			}
			keys[role] = k
		}
		return []*signing.Key{keys[role]}, nil
	}}
	w.ok(w.pub.Init(t.Context(), 1))
	w.ok(w.pub.Delegate(t.Context(), "acme"))
	w.publish("echo", "1.0.0", true)
	w.publish("tool", "2.0.0", true)
	return w
}

func (w *world) ok(err error) {
	w.t.Helper()
	if err != nil {
		w.t.Fatal(err)
	}
}

func (w *world) trust(packs string, k *signing.Key) *signing.Policy {
	w.t.Helper()
	p, err := signing.ParsePolicy("trust.toml", []byte("schema = 1\n[signer.acme]\nkey = \"k.pub\"\ntlog = 0\n[[rule]]\npacks = \""+packs+"\"\nsigners = [\"acme\"]\n"),
		func(string) ([]byte, error) { return k.PublicPEM(), nil })
	w.ok(err)
	return p
}

func (w *world) publish(name, version string, sign bool) string {
	w.t.Helper()
	text := strings.NewReplacer("NAME", name, "VERSION", version).Replace(packTOML)
	files := []registry.File{{Name: "pack.toml", Data: []byte(text)}, {Name: "m.wasm", MediaType: registry.MediaWasm, Data: []byte("\x00asm\x01\x00\x00\x00" + name)}}
	digest, err := w.reg.Push(w.t.Context(), "acme/"+name, version, files, nil, nil)
	w.ok(err)
	if sign {
		b, err := signing.Sign(w.t.Context(), w.key, digest)
		w.ok(err)
		_, err = w.reg.Attach(w.t.Context(), "acme/"+name, digest, b, signing.PredicateSign)
		w.ok(err)
	}
	w.ok(w.pub.Add(w.t.Context(), "acme/"+name, "Says it again", index.Version{Version: version, Digest: digest}))
	return digest
}

func (w *world) root() []byte {
	w.t.Helper()
	raw, err := os.ReadFile(filepath.Join(w.dir, "index", "1.root.json"))
	w.ok(err)
	return raw
}

func (w *world) source(withIndex bool, names ...string) bundle.Source {
	w.t.Helper()
	src := bundle.Source{TrustedRoot: []byte("{}")}
	var packs []string
	for _, n := range names {
		ref, err := registry.ParseRef(n, w.reg.Location())
		w.ok(err)
		src.Packs = append(src.Packs, bundle.SourcePack{Registry: w.reg, Ref: ref})
		packs = append(packs, ref.Name)
	}
	if withIndex {
		c, err := index.NewClient(index.Options{Root: w.root(), Cache: w.t.TempDir(), Open: func(ctx context.Context) (registry.Tree, error) {
			return registry.OpenTree(ctx, "dir:"+filepath.Join(w.dir, "index"), offline(w.t))
		}})
		w.ok(err)
		w.ok(c.Refresh(w.t.Context()))
		src.Index, err = c.Slice(w.t.Context(), packs)
		w.ok(err)
	}
	return src
}

func (w *world) create(src bundle.Source) []byte {
	w.t.Helper()
	var b bytes.Buffer
	_, err := bundle.Create(w.t.Context(), &b, src, nil)
	w.ok(err)
	return b.Bytes()
}

func (w *world) both() []byte { return w.create(w.source(true, "acme/tool:2.0.0", "acme/echo:1.0.0")) }

func wantCode(t *testing.T, err error, code abi.Code, parts ...string) {
	t.Helper()
	if abi.CodeOf(err) != code {
		t.Fatalf("error %v has code %s, want %s", err, abi.CodeOf(err), code)
	}
	for _, p := range parts {
		if !strings.Contains(err.Error(), p) {
			t.Errorf("error %q does not say %q", err, p)
		}
	}
	if abi.HintOf(err) == "" {
		t.Errorf("error %q has no next step", err)
	}
}

func open(t *testing.T, raw []byte) *bundle.Bundle {
	t.Helper()
	b, err := bundle.Open(t.Context(), bytes.NewReader(raw), bundle.Limits{})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { b.Close() })
	return b
}

// TestTravel: what one host made, another one without a network imports, twice, and reads through its own index.
func TestTravel(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	raw := w.both()
	if again := w.create(w.source(true, "acme/echo:1.0.0", "acme/tool:2.0.0")); !bytes.Equal(raw, again) {
		t.Error("the same packs made other bytes")
	}
	b := open(t, raw)
	w.ok(b.Check(t.Context(), bundle.Judge{Trust: w.policy, IndexRoot: w.root()}))
	packs := b.Packs()
	if len(packs) != 2 || packs[0].Name != "acme/echo" || packs[0].Index != "current" || packs[0].Bundles != 1 || !packs[0].Verdict.Allowed || !b.HasIndex() || string(b.TrustedRoot()) != "{}" {
		t.Errorf("%+v", packs)
	}
	to := t.TempDir()
	reg, err := registry.Open("dir:"+filepath.Join(to, "registry"), offline(t))
	w.ok(err)
	for range 2 {
		w.ok(b.Import(t.Context(), reg, filepath.Join(to, "index"), nil))
	}
	c, err := index.NewClient(index.Options{Root: w.root(), Cache: t.TempDir(), Open: func(ctx context.Context) (registry.Tree, error) {
		return registry.OpenTree(ctx, "dir:"+filepath.Join(to, "index"), offline(t))
	}})
	w.ok(err)
	w.ok(c.Refresh(t.Context()))
	for _, p := range packs {
		v, _, err := c.Pick(t.Context(), p.Name, "", "")
		if err != nil || v.Digest != p.Digest {
			t.Errorf("%s: %+v, %v", p.Name, v, err)
		}
		bundles, err := reg.Bundles(t.Context(), p.Name, p.Digest)
		if err != nil || len(bundles) != 1 {
			t.Errorf("%s: %d bundles, %v", p.Name, len(bundles), err)
		}
	}
}

// TestCheckRefuses: a proof that is missing, or says no, keeps all of the bundle out.
func TestCheckRefuses(t *testing.T) {
	t.Parallel()
	other, err := signing.GenerateKey()
	if err != nil {
		t.Fatal(err)
	}
	for name, c := range map[string]struct {
		make  func(w *world) []byte
		judge func(w *world, j *bundle.Judge)
		code  abi.Code
		part  string
	}{
		"no signature": {make: func(w *world) []byte {
			w.publish("bare", "1.0.0", false)
			return w.create(w.source(true, "acme/echo:1.0.0", "acme/bare:1.0.0"))
		}, code: abi.Unsigned, part: "acme/bare"},
		"another signer":  {judge: func(w *world, j *bundle.Judge) { j.Trust = w.trust("acme/*", other) }, code: abi.Untrusted, part: "acme/echo"},
		"no rule for it":  {judge: func(w *world, j *bundle.Judge) { j.Trust = w.trust("other/*", w.key) }, code: abi.Untrusted, part: "acme/echo"},
		"no index in it":  {make: func(w *world) []byte { return w.create(w.source(false, "acme/echo:1.0.0")) }, code: abi.Untrusted, part: "index"},
		"another's index": {judge: func(w *world, j *bundle.Judge) { j.IndexRoot = newWorld(w.t).root() }, code: abi.Untrusted},
		"revoked": {make: func(w *world) []byte {
			w.ok(w.pub.Revoke(w.t.Context(), "acme/tool", "2.0.0", "steals"))
			return w.both()
		}, code: abi.Denied, part: "steals"},
		"yanked": {make: func(w *world) []byte {
			w.ok(w.pub.Yank(w.t.Context(), "acme/tool", "2.0.0", "breaks"))
			return w.both()
		}, code: abi.Denied, part: "breaks"},
		"not listed": {make: func(w *world) []byte {
			src := w.source(true, "acme/echo:1.0.0")
			w.publish("late", "1.0.0", true)
			src.Packs = append(src.Packs, w.source(false, "acme/late:1.0.0").Packs...)
			return w.create(src)
		}, code: abi.NotFound, part: "acme/late"},
		"expired": {judge: func(w *world, j *bundle.Judge) { j.AsOf = w.now.Add(25 * time.Hour) }, code: abi.Untrusted, part: "out of date"},
		"older than what the host has seen": {make: func(w *world) []byte {
			old := w.both()
			_, err := w.pub.Refresh(w.t.Context())
			w.ok(err)
			c, err := index.NewClient(index.Options{Root: w.root(), Cache: filepath.Join(w.dir, "seen"), Open: func(ctx context.Context) (registry.Tree, error) {
				return registry.OpenTree(ctx, "dir:"+filepath.Join(w.dir, "index"), registry.Options{})
			}})
			w.ok(err)
			w.ok(c.Refresh(w.t.Context()))
			return old
		}, judge: func(w *world, j *bundle.Judge) { j.Cache = filepath.Join(w.dir, "seen") }, code: abi.Untrusted, part: "older"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			w := newWorld(t)
			raw := []byte(nil)
			if c.make != nil {
				raw = c.make(w)
			} else {
				raw = w.both()
			}
			j := bundle.Judge{Trust: w.policy, IndexRoot: w.root()}
			if c.judge != nil {
				c.judge(w, &j)
			}
			b := open(t, raw)
			wantCode(t, b.Check(t.Context(), j), c.code, c.part)
			reg, err := registry.Open("dir:"+filepath.Join(t.TempDir(), "r"), registry.Options{})
			w.ok(err)
			if err := b.Import(t.Context(), reg, "", nil); abi.CodeOf(err) != abi.Untrusted {
				t.Errorf("it was imported: %v", err)
			}
			if names, err := reg.Names(t.Context()); err != nil || len(names) != 0 {
				t.Errorf("something was imported: %v, %v", names, err)
			}
		})
	}
}

// TestImportConflict: a version that is there with other content keeps all out.
func TestImportConflict(t *testing.T) {
	t.Parallel()
	w, other := newWorld(t), newWorld(t)
	b := open(t, w.both())
	w.ok(b.Check(t.Context(), bundle.Judge{Trust: w.policy}))
	text := strings.NewReplacer("NAME", "tool", "VERSION", "2.0.0").Replace(packTOML)
	to, err := registry.Open("dir:"+t.TempDir(), registry.Options{})
	other.ok(err)
	_, err = to.Push(t.Context(), "acme/tool", "2.0.0", []registry.File{{Name: "pack.toml", Data: []byte(text)}, {Name: "m.wasm", MediaType: registry.MediaWasm, Data: []byte("other")}}, nil, nil)
	w.ok(err)
	wantCode(t, b.Import(t.Context(), to, "", nil), abi.Conflict, "acme/tool:2.0.0")
	if names, err := to.Names(t.Context()); err != nil || !slices.Equal(names, []string{"acme/tool"}) {
		t.Errorf("half of it was imported: %v, %v", names, err)
	}
}

// entry is one entry of a tar to spoil.
type entry struct {
	h    tar.Header
	data []byte
}

func entries(t testing.TB, raw []byte) []entry {
	t.Helper()
	tr := tar.NewReader(bytes.NewReader(raw))
	var all []entry
	for {
		h, err := tr.Next()
		if errors.Is(err, io.EOF) {
			return all
		}
		if err != nil {
			t.Fatal(err)
		}
		data, err := io.ReadAll(tr)
		if err != nil {
			t.Fatal(err)
		}
		all = append(all, entry{*h, data})
	}
}

func pack(t testing.TB, all []entry) []byte {
	t.Helper()
	var b bytes.Buffer
	tw := tar.NewWriter(&b)
	for _, e := range all {
		if e.h.Typeflag == tar.TypeReg {
			e.h.Size = int64(len(e.data))
		}
		if err := tw.WriteHeader(&e.h); err != nil {
			t.Fatal(err)
		}
		if _, err := tw.Write(e.data); err != nil {
			t.Fatal(err)
		}
	}
	if err := tw.Close(); err != nil {
		t.Fatal(err)
	}
	return b.Bytes()
}

// TestOpenRefuses: tars that are no bundle, each refused with nothing left behind.
func TestOpenRefuses(t *testing.T) {
	w := newWorld(t)
	good := w.both()
	file := func(name string, data string) entry {
		return entry{tar.Header{Typeflag: tar.TypeReg, Name: name, Mode: 0o644, Format: tar.FormatUSTAR}, []byte(data)}
	}
	special := func(kind byte, name, link string) entry {
		return entry{tar.Header{Typeflag: kind, Name: name, Linkname: link, Mode: 0o644, Format: tar.FormatUSTAR}, nil}
	}
	spoil := func(f func(all []entry) []entry) []byte { return pack(t, f(entries(t, good))) }
	temp := t.TempDir()
	t.Setenv("TMPDIR", temp)
	for name, c := range map[string]struct {
		raw    []byte
		limits bundle.Limits
		code   abi.Code
		part   string
	}{
		"empty":          {raw: nil, code: abi.Invalid},
		"no tar":         {raw: []byte(strings.Repeat("no tar ", 1000)), code: abi.Invalid},
		"cut off":        {raw: good[:len(good)/2], code: abi.Invalid},
		"cut at the end": {raw: good[:len(good)-1024-512], code: abi.Invalid},
		"trailing":       {raw: append(slices.Clone(good), 'x'), code: abi.Invalid, part: "follows"},
		"a second tar":   {raw: append(slices.Clone(good), good...), code: abi.Invalid, part: "follows"},
		"climbs":         {raw: spoil(func(a []entry) []entry { return append(a, file("../../evil", "x")) }), code: abi.Invalid, part: "does not belong"},
		"absolute":       {raw: spoil(func(a []entry) []entry { return append(a, file("/etc/evil", "x")) }), code: abi.Invalid},
		"climbs by blob": {raw: spoil(func(a []entry) []entry { return append(a, file("blobs/sha256/../../../evil", "x")) }), code: abi.Invalid},
		"symbolic link": {raw: spoil(func(a []entry) []entry {
			return append(a, special(tar.TypeSymlink, "blobs/sha256/"+strings.Repeat("f", 64), "/etc/passwd"))
		}), code: abi.Invalid, part: "no plain file"},
		"hard link": {raw: spoil(func(a []entry) []entry {
			return append(a, special(tar.TypeLink, "blobs/sha256/"+strings.Repeat("f", 64), "oci-layout"))
		}), code: abi.Invalid, part: "no plain file"},
		"folder": {raw: spoil(func(a []entry) []entry { return append(a, special(tar.TypeDir, "blobs/", "")) }), code: abi.Invalid, part: "no plain file"},
		"device": {raw: spoil(func(a []entry) []entry {
			return append(a, special(tar.TypeChar, "blobs/sha256/"+strings.Repeat("f", 64), ""))
		}), code: abi.Invalid, part: "no plain file"},
		"pipe": {raw: spoil(func(a []entry) []entry {
			return append(a, special(tar.TypeFifo, "blobs/sha256/"+strings.Repeat("f", 64), ""))
		}), code: abi.Invalid, part: "no plain file"},
		"PAX header": {raw: spoil(func(a []entry) []entry {
			e := a[len(a)-1]
			e.h.Format, e.h.PAXRecords = tar.FormatPAX, map[string]string{"ARW.x": strings.Repeat("y", 5000)}
			return append(a[:len(a)-1], e)
		}), code: abi.Invalid, part: "USTAR"},
		"huge header": {raw: spoil(func(a []entry) []entry {
			e := a[len(a)-1]
			e.h.Format, e.h.PAXRecords = tar.FormatPAX, map[string]string{"ARW.x": strings.Repeat("y", 900<<10)}
			return append(a[:len(a)-1], e)
		}), code: abi.Invalid},
		"GNU header": {raw: spoil(func(a []entry) []entry {
			e := a[len(a)-1]
			e.h.Format, e.h.Name = tar.FormatGNU, strings.Repeat("d/", 300)+"x"
			return append(a[:len(a)-1], e)
		}), code: abi.Invalid},
		"twice":        {raw: spoil(func(a []entry) []entry { return append(a, a[len(a)-1]) }), code: abi.Invalid, part: "does not belong"},
		"out of order": {raw: spoil(func(a []entry) []entry { a[2], a[3] = a[3], a[2]; return a }), code: abi.Invalid},
		"missing blob": {raw: spoil(func(a []entry) []entry { return append(a[:2], a[3:]...) }), code: abi.Invalid, part: "missing"},
		"foreign blob": {raw: spoil(func(a []entry) []entry {
			const hello = "2cf24dba5fb0a30e26e83b2ac5b9e29e1b161e5c1fa7425e73043362938b9824"
			a = append(a, file("blobs/sha256/"+hello, "hello"))
			slices.SortFunc(a[2:], func(x, y entry) int { return strings.Compare(x.h.Name, y.h.Name) })
			return a
		}), code: abi.Invalid, part: "nothing names"},
		"swapped blob":          {raw: spoil(func(a []entry) []entry { a[4].data[0] ^= 1; return a }), code: abi.DigestMismatch},
		"no index":              {raw: spoil(func(a []entry) []entry { return append(a[:1], a[2:]...) }), code: abi.Invalid, part: "does not belong"},
		"other layout":          {raw: spoil(func(a []entry) []entry { a[0].data = []byte("{}"); return a }), code: abi.Incompatible},
		"index in another form": {raw: spoil(func(a []entry) []entry { a[1].data = append([]byte(" "), a[1].data...); return a }), code: abi.Invalid, part: "one form"},
		"index says twice": {raw: spoil(func(a []entry) []entry {
			a[1].data = bytes.Replace(a[1].data, []byte(`"schemaVersion":2`), []byte(`"schemaVersion":1,"schemaVersion":2`), 1)
			return a
		}), code: abi.Invalid, part: "one form"},
		"renamed pack": {raw: spoil(func(a []entry) []entry {
			a[1].data = bytes.Replace(a[1].data, []byte("acme/echo:1.0.0"), []byte("acme/../x:1.0.0"), 1)
			return a
		}), code: abi.Invalid, part: "neither"},
		"a referrer of nothing here": {raw: spoil(func(a []entry) []entry {
			a[1].data = bytes.Replace(a[1].data, []byte(`,"annotations":{"org.opencontainers.image.ref.name":"acme/echo:1.0.0"}`), nil, 1)
			return a
		}), code: abi.Invalid, part: "neither"},
		"too many entries": {raw: good, limits: bundle.Limits{Blobs: 4}, code: abi.TooLarge},
		"too large":        {raw: good, limits: bundle.Limits{Total: 1000}, code: abi.TooLarge},
		"a large blob":     {raw: good, limits: bundle.Limits{Blob: 100}, code: abi.TooLarge},
		"a large index":    {raw: good, limits: bundle.Limits{Memory: 100}, code: abi.TooLarge},
		"too many packs":   {raw: good, limits: bundle.Limits{Packs: 1}, code: abi.TooLarge},
	} {
		b, err := bundle.Open(t.Context(), bytes.NewReader(c.raw), c.limits)
		if err == nil {
			b.Close()
		}
		if abi.CodeOf(err) != c.code || !strings.Contains(err.Error(), c.part) || abi.HintOf(err) == "" {
			t.Errorf("%s: %v (%s)", name, err, abi.CodeOf(err))
		}
	}
	if left, err := os.ReadDir(temp); err != nil || len(left) != 0 {
		t.Errorf("something was left behind: %v, %v", left, err)
	}
}

// TestBomb: a header that announces more than there is costs nothing.
func TestBomb(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	all := entries(t, w.both())
	var b bytes.Buffer
	tw := tar.NewWriter(&b)
	for _, e := range all[:2] {
		e.h.Size = int64(len(e.data))
		w.ok(tw.WriteHeader(&e.h))
		_, err := tw.Write(e.data)
		w.ok(err)
	}
	w.ok(tw.WriteHeader(&tar.Header{Typeflag: tar.TypeReg, Name: "blobs/sha256/" + strings.Repeat("0", 64), Size: 4 << 30, Mode: 0o644, Format: tar.FormatUSTAR}))
	_, err := bundle.Open(t.Context(), bytes.NewReader(b.Bytes()), bundle.Limits{})
	wantCode(t, err, abi.TooLarge, "4294967296")
	_, err = bundle.Open(t.Context(), bytes.NewReader(b.Bytes()), bundle.Limits{Blob: 8 << 30})
	wantCode(t, err, abi.Invalid)
}

func FuzzOpen(f *testing.F) {
	f.Add([]byte{})
	f.Add(bytes.Repeat([]byte{0}, 1024))
	f.Add(pack(f, []entry{
		{tar.Header{Typeflag: tar.TypeReg, Name: "oci-layout", Mode: 0o644, Format: tar.FormatUSTAR}, []byte(`{"imageLayoutVersion":"1.0.0"}`)},
		{tar.Header{Typeflag: tar.TypeReg, Name: "index.json", Mode: 0o644, Format: tar.FormatUSTAR}, []byte(`{"schemaVersion":2,"mediaType":"application/vnd.oci.image.index.v1+json","manifests":[]}`)},
		{tar.Header{Typeflag: tar.TypeReg, Name: "blobs/sha256/2cf24dba5fb0a30e26e83b2ac5b9e29e1b161e5c1fa7425e73043362938b9824", Mode: 0o644, Format: tar.FormatUSTAR}, []byte("hello")},
	}))
	f.Fuzz(func(t *testing.T, raw []byte) {
		b, err := bundle.Open(t.Context(), bytes.NewReader(raw), bundle.Limits{Total: 1 << 20, Blobs: 64})
		if err != nil {
			switch abi.CodeOf(err) {
			case abi.Invalid, abi.TooLarge, abi.DigestMismatch, abi.Incompatible:
			default:
				t.Fatal(err)
			}
			return
		}
		defer b.Close()
		if len(b.Packs()) == 0 {
			t.Fatal("a bundle without packs")
		}
	})
}
