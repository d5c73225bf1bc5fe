package dnsguard_test

import (
	"context"
	"errors"
	"net"
	"net/netip"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/miekg/dns"

	"github.com/arw-project/arw/abi"
	"github.com/arw-project/arw/host/internal/dnsguard"
)

// port is one that is free in both protocols: the system gives one for each, and another test may have it in the other.
func port(t *testing.T) (net.PacketConn, net.Listener) {
	t.Helper()
	for {
		pc, err := net.ListenPacket("udp", "127.0.0.1:0")
		if err != nil {
			t.Fatal(err)
		}
		ln, err := net.Listen("tcp", pc.LocalAddr().String())
		if err == nil {
			return pc, ln
		}
		_ = pc.Close()
		if !errors.Is(err, syscall.EADDRINUSE) {
			t.Fatal(err)
		}
	}
}

// serve starts a server and gives its address.
func serve(t *testing.T, resolve dnsguard.Resolve, o dnsguard.Options) string {
	t.Helper()
	pc, ln := port(t)
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan error, 1)
	go func() { done <- dnsguard.New(resolve, o).Serve(ctx, pc, ln) }()
	t.Cleanup(func() {
		cancel()
		if err := <-done; err != nil {
			t.Error(err)
		}
	})
	return pc.LocalAddr().String()
}

func world(_ context.Context, _, name string) ([]netip.Addr, error) {
	switch name {
	case "both.example.com":
		return []netip.Addr{netip.MustParseAddr("93.184.216.34"), netip.MustParseAddr("2606:2800:220:1::1")}, nil
	case "inside.example.com":
		return nil, abi.Errorf(abi.Denied, "it leads inside")
	case "down.example.com":
		return nil, abi.Errorf(abi.Unavailable, "nobody answers")
	}
	return nil, abi.Errorf(abi.NotFound, "no such name")
}

func ask(t *testing.T, network, server, name string, qtype uint16) *dns.Msg {
	t.Helper()
	m := new(dns.Msg)
	m.SetQuestion(name, qtype)
	r, _, err := (&dns.Client{Net: network, Timeout: 5 * time.Second}).Exchange(m, server)
	if err != nil {
		t.Fatalf("%s %s: %v", network, name, err)
	}
	return r
}

func TestServer(t *testing.T) {
	t.Parallel()
	at := serve(t, world, dnsguard.Options{TTL: 7 * time.Second})
	for _, network := range []string{"udp", "tcp"} {
		for _, c := range []struct {
			name  string
			qtype uint16
			rcode int
			want  string
		}{
			{"both.example.com.", dns.TypeA, dns.RcodeSuccess, "93.184.216.34"},
			{"BOTH.example.com.", dns.TypeAAAA, dns.RcodeSuccess, "2606:2800:220:1::1"},
			{"both.example.com.", dns.TypeHTTPS, dns.RcodeSuccess, ""},
			{"both.example.com.", dns.TypeTXT, dns.RcodeSuccess, ""},
			{"both.example.com.", dns.TypeANY, dns.RcodeRefused, ""},
			{"inside.example.com.", dns.TypeA, dns.RcodeRefused, ""},
			{"none.example.com.", dns.TypeA, dns.RcodeNameError, ""},
			{"down.example.com.", dns.TypeA, dns.RcodeServerFailure, ""},
			{"odd\\@name.example.com.", dns.TypeA, dns.RcodeRefused, ""},
			{".", dns.TypeA, dns.RcodeRefused, ""},
		} {
			r := ask(t, network, at, c.name, c.qtype)
			got := ""
			for _, rr := range r.Answer {
				got += strings.TrimPrefix(rr.String(), rr.Header().String())
				if rr.Header().Ttl != 7 {
					t.Errorf("%s: ttl %d", c.name, rr.Header().Ttl)
				}
			}
			if r.Rcode != c.rcode || got != c.want {
				t.Errorf("%s %s %s: got %s %q, want %s %q", network, c.name, dns.TypeToString[c.qtype], dns.RcodeToString[r.Rcode], got, dns.RcodeToString[c.rcode], c.want)
			}
		}
	}
	conn, err := net.Dial("udp", at)
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	two := new(dns.Msg)
	two.SetQuestion("both.example.com.", dns.TypeA)
	two.Question = append(two.Question, two.Question[0])
	raw, _ := two.Pack()
	_, _ = conn.Write(raw)
	buf := make([]byte, 512)
	n, err := conn.Read(buf)
	got := new(dns.Msg)
	if err != nil || got.Unpack(buf[:n]) != nil || got.Rcode != dns.RcodeFormatError {
		t.Errorf("two questions: %v %v", got, err)
	}
}

func TestServerRate(t *testing.T) {
	t.Parallel()
	at := serve(t, world, dnsguard.Options{Rate: 3})
	refused := 0
	for range 20 {
		if ask(t, "udp", at, "both.example.com.", dns.TypeA).Rcode == dns.RcodeRefused {
			refused++
		}
	}
	if refused < 10 { // at most two seconds are touched
		t.Errorf("%d of 20 were refused", refused)
	}
}

func TestServerStaysOnLoopback(t *testing.T) {
	t.Parallel()
	pc, err := net.ListenPacket("udp", "0.0.0.0:0")
	if err != nil {
		t.Fatal(err)
	}
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	if err := dnsguard.New(world, dnsguard.Options{}).Serve(t.Context(), pc, ln); abi.CodeOf(err) != abi.Denied {
		t.Errorf("got %v", err)
	}
}
