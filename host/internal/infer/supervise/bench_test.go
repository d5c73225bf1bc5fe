package supervise_test

import (
	"bufio"
	"bytes"
	"context"
	"io"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/arw-project/arw/host/internal/infer"
)

// BenchmarkOverhead compares an answer of a real llama-server through the host's whole path with the same request sent to its
// socket by hand, in turns. It reports medians: time to the first token of both, and time per token of both.
func BenchmarkOverhead(b *testing.B) {
	bench, w := real(b, nil)
	l, err := bench.Lend(b.Context(), w)
	if err != nil {
		b.Fatal(err)
	}
	defer l.Release()
	dirs, _ := filepath.Glob(filepath.Join(bench.dir, "run", "r*"))
	key, err := os.ReadFile(filepath.Join(dirs[0], "key"))
	if err != nil {
		b.Fatal(err)
	}
	direct := &http.Transport{DisableKeepAlives: true, DialContext: func(ctx context.Context, _, _ string) (net.Conn, error) {
		return (&net.Dialer{}).DialContext(ctx, "unix", filepath.Join(dirs[0], "s.sock"))
	}}
	const tokens = 200
	var first, each [2][]float64
	for b.Loop() {
		for way, run := range []func() (time.Duration, time.Duration){
			func() (time.Duration, time.Duration) {
				return byHand(b, direct, strings.TrimSpace(string(key)), tokens)
			},
			func() (time.Duration, time.Duration) { return through(b, bench, l.Model, tokens) },
		} {
			ttft, rest := run()
			first[way] = append(first[way], float64(ttft.Nanoseconds()))
			each[way] = append(each[way], float64(rest.Nanoseconds())/(tokens-1))
		}
	}
	median := func(v []float64) float64 { slices.Sort(v); return v[len(v)/2] }
	b.ReportMetric(median(first[0]), "direct-ns/first")
	b.ReportMetric(median(first[1]), "host-ns/first")
	b.ReportMetric(median(each[0]), "direct-ns/token")
	b.ReportMetric(median(each[1]), "host-ns/token")
	b.ReportMetric(100*(median(each[1])/median(each[0])-1), "%overhead/token")
}

// byHand reads the stream's lines and nothing more.
func byHand(b *testing.B, t http.RoundTripper, key string, tokens int) (first, rest time.Duration) {
	body := `{"model":"model","prompt":"The quick brown fox","max_tokens":200,"stream":true,"stream_options":{"include_usage":true},"seed":7,"temperature":0,"cache_prompt":true}`
	req, err := http.NewRequestWithContext(b.Context(), "POST", "http://x/v1/completions", strings.NewReader(body))
	if err != nil {
		b.Fatal(err)
	}
	req.Header.Set("Authorization", "Bearer "+key)
	req.Header.Set("Content-Type", "application/json")
	began := time.Now()
	resp, err := t.RoundTrip(req)
	if err != nil {
		b.Fatal(err)
	}
	defer resp.Body.Close()
	for r := bufio.NewReader(resp.Body); ; {
		line, err := r.ReadBytes('\n')
		if err == io.EOF {
			return first, time.Since(began) - first
		}
		if err != nil {
			b.Fatal(err)
		}
		if first == 0 && bytes.HasPrefix(line, []byte("data:")) {
			first = time.Since(began)
		}
	}
}

func through(b *testing.B, s *bench, m infer.Model, tokens int) (first, rest time.Duration) {
	zero, seed := 0.0, int64(7)
	began := time.Now()
	for _, err := range infer.Generate(b.Context(), m, &infer.Request{Prompt: infer.Prompt{Text: "The quick brown fox"}, MaxTokens: tokens, Params: infer.Params{Seed: &seed, Temperature: &zero}}) {
		if err != nil {
			b.Fatal(err)
		}
		if first == 0 {
			first = time.Since(began)
		}
	}
	return first, time.Since(began) - first
}
