package main

import (
	"path/filepath"
	"time"

	"github.com/arw-project/arw/abi"
	"github.com/arw-project/arw/host"
)

// queueConfig is the table [queue].
type queueConfig struct {
	Backend  string     `toml:"backend"`  // "sqlite" (the default) or "nats"
	Lease    string     `toml:"lease"`    // how long the host may give no sign of life: "30s"
	Attempts int        `toml:"attempts"` // how often an action that does no harm begins at most: 3
	NATS     natsConfig `toml:"nats"`
}

// natsConfig is the table [queue.nats]; files are relative to the state directory.
type natsConfig struct {
	Embedded    bool     `toml:"embedded"` // a server inside the host
	Sync        string   `toml:"sync"`     // of the embedded one: "always" (the default) or "later"
	URLs        []string `toml:"urls"`     // "tls://host:4222"
	CA          string   `toml:"ca"`
	Cert        string   `toml:"cert"`
	Key         string   `toml:"key"`
	Credentials string   `toml:"credentials"`
	Name        string   `toml:"name"`     // of this host's queue: "host"
	Replicas    int      `toml:"replicas"` // copies of what waits: 1
}

// settings are the table as the host takes it.
func (q queueConfig) settings(dir string) (host.Queue, error) {
	out := host.Queue{Backend: q.Backend, Attempts: q.Attempts}
	if q.Attempts < 0 || q.Attempts > 1000 {
		return out, abi.Errorf(abi.Invalid, "read configuration: queue.attempts = %d is not from 1 to 1000", q.Attempts).WithHint("leave it out for the default")
	}
	if q.Lease != "" {
		d, err := time.ParseDuration(q.Lease)
		if err != nil || d < 100*time.Millisecond {
			return out, abi.Errorf(abi.Invalid, "read configuration: queue.lease = %q is no duration of 100 ms or more", q.Lease).WithHint(`write it as "30s"`)
		}
		out.Lease = d
	}
	n := q.NATS
	if n.Sync != "" && n.Sync != "always" && n.Sync != "later" {
		return out, abi.Errorf(abi.Invalid, "read configuration: queue.nats.sync = %q is neither \"always\" nor \"later\"", n.Sync)
	}
	at := func(name string) string {
		if name == "" || filepath.IsAbs(name) {
			return name
		}
		return filepath.Join(dir, name)
	}
	out.NATS = host.NATS{
		Embedded: n.Embedded, NoSync: n.Sync == "later", URLs: n.URLs, CA: at(n.CA), Cert: at(n.Cert), Key: at(n.Key), Credentials: at(n.Credentials), Name: n.Name, Replicas: n.Replicas,
	}
	return out, nil
}
