package main

import (
	"time"

	"github.com/arw-project/arw/abi"
	"github.com/arw-project/arw/host/internal/snappy"
)

// snappyConfig is the table [snappy]: how fast the host means to be. Left out, the defaults hold.
type snappyConfig struct {
	Window    string                   `toml:"window"`    // that is judged: "60s"
	Samples   int64                    `toml:"samples"`   // in it, below which nothing is judged: 20
	Protected []string                 `toml:"protected"` // routes that are judged, by how "/path" or "METHOD /path" begins
	Budgets   snappyBudgets            `toml:"budgets"`
	Routes    map[string]snappyBudgets `toml:"routes"` // by "METHOD /path", where they differ
}

// snappyBudgets bound the p95 of each span.
type snappyBudgets struct {
	I2F          string `toml:"i2f"`           // interaction to first feedback: "50ms"
	FirstPartial string `toml:"first_partial"` // to the first part of a streamed answer: "150ms"
	Cadence      string `toml:"cadence"`       // between parts: "250ms"
	Full         string `toml:"full_result"`   // to the whole answer: "2s"
}

func (b snappyBudgets) settings(where string) (snappy.Budgets, error) {
	out := snappy.Budgets{}
	for m, text := range map[snappy.Measure]string{snappy.Feedback: b.I2F, snappy.FirstPartial: b.FirstPartial, snappy.Cadence: b.Cadence, snappy.Full: b.Full} {
		if text == "" {
			continue
		}
		d, err := time.ParseDuration(text)
		if err != nil || d < 0 {
			return nil, abi.Errorf(abi.Invalid, "read configuration: %s.%s = %q is no duration", where, m, text).WithHint(`write it as "50ms"; "0s" is no bound`)
		}
		out[m] = d
	}
	return out, nil
}

func (c snappyConfig) settings() (out snappy.Config, err error) {
	out = snappy.Config{Samples: c.Samples, Protected: c.Protected, Routes: map[string]snappy.Budgets{}}
	if c.Window != "" {
		if out.Window, err = time.ParseDuration(c.Window); err != nil || out.Window < time.Second {
			return out, abi.Errorf(abi.Invalid, "read configuration: snappy.window = %q is no duration of at least a second", c.Window).WithHint(`write it as "60s"`)
		}
	}
	if out.Budgets, err = c.Budgets.settings("snappy.budgets"); err != nil {
		return out, err
	}
	for route, b := range c.Routes {
		if out.Routes[route], err = b.settings(`snappy.routes."` + route + `"`); err != nil {
			return out, err
		}
	}
	return out, nil
}
