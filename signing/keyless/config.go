package keyless

import (
	"context"
	"crypto/sha256"
	"net/http"
	"net/url"
	"slices"
	"time"

	protobundle "github.com/sigstore/protobuf-specs/gen/pb-go/bundle/v1"
	"github.com/sigstore/sigstore-go/pkg/root"
	"github.com/sigstore/sigstore-go/pkg/sign"
	"github.com/sigstore/sigstore/pkg/signature"

	"github.com/arw-project/arw/abi"
	"github.com/arw-project/arw/signing"
)

type protoBundle = protobundle.Bundle

// Config is a Sigstore signing config (media type "…signingconfig.v0.2+json"): where the services of a deployment are.
type Config struct{ in *root.SigningConfig }

const maxConfig = 1 << 20

// ParseConfig reads a signing config. Every address must be https, or http on this machine: tokens and what they sign for
// travel there. Errors: Invalid, TooLarge.
func ParseConfig(text []byte) (*Config, error) {
	if len(text) > maxConfig {
		return nil, abi.Errorf(abi.TooLarge, "read signing config: %d bytes, at most %d", len(text), maxConfig)
	}
	in, err := root.NewSigningConfigFromJSON(text)
	if err != nil {
		return nil, abi.Errorf(abi.Invalid, "read signing config: %w", err).
			WithHint("it is Sigstore's signing_config.json, media type %s; arw trust root refresh fetches one", root.SigningConfigMediaType02)
	}
	for _, s := range slices.Concat(in.FulcioCertificateAuthorityURLs(), in.OIDCProviderURLs(), in.RekorLogURLs(), in.TimestampAuthorityURLs()) {
		if err := safeURL(s.URL); err != nil {
			return nil, abi.Errorf(abi.Invalid, "read signing config: %w", err).WithHint("use an https address")
		}
	}
	return &Config{in}, nil
}

// safeURL wants https, or http to this machine.
func safeURL(text string) error {
	u, err := url.Parse(text)
	if err != nil || u.Host == "" {
		return abi.Errorf(abi.Invalid, "%q is not an address", text)
	}
	local := u.Hostname() == "localhost" || u.Hostname() == "127.0.0.1" || u.Hostname() == "::1"
	if u.Scheme != "https" && (u.Scheme != "http" || !local) {
		return abi.Errorf(abi.Invalid, "%q is not https", text)
	}
	if u.User != nil {
		return abi.Errorf(abi.Invalid, "the address of %q holds a password", u.Hostname())
	}
	return nil
}

// OIDCIssuer is the identity provider that the config names; empty when it names none.
func (c *Config) OIDCIssuer(now time.Time) string {
	s, err := root.SelectService(c.in.OIDCProviderURLs(), []uint32{1}, now)
	if err != nil {
		return ""
	}
	return s.URL
}

// services are the addresses one signature uses.
type services struct {
	fulcio       string
	rekor, stamp []string
}

// selectServices picks what is in service now. A certificate needs a timestamp, because its own life is minutes and a
// Rekor v2 entry says no time.
func (c *Config) selectServices(now time.Time, keyless bool) (*services, error) {
	out := &services{}
	if keyless {
		ca, err := root.SelectService(c.in.FulcioCertificateAuthorityURLs(), sign.FulcioAPIVersions, now)
		if err != nil {
			return nil, abi.Errorf(abi.Invalid, "sign with Sigstore: the signing config names no Fulcio that is in service").
				WithHint("arw trust root refresh fetches a current signing config")
		}
		out.fulcio = ca.URL
	}
	for _, of := range []struct {
		what     string
		have     []root.Service
		config   root.ServiceConfiguration
		versions []uint32
		into     *[]string
		must     bool
	}{
		{"Rekor v2 log", c.in.RekorLogURLs(), c.rekorCount(), []uint32{2}, &out.rekor, false},
		{"timestamp authority", c.in.TimestampAuthorityURLs(), c.stampCount(), sign.TimestampAuthorityAPIVersions, &out.stamp, keyless},
	} {
		if len(of.have) == 0 && !of.must {
			continue
		}
		picked, err := root.SelectServices(of.have, of.config, of.versions, now)
		if err != nil {
			return nil, abi.Errorf(abi.Invalid, "sign with Sigstore: the signing config names no %s that is in service: %w", of.what, err).
				WithHint("arw signs with Rekor v2 logs and RFC 3161 timestamps; use a signing config that has them")
		}
		for _, s := range picked {
			*of.into = append(*of.into, s.URL)
		}
	}
	return out, nil
}

// rekorCount and stampCount read how many of a kind are to be used; the library faults on a config that does not say.
func (c *Config) rekorCount() (out root.ServiceConfiguration) {
	defer func() { _ = recover() }()
	return c.in.RekorLogURLsConfig()
}

func (c *Config) stampCount() (out root.ServiceConfiguration) {
	defer func() { _ = recover() }()
	return c.in.TimestampAuthorityURLsConfig()
}

func (s *services) options(ctx context.Context, rt http.RoundTripper) sign.BundleOptions {
	out := sign.BundleOptions{Context: ctx}
	for _, u := range s.stamp {
		out.TimestampAuthorities = append(out.TimestampAuthorities,
			sign.NewTimestampAuthority(&sign.TimestampAuthorityOptions{URL: u, Retries: retries, Transport: guard(ctx, rt)}))
	}
	for _, u := range s.rekor {
		out.TransparencyLogs = append(out.TransparencyLogs,
			sign.NewRekor(&sign.RekorOptions{BaseURL: u, Version: 2, ClientV2: &rekor{url: u, client: &http.Client{Transport: guard(ctx, rt), Timeout: serviceTimeout}}}))
	}
	return out
}

// withKey trusts the key that signs beside what the trusted root trusts, so that a bundle can be checked before it leaves.
func withKey(k *signing.Key, base root.TrustedMaterial) (root.TrustedMaterial, error) {
	verifier, err := signature.LoadDefaultVerifier(publicOf(k))
	if err != nil {
		return nil, err
	}
	always := root.NewExpiringKey(verifier, time.Time{}, time.Time{})
	only := root.NewTrustedPublicKeyMaterial(func(string) (root.TimeConstrainedVerifier, error) { return always, nil })
	return root.TrustedMaterialCollection{only, base}, nil
}

func sum(data []byte) []byte {
	s := sha256.Sum256(data)
	return s[:]
}
