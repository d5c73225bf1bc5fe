package netguard_test

import (
	"bufio"
	"crypto/tls"
	"errors"
	"net"
	"net/http"
	"net/netip"
	"os"
	"strings"
	"testing"

	"github.com/arw-project/arw/host/internal/netguard"
)

// hello is what a client of the standard library says first.
func hello(t testing.TB, cfg *tls.Config) []byte {
	t.Helper()
	client, server := net.Pipe()
	got := make(chan []byte, 1)
	go func() {
		buf := make([]byte, 32<<10)
		n, _ := server.Read(buf)
		for need := 1; need > 0; {
			_, need, _ = netguard.ParseHello(buf[:n])
			if need > 0 {
				m, err := server.Read(buf[n:])
				if err != nil {
					break
				}
				n += m
			}
		}
		got <- buf[:n]
		server.Close()
	}()
	_ = tls.Client(client, cfg).Handshake() // it fails: nobody answers
	return <-got
}

func TestHello(t *testing.T) {
	t.Parallel()
	raw := hello(t, &tls.Config{ServerName: "API.Example.com", NextProtos: []string{"h2", "http/1.1"}})
	before := string(raw)
	h, need, err := netguard.ParseHello(raw)
	if err != nil || need != 0 || h.ServerName != "api.example.com" || len(h.Protocols) != 2 || h.Protocols[0] != "h2" {
		t.Fatalf("%+v, %d, %v", h, need, err)
	}
	if string(raw) != before {
		t.Error("reading it changed it")
	}
	for n := range raw {
		if _, need, err := netguard.ParseHello(raw[:n]); err != nil || need <= 0 || n+need > len(raw) {
			t.Fatalf("%d of %d bytes: need %d, %v", n, len(raw), need, err)
		}
	}
	// The same in records of 100 bytes.
	var pieces []byte
	for body := raw[5:]; len(body) > 0; {
		n := min(100, len(body))
		pieces = append(append(pieces, 22, 3, 1, 0, byte(n)), body[:n]...)
		body = body[n:]
	}
	if h, need, err := netguard.ParseHello(pieces); err != nil || need != 0 || h.ServerName != "api.example.com" {
		t.Errorf("in pieces: %+v, %d, %v", h, need, err)
	}
	if h, _, err := netguard.ParseHello(hello(t, &tls.Config{InsecureSkipVerify: true})); err != nil || h.ServerName != "" {
		t.Errorf("without a name: %+v, %v", h, err)
	}
	for name, b := range map[string]string{"http": "GET / HTTP/1.1\r\n\r\n", "ssh": "SSH-2.0-x\r\n", "alert": "\x15\x03\x01\x00\x02\x02\x28", "server hello": "\x16\x03\x01\x00\x04\x02\x00\x00\x00", "empty record": "\x16\x03\x01\x00\x00"} {
		if _, need, err := netguard.ParseHello([]byte(b)); err == nil || need != 0 {
			t.Errorf("%s: need %d, %v", name, need, err)
		}
	}
}

func TestCheckHello(t *testing.T) {
	t.Parallel()
	name, _ := netguard.ParseAuthority("api.example.com:443")
	ip, _ := netguard.ParseAuthority("93.184.216.34:443")
	for _, c := range []struct {
		d    netguard.Dest
		says string
		ok   bool
	}{{name, "api.example.com", true}, {name, "evil.example.com", false}, {name, "", false}, {name, "api.example.com.", false}, {ip, "", true}, {ip, "api.example.com", false}} {
		if err := netguard.CheckHello(c.d, netguard.Hello{ServerName: c.says}); (err == nil) != c.ok {
			t.Errorf("%s asks for %q: %v", c.d.Host, c.says, err)
		}
	}
}

// Every prefix of the table refuses its first and last address, and its neighbours are what the table says of them.
func TestEveryPrefixOfTheTable(t *testing.T) {
	t.Parallel()
	text, err := os.ReadFile("special.txt")
	if err != nil {
		t.Fatal(err)
	}
	a, rows := netguard.NewAddresses(nil), 0
	for line := range strings.Lines(string(text)) {
		f := strings.Fields(line)
		if len(f) == 0 || f[0] == "#" {
			continue
		}
		rows++
		p := netip.MustParsePrefix(f[0])
		if p != p.Masked() {
			t.Errorf("%s is not in its plain form", p)
		}
		last := p.Addr().AsSlice()
		for bit := p.Bits(); bit < len(last)*8; bit++ {
			last[bit/8] |= 0x80 >> (bit % 8)
		}
		end, _ := netip.AddrFromSlice(last)
		for _, ip := range []netip.Addr{p.Addr(), end} {
			if j := a.Judge(ip); j.OK() && f[0] != "64:ff9b::/96" {
				t.Errorf("%s of %s is %+v", ip, p, j)
			}
		}
	}
	if rows < 55 {
		t.Errorf("only %d rows", rows)
	}
	for ip, want := range map[string]netguard.Class{
		"1.1.1.1": netguard.Public, "9.255.255.255": netguard.Public, "11.0.0.0": netguard.Public, "100.63.255.255": netguard.Public, "100.128.0.0": netguard.Public,
		"126.255.255.255": netguard.Public, "128.0.0.0": netguard.Public, "172.15.255.255": netguard.Public, "172.32.0.0": netguard.Public, "223.255.255.255": netguard.Public,
		"168.63.129.15": netguard.Public, "168.63.129.17": netguard.Public, "192.0.1.0": netguard.Public, "198.17.255.255": netguard.Public, "198.20.0.0": netguard.Public,
		"2606:4700::1111": netguard.Public, "2001:200::1": netguard.Public, "2001:4860:4860::8888": netguard.Public, "2a00::1": netguard.Public, "3ffd::1": netguard.Public,
		"64:ff9b::8.8.8.8": netguard.Public, "64:ff9b::10.0.0.1": netguard.Private, "::ffff:8.8.8.8": netguard.Wrapped, "::ffff:127.0.0.1": netguard.Loopback,
		"2002:808:808::1": netguard.Wrapped, "2606:4700::5efe:8.8.8.8": netguard.Wrapped, "1fff::1": netguard.Reserved, "4000::1": netguard.Reserved,
	} {
		if j := a.Judge(netip.MustParseAddr(ip)); j.Class != want {
			t.Errorf("%s is %+v, want %s", ip, j, want)
		}
	}
	if j := a.Judge(netip.MustParseAddr("fe80::1%eth0")); j.OK() {
		t.Errorf("with a zone: %+v", j)
	}
	if j := a.Judge(netip.Addr{}); j.OK() {
		t.Errorf("no address: %+v", j)
	}
}

func TestOwnAddresses(t *testing.T) {
	t.Parallel()
	a := netguard.NewAddresses([]netip.Addr{netip.MustParseAddr("8.8.4.4"), netip.MustParseAddr("192.168.1.5"), netip.MustParseAddr("127.0.0.1"), netip.MustParseAddr("2606:4700::1")})
	for ip, want := range map[string]netguard.Class{
		"8.8.4.4": netguard.Self, "8.8.8.8": netguard.Public, "192.168.1.5": netguard.Self, "192.168.1.6": netguard.Private, "127.0.0.1": netguard.Loopback,
		"2606:4700::1": netguard.Self, "::ffff:8.8.4.4": netguard.Self, "64:ff9b::8.8.4.4": netguard.Self,
	} {
		if j := a.Judge(netip.MustParseAddr(ip)); j.Class != want {
			t.Errorf("%s is %+v, want %s", ip, j, want)
		}
	}
}

func TestCheckCIDR(t *testing.T) {
	t.Parallel()
	a := netguard.NewAddresses(nil)
	for text, ok := range map[string]bool{
		"10.0.0.0/8": true, "10.1.2.0/24": true, "127.0.0.0/8": true, "127.0.0.1/32": true, "192.168.7.0/24": true, "fd12:3456::/32": true, "fe80::/10": true, "100.64.0.0/16": true,
		"0.0.0.0/0": false, "10.0.0.0/7": false, "169.254.169.254/32": false, "168.63.129.16/32": false, "8.8.8.0/24": false, "::/0": false, "fd00:ec2::254/128": false,
		"224.0.0.0/8": false, "2002::/16": false, "::ffff:10.0.0.0/104": false, "10.0.0.1/8": false, "10.0.0.0": false, "": false, "64:ff9b::/96": false,
	} {
		if _, err := a.CheckCIDR(text); (err == nil) != ok {
			t.Errorf("%q: %v", text, err)
		}
	}
}

func TestRegistrable(t *testing.T) {
	t.Parallel()
	for host, want := range map[string]string{
		"a.b.example.co.uk": "example.co.uk", "example.com": "example.com", "com": "com", "a.github.io": "a.github.io", "x.a.github.io": "a.github.io",
		"1.2.3.4": "1.2.3.4", "[::1]": "[::1]", "": "", "a.example": "a.example",
	} {
		if got := netguard.Registrable(host); got != want {
			t.Errorf("%q: got %q, want %q", host, got, want)
		}
	}
	if !netguard.PublicSuffix("co.uk") || netguard.PublicSuffix("example.co.uk") {
		t.Error("public suffixes")
	}
}

func TestDestination(t *testing.T) {
	t.Parallel()
	for raw, want := range map[string]string{
		"HTTPS://API.Example.COM:443/a?b#c": "https://api.example.com/a?b", "http://example.com": "http://example.com/", "http://example.com:8080/x": "http://example.com:8080/x",
		"https://bücher.example.com/ä?q=ä": "https://xn--bcher-kva.example.com/%C3%A4?q=%C3%A4", "wss://example.com./s": "wss://example.com/s", "http://[2606:4700:0::1]/": "http://[2606:4700::1]/",
		"https://example.com?x": "https://example.com/?x",
	} {
		d, err := netguard.Parse(raw)
		if err != nil || d.String() != want {
			t.Errorf("%q: got %q, %v, want %q", raw, d, err, want)
		}
	}
	d, _ := netguard.Parse("https://example.com/a/b?c")
	if d.Target() != "https://example.com:443/a/b" || d.Origin() != "https://example.com:443" {
		t.Errorf("%s %s", d.Target(), d.Origin())
	}
}

func TestCredentialsAndPorts(t *testing.T) {
	t.Parallel()
	for _, name := range []string{"Authorization", "cookie", "X-Api-Key", "x-goog-api-key", "PRIVATE-TOKEN", "X-Session-Id", "Referer", "X-Amz-Security-Token"} {
		if !netguard.Credential(name) {
			t.Errorf("%s would go along", name)
		}
	}
	for _, name := range []string{"Accept", "Content-Type", "User-Agent", "If-None-Match", "Range"} {
		if netguard.Credential(name) {
			t.Errorf("%s would not go along", name)
		}
	}
	for port, never := range map[uint16]bool{22: true, 25: true, 6379: true, 10080: true, 80: false, 443: false, 8080: false, 8443: false, 3000: false} {
		if netguard.NeverPort(port) != never {
			t.Errorf("port %d", port)
		}
	}
	if err := netguard.CheckResolver(netguard.Dest{Host: "a.dns.google", Port: 443}, http.Header{}); err == nil {
		t.Error("a name below a resolver's")
	}
}

// FuzzParse: what is read reads back as itself, leads to no special place by its spelling, and refuses with a reason.
func FuzzParse(f *testing.F) {
	file, err := os.Open("../egress/testdata/hostile.txt")
	if err != nil {
		f.Fatal(err)
	}
	defer file.Close()
	for s := bufio.NewScanner(file); s.Scan(); {
		if parts := strings.Split(s.Text(), "\t"); len(parts) == 3 {
			f.Add(parts[2])
		}
	}
	f.Fuzz(func(t *testing.T, raw string) {
		d, err := netguard.Parse(raw)
		if err != nil {
			if r, ok := errors.AsType[*netguard.Refusal](err); !ok || r.Reason == "" {
				t.Fatalf("%q: %v has no reason", raw, err)
			}
			return
		}
		again, err := netguard.Parse(d.String())
		if err != nil || again != d {
			t.Fatalf("%q reads as %q, which reads as %+v, %v", raw, d, again, err)
		}
		if u, err := http.NewRequest("GET", d.String(), nil); err != nil || u.URL.Hostname() != strings.Trim(d.Host, "[]") || u.URL.User != nil || u.URL.EscapedPath() != d.Path {
			t.Fatalf("%q: the standard library reads %v, %v", d, u, err)
		}
		if ip, err := netip.ParseAddr(strings.Trim(d.Host, "[]")); (err == nil) != d.IP.IsValid() || err == nil && ip != d.IP {
			t.Fatalf("%q: address %v, %v", d, d.IP, err)
		}
		if strings.Contains(d.Path+"/", "/../") {
			t.Fatalf("%q climbs", d)
		}
	})
}

func FuzzAuthority(f *testing.F) {
	for _, s := range []string{"api.example.com:443", "[::1]:443", "1.2.3.4:80", "x@y:1", "a:b:c"} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, raw string) {
		d, err := netguard.ParseAuthority(raw)
		if err != nil {
			return
		}
		host, port, err := net.SplitHostPort(raw)
		if err != nil || port == "" || d.Port == 0 {
			t.Fatalf("%q is read as %+v, the standard library says %q %q %v", raw, d, host, port, err)
		}
		again, err := netguard.ParseAuthority(d.Host + ":" + port)
		if err != nil || again != d {
			t.Fatalf("%q reads as %+v, which reads as %+v, %v", raw, d, again, err)
		}
	})
}

// FuzzRedirect: whatever a server answers, a redirect leads to a destination that Parse would read too.
func FuzzRedirect(f *testing.F) {
	for _, s := range []string{"/x", "//other.example.com/", "https://x@y/", `\\127.0.0.1\`, "../../x", "?q", "javascript:x", "https:x"} {
		f.Add(s)
	}
	base, err := netguard.Parse("https://api.example.com/a/b")
	if err != nil {
		f.Fatal(err)
	}
	f.Fuzz(func(t *testing.T, location string) {
		d, err := base.Redirect(location)
		if err != nil {
			return
		}
		if again, err := netguard.Parse(d.String()); err != nil || again != d || !d.TLS() {
			t.Fatalf("%q leads to %q, which reads as %+v, %v", location, d, again, err)
		}
	})
}

// FuzzHello: nothing panics, nothing is wanted without end, and the bytes are not changed.
func FuzzHello(f *testing.F) {
	f.Add(hello(f, &tls.Config{ServerName: "api.example.com"}))
	f.Add([]byte("\x16\x03\x01\x00\x04\x01\x00\x00\x00"))
	f.Fuzz(func(t *testing.T, raw []byte) {
		before := string(raw)
		h, need, err := netguard.ParseHello(raw)
		if need < 0 || need > 1<<14+5 || err != nil && need != 0 || string(raw) != before {
			t.Fatalf("%+v, need %d, %v", h, need, err)
		}
	})
}
