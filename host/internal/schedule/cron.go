package schedule

import (
	"strconv"
	"strings"
	"time"

	"github.com/arw-project/arw/abi"
)

// cron is a parsed expression: a bit for every minute, hour, day of the month, month and day of the week it names.
type cron struct {
	minute, hour, day, month, week uint64
	anyDay, anyWeek                bool // the field is *: then the other decides alone; else either is enough
	zone                           *time.Location
}

// field is one of the five.
type field struct {
	name      string
	low, high int
	words     []string // for low, low+1, …
}

var fields = [5]field{
	{"minute", 0, 59, nil}, {"hour", 0, 23, nil}, {"day of the month", 1, 31, nil},
	{"month", 1, 12, []string{"jan", "feb", "mar", "apr", "may", "jun", "jul", "aug", "sep", "oct", "nov", "dec"}},
	{"day of the week", 0, 7, []string{"sun", "mon", "tue", "wed", "thu", "fri", "sat"}},
}

var nicknames = map[string]string{
	"@hourly": "0 * * * *", "@daily": "0 0 * * *", "@weekly": "0 0 * * 0", "@monthly": "0 0 1 * *", "@yearly": "0 0 1 1 *",
}

// maxCron bounds an expression, in bytes.
const maxCron = 256

// parseCron reads the five fields: *, numbers, names, ranges, lists and steps. Invalid, with the field at fault.
func parseCron(text string, zone *time.Location) (*cron, error) {
	if len(text) > maxCron {
		return nil, abi.Errorf(abi.Invalid, "read cron expression: it has %d bytes, limit %d", len(text), maxCron)
	}
	full := text
	if long, ok := nicknames[text]; ok {
		full = long
	}
	parts := strings.Fields(full)
	if len(parts) != len(fields) {
		return nil, abi.Errorf(abi.Invalid, "read cron expression %q: it has %d fields, not 5", text, len(parts)).
			WithHint(`write "minute hour day month weekday", such as "30 6 * * mon-fri", or @hourly, @daily, @weekly, @monthly, @yearly`)
	}
	c := &cron{zone: zone, anyDay: strings.HasPrefix(parts[2], "*"), anyWeek: strings.HasPrefix(parts[4], "*")}
	for i, into := range []*uint64{&c.minute, &c.hour, &c.day, &c.month, &c.week} {
		bits, err := fields[i].parse(strings.ToLower(parts[i]))
		if err != nil {
			return nil, abi.Errorf(abi.Invalid, "read cron expression %q: %w", text, err)
		}
		*into = bits
	}
	if c.week&(1<<7) != 0 { // Sunday is 0 and 7
		c.week = c.week&^(1<<7) | 1
	}
	if c.next(time.Date(2024, 1, 1, 0, 0, 0, 0, zone)).IsZero() {
		return nil, abi.Errorf(abi.Invalid, "read cron expression %q: that day never comes", text)
	}
	return c, nil
}

// parse reads one field.
func (f field) parse(text string) (bits uint64, err error) {
	for item := range strings.SplitSeq(text, ",") {
		span, stepText, stepped := strings.Cut(item, "/")
		step := 1
		if stepped {
			if step, err = strconv.Atoi(stepText); err != nil || step < 1 || step > f.high {
				return 0, abi.Errorf(abi.Invalid, "%s %q: the step %q is no number from 1 to %d", f.name, item, stepText, f.high)
			}
		}
		low, high := f.low, f.high
		if span != "*" {
			from, to, ranged := strings.Cut(span, "-")
			if low, err = f.value(from); err != nil {
				return 0, err
			}
			switch {
			case ranged:
				if high, err = f.value(to); err != nil {
					return 0, err
				}
			case !stepped:
				high = low
			}
			if high < low {
				return 0, abi.Errorf(abi.Invalid, "%s %q: it ends before it begins", f.name, item)
			}
		} else if f.high == 7 {
			high = 6
		}
		for v := low; v <= high; v += step {
			bits |= 1 << v
		}
	}
	return bits, nil
}

func (f field) value(text string) (int, error) {
	for i, w := range f.words {
		if text == w {
			return f.low + i, nil
		}
	}
	v, err := strconv.Atoi(text)
	if err != nil || v < f.low || v > f.high || strings.ContainsAny(text, "+-") {
		return 0, abi.Errorf(abi.Invalid, "%s %q is not from %d to %d", f.name, text, f.low, f.high)
	}
	return v, nil
}

// horizon is how far ahead a tick is looked for: 29 February on a given weekday comes within 40 years.
const horizon = 41 * 366 * 24 * time.Hour

// next is the first tick behind after; zero when there is none within the horizon. Where the clocks go forward, what would have
// come in the hour that is left out comes at its end; where they go back, what names its hours comes once.
func (c *cron) next(after time.Time) time.Time {
	t := after.In(c.zone).Truncate(time.Minute).Add(time.Minute)
	for end := t.Add(horizon); t.Before(end); {
		if !c.onDay(t) && !c.gap(t) {
			day := time.Date(t.Year(), t.Month(), t.Day()+1, 0, 0, 0, 0, c.zone)
			if !day.After(t) {
				day = t.Add(time.Hour)
			}
			t = day
			continue
		}
		if c.at(t) && !c.repeated(t) || c.gap(t) {
			return t.UTC()
		}
		t = t.Add(time.Minute)
	}
	return time.Time{}
}

func (c *cron) onDay(t time.Time) bool {
	if c.month&(1<<int(t.Month())) == 0 {
		return false
	}
	day, week := c.day&(1<<t.Day()) != 0, c.week&(1<<int(t.Weekday())) != 0
	switch {
	case c.anyDay:
		return week
	case c.anyWeek:
		return day
	}
	return day || week
}

func (c *cron) at(t time.Time) bool {
	return c.minute&(1<<t.Minute()) != 0 && c.hour&(1<<t.Hour()) != 0 && c.onDay(t)
}

const everyHour = 1<<24 - 1

// repeated reports whether the clocks went back and the same minute of the day was there already, for an expression that names hours.
func (c *cron) repeated(t time.Time) bool {
	if c.hour == everyHour {
		return false
	}
	_, now := t.Zone()
	_, before := t.Add(-time.Hour).Zone()
	shift := time.Duration(before-now) * time.Second
	if shift <= 0 {
		return false
	}
	earlier := t.Add(-shift)
	return earlier.Hour() == t.Hour() && earlier.Minute() == t.Minute() && earlier.Day() == t.Day()
}

// gap reports whether t is the first minute after the clocks went forward over one that the expression, which names hours, means.
func (c *cron) gap(t time.Time) bool {
	if c.hour == everyHour {
		return false
	}
	_, now := t.Zone()
	_, before := t.Add(-time.Minute).Zone()
	if now <= before {
		return false
	}
	// What the wall would have shown, in a zone that goes on as before.
	still := time.FixedZone("", before)
	for m := t.In(still); m.Sub(t) < time.Duration(now-before)*time.Second; m = m.Add(time.Minute) {
		if c.at(m) {
			return true
		}
	}
	return false
}
