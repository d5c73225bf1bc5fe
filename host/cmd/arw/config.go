package main

import (
	"os"
	"path/filepath"

	"github.com/arw-project/arw/abi"
	"github.com/arw-project/arw/manifests/strict"
)

// addressFile is where a running host leaves its address for the commands beside it.
const addressFile = "address"

// Where the host and its registry listen unless told otherwise.
const (
	defaultListen   = "127.0.0.1:8091"
	defaultRegistry = "127.0.0.1:8092"
)

// config is arw.toml of the state directory; every key has a flag that overrides it.
type config struct {
	Listen   string `toml:"listen"`   // address of the HTTP API, loopback
	MCP      string `toml:"mcp"`      // address of the MCP endpoint, loopback; empty: none
	Registry string `toml:"registry"` // where a reference without a registry points
	Trust    string `toml:"trust"`    // trust policy, relative to the state directory
	Policy   string `toml:"policy"`   // folder of Cedar files, relative to the state directory
	// Index is a signed index that decides what names and versions mean: dir:/path, https://host/path/ or oci:REF.
	Index string `toml:"index"`
	// IndexRoot is the root.json its keeper gave out, relative to the state directory.
	IndexRoot string `toml:"index_root"`
	// IndexRefresh is how often the host asks for news, such as "15m".
	IndexRefresh string `toml:"index_refresh"`
	Workers      int    `toml:"workers"` // calls that may run at once; 0 is twice the processors
}

func (a *app) config() (config, error) {
	cfg := config{Listen: defaultListen, Registry: defaultRegistry, Trust: "trust.toml", Policy: "policy", IndexRoot: "index-root.json", IndexRefresh: "15m"}
	dir, err := a.stateDir()
	if err != nil {
		return cfg, err
	}
	path := filepath.Join(dir, "arw.toml")
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
