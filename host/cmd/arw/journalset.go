package main

import (
	"time"

	"github.com/arw-project/arw/abi"
	"github.com/arw-project/arw/host"
	"github.com/arw-project/arw/host/internal/journal"
)

// journalConfig is the table [journal]. Without one of the keep limits, everything is kept.
type journalConfig struct {
	Events    int64  `toml:"checkpoint_events"` // a signed checkpoint after this many events: 1000
	Every     string `toml:"checkpoint_every"`  // and after this long: "1m"
	KeepAge   string `toml:"keep_age"`          // events older than this may go: "720h"
	KeepCount int64  `toml:"keep_count"`        // events beyond this many may go
	KeepBytes int64  `toml:"keep_bytes"`        // events whose bodies have more bytes together than this may go
	KeepLeast int64  `toml:"keep_least"`        // the newest events that stay whatever the limits say: 10000
	Look      string `toml:"look_every"`        // how often what may go is looked for: "1m"
}

// settings are the table as the host takes it.
func (c journalConfig) settings() (host.Journal, error) {
	out := host.Journal{Events: c.Events, Keep: journal.Retention{Count: c.KeepCount, Bytes: c.KeepBytes, Least: c.KeepLeast}}
	if c.Events < 0 || c.KeepCount < 0 || c.KeepBytes < 0 || c.KeepLeast < 0 {
		return out, abi.Errorf(abi.Invalid, "read configuration: the numbers of [journal] are from 0").WithHint("leave a limit out to have none")
	}
	for key, to := range map[string]struct {
		text string
		into *time.Duration
	}{"checkpoint_every": {c.Every, &out.Every}, "keep_age": {c.KeepAge, &out.Keep.Age}, "look_every": {c.Look, &out.Look}} {
		if to.text == "" {
			continue
		}
		d, err := time.ParseDuration(to.text)
		if err != nil || d <= 0 {
			return out, abi.Errorf(abi.Invalid, "read configuration: journal.%s = %q is no duration above zero", key, to.text).WithHint(`write it as "30s" or "720h"`)
		}
		*to.into = d
	}
	return out, nil
}
