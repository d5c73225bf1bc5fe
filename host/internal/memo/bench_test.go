package memo_test

import (
	"bytes"
	"io"
	"net/http"
	"net/http/httptest"
	"sync/atomic"
	"testing"

	"github.com/arw-project/arw/host/internal/memo"
)

// BenchmarkHit is one answer of 300 bytes from memory, key included, and beside it the same cache asked over loopback HTTP
// with a kept connection: what a cache in a process of its own would cost.
func BenchmarkHit(b *testing.B) {
	k := open(b, b.TempDir(), memo.Options{})
	var runs atomic.Int64
	text := `"` + string(bytes.Repeat([]byte("x"), 300)) + `"`
	input := `{"query":"how do packs get their leases","limit":10,"fields":["title","url"]}`
	c := call(key(input), &runs, text)
	if _, _, err := k.Do(b.Context(), c); err != nil {
		b.Fatal(err)
	}
	b.Run("memory", func(b *testing.B) {
		b.ReportAllocs()
		for b.Loop() {
			if _, o, err := k.Do(b.Context(), c); err != nil || o != memo.Hit {
				b.Fatal(o, err)
			}
		}
	})
	srv := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		in, _ := io.ReadAll(r.Body)
		v, _, err := k.Do(r.Context(), call(key(string(in)), &runs, text))
		if err != nil {
			w.WriteHeader(http.StatusInternalServerError)
		}
		_, _ = w.Write(v.Body)
	}))
	defer srv.Close()
	b.Run("loopback-http", func(b *testing.B) {
		for b.Loop() {
			res, err := srv.Client().Post(srv.URL, "application/json", bytes.NewReader([]byte(input)))
			if err != nil {
				b.Fatal(err)
			}
			if _, err := io.Copy(io.Discard, res.Body); err != nil || res.StatusCode != http.StatusOK {
				b.Fatal(res.Status, err)
			}
			res.Body.Close()
		}
	})
}
