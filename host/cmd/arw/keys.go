package main

import (
	"net/http"
	"path/filepath"

	"github.com/spf13/cobra"

	"github.com/arw-project/arw/abi"
	"github.com/arw-project/arw/registry"
	"github.com/arw-project/arw/signing"
)

func (a *app) keyCmd() *cobra.Command {
	cmd := &cobra.Command{Use: "key", Short: "Make signing keys"}
	var out string
	gen := &cobra.Command{
		Use:   "generate",
		Short: "Make a signing key: NAME.key (private, 0600) and NAME.pub",
		Long: `Make an ECDSA P-256 signing key. With ARW_KEY_PASSPHRASE set the private key is encrypted with it. Nothing is
overwritten.`,
		Example: "  arw key generate --out acme",
		Args:    cobra.NoArgs,
		RunE: func(*cobra.Command, []string) error {
			key, err := signing.GenerateKey()
			if err != nil {
				return err
			}
			if err := key.Save(out+".key", passphrase(a.std.env)); err != nil {
				return err
			}
			if err := key.SavePublic(out + ".pub"); err != nil {
				return err
			}
			doc := map[string]string{"private": out + ".key", "public": out + ".pub", "key_id": key.ID()}
			return a.print(doc, func(u ui) error {
				u.say("key %s", key.ID())
				u.facts("private", out+".key (keep it)", "public", out+".pub (give it to who should trust you)")
				return nil
			})
		},
	}
	gen.Flags().StringVar(&out, "out", "arw", "path of the two files without their endings")
	cmd.AddCommand(gen)
	return cmd
}

// passphrase is what new keys are sealed with; nil leaves them open.
func passphrase(env func(string) string) []byte {
	if pass := env("ARW_KEY_PASSPHRASE"); pass != "" {
		return []byte(pass)
	}
	return nil
}

// signingKey reads a private key file.
func (a *app) signingKey(path string) (*signing.Key, error) {
	return signing.LoadKey(path, func() ([]byte, error) {
		pass := a.std.env("ARW_KEY_PASSPHRASE")
		if pass == "" {
			return nil, abi.Errorf(abi.Invalid, "read signing key %q: it is encrypted", path).WithHint("set ARW_KEY_PASSPHRASE")
		}
		return []byte(pass), nil
	})
}

// openRef opens the registry that a reference names, or the default one.
func (a *app) openRef(text, defaultRegistry string) (*registry.Registry, registry.Ref, error) {
	if defaultRegistry == "" {
		cfg, err := a.config()
		if err != nil {
			return nil, registry.Ref{}, err
		}
		defaultRegistry = cfg.Registry
	}
	ref, err := registry.ParseRef(text, defaultRegistry)
	if err != nil {
		return nil, ref, err
	}
	reg, err := a.openRegistry(ref.Registry, false)
	return reg, ref, err
}

func (a *app) openRegistry(location string, replace bool) (*registry.Registry, error) {
	return registry.Open(location, a.registryOptions(replace))
}

// dockerConfig is where Docker and its peers keep registry credentials.
func (a *app) dockerConfig() string {
	if dir := a.std.env("DOCKER_CONFIG"); dir != "" {
		return filepath.Join(dir, "config.json")
	}
	if home := a.std.env("HOME"); home != "" {
		return filepath.Join(home, ".docker", "config.json")
	}
	return ""
}

// registryOptions say how registries are spoken to; replace lets a push move a version to other content.
func (a *app) registryOptions(replace bool) registry.Options {
	return registry.Options{
		Credentials: registry.Credentials{DockerConfig: a.dockerConfig()}, Proxy: http.ProxyFromEnvironment, Replace: replace,
	}
}
