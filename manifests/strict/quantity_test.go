package strict_test

import (
	"testing"
	"time"

	"github.com/arw-project/arw/manifests/strict"
)

func TestParseSize(t *testing.T) {
	t.Parallel()
	good := map[string]strict.Size{
		"0B": 0, "512B": 512, "64MiB": 64 << 20, "64 MiB": 64 << 20, "1kB": 1000, "2GB": 2e9, "1TiB": 1 << 40, "8191TiB": 8191 << 40,
	}
	for text, want := range good {
		if got, err := strict.ParseSize(text); err != nil || got != want {
			t.Errorf("%q: got %d, %v; want %d", text, got, err, want)
		}
	}
	for _, text := range []string{"", "64", "64M", "64mb", "-1B", "+1B", "1.5MiB", "MiB", "8192TiB", "99999999999999999999B", "1  KiB", "1_000B", "0x1B"} {
		if got, err := strict.ParseSize(text); err == nil {
			t.Errorf("%q: got %d, want an error", text, got)
		}
	}
}

func TestParseDuration(t *testing.T) {
	t.Parallel()
	good := map[string]time.Duration{
		"0s": 0, "250ms": 250 * time.Millisecond, "10s": 10 * time.Second, "1m30s": 90 * time.Second, "24h": 24 * time.Hour, "7d": 168 * time.Hour,
		"1d2h3m4s5ms": 26*time.Hour + 3*time.Minute + 4*time.Second + 5*time.Millisecond,
	}
	for text, want := range good {
		if got, err := strict.ParseDuration(text); err != nil || time.Duration(got) != want {
			t.Errorf("%q: got %v, %v; want %v", text, got, err, want)
		}
	}
	for _, text := range []string{"", "5", "h", "1.5h", "-1h", "1h1h", "1s1m", "1us", "1w", "106752d", "1h 2m", "99999999999999999999s", "1hé"} {
		if got, err := strict.ParseDuration(text); err == nil {
			t.Errorf("%q: got %v, want an error", text, time.Duration(got))
		}
	}
}

func TestQuantitiesPrintWhatTheyRead(t *testing.T) {
	t.Parallel()
	for _, size := range []strict.Size{0, 1, 1023, 1024, 3 << 20, 1<<40 + 1, 1<<53 - 1} {
		if got, err := strict.ParseSize(size.String()); err != nil || got != size {
			t.Errorf("%s: got %d, %v; want %d", size, got, err, size)
		}
	}
	for _, d := range []strict.Duration{0, strict.Duration(time.Millisecond), strict.Duration(90 * time.Minute), strict.Duration(1000 * time.Hour)} {
		if got, err := strict.ParseDuration(d.String()); err != nil || got != d {
			t.Errorf("%s: got %v, %v", d, time.Duration(got), err)
		}
	}
}
