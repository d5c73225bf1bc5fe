package registry_test

import (
	"strings"
	"testing"

	"github.com/arw-project/arw/abi"
	"github.com/arw-project/arw/registry"
)

const someDigest = "sha256:0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef"

func TestParseRef(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		in   string
		want registry.Ref
	}{
		{"arw/research:0.1.0", registry.Ref{Registry: "reg.example", Name: "arw/research", Tag: "0.1.0"}},
		{"arw/research", registry.Ref{Registry: "reg.example", Name: "arw/research"}},
		{"arw/research:1.0.0+b.2", registry.Ref{Registry: "reg.example", Name: "arw/research", Tag: "1.0.0_b.2"}},
		{"arw/research@" + someDigest, registry.Ref{Registry: "reg.example", Name: "arw/research", Digest: someDigest}},
		{"arw/research:latest@" + someDigest, registry.Ref{Registry: "reg.example", Name: "arw/research", Tag: "latest", Digest: someDigest}},
		{"localhost/research:1.0.0", registry.Ref{Registry: "reg.example", Name: "localhost/research", Tag: "1.0.0"}},
		{"localhost:5000/arw/research:0.1.0", registry.Ref{Registry: "localhost:5000", Name: "arw/research", Tag: "0.1.0"}},
		{"localhost/arw/research", registry.Ref{Registry: "localhost", Name: "arw/research"}},
		{"127.0.0.1:5000/arw/research", registry.Ref{Registry: "127.0.0.1:5000", Name: "arw/research"}},
		{"[::1]:5000/arw/research:1.0.0", registry.Ref{Registry: "[::1]:5000", Name: "arw/research", Tag: "1.0.0"}},
		{"GHCR.example/some/org_a/arw/research:1.0.0", registry.Ref{Registry: "ghcr.example/some/org_a", Name: "arw/research", Tag: "1.0.0"}},
		{"https://localhost:5000/arw/research", registry.Ref{Registry: "https://localhost:5000", Name: "arw/research"}},
		{"http://box/arw/research", registry.Ref{Registry: "http://box", Name: "arw/research"}},
		{"dir:/path//arw/research:0.1.0", registry.Ref{Registry: "dir:/path", Name: "arw/research", Tag: "0.1.0"}},
		{"dir:/a//b//arw/research@" + someDigest, registry.Ref{Registry: "dir:/a//b", Name: "arw/research", Digest: someDigest}},
		{"dir:relative/path//arw/research", registry.Ref{Registry: "dir:relative/path", Name: "arw/research"}},
		{"dir:///arw/research", registry.Ref{Registry: "dir:/", Name: "arw/research"}},
	} {
		got, err := registry.ParseRef(c.in, "reg.example")
		if err != nil || got != c.want {
			t.Errorf("%q: %+v, %v", c.in, got, err)
			continue
		}
		if again, err := registry.ParseRef(got.String(), ""); err != nil || again != got {
			t.Errorf("%q prints as %q, which reads as %+v, %v", c.in, got, again, err)
		}
	}
}

func TestParseRefRefuses(t *testing.T) {
	t.Parallel()
	for _, in := range []string{
		"", ":", "@", "/", "research", "arw/", "/research", "arw/research:", "arw/research@", "arw/research:a b",
		"arw/research@sha256:0123", "arw/research@sha512:" + strings.Repeat("0", 128), "arw/research@" + strings.ToUpper(someDigest),
		"Arw/research", "arw/re_search", "arw/re.search", "arw/-research", "arw/research-", "arw/../research", "../research",
		"a/b/c", "box/arw/research", "host:port/arw/research", "-h.example/arw/research", "h.example/A/arw/research",
		"h.example//arw/research", "h.example/../arw/research", "user@h.example/arw/research", "arw/research:.1", "arw/research:1\n",
		"arw/research:" + strings.Repeat("1", 129), "ftp://h.example/arw/research", "https://arw/research", "https://research",
		"dir:", "dir:/path", "dir:/path/arw/research", "dir://arw/research", "dir:/path//research", "dir:/path//h.example/arw/research",
		"dir:/path//arw/research/..", strings.Repeat("a", 5000),
	} {
		got, err := registry.ParseRef(in, "reg.example")
		if abi.CodeOf(err) != abi.Invalid {
			t.Errorf("%q: %+v, %v", in, got, err)
		} else if abi.HintOf(err) == "" || len(err.Error()) > 400 {
			t.Errorf("%q: %v", in, err)
		}
	}
	_, err := registry.ParseRef("arw/research:1.0.0", "")
	wantCode(t, err, abi.Invalid, "arw/research:1.0.0", "no registry")
}

func FuzzParseRef(f *testing.F) {
	for _, s := range []string{"arw/research:0.1.0", "arw/research@" + someDigest, "localhost:5000/arw/research:0.1.0",
		"dir:/path//arw/research:0.1.0", "dir:///a/b", "https://h:1/p/a/b:1@" + someDigest, "[::1]/a/b", "dir:////a/b", "dir:/x///a/b"} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, s string) {
		ref, err := registry.ParseRef(s, "reg.example")
		if err != nil {
			if abi.CodeOf(err) != abi.Invalid {
				t.Fatalf("%q: %v", s, err)
			}
			return
		}
		if strings.Contains(ref.Name, "..") || strings.Count(ref.Name, "/") != 1 || ref.Registry == "" {
			t.Fatalf("%q reads as %+v", s, ref)
		}
		if again, err := registry.ParseRef(ref.String(), ""); err != nil || again != ref {
			t.Fatalf("%q prints as %q, which reads as %+v, %v", s, ref, again, err)
		}
	})
}

func TestVersions(t *testing.T) {
	t.Parallel()
	// semver 2.0.0, section 11, and numbers beyond 64 bits.
	order := []string{"0.0.9", "1.0.0-alpha", "1.0.0-alpha.1", "1.0.0-alpha.beta", "1.0.0-beta", "1.0.0-beta.2", "1.0.0-beta.11",
		"1.0.0-rc.1", "1.0.0", "1.0.1", "1.2.0", "1.10.0", "2.0.0", "99999999999999999999.0.0", "100000000000000000000.0.0"}
	for i, a := range order {
		for j, b := range order {
			if got := registry.CompareVersions(a, b); (got < 0) != (i < j) || (got > 0) != (i > j) {
				t.Errorf("%s and %s compare as %d", a, b, got)
			}
		}
	}
	for _, v := range []string{"1.2.3", "1.2.3-rc.1", "1.2.3+b_x", "1.2", "01.2.3", "1.2.3-", "v1.2.3"} {
		got, ok := registry.Version(registry.Tag(v))
		if want := v == "1.2.3" || v == "1.2.3-rc.1"; ok != want || (ok && got != v) {
			t.Errorf("%s: %s, %v", v, got, ok)
		}
	}
	if v, ok := registry.Version(registry.Tag("1.2.3+build.7")); !ok || v != "1.2.3+build.7" {
		t.Errorf("build metadata: %s, %v", v, ok)
	}
}
