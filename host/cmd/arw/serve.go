package main

import (
	"context"
	"log/slog"
	"net"
	"os"
	"path/filepath"
	"time"

	"github.com/spf13/cobra"
	"golang.org/x/sync/errgroup"

	"github.com/arw-project/arw/abi"
	"github.com/arw-project/arw/host"
	"github.com/arw-project/arw/host/api"
	"github.com/arw-project/arw/registry/layout"
	"github.com/arw-project/arw/sdk/go/client"
)

type serveFlags struct {
	listen      string
	mcp         string
	proxy       string
	dns         string
	registry    string
	registryDir string
	install     []string
	workers     int
	verbose     bool
	safe        bool
}

func (a *app) serveCmd() *cobra.Command {
	var fl serveFlags
	cmd := &cobra.Command{
		Use:   "serve",
		Short: "Run the host",
		Long: `Run the host: packs, leases, journal and the HTTP API, on loopback. The state directory holds everything; a second
host on the same directory is refused. Configuration is arw.toml there; flags override it.`,
		Example: `  arw serve
  arw serve --registry-dir ./registry --install arw/research:0.1.0`,
		Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error { return a.serve(cmd.Context(), fl) },
	}
	f := cmd.Flags()
	f.StringVar(&fl.listen, "listen", "", "address of the API (default 127.0.0.1:8091)")
	f.StringVar(&fl.mcp, "mcp", "", "also serve MCP clients at this address, path /mcp (default none; clients that start a command need none, see arw mcp)")
	f.StringVar(&fl.proxy, "proxy", "", "also let programs with a token reach the network through the guard, at this address (default none; see arw egress token)")
	f.StringVar(&fl.dns, "dns", "", "also answer names to programs of this machine as the guard sees them, at this address (default none)")
	f.StringVar(&fl.registry, "registry", "", "registry of references without one (default 127.0.0.1:8092)")
	f.StringVar(&fl.registryDir, "registry-dir", "", "also serve the registry in this folder, at the default registry's address")
	f.StringArrayVar(&fl.install, "install", nil, "install this reference once the host is up, unless it is installed already; may be given again")
	f.IntVar(&fl.workers, "workers", 0, "calls that may run at once (default twice the processors)")
	f.BoolVar(&fl.safe, "safe", false, "start in safe mode: no pack is loaded or run before \"arw safe-mode exit\"")
	f.BoolVar(&fl.verbose, "verbose", false, "log every request")
	return cmd
}

func (a *app) serve(ctx context.Context, fl serveFlags) error {
	dir, cfg, err := a.serveConfig(fl)
	if err != nil {
		return err
	}
	level := slog.LevelInfo
	if fl.verbose {
		level = slog.LevelDebug
	}
	log, err := cfg.Telemetry.logger(a.std.err, level)
	if err != nil {
		return err
	}
	edge := cfg.edge(dir)
	ln, err := edge.Listen(cfg.Listen)
	if err != nil {
		return err
	}
	defer ln.Close()
	g, ctx := errgroup.WithContext(ctx)
	if fl.registryDir != "" {
		if err := startRegistry(ctx, g, fl.registryDir, cfg.Registry); err != nil {
			return err
		}
	}
	ix, err := indexOf(dir, cfg)
	if err != nil {
		return err
	}
	upgrade, drain, err := cfg.Upgrade.settings()
	if err != nil {
		return err
	}
	line, err := cfg.Queue.settings(dir)
	if err != nil {
		return err
	}
	timed, err := schedules(cfg.Schedules)
	if err != nil {
		return err
	}
	kept, err := cfg.Journal.settings()
	if err != nil {
		return err
	}
	pace, err := cfg.Snappy.settings()
	if err != nil {
		return err
	}
	crashes, err := cfg.SafeMode.limits()
	if err != nil {
		return err
	}
	told := ""
	if fl.safe {
		told = "it was started with --safe"
	}
	h, err := host.Open(ctx, host.Config{
		Journal: kept, Snappy: pace, Queue: line, Schedules: timed,
		Crashes: crashes, Safe: told,
		Edge: edge, Index: ix, Upgrade: upgrade, Limits: host.Limits{Drain: drain},
		Telemetry: host.Telemetry{Endpoint: cfg.Telemetry.Endpoint, Headers: cfg.Telemetry.Headers, Ratio: cfg.Telemetry.Ratio},
		StateDir:  dir, TrustFile: within(dir, cfg.Trust), PolicyDir: within(dir, cfg.Policy),
		CacheDir: a.std.env("ARW_CACHE_DIR"), Registries: []string{cfg.Registry}, Registry: a.registryOptions(false), Workers: cfg.Workers, OpenProjects: cfg.OpenProjects, Version: version, Log: log,
	})
	if err != nil {
		return err
	}
	defer h.Close()
	address, reach := filepath.Join(dir, addressFile), "http://"+ln.Addr().String()
	if edge.Cert != "" { // commands on this machine need no certificate: they have the socket
		reach = "unix:" + filepath.Join(dir, host.SocketName)
	}
	if err := os.WriteFile(address, []byte(reach+"\n"), 0o644); err != nil {
		return abi.Errorf(abi.StorageFull, "leave the host's address in %q: %w", address, err)
	}
	defer os.Remove(address)
	if cfg.MCP != "" {
		if err := startMCP(ctx, g, h, cfg.MCP, log); err != nil {
			return err
		}
	}
	if fl.proxy != "" {
		if err := startProxy(ctx, g, h, fl.proxy, log); err != nil {
			return err
		}
	}
	if fl.dns != "" {
		if err := startDNS(ctx, g, h, fl.dns, log); err != nil {
			return err
		}
	}
	g.Go(func() error { return h.Serve(ctx, ln) })
	log.Info("host is up", "address", reach, "listen", ln.Addr().String(), "state", dir, "packs", len(h.Services().Packs.List()))
	if len(fl.install) > 0 {
		g.Go(func() error { return a.installAtStart(ctx, reach, h, fl.install, log) })
	}
	return g.Wait()
}

// indexOf is the configured index.
func indexOf(dir string, cfg config) (host.Index, error) {
	if cfg.Index == "" {
		return host.Index{}, nil
	}
	every, err := time.ParseDuration(cfg.IndexRefresh)
	if err != nil || every < time.Second {
		return host.Index{}, abi.Errorf(abi.Invalid, "read configuration: index_refresh is %q", cfg.IndexRefresh).WithHint("write a duration such as 15m")
	}
	root, err := readRoot(dir, cfg)
	if err != nil {
		return host.Index{}, err
	}
	return host.Index{Location: cfg.Index, Root: root, Every: every}, nil
}

// serveConfig joins file and flags.
func (a *app) serveConfig(fl serveFlags) (string, config, error) {
	dir, err := a.stateDir()
	if err != nil {
		return "", config{}, err
	}
	cfg, err := a.config()
	if err != nil {
		return "", cfg, err
	}
	if fl.listen != "" {
		cfg.Listen = fl.listen
	}
	if fl.registry != "" {
		cfg.Registry = fl.registry
	}
	if fl.mcp != "" {
		cfg.MCP = fl.mcp
	}
	if fl.workers != 0 {
		cfg.Workers = fl.workers
	}
	return dir, cfg, nil
}

// listen opens the API's port; the host answers on loopback only.
func listen(address string) (net.Listener, error) {
	name, _, err := net.SplitHostPort(address)
	if err != nil {
		return nil, abi.Errorf(abi.Invalid, "listen on %q: %w", address, err).WithHint("write it as 127.0.0.1:8091")
	}
	if ip := net.ParseIP(name); name != "localhost" && (ip == nil || !ip.IsLoopback()) {
		return nil, abi.Errorf(abi.Denied, "listen on %q: that is not this machine alone", address).
			WithHint("listen on 127.0.0.1 and put a proxy with TLS and its own authentication before it")
	}
	ln, err := net.Listen("tcp", address)
	if err != nil {
		return nil, abi.Errorf(abi.Unavailable, "listen on %q: %w", address, err).
			WithHint("another program has the port: end it, or choose another with --listen")
	}
	return ln, nil
}

// startRegistry serves a registry folder until ctx ends.
func startRegistry(ctx context.Context, g *errgroup.Group, dir, address string) error {
	d, err := layout.Open(dir)
	if err != nil {
		return err
	}
	ln, err := listen(address)
	if err != nil {
		return err
	}
	g.Go(func() error { return d.Serve(ctx, ln, layout.ServerOptions{FixedVersions: true}) })
	return nil
}

// startMCP serves MCP clients until ctx ends.
func startMCP(ctx context.Context, g *errgroup.Group, h *host.Host, address string, log *slog.Logger) error {
	ln, err := listen(address)
	if err != nil {
		return err
	}
	g.Go(func() error { return h.ServeMCP(ctx, ln) })
	log.Info("MCP clients are served", "address", "http://"+ln.Addr().String()+"/mcp")
	return nil
}

// startProxy lets programs with a token reach the network until ctx ends.
func startProxy(ctx context.Context, g *errgroup.Group, h *host.Host, address string, log *slog.Logger) error {
	ln, err := listen(address)
	if err != nil {
		return err
	}
	g.Go(func() error { return h.Services().Egress.ServeProxy(ctx, ln) })
	log.Info("the egress proxy is up", "address", ln.Addr().String())
	return nil
}

// startDNS answers names to programs of this machine until ctx ends.
func startDNS(ctx context.Context, g *errgroup.Group, h *host.Host, address string, log *slog.Logger) error {
	ln, err := listen(address)
	if err != nil {
		return err
	}
	pc, err := net.ListenPacket("udp", ln.Addr().String())
	if err != nil {
		_ = ln.Close()
		return abi.Errorf(abi.Unavailable, "listen on %q: %w", address, err).WithHint("another program has the port: end it, or choose another with --dns")
	}
	g.Go(func() error { return h.Services().Egress.ServeDNS(ctx, pc, ln) })
	log.Info("the name guard is up", "address", ln.Addr().String())
	return nil
}

// installAtStart installs what is asked for; what is installed already is told so by the host and costs nothing. A
// refused pack does not end the host: it is said here, and journaled by the install itself.
func (a *app) installAtStart(ctx context.Context, address string, h *host.Host, refs []string, log *slog.Logger) error {
	token, err := h.Token()
	if err != nil {
		return err
	}
	c := client.New(address, token)
	for _, ref := range refs {
		if _, err := c.Install(ctx, api.InstallPack{Ref: ref}, nil); err != nil {
			log.Error("pack was not installed", "ref", ref, "code", abi.CodeOf(err).String(), "error", err, "next", abi.HintOf(err))
			continue
		}
		log.Info("pack installed", "ref", ref)
	}
	log.Info("ready", "packs", len(h.Services().Packs.List()), "next", "arw list")
	return nil
}
