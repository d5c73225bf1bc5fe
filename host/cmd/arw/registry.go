package main

import (
	"context"
	"crypto/tls"
	"log/slog"
	"net"
	"os"
	"time"

	"github.com/spf13/cobra"

	"github.com/arw-project/arw/abi"
	"github.com/arw-project/arw/registry"
	"github.com/arw-project/arw/registry/layout"
)

// registryFlags are those of `arw registry serve`.
type registryFlags struct {
	dir, listen     string
	cert, key       string
	access, mirror  string
	hosts           []string
	addressFile     string
	rate            float64
	maxBlob         int64
	gc, grace       time.Duration
	replaceVersions bool
}

func (a *app) registryCmd() *cobra.Command {
	cmd := &cobra.Command{Use: "registry", Short: "Serve a registry of packs and keep its signed index"}
	cmd.AddCommand(a.registryServeCmd(), a.registryGCCmd(), a.registryTokenCmd(), a.registryIndexCmd())
	return cmd
}

func (a *app) registryServeCmd() *cobra.Command {
	var fl registryFlags
	cmd := &cobra.Command{
		Use:   "serve",
		Short: "Serve the registry in a folder over the OCI distribution protocol",
		Long: `Serve the registry in a folder over the OCI distribution protocol. On loopback everybody on this machine reads and
writes, unless --access says otherwise. Beyond loopback it needs --tls-cert, --tls-key and --access.

With --mirror it takes nothing from clients: it fetches from another registry what it does not have, checks and keeps it,
and serves what it has when that one does not answer.`,
		Example: `  arw registry serve --dir ./registry --listen 127.0.0.1:8092
  arw registry serve --listen 0.0.0.0:443 --tls-cert c.pem --tls-key k.pem --access access.toml
  arw registry serve --dir ./mirror --mirror registry.example/packs`,
		Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error { return a.serveRegistry(cmd.Context(), fl) },
	}
	f := cmd.Flags()
	f.StringVar(&fl.dir, "dir", "registry", "folder of the registry")
	f.StringVar(&fl.listen, "listen", defaultRegistry, "address")
	f.StringVar(&fl.cert, "tls-cert", "", "certificate file (PEM)")
	f.StringVar(&fl.key, "tls-key", "", "private key file of the certificate (PEM)")
	f.StringVar(&fl.access, "access", "", "file that says who may read and write what")
	f.StringVar(&fl.mirror, "mirror", "", "mirror this registry, read only")
	f.StringArrayVar(&fl.hosts, "host", nil, "a name the registry may be asked by; may be given again")
	f.StringVar(&fl.addressFile, "address-file", "", "file to leave HOST:PORT in once it listens, for scripts that let it choose the port")
	f.Float64Var(&fl.rate, "rate", 0, "requests a second for each address (default no limit)")
	f.Int64Var(&fl.maxBlob, "max-blob", 8<<30, "largest blob in bytes")
	f.DurationVar(&fl.gc, "gc", 0, "how often to remove blobs that nothing refers to (default never)")
	f.DurationVar(&fl.grace, "gc-grace", 24*time.Hour, "how old such a blob must be")
	f.BoolVar(&fl.replaceVersions, "replace-versions", false, "let a pushed version be replaced; by default it stays what it is")
	return cmd
}

func (a *app) serveRegistry(ctx context.Context, fl registryFlags) error {
	d, err := layout.Open(fl.dir)
	if err != nil {
		return err
	}
	o := layout.ServerOptions{FixedVersions: !fl.replaceVersions, Hosts: fl.hosts, Rate: fl.rate, MaxBlob: fl.maxBlob, Sweep: fl.gc, Grace: fl.grace,
		Log: slog.New(slog.NewTextHandler(a.std.err, nil))}
	if fl.access != "" {
		src, err := os.ReadFile(fl.access)
		if err != nil {
			return abi.Errorf(abi.NotFound, "read access file %q: %w", fl.access, err).WithHint("arw registry token --file %s makes one", fl.access)
		}
		if o.Access, err = layout.ParseAccess(fl.access, src); err != nil {
			return err
		}
	}
	if fl.mirror != "" {
		if o.Upstream, err = registry.Upstream(fl.mirror, a.registryOptions(false)); err != nil {
			return err
		}
		o.FixedVersions = false // upstream decides
	}
	scheme := "http"
	if fl.cert != "" || fl.key != "" {
		pair, err := tls.LoadX509KeyPair(fl.cert, fl.key)
		if err != nil {
			return abi.Errorf(abi.Invalid, "read certificate %q and key %q: %w", fl.cert, fl.key, err).WithHint("give both --tls-cert and --tls-key, PEM files that belong together")
		}
		o.TLS, scheme = &tls.Config{MinVersion: tls.VersionTLS12, Certificates: []tls.Certificate{pair}}, "https"
	}
	ln, err := net.Listen("tcp", fl.listen)
	if err != nil {
		return abi.Errorf(abi.Unavailable, "listen on %q: %w", fl.listen, err).
			WithHint("another program has the port: end it, or choose another with --listen")
	}
	if fl.addressFile != "" {
		if err := os.WriteFile(fl.addressFile, []byte(ln.Addr().String()), 0o644); err != nil {
			ln.Close()
			return abi.Errorf(abi.Unavailable, "leave the address in %q: %w", fl.addressFile, err)
		}
		defer os.Remove(fl.addressFile)
	}
	a.ui(a.std.err).say("registry %s on %s://%s", fl.dir, scheme, ln.Addr())
	return d.Serve(ctx, ln, o)
}

func (a *app) registryGCCmd() *cobra.Command {
	var dir string
	var grace time.Duration
	var dry bool
	cmd := &cobra.Command{
		Use:   "gc",
		Short: "Remove blobs that no manifest refers to; a server may go on serving meanwhile",
		Args:  cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			d, err := layout.Open(dir)
			if err != nil {
				return err
			}
			list, err := d.Unused(cmd.Context(), grace)
			if err != nil {
				return err
			}
			var bytes int64
			for _, u := range list {
				bytes += u.Size
			}
			n := 0
			if !dry {
				if n, err = d.Sweep(cmd.Context(), grace); err != nil {
					return err
				}
			}
			return a.print(map[string]any{"unused": list, "bytes": bytes, "removed": n, "dry_run": dry}, func(u ui) error {
				if dry {
					for _, b := range list {
						u.say("%s %s  %d bytes", b.Repo, b.Digest, b.Size)
					}
					u.say("%d blobs, %d bytes would be removed", len(list), bytes)
					return nil
				}
				u.say("%d blobs removed", n)
				return nil
			})
		},
	}
	f := cmd.Flags()
	f.StringVar(&dir, "dir", "registry", "folder of the registry")
	f.DurationVar(&grace, "grace", 24*time.Hour, "how old an unused blob must be: pushes under way bring theirs before their manifest")
	f.BoolVar(&dry, "dry-run", false, "only tell what would be removed")
	return cmd
}

func (a *app) registryTokenCmd() *cobra.Command {
	var file, name string
	var push, pull []string
	cmd := &cobra.Command{
		Use:   "token",
		Short: "Make a token for a user of the registry: adds the user to the access file and prints the token once",
		Example: `  arw registry token --file access.toml --user ci --push 'acme/*'
  docker login registry.example -u ci        # with the token as password`,
		Args: cobra.NoArgs,
		RunE: func(*cobra.Command, []string) error {
			token, hash := layout.NewToken()
			if err := addUser(file, name, hash, pull, push); err != nil {
				return err
			}
			return a.print(map[string]string{"user": name, "token": token, "file": file}, func(u ui) error {
				u.say("%s", token)
				a.ui(a.std.err).say("the token of %s, shown this once; %s holds its hash; a running registry reads it at its next start", name, file)
				return nil
			})
		},
	}
	f := cmd.Flags()
	f.StringVar(&file, "file", "access.toml", "access file")
	f.StringVar(&name, "user", "", "name of the user")
	f.StringArrayVar(&push, "push", nil, "what it may write: NAMESPACE/NAME, NAMESPACE/* or *; may be given again")
	f.StringArrayVar(&pull, "pull", nil, "what it may read besides; may be given again")
	_ = cmd.MarkFlagRequired("user")
	return cmd
}

// addUser appends a user; the result must parse, else the old file stays.
func addUser(file, name, hash string, pull, push []string) error {
	old, err := os.ReadFile(file)
	if err != nil && !os.IsNotExist(err) {
		return abi.Errorf(abi.Invalid, "read access file %q: %w", file, err)
	}
	if len(old) == 0 {
		old = []byte("# Who may read and write which repositories. Everybody may read what is under anonymous; nobody else may do anything.\nschema = 1\nanonymous = []\n")
	}
	text := string(old) + "\n[user." + tomlKey(name) + "]\ntoken_sha256 = " + tomlString(hash) + "\npush = " + tomlList(push) + "\npull = " + tomlList(pull) + "\n"
	if _, err := layout.ParseAccess(file, []byte(text)); err != nil {
		return err
	}
	tmp := file + ".new"
	if err := os.WriteFile(tmp, []byte(text), 0o600); err != nil {
		return abi.Errorf(abi.StorageFull, "write access file %q: %w", file, err)
	}
	return os.Rename(tmp, file)
}

func tomlList(list []string) string {
	out := "["
	for i, s := range list {
		if i > 0 {
			out += ", "
		}
		out += tomlString(s)
	}
	return out + "]"
}
