package reach_test

import (
	"strings"
	"testing"

	"github.com/arw-project/arw/manifests/reach"
)

func TestParseRefuses(t *testing.T) {
	t.Parallel()
	for _, text := range []string{
		"", "https", "example.com", "ftp://example.com", "HTTPS://example.com", "get https://example.com", "GET,GET https://example.com",
		"GET, POST https://example.com", ",GET https://example.com", "* GET https://example.com", "GET,* https://example.com", "GET  https://example.com",
		"https://", "https:///path", "https://Example.com", "https://exämple.com", "https://example..com", "https://.example.com", "https://example.com.",
		"https://-a.com", "https://a-.com", "https://a_b.com", "https://ex*mple.com", "https://*example.com", "https://*.*.com", "https://*.10.0.0.1",
		"https://a.*.com", "https://127.1", "https://010.0.0.1", "https://1.2.3.4.5", "https://[::1", "https://[::FFFF:1.2.3.4]", "https://[0:0::1]", "https://[fe80::1%25lo]",
		"https://user@example.com", "https://example.com:", "https://example.com:0", "https://example.com:0443", "https://example.com:65536", "https://example.com:*",
		"https://example.com/*", "https://example.com/a/../b", "https://example.com/a?b=c", "https://example.com/#x", "https://example.com/a b", "https://example.com/ä",
		"https://" + strings.Repeat("a", 64) + ".com",
	} {
		if e, err := reach.Parse(text); err == nil {
			t.Errorf("%q is read as %+v", text, e)
		}
	}
}

func TestCovers(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		entry, target string
		want          bool
	}{
		{"https://api.example.com", "GET https://api.example.com:443/", true},
		{"https://api.example.com", "HEAD https://api.example.com:443/any/path", true},
		{"https://api.example.com", "POST https://api.example.com:443/", false},
		{"HEAD https://api.example.com", "GET https://api.example.com:443/", false},
		{"POST https://api.example.com", "HEAD https://api.example.com:443/", false},
		{"https://api.example.com", "GET http://api.example.com:443/", false},
		{"https://api.example.com", "GET https://api.example.com:8443/", false},
		{"https://api.example.com:8443", "GET https://api.example.com:8443/", true},
		{"https://api.example.com", "GET https://www.api.example.com:443/", false},
		{"https://api.example.com", "GET https://api.example.com.evil.net:443/", false},
		{"https://api.example.com", "GET https://xapi.example.com:443/", false},
		{"POST https://api.example.com", "GET https://api.example.com:443/", false},
		{"POST,PUT https://api.example.com", "PUT https://api.example.com:443/", true},
		{"* https://api.example.com", "DELETE https://api.example.com:443/", true},
		{"https://api.example.com/v1", "GET https://api.example.com:443/v1", true},
		{"https://api.example.com/v1", "GET https://api.example.com:443/v1/x", true},
		{"https://api.example.com/v1/", "GET https://api.example.com:443/v1/x", true},
		{"https://api.example.com/v1", "GET https://api.example.com:443/v10", false},
		{"https://api.example.com/v1", "GET https://api.example.com:443/", false},
		{"https://*.example.com", "GET https://a.example.com:443/", true},
		{"https://*.example.com", "GET https://a.b.example.com:443/", true},
		{"https://*.example.com", "GET https://example.com:443/", false},
		{"https://*.example.com", "GET https://.example.com:443/", false},
		{"https://*.example.com", "GET https://badexample.com:443/", false},
		{"https://*", "GET https://anything.net:443/", true},
		{"https://*", "GET https://93.184.216.34:443/", false},
		{"https://*", "GET https://[2606:2800::1]:443/", false},
		{"https://93.184.216.34", "GET https://93.184.216.34:443/", true},
		{"https://[2606:2800::1]", "GET https://[2606:2800::1]:443/", true},
		{"wss://api.example.com", "GET wss://api.example.com:443/socket", true},
		{"wss://api.example.com", "GET https://api.example.com:443/socket", false},
		{"CONNECT https://api.example.com", "CONNECT https://api.example.com:443/", true},
		{"https://api.example.com", "CONNECT https://api.example.com:443/", false},
	} {
		e, err := reach.Parse(c.entry)
		if err != nil {
			t.Fatal(err)
		}
		target, ok := reach.ParseTarget(c.target)
		if !ok {
			t.Fatalf("%q is no target", c.target)
		}
		if got := e.Covers(&target); got != c.want {
			t.Errorf("%q covers %q: got %v, want %v", c.entry, c.target, got, c.want)
		}
	}
	for _, text := range []string{"", "GET", "GET https", "GET https://x", "GET https://x/", "https://x:1/", "GET https://:1/", "GET https://x:/"} {
		if target, ok := reach.ParseTarget(text); ok {
			t.Errorf("%q is read as %+v", text, target)
		}
	}
}

func TestWithin(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		asked, wanted string
		want          bool
	}{
		{"https://*", "https://api.example.com/v1", true},
		{"https://*", "https://*.example.com", true},
		{"https://*", "https://*", true},
		{"https://*", "https://10.0.0.1", false},
		{"https://*", "http://api.example.com", false},
		{"https://*", "https://api.example.com:8443", false},
		{"https://*", "POST https://api.example.com", false},
		{"* https://*", "POST https://api.example.com", true},
		{"GET,POST https://*", "POST https://api.example.com", true},
		{"GET,POST https://*", "https://api.example.com", true},
		{"GET https://*", "HEAD https://api.example.com", true},
		{"HEAD https://*", "https://api.example.com", false},
		{"POST https://*", "HEAD https://api.example.com", false},
		{"POST https://*", "* https://api.example.com", false},
		{"https://*.example.com", "https://*.api.example.com", true},
		{"https://*.example.com", "https://*.example.com", true},
		{"https://*.example.com", "https://*", false},
		{"https://*.example.com", "https://example.com", false},
		{"https://*.example.com", "https://a.example.com", true},
		{"https://*.api.example.com", "https://*.example.com", false},
		{"https://api.example.com", "https://*.example.com", false},
		{"https://api.example.com/v1", "https://api.example.com/v1/x", true},
		{"https://api.example.com/v1", "https://api.example.com", false},
		{"https://api.example.com/v1", "https://api.example.com/v10", false},
	} {
		asked, err := reach.Parse(c.asked)
		if err != nil {
			t.Fatal(err)
		}
		wanted, err := reach.Parse(c.wanted)
		if err != nil {
			t.Fatal(err)
		}
		if got := asked.Within(&wanted); got != c.want {
			t.Errorf("%q within %q: got %v, want %v", c.wanted, c.asked, got, c.want)
		}
	}
}

// FuzzReach holds the two relations together: whatever an entry inside another covers, the other covers too.
func FuzzReach(f *testing.F) {
	f.Add("https://*", "https://api.example.com/v1", "GET https://api.example.com:443/v1/x")
	f.Add("* http://*.example.com:8080", "POST http://a.example.com:8080/p", "POST http://a.example.com:8080/p")
	f.Add("wss://[2001:db8::1]", "wss://[2001:db8::1]/a", "GET wss://[2001:db8::1]:443/a")
	f.Fuzz(func(t *testing.T, asked, wanted, text string) {
		a, errA := reach.Parse(asked)
		w, errW := reach.Parse(wanted)
		target, ok := reach.ParseTarget(text)
		if errA == nil {
			again, err := reach.Parse(a.String())
			if err != nil || !a.Within(&again) || !again.Within(&a) {
				t.Fatalf("%q does not read back as itself: %v", asked, err)
			}
		}
		if errA == nil && errW == nil && ok && a.Within(&w) && w.Covers(&target) && !a.Covers(&target) {
			t.Fatalf("%q lies within %q, but %q is covered by it alone", wanted, asked, text)
		}
	})
}
