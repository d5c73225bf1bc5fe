package egress_test

import (
	"context"
	"fmt"
	"net/http"
	"net/netip"
	"os"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/arw-project/arw/abi"
	"github.com/arw-project/arw/host/internal/egress"
	"github.com/arw-project/arw/host/internal/netguard"
)

// hostile is one line of testdata/hostile.txt.
type hostile struct {
	line               int
	kind, want, target string
}

func readHostile(t testing.TB) []hostile {
	t.Helper()
	text, err := os.ReadFile("testdata/hostile.txt")
	if err != nil {
		t.Fatal(err)
	}
	var cases []hostile
	for i, line := range strings.Split(string(text), "\n") {
		f := strings.Split(line, "\t")
		if len(f) != 3 || strings.HasPrefix(line, "#") {
			if strings.TrimSpace(line) != "" && !strings.HasPrefix(line, "#") {
				t.Fatalf("hostile.txt:%d: %q", i+1, line)
			}
			continue
		}
		target, err := strconv.Unquote(`"` + strings.ReplaceAll(f[2], `"`, `\"`) + `"`)
		if err != nil {
			t.Fatalf("hostile.txt:%d: %v", i+1, err)
		}
		cases = append(cases, hostile{i + 1, f[0], strings.TrimPrefix(f[1], "-"), target})
	}
	return cases
}

// open is an Authority for whom a lease is no hindrance, odd ports aside: what is refused is refused by the guard.
type anything struct{}

func (anything) Permit(_ context.Context, target string, d netguard.Dest, _ int64) (egress.Permission, error) {
	if d.Port == 81 || d.Port == 8444 || d.Port == 9200 {
		return egress.Permission{}, abi.Errorf(abi.Denied, "use http on %q: it holds no lease for this", target)
	}
	return egress.Permission{}, nil
}

func (a anything) Would(ctx context.Context, target string, d netguard.Dest, n int64) (egress.Permission, error) {
	return a.Permit(ctx, target, d, n)
}

// hostileHouse is a world in which everything would answer: whoever gets as far as dialling has arrived.
func hostileHouse(t testing.TB) *house {
	h := open(t, t.TempDir(), func(c *egress.Config) { c.Limits.Pin = time.Nanosecond })
	redirector := http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if to := r.Header.Get("X-To"); to == "@loop" {
			w.Header().Set("Location", "/loop")
			w.WriteHeader(302)
		} else if to != "" && r.URL.Path == "/start" {
			w.Header()["Location"] = []string{to}
			w.WriteHeader(302)
		}
	})
	for _, address := range []string{"93.184.216.34", "2606:2800:220:1::1", "8.8.8.8", "64:ff9b::808:808"} {
		h.serve(t, "", address, false, redirector)
		h.serve(t, "", address, true, redirector)
	}
	h.servers["93.184.216.34:8443"] = h.servers["93.184.216.34:443"]
	for name, answer := range map[string]string{
		"api.example.com": "93.184.216.34", "other.example.com": "93.184.216.34", "xn--bcher-kva.example.com": "93.184.216.34", "six.example.com": "2606:2800:220:1::1",
		"both.example.com": "2606:2800:220:1::1 93.184.216.34", "nat64.example.com": "64:ff9b::808:808", "inside.example.net": "10.0.0.1",
	} {
		h.names[name] = []string{answer}
	}
	return h
}

// try puts one case to the guard and tells what came of it, and which addresses were dialled.
func (h *house) try(t testing.TB, c hostile) (error, []string) {
	t.Helper()
	h.world.mu.Lock()
	h.world.dialled = nil
	h.world.mu.Unlock()
	who := egress.Authority(anything{})
	req := egress.Request{URL: c.target}
	switch c.kind {
	case "url", "ok":
	case "header":
		name, value, _ := strings.Cut(c.target, ": ")
		req = egress.Request{URL: "https://api.example.com/", Header: http.Header{name: {value}}}
	case "name", "rebind":
		name := fmt.Sprintf("case-%d.example.net", c.line)
		if answer := strings.ReplaceAll(c.target, ",", " "); answer != "" {
			h.names[name] = []string{answer}
		}
		if c.kind == "rebind" {
			h.names[name] = append([]string{"93.184.216.34"}, h.names[name]...)
			h.servers["93.184.216.34:80"] = h.servers["93.184.216.34:80"]
			if _, _, err := h.fetch(t, who, egress.Request{URL: "http://" + name + "/"}); err != nil {
				t.Fatalf("the good answer before: %v", err)
			}
			h.world.dialled = nil
		}
		req.URL = "http://" + name + "/"
	case "redirect", "okredirect":
		req = egress.Request{URL: "https://api.example.com/start", Header: http.Header{"X-To": {c.target}}}
	case "connect", "okconnect":
		tunnel, err := h.Tunnel(context.Background(), caller, who, c.target)
		if err == nil {
			tunnel.Close()
		}
		return err, h.reached()
	default:
		t.Fatalf("hostile.txt:%d: kind %q", c.line, c.kind)
	}
	_, _, err := h.fetch(t, who, req)
	return err, h.reached()
}

// TestHostile is the corpus: nothing through, and every control reached.
func TestHostile(t *testing.T) {
	t.Parallel()
	h := hostileHouse(t)
	cases := readHostile(t)
	bad, through, controls := 0, 0, 0
	table := netguard.NewAddresses([]netip.Addr{netip.MustParseAddr("8.8.4.4")})
	for _, c := range cases {
		err, dialled := h.try(t, c)
		if strings.HasPrefix(c.kind, "ok") {
			if controls++; err != nil {
				t.Errorf("hostile.txt:%d: control %q was not reached: %v", c.line, c.target, err)
			}
			continue
		}
		bad++
		reached := err == nil
		for _, address := range dialled {
			ip, parseErr := netip.ParseAddrPort(address)
			reached = reached || parseErr != nil || !table.Judge(ip.Addr()).OK() || c.kind != "redirect" && c.kind != "rebind"
		}
		if reached {
			through++
			t.Errorf("hostile.txt:%d: %s %q got through to %q (%v)", c.line, c.kind, c.target, dialled, err)
		} else if got := reason(err); got != c.want {
			t.Errorf("hostile.txt:%d: %s %q: refused for %q (%v), want %q", c.line, c.kind, c.target, got, err, c.want)
		}
	}
	if bad < 150 {
		t.Errorf("only %d hostile destinations", bad)
	}
	t.Logf("%d hostile destinations, %d through; %d controls", bad, through, controls)
	// Whatever was refused is in the ledger with its reason.
	rows, err := h.Rows(context.Background(), egress.Query{Decision: "deny", Limit: 1000})
	if err != nil || len(rows) < bad {
		t.Errorf("%d rows of refusals for %d cases, %v", len(rows), bad, err)
	}
	for _, r := range rows {
		if r.Reason == "" || r.State != "denied" || r.Message == "" {
			t.Errorf("row: %+v", r)
		}
	}
}
