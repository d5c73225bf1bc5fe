package manifests_test

import (
	"encoding/json"
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/rogpeppe/go-internal/txtar"

	"github.com/arw-project/arw/abi"
	"github.com/arw-project/arw/manifests"
	"github.com/arw-project/arw/manifests/strict"
)

const unitCases = "../testdata/units"

// TestUnitCases holds ParseUnit to testdata/units/*.txtar: a unit.toml and the problems it must cause. The units beside
// them and those of the packs must all be good.
func TestUnitCases(t *testing.T) {
	t.Parallel()
	names, err := filepath.Glob(filepath.Join(unitCases, "*.txtar"))
	if err != nil || len(names) == 0 {
		t.Fatalf("no cases: %v", err)
	}
	for _, name := range names {
		t.Run(strings.TrimSuffix(filepath.Base(name), ".txtar"), func(t *testing.T) {
			t.Parallel()
			archive, err := txtar.ParseFile(name)
			if err != nil {
				t.Fatal(err)
			}
			want := files(archive)
			_, err = manifests.ParseUnit("unit.toml", []byte(want["unit.toml"]))
			problems, ok := errors.AsType[strict.Problems](err)
			if !ok || abi.CodeOf(err) != abi.Invalid {
				t.Fatalf("the error is %v with code %v, not a list of problems", err, abi.CodeOf(err))
			}
			got := problems.Error() + "\n"
			if *update {
				archive.Files = []txtar.File{{Name: "unit.toml", Data: []byte(want["unit.toml"])}, {Name: "problems", Data: []byte(got)}}
				if err := os.WriteFile(name, txtar.Format(archive), 0o644); err != nil {
					t.Fatal(err)
				}
				return
			}
			if got != want["problems"] {
				t.Errorf("got:\n%s\nwant:\n%s", got, want["problems"])
			}
		})
	}
}

func goodUnits(tb testing.TB) map[string][]byte {
	tb.Helper()
	names, err := filepath.Glob("../packs/*/units/*.toml")
	if more, _ := filepath.Glob(filepath.Join(unitCases, "*.toml")); err == nil {
		names = append(names, more...)
	}
	if err != nil || len(names) < 7 {
		tb.Fatalf("no units: %v", err)
	}
	units := map[string][]byte{}
	for _, name := range names {
		src, err := os.ReadFile(name)
		if err != nil {
			tb.Fatal(err)
		}
		units[filepath.Base(name)] = src
	}
	return units
}

func TestOneUnitOneDigest(t *testing.T) {
	t.Parallel()
	const src = "id = \"u\"\ntitle = \"U\"\nversion = \"1.0.0\"\ncategory = \"policy\"\ndescription = \"x\"\n"
	one := src + "[[patches]]\ntarget = \"a/b\"\nvalue = { k = 1.0 }\n"
	same := "# a comment\n" + src + "priority = 50\n[[patches]]\nvalue = '{\"k\": 1}'\nop = \"merge\"\ntarget = \"a/b\"\n"
	other := strings.Replace(one, "1.0 }", "1.5 }", 1)
	digest := func(src string) string {
		u, err := manifests.ParseUnit("unit.toml", []byte(src))
		if err != nil {
			t.Fatal(err)
		}
		return u.Digest()
	}
	if digest(one) != digest(same) {
		t.Error("two ways of writing one unit have two digests")
	}
	if digest(one) == digest(other) {
		t.Error("two units have one digest")
	}
}

func TestResolve(t *testing.T) {
	t.Parallel()
	const src = `
id = "u"
title = "U"
version = "1.0.0"
category = "policy"
description = "x"
[parameters.n]
type = "number"
description = "x"
default = 0.5
[parameters.word]
type = "string"
description = "x"
default = "a\"b"
[parameters.on]
type = "boolean"
description = "x"
default = true
`
	for _, c := range []struct{ name, value, params, want string }{
		{"typed", `{"a":"${n}","b":"${on}","c":"${word}"}`, `{}`, `{"a":0.5,"b":true,"c":"a\"b"}`},
		{"given", `{"a":"${n}"}`, `{"n":2}`, `{"a":2}`},
		{"in a text", `{"a":"n is ${n}, word is ${word}"}`, `{}`, `{"a":"n is 0.5, word is a\"b"}`},
		{"twice", `{"a":"${n}${n}"}`, `{}`, `{"a":"0.50.5"}`},
		{"escaped", `{"a":"$${n} and $${ and $n"}`, `{}`, `{"a":"${n} and ${ and $n"}`},
		{"a value is never read again", `{"a":"${word}"}`, `{"word":"${n}"}`, `{"a":"${n}"}`},
		{"deep", `{"a":[{"b":["${n}"]}]}`, `{}`, `{"a":[{"b":[0.5]}]}`},
		{"keys are not touched", `{"$n":1}`, `{}`, `{"$n":1}`},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			u, err := manifests.ParseUnit("unit.toml", []byte(src+"[[patches]]\ntarget = \"a/b\"\nvalue = '''"+c.value+"'''\n"))
			if err != nil {
				t.Fatal(err)
			}
			var given map[string]json.RawMessage
			if err := json.Unmarshal([]byte(c.params), &given); err != nil {
				t.Fatal(err)
			}
			patches, err := u.Resolve(given)
			if err != nil {
				t.Fatal(err)
			}
			got, err := json.Marshal(patches[0].Value)
			if err != nil || string(got) != c.want {
				t.Errorf("got %s, want %s", got, c.want)
			}
		})
	}
}

func FuzzParseUnit(f *testing.F) {
	for _, src := range goodUnits(f) {
		f.Add(src)
	}
	f.Add([]byte("id = \"u\"\n[parameters.n]\ntype = \"integer\"\ndefault = inf\nminimum = 2026-01-01\n[[patches]]\ntarget = \"a/b\"\nop = \"jsonpatch\"\nvalue = [{ op = \"add\", path = \"a\" }]"))
	f.Fuzz(func(t *testing.T, src []byte) {
		u, err := manifests.ParseUnit("unit.toml", src)
		if err != nil {
			if abi.CodeOf(err) != abi.Invalid {
				t.Fatalf("code %v: %v", abi.CodeOf(err), err)
			}
			return
		}
		if !json.Valid(u.Canonical()) {
			t.Fatalf("the canonical form is no JSON: %s", u.Canonical())
		}
		if _, err := u.Resolve(nil); err != nil {
			t.Fatalf("a good unit does not resolve with its defaults: %v", err)
		}
	})
}

// TestWhatUnitsSayMore holds the words beyond patches to their meaning, and the digest of a unit that says none of them to
// what it was before there were any.
func TestWhatUnitsSayMore(t *testing.T) {
	t.Parallel()
	src := goodUnits(t)["every-word.toml"]
	u, err := manifests.ParseUnit("unit.toml", src)
	if err != nil {
		t.Fatal(err)
	}
	canonical := string(u.Canonical())
	for _, want := range []string{
		`"abi":"^1.0"`, `"kind":"transform"`, `"models":["chat"]`, `"min_context":8192`, `"transform":{"documents":["recipes/retrieval"],"gas":50000000,"pack":"acme/tuner","tool":"tune.fit"}`,
		`"permissions":[{"budget":{"bytes":0,"calls":10},"capability":"http","pack":"acme/tuner","reason":"asks its service","scope":["GET https://api.acme.example"],"ttl_ms":3600000}]`,
		`"guards":[{"least":20,"max":0.1,"metric":"actions.failed_ratio","of":"research.search","window_ms":86400000}]`,
		`"promotion":{"after_ms":3600000,"approvals":2,"experiment":"ndcg@10"}`, `"ui":{"controls":["factor"],"explainer":"Moves it."}`,
		`"provenance":{"derived_from":"","source":"https://acme.example/tuner"}`,
	} {
		if !strings.Contains(canonical, want) {
			t.Errorf("%s is not in %s", want, canonical)
		}
	}
	const plain = "id = \"u\"\ntitle = \"U\"\nversion = \"1.0.0\"\ncategory = \"policy\"\ndescription = \"x\"\n[[patches]]\ntarget = \"a/b\"\nvalue = { k = 1 }\n"
	if u, err = manifests.ParseUnit("unit.toml", []byte(plain)); err != nil {
		t.Fatal(err)
	}
	const before = `{"authors":[],"category":"policy","compat":{"conflicts":[],"requires":[]},"description":"x","id":"u","license":"","parameters":{},"patches":[{"op":"merge","target":"a/b","value":{"k":1}}],"priority":50,"schema":1,"slots":[],"tests":[],"title":"U","version":"1.0.0"}`
	if got := string(u.Canonical()); got != before {
		t.Errorf("a plain unit is %s", got)
	}
	_, err = manifests.ParseUnit("unit.toml", []byte("warp = true\nabi = \"^9.0\"\n"+plain))
	if abi.CodeOf(err) != abi.Incompatible || !strings.Contains(err.Error(), "another ABI") {
		t.Errorf("a unit for another ABI: %v", err)
	}
	huge := plain + "# " + strings.Repeat("x", manifests.MaxSize)
	if _, err = manifests.ParseUnit("unit.toml", []byte(huge)); abi.CodeOf(err) != abi.Invalid || !strings.Contains(err.Error(), "at most") {
		t.Errorf("a huge unit: %v", err)
	}
}
