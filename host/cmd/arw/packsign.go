package main

import (
	"bytes"
	"context"
	"encoding/json"
	"net/http"
	"os/exec"
	"path/filepath"
	"runtime"
	"slices"

	"github.com/spf13/cobra"

	"github.com/arw-project/arw/abi"
	"github.com/arw-project/arw/host/internal/author"
	"github.com/arw-project/arw/registry"
	"github.com/arw-project/arw/signing"
	"github.com/arw-project/arw/signing/keyless"
)

// signWith says who signs and with which services, as flags.
type signWith struct {
	key                           string
	keyless                       bool
	config, root                  string
	flow, issuer, client, idToken string
}

func (w *signWith) flags(cmd *cobra.Command) {
	f := cmd.Flags()
	f.StringVar(&w.key, "key", "", "private key to sign with")
	f.BoolVar(&w.keyless, "keyless", false, "sign as yourself: an identity provider vouches for you, a public log records it")
	f.StringVar(&w.config, "signing-config", "", "signing_config.json with the addresses of the Sigstore services (default the state directory's, for --keyless)")
	f.StringVar(&w.root, "trusted-root", "", "trusted_root.json to check the new signature with (default the state directory's, for --keyless)")
	f.StringVar(&w.flow, "oidc-flow", "auto", "how to prove who you are: auto, ambient (CI), browser, device")
	f.StringVar(&w.issuer, "oidc-issuer", "", "identity provider to log in at (default the signing config's)")
	f.StringVar(&w.client, "oidc-client-id", "", "what arw is called there (default sigstore)")
	f.StringVar(&w.idToken, "identity-token-file", "", "file with an identity token to sign with; - is standard input")
	cmd.MarkFlagsMutuallyExclusive("key", "keyless")
}

// signer is an attester and who it is.
type signer struct {
	signing.Attester
	keyID    string
	identity keyless.Identity
}

// signerFor makes the signer that the flags name; nil when they name none.
func (a *app) signerFor(ctx context.Context, w signWith) (*signer, error) {
	switch {
	case w.keyless:
		return a.keylessSigner(ctx, w)
	case w.key == "":
		return nil, nil
	}
	key, err := a.signingKey(w.key)
	if err != nil {
		return nil, err
	}
	if w.config == "" {
		return &signer{Attester: key, keyID: key.ID()}, nil
	}
	o, err := a.sigstoreOptions(w)
	if err != nil {
		return nil, err
	}
	o.Key = key
	s, err := keyless.New(o)
	return &signer{Attester: s, keyID: key.ID()}, err
}

// keylessSigner gets the certificate at once: a login that fails must fail before anything is published.
func (a *app) keylessSigner(ctx context.Context, w signWith) (*signer, error) {
	dir, err := a.stateDir()
	if err != nil {
		return nil, err
	}
	given := w
	for into, name := range map[*string]string{&w.config: signingConfigFile, &w.root: trustedRootFile} {
		if *into == "" {
			*into = filepath.Join(dir, name)
		}
	}
	o, err := a.sigstoreOptions(w)
	if err != nil {
		if given.config == "" && abi.CodeOf(err) == abi.NotFound {
			return nil, abi.Errorf(abi.NotFound, "sign keylessly: %w", err).
				WithHint(`fetch Sigstore's own files with "arw trust root refresh", or give --signing-config and --trusted-root of a private one`)
		}
		return nil, err
	}
	if o.Token, err = a.tokenSource(w, o); err != nil {
		return nil, err
	}
	s, err := keyless.New(o)
	if err != nil {
		return nil, err
	}
	who, err := s.Identity(ctx)
	return &signer{Attester: s, identity: who}, err
}

func (a *app) sigstoreOptions(w signWith) (keyless.Options, error) {
	o := keyless.Options{Transport: a.outward()}
	text, err := readSmall("signing config", w.config)
	if err != nil {
		return o, err
	}
	if o.Config, err = keyless.ParseConfig(text); err != nil {
		return o, abi.Errorf(abi.CodeOf(err), "%q: %w", w.config, err).WithHint("%s", abi.HintOf(err))
	}
	if w.root != "" {
		if o.TrustedRoot, err = readSmall("trusted root", w.root); err != nil {
			return o, err
		}
	}
	return o, nil
}

// outward is how this command reaches services that a person named: as Go does by default, proxies of the environment
// included.
func (a *app) outward() http.RoundTripper {
	t := http.DefaultTransport.(*http.Transport).Clone()
	t.Proxy = http.ProxyFromEnvironment
	return t
}

// tokenSource decides how to find out who signs. A token is never an argument: other users of the machine can read those.
func (a *app) tokenSource(w signWith, o keyless.Options) (keyless.TokenSource, error) {
	ambient := keyless.Ambient{Env: a.std.env, Transport: o.Transport}
	if w.idToken != "" {
		raw, err := a.readToken(w.idToken)
		if err != nil {
			return nil, err
		}
		t, err := keyless.ParseToken(string(raw))
		return keyless.Given(t), err
	}
	provider := keyless.Provider{Issuer: w.issuer, ClientID: w.client, Transport: o.Transport}
	if provider.Issuer == "" {
		provider.Issuer = o.Config.OIDCIssuer(timeNow())
	}
	device := keyless.Device{Provider: provider, Show: func(at, code string) {
		a.ui(a.std.err).say("open %s on any device and type the code %s", at, code)
	}}
	switch w.flow {
	case "auto":
		if ambient.Present() {
			return ambient, nil
		}
		if a.std.env("DISPLAY") == "" && a.std.env("WAYLAND_DISPLAY") == "" && a.std.env("BROWSER") == "" && runtime.GOOS == "linux" {
			return device, nil
		}
		return keyless.Browser{Provider: provider, Open: a.openBrowser}, nil
	case "ambient":
		return ambient, nil
	case "browser":
		return keyless.Browser{Provider: provider, Open: a.openBrowser}, nil
	case "device":
		return device, nil
	}
	return nil, &usageError{"--oidc-flow is auto, ambient, browser or device, not " + w.flow, `see "arw pack sign --help"`}
}

func (a *app) readToken(file string) ([]byte, error) {
	if file == "-" {
		return readAllUpTo("identity token", "standard input", a.std.in)
	}
	return readSmall("identity token", file)
}

// openBrowser shows the address too: on a machine without a screen a person can carry it elsewhere.
func (a *app) openBrowser(at string) error {
	a.ui(a.std.err).say("log in here: %s", at)
	program, args := "xdg-open", []string{at}
	switch runtime.GOOS {
	case "darwin":
		program = "open"
	case "windows":
		program, args = "rundll32", []string{"url.dll,FileProtocolHandler", at}
	}
	if own := a.std.env("BROWSER"); own != "" {
		program, args = own, []string{at}
	}
	cmd := exec.Command(program, args...)
	if cmd.Start() == nil {
		go func() { _ = cmd.Wait() }()
	}
	return nil
}

// publish signs a pack and, beside that, what was stated when it was built. The release comes last: who sees it finds
// the rest. What the same key stated there before is not stated again: only so many bundles of a pack are ever read.
func (s *signer) publish(ctx context.Context, reg *registry.Registry, name, digest string, stated []author.Attestation) error {
	var before [][]byte
	key, byKey := s.Attester.(*signing.Key)
	if byKey {
		var err error
		if before, err = reg.Bundles(ctx, name, digest); err != nil {
			return err
		}
	}
	for _, at := range append(slices.Clone(stated), author.Attestation{Type: signing.PredicateSign, Predicate: json.RawMessage("{}")}) {
		if byKey && slices.ContainsFunc(before, func(b []byte) bool { return key.Stated(ctx, digest, at.Type, at.Predicate, b) }) {
			continue
		}
		if err := s.state(ctx, reg, name, digest, at.Type, at.Predicate); err != nil {
			return err
		}
	}
	return nil
}

// state attaches a signed statement to a published pack.
func (s *signer) state(ctx context.Context, reg *registry.Registry, name, digest, predicateType string, predicate json.RawMessage) error {
	bundle, err := s.Attest(ctx, digest, predicateType, predicate)
	if err != nil {
		return err
	}
	_, err = reg.Attach(ctx, name, digest, bundle, predicateType)
	return err
}

// pushed is what was published and who signed it.
type pushed struct {
	Name      string `json:"name"`
	Version   string `json:"version,omitempty"`
	Digest    string `json:"digest"`
	Predicate string `json:"predicate,omitempty"` // of an attestation
	KeyID     string `json:"key_id,omitempty"`
	Identity  string `json:"identity,omitempty"`
	Issuer    string `json:"issuer,omitempty"`
	// Attested are the types of what was stated beside the signature.
	Attested []string `json:"attested,omitempty"`
	unit     bool     // not a pack
}

func (p *pushed) states(stated []author.Attestation) {
	for _, at := range stated {
		p.Attested = append(p.Attested, at.Type)
	}
}

func (p *pushed) by(s *signer) {
	p.KeyID, p.Identity, p.Issuer = s.keyID, s.identity.Subject, s.identity.Issuer
}

func (p pushed) tell(u ui) error {
	u.say("%s %s  %s", u.bold(p.Name), p.Version, p.Digest)
	if p.Predicate != "" {
		u.say("attested: %s", p.Predicate)
	}
	for _, kind := range p.Attested {
		u.say("attested: %s", kind)
	}
	switch {
	case p.KeyID != "":
		u.say("signed by key %s", p.KeyID)
	case p.Identity != "":
		u.say("signed by %s of %s", p.Identity, p.Issuer)
	default:
		what := "pack"
		if p.unit {
			what = "unit"
		}
		u.say("%s nobody signed it yet; next: arw %s sign %s@%s --key KEY", u.yellow("unsigned:"), what, p.Name, p.Digest)
	}
	return nil
}

// statedIn reads what a build stated in its folder, which must hold just the files that were published.
func statedIn(ctx context.Context, dir string, reg *registry.Registry, name, digest string) ([]author.Attestation, error) {
	if dir == "" {
		return nil, nil
	}
	f, err := author.Open(dir)
	if err != nil {
		return nil, err
	}
	files, err := f.Files()
	if err != nil {
		return nil, err
	}
	art, err := reg.Pull(ctx, registry.Ref{Name: name, Digest: digest}, nil)
	if err != nil {
		return nil, err
	}
	same := len(files) == len(art.Files)
	for i := 0; same && i < len(files); i++ {
		same = files[i].Name == art.Files[i].Name && bytes.Equal(files[i].Data, art.Files[i].Data)
	}
	if !same {
		return nil, abi.Errorf(abi.Conflict, "sign %q: what lies in %q is not what was published", name+"@"+digest, dir).
			WithHint("build the published sources there, or publish what is there")
	}
	stated, err := f.Attestations()
	if err == nil && stated == nil {
		err = abi.Errorf(abi.NotFound, "sign %q: no build left its provenance in %q", name+"@"+digest, dir).WithHint(`make it with "arw pack build %s"`, dir)
	}
	return stated, err
}

func (a *app) packSignCmd() *cobra.Command {
	var from, predicateFile, predicateType, built string
	var with signWith
	cmd := &cobra.Command{
		Use:   "sign REF",
		Short: "Sign a published pack: attach a Sigstore bundle to its digest",
		Long: `Sign a published pack, by a key or as yourself. With --keyless an identity provider vouches for you, Fulcio issues a
certificate that lives minutes, and the signature is timestamped and written into a Rekor log; there is no key to keep.
With --key and --signing-config a key's signature is logged and timestamped too.

With --predicate the pack is not released but something is stated about it: provenance, a bill of materials, a review.`,
		Example: `  arw pack sign acme/hello:1.0.0 --key acme.key
  arw pack sign acme/hello:1.0.0 --key acme.key --built-in ./hello
  arw pack sign acme/hello:1.0.0 --keyless
  arw pack sign acme/hello:1.0.0 --keyless --signing-config sc.json --trusted-root tr.json --identity-token-file token
  arw pack sign acme/hello:1.0.0 --key acme.key --predicate sbom.json --predicate-type https://cyclonedx.org/bom`,
		Args: cobra.ExactArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			predicate := json.RawMessage("{}")
			if predicateFile != "" {
				text, err := readSmall("predicate", predicateFile)
				if err != nil {
					return err
				}
				predicate = text
			}
			reg, ref, err := a.openRef(args[0], from)
			if err != nil {
				return err
			}
			digest, err := reg.Resolve(cmd.Context(), ref)
			if err != nil {
				return err
			}
			by, err := a.signerFor(cmd.Context(), with)
			if err != nil {
				return err
			}
			doc := pushed{Name: ref.Name, Version: ref.Tag, Digest: digest}
			if predicateFile == "" {
				var stated []author.Attestation
				if stated, err = statedIn(cmd.Context(), built, reg, ref.Name, digest); err != nil {
					return err
				}
				doc.states(stated)
				err = by.publish(cmd.Context(), reg, ref.Name, digest, stated)
			} else {
				doc.Predicate = predicateType
				err = by.state(cmd.Context(), reg, ref.Name, digest, predicateType, predicate)
			}
			if err != nil {
				return err
			}
			doc.by(by)
			return a.print(doc, func(u ui) error { return doc.tell(u) })
		},
	}
	with.flags(cmd)
	cmd.MarkFlagsOneRequired("key", "keyless")
	cmd.Flags().StringVar(&built, "built-in", "", "folder in which the pack was built: sign its provenance and bill of materials too")
	cmd.Flags().StringVar(&predicateFile, "predicate", "", "JSON file with what is stated")
	cmd.Flags().StringVar(&predicateType, "predicate-type", "", "the type of what is stated, a URI")
	cmd.MarkFlagsRequiredTogether("predicate", "predicate-type")
	cmd.MarkFlagsMutuallyExclusive("built-in", "predicate")
	cmd.Flags().StringVar(&from, "registry", "", "registry of a name without one")
	return cmd
}
