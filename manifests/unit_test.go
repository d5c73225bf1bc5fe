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
// them must all be good.
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
	names, err := filepath.Glob(filepath.Join(unitCases, "*.toml"))
	if err != nil || len(names) == 0 {
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
