package server_test

import (
	"bytes"
	"io"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/arw-project/arw/host/hosttest"
	"github.com/arw-project/arw/host/internal/access"
	"github.com/arw-project/arw/host/internal/cas"
	"github.com/arw-project/arw/host/internal/server"
)

// packWithFile installs a pack whose extra file is known, and gives the file's digest.
func packWithFile(t *testing.T, e *edge) (digest string, data []byte) {
	t.Helper()
	art := hosttest.SinkPack(t)
	e.Install(art)
	return cas.Digest(art.Module), art.Module
}

func TestBlobs(t *testing.T) {
	t.Parallel()
	e := start(t, server.Options{})
	digest, data := packWithFile(t, e)
	size := len(data)
	etag := `"` + digest + `"`
	cases := []struct {
		name    string
		headers []string
		status  int
		body    []byte
		rng     string
	}{
		{"the whole", nil, 200, data, ""},
		{"what the caller has", []string{"If-None-Match", `"x", ` + etag}, 304, nil, ""},
		{"what the caller has, said weakly", []string{"If-None-Match", "W/" + etag}, 304, nil, ""},
		{"whatever it is", []string{"If-None-Match", "*"}, 304, nil, ""},
		{"another validator", []string{"If-None-Match", `"x"`}, 200, data, ""},
		{"a part", []string{"Range", "bytes=4-7"}, 206, data[4:8], "bytes 4-7/"},
		{"from somewhere on", []string{"Range", "bytes=100-"}, 206, data[100:], "bytes 100-"},
		{"the end", []string{"Range", "bytes=-5"}, 206, data[size-5:], ""},
		{"more of the end than there is", []string{"Range", "bytes=-99999999999999999999"}, 206, data, "bytes 0-"},
		{"beyond the end", []string{"Range", "bytes=4-99999999999999999999"}, 206, data[4:], "bytes 4-"},
		{"behind the end", []string{"Range", "bytes=99999999999-"}, 416, nil, "bytes */"},
		{"nothing of the end", []string{"Range", "bytes=-0"}, 416, nil, "bytes */"},
		{"a part of these bytes", []string{"Range", "bytes=0-3", "If-Range", etag}, 206, data[:4], "bytes 0-3/"},
		{"a part of other bytes", []string{"Range", "bytes=0-3", "If-Range", `"x"`}, 200, data, ""},
		{"a part, by a weak validator", []string{"Range", "bytes=0-3", "If-Range", "W/" + etag}, 200, data, ""},
		{"two parts", []string{"Range", "bytes=0-3,8-9"}, 200, data, ""},
		{"a backward part", []string{"Range", "bytes=9-3"}, 200, data, ""},
		{"no bytes", []string{"Range", "lines=0-3"}, 200, data, ""},
		{"nonsense", []string{"Range", "bytes=a-b"}, 200, data, ""},
	}
	for _, c := range cases {
		resp := e.ask("GET", "/blobs/"+digest, "", c.headers...)
		got, err := io.ReadAll(resp.Body)
		if resp.StatusCode != c.status || err != nil || c.status < 400 && !bytes.Equal(got, c.body) {
			t.Errorf("%s: %d with %d bytes (%v), want %d with %d", c.name, resp.StatusCode, len(got), err, c.status, len(c.body))
		}
		if r := resp.Header.Get("Content-Range"); !strings.HasPrefix(r, c.rng) || (c.rng == "" && c.status == 200 && r != "") {
			t.Errorf("%s: Content-Range is %q", c.name, r)
		}
		kept := strings.Contains(resp.Header.Get("Cache-Control"), "immutable") && resp.Header.Get("Etag") == etag
		if kept != (c.status < 400) {
			t.Errorf("%s: headers %v", c.name, resp.Header)
		}
	}
	head := e.ask("HEAD", "/blobs/"+digest, "")
	if head.StatusCode != 200 || head.ContentLength != int64(size) || head.Header.Get("Etag") != etag {
		t.Errorf("HEAD: %d %d %v", head.StatusCode, head.ContentLength, head.Header)
	}
}

// What a call was given is nobody's but the operator's; to others it is as if it were not there.
func TestBlobsAreNotForEverybody(t *testing.T) {
	t.Parallel()
	e := start(t, server.Options{})
	file, _ := packWithFile(t, e)
	secret, err := e.Services().CAS.PutBytes(t.Context(), []byte("what somebody gave a tool"))
	if err != nil {
		t.Fatal(err)
	}
	token := func(role access.Role) string {
		made, err := e.Services().Access.Create(t.Context(), "", "operator", "t-"+string(role), role, 0, "")
		if err != nil {
			t.Fatal(err)
		}
		return made.Secret
	}
	cases := []struct{ who, token, digest, code string }{
		{"whoever is here", "", file, ""},
		{"whoever is here", "", secret, "not_found"},
		{"a user", token(access.User), secret, "not_found"},
		{"a guest", token(access.Guest), file, ""},
		{"a guest", token(access.Guest), secret, "not_found"},
		{"a pack", token(access.Pack), file, "denied"},
		{"the operator", e.token, secret, ""},
		{"the operator", e.token, "sha256:" + strings.Repeat("0", 64), "not_found"},
		{"the operator", e.token, "sha256:" + strings.Repeat("Z", 64), "invalid"},
		{"the operator", e.token, "..%2f..%2foperator.token", "invalid"},
	}
	for _, c := range cases {
		var headers []string
		if c.token != "" {
			headers = []string{"Authorization", "Bearer " + c.token}
		}
		resp := e.ask("GET", "/blobs/"+c.digest, "", headers...)
		if c.code == "" {
			if resp.StatusCode != http.StatusOK {
				t.Errorf("%s: %d for %s", c.who, resp.StatusCode, c.digest)
			}
			continue
		}
		if p := problem(t, resp); p.Code != c.code {
			t.Errorf("%s: %s for %s, want %s", c.who, p.Code, c.digest, c.code)
		}
	}
}

// A blob that rotted is named and not served, no byte of it; everything else is.
func TestARottenBlobIsNamedAndTheRestServed(t *testing.T) {
	t.Parallel()
	e := start(t, server.Options{})
	digest, data := packWithFile(t, e)
	other, err := e.Services().CAS.PutBytes(t.Context(), []byte("sound"))
	if err != nil {
		t.Fatal(err)
	}
	path := filepath.Join(e.State, "cas", "sha256", digest[7:9], digest[7:])
	rotten := bytes.Clone(data)
	rotten[len(rotten)-1] ^= 1
	if err := os.WriteFile(path, rotten, 0o600); err != nil {
		t.Fatal(err)
	}
	resp := e.ask("GET", "/blobs/"+digest, "", "Range", "bytes=0-3")
	if resp.Header.Get("Etag") != "" || resp.Header.Get("Cache-Control") != "no-store" {
		t.Errorf("the refusal may be kept: %v", resp.Header)
	}
	if p := problem(t, resp); p.Code != "corrupt" || !strings.Contains(p.Detail, digest) || strings.Contains(p.Detail, e.State) {
		t.Errorf("the problem is %+v", p)
	}
	if got, _ := io.ReadAll(e.ask("GET", "/blobs/"+other, "", "Authorization", "Bearer "+e.token).Body); string(got) != "sound" {
		t.Errorf("the other blob is %q", got)
	}
	if got := e.MustCall("sink.echo", `{"n":1}`); !strings.Contains(got, "1") {
		t.Errorf("a call answers %s", got)
	}
}
