package registry_test

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/arw-project/arw/abi"
	"github.com/arw-project/arw/registry"
	"github.com/arw-project/arw/registry/layout"
)

// lie answers a request in its own way, or hands it to the real registry.
type lie func(w http.ResponseWriter, r *http.Request, truth http.Handler)

// liar is a registry that holds pack("one") as acme/echo:1.0.0 and lies about it from the first request after that.
func liar(t *testing.T, l lie) (location, digest string) {
	t.Helper()
	truth := handler(t, layout.ServerOptions{})
	var lying atomic.Bool
	location = serveHandler(t, http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if lying.Load() {
			l(w, r, truth)
			return
		}
		truth.ServeHTTP(w, r)
	}))
	r := open(t, location, registry.Options{})
	digest = push(t, r, "1.0.0", pack("one"))
	if _, err := r.Attach(t.Context(), "acme/echo", digest, []byte("{}"), "x"); err != nil {
		t.Fatal(err)
	}
	lying.Store(true)
	return location, digest
}

// moduleDigest is the digest of the module of pack("one").
var moduleDigest = sha256Of(pack("one")[3].Data)

// onModule lies about the module's blob alone.
func onModule(l http.HandlerFunc) lie {
	return func(w http.ResponseWriter, r *http.Request, truth http.Handler) {
		if strings.HasSuffix(r.URL.Path, "/blobs/"+moduleDigest) {
			l(w, r)
			return
		}
		truth.ServeHTTP(w, r)
	}
}

// onManifest lies about manifests alone.
func onManifest(l http.HandlerFunc) lie {
	return func(w http.ResponseWriter, r *http.Request, truth http.Handler) {
		if strings.Contains(r.URL.Path, "/manifests/") {
			l(w, r)
			return
		}
		truth.ServeHTTP(w, r)
	}
}

// hang answers nothing until the client leaves.
func hang(_ http.ResponseWriter, r *http.Request) { <-r.Context().Done() }

func body(status int, header map[string]string, data string) http.HandlerFunc {
	return func(w http.ResponseWriter, _ *http.Request) {
		for k, v := range header {
			w.Header().Set(k, v)
		}
		w.WriteHeader(status)
		_, _ = io.WriteString(w, data)
	}
}

// drip sends a byte now and then, for ever.
func drip(w http.ResponseWriter, r *http.Request) {
	w.WriteHeader(http.StatusOK)
	tick := time.NewTicker(20 * time.Millisecond)
	defer tick.Stop()
	for {
		select {
		case <-tick.C:
			_, _ = w.Write([]byte("x"))
			_ = http.NewResponseController(w).Flush()
		case <-r.Context().Done():
			return
		}
	}
}

func TestLyingRegistries(t *testing.T) {
	t.Parallel()
	module := string(pack("one")[3].Data)
	other, err := json.Marshal(manifest())
	if err != nil {
		t.Fatal(err)
	}
	manifestHeader := map[string]string{"Content-Type": mediaManifest}
	for name, c := range map[string]struct {
		lie  lie
		code abi.Code
	}{
		"hangs at once":                 {func(w http.ResponseWriter, r *http.Request, _ http.Handler) { hang(w, r) }, abi.Unavailable},
		"hangs at the manifest":         {onManifest(hang), abi.Unavailable},
		"hangs at a blob":               {onModule(hang), abi.Unavailable},
		"hangs within a blob":           {onModule(half(module, hang)), abi.Unavailable},
		"drips for ever":                {onManifest(drip), abi.Deadline},
		"cuts a blob off, always":       {onModule(half(module, func(http.ResponseWriter, *http.Request) { panic(http.ErrAbortHandler) })), abi.Unavailable},
		"ends a blob early":             {onModule(body(200, nil, module[:5])), abi.DigestMismatch},
		"ends a stream early":           {onModule(stream(module[:5])), abi.Unavailable},
		"serves other bytes":            {onModule(body(200, nil, strings.ToUpper(module))), abi.DigestMismatch},
		"serves more bytes":             {onModule(body(200, nil, module+"x")), abi.DigestMismatch},
		"streams more bytes":            {onModule(stream(module + "x")), abi.DigestMismatch},
		"serves nothing":                {onModule(body(200, nil, "")), abi.DigestMismatch},
		"has no such blob":              {onModule(body(404, nil, "")), abi.NotFound},
		"forbids":                       {onModule(body(403, nil, `{"errors":[{"code":"DENIED","message":"no"}]}`)), abi.Denied},
		"wants to know who":             {onModule(body(401, nil, "")), abi.Unauthenticated},
		"has no time, ever":             {onModule(body(429, nil, "")), abi.Busy},
		"breaks down":                   {onModule(body(500, nil, "<html>oops")), abi.Unavailable},
		"serves another manifest":       {onManifest(body(200, manifestHeader, string(other))), abi.DigestMismatch},
		"serves a page as manifest":     {onManifest(body(200, map[string]string{"Content-Type": "text/html"}, "<html>")), abi.DigestMismatch},
		"announces another digest":      {onManifest(body(200, map[string]string{"Content-Type": mediaManifest, "Docker-Content-Digest": someDigest}, string(other))), abi.DigestMismatch},
		"serves an endless manifest":    {onManifest(endless), abi.TooLarge},
		"redirects in a circle":         {onModule(func(w http.ResponseWriter, r *http.Request) { http.Redirect(w, r, r.URL.Path, 307) }), abi.Denied},
		"redirects to a file":           {onModule(redirect("file:///etc/passwd")), abi.Denied},
		"redirects to the cloud's door": {onModule(redirect("http://169.254.169.254/latest/meta-data")), abi.Denied},
		"redirects to credentials":      {onModule(redirect("http://joe:pw@127.0.0.1:1/")), abi.Denied},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			location, digest := liar(t, c.lie)
			_, err := open(t, location, patient(name)).Pull(t.Context(), registry.Ref{Name: "acme/echo", Digest: digest}, nil)
			wantCode(t, err, c.code, location, "acme/echo@"+digest)
			if strings.Contains(name, "cloud") && !strings.Contains(err.Error(), "sends us to") {
				t.Errorf("not refused by us: %v", err)
			}
		})
	}
}

// patient waits long enough for any answer of a busy machine, except where waiting is the test.
func patient(name string) registry.Options {
	const patience = 150 * time.Millisecond
	o := registry.Options{Stall: 30 * time.Second, Timeout: time.Minute, Retries: 1}
	switch {
	case strings.HasPrefix(name, "hangs"):
		o.Stall = patience
	case strings.HasPrefix(name, "drips"):
		o.Timeout = 2 * patience
	}
	return o
}

// half sends the first half of a text, whatever part is asked for, and then goes on as told.
func half(text string, then http.HandlerFunc) http.HandlerFunc {
	return func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Content-Length", fmt.Sprint(len(text)))
		w.WriteHeader(http.StatusOK)
		_, _ = io.WriteString(w, text[:len(text)/2])
		_ = http.NewResponseController(w).Flush()
		then(w, r)
	}
}

// stream sends a text without saying how long it is.
func stream(text string) http.HandlerFunc {
	return func(w http.ResponseWriter, _ *http.Request) {
		_ = http.NewResponseController(w).Flush()
		_, _ = io.WriteString(w, text)
	}
}

func endless(w http.ResponseWriter, _ *http.Request) {
	w.Header().Set("Content-Type", mediaManifest)
	for {
		if _, err := w.Write(bytes.Repeat([]byte(" "), 1<<16)); err != nil {
			return
		}
	}
}

func redirect(to string) http.HandlerFunc {
	return func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Location", to)
		w.WriteHeader(http.StatusTemporaryRedirect)
	}
}

func TestNobodyThere(t *testing.T) {
	t.Parallel()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	location := l.Addr().String()
	l.Close()
	_, err = open(t, location, registry.Options{}).Pull(t.Context(), registry.Ref{Name: "acme/echo", Tag: "1.0.0"}, nil)
	wantCode(t, err, abi.Unavailable, location, "acme/echo:1.0.0")
	if !strings.Contains(abi.HintOf(err), "arw registry serve") {
		t.Errorf("hint %q", abi.HintOf(err))
	}
}

func TestCallerLeaves(t *testing.T) {
	t.Parallel()
	arrived := make(chan struct{}, 1)
	location, digest := liar(t, onModule(func(w http.ResponseWriter, r *http.Request) {
		arrived <- struct{}{}
		hang(w, r)
	}))
	ctx, cancel := context.WithCancel(t.Context())
	go func() { <-arrived; cancel() }()
	_, err := open(t, location, registry.Options{}).Pull(ctx, registry.Ref{Name: "acme/echo", Digest: digest}, nil)
	wantCode(t, err, abi.Cancelled, location)
	ctx, cancel = context.WithTimeout(t.Context(), 200*time.Millisecond)
	defer cancel()
	_, err = open(t, location, registry.Options{}).Pull(ctx, registry.Ref{Name: "acme/echo", Digest: digest}, nil)
	wantCode(t, err, abi.Deadline, location)
}

// TestDownloadGoesOn: a transfer that breaks is continued with a range, not begun again.
func TestDownloadGoesOn(t *testing.T) {
	t.Parallel()
	data := bytes.Repeat([]byte("0123456789abcdef"), 1<<16)
	truth := handler(t, layout.ServerOptions{})
	var ranges []string
	location := serveHandler(t, http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.Method == http.MethodGet && strings.HasSuffix(r.URL.Path, "/blobs/"+sha256Of(data)) {
			ranges = append(ranges, r.Header.Get("Range")) // one at a time: the client waits for the end of each
			if len(ranges) < 4 {
				w = &cutter{ResponseWriter: w, left: 300_000}
			}
		}
		truth.ServeHTTP(w, r)
	}))
	r := open(t, location, registry.Options{Retries: 1})
	files := append(pack("one"), registry.File{Name: "big", Data: data})
	push(t, r, "1.0.0", files)
	a, err := r.Pull(t.Context(), registry.Ref{Name: "acme/echo", Tag: "1.0.0"}, nil)
	if err != nil {
		t.Fatal(err)
	}
	if !bytes.Equal(a.Files[2].Data, data) {
		t.Errorf("%d bytes of %q", len(a.Files[2].Data), a.Files[2].Name)
	}
	if len(ranges) != 4 || ranges[0] != "" || !strings.HasPrefix(ranges[1], "bytes=") || ranges[1] == "bytes=0-" || ranges[3] <= ranges[1] {
		t.Errorf("asked for %q", ranges)
	}
}

// cutter breaks the connection after some bytes.
type cutter struct {
	http.ResponseWriter
	left int
}

func (c *cutter) Write(p []byte) (int, error) {
	if c.left -= len(p); c.left < 0 {
		_ = http.NewResponseController(c.ResponseWriter).Flush()
		panic(http.ErrAbortHandler)
	}
	return c.ResponseWriter.Write(p)
}

func (c *cutter) Unwrap() http.ResponseWriter { return c.ResponseWriter }

// TestUploadGoesOn: a chunk that breaks off is continued from where the registry stands; an upload it forgot is begun again.
func TestUploadGoesOn(t *testing.T) {
	t.Parallel()
	data := make([]byte, 2*registry.ChunkSize+1000)
	for i := range data {
		data[i] = byte(i * 7 >> 8)
	}
	files := append(pack("one"), registry.File{Name: "big", Data: data})
	for name, c := range map[string]struct {
		break1 func(w http.ResponseWriter, r *http.Request, truth http.Handler)
		posts  int
	}{
		"broken connection": {func(w http.ResponseWriter, r *http.Request, truth http.Handler) {
			r.Body = io.NopCloser(io.LimitReader(r.Body, 5<<20))
			truth.ServeHTTP(httptest.NewRecorder(), r)
			panic(http.ErrAbortHandler)
		}, 1},
		"forgotten": {func(w http.ResponseWriter, r *http.Request, truth http.Handler) {
			cancel := r.Clone(r.Context())
			cancel.Method = http.MethodDelete
			truth.ServeHTTP(httptest.NewRecorder(), cancel)
			truth.ServeHTTP(w, r)
		}, 2},
		"busy": {func(w http.ResponseWriter, r *http.Request, _ http.Handler) {
			w.WriteHeader(http.StatusServiceUnavailable)
		}, 1},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			truth := handler(t, layout.ServerOptions{})
			patches, posts, from := 0, 0, []string{}
			location := serveHandler(t, http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
				switch r.Method {
				case http.MethodPatch:
					patches++
					from = append(from, r.Header.Get("Content-Range"))
					if patches == 2 {
						c.break1(w, r, truth)
						return
					}
				case http.MethodPost:
					posts++
				case http.MethodPut:
					if cr := r.Header.Get("Content-Range"); cr != "" {
						from = append(from, cr)
					}
				}
				truth.ServeHTTP(w, r)
			}))
			r := open(t, location, registry.Options{Retries: 2})
			push(t, r, "1.0.0", files)
			a, err := r.Pull(t.Context(), registry.Ref{Name: "acme/echo", Tag: "1.0.0"}, nil)
			if err != nil || !bytes.Equal(a.Files[2].Data, data) {
				t.Fatalf("%v", err)
			}
			if extra := posts - len(files) - 1; extra != c.posts-1 {
				t.Errorf("%d uploads were begun for %d blobs; pieces %q", posts, len(files)+1, from)
			}
			if name == "broken connection" && !strings.HasPrefix(from[len(from)-1], fmt.Sprint(registry.ChunkSize+5<<20)+"-") {
				t.Errorf("pieces %q", from)
			}
		})
	}
}

func TestUploadRefusals(t *testing.T) {
	t.Parallel()
	elsewhere := httptest.NewServer(http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) {
		t.Errorf("%s %s was sent elsewhere", r.Method, r.URL)
	}))
	t.Cleanup(elsewhere.Close)
	onUpload := func(l http.HandlerFunc) lie {
		return func(w http.ResponseWriter, r *http.Request, truth http.Handler) {
			if r.Method == http.MethodPost {
				l(w, r)
				return
			}
			truth.ServeHTTP(w, r)
		}
	}
	for name, c := range map[string]struct {
		lie  lie
		code abi.Code
	}{
		"uploads elsewhere":   {onUpload(body(202, map[string]string{"Location": elsewhere.URL + "/x"}, "")), abi.Denied},
		"redirects the post":  {onUpload(redirect(elsewhere.URL)), abi.Denied},
		"gives no place":      {onUpload(body(202, nil, "")), abi.Unsupported},
		"gives a strange one": {onUpload(body(202, map[string]string{"Location": "http://[::"}, "")), abi.Unsupported},
		"takes no artifacts": {func(w http.ResponseWriter, r *http.Request, truth http.Handler) {
			if r.Method == http.MethodPut && strings.Contains(r.URL.Path, "/manifests/") {
				w.WriteHeader(http.StatusMethodNotAllowed)
				return
			}
			truth.ServeHTTP(w, r)
		}, abi.Unsupported},
		"is full":        {onUpload(body(507, nil, "")), abi.StorageFull},
		"is read only":   {onUpload(body(403, nil, "")), abi.Denied},
		"hangs":          {onUpload(hang), abi.Unavailable},
		"asks for login": {onUpload(body(401, map[string]string{"WWW-Authenticate": `Basic realm="x"`}, "")), abi.Unauthenticated},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			location, _ := liar(t, c.lie)
			_, err := open(t, location, patient(name)).Push(t.Context(), "acme/echo", "2.0.0", pack("two"), nil, nil)
			wantCode(t, err, c.code, location, "acme/echo:2.0.0")
		})
	}
}

// TestWhereARegistryMaySend: never further inside than it is itself, never to link-local addresses.
func TestWhereARegistryMaySend(t *testing.T) {
	t.Parallel()
	const public, private, own, cloud = "203.0.113.5", "10.1.2.3", "127.0.0.1", "169.254.169.254"
	for _, c := range []struct {
		from, to string
		may      bool
	}{
		{public, public, true}, {public, private, false}, {public, own, false}, {public, cloud, false},
		{private, public, true}, {private, private, true}, {private, own, false}, {private, cloud, false},
		{own, public, true}, {own, private, true}, {own, own, true}, {own, cloud, false},
		{public, "::1", false}, {public, "::ffff:127.0.0.1", false}, {public, "fd00::1", false}, {public, "fe80::1", false},
		{public, "100.64.0.1", false}, {public, "0.0.0.0", false}, {public, "2001:db8::1", true}, {own, "224.0.0.1", false},
	} {
		if got := registry.MaySend(c.from, c.to); got != c.may {
			t.Errorf("from %s to %s: %v", c.from, c.to, got)
		}
	}
}

// TestRedirectsLoseCredentials: a registry may keep its blobs elsewhere; who asks stays between it and us.
func TestRedirectsLoseCredentials(t *testing.T) {
	t.Parallel()
	module := pack("one")[3].Data
	store := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.Header.Get("Authorization") != "" {
			t.Error("the credentials went elsewhere")
		}
		_, _ = w.Write(module)
	}))
	t.Cleanup(store.Close)
	truth := handler(t, layout.ServerOptions{Token: "s3cret", Private: true})
	location := serveHandler(t, http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.Method == http.MethodGet && strings.HasSuffix(r.URL.Path, "/blobs/"+moduleDigest) {
			http.Redirect(w, r, store.URL, http.StatusTemporaryRedirect)
			return
		}
		truth.ServeHTTP(w, r)
	}))
	r := open(t, location, registry.Options{Credentials: registry.Credentials{Token: "s3cret"}})
	digest := push(t, r, "1.0.0", pack("one"))
	a, err := r.Pull(t.Context(), registry.Ref{Name: "acme/echo", Tag: "1.0.0"}, nil)
	if err != nil {
		t.Fatal(err)
	}
	checkPulled(t, a, pack("one"), digest)
}

func TestListsThatLie(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct {
		path, answer string
		code         abi.Code
	}{
		"a tag that climbs":   {"/tags/list", `{"tags":["../../x"]}`, abi.Invalid},
		"not JSON":            {"/tags/list", `{`, abi.Unavailable},
		"no catalogue":        {"/_catalog", "", abi.Unsupported},
		"names of all sorts":  {"/_catalog", `{"repositories":["../x","acme/echo","a/b/c","UPPER/x"]}`, abi.OK},
		"a version and a tag": {"/tags/list", `{"tags":["1.0.0","latest","` + strings.Replace(someDigest, ":", "-", 1) + `"]}`, abi.OK},
	} {
		location, _ := liar(t, func(w http.ResponseWriter, r *http.Request, truth http.Handler) {
			if !strings.HasSuffix(r.URL.Path, c.path) {
				truth.ServeHTTP(w, r)
				return
			}
			if c.answer == "" {
				w.WriteHeader(http.StatusNotFound)
			}
			_, _ = io.WriteString(w, c.answer)
		})
		r := open(t, location, registry.Options{Retries: -1})
		var got []string
		var err error
		if c.path == "/_catalog" {
			got, err = r.Names(t.Context())
		} else {
			got, err = r.Tags(t.Context(), "acme/echo")
		}
		if abi.CodeOf(err) != c.code {
			t.Errorf("%s: %v, %v", name, got, err)
		}
		if err == nil && len(got) != map[string]int{"/_catalog": 1, "/tags/list": 2}[c.path] {
			t.Errorf("%s: %v", name, got)
		}
	}
	location, _ := liar(t, func(w http.ResponseWriter, r *http.Request, truth http.Handler) {
		w.Header().Set("Link", fmt.Sprintf("<%s?n=%s>; rel=next", r.URL.Path, r.URL.Query().Get("n")+"1"))
		_, _ = io.WriteString(w, `{"tags":["a"],"repositories":["acme/echo"]}`)
	})
	_, err := open(t, location, registry.Options{}).Tags(t.Context(), "acme/echo")
	wantCode(t, err, abi.TooLarge, location)
	_, err = open(t, location, registry.Options{}).Names(t.Context())
	wantCode(t, err, abi.TooLarge, location)
}
