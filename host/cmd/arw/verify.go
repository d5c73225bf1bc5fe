package main

import (
	"io"
	"os"
	"strings"

	"github.com/spf13/cobra"

	"github.com/arw-project/arw/abi"
	"github.com/arw-project/arw/signing"
)

// verifyFlags are what `arw verify` expects of a bundle.
type verifyFlags struct {
	bundle, root, key string
	expect            signing.Expect
}

func (a *app) verifyCmd() *cobra.Command {
	var in verifyFlags
	cmd := &cobra.Command{
		Use:   "verify FILE",
		Short: "Verify a Sigstore bundle over any file, offline",
		Long: `Verify that a Sigstore bundle signs a file (or a digest, sha256:<64 hex>), and by whom. It never uses the network:
what is trusted comes from a trusted_root.json and a key file. No trust policy is asked; for packs see "arw trust test".

Exit code 0: verified. 3: the bundle does not prove what is expected; --json gives the reason as a stable code.
1: a file cannot be read. 2: the command line is wrong.`,
		Example: `  arw verify app.tar --bundle app.sigstore.json --trusted-root trusted_root.json \
      --identity ci@acme.example --issuer https://token.example
  arw verify app.tar --bundle app.sigstore.json --trusted-root trusted_root.json --key acme.pub
  arw verify app.tar --bundle app.sigstore.json --key acme.pub --tlog 0 --timestamps 0`,
		Args: cobra.ExactArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error { return a.verify(cmd, args[0], in) },
	}
	f := cmd.Flags()
	f.StringVar(&in.bundle, "bundle", "", "the bundle's file")
	f.StringVar(&in.root, "trusted-root", "", "trusted_root.json of the Sigstore that made it")
	f.StringVar(&in.key, "key", "", "public key file (PEM) of who must have signed")
	f.StringVar(&in.expect.Identity, "identity", "", "identity of who must have signed; * stands for any run of characters but /")
	f.StringVar(&in.expect.Issuer, "issuer", "", "who must have vouched for the identity")
	f.StringVar(&in.expect.Predicate, "predicate-type", "", "what must have been stated (default anything)")
	f.StringVar(&in.expect.Builder, "builder-id", "", "the builder that SLSA provenance must name")
	f.IntVar(&in.expect.SCT, "sct", 1, "distinct certificate logs that must hold the certificate")
	f.IntVar(&in.expect.TLog, "tlog", 1, "distinct transparency logs that must hold the signature")
	f.IntVar(&in.expect.Timestamps, "timestamps", 1, "distinct authorities that must attest the time")
	f.BoolVar(&in.expect.IntegratedTime, "integrated-time", true, "a Rekor v1 log's own time counts as attested")
	_ = cmd.MarkFlagRequired("bundle")
	cmd.MarkFlagsMutuallyExclusive("key", "identity")
	cmd.MarkFlagsMutuallyExclusive("key", "issuer")
	cmd.MarkFlagsRequiredTogether("identity", "issuer")
	cmd.MarkFlagsOneRequired("key", "identity")
	return cmd
}

func (a *app) verify(cmd *cobra.Command, name string, in verifyFlags) (err error) {
	if in.key != "" {
		if in.expect.Key, err = readSmall("public key", in.key); err != nil {
			return err
		}
	}
	if in.root != "" {
		if in.expect.TrustedRoot, err = readSmall("trusted root", in.root); err != nil {
			return err
		}
	}
	checker, err := signing.NewChecker(in.expect)
	if err != nil {
		return err
	}
	bundle, err := readSmall("bundle", in.bundle)
	if err != nil {
		return err
	}
	artifact, closeFile, err := openArtifact(name)
	if err != nil {
		return err
	}
	defer closeFile()
	proof, refusal := checker.Check(cmd.Context(), artifact, bundle)
	if proof == nil {
		return refusal
	}
	if err := a.print(proof, func(u ui) error { tellProof(u, name, proof); return nil }); err != nil {
		return err
	}
	return refusal
}

// openArtifact opens the file of that name, or takes the name for the digest it is.
func openArtifact(name string) (signing.Artifact, func(), error) {
	f, err := os.Open(name)
	if err == nil {
		return signing.Artifact{Data: f}, func() { _ = f.Close() }, nil
	}
	if strings.HasPrefix(name, "sha256:") && os.IsNotExist(err) {
		return signing.Artifact{Digest: name}, func() {}, nil
	}
	return signing.Artifact{}, nil, readError("file", name, err)
}

// maxSmallFile bounds the files that a verification is told by; the artefact itself may have any size.
const maxSmallFile = 4 << 20

func readSmall(what, name string) ([]byte, error) {
	f, err := os.Open(name)
	if err != nil {
		return nil, readError(what, name, err)
	}
	defer f.Close()
	return readAllUpTo(what, name, f)
}

func readAllUpTo(what, name string, r io.Reader) ([]byte, error) {
	data, err := io.ReadAll(io.LimitReader(r, maxSmallFile+1))
	if err != nil {
		return nil, readError(what, name, err)
	}
	if len(data) > maxSmallFile {
		return nil, abi.Errorf(abi.TooLarge, "read %s %q: more than %d bytes", what, name, maxSmallFile)
	}
	return data, nil
}

func readError(what, name string, err error) error {
	code := abi.Unavailable
	if os.IsNotExist(err) {
		code = abi.NotFound
	}
	return abi.Errorf(code, "read %s %q: %w", what, name, err)
}

func tellProof(u ui, name string, p *signing.Proof) {
	if !p.Verified {
		u.say("%s %s  %s", u.bold(name), p.Artifact, u.red("not verified"))
		u.facts("code", string(p.Rejected.Code), "reason", p.Rejected.Reason)
		return
	}
	u.say("%s %s  %s", u.bold(name), p.Artifact, u.green("verified"))
	u.facts(signerFacts(*p.Signer)...)
}
