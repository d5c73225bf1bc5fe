package dnsguard_test

import (
	"fmt"
	"math/rand/v2"
	"strings"
	"testing"
	"time"

	"github.com/arw-project/arw/host/internal/dnsguard"
)

var start = time.Date(2026, 1, 1, 0, 0, 0, 0, time.UTC)

// told is the reasons of what a detector tells of a list of questions, a second apart.
func told(d *dnsguard.Detector, every time.Duration, names ...string) string {
	var out []string
	for i, name := range names {
		_, list := d.Question(start.Add(time.Duration(i)*every), "pack:a/b", name)
		for _, a := range list {
			out = append(out, string(a.Reason))
		}
	}
	return strings.Join(out, " ")
}

func many(n int, format string) []string {
	out := make([]string, n)
	for i := range out {
		out[i] = fmt.Sprintf(format, i)
	}
	return out
}

// data is n labels as a program would write them that carries data out.
func data(n, size int) []string {
	const letters = "abcdefghijklmnopqrstuvwxyz234567"
	dice := rand.New(rand.NewPCG(1, 2))
	out := make([]string, n)
	for i := range out {
		b := make([]byte, size)
		for j := range b {
			b[j] = letters[dice.IntN(len(letters))]
		}
		out[i] = string(b) + ".t.example.com"
	}
	return out
}

func TestQuestions(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		name  string
		every time.Duration
		names []string
		want  string
	}{
		{"ordinary names", time.Second, []string{"www.example.com", "api.example.com", "d111111abcdef8.cloudfront.net", "ec2-203-0-113-25.compute-1.amazonaws.com", "example.co.uk"}, ""},
		{"one long label", time.Second, []string{strings.Repeat("a", 53) + ".example.com"}, "long_label"},
		{"labels like data, once told", 10 * time.Millisecond, data(20, 32), "entropy_burst"},
		{"two labels like data are no burst", time.Second, data(2, 32), ""},
		{"labels like data, far apart", 11 * time.Second, data(10, 32), ""},
		{"short labels", 100 * time.Millisecond, data(20, 12), ""},
		{"many names of one domain", 50 * time.Millisecond, many(80, "n%d.example.com"), "fanout"},
		{"the same name often", 50 * time.Millisecond, many(80, "www.example.com%.0d"), ""},
		{"many questions in a second", time.Millisecond, many(60, "www.example.com%.0d"), "qps_spike"},
		{"told again after a minute", 31 * time.Second, []string{strings.Repeat("a", 53) + ".example.com", strings.Repeat("b", 53) + ".example.com", strings.Repeat("c", 53) + ".example.com"}, "long_label long_label"},
	} {
		if got := told(dnsguard.NewDetector(dnsguard.Thresholds{}), c.every, c.names...); got != c.want {
			t.Errorf("%s: got %q, want %q", c.name, got, c.want)
		}
	}
	d := dnsguard.NewDetector(dnsguard.Thresholds{})
	for i, name := range data(10, 32) { // odd for as long as it lasts, also when it was told
		if odd, _ := d.Question(start, "x", name); (odd == dnsguard.Entropy) != (i >= 2) {
			t.Errorf("question %d: %q", i, odd)
		}
	}
}

func TestAnswers(t *testing.T) {
	t.Parallel()
	d := dnsguard.NewDetector(dnsguard.Thresholds{})
	if a := d.Answer(start, "x", "a.example.com", true, true); len(a) > 0 {
		t.Errorf("a public answer: %+v", a)
	}
	if a := d.Answer(start, "x", "a.example.com", true, false); len(a) != 1 || a[0].Reason != dnsguard.Rebinding || a[0].Severity != "error" {
		t.Errorf("inside after public: %+v", a)
	}
	if a := d.Answer(start, "x", "b.example.net", true, false); len(a) != 1 || a[0].Reason != dnsguard.Inside {
		t.Errorf("inside: %+v", a)
	}
	n := 0
	for i := range 30 {
		n += len(d.Answer(start, "x", fmt.Sprintf("n%d.example.org", i), false, false))
	}
	if n != 1 {
		t.Errorf("30 names that do not exist: told %d times", n)
	}
}

// A detector that sees ever new askers and names does not grow.
func TestMemoryIsBounded(t *testing.T) {
	t.Parallel()
	d := dnsguard.NewDetector(dnsguard.Thresholds{})
	for i := range 50_000 {
		who, name := fmt.Sprint("w", i), fmt.Sprintf("n%d.d%d.com", i, i)
		d.Question(start, who, name)
		d.Answer(start, who, name, true, true)
	}
	if n := d.Kept(); n > 6*4096 {
		t.Errorf("it keeps %d things", n)
	}
}
