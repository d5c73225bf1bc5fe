package index_test

import (
	"context"
	"encoding/json"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/arw-project/arw/abi"
	"github.com/arw-project/arw/registry"
	"github.com/arw-project/arw/registry/index"
	"github.com/arw-project/arw/registry/layout"
	"github.com/arw-project/arw/signing"
)

// clock is the time a test says it is.
type clock struct{ t time.Time }

func (c *clock) now() time.Time       { return c.t }
func (c *clock) pass(d time.Duration) { c.t = c.t.Add(d) }
func digest(n string) string          { return "sha256:" + strings.Repeat(n, 64) }
func key(t *testing.T) *signing.Key   { t.Helper(); return must(t)(signing.GenerateKey()) }
func must(t *testing.T) func(*signing.Key, error) *signing.Key {
	return func(k *signing.Key, err error) *signing.Key {
		t.Helper()
		if err != nil {
			t.Fatal(err)
		}
		return k
	}
}

// house is an index with its keys.
type house struct {
	t      *testing.T
	keys   map[string][]*signing.Key
	before string // a copy of the index before its last change
	pub    *index.Publisher
	*clock
}

func newHouse(t *testing.T, roots, threshold int) *house {
	t.Helper()
	h := &house{t: t, keys: map[string][]*signing.Key{}, clock: &clock{time.Date(2026, 3, 1, 12, 0, 0, 0, time.UTC)}}
	for range roots {
		h.keys[index.RoleRoot] = append(h.keys[index.RoleRoot], key(t))
	}
	for _, role := range []string{index.RoleTargets, index.RoleOnline, "packs-acme"} {
		h.keys[role] = []*signing.Key{key(t)}
	}
	h.pub = &index.Publisher{Dir: t.TempDir(), Now: h.now, Key: func(role string) ([]*signing.Key, error) {
		if len(h.keys[role]) == 0 {
			return nil, abi.Errorf(abi.NotFound, "no key for %q", role)
		}
		return h.keys[role], nil
	}}
	h.ok(h.pub.Init(t.Context(), threshold))
	h.ok(h.pub.Delegate(t.Context(), "acme"))
	h.add("1.0.0", "a")
	return h
}

func (h *house) ok(err error) {
	h.t.Helper()
	if err != nil {
		h.t.Fatal(err)
	}
}

func (h *house) add(version, d string) {
	h.t.Helper()
	h.ok(h.pub.Add(h.t.Context(), "acme/echo", "Says it again", index.Version{Version: version, Digest: digest(d), ABI: ">=1.0.0",
		Permissions: []index.Permission{{Capability: "fs", Scope: []string{"read"}}}}))
}

// client is a reader of a folder that trusts this house's root.
func (h *house) client(dir string) *index.Client {
	h.t.Helper()
	return h.reader(func(ctx context.Context) (registry.Tree, error) {
		return registry.OpenTree(ctx, "dir:"+dir, registry.Options{})
	})
}

func (h *house) reader(open func(context.Context) (registry.Tree, error)) *index.Client {
	h.t.Helper()
	root, err := os.ReadFile(filepath.Join(h.pub.Dir, "1.root.json"))
	h.ok(err)
	c, err := index.NewClient(index.Options{Root: root, Cache: h.t.TempDir(), Now: h.now, Open: open})
	h.ok(err)
	return c
}

// copy keeps the index as it is now.
func (h *house) copy() string {
	h.t.Helper()
	dir := filepath.Join(h.t.TempDir(), "copy")
	h.ok(os.CopyFS(dir, os.DirFS(h.pub.Dir)))
	return dir
}

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

func TestLife(t *testing.T) {
	t.Parallel()
	h := newHouse(t, 1, 1)
	c := h.client(h.pub.Dir)
	_, err := c.Pack(t.Context(), "acme/echo")
	wantCode(t, err, abi.Unavailable, "not been read")
	h.ok(c.Refresh(t.Context()))
	v, warning, err := c.Pick(t.Context(), "acme/echo", "", "")
	if err != nil || warning != "" || v.Digest != digest("a") || v.ABI != ">=1.0.0" || !v.Published.Equal(h.t0()) {
		t.Fatalf("%+v, %q, %v", v, warning, err)
	}
	h.add("1.1.0", "b")
	h.add("2.0.0-rc.1", "c")
	h.ok(c.Refresh(t.Context()))
	if v, _, err := c.Pick(t.Context(), "acme/echo", "", ""); err != nil || v.Version != "1.1.0" {
		t.Errorf("the newest is %+v, %v", v, err)
	}
	h.ok(h.pub.Supersede(t.Context(), "acme/echo", "1.0.0", "1.1.0"))
	h.ok(h.pub.Yank(t.Context(), "acme/echo", "1.1.0", "eats files"))
	h.ok(c.Refresh(t.Context()))
	if _, warning, err := c.Pick(t.Context(), "acme/echo", "1.0.0", ""); err != nil || !strings.Contains(warning, "superseded by 1.1.0") {
		t.Errorf("%q, %v", warning, err)
	}
	_, _, err = c.Pick(t.Context(), "acme/echo", "1.1.0", "")
	wantCode(t, err, abi.Denied, "yanked", "eats files")
	if _, warning, err := c.Pick(t.Context(), "acme/echo", "", digest("b")); err != nil || !strings.Contains(warning, "eats files") {
		t.Errorf("%q, %v", warning, err)
	}
	h.ok(h.pub.Revoke(t.Context(), "acme/echo", "1.0.0", "steals keys"))
	if _, yes := c.Revoked("acme/echo", digest("a")); yes {
		t.Error("a revocation was known before the refresh")
	}
	h.ok(c.Refresh(t.Context()))
	if m, yes := c.Revoked("acme/echo", digest("a")); !yes || m.Reason != "steals keys" {
		t.Errorf("%+v, %v", m, yes)
	}
	_, _, err = c.Pick(t.Context(), "acme/echo", "", digest("a"))
	wantCode(t, err, abi.Denied, "revoked", "steals keys")
	_, _, err = c.Pick(t.Context(), "acme/echo", "9.0.0", "")
	wantCode(t, err, abi.NotFound, "acme/echo:9.0.0")
	_, _, err = c.Pick(t.Context(), "acme/none", "", "")
	wantCode(t, err, abi.NotFound, "acme/none")
	h.ok(h.pub.Yank(t.Context(), "acme/echo", "1.1.0", "")) // taken back
	h.ok(c.Refresh(t.Context()))
	if v, _, err := c.Pick(t.Context(), "acme/echo", "", ""); err != nil || v.Version != "1.1.0" {
		t.Errorf("the newest is %+v, %v", v, err)
	}
	if hits, err := c.Search("AGAIN echo"); err != nil || len(hits) != 1 || hits[0].Latest != "1.1.0" {
		t.Errorf("%+v, %v", hits, err)
	}
	if hits, err := c.Search("nothing"); err != nil || len(hits) != 0 {
		t.Errorf("%+v, %v", hits, err)
	}
	if covers, err := c.Covers("acme"); err != nil || !covers {
		t.Errorf("%v, %v", covers, err)
	}
	if covers, err := c.Covers("other"); err != nil || covers {
		t.Errorf("%v, %v", covers, err)
	}
}

func (h *house) t0() time.Time { return time.Date(2026, 3, 1, 12, 0, 0, 0, time.UTC) }

// TestPick: the index decides which bytes a version is.
func TestDigestSwap(t *testing.T) {
	t.Parallel()
	h := newHouse(t, 1, 1)
	c := h.client(h.pub.Dir)
	h.ok(c.Refresh(t.Context()))
	_, _, err := c.Pick(t.Context(), "acme/echo", "1.0.0", digest("b"))
	wantCode(t, err, abi.DigestMismatch, digest("a"), digest("b"))
	err = h.pub.Add(t.Context(), "acme/echo", "", index.Version{Version: "1.0.0", Digest: digest("b")})
	wantCode(t, err, abi.Conflict, digest("a"))
}

// TestPublisherRefuses: what a publisher may not write.
func TestPublisherRefuses(t *testing.T) {
	t.Parallel()
	h := newHouse(t, 1, 1)
	ctx := t.Context()
	wantCode(t, h.pub.Init(ctx, 1), abi.Conflict, "there is one")
	wantCode(t, h.pub.Delegate(ctx, "acme"), abi.Conflict, "acme")
	wantCode(t, h.pub.Delegate(ctx, "../x"), abi.Invalid, "../x")
	wantCode(t, h.pub.Add(ctx, "other/echo", "", index.Version{Version: "1.0.0", Digest: digest("a")}), abi.NotFound, "other")
	wantCode(t, h.pub.Add(ctx, "echo", "", index.Version{}), abi.Invalid, "echo")
	wantCode(t, h.pub.Yank(ctx, "acme/echo", "7.0.0", "x"), abi.NotFound, "7.0.0")
	for _, v := range []index.Version{{Version: "1", Digest: digest("a")}, {Version: "3.0.0", Digest: "sha256:1"}} {
		if err := h.pub.Add(ctx, "acme/echo", "", v); abi.CodeOf(err) != abi.Invalid {
			t.Errorf("%+v: %v", v, err)
		}
	}
	good := h.keys["packs-acme"]
	h.keys["packs-acme"] = []*signing.Key{key(t)}
	wantCode(t, h.pub.Yank(ctx, "acme/echo", "1.0.0", "x"), abi.Denied, "not the role's")
	h.keys["packs-acme"] = good
	h.keys[index.RoleOnline] = nil
	if err := h.pub.Yank(ctx, "acme/echo", "1.0.0", "x"); abi.CodeOf(err) != abi.NotFound {
		t.Error(err)
	}
	c := h.client(h.pub.Dir)
	h.ok(c.Refresh(ctx)) // nothing of all that was written
	if v, _, err := c.Pick(ctx, "acme/echo", "", ""); err != nil || v.Version != "1.0.0" {
		t.Errorf("%+v, %v", v, err)
	}
}

// The attacks. Each is a mirror that serves something else than its keeper made; each must be refused, and the client must
// go on knowing what it knew.
func TestAttacks(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct {
		// attack gets the house, with a client that has seen it as it is, and returns the folder the mirror serves.
		attack func(t *testing.T, h *house) string
		code   abi.Code
		part   string
	}{
		"rollback": {func(t *testing.T, h *house) string { return h.before }, abi.Untrusted, "older"},
		"freeze": {func(t *testing.T, h *house) string {
			dir := h.copy()
			h.pass(25 * time.Hour)
			h.refresh()
			return dir
		}, abi.Untrusted, "out of date"},
		"mix: an old snapshot under the new timestamp": {func(t *testing.T, h *house) string {
			h.add("1.2.0", "d")
			dir := h.copy()
			h.swap(dir, "5.snapshot.json", filepath.Join(h.before, "3.snapshot.json"))
			return dir
		}, abi.DigestMismatch, "not what the metadata says"},
		"mix: an old namespace under the new snapshot": {func(t *testing.T, h *house) string {
			h.add("1.2.0", "d")
			dir := h.copy()
			h.swap(dir, "4.packs-acme.json", filepath.Join(h.before, "2.packs-acme.json"))
			return dir
		}, abi.DigestMismatch, "not what the metadata says"},
		"another index's root": {func(t *testing.T, h *house) string {
			return newHouse(t, 1, 1).pub.Dir
		}, abi.Untrusted, ""},
		"a root that nobody of ours signed": {func(t *testing.T, h *house) string {
			other := newHouse(t, 1, 1)
			h.ok(other.pub.Rotate(t.Context(), index.RoleOnline, nil))
			dir := h.copy()
			h.swap(dir, "2.root.json", filepath.Join(other.pub.Dir, "2.root.json"))
			return dir
		}, abi.Untrusted, "not signed"},
		"a timestamp with a changed expiry": {func(t *testing.T, h *house) string {
			h.refresh()
			dir := h.copy()
			h.replace(dir, "timestamp.json", `"expires":"2026`, `"expires":"2036`)
			return dir
		}, abi.Untrusted, "not signed"},
		"expired targets": {func(t *testing.T, h *house) string {
			h.keys[index.RoleTargets], h.keys["packs-acme"] = nil, nil
			h.pass(91 * 24 * time.Hour)
			h.refresh()
			return h.pub.Dir
		}, abi.Untrusted, "out of date"},
		"expired root": {func(t *testing.T, h *house) string {
			h.keys[index.RoleRoot] = nil
			h.pass(366 * 24 * time.Hour)
			h.refresh()
			return h.pub.Dir
		}, abi.Untrusted, "out of date"},
		"no timestamp": {func(t *testing.T, h *house) string {
			dir := h.copy()
			h.ok(os.Remove(filepath.Join(dir, "timestamp.json")))
			return dir
		}, abi.NotFound, "timestamp.json"},
		"a timestamp without end": {func(t *testing.T, h *house) string {
			dir := h.copy()
			h.ok(os.WriteFile(filepath.Join(dir, "timestamp.json"), make([]byte, 1<<20), 0o644))
			return dir
		}, abi.TooLarge, "timestamp.json"},
		"not there": {func(t *testing.T, h *house) string { return filepath.Join(h.pub.Dir, "none") }, abi.Unavailable, "none"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			h := newHouse(t, 1, 1)
			h.before = h.copy()
			h.add("1.1.0", "b")
			dir := h.pub.Dir
			client := h.reader(func(ctx context.Context) (registry.Tree, error) {
				return registry.OpenTree(ctx, "dir:"+dir, registry.Options{})
			})
			h.ok(client.Refresh(t.Context()))
			dir = c.attack(t, h)
			err := client.Refresh(t.Context())
			wantCode(t, err, c.code, c.part)
			v, _, err := client.Pick(t.Context(), "acme/echo", "", "")
			if h.now().Sub(h.t0()) < 24*time.Hour {
				if err != nil || v.Version != "1.1.0" {
					t.Errorf("it does not know any more: %+v, %v", v, err)
				}
			} else {
				wantCode(t, err, abi.Untrusted, "expired")
			}
			dir = h.pub.Dir
		})
	}
}

func (h *house) refresh() {
	h.t.Helper()
	_, err := h.pub.Refresh(h.t.Context())
	h.ok(err)
}

func (h *house) swap(dir, name, with string) {
	h.t.Helper()
	raw, err := os.ReadFile(with)
	h.ok(err)
	h.ok(os.WriteFile(filepath.Join(dir, name), raw, 0o644))
}

func (h *house) replace(dir, name, old, with string) {
	h.t.Helper()
	raw, err := os.ReadFile(filepath.Join(dir, name))
	h.ok(err)
	changed := strings.Replace(string(raw), old, with, 1)
	if changed == string(raw) {
		h.t.Fatalf("%s does not hold %s", name, old)
	}
	h.ok(os.WriteFile(filepath.Join(dir, name), []byte(changed), 0o644))
}

// TestPageSwap: a page that is not what the metadata says.
func TestPageSwap(t *testing.T) {
	t.Parallel()
	h := newHouse(t, 1, 1)
	dir := h.copy()
	pages, err := filepath.Glob(filepath.Join(dir, "targets", "packs", "acme", "*.json"))
	h.ok(err)
	for _, p := range pages {
		raw, err := os.ReadFile(p)
		h.ok(err)
		h.ok(os.WriteFile(p, []byte(strings.Replace(string(raw), digest("a"), digest("e"), 1)), 0o644))
	}
	c := h.client(dir)
	h.ok(c.Refresh(t.Context()))
	_, _, err = c.Pick(t.Context(), "acme/echo", "1.0.0", "")
	wantCode(t, err, abi.DigestMismatch)
	for _, p := range pages {
		h.ok(os.WriteFile(p, make([]byte, 1<<20), 0o644))
	}
	_, _, err = c.Pick(t.Context(), "acme/echo", "1.0.0", "")
	wantCode(t, err, abi.DigestMismatch, "more bytes")
}

// TestForeignNamespace: a namespace's key speaks for nobody else.
func TestForeignNamespace(t *testing.T) {
	t.Parallel()
	h := newHouse(t, 1, 1)
	h.keys["packs-evil"] = []*signing.Key{key(t)}
	h.ok(h.pub.Delegate(t.Context(), "evil"))
	h.ok(h.pub.Add(t.Context(), "evil/echo", "", index.Version{Version: "1.0.0", Digest: digest("e")}))
	forged := h.forge("evil", "acme/echo")
	c := h.client(forged)
	wantCode(t, c.Refresh(t.Context()), abi.Untrusted, "acme/echo", "not its own")
}

func (h *house) forge(ns, name string) string {
	h.t.Helper()
	index.ForgeTarget(h.t.Context(), h.pub, ns, name)
	return h.pub.Dir
}

// TestRotate: readers follow new keys from the root they were given, and old keys sign nothing any more.
func TestRotate(t *testing.T) {
	t.Parallel()
	for _, role := range []string{index.RoleRoot, index.RoleTargets, index.RoleOnline, "acme"} {
		t.Run(role, func(t *testing.T) {
			t.Parallel()
			h := newHouse(t, 3, 2)
			c := h.client(h.pub.Dir)
			h.ok(c.Refresh(t.Context()))
			name := role
			if role == "acme" {
				name = "packs-acme"
			}
			old := h.keys[name]
			h.keys[name] = nil
			for range old {
				h.keys[name] = append(h.keys[name], key(t))
			}
			h.ok(h.pub.Rotate(t.Context(), role, old))
			h.add("1.1.0", "b")
			h.ok(c.Refresh(t.Context()))
			if v, _, err := c.Pick(t.Context(), "acme/echo", "", ""); err != nil || v.Version != "1.1.0" {
				t.Errorf("%+v, %v", v, err)
			}
			fresh := h.client(h.pub.Dir) // one that knows the first root alone
			h.ok(fresh.Refresh(t.Context()))
			h.keys[name] = old
			if role == index.RoleRoot {
				wantCode(t, h.pub.Rotate(t.Context(), index.RoleOnline, nil), abi.NotFound, "must sign")
				return
			}
			if role != index.RoleTargets { // whose key signs at the next delegation only
				wantCode(t, h.pub.Yank(t.Context(), "acme/echo", "1.0.0", "x"), abi.Denied, "not the role's")
			}
		})
	}
}

// TestThreshold: one of two root keys makes no root.
func TestThreshold(t *testing.T) {
	t.Parallel()
	h := newHouse(t, 2, 2)
	h.keys[index.RoleRoot] = h.keys[index.RoleRoot][:1]
	wantCode(t, h.pub.Rotate(t.Context(), index.RoleOnline, nil), abi.NotFound, "1 of its keys", "2 must sign")
}

// TestRefreshKeepsAlive: with the online key alone an index lives as long as its offline signatures, and says what is late.
func TestRefreshKeepsAlive(t *testing.T) {
	t.Parallel()
	h := newHouse(t, 1, 1)
	h.keys[index.RoleRoot], h.keys[index.RoleTargets], h.keys["packs-acme"] = nil, nil, nil
	c := h.client(h.pub.Dir)
	for day := range 89 {
		h.pass(24*time.Hour - time.Minute)
		late, err := h.pub.Refresh(t.Context())
		h.ok(err)
		if day > 46 && strings.Join(late, " ") != "packs-acme targets" {
			t.Fatalf("day %d: late are %v", day, late)
		}
		h.ok(c.Refresh(t.Context()))
	}
	st, ok := c.State()
	if !ok || st.Packs != 1 || !st.Expires.After(h.now()) {
		t.Errorf("%+v", st)
	}
}

// TestPlaces: the same index from a folder, a static web server and an OCI registry.
func TestPlaces(t *testing.T) {
	t.Parallel()
	h := newHouse(t, 1, 1)
	static := httptest.NewServer(http.FileServer(http.Dir(h.pub.Dir)))
	defer static.Close()
	dir, err := layout.Open(t.TempDir())
	h.ok(err)
	oci := httptest.NewServer(dir.Handler(layout.ServerOptions{FixedVersions: true}))
	defer oci.Close()
	host := strings.TrimPrefix(oci.URL, "http://")
	push := func() {
		files, err := h.pub.Files()
		h.ok(err)
		r, err := registry.Open(host, registry.Options{})
		h.ok(err)
		_, err = r.PushTree(t.Context(), registry.Ref{Name: "acme/index"}, files, nil)
		h.ok(err)
	}
	push()
	clients := map[string]*index.Client{}
	for _, place := range []string{"dir:" + h.pub.Dir, static.URL, static.URL + "/", "oci:" + host + "/acme/index", "oci:dir:" + dir.Path() + "//acme/index:latest"} {
		h.ok(registry.CheckTree(place))
		clients[place] = h.reader(func(ctx context.Context) (registry.Tree, error) {
			return registry.OpenTree(ctx, place, registry.Options{})
		})
	}
	for _, version := range []string{"1.0.0", "1.1.0"} {
		if version == "1.1.0" {
			h.add("1.1.0", "b")
			h.ok(h.pub.Revoke(t.Context(), "acme/echo", "1.0.0", "bad"))
			push()
		}
		for place, c := range clients {
			h.ok(c.Refresh(t.Context()))
			if v, _, err := c.Pick(t.Context(), "acme/echo", "", ""); err != nil || v.Version != version {
				t.Errorf("%s: %+v, %v", place, v, err)
			}
		}
	}
	for _, bad := range []string{"", "dir:", "ftp://x/", "oci:", "oci:x", "http://user@127.0.0.1/", "http://example.org/", "/path"} {
		if err := registry.CheckTree(bad); err == nil {
			t.Errorf("%q is a place", bad)
		}
	}
}

// TestRestart: what was seen is remembered by the cache, not by the process.
func TestRestart(t *testing.T) {
	t.Parallel()
	h := newHouse(t, 1, 1)
	before := h.copy()
	h.add("1.1.0", "b")
	root, err := os.ReadFile(filepath.Join(h.pub.Dir, "1.root.json"))
	h.ok(err)
	cache := t.TempDir()
	at := func(dir string) *index.Client {
		c, err := index.NewClient(index.Options{Root: root, Cache: cache, Now: h.now, Open: func(ctx context.Context) (registry.Tree, error) {
			return registry.OpenTree(ctx, "dir:"+dir, registry.Options{})
		}})
		h.ok(err)
		return c
	}
	h.ok(at(h.pub.Dir).Refresh(t.Context()))
	wantCode(t, at(before).Refresh(t.Context()), abi.Untrusted, "older")
}

func TestParsePackRefuses(t *testing.T) {
	t.Parallel()
	v := func(version, d string) string {
		return `{"version":"` + version + `","digest":"` + d + `","published":"2026-01-01T00:00:00Z"}`
	}
	page := func(versions ...string) string {
		return `{"schema":1,"name":"acme/echo","versions":[` + strings.Join(versions, ",") + `]}`
	}
	for name, raw := range map[string]string{
		"empty": "", "not JSON": "{", "trailing": page() + "x", "other name": `{"schema":1,"name":"acme/other","versions":[]}`,
		"other schema": `{"schema":2,"name":"acme/echo","versions":[]}`, "unknown member": `{"schema":1,"name":"acme/echo","versions":[],"x":1}`,
		"bad version": page(v("1", digest("a"))), "bad digest": page(v("1.0.0", "sha256:a")), "twice": page(v("1.0.0", digest("a")), v("1.0.0", digest("b"))),
		"out of order": page(v("2.0.0", digest("a")), v("1.0.0", digest("b"))),
		"no reason":    page(`{"version":"1.0.0","digest":"` + digest("a") + `","published":"2026-01-01T00:00:00Z","revoked":{"reason":"","time":"2026-01-01T00:00:00Z"}}`),
	} {
		if p, err := index.ParsePack("acme/echo", []byte(raw)); abi.CodeOf(err) != abi.Invalid || abi.HintOf(err) == "" {
			t.Errorf("%s: %+v, %v", name, p, err)
		}
	}
}

func FuzzParsePack(f *testing.F) {
	f.Add([]byte(`{"schema":1,"name":"acme/echo","versions":[{"version":"1.0.0","digest":"` + digest("a") + `","published":"2026-01-01T00:00:00Z"}]}`))
	f.Add([]byte(`{"schema":1,"name":"acme/echo","versions":[]}`))
	f.Add([]byte(`{"schema":1,"name":"acme/echo","versions":[{"version":"1.0.0","yanked":{"reason":"x"}}]}`))
	f.Fuzz(func(t *testing.T, raw []byte) {
		p, err := index.ParsePack("acme/echo", raw)
		if err != nil {
			if c := abi.CodeOf(err); c != abi.Invalid && c != abi.TooLarge {
				t.Fatal(err)
			}
			return
		}
		again, err := json.Marshal(p)
		if err != nil {
			t.Fatal(err)
		}
		if _, err := index.ParsePack("acme/echo", again); err != nil {
			t.Fatalf("%s: %v", again, err)
		}
		p.Newest()
	})
}
