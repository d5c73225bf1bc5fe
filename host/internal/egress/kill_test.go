package egress_test

import (
	"bufio"
	"context"
	"fmt"
	"net"
	"net/http"
	"os"
	"os/exec"
	"strings"
	"testing"

	"github.com/arw-project/arw/host/internal/egress"
)

const victimDir = "ARW_TEST_EGRESS_VICTIM"

// TestMain is also the victim of TestKill: a process that waits for an answer that does not come.
func TestMain(m *testing.M) {
	if os.Getenv(victimDir) == "" {
		os.Exit(m.Run())
	}
	os.Args = append(os.Args[:1], "-test.run=^TestVictim$")
	os.Exit(m.Run())
}

func TestVictim(t *testing.T) {
	dir := os.Getenv(victimDir)
	if dir == "" {
		t.Skip("only TestKill starts it")
	}
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	h := open(t, dir)
	h.servers["93.184.216.34:80"] = ln.Addr().String()
	h.names["api.example.com"] = []string{"93.184.216.34"}
	go func() {
		conn, err := ln.Accept()
		if err != nil {
			return
		}
		line, _ := bufio.NewReader(conn).ReadString('\n')
		fmt.Println("\nthe server saw", line) // the bytes have left, so the row must be there
		select {}
	}()
	_, _, _ = h.fetch(t, all, egress.Request{Method: http.MethodPost, URL: "http://api.example.com/x", Body: []byte("hello")})
}

// A host that is killed while a request is under way leaves a row that says so.
func TestKill(t *testing.T) {
	dir := t.TempDir()
	cmd := exec.Command(os.Args[0])
	cmd.Env = append(os.Environ(), victimDir+"="+dir)
	out, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	sent := false
	for lines := bufio.NewScanner(out); lines.Scan() && !sent; {
		sent = strings.HasPrefix(lines.Text(), "the server saw POST /x")
	}
	if err := cmd.Process.Kill(); err != nil {
		t.Error(err)
	}
	_ = cmd.Wait() // it was killed
	if !sent {
		t.Fatal("the victim sent nothing")
	}
	h := open(t, dir)
	rows, err := h.Rows(context.Background(), egress.Query{State: egress.StateUnknown})
	if err != nil || len(rows) != 1 {
		t.Fatalf("%+v, %v", rows, err)
	}
	if r := rows[0]; r.Method != "POST" || r.Host != "api.example.com" || r.Address != "93.184.216.34" || r.Announced != 5 || r.Payload == "" || r.Outcome != nil {
		t.Errorf("%+v", r)
	}
	if open, err := h.Rows(context.Background(), egress.Query{State: egress.StateOpen}); err != nil || len(open) != 0 {
		t.Errorf("open in this life: %+v, %v", open, err)
	}
}
