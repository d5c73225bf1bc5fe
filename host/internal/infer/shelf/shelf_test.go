package shelf_test

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/arw-project/arw/abi"
	"github.com/arw-project/arw/host/internal/infer/infertest"
	"github.com/arw-project/arw/host/internal/infer/shelf"
)

func digestOf(b []byte) string {
	sum := sha256.Sum256(b)
	return "sha256:" + hex.EncodeToString(sum[:])
}

// origin serves one file with a strong validator, and misbehaves as told.
type origin struct {
	mu     sync.Mutex
	file   []byte
	cut    int  // bytes after which the next answer breaks off; 0: it does not
	plain  bool // knows no ranges and announces no length
	weak   bool // its validator is a weak one
	long   bool // sends more than it announces
	ranges []string
	sent   int
}

func (o *origin) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	o.mu.Lock()
	defer o.mu.Unlock()
	o.ranges = append(o.ranges, r.Header.Get("Range"))
	if o.plain {
		r.Header.Del("Range")
		w.(http.Flusher).Flush()
		_, _ = w.Write(o.file)
		return
	}
	tag := `"` + digestOf(o.file)[7:20] + `"`
	if o.weak {
		tag = "W/" + tag
	}
	w.Header().Set("ETag", tag)
	var out http.ResponseWriter = &counted{w, o}
	http.ServeContent(out, r, "", time.Time{}, bytes.NewReader(o.file))
}

type counted struct {
	http.ResponseWriter
	o *origin
}

func (c *counted) Write(b []byte) (int, error) {
	if c.o.cut > 0 && c.o.sent+len(b) > c.o.cut {
		n := c.o.cut - c.o.sent
		c.o.cut = 0
		c.o.sent += n
		_, _ = c.ResponseWriter.Write(b[:n])
		c.ResponseWriter.(http.Flusher).Flush()
		panic(http.ErrAbortHandler)
	}
	c.o.sent += len(b)
	return c.ResponseWriter.Write(b)
}

func begin(t *testing.T, quota int64) (*shelf.Shelf, *origin, string, shelf.Fetch, string) {
	t.Helper()
	o := &origin{file: infertest.TinyGGUF(1)}
	srv := httptest.NewServer(o)
	t.Cleanup(srv.Close)
	dir := t.TempDir()
	s, err := shelf.Open(dir, quota)
	if err != nil {
		t.Fatal(err)
	}
	fetch := func(ctx context.Context, url string, h http.Header) (*http.Response, error) {
		req, err := http.NewRequestWithContext(ctx, http.MethodGet, url, nil)
		if err != nil {
			return nil, err
		}
		req.Header = h
		return http.DefaultClient.Do(req)
	}
	return s, o, srv.URL + "/tiny.gguf", fetch, dir
}

func want(url string, file []byte) shelf.Want {
	return shelf.Want{URL: url, Manifest: shelf.Manifest{Digest: digestOf(file), Source: "a test"}}
}

func left(t *testing.T, dir string) (names []string) {
	t.Helper()
	entries, err := os.ReadDir(dir)
	if err != nil {
		t.Fatal(err)
	}
	for _, e := range entries {
		names = append(names, e.Name())
	}
	return names
}

func TestAPullGoesOnWhereItBroke(t *testing.T) {
	t.Parallel()
	s, o, url, fetch, dir := begin(t, 0)
	o.cut = 200_000
	w := want(url, o.file)
	var told [][2]int64
	w.Progress = func(done, total int64) { told = append(told, [2]int64{done, total}) }
	if _, err := s.Pull(t.Context(), fetch, w); abi.CodeOf(err) != abi.Unavailable || !strings.Contains(fmt.Sprint(err), "broke off") && !strings.Contains(fmt.Sprint(err), "EOF") {
		t.Fatalf("cut off: %v", err)
	}
	if n := left(t, dir); len(n) != 2 {
		t.Fatalf("left behind: %q", n)
	}
	again, err := shelf.Open(dir, 0) // also after a restart
	if err != nil {
		t.Fatal(err)
	}
	w.Piece = 100_000
	m, err := again.Pull(t.Context(), fetch, w)
	if err != nil {
		t.Fatal(err)
	}
	if m.Format != "gguf" || m.Architecture != "llama" || m.Quantisation != "F32" || m.Context != infertest.TinyContext || m.Size != int64(len(o.file)) || m.License == "" || m.Source != "a test" {
		t.Errorf("manifest %+v", m)
	}
	if o.sent != len(o.file) {
		t.Errorf("%d bytes were sent of a file of %d", o.sent, len(o.file))
	}
	if o.ranges[1] == o.ranges[0] || !strings.HasPrefix(o.ranges[1], "bytes=") || len(o.ranges) != 4 {
		t.Errorf("asked for %q", o.ranges)
	}
	if last := told[len(told)-1]; last != [2]int64{int64(len(o.file)), int64(len(o.file))} || !slices.IsSortedFunc(told, func(a, b [2]int64) int { return int(a[0] - b[0]) }) {
		t.Errorf("told %v", told)
	}
	if n := left(t, dir); len(n) != 2 {
		t.Errorf("on the shelf: %q", n)
	}
	f, _, err := again.Prove(t.Context(), m.Digest)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	if got, err := io.ReadAll(f); err != nil || !bytes.Equal(got, o.file) {
		t.Errorf("it reads %d bytes, %v", len(got), err)
	}
	o.ranges = nil
	if _, err := again.Pull(t.Context(), fetch, w); err != nil || len(o.ranges) != 0 {
		t.Errorf("what is there is asked for again: %v, %q", err, o.ranges)
	}
}

// A part is of no use when the file is another one now, or nothing says that it is not.
func TestAPullBeginsAnew(t *testing.T) {
	t.Parallel()
	other := infertest.TinyGGUF(2)
	for name, change := range map[string]func(*origin){
		"another file":     func(o *origin) { o.file = other },
		"a weak validator": func(o *origin) { o.weak = true; o.file = other },
		"no ranges":        func(o *origin) { o.plain = true; o.file = other },
	} {
		t.Run(name, func(t *testing.T) {
			s, o, url, fetch, _ := begin(t, 0)
			o.cut = 200_000
			w := want(url, other)
			if _, err := s.Pull(t.Context(), fetch, w); err == nil {
				t.Fatal("it was not cut off")
			}
			o.mu.Lock()
			change(o)
			o.mu.Unlock()
			if m, err := s.Pull(t.Context(), fetch, w); err != nil || m.Size != int64(len(other)) {
				t.Errorf("got %+v, %v", m, err)
			}
		})
	}
}

func TestWhatIsNotTheModelIsNotKept(t *testing.T) {
	t.Parallel()
	whole := infertest.TinyGGUF(1)
	for name, tc := range map[string]struct {
		file  []byte
		other string // the digest that is wanted, when not the file's
		code  abi.Code
	}{
		"wrong digest": {whole, "sha256:" + strings.Repeat("0", 64), abi.DigestMismatch},
		"truncated":    {whole[:len(whole)-100], "", abi.Corrupt},
		"foreign":      {[]byte("<!doctype html><title>Sign in</title>" + strings.Repeat(" ", 1000)), "", abi.Corrupt},
		"no digest":    {whole, "sha256:12", abi.Invalid},
	} {
		t.Run(name, func(t *testing.T) {
			s, o, url, fetch, dir := begin(t, 0)
			o.file = tc.file
			w := want(url, tc.file)
			if tc.other != "" {
				w.Manifest.Digest = tc.other
			}
			if _, err := s.Pull(t.Context(), fetch, w); abi.CodeOf(err) != tc.code {
				t.Errorf("pulled: %v", err)
			}
			if _, err := s.Import(t.Context(), bytes.NewReader(tc.file), int64(len(tc.file)), w.Manifest); abi.CodeOf(err) != tc.code {
				t.Errorf("imported: %v", err)
			}
			if n := left(t, dir); len(n) != 0 {
				t.Errorf("left behind: %q", n)
			}
		})
	}
}

// A disk that is full in the middle keeps what came, and says so; with room the download goes on.
func TestADiskThatIsFullInMidDownload(t *testing.T) {
	t.Parallel()
	if _, err := os.Stat("/dev/full"); err != nil {
		t.Skip("no /dev/full on this system")
	}
	s, o, url, fetch, dir := begin(t, 0)
	part := filepath.Join(dir, digestOf(o.file)[7:]+".part")
	if err := os.Symlink("/dev/full", part); err != nil {
		t.Fatal(err)
	}
	if _, err := s.Pull(t.Context(), fetch, want(url, o.file)); abi.CodeOf(err) != abi.StorageFull {
		t.Fatalf("on a full disk: %v", err)
	}
	if err := os.Remove(part); err != nil {
		t.Fatal(err)
	}
	if _, err := s.Pull(t.Context(), fetch, want(url, o.file)); err != nil {
		t.Errorf("with room again: %v", err)
	}
}

func TestTheQuotaHolds(t *testing.T) {
	t.Parallel()
	s, o, url, fetch, _ := begin(t, 600_000)
	if _, err := s.Pull(t.Context(), fetch, want(url, o.file)); err != nil {
		t.Fatal(err)
	}
	first := digestOf(o.file)
	o.file = infertest.TinyGGUF(2)
	if _, err := s.Pull(t.Context(), fetch, want(url, o.file)); abi.CodeOf(err) != abi.StorageFull || !strings.Contains(abi.HintOf(err), "arw model gc") {
		t.Errorf("above the quota: %v", err)
	}
	o.plain = true // also when the size is not announced
	if _, err := s.Pull(t.Context(), fetch, want(url, o.file)); abi.CodeOf(err) != abi.StorageFull {
		t.Errorf("above the quota by and by: %v", err)
	}
	if _, err := s.Import(t.Context(), bytes.NewReader(o.file), int64(len(o.file)), shelf.Manifest{}); abi.CodeOf(err) != abi.StorageFull {
		t.Errorf("imported above the quota: %v", err)
	}
	if gone, err := s.Sweep(func(d string) bool { return d == first }, 0); err != nil || len(gone) != 0 {
		t.Errorf("swept %+v, %v", gone, err)
	}
	if gone, err := s.Sweep(func(string) bool { return false }, time.Hour); err != nil || len(gone) != 0 {
		t.Errorf("swept within its grace: %+v, %v", gone, err)
	}
	if gone, err := s.Sweep(func(string) bool { return false }, 0); err != nil || len(gone) != 1 || s.Used() != 0 {
		t.Errorf("swept %+v, %v; %d bytes are left", gone, err, s.Used())
	}
	if _, err := s.Pull(t.Context(), fetch, want(url, o.file)); err != nil {
		t.Errorf("with room again: %v", err)
	}
}

// A file that rots or is exchanged is found before it is lent.
func TestAFileThatChangedIsNotGiven(t *testing.T) {
	t.Parallel()
	s, o, url, fetch, _ := begin(t, 0)
	m, err := s.Pull(t.Context(), fetch, want(url, o.file))
	if err != nil {
		t.Fatal(err)
	}
	name := s.Path(m.Digest)
	rotten := bytes.Clone(o.file)
	rotten[len(rotten)-9] ^= 1
	if err := os.Chmod(name, 0o600); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(name, rotten, 0o600); err != nil {
		t.Fatal(err)
	}
	if err := os.Chtimes(name, time.Now(), time.Now().Add(time.Second)); err != nil {
		t.Fatal(err)
	}
	if f, _, err := s.Prove(t.Context(), m.Digest); abi.CodeOf(err) != abi.DigestMismatch || f != nil {
		t.Errorf("rotten: %v", err)
	}
	if _, _, err := s.Prove(t.Context(), "sha256:"+strings.Repeat("0", 64)); abi.CodeOf(err) != abi.NotFound {
		t.Errorf("unknown: %v", err)
	}
}

// Two that bring the same file do not write over each other.
func TestOneBringsAFileAtATime(t *testing.T) {
	t.Parallel()
	s, o, url, fetch, _ := begin(t, 0)
	inside, goOn := make(chan struct{}), make(chan struct{})
	slow := func(ctx context.Context, url string, h http.Header) (*http.Response, error) {
		close(inside)
		<-goOn
		return fetch(ctx, url, h)
	}
	done := make(chan error, 1)
	go func() {
		_, err := s.Pull(t.Context(), slow, want(url, o.file))
		done <- err
	}()
	<-inside
	if _, err := s.Pull(t.Context(), fetch, want(url, o.file)); abi.CodeOf(err) != abi.Conflict {
		t.Errorf("the second: %v", err)
	}
	close(goOn)
	if err := <-done; err != nil {
		t.Errorf("the first: %v", err)
	}
}

// FuzzAnswers is here for what a server may say: no answer of it may make a pull panic, or keep what is not the file.
func FuzzAnswers(f *testing.F) {
	f.Add(206, "bytes 0-99/100", int64(100), "x")
	f.Add(206, "bytes 5-1/0", int64(-1), "")
	f.Add(200, "", int64(3), "much more")
	f.Add(404, "bytes */1", int64(0), "no")
	f.Fuzz(func(t *testing.T, status int, span string, length int64, body string) {
		s, err := shelf.Open(t.TempDir(), 1<<20)
		if err != nil {
			t.Fatal(err)
		}
		asked := 0
		fetch := func(context.Context, string, http.Header) (*http.Response, error) {
			if asked++; asked > 5 {
				return nil, abi.Errorf(abi.Unavailable, "enough")
			}
			h := http.Header{"Content-Range": {span}, "Etag": {`"a"`}}
			return &http.Response{StatusCode: status, Header: h, ContentLength: length, Body: io.NopCloser(strings.NewReader(body))}, nil
		}
		if _, err := s.Pull(t.Context(), fetch, shelf.Want{URL: "https://x/", Manifest: shelf.Manifest{Digest: digestOf([]byte("wanted"))}}); err == nil {
			t.Error("it was taken for the file")
		}
	})
}
