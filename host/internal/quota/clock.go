package quota

import (
	"os"
	"strconv"
	"strings"
	"time"
)

// Clock is what a Book measures time with. Mono must not go back. Boot names the run of the machine, and how long it lasts: by it a
// window goes on over a restart of the host, whatever became of the wall clock. An empty name is "not known".
type Clock struct {
	Wall func() time.Time
	Mono func() time.Duration
	Boot func() (id string, up time.Duration)
}

// or fills in what is missing.
func (c Clock) or(d Clock) Clock {
	if c.Wall == nil {
		c.Wall = d.Wall
	}
	if c.Mono == nil {
		c.Mono = d.Mono
	}
	if c.Boot == nil {
		c.Boot = d.Boot
	}
	return c
}

func systemClock() Clock {
	base := time.Now()
	return Clock{Wall: time.Now, Mono: func() time.Duration { return time.Since(base) }, Boot: linuxBoot}
}

// linuxBoot reads what Linux says of its run; elsewhere nothing.
func linuxBoot() (string, time.Duration) {
	id, err := os.ReadFile("/proc/sys/kernel/random/boot_id")
	if err != nil {
		return "", 0
	}
	text, err := os.ReadFile("/proc/uptime")
	first, _, _ := strings.Cut(string(text), " ")
	seconds, perr := strconv.ParseFloat(first, 64)
	if err != nil || perr != nil {
		return "", 0
	}
	return strings.TrimSpace(string(id)), time.Duration(seconds * float64(time.Second))
}

// stamp is a moment that can be found again after a restart.
type stamp struct {
	wall int64 // milliseconds since 1970
	boot string
	up   int64 // milliseconds of that run
}

func (c Clock) stamp() stamp {
	id, up := c.Boot()
	return stamp{c.Wall().UnixMilli(), id, up.Milliseconds()}
}

// since is how long ago a moment was: by the machine's own count in the same run of it, else by the wall clock. Never negative, so
// that setting the clock back lengthens a window by nothing but the time that passed.
func (c Clock) since(s stamp) time.Duration {
	now := c.stamp()
	if s.boot != "" && s.boot == now.boot {
		return time.Duration(max(0, now.up-s.up)) * time.Millisecond
	}
	return time.Duration(max(0, now.wall-s.wall)) * time.Millisecond
}
