package host_test

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"net"
	"net/netip"
	"os"
	"os/exec"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"testing"

	"github.com/arw-project/arw/abi"
	"github.com/arw-project/arw/host"
	"github.com/arw-project/arw/host/hosttest"
	"github.com/arw-project/arw/host/internal/egress"
)

const inNetns = "ARW_TEST_IN_NETNS"

// TestNothingLeavesButThroughTheGuard runs a host in a network of its own in which every address there is leads to a canary:
// whatever reaches one was let out, whichever way it took. Nothing but what the guard allowed, and wrote down, may.
func TestNothingLeavesButThroughTheGuard(t *testing.T) {
	if os.Getenv(inNetns) != "" {
		t.Skip("this is the inner process")
	}
	if _, err := exec.LookPath("ip"); err != nil {
		t.Skip("skipped: the program ip (package iproute2) is not here, which sets up the network of the test")
	}
	cmd := exec.Command(os.Args[0], "-test.run=^TestInsideNetns$", "-test.v", "-test.timeout=5m")
	cmd.Env = append(os.Environ(), inNetns+"=1")
	cmd.SysProcAttr = &syscall.SysProcAttr{
		Cloneflags:  syscall.CLONE_NEWUSER | syscall.CLONE_NEWNET,
		UidMappings: []syscall.SysProcIDMap{{ContainerID: 0, HostID: os.Getuid(), Size: 1}},
		GidMappings: []syscall.SysProcIDMap{{ContainerID: 0, HostID: os.Getgid(), Size: 1}},
	}
	var out bytes.Buffer
	cmd.Stdout, cmd.Stderr = &out, &out
	if err := cmd.Start(); err != nil {
		t.Skipf("skipped: unprivileged user and network namespaces are not available here: %v", err)
	}
	err := cmd.Wait()
	if err != nil || !strings.Contains(out.String(), "--- PASS: TestInsideNetns") {
		t.Fatalf("inside the namespace: %v\n%s", err, out.String())
	}
	for line := range strings.Lines(out.String()) {
		if strings.Contains(line, "canary") {
			t.Log(strings.TrimSpace(line))
		}
	}
}

// canary notes every connection to every address.
type canary struct {
	mu  sync.Mutex
	got []string
}

func (c *canary) note(what string) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.got = append(c.got, what)
}

// take gives what was noted since.
func (c *canary) take() []string {
	c.mu.Lock()
	defer c.mu.Unlock()
	got := c.got
	c.got = nil
	return got
}

// listen answers on every address of the namespace.
func (c *canary) listen(t *testing.T) {
	t.Helper()
	for _, port := range []string{"22", "25", "53", "80", "443", "853", "6379", "8080", "8443"} {
		ln, err := net.Listen("tcp", "[::]:"+port)
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { ln.Close() })
		go func() {
			for {
				conn, err := ln.Accept()
				if err != nil {
					return
				}
				c.note("tcp " + conn.LocalAddr().String())
				fmt.Fprint(conn, "HTTP/1.1 200 OK\r\nConnection: close\r\nContent-Length: 6\r\n\r\ncanary")
				conn.Close()
			}
		}()
		pc, err := net.ListenPacket("udp", "[::]:"+port)
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { pc.Close() })
		go func() {
			buf := make([]byte, 2048)
			for {
				if _, _, err := pc.ReadFrom(buf); err != nil {
					return
				}
				c.note("udp " + pc.LocalAddr().String())
			}
		}()
	}
}

// answers is a resolver with the names of the test.
type answers map[string][]string

func (a answers) LookupNetIP(_ context.Context, _, name string) ([]netip.Addr, error) {
	var out []netip.Addr
	for _, text := range a[strings.TrimSuffix(name, ".")] {
		out = append(out, netip.MustParseAddr(text))
	}
	if out == nil {
		return nil, &net.DNSError{Err: "no such host", Name: name, IsNotFound: true}
	}
	return out, nil
}

func TestInsideNetns(t *testing.T) {
	if os.Getenv(inNetns) == "" {
		t.Skip("only TestNothingLeavesButThroughTheGuard starts it")
	}
	for _, line := range []string{"link set lo up", "route add local 0.0.0.0/0 dev lo", "-6 route add local ::/0 dev lo"} {
		if out, err := exec.Command("ip", strings.Fields(line)...).CombinedOutput(); err != nil {
			t.Fatalf("ip %s: %v %s", line, err, out)
		}
	}
	c := &canary{}
	c.listen(t)
	for _, address := range []string{"10.0.0.1:80", "169.254.169.254:80", "[fd00:ec2::254]:80", "93.184.216.34:443"} { // the canaries sing
		conn, err := net.Dial("tcp", address)
		if err != nil {
			t.Fatalf("dial %s: %v", address, err)
		}
		conn.Close()
	}
	hosttest.Eventually(t, "every canary was heard", func() bool {
		c.mu.Lock()
		defer c.mu.Unlock()
		return len(c.got) == 4
	})
	c.take()
	names := answers{"api.example.com": {"93.184.216.34"}}
	targets := hostileTargets(t, names)
	h := hosttest.New(t, hosttest.Options{Config: func(cfg *host.Config) {
		cfg.Egress.Resolver = names
		cfg.Egress.Own = func() []netip.Addr { return []netip.Addr{netip.MustParseAddr("8.8.4.4")} }
	}})
	h.Install(hosttest.Courier(t))
	h.Grant("test/courier", abi.HTTP, "GET https://*", "GET http://*", "GET wss://*")

	if out := h.MustCall("courier.fetch", `{"url":"http://api.example.com/"}`); !strings.Contains(out, "canary") {
		t.Fatalf("the control was not reached: %s", out)
	}
	got := c.take()
	rows, err := h.Services().Egress.Rows(t.Context(), egress.Query{State: "done", Limit: 1})
	if err != nil || len(got) != 1 || !strings.Contains(got[0], "93.184.216.34:80") || rows[0].Address != "93.184.216.34" {
		t.Fatalf("the control reached %q, and the ledger has %+v, %v", got, rows, err)
	}
	for _, address := range []string{"10.0.0.1:80", "127.0.0.1:80", "93.184.216.34:80", "169.254.169.254:80"} {
		if out := h.MustCall("courier.around", `{"url":"`+address+`"}`); out != "[]" {
			t.Errorf("around the host to %s: %s", address, out)
		}
	}
	if got := c.take(); len(got) > 0 {
		t.Errorf("around the host: %q", got)
	}
	for _, target := range targets {
		in, _ := json.Marshal(map[string]string{"url": target})
		a := h.Call("courier.fetch", string(in))
		if got := c.take(); a.Failure == nil || len(got) > 0 {
			t.Errorf("%q reached %q: %s", target, got, a.Output)
		}
	}
	t.Logf("%d hostile targets from inside a pack, no canary was heard", len(targets))
}

// hostileTargets are those of the guard's corpus that a guest can ask for, and names that lead where they should not.
func hostileTargets(t *testing.T, names answers) []string {
	t.Helper()
	text, err := os.ReadFile("internal/egress/testdata/hostile.txt")
	if err != nil {
		t.Fatal(err)
	}
	var targets []string
	for i, line := range strings.Split(string(text), "\n") {
		f := strings.Split(line, "\t")
		if len(f) != 3 {
			continue
		}
		target, err := strconv.Unquote(`"` + strings.ReplaceAll(f[2], `"`, `\"`) + `"`)
		if err != nil {
			t.Fatal(err)
		}
		switch f[0] {
		case "url":
			targets = append(targets, strings.ToValidUTF8(target, ""))
		case "name":
			name := fmt.Sprintf("case-%d.example.net", i)
			names[name] = strings.FieldsFunc(target, func(r rune) bool { return r == ',' })
			targets = append(targets, "http://"+name+"/")
		}
	}
	if len(targets) < 150 {
		t.Fatalf("only %d targets", len(targets))
	}
	return targets
}
