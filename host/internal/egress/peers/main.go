// Command peers puts the guard's corpus of hostile destinations to the guard and to public libraries of its kind, and prints what
// each let through as a table. It is a module of its own, so that their requirements are not ours.
//
// It runs in a network namespace in which every address there is leads to a canary: "reached" is a connection that a canary
// heard at an address that is no public place, or on a port that is not 80 or 443. What a library refuses by form (paths, headers,
// user names in front of a public host) is not counted against the others. Linux with unprivileged user namespaces, and ip(8).
package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/netip"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"time"

	"code.dny.dev/ssrf"
	"github.com/doyensec/safeurl"
	"github.com/miekg/dns"

	"github.com/arw-project/arw/abi"
	"github.com/arw-project/arw/host/internal/db"
	"github.com/arw-project/arw/host/internal/egress"
	"github.com/arw-project/arw/host/internal/journal"
	"github.com/arw-project/arw/host/internal/netguard"
	"github.com/arw-project/arw/host/internal/view"
)

const inside = "ARW_PEERS_INSIDE"

func main() {
	if err := run(); err != nil {
		fmt.Fprintln(os.Stderr, "peers:", err)
		os.Exit(1)
	}
}

func run() error {
	if len(os.Args) != 2 {
		return errors.New("usage: peers CORPUS; with PEERS_LIST=1 every case that got through is named")
	}
	if os.Getenv(inside) == "" {
		return outside()
	}
	for _, line := range []string{"link set lo up", "route add local 0.0.0.0/0 dev lo", "-6 route add local ::/0 dev lo"} {
		if out, err := exec.Command("ip", strings.Fields(line)...).CombinedOutput(); err != nil {
			return fmt.Errorf("ip %s: %w %s", line, err, out)
		}
	}
	cases, err := read(os.Args[1])
	if err != nil {
		return err
	}
	w, err := newWorld(cases)
	if err != nil {
		return err
	}
	return w.table(cases)
}

// outside starts the program again in a namespace of its own.
func outside() error {
	cmd := exec.Command(os.Args[0], os.Args[1:]...)
	cmd.Env, cmd.Stdout, cmd.Stderr = append(os.Environ(), inside+"=1"), os.Stdout, os.Stderr
	cmd.SysProcAttr = &syscall.SysProcAttr{
		Cloneflags:  syscall.CLONE_NEWUSER | syscall.CLONE_NEWNET,
		UidMappings: []syscall.SysProcIDMap{{HostID: os.Getuid(), Size: 1}}, GidMappings: []syscall.SysProcIDMap{{HostID: os.Getgid(), Size: 1}},
	}
	return cmd.Run()
}

type hostile struct {
	line         int
	kind, target string
}

func (c hostile) name() string { return fmt.Sprintf("case-%d.example.net", c.line) }

// read takes the destinations of the corpus: what is refused for other reasons than where it leads is left out.
func read(file string) ([]hostile, error) {
	text, err := os.ReadFile(file)
	if err != nil {
		return nil, err
	}
	var cases []hostile
	for i, line := range strings.Split(string(text), "\n") {
		f := strings.Split(line, "\t")
		if len(f) != 3 {
			continue
		}
		target, err := strconv.Unquote(`"` + strings.ReplaceAll(f[2], `"`, `\"`) + `"`)
		if err != nil {
			return nil, err
		}
		switch f[0] {
		case "url", "name", "rebind", "redirect", "ok":
			if target != "" && !strings.Contains(target, ":8443") {
				cases = append(cases, hostile{i + 1, f[0], target})
			}
		}
	}
	return cases, nil
}

// world is the namespace: a resolver, and canaries.
type world struct {
	mu      sync.Mutex
	answers map[string][]string // in turn, the last one stays
	heard   []netip.AddrPort
	special *netguard.Addresses
}

func newWorld(cases []hostile) (*world, error) {
	w := &world{special: netguard.NewAddresses([]netip.Addr{netip.MustParseAddr("8.8.4.4")})}
	w.reset(cases)
	for _, port := range []string{"22", "25", "53", "80", "81", "443", "853", "2049", "6379", "8080", "8444", "9200", "11211"} {
		ln, err := net.Listen("tcp", "[::]:"+port)
		if err != nil {
			return nil, err
		}
		go http.Serve(listener{ln, w}, http.HandlerFunc(answer))
	}
	pc, err := net.ListenPacket("udp", "127.0.0.1:5399")
	if err != nil {
		return nil, err
	}
	go (&dns.Server{PacketConn: pc, Handler: dns.HandlerFunc(w.resolve)}).ActivateAndServe()
	net.DefaultResolver.PreferGo = true
	net.DefaultResolver.Dial = func(ctx context.Context, _, _ string) (net.Conn, error) {
		return (&net.Dialer{}).DialContext(ctx, "udp", "127.0.0.1:5399")
	}
	return w, nil
}

// reset makes rebinding names begin anew for every candidate.
func (w *world) reset(cases []hostile) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.answers = map[string][]string{"api.example.com": {"93.184.216.34"}, "other.example.com": {"93.184.216.34"}, "xn--bcher-kva.example.com": {"93.184.216.34"},
		"six.example.com": {"2606:2800:220:1::1"}, "both.example.com": {"2606:2800:220:1::1,93.184.216.34"}, "nat64.example.com": {"64:ff9b::808:808"}, "inside.example.net": {"10.0.0.1"},
		"localtest.me": {"127.0.0.1"}, "127.0.0.1.nip.io": {"127.0.0.1"}, "10-0-0-1.sslip.io": {"10.0.0.1"}, "a.lvh.me": {"127.0.0.1"}, "metadata.google.internal": {"169.254.169.254"},
		"intranet": {"10.0.0.1"}, "metadata": {"169.254.169.254"}, "printer.local": {"192.168.1.9"}, "nas.lan": {"192.168.1.5"}, "localhost.localdomain": {"127.0.0.1"}}
	for _, c := range cases {
		switch c.kind {
		case "name":
			w.answers[c.name()] = []string{c.target}
		case "rebind":
			w.answers[c.name()] = []string{"93.184.216.34", c.target}
		}
	}
}

func (w *world) resolve(out dns.ResponseWriter, m *dns.Msg) {
	r := new(dns.Msg)
	r.SetReply(m)
	q := m.Question[0]
	name := strings.ToLower(strings.TrimSuffix(q.Name, "."))
	w.mu.Lock()
	answers := w.answers[name]
	if len(answers) > 1 && q.Qtype == dns.TypeA { // a lookup asks for both types; one of them turns the answer
		w.answers[name] = answers[1:]
	}
	w.mu.Unlock()
	if len(answers) == 0 {
		r.Rcode = dns.RcodeNameError
	} else {
		for _, text := range strings.Split(answers[0], ",") {
			ip := netip.MustParseAddr(text)
			head := dns.RR_Header{Name: q.Name, Rrtype: q.Qtype, Class: dns.ClassINET}
			if ip.Is4() && q.Qtype == dns.TypeA {
				r.Answer = append(r.Answer, &dns.A{Hdr: head, A: ip.AsSlice()})
			} else if ip.Is6() && q.Qtype == dns.TypeAAAA {
				r.Answer = append(r.Answer, &dns.AAAA{Hdr: head, AAAA: ip.AsSlice()})
			}
		}
	}
	_ = out.WriteMsg(r)
}

// listener notes the address at which a connection arrived.
type listener struct {
	net.Listener
	w *world
}

func (l listener) Accept() (net.Conn, error) {
	conn, err := l.Listener.Accept()
	if err == nil {
		at, _ := netip.ParseAddrPort(conn.LocalAddr().String())
		l.w.mu.Lock()
		l.w.heard = append(l.w.heard, netip.AddrPortFrom(at.Addr().Unmap(), at.Port()))
		l.w.mu.Unlock()
	}
	return conn, err
}

func answer(w http.ResponseWriter, r *http.Request) {
	switch to := r.Header.Get("X-To"); {
	case r.URL.Path == "/loop" || to == "@loop":
		w.Header().Set("Location", "/loop")
		w.WriteHeader(302)
	case to != "" && r.URL.Path == "/start":
		w.Header()["Location"] = []string{to}
		w.WriteHeader(302)
	}
}

// reached tells whether a canary heard what it should not.
func (w *world) reached() bool {
	w.mu.Lock()
	defer w.mu.Unlock()
	bad := false
	for _, at := range w.heard {
		bad = bad || !w.special.Judge(at.Addr()).OK() || at.Port() != 80 && at.Port() != 443
	}
	w.heard = nil
	return bad
}

// candidate makes one request.
type candidate struct {
	name string
	do   func(url string, header http.Header) error
	skip func(hostile) bool
}

func client(c *http.Client) func(string, http.Header) error {
	return func(url string, header http.Header) error {
		req, err := http.NewRequest("GET", url, nil)
		if err != nil {
			return err
		}
		req.Header = header
		resp, err := c.Do(req)
		if err == nil {
			_, _ = io.Copy(io.Discard, resp.Body)
			resp.Body.Close()
		}
		return err
	}
}

func candidates() ([]candidate, error) {
	guard, err := ours()
	if err != nil {
		return nil, err
	}
	safe := ssrf.New()
	zones := func(c hostile) bool { return strings.Contains(c.target, "%25") }
	wrapped := func(six bool) func(string, http.Header) error {
		c := safeurl.Client(safeurl.GetConfigBuilder().EnableIPv6(six).SetTimeout(3 * time.Second).Build())
		return func(url string, header http.Header) error {
			req, err := http.NewRequest("GET", url, nil)
			if err != nil {
				return err
			}
			req.Header = header
			resp, err := c.Do(req)
			if err == nil {
				resp.Body.Close()
			}
			return err
		}
	}
	return []candidate{
		{"net/http, no guard", client(&http.Client{Timeout: 3 * time.Second, Transport: &http.Transport{DisableKeepAlives: true}}), nil},
		{"code.dny.dev/ssrf 0.3.0 in the dialer", client(&http.Client{Timeout: 3 * time.Second, Transport: &http.Transport{DisableKeepAlives: true,
			DialContext: (&net.Dialer{Control: safe.Safe}).DialContext}}), nil},
		{"safeurl 0.2.2", wrapped(false), zones},
		{"safeurl 0.2.2, IPv6 enabled", wrapped(true), zones},
		{"this guard", guard, nil},
	}, nil
}

// usual is a lease for every host on the usual ports, which are all that the libraries allow too: what else is refused, the guard
// refuses.
type usual struct{}

func (usual) Permit(_ context.Context, target string, d netguard.Dest, _ int64) (egress.Permission, error) {
	if d.Port != 80 && d.Port != 443 {
		return egress.Permission{}, abi.Errorf(abi.Denied, "no lease covers %q", target)
	}
	return egress.Permission{}, nil
}

func (u usual) Would(ctx context.Context, target string, d netguard.Dest, n int64) (egress.Permission, error) {
	return u.Permit(ctx, target, d, n)
}

func ours() (func(string, http.Header) error, error) {
	dir, err := os.MkdirTemp("", "arw-peers-")
	if err != nil {
		return nil, err
	}
	ctx := context.Background()
	d, err := db.Open(ctx, filepath.Join(dir, "arw.db"), []db.Migration{{Owner: "journal", Steps: journal.Schema}, {Owner: "view", Steps: view.Schema}, {Owner: "egress", Steps: egress.Schema}})
	if err != nil {
		return nil, err
	}
	j, err := journal.Open(ctx, d)
	if err != nil {
		return nil, err
	}
	g, err := egress.Open(ctx, d, j, view.Open(d, j), egress.Config{Resolver: net.DefaultResolver, Limits: egress.Limits{Pin: time.Nanosecond},
		Own: func() []netip.Addr { return []netip.Addr{netip.MustParseAddr("8.8.4.4")} }})
	if err != nil {
		return nil, err
	}
	return func(url string, header http.Header) error {
		x, err := g.Open(ctx, egress.Caller{Actor: "agent:peers"}, usual{}, egress.Request{URL: url, Header: header})
		if err != nil {
			return err
		}
		defer x.Close()
		_, err = x.Response(ctx)
		return err
	}, nil
}

func (w *world) table(cases []hostile) error {
	list, err := candidates()
	if err != nil {
		return err
	}
	bad, controls := 0, 0
	for _, c := range cases {
		if c.kind == "ok" {
			controls++
		} else {
			bad++
		}
	}
	fmt.Printf("| guard | reached, of %d | controls refused, of %d | not tried: it crashes |\n|---|---|---|---|\n", bad, controls)
	for _, one := range list {
		w.reset(cases)
		w.reached()
		through, refused, skipped := 0, 0, 0
		for _, c := range cases {
			if one.skip != nil && one.skip(c) {
				skipped++
				continue
			}
			err := w.try(one, c)
			switch hit := w.reached(); {
			case c.kind == "ok" && err != nil:
				refused++
			case c.kind != "ok" && hit:
				through++
				if os.Getenv("PEERS_LIST") != "" {
					fmt.Fprintf(os.Stderr, "%s: %s %q\n", one.name, c.kind, c.target)
				}
			}
		}
		fmt.Printf("| %s | %d | %d | %d |\n", one.name, through, refused, skipped)
	}
	return nil
}

// try puts one case to a candidate. Everything is plain HTTP: what listens behind port 443 is a canary all the same.
func (w *world) try(one candidate, c hostile) error {
	switch c.kind {
	case "name":
		return one.do("http://"+c.name()+"/", http.Header{})
	case "rebind":
		if err := one.do("http://"+c.name()+"/", http.Header{}); err != nil {
			return err
		}
		w.reached()
		return one.do("http://"+c.name()+"/", http.Header{})
	case "redirect":
		return one.do("http://api.example.com/start", http.Header{"X-To": {c.target}})
	case "ok":
		return one.do(strings.Replace(strings.Replace(c.target, "https://", "http://", 1), ":443/", "/", 1), http.Header{})
	}
	return one.do(c.target, http.Header{})
}
