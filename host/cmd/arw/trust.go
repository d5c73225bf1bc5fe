package main

import (
	"cmp"
	"context"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/arw-project/arw/abi"
	"github.com/arw-project/arw/manifests"
	"github.com/arw-project/arw/registry"
	"github.com/arw-project/arw/signing"
)

func (a *app) trustCmd() *cobra.Command {
	cmd := &cobra.Command{
		Use:   "trust",
		Short: "Say who may sign which packs",
		Long:  "The trust policy, trust.toml in the state directory, says which keys and identities may sign which namespaces. Without it nothing is trusted.",
	}
	cmd.AddCommand(a.trustAddCmd(), a.trustTestCmd(), a.trustRootCmd())
	return cmd
}

// trusted is whom `arw trust add` adds.
type trusted struct {
	name, packs      string
	key              []byte
	identity, issuer string
	rootName         string
	root             []byte // nil: the policy has the root already
}

func (a *app) trustAddCmd() *cobra.Command {
	var in trusted
	var key, root string
	cmd := &cobra.Command{
		Use:   "add",
		Short: "Trust a key or an identity for a namespace: adds a signer and a rule to trust.toml",
		Example: `  arw trust add --signer acme --key acme.pub --packs 'acme/*'
  arw trust add --signer acme-ci --identity ci@acme.example --issuer https://token.example --packs 'acme/*'
  arw trust add --signer acme-ci --identity 'https://git.example/acme/packs/.release.yml@refs/tags/*' \
      --issuer https://token.example --trusted-root private/trusted_root.json --root private --packs 'acme/*'`,
		Args: cobra.NoArgs,
		RunE: func(*cobra.Command, []string) error {
			dir, err := a.stateDir()
			if err != nil {
				return err
			}
			if key != "" {
				in.key, err = readSmall("public key", key)
			} else {
				in.root, err = readSmall("trusted root", cmp.Or(root, filepath.Join(dir, trustedRootFile)))
				if root == "" && abi.CodeOf(err) == abi.NotFound {
					err = abi.Errorf(abi.NotFound, "add trust: %w", err).
						WithHint(`fetch Sigstore's own with "arw trust root refresh", or name a private one with --trusted-root`)
				}
			}
			if err != nil {
				return err
			}
			path, err := addTrust(dir, in)
			if err != nil {
				return err
			}
			return a.print(map[string]string{"file": path, "signer": in.name, "packs": in.packs}, func(u ui) error {
				u.say("%s now lets %q sign %s; a running host reads it at its next start", path, in.name, in.packs)
				return nil
			})
		},
	}
	f := cmd.Flags()
	f.StringVar(&key, "key", "", "public key file (PEM)")
	f.StringVar(&in.identity, "identity", "", "identity of a keyless signer; * stands for any run of characters but /")
	f.StringVar(&in.issuer, "issuer", "", "who vouches for the identity")
	f.StringVar(&root, "trusted-root", "", "trusted_root.json of the Sigstore that issues its certificates (default the state directory's)")
	f.StringVar(&in.rootName, "root", "main", "a name for that Sigstore")
	f.StringVar(&in.name, "signer", "", "a name for the owner of the key or identity")
	f.StringVar(&in.packs, "packs", "", "which packs it may sign: a name, or NAMESPACE/*")
	for _, need := range []string{"signer", "packs"} {
		_ = cmd.MarkFlagRequired(need)
	}
	cmd.MarkFlagsMutuallyExclusive("key", "identity")
	cmd.MarkFlagsOneRequired("key", "identity")
	cmd.MarkFlagsRequiredTogether("identity", "issuer")
	return cmd
}

// addTrust appends a signer and its rule to trust.toml and copies what they name beside it; the result must parse, else
// the old files stay.
func addTrust(dir string, in trusted) (string, error) {
	path := filepath.Join(dir, "trust.toml")
	old, err := os.ReadFile(path)
	if err != nil && !os.IsNotExist(err) {
		return "", abi.Errorf(abi.Invalid, "add trust: %w", err)
	}
	if len(old) == 0 {
		old = []byte("# Who may sign what. Nothing else is trusted.\nschema = 1\n")
	}
	text, files := in.toml(string(old))
	read := func(name string) ([]byte, error) {
		if data, ok := files[name]; ok {
			return data, nil
		}
		return os.ReadFile(filepath.Join(dir, filepath.FromSlash(name)))
	}
	if _, err := signing.ParsePolicy(path, []byte(text), read); err != nil {
		return "", err
	}
	for name, data := range files {
		if _, err := replaceFile(filepath.Join(dir, filepath.FromSlash(name)), data); err != nil {
			return "", err
		}
	}
	_, err = replaceFile(path, []byte(text))
	return path, err
}

// toml is the policy with the new entries, and the new files that they name.
func (in trusted) toml(old string) (string, map[string][]byte) {
	var b strings.Builder
	b.WriteString(old)
	files := map[string][]byte{}
	if in.identity == "" {
		file := "keys/" + in.name + ".pub"
		files[file] = in.key
		fmt.Fprintf(&b, "\n[signer.%s]\nkey = %s\ntlog = 0 # a bare key: no transparency log vouches for when it signed\n",
			tomlKey(in.name), tomlString(file))
	} else {
		file := "roots/" + in.rootName + ".json"
		files[file] = in.root
		if !strings.Contains(old, "\n[root."+in.rootName+"]\n") && !strings.Contains(old, "\n[root."+tomlKey(in.rootName)+"]\n") {
			fmt.Fprintf(&b, "\n[root.%s]\ntrusted_root = %s\n", tomlKey(in.rootName), tomlString(file))
		}
		fmt.Fprintf(&b, "\n[signer.%s]\nroot = %s\nissuer = %s\nidentity = %s\n",
			tomlKey(in.name), tomlString(in.rootName), tomlString(in.issuer), tomlString(in.identity))
	}
	fmt.Fprintf(&b, "\n[[rule]]\npacks = %s\nsigners = [%s]\n", tomlString(in.packs), tomlString(in.name))
	return b.String(), files
}

func tomlKey(s string) string { return tomlString(s) }

func tomlString(s string) string {
	return `"` + strings.NewReplacer(`\`, `\\`, `"`, `\"`, "\n", `\n`).Replace(s) + `"`
}

// trustAnswer is what `arw trust test` says: the verdict and what every rule had to say.
type trustAnswer struct {
	*signing.Verdict
	Rules    []signing.RuleNote `json:"rules"`
	Warnings []string           `json:"warnings"`
}

func (a *app) trustTestCmd() *cobra.Command {
	var file, from string
	cmd := &cobra.Command{
		Use:   "test REF",
		Short: "Tell what the trust policy decides for a pack in a registry, and why; nothing is installed",
		Long: `Tell what the trust policy decides for a pack: which rule applies and why not the others, and for every signature
whether it counts and why not. Exit code 0: trusted. 3: not trusted.`,
		Args: cobra.ExactArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			policy, err := a.trustPolicy(file)
			if err != nil {
				return err
			}
			reg, ref, err := a.openRef(args[0], from)
			if err != nil {
				return err
			}
			verdict, refusal := judge(cmd.Context(), policy, reg, ref)
			if verdict == nil {
				return refusal
			}
			doc := trustAnswer{verdict, policy.Rules(ref.Name), policy.Warnings()}
			if err := a.print(doc, func(u ui) error { tellTrust(u, doc); return nil }); err != nil {
				return err
			}
			return refusal
		},
	}
	cmd.Flags().StringVar(&file, "policy", "", "trust.toml to ask (default the state directory's)")
	cmd.Flags().StringVar(&from, "registry", "", "registry of a name without one")
	return cmd
}

// judge asks the policy about what a reference names now. The pack itself is fetched only when a rule wants its version.
func judge(ctx context.Context, policy *signing.Policy, reg *registry.Registry, ref registry.Ref) (*signing.Verdict, error) {
	digest, err := reg.Resolve(ctx, ref)
	if err != nil {
		return nil, err
	}
	bundles, err := reg.Bundles(ctx, ref.Name, digest)
	if err != nil {
		return nil, err
	}
	q := signing.Question{Pack: ref.Name, Digest: digest}
	v, refusal := policy.Judge(ctx, q, bundles)
	if v == nil || v.Refusal != signing.RefusalVersion {
		return v, refusal
	}
	ref.Digest, ref.Tag = digest, ""
	art, err := reg.Pull(ctx, ref, nil)
	if err != nil {
		return nil, err
	}
	for _, f := range art.Files {
		if f.MediaType != registry.MediaPackTOML {
			continue
		}
		man, err := manifests.ParsePack("pack.toml", f.Data)
		if err != nil {
			return nil, err
		}
		q.Version = man.Version
	}
	return policy.Judge(ctx, q, bundles)
}

func tellTrust(u ui, v trustAnswer) {
	word := u.green("trusted")
	if !v.Allowed {
		word = u.red("not trusted") + " (" + string(v.Refusal) + ")"
	}
	u.say("%s %s  %s", u.bold(v.Pack), v.Digest, word)
	facts := []string{"rule", v.Rule, "publisher", v.Publisher}
	for _, s := range v.Signers {
		facts = append(facts, signerFacts(s)...)
	}
	for _, r := range v.Rejected {
		facts = append(facts, "not counted", fmt.Sprintf("bundle %d by %s, %s: %s", r.Bundle, cmp.Or(r.KeyID, r.Identity, "nobody"), r.Code, r.Reason))
	}
	for _, d := range v.Unmet {
		facts = append(facts, "missing", fmt.Sprintf("%d of [%s] to sign %s, %d did", d.Needed, strings.Join(d.Signers, " "), d.Predicate, d.Have))
	}
	for _, r := range v.Rules {
		if !r.Applies {
			facts = append(facts, "passed over", fmt.Sprintf("rule %s: %s", r.Rule, r.Why))
		}
	}
	for _, w := range v.Warnings {
		facts = append(facts, "note", w)
	}
	u.facts(facts...)
}

// signerFacts are what a person is told of one signature that counts.
func signerFacts(s signing.Signer) []string {
	who := s.KeyID
	if s.Identity != "" {
		who = s.Identity + " of " + s.Issuer
	}
	if s.Name != "" {
		who = s.Name + ": " + who
	}
	if s.Role != "" {
		who += " (" + s.Role + ")"
	}
	facts := []string{"signed by", who, "states", s.Predicate, "built by", s.Builder}
	for _, t := range s.Times {
		facts = append(facts, "at", t.Time.Format(time.RFC3339)+", says "+cmp.Or(t.URI, t.By))
	}
	if s.Log != nil {
		facts = append(facts, "logged", fmt.Sprintf("%s index %d", s.Log.Origin, s.Log.Index))
	}
	return facts
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
