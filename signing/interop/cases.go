package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"time"
)

// step is one command of the run and how it must end. $NAME stands for the world's variables.
type step struct {
	group string // heading in the report; empty: as before
	what  string
	argv  string // words between blanks
	fails bool   // it must refuse
	says  string // what it must print then
	env   string // NAME=VALUE, besides the usual
	to    string // file for its output
}

// result is a step and what came of it.
type result struct {
	step
	ok   bool
	out  string
	took time.Duration
}

const (
	who    = "ci@acme.example"
	issuer = oidcURL
	ref    = "arw/collaboration"
	sbom   = "https://cyclonedx.org/bom"
)

var byIdentity = " --certificate-identity " + who + " --certificate-oidc-issuer " + issuer

func (w *world) run(ctx context.Context) ([]result, error) {
	if err := w.prepare(ctx); err != nil {
		return nil, err
	}
	var out []result
	group := ""
	failed := 0
	for _, s := range steps() {
		if s.group == "" {
			s.group = group
		}
		group = s.group
		r := w.do(ctx, s)
		word := "ok  "
		if !r.ok {
			word = "FAIL"
			failed++
		}
		fmt.Printf("%s %6dms %s: %s\n", word, r.took.Milliseconds(), r.group, r.what)
		if !r.ok {
			fmt.Printf("     %s\n%s\n", w.expand(s.argv), r.out)
		}
		out = append(out, r)
	}
	if failed > 0 {
		return out, fmt.Errorf("%d of %d steps failed", failed, len(out))
	}
	return out, nil
}

// prepare makes the files that steps refer to.
func (w *world) prepare(ctx context.Context) error {
	w.env = map[string]string{"W": w.dir, "PACK": w.pack, "DIST": "localhost:5000", "TR": w.path("trusted_root.json"), "SC": w.path("signing_config.json"),
		"TOKEN": w.path("token"), "REF": ref, "OTHER": w.path("other.pub"), "KEY": w.path("acme.key"), "PUB": w.path("acme.pub"), "CKEY": w.path("cosign.key")}
	for name, port := range arwRegistries {
		w.env["R_"+strings.ToUpper(strings.ReplaceAll(name, "-", "_"))] = "127.0.0.1:" + port
	}
	if err := fetchTo(ctx, oidcURL+"/mint?email="+who, w.env["TOKEN"]); err != nil {
		return err
	}
	raw, err := os.ReadFile(w.env["TOKEN"])
	if err != nil {
		return err
	}
	w.env["RAWTOKEN"] = string(raw)
	self, err := os.Executable()
	if err != nil {
		return err
	}
	if err := os.WriteFile(w.path("browser"), []byte("#!/bin/sh\nexec "+self+" browse \"$1\"\n"), 0o755); err != nil {
		return err
	}
	root := "schema = 1\n[root.main]\ntrusted_root = \"trusted_root.json\"\n"
	identity := func(id, iss string) string {
		return root + "[signer.ci]\nroot = \"main\"\nissuer = \"" + iss + "\"\nidentity = \"" + id + "\"\n"
	}
	rule := "[[rule]]\npacks = \"arw/*\"\nsigners = [\"ci\"]\n"
	require := func(predicate, more string) string {
		return "[[rule.require]]\npredicate = \"" + predicate + "\"\nsigners = [\"ci\"]\n" + more
	}
	slsa := "https://slsa.dev/provenance/v1"
	for name, text := range map[string]string{
		"identity.toml":       identity(who, issuer) + rule,
		"other-identity.toml": identity("eve@acme.example", issuer) + rule,
		"other-issuer.toml":   identity(who, "https://token.example") + rule,
		"key.toml":            root + "[signer.ci]\nroot = \"main\"\nkey = \"acme.pub\"\n" + rule,
		"bare.toml":           "schema = 1\n[signer.ci]\nkey = \"acme.pub\"\ntlog = 0\n" + rule,
		"other-key.toml":      root + "[signer.ci]\nroot = \"main\"\nkey = \"other.pub\"\n" + rule,
		"attested.toml":       identity(who, issuer) + rule + require(slsa, "builder_id = \"https://builder.example/v1\"\n") + require(sbom, ""),
		"built.toml":          identity(who, issuer) + rule + require(slsa, "") + require(sbom, ""),
		"other-builder.toml":  identity(who, issuer) + rule + require(slsa, "builder_id = \"https://laptop.example\"\n"),
		"slsa.json":           `{"buildDefinition":{"buildType":"https://builder.example/type","externalParameters":{},"internalParameters":{},"resolvedDependencies":[]},"runDetails":{"builder":{"id":"https://builder.example/v1"},"metadata":{}}}`,
		"sbom.json":           `{"bomFormat":"CycloneDX","specVersion":"1.6","version":1,"components":[]}`,
		"blob.txt":            "any artefact\n",
		"tampered.txt":        "any artefact?\n",
	} {
		if err := os.WriteFile(w.path(name), []byte(text), 0o644); err != nil {
			return err
		}
	}
	return os.MkdirAll(w.path("home"), 0o755)
}

func fetchTo(ctx context.Context, at, file string) error {
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, at, nil)
	if err != nil {
		return err
	}
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		return err
	}
	defer resp.Body.Close()
	data, err := io.ReadAll(resp.Body)
	if err != nil {
		return err
	}
	return os.WriteFile(file, data, 0o600)
}

func (w *world) expand(text string) string {
	return os.Expand(text, func(name string) string { return w.env[name] })
}

func (w *world) do(ctx context.Context, s step) result {
	begin := time.Now()
	r := result{step: s}
	var err error
	switch words := strings.Fields(s.argv); words[0] {
	case "install":
		r.out, err = w.install(ctx, w.expand(words[1]), w.expand(words[2]))
	case "bundle": // FILE REGISTRY PREDICATE: takes a stored bundle out of one of our registries
		err = w.takeBundle(w.expand(words[1]), words[2], words[3])
	default:
		r.out, err = w.command(ctx, s, words)
	}
	r.took = time.Since(begin)
	r.ok = (err != nil) == s.fails && strings.Contains(r.out, s.says)
	if s.fails && err != nil && s.says == "" {
		r.ok = false // a refusal must be for the right reason
	}
	if err != nil {
		r.out += "\n" + err.Error()
	}
	return r
}

func (w *world) command(ctx context.Context, s step, words []string) (string, error) {
	for i := range words {
		words[i] = w.expand(words[i])
	}
	program := w.arw
	if words[0] != "arw" {
		program = filepath.Join(w.bin, words[0])
	}
	cmd := exec.CommandContext(ctx, program, words[1:]...)
	cmd.Dir = w.dir
	cmd.Env = []string{"HOME=" + w.path("home"), "PATH=" + os.Getenv("PATH"), "COSIGN_PASSWORD=", "NO_COLOR=1", "ARW_STATE_DIR=" + w.path("state")}
	if s.env != "" {
		cmd.Env = append(cmd.Env, w.expand(s.env))
	}
	if strings.HasPrefix(s.env, "ENV ") { // several
		cmd.Env = append(cmd.Env, strings.Fields(w.expand(s.env))[1:]...)
	}
	raw, err := cmd.CombinedOutput()
	if s.to != "" && err == nil {
		err = os.WriteFile(w.expand(s.to), raw, 0o644)
	}
	if words[0] == "arw" && w.env["DIGEST"] == "" {
		var doc struct{ Digest string }
		if json.Unmarshal(raw, &doc) == nil && doc.Digest != "" {
			w.env["DIGEST"] = doc.Digest
		}
	}
	return string(raw), err
}

// install runs a host with a trust policy and has it install the pack from a registry.
func (w *world) install(ctx context.Context, registry, policy string) (string, error) {
	state, err := os.MkdirTemp(w.dir, "host-")
	if err != nil {
		return "", err
	}
	for _, name := range []string{"trusted_root.json", "acme.pub", "other.pub"} {
		data, err := os.ReadFile(w.path(name))
		if err != nil {
			return "", err
		}
		if err := os.WriteFile(filepath.Join(state, name), data, 0o644); err != nil {
			return "", err
		}
	}
	text, err := os.ReadFile(policy)
	if err == nil {
		err = os.WriteFile(filepath.Join(state, "trust.toml"), text, 0o644)
	}
	if err != nil {
		return "", err
	}
	env := []string{"HOME=" + w.path("home"), "PATH=" + os.Getenv("PATH"), "NO_COLOR=1"}
	host := exec.CommandContext(ctx, w.arw, "--state", state, "serve", "--listen", "127.0.0.1:8200", "--registry", registry)
	host.Env = env
	if err := host.Start(); err != nil {
		return "", err
	}
	defer func() { _ = host.Process.Kill(); _ = host.Wait() }()
	tick := time.NewTicker(100 * time.Millisecond)
	defer tick.Stop()
	for range 300 {
		resp, err := http.Get("http://127.0.0.1:8200/healthz")
		if err == nil {
			_ = resp.Body.Close()
			break
		}
		<-tick.C
	}
	in := exec.CommandContext(ctx, w.arw, "--state", state, "install", ref+":0.1.0")
	in.Env = env
	raw, err := in.CombinedOutput()
	return string(raw), err
}

// takeBundle copies the bundle with a predicate type out of the directory of one of our registries.
func (w *world) takeBundle(file, registry, predicate string) error {
	found, err := w.bundles(registry)
	if err != nil {
		return err
	}
	if found[predicate] == nil {
		return fmt.Errorf("no bundle of type %s in %s", predicate, registry)
	}
	return os.WriteFile(file, found[predicate], 0o644)
}

// bundles are the Sigstore bundles in one of our registries, by predicate type.
func (w *world) bundles(registry string) (map[string][]byte, error) {
	out := map[string][]byte{}
	err := filepath.WalkDir(w.path("reg-"+registry), func(name string, d os.DirEntry, err error) error {
		if err != nil || d.IsDir() {
			return err
		}
		info, err := d.Info()
		if err != nil || info.Size() > 1<<20 {
			return err
		}
		data, err := os.ReadFile(name)
		if err != nil {
			return err
		}
		var b struct {
			MediaType string
			Envelope  struct{ Payload []byte } `json:"dsseEnvelope"`
		}
		var st struct{ PredicateType string }
		if json.Unmarshal(data, &b) == nil && strings.HasPrefix(b.MediaType, "application/vnd.dev.sigstore.bundle") && json.Unmarshal(b.Envelope.Payload, &st) == nil {
			out[st.PredicateType] = data
		}
		return nil
	})
	return out, err
}

// keep copies what a unit test can verify for years: the signatures that the real services made.
func (w *world) keep(dir string) error {
	if err := os.MkdirAll(dir, 0o755); err != nil {
		return err
	}
	short := map[string]string{"https://sigstore.dev/cosign/sign/v1": "release", "https://slsa.dev/provenance/v1": "provenance", sbom: "sbom"}
	files := map[string][]byte{"digest": []byte(w.env["DIGEST"] + "\n")}
	for registry := range arwRegistries {
		if registry == "bare" || registry == "pushed" {
			continue // several people signed there; what it says depends on this build
		}
		found, err := w.bundles(registry)
		if err != nil {
			return err
		}
		for predicate, data := range found {
			files[registry+"-"+short[predicate]+".json"] = data
		}
	}
	for _, name := range []string{"trusted_root.json", "signing_config.json", "acme.pub", "blob.txt", "blob-keyless.json", "blob-key.json"} {
		data, err := os.ReadFile(w.path(name))
		if err != nil {
			return err
		}
		files[name] = data
	}
	var errs []error
	for name, data := range files {
		errs = append(errs, os.WriteFile(filepath.Join(dir, name), data, 0o644))
	}
	return errors.Join(errs...)
}
