package strict

import (
	"fmt"
	"math"
	"strconv"
	"strings"
	"time"
)

// Size is a number of bytes, written as an integer or as "64MiB": digits and one of B, KiB, MiB, GiB, TiB (powers of
// 1,024) or kB, MB, GB, TB (powers of 1,000). It is never negative and never above 2^53-1, so that JSON can carry it.
type Size int64

// Duration is a span of time, written as "1h30m": whole numbers with the units d, h, m, s, ms in this order, each at
// most once. A bare number is refused, since nobody can tell its unit. It is never negative.
type Duration time.Duration

// maxExact is the largest integer that every JSON reader holds exactly.
const maxExact = 1<<53 - 1

var sizeUnits = []struct {
	name  string
	bytes int64
}{
	{"KiB", 1 << 10}, {"MiB", 1 << 20}, {"GiB", 1 << 30}, {"TiB", 1 << 40},
	{"kB", 1e3}, {"MB", 1e6}, {"GB", 1e9}, {"TB", 1e12}, {"B", 1},
}

// UnmarshalTOML implements Unmarshaler.
func (s *Size) UnmarshalTOML(value any) error {
	switch v := value.(type) {
	case int64:
		if v < 0 || v > maxExact {
			return fmt.Errorf("expected a size from 0 to %d bytes, found %d", int64(maxExact), v)
		}
		*s = Size(v)
		return nil
	case string:
		size, err := ParseSize(v)
		*s = size
		return err
	}
	return fmt.Errorf(`expected a size such as "64MiB" or a number of bytes, found %s`, Describe(value))
}

// ParseSize reads a size in words. See Size for the grammar.
func ParseSize(text string) (Size, error) {
	for _, unit := range sizeUnits {
		digits, ok := strings.CutSuffix(text, unit.name)
		if !ok {
			continue
		}
		n, err := whole(strings.TrimSuffix(digits, " "))
		if err != nil || n > maxExact/unit.bytes {
			break
		}
		return Size(n * unit.bytes), nil
	}
	return 0, fmt.Errorf(`expected a size such as "64MiB", found %q (whole numbers; units B, KiB, MiB, GiB, TiB, kB, MB, GB, TB)`, text)
}

// String is the shortest exact form: "64MiB".
func (s Size) String() string {
	for _, unit := range []int{3, 2, 1, 0} {
		if u := sizeUnits[unit]; s > 0 && int64(s)%u.bytes == 0 {
			return strconv.FormatInt(int64(s)/u.bytes, 10) + u.name
		}
	}
	return strconv.FormatInt(int64(s), 10) + "B"
}

var durationUnits = []struct {
	name string
	span time.Duration
}{
	{"d", 24 * time.Hour}, {"h", time.Hour}, {"m", time.Minute}, {"s", time.Second}, {"ms", time.Millisecond},
}

// UnmarshalTOML implements Unmarshaler.
func (d *Duration) UnmarshalTOML(value any) error {
	text, ok := value.(string)
	if !ok {
		return fmt.Errorf(`expected a duration such as "24h", found %s`, Describe(value))
	}
	span, err := ParseDuration(text)
	*d = span
	return err
}

// ParseDuration reads a duration in words. See Duration for the grammar.
func ParseDuration(text string) (Duration, error) {
	bad := fmt.Errorf(`expected a duration such as "24h" or "1m30s", found %q (whole numbers; units d, h, m, s, ms)`, text)
	rest, total, next := text, time.Duration(0), 0
	for rest != "" {
		end := strings.IndexFunc(rest, func(r rune) bool { return r < '0' || r > '9' })
		if end <= 0 {
			return 0, bad
		}
		n, err := whole(rest[:end])
		if err != nil {
			return 0, bad
		}
		rest = rest[end:]
		word := rest
		if i := strings.IndexAny(rest, "0123456789"); i >= 0 {
			word = rest[:i]
		}
		rest = rest[len(word):]
		for next < len(durationUnits) && durationUnits[next].name != word {
			next++
		}
		if next == len(durationUnits) || n > int64((math.MaxInt64-total)/durationUnits[next].span) {
			return 0, bad
		}
		total += time.Duration(n) * durationUnits[next].span
		next++
	}
	if text == "" {
		return 0, bad
	}
	return Duration(total), nil
}

// String is the form the grammar reads back: "1h30m".
func (d Duration) String() string {
	var b strings.Builder
	rest := time.Duration(d)
	for _, unit := range durationUnits {
		if n := rest / unit.span; n > 0 {
			fmt.Fprintf(&b, "%d%s", n, unit.name)
			rest -= n * unit.span
		}
	}
	if b.Len() == 0 {
		return "0s"
	}
	return b.String()
}

func whole(digits string) (int64, error) {
	n, err := strconv.ParseUint(digits, 10, 63)
	return int64(n), err
}
