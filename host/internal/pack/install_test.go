package pack_test

import (
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/arw-project/arw/abi"
	"github.com/arw-project/arw/host/hosttest"
	"github.com/arw-project/arw/host/internal/journal"
	"github.com/arw-project/arw/host/internal/pack"
	"github.com/arw-project/arw/registry"
	"github.com/arw-project/arw/signing"
)

func TestInstallTellsEverythingItRestsOn(t *testing.T) {
	t.Parallel()
	h := hosttest.New(t, hosttest.Options{})
	ref, digest := h.Publish(hosttest.Artifact{TOML: withExamples(t, hosttest.SinkTOML("1.0.0"), "{ n = 1 }"), Module: hosttest.Sink(t)})
	var steps []string
	v, err := h.TryInstall(ref, pack.Options{By: "operator", Corr: "cor_install", Step: func(s string) { steps = append(steps, s) }})
	if err != nil {
		t.Fatal(err)
	}
	want := []string{"resolve", "pull", "verify", "manifest", "inspect", "admit", "compare", "store", "load", "examples", "commit", "done"}
	if !slices.Equal(steps, want) {
		t.Errorf("steps: %v", steps)
	}
	if !v.Allowed || v.Pack != sinkName || v.Version != "1.0.0" || v.Ref != ref || v.By != "operator" || v.Corr != "cor_install" || v.Step != "commit" {
		t.Errorf("verdict: %s", asJSON(t, v))
	}
	d := v.Digests
	for name, got := range map[string]string{
		"manifest": d.Manifest, "module": d.Module, "pack.toml": d.PackTOML, "canonical": d.Canonical, "policy": d.PolicySet, "trust": d.TrustPolicy,
	} {
		if !strings.HasPrefix(got, "sha256:") {
			t.Errorf("digest of %s: %q", name, got)
		}
	}
	if d.Manifest != digest {
		t.Errorf("manifest digest: got %s, want %s", d.Manifest, digest)
	}
	if s := v.Signature; s == nil || !s.Allowed || s.Rule != "test/*" || len(s.Signers) != 1 || s.Signers[0].Name != "test" {
		t.Errorf("signature: %s", asJSON(t, s))
	}
	if v.Load == nil || !slices.Contains(v.Load.Policies, "arw.load.verified") {
		t.Errorf("load: %s", asJSON(t, v.Load))
	}
	if v.Examples != 2 || !slices.Contains(v.Imports, "kv.get") {
		t.Errorf("examples %d, imports %v", v.Examples, v.Imports)
	}
	outcomes := map[string]string{}
	for _, l := range v.Links {
		outcomes[l.Capability] = l.Outcome
		if (l.Lease != "") != (l.Outcome == pack.Granted) || len(l.Decision.Policies) == 0 || !l.Used || l.Reason == "" {
			t.Errorf("link: %s", asJSON(t, l))
		}
		if l.Lease == "" {
			continue
		}
		got, err := h.Services().Leases.Get(l.Lease)
		if err != nil || got.Digest != digest || got.By != "policy" || !slices.Equal(got.Policies, l.Decision.Policies) || got.TTL.Hours() != 24 {
			t.Errorf("lease of %s: %s, %v", l.Capability, asJSON(t, got), err)
		}
	}
	for c, want := range map[string]string{"log": "granted", "kv": "granted", "event": "granted", "state": "granted", "clock": "granted", "rand": "granted", "fs": "asked", "action": "asked"} {
		if outcomes[c] != want {
			t.Errorf("%s: got %q, want %q", c, outcomes[c], want)
		}
	}
	rs := h.Events(journal.Filter{Prefixes: []string{"pack.installed"}, Corr: "cor_install"})
	if len(rs) != 1 || string(rs[0].Body) != asJSON(t, v) || rs[0].Pack != sinkName {
		t.Errorf("journal: %+v", rs)
	}
	if n := len(h.Events(journal.Filter{Prefixes: []string{"leases.granted"}, Corr: "cor_install"})); n != 6 {
		t.Errorf("%d leases journaled", n)
	}
	known, err := h.Services().Packs.Verdict(t.Context(), sinkName)
	if err != nil || asJSON(t, known) != asJSON(t, v) {
		t.Errorf("why: %s, %v", asJSON(t, known), err)
	}
	info, err := h.Services().Packs.Get(sinkName)
	if err != nil || info.State != pack.Ready || info.Digest != digest || len(info.Tools) != 20 || len(info.Models) != 1 {
		t.Errorf("info: %s, %v", asJSON(t, info), err)
	}
	if ts := h.Services().Packs.Tools(); len(ts) != 20 || ts[0].ID != "sink.bytes" || ts[0].Input == nil {
		t.Errorf("tools: %s", asJSON(t, ts))
	}
}

func TestInstallRefuses(t *testing.T) {
	t.Parallel()
	module, toml := hosttest.Sink(t), hosttest.SinkTOML("1.0.0")
	stranger, err := signing.GenerateKey()
	if err != nil {
		t.Fatal(err)
	}
	for _, c := range []struct {
		name     string
		artifact hosttest.Artifact
		step     string
		code     abi.Code
		says     string
	}{
		{"unsigned", hosttest.Artifact{TOML: toml, Module: module, Keys: []*signing.Key{}}, "verify", abi.Unsigned, ""},
		{"signed by a stranger", hosttest.Artifact{TOML: toml, Module: module, Keys: []*signing.Key{stranger}}, "verify", abi.Untrusted, ""},
		{"right key, wrong namespace", hosttest.Artifact{TOML: change(t, toml, `name = "test/sink"`, `name = "else/sink"`), Module: module}, "verify", abi.Untrusted, "else/sink"},
		{"another pack's manifest", hosttest.Artifact{TOML: toml, Module: module, Name: "test/other"}, "manifest", abi.Invalid, `names "test/sink"`},
		{"another version's manifest", hosttest.Artifact{TOML: toml, Module: module, Version: "2.0.0"}, "manifest", abi.Invalid, `"1.0.0"`},
		{"broken manifest", hosttest.Artifact{TOML: toml + "\nodd = 1\n", Module: module}, "manifest", abi.Invalid, "pack.toml:"},
		{"for another host", hosttest.Artifact{TOML: change(t, toml, `abi = "^1.0"`, `abi = "^2.0"`), Module: module}, "manifest", abi.Incompatible, "2.0"},
		{"names a file it lacks", hosttest.Artifact{TOML: toml + "\n[[units]]\nid = \"u\"\ntitle = \"u\"\nfile = \"u.toml\"\n", Module: module}, "manifest", abi.Invalid, "u.toml"},
		{"a unit that is none", withUnit(toml, module, "odd = 1\n"), "manifest", abi.Invalid, "units/u.toml:1"},
		{"a unit for a document this host has not", withUnit(toml, module, unitTOML("u", "recipes/nowhere")), "manifest", abi.Invalid, "recipes/nowhere"},
		{"a unit of another name", withUnit(toml, module, unitTOML("other", "recipes/retrieval")), "manifest", abi.Invalid, `the file "other"`},
		{"a component", hosttest.Artifact{TOML: toml, Module: []byte("\x00asm\x0d\x00\x01\x00")}, "inspect", abi.Incompatible, "component"},
		{"no module at all", hosttest.Artifact{TOML: toml, Module: []byte("hello")}, "inspect", abi.Invalid, ""},
		{"a module without its exports", hosttest.Artifact{TOML: toml, Module: []byte("\x00asm\x01\x00\x00\x00")}, "inspect", abi.Incompatible, "arw_call"},
		{"uses what it does not ask for", hosttest.Artifact{TOML: change(t, toml, "[capabilities.rand]\nreason = \"to roll dice\"\n", ""), Module: module}, "inspect", abi.Denied, "rand"},
		{"wrong runtime", hosttest.Artifact{TOML: change(t, toml, `abi = "^1.0"`, "abi = \"^1.0\"\nruntime = \"extism\""), Module: module}, "inspect", abi.Incompatible, "extism"},
		{"an example that does not hold", hosttest.Artifact{TOML: withExamples(t, toml, "{ n = 2 }"), Module: module}, "examples", abi.ToolFailed, `{"n":1}`},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			h := hosttest.New(t, hosttest.Options{})
			ref, _ := h.Publish(c.artifact)
			v, err := h.TryInstall(ref, pack.Options{})
			refused(t, h, v, err, c.step, c.code)
			if !strings.Contains(err.Error(), c.says) {
				t.Errorf("message %q does not say %q", err, c.says)
			}
			absent(t, h, v.Pack)
		})
	}
}

func TestInstallHintsTheManifestLine(t *testing.T) {
	t.Parallel()
	h := hosttest.New(t, hosttest.Options{})
	ref, _ := h.Publish(hosttest.Artifact{Module: hosttest.Sink(t), TOML: change(t, hosttest.SinkTOML("1.0.0"), "[capabilities.rand]\nreason = \"to roll dice\"\n", "")})
	_, err := h.TryInstall(ref, pack.Options{})
	if hint := abi.HintOf(err); !strings.Contains(hint, "[capabilities.rand]") {
		t.Fatalf("hint: %q", hint)
	}
}

func TestInstallRefusesWhatIsNotThere(t *testing.T) {
	t.Parallel()
	h := hosttest.New(t, hosttest.Options{})
	v, err := h.TryInstall("test/none:1.0.0", pack.Options{})
	refused(t, h, v, err, "resolve", abi.NotFound)
	v, err = h.TryInstall("not a reference", pack.Options{})
	refused(t, h, v, err, "resolve", abi.Invalid)
}

func TestASecondSignatureByAStrangerDoesNoHarm(t *testing.T) {
	t.Parallel()
	h := hosttest.New(t, hosttest.Options{})
	stranger, err := signing.GenerateKey()
	if err != nil {
		t.Fatal(err)
	}
	a := hosttest.SinkPack(t)
	a.Keys = []*signing.Key{stranger, h.Key}
	v := h.Install(a)
	if len(v.Signature.Signers) != 1 || len(v.Signature.Rejected) != 1 || v.Signature.Rejected[0].KeyID != stranger.ID() {
		t.Fatalf("signature: %s", asJSON(t, v.Signature))
	}
}

func TestOverrideAdmitsOneDigestByHand(t *testing.T) {
	t.Parallel()
	h := hosttest.New(t, hosttest.Options{})
	a := hosttest.SinkPack(t)
	a.Keys = []*signing.Key{}
	ref, digest := h.Publish(a)
	v, err := h.TryInstall(ref, pack.Options{By: "operator", OverrideUnsigned: digest})
	if err != nil || v.Override != digest || v.Signature.Allowed || !slices.Contains(v.Load.Policies, "arw.load.override") {
		t.Fatalf("verdict: %s, %v", asJSON(t, v), err)
	}
	if got := h.MustCall("sink.echo", `{"n":1}`); got != `{"n":1}` {
		t.Fatalf("got %s", got)
	}
	h.Restart()
	h.MustCall("sink.echo", `{"n":2}`)

	next := hosttest.Artifact{TOML: hosttest.SinkTOML("1.1.0"), Module: hosttest.Sink(t), Keys: []*signing.Key{}}
	ref, _ = h.Publish(next)
	v, err = h.TryInstall(ref, pack.Options{OverrideUnsigned: digest})
	refused(t, h, v, err, "verify", abi.Unsigned)
	h.MustCall("sink.echo", `{"n":3}`)
}

func TestPolicyDecidesWhatIsLinked(t *testing.T) {
	t.Parallel()
	const noKV = `@id("test.no_kv")
@reason("nobody keeps anything here")
forbid (principal, action == Action::"link", resource == Capability::"kv");`
	t.Run("a required capability refuses the pack", func(t *testing.T) {
		t.Parallel()
		h := hosttest.New(t, hosttest.Options{Policies: map[string]string{"site.cedar": noKV}})
		ref, _ := h.Publish(hosttest.SinkPack(t))
		v, err := h.TryInstall(ref, pack.Options{})
		refused(t, h, v, err, "admit", abi.Denied)
		if !strings.Contains(err.Error(), "nobody keeps anything here") || !strings.Contains(v.Refused.Hint, "test.no_kv") {
			t.Errorf("error %v, hint %q", err, v.Refused.Hint)
		}
		absent(t, h, sinkName)
	})
	t.Run("an optional one goes without", func(t *testing.T) {
		t.Parallel()
		h := hosttest.New(t, hosttest.Options{Policies: map[string]string{"site.cedar": noKV}})
		v := h.Install(hosttest.Artifact{Module: hosttest.Sink(t), TOML: change(t, hosttest.SinkTOML("1.0.0"),
			"[capabilities.kv]\n", "[capabilities.kv]\noptional = true\n")})
		i := slices.IndexFunc(v.Links, func(l pack.Link) bool { return l.Capability == "kv" })
		if v.Links[i].Outcome != pack.Denied || v.Links[i].Lease != "" {
			t.Fatalf("link: %s", asJSON(t, v.Links[i]))
		}
		h.FailCall("sink.get", `{"key":"a"}`, abi.Denied)
	})
	t.Run("ttl and budget come from the deciding policy and the manifest, the narrower of each", func(t *testing.T) {
		t.Parallel()
		h := hosttest.New(t, hosttest.Options{Policies: map[string]string{"site.cedar": `@id("test.rand")
@ttl("2h")
@budget_calls("3")
permit (principal, action == Action::"link", resource == Capability::"rand");`}})
		v := h.Install(hosttest.Artifact{Module: hosttest.Sink(t), TOML: change(t, hosttest.SinkTOML("1.0.0"),
			"[capabilities.rand]\n", "[capabilities.rand]\nttl = \"1h\"\nbudget = { calls = 10 }\n")})
		i := slices.IndexFunc(v.Links, func(l pack.Link) bool { return l.Capability == "rand" })
		l, err := h.Services().Leases.Get(v.Links[i].Lease)
		if err != nil || l.TTL.Hours() != 1 || l.Budget.Calls != 3 {
			t.Fatalf("lease: %s, %v", asJSON(t, l), err)
		}
		for range 3 {
			h.MustCall("sink.rand", `{}`)
		}
		h.FailCall("sink.rand", `{}`, abi.BudgetExhausted)
	})
}

func TestToolsAndReadModelsBelongToOnePack(t *testing.T) {
	t.Parallel()
	h := installed(t, hosttest.Options{})
	ref, _ := h.Publish(hosttest.Artifact{Module: hosttest.Sink(t), TOML: change(t, hosttest.SinkTOML("1.0.0"),
		`"test/sink"`, `"arw/sink"`)})
	v, err := h.TryInstall(ref, pack.Options{})
	refused(t, h, v, err, "manifest", abi.Conflict)
	if !strings.Contains(err.Error(), sinkName) {
		t.Errorf("message: %v", err)
	}
	ref, _ = h.Publish(hosttest.Artifact{Module: hosttest.Sink(t), TOML: change(t, hosttest.SinkTOML("1.0.1"),
		`"test/sink"`, `"arw/sink"`, `id = "sink.`, `id = "drain.`, `id = "drain.model"`, `id = "sink.model"`)})
	v, err = h.TryInstall(ref, pack.Options{})
	refused(t, h, v, err, "manifest", abi.Conflict)
	absent(t, h, "arw/sink")
	h.MustCall("sink.echo", `{}`)
}

func TestAFlippedByteInTheRegistryIsRefused(t *testing.T) {
	t.Parallel()
	for _, what := range []string{registry.MediaWasm, registry.MediaPackTOML} {
		t.Run(what, func(t *testing.T) {
			t.Parallel()
			h := hosttest.New(t, hosttest.Options{})
			a := hosttest.SinkPack(t)
			ref, _ := h.Publish(a)
			size := int64(len(a.Module))
			if what == registry.MediaPackTOML {
				size = int64(len(a.TOML))
			}
			flip(t, strings.TrimPrefix(h.Location, "dir:"), size)
			v, err := h.TryInstall(ref, pack.Options{})
			refused(t, h, v, err, "pull", abi.Corrupt)
			absent(t, h, sinkName)
		})
	}
}

// flip changes one byte of the one file of a size.
func flip(t *testing.T, dir string, size int64) {
	t.Helper()
	flipped := 0
	err := filepath.Walk(dir, func(path string, info os.FileInfo, err error) error {
		if err != nil || !info.Mode().IsRegular() || info.Size() != size {
			return err
		}
		data, err := os.ReadFile(path)
		if err != nil {
			return err
		}
		data[size/2] ^= 1
		flipped++
		if err := os.Chmod(path, 0o600); err != nil {
			return err
		}
		return os.WriteFile(path, data, 0o600)
	})
	if err != nil || flipped != 1 {
		t.Fatalf("flipped %d files: %v", flipped, err)
	}
}
