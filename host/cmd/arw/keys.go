package main

import (
	"net/http"
	"os"
	"path/filepath"
	"strings"

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

func (a *app) trustCmd() *cobra.Command {
	cmd := &cobra.Command{
		Use:   "trust",
		Short: "Say who may sign which packs",
		Long:  "The trust policy, trust.toml in the state directory, says which keys and identities may sign which namespaces. Without it nothing is trusted.",
	}
	cmd.AddCommand(a.trustAddCmd(), a.trustTestCmd())
	return cmd
}

func (a *app) trustAddCmd() *cobra.Command {
	var key, name, packs string
	cmd := &cobra.Command{
		Use:     "add",
		Short:   "Trust a key for a namespace: adds a signer and a rule to trust.toml",
		Example: `  arw trust add --signer acme --key acme.pub --packs 'acme/*'`,
		Args:    cobra.NoArgs,
		RunE: func(*cobra.Command, []string) error {
			dir, err := a.stateDir()
			if err != nil {
				return err
			}
			pub, err := os.ReadFile(key)
			if err != nil {
				return abi.Errorf(abi.NotFound, "read public key %q: %w", key, err)
			}
			path, err := addTrust(dir, name, packs, pub)
			if err != nil {
				return err
			}
			return a.print(map[string]string{"file": path, "signer": name, "packs": packs}, func(u ui) error {
				u.say("%s now lets %q sign %s; a running host reads it at its next start", path, name, packs)
				return nil
			})
		},
	}
	f := cmd.Flags()
	f.StringVar(&key, "key", "", "public key file (PEM)")
	f.StringVar(&name, "signer", "", "a name for the key's owner")
	f.StringVar(&packs, "packs", "", "which packs it may sign: a name, or NAMESPACE/*")
	for _, need := range []string{"key", "signer", "packs"} {
		_ = cmd.MarkFlagRequired(need)
	}
	return cmd
}

// addTrust appends a signer and its rule to trust.toml and copies the key beside it; the result must parse, else the
// old file stays.
func addTrust(dir, signer, packs string, pub []byte) (string, error) {
	if err := os.MkdirAll(filepath.Join(dir, "keys"), 0o700); err != nil {
		return "", abi.Errorf(abi.Invalid, "add trust: %w", err)
	}
	path := filepath.Join(dir, "trust.toml")
	old, err := os.ReadFile(path)
	if err != nil && !os.IsNotExist(err) {
		return "", abi.Errorf(abi.Invalid, "add trust: %w", err)
	}
	if len(old) == 0 {
		old = []byte("# Who may sign what. Nothing else is trusted.\nschema = 1\n")
	}
	keyFile := filepath.Join("keys", signer+".pub")
	text := string(old) + "\n[signer." + tomlKey(signer) + "]\nkey = " + tomlString(filepath.ToSlash(keyFile)) + "\ntlog = 0 # a bare key: no transparency log vouches for when it signed\n" +
		"\n[[rule]]\npacks = " + tomlString(packs) + "\nsigners = [" + tomlString(signer) + "]\n"
	read := func(name string) ([]byte, error) {
		if name == filepath.ToSlash(keyFile) {
			return pub, nil
		}
		return os.ReadFile(filepath.Join(dir, filepath.FromSlash(name)))
	}
	if _, err := signing.ParsePolicy(path, []byte(text), read); err != nil {
		return "", err
	}
	if err := os.WriteFile(filepath.Join(dir, keyFile), pub, 0o644); err != nil {
		return "", abi.Errorf(abi.StorageFull, "add trust: %w", err)
	}
	tmp := path + ".new"
	if err := os.WriteFile(tmp, []byte(text), 0o644); err != nil {
		return "", abi.Errorf(abi.StorageFull, "add trust: %w", err)
	}
	return path, os.Rename(tmp, path)
}

func tomlKey(s string) string { return tomlString(s) }

func tomlString(s string) string {
	return `"` + strings.NewReplacer(`\`, `\\`, `"`, `\"`, "\n", `\n`).Replace(s) + `"`
}

func (a *app) trustTestCmd() *cobra.Command {
	var file, from string
	cmd := &cobra.Command{
		Use:   "test REF",
		Short: "Tell what the trust policy decides for a pack in a registry, and why; nothing is installed",
		Args:  cobra.ExactArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			policy, err := a.trustPolicy(file)
			if err != nil {
				return err
			}
			reg, ref, err := a.openRef(args[0], from)
			if err != nil {
				return err
			}
			digest, err := reg.Resolve(cmd.Context(), ref)
			if err != nil {
				return err
			}
			bundles, err := reg.Bundles(cmd.Context(), ref.Name, digest)
			if err != nil {
				return err
			}
			verdict, refusal := policy.Verify(cmd.Context(), ref.Name, digest, bundles)
			if verdict == nil {
				return refusal
			}
			if err := a.print(verdict, func(u ui) error { return tellTrust(u, verdict) }); err != nil {
				return err
			}
			return refusal
		},
	}
	cmd.Flags().StringVar(&file, "policy", "", "trust.toml to ask (default the state directory's)")
	cmd.Flags().StringVar(&from, "registry", "", "registry of a name without one")
	return cmd
}

func tellTrust(u ui, v *signing.Verdict) error {
	word := u.green("trusted")
	if !v.Allowed {
		word = u.red("not trusted")
	}
	u.say("%s %s  %s", u.bold(v.Pack), v.Digest, word)
	u.facts("rule", v.Rule)
	for _, s := range v.Signers {
		u.facts("signed by", strings.TrimSpace(s.Name+" "+s.KeyID+" "+s.Identity))
	}
	for _, r := range v.Rejected {
		u.facts("not counted", r.KeyID+r.Identity+": "+r.Reason)
	}
	return nil
}

// trustPolicy reads a trust.toml.
func (a *app) trustPolicy(file string) (*signing.Policy, error) {
	if file == "" {
		dir, err := a.stateDir()
		if err != nil {
			return nil, err
		}
		file = filepath.Join(dir, "trust.toml")
	}
	src, err := os.ReadFile(file)
	if err != nil {
		return nil, abi.Errorf(abi.NotFound, "read trust policy %q: %w", file, err).WithHint(`make one with "arw trust add"`)
	}
	dir := filepath.Dir(file)
	return signing.ParsePolicy(file, src, func(name string) ([]byte, error) {
		return os.ReadFile(filepath.Join(dir, filepath.FromSlash(name)))
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
