package egress_test

import (
	"context"
	"encoding/base64"
	"fmt"
	"io"
	"net"
	"net/http"
	"testing"
	"time"

	"github.com/arw-project/arw/host/internal/egress"
)

// FuzzProxy: whatever is said to the proxy, with a good token or with none, it goes on, and nothing is dialled but the one place that the token
// covers, at its ports.
func FuzzProxy(f *testing.F) {
	for _, seed := range [][3]string{
		{"GET", "http://api.example.com/x", ""},
		{"GET", "http://api.example.com:80/x?y#z", "Host: 127.0.0.1\r\nConnection: host, x\r\nX: y\r\n"},
		{"CONNECT", "api.example.com:443", ""},
		{"CONNECT", "inside.example.com:443", "Host: api.example.com:443\r\n"},
		{"CONNECT", "[::1]:443", ""},
		{"CONNECT", "api.example.com:443@127.0.0.1:443", ""},
		{"GET", "http://inside.example.com/", "Transfer-Encoding: chunked\r\n\r\n0\r\n\r\nGET http://127.0.0.1/ HTTP/1.1\r\n"},
		{"POST", "http://api.example.com/", "Content-Length: 3\r\n\r\nabcGET http://inside.example.com/ HTTP/1.1\r\nHost: a\r\n"},
		{"GET", "//127.0.0.1/", "Proxy-Authorization: Bearer arwe_guess\r\n"},
		{"GET", "http://api.example.com\\@127.0.0.1/", ""},
		{"GET", "https://api.example.com/", "Upgrade: websocket\r\nConnection: Upgrade\r\n"},
		{"OPTIONS", "*", ""},
	} {
		f.Add(seed[0], seed[1], seed[2], true)
		f.Add(seed[0], seed[1], seed[2], false)
	}
	h := open(f, f.TempDir())
	h.serve(f, "api.example.com", "93.184.216.34", false, http.HandlerFunc(echo))
	h.names["inside.example.com"] = []string{"127.0.0.1"}
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		f.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan error, 1)
	go func() { done <- h.ServeProxy(ctx, ln) }()
	f.Cleanup(func() { cancel(); <-done })
	_, secret, err := h.Issue(ctx, operator, egress.Token{Actor: "process:test", Scope: []string{"GET http://api.example.com", "CONNECT https://api.example.com"}})
	if err != nil {
		f.Fatal(err)
	}
	f.Fuzz(func(t *testing.T, method, target, rest string, known bool) {
		conn, err := net.Dial("tcp", ln.Addr().String())
		if err != nil {
			t.Fatalf("the proxy is gone: %v", err)
		}
		defer conn.Close()
		_ = conn.SetDeadline(time.Now().Add(20 * time.Second))
		auth := ""
		if known {
			auth = "Proxy-Authorization: Basic " + base64.StdEncoding.EncodeToString([]byte("arw:"+secret)) + "\r\n"
		}
		_, _ = fmt.Fprintf(conn, "%s %s HTTP/1.1\r\nHost: api.example.com\r\n%s%s\r\n\r\n", method, target, auth, rest)
		_ = conn.(*net.TCPConn).CloseWrite()
		_, _ = io.Copy(io.Discard, conn)
		h.world.mu.Lock()
		defer h.world.mu.Unlock()
		for _, address := range h.dialled {
			if address != "93.184.216.34:80" && address != "93.184.216.34:443" || !known {
				t.Fatalf("%q %q %q (token %v) reached %s", method, target, rest, known, address)
			}
		}
		h.dialled = nil
	})
}
