package egress_test

import (
	"context"
	"errors"
	"io"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/coder/websocket"

	"github.com/arw-project/arw/abi"
	"github.com/arw-project/arw/host/internal/egress"
)

func TestClient(t *testing.T) {
	t.Parallel()
	h := open(t, t.TempDir())
	h.serve(t, "api.example.com", "93.184.216.34", true, http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.URL.Path == "/go" {
			http.Redirect(w, r, "https://inside.example.com/", http.StatusFound)
			return
		}
		echo(w, r)
	}))
	h.names["inside.example.com"] = []string{"10.0.0.1"}
	c := h.Client(egress.Caller{Actor: "host"}, all)
	resp, err := c.Post("https://api.example.com/x", "text/plain", strings.NewReader("hello"))
	if err != nil {
		t.Fatal(err)
	}
	got, err := io.ReadAll(resp.Body)
	resp.Body.Close()
	if err != nil || string(got) != "POST api.example.com /x||hello" || resp.StatusCode != 200 {
		t.Errorf("%d %q, %v", resp.StatusCode, got, err)
	}
	_, err = c.Get("https://api.example.com/go")
	if e, ok := errors.AsType[*abi.Error](err); !ok || e.Detail.(egress.Denial).Reason != "address" {
		t.Errorf("behind a redirect: %v", err)
	}
	if rows, err := h.Rows(context.Background(), egress.Query{State: "open"}); err != nil || len(rows) > 0 {
		t.Errorf("open: %+v, %v", rows, err)
	}
}

// A server that never closes its side holds nobody up.
func TestSocketClosesInTime(t *testing.T) {
	t.Parallel()
	h := open(t, t.TempDir())
	gone := make(chan struct{})
	h.serve(t, "api.example.com", "93.184.216.34", true, http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		c, err := websocket.Accept(w, r, nil)
		if err != nil {
			return
		}
		<-gone // it reads nothing, not even the close
		_ = c.CloseNow()
	}))
	defer close(gone)
	s, err := h.Connect(context.Background(), caller, all, egress.Request{URL: "wss://api.example.com/"})
	if err != nil {
		t.Fatal(err)
	}
	start := time.Now()
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
	if took := time.Since(start); took > 3*time.Second { // the library alone waits five
		t.Errorf("it took %s", took)
	}
	for _, url := range []string{"https://api.example.com/", "ws://10.0.0.1/", "wss://localhost/", "wss://api.example.com/../x", "wss://u@api.example.com/"} {
		if s, err := h.Connect(context.Background(), caller, anything{}, egress.Request{URL: url}); err == nil {
			s.Close()
			t.Errorf("%s was opened", url)
		}
	}
}

// Bounds: the answer's head in time, and its body within its size.
func TestBounds(t *testing.T) {
	t.Parallel()
	h := open(t, t.TempDir())
	gone := make(chan struct{})
	h.serve(t, "api.example.com", "93.184.216.34", true, http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		switch r.URL.Path {
		case "/silent":
			select {
			case <-gone:
			case <-r.Context().Done():
			}
		case "/large":
			_, _ = w.Write(make([]byte, 100_000))
		case "/head":
			w.Header().Set("X-Large", strings.Repeat("x", 100_000))
		}
	}))
	defer close(gone)
	for _, c := range []struct {
		path string
		req  egress.Request
		want abi.Code
	}{
		{"/silent", egress.Request{Timeout: 50 * time.Millisecond}, abi.Deadline},
		{"/large", egress.Request{Max: 50_000}, abi.TooLarge},
		{"/large", egress.Request{Max: 100_000}, abi.OK},
		{"/head", egress.Request{}, abi.Unavailable},
	} {
		c.req.URL = "https://api.example.com" + c.path
		if _, _, err := h.fetch(t, all, c.req); abi.CodeOf(err) != c.want {
			t.Errorf("%s: %v, want %v", c.path, err, c.want)
		}
	}
	ctx, cancel := context.WithCancel(context.Background())
	x, err := h.Open(ctx, caller, all, egress.Request{URL: "https://api.example.com/silent"})
	if err != nil {
		t.Fatal(err)
	}
	time.AfterFunc(20*time.Millisecond, cancel)
	if _, err := x.Response(ctx); abi.CodeOf(err) != abi.Cancelled {
		t.Errorf("a caller that went away: %v", err)
	}
	x.Close()
	rows, err := h.Rows(context.Background(), egress.Query{State: "failed"})
	if err != nil || len(rows) != 4 {
		t.Errorf("%d rows failed, %v", len(rows), err)
	}
}
