package server_test

import (
	"bytes"
	"io"
	"os"
	"strings"
	"testing"

	"github.com/arw-project/arw/host/internal/infer/infertest"
	"github.com/arw-project/arw/host/internal/infer/shelf"
	"github.com/arw-project/arw/host/internal/server"
)

func TestModelFilesByTheirDigest(t *testing.T) {
	t.Parallel()
	e := start(t, server.Options{})
	data := infertest.TinyGGUF(1)
	m, err := e.Services().Shelf.Import(t.Context(), bytes.NewReader(data), int64(len(data)), shelf.Manifest{})
	if err != nil {
		t.Fatal(err)
	}
	hash := strings.TrimPrefix(m.Digest, "sha256:")
	etag, path := `"`+hash+`"`, "/models/by-hash/"+hash
	modified := m.Added.Format("Mon, 02 Jan 2006 15:04:05 GMT")
	for name, c := range map[string]struct {
		headers []string
		status  int
		body    []byte
	}{
		"the whole":             {nil, 200, data},
		"what the caller has":   {[]string{"If-None-Match", `"x", W/` + etag}, 304, nil},
		"not changed since":     {[]string{"If-Modified-Since", modified}, 304, nil},
		"a date and a stranger": {[]string{"If-Modified-Since", modified, "If-None-Match", `"x"`}, 200, data},
		"changed since":         {[]string{"If-Modified-Since", "Mon, 01 Jan 2024 00:00:00 GMT"}, 200, data},
		"a part":                {[]string{"Range", "bytes=4-7", "If-Range", etag}, 206, data[4:8]},
		"a part of others":      {[]string{"Range", "bytes=4-7", "If-Range", `"x"`}, 200, data},
		"behind the end":        {[]string{"Range", "bytes=99999999-"}, 416, nil},
	} {
		resp := e.ask("GET", path, "", c.headers...)
		got, err := io.ReadAll(resp.Body)
		if err != nil || resp.StatusCode != c.status || c.status < 400 && !bytes.Equal(got, c.body) {
			t.Errorf("%s: %d with %d bytes, %v", name, resp.StatusCode, len(got), err)
		}
		h := resp.Header
		if c.status < 400 && (h.Get("Etag") != etag || h.Get("Last-Modified") != modified || h.Get("Cache-Control") != "public, max-age=31536000, immutable" ||
			h.Get("Accept-Ranges") != "bytes" || h.Get("X-Content-Type-Options") != "nosniff") {
			t.Errorf("%s: headers %v", name, h)
		}
	}
	if head := e.ask("HEAD", path, ""); head.StatusCode != 200 || head.ContentLength != int64(len(data)) {
		t.Errorf("HEAD: %d, %d bytes", head.StatusCode, head.ContentLength)
	}
	for path, code := range map[string]string{"/models/by-hash/" + strings.Repeat("0", 64): "not_found", "/models/by-hash/" + strings.Repeat("Z", 64): "invalid", "/models/by-hash/..%2foperator.token": "invalid"} {
		if p := problem(t, e.ask("GET", path, "")); p.Code != code {
			t.Errorf("%s: %s, want %s", path, p.Code, code)
		}
	}
	name := e.Services().Shelf.Path(m.Digest)
	if err := os.Remove(name); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(name, data[:len(data)-1], 0o400); err != nil {
		t.Fatal(err)
	}
	if p := problem(t, e.ask("GET", path, "", "Range", "bytes=0-3")); p.Code != "digest_mismatch" {
		t.Errorf("rotten: %s", p.Code)
	}
}
