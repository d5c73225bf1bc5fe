package main

import (
	"cmp"
	"io"
	"log/slog"
	"os"
	"path/filepath"
	"time"

	"github.com/arw-project/arw/abi"
	"github.com/arw-project/arw/host"
	"github.com/arw-project/arw/host/internal/pack"
	"github.com/arw-project/arw/host/internal/starts"
	"github.com/arw-project/arw/manifests/strict"
)

// addressFile is where a running host leaves its address for the commands beside it.
const addressFile = "address"

// Where the host and its registry listen unless told otherwise.
const (
	defaultListen   = "127.0.0.1:8091"
	defaultRegistry = "127.0.0.1:8092"
)

// config is arw.toml of the state directory, or the file that ARW_CONFIG names; every key has a flag that overrides it.
type config struct {
	Listen   string `toml:"listen"`   // address of the HTTP API, loopback
	MCP      string `toml:"mcp"`      // address of the MCP endpoint, loopback; empty: none
	Registry string `toml:"registry"` // where a reference without a registry points
	Trust    string `toml:"trust"`    // trust policy; relative to the state directory, as all paths here
	Policy   string `toml:"policy"`   // folder of Cedar files
	// Index is a signed index that decides what names and versions mean: dir:/path, https://host/path/ or oci:REF.
	Index string `toml:"index"`
	// IndexRoot is the root.json its keeper gave out, relative to the state directory.
	IndexRoot string `toml:"index_root"`
	// IndexRefresh is how often the host asks for news, such as "15m".
	IndexRefresh string `toml:"index_refresh"`
	// Names are what clients may call this host beside the names of loopback.
	Names []string `toml:"names"`
	// TLS is for the API; beyond loopback it has to be there.
	TLS tlsConfig `toml:"tls"`
	// OpenProjects lets the first call that names a project make it.
	OpenProjects bool `toml:"open_projects"`
	Workers      int  `toml:"workers"` // calls that may run at once; 0 is twice the processors
	// Queue says where actions wait; zero values are the defaults.
	Queue queueConfig `toml:"queue"`
	// Schedules are tools that are called at given times.
	Schedules []scheduleConfig `toml:"schedule"`
	// Upgrade says how new versions of packs are watched, and what is kept of old ones; zero values are the defaults.
	Upgrade upgradeConfig `toml:"upgrade"`
	// Snappy says how fast the host means to answer.
	Snappy snappyConfig `toml:"snappy"`
	// Journal says how the record of everything is signed and what is kept of it.
	Journal journalConfig `toml:"journal"`
	// Telemetry says where traces go and how lines are logged.
	Telemetry telemetryConfig `toml:"telemetry"`
	// SafeMode says when a host that keeps dying starts without packs.
	SafeMode safeConfig `toml:"safe_mode"`
}

// safeConfig is the table [safe_mode].
type safeConfig struct {
	Crashes int    `toml:"crashes"` // so many ends that nobody asked for: 3; -1 never
	Window  string `toml:"window"`  // within so long: "10m"
}

// limits are the table as the host takes it.
func (s safeConfig) limits() (starts.Limits, error) {
	l := starts.Limits{Crashes: s.Crashes}
	if s.Window == "" {
		return l, nil
	}
	var err error
	if l.Window, err = time.ParseDuration(s.Window); err != nil || l.Window <= 0 {
		return l, abi.Errorf(abi.Invalid, "read configuration: safe_mode.window = %q is no duration above zero", s.Window).WithHint(`write it as "10m"`)
	}
	return l, nil
}

// telemetryConfig is the table [telemetry].
type telemetryConfig struct {
	Endpoint string            `toml:"endpoint"` // of a collector, OTLP over HTTP: "http://127.0.0.1:4318/v1/traces"; empty: no traces
	Headers  map[string]string `toml:"headers"`  // that go with every request to it
	Ratio    float64           `toml:"ratio"`    // of the undertakings that begin here to record; 0 is all
	Log      string            `toml:"log"`      // form of log lines: "text" or "json"; empty is "text"
}

// logger writes lines in the form of the configuration.
func (t *telemetryConfig) logger(w io.Writer, level slog.Level) (*slog.Logger, error) {
	o := &slog.HandlerOptions{Level: level}
	switch t.Log {
	case "", "text":
		return slog.New(slog.NewTextHandler(w, o)), nil
	case "json":
		return slog.New(slog.NewJSONHandler(w, o)), nil
	}
	return nil, abi.Errorf(abi.Invalid, "read configuration: telemetry.log = %q", t.Log).WithHint(`write "text" or "json"`)
}

// tlsConfig is the table [tls]: PEM files, relative to the state directory.
type tlsConfig struct {
	Cert     string `toml:"cert"`
	Key      string `toml:"key"`
	ClientCA string `toml:"client_ca"` // whose certificates clients must have; empty: none is asked for
}

// within is a name of the configuration as a path: relative to the state directory unless it is absolute.
func within(dir, name string) string {
	if filepath.IsAbs(name) {
		return name
	}
	return filepath.Join(dir, name)
}

// edge is how the API is reached.
func (c *config) edge(dir string) host.Edge {
	at := func(name string) string {
		if name == "" {
			return name
		}
		return within(dir, name)
	}
	return host.Edge{Names: c.Names, Socket: true, Cert: at(c.TLS.Cert), Key: at(c.TLS.Key), ClientCA: at(c.TLS.ClientCA)}
}

// upgradeConfig is the table [upgrade].
type upgradeConfig struct {
	Drain    string `toml:"drain"`    // how long an old version may finish its calls: "30s"
	Keep     int    `toml:"keep"`     // replaced versions that can come back: 3
	Window   string `toml:"window"`   // how long a new version is watched: "10m"
	Calls    int    `toml:"calls"`    // or for how many calls: 1000
	Failures int    `toml:"failures"` // so many failed calls roll it back: 5; -1 never
	Denials  int    `toml:"denials"`  // so many calls with a refusal roll it back: 20; -1 never
}

// settings are the table as the host takes it.
func (u upgradeConfig) settings() (host.Upgrade, time.Duration, error) {
	out := host.Upgrade{Keep: u.Keep, Guard: pack.Guard{Calls: u.Calls, Failures: u.Failures, Denials: u.Denials}}
	var drain time.Duration
	for key, to := range map[string]struct {
		text string
		into *time.Duration
	}{"drain": {u.Drain, &drain}, "window": {u.Window, &out.Guard.Window}} {
		if to.text == "" {
			continue
		}
		d, err := time.ParseDuration(to.text)
		if err != nil || d <= 0 {
			return out, 0, abi.Errorf(abi.Invalid, "read configuration: upgrade.%s = %q is no duration above zero", key, to.text).
				WithHint(`write it as "30s" or "10m"`)
		}
		*to.into = d
	}
	if u.Keep < 0 || u.Calls < 0 {
		return out, 0, abi.Errorf(abi.Invalid, "read configuration: upgrade.keep and upgrade.calls are numbers from 0").WithHint("leave them out for the defaults")
	}
	return out, drain, nil
}

// check holds what is read only when the host starts to its form.
func (c *config) check() error {
	_, _, upgrade := c.Upgrade.settings()
	_, crashes := c.SafeMode.limits()
	_, log := c.Telemetry.logger(io.Discard, slog.LevelInfo)
	return cmp.Or(upgrade, crashes, log)
}

func (a *app) config() (config, error) {
	cfg := config{Listen: defaultListen, Registry: defaultRegistry, Trust: "trust.toml", Policy: "policy", IndexRoot: "index-root.json", IndexRefresh: "15m"}
	dir, err := a.stateDir()
	if err != nil {
		return cfg, err
	}
	path := filepath.Join(dir, "arw.toml")
	if from := a.std.env("ARW_CONFIG"); from != "" {
		path = from
	}
	src, err := os.ReadFile(path)
	switch {
	case os.IsNotExist(err):
	case err != nil:
		return cfg, abi.Errorf(abi.Invalid, "read configuration %q: %w", path, err)
	default:
		if _, err := strict.Decode(path, src, &cfg); err != nil {
			return cfg, err
		}
	}
	if from := a.std.env("ARW_REGISTRY"); from != "" {
		cfg.Registry = from
	}
	return cfg, nil
}
