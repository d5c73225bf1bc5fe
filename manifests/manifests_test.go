package manifests_test

import (
	"encoding/json"
	"errors"
	"os"
	"reflect"
	"regexp"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/rogpeppe/go-internal/txtar"

	"github.com/arw-project/arw/abi"
	"github.com/arw-project/arw/manifests"
	"github.com/arw-project/arw/manifests/strict"
)

// fromCase parses the manifest of a case.
func fromCase(tb testing.TB, name string) ([]byte, *manifests.Pack) {
	tb.Helper()
	archive, err := txtar.ParseFile(casesDir + "/" + name + ".txtar")
	if err != nil {
		tb.Fatal(err)
	}
	p, err := manifests.ParsePack("pack.toml", archive.Files[0].Data)
	if err != nil {
		tb.Fatal(err)
	}
	return archive.Files[0].Data, p
}

func TestParsePackGivesValues(t *testing.T) {
	t.Parallel()
	_, p := fromCase(t, "full")
	tool, ok := p.Tool("paper.search")
	if !ok {
		t.Fatal("no paper.search")
	}
	if got, want := tool.Limits, (manifests.Limits{Memory: 128 << 20, Gas: 5e9, Time: 90 * time.Second, Input: 64 << 10, Output: 1 << 20}); got != want {
		t.Errorf("limits: got %+v, want %+v", got, want)
	}
	if tool.Effects != abi.Reads || tool.Isolation != "session" || !strings.HasPrefix(tool.Description, "Ranks the passages") {
		t.Errorf("got %+v", tool)
	}
	if err := tool.Input.Validate([]byte(`{"query":"x","k":101}`)); err == nil {
		t.Error("the input schema let k = 101 pass")
	}
	if got, want := string(tool.Examples[0].Input), `{"k":3,"query":"what is a lease?"}`; got != want {
		t.Errorf("example: got %s, want %s", got, want)
	}
	if got := string(tool.Examples[1].Output); got != "null" {
		t.Errorf("output of the second example: got %s", got)
	}
	fs, ok := p.Capability(abi.FS)
	want := manifests.Capability{
		Name: abi.FS, Scope: []string{"read:*", "write:/srv/papers/notes"}, Reason: "Reads the papers you choose and writes notes beside them.",
		Ask: true, TTL: 36 * time.Hour, Budget: manifests.Budget{Calls: 100_000, Bytes: 2 << 30},
	}
	if !ok || !reflect.DeepEqual(*fs, want) {
		t.Errorf("fs: got %+v, want %+v", fs, want)
	}
	var names []string
	for _, c := range p.Capabilities {
		names = append(names, string(c.Name))
	}
	if got, want := strings.Join(names, " "), "action clock event fs kv log rand state"; got != want {
		t.Errorf("capabilities: got %s, want %s", got, want)
	}
	if got, want := p.Files(), []string{"bin/paper.wasm", "units/terse.toml", "recipes/weekly.json", "panels/shelf.json"}; !reflect.DeepEqual(got, want) {
		t.Errorf("files: got %v, want %v", got, want)
	}
	if _, ok := p.Tool("paper"); ok {
		t.Error("found a tool that is not there")
	}
	if _, ok := p.Capability("http"); ok {
		t.Error("found a capability that is not there")
	}
}

func TestParsePackErrorCarriesTheProblems(t *testing.T) {
	t.Parallel()
	p, err := manifests.ParsePack("x/pack.toml", []byte("name = 'a'\nwhat = 1\n"))
	e, ok := errors.AsType[*abi.Error](err)
	if !ok || e.Code != abi.Invalid || p != nil {
		t.Fatalf("got %v, %v", p, err)
	}
	problems, ok := e.Detail.(strict.Problems)
	if !ok || len(problems) != 6 || problems[0].File != "x/pack.toml" {
		t.Errorf("got %+v", e.Detail)
	}
	if !strings.HasPrefix(e.Msg, "read manifest: 6 problems\nx/pack.toml:1: ") {
		t.Errorf("got %s", e.Msg)
	}
	text, err := json.Marshal(problems[5])
	if want := `{"file":"x/pack.toml","line":2,"key":"what","msg":"unknown key"}`; err != nil || string(text) != want {
		t.Errorf("got %s, %v; want %s", text, err, want)
	}
}

func TestParsePackBoundsItsInput(t *testing.T) {
	t.Parallel()
	_, err := manifests.ParsePack("pack.toml", []byte(strings.Repeat("#", manifests.MaxSize+1)))
	if abi.CodeOf(err) != abi.Invalid || !strings.Contains(err.Error(), "at most 262144 are allowed") {
		t.Errorf("got %v", err)
	}
}

func TestWindowsLineEndsAreTheSameManifest(t *testing.T) {
	t.Parallel()
	src, p := fromCase(t, "full")
	again, err := manifests.ParsePack("pack.toml", []byte(strings.ReplaceAll(string(src), "\n", "\r\n")))
	if err != nil {
		t.Fatal(err)
	}
	if got, want := again.Digest(), p.Digest(); got != want {
		t.Errorf("got %s, want %s", got, want)
	}
}

func TestDigest(t *testing.T) {
	t.Parallel()
	src, p := fromCase(t, "full")
	if got := p.Digest(); !regexp.MustCompile(`^sha256:[0-9a-f]{64}$`).MatchString(got) {
		t.Errorf("got %s", got)
	}
	text, err := json.Marshal(p)
	if err != nil {
		t.Fatal(err)
	}
	if again, err := manifests.CanonicalJSON(text); err != nil || string(again) != string(p.Canonical()) {
		t.Errorf("json.Marshal gives another manifest: %v: %s", err, again)
	}
	// Whatever a reader may rely on changes the digest.
	for _, change := range [][2]string{
		{"1.2.0-rc.1", "1.2.0-rc.2"}, {"MIT OR", "ISC OR"}, {">=1.0 <3", ">=1.0 <4"}, {"effects = \"reads\"", "effects = \"writes\""}, {"minLength = 1", "minLength = 2"},
		{"128MiB", "129MiB"}, {"k = 3", "k = 4"}, {"ask = true", "ask = false"}, {"1d12h", "1d13h"}, {"calls = 100_000", "calls = 100_001"}, {"read:*", "read:/"},
		{"Dates notes.", "Dates things."}, {"units/terse.toml", "units/other.toml"}, {"Weekly reading", "Monthly reading"}, {"type = \"array\"", "type = \"object\""},
	} {
		changed := strings.Replace(string(src), change[0], change[1], 1)
		other, err := manifests.ParsePack("pack.toml", []byte(changed))
		if err != nil || changed == string(src) || other.Digest() == p.Digest() {
			t.Errorf("%s instead of %s: %v, or the same digest", change[1], change[0], err)
		}
	}
}

func TestParseName(t *testing.T) {
	t.Parallel()
	for _, name := range []string{"arw/research", "a/b", "3d/2048", "a-b/c--d", strings.Repeat("x", 64) + "/y"} {
		namespace, rest, err := manifests.ParseName(name)
		if err != nil || namespace+"/"+rest != name {
			t.Errorf("%s: got %q, %q, %v", name, namespace, rest, err)
		}
	}
	for _, name := range []string{
		"", "a", "/", "a/", "/b", "a/b/c", "A/b", "a_b/c", "-a/b", "a/b-", "a.b/c", "a b/c", "a/b\n", "ä/b", strings.Repeat("x", 65) + "/y", "../etc",
	} {
		namespace, rest, err := manifests.ParseName(name)
		if abi.CodeOf(err) != abi.Invalid || abi.HintOf(err) == "" || namespace+rest != "" {
			t.Errorf("%q: got %q, %q, %v", name, namespace, rest, err)
		}
	}
}

func TestCanonicalJSON(t *testing.T) {
	t.Parallel()
	// The example of RFC 8785 §3.2.2 and §3.2.3, and the corners around it.
	for doc, want := range map[string]string{
		`{"numbers":[333333333.33333329,1E30,4.50,2e-3,0.000000000000000000000000001],"string":"\u20ac$\u000F\u000aA'\u0042\u0022\u005c\\\"\/","literals":[null,true,false]}`:                                        `{"literals":[null,true,false],"numbers":[333333333.3333333,1e+30,4.5,0.002,1e-27],"string":"€$\u000f\nA'B\"\\\\\"/"}`,
		`{"\u20ac":"Euro Sign","\r":"Carriage Return","\ufb33":"Hebrew Letter Dalet With Dagesh","1":"One","\ud83d\ude00":"Emoji: Grinning Face","\u0080":"Control","\u00f6":"Latin Small Letter O With Diaeresis"}`: "{\"\\r\":\"Carriage Return\",\"1\":\"One\",\"\u0080\":\"Control\",\"ö\":\"Latin Small Letter O With Diaeresis\",\"€\":\"Euro Sign\",\"😀\":\"Emoji: Grinning Face\",\"\ufb33\":\"Hebrew Letter Dalet With Dagesh\"}",
		`-0`: `0`, `-0.0`: `0`, `9007199254740992`: `9007199254740992`, `-1`: `-1`, `[ ]`: `[]`, `{ }`: `{}`, `"\u007f\u2028"`: "\"\u007f\u2028\"",
	} {
		if got, err := manifests.CanonicalJSON([]byte(doc)); err != nil || string(got) != want {
			t.Errorf("%s\ngot  %s, %v\nwant %s", doc, got, err, want)
		}
	}
	for _, doc := range []string{`9007199254740993`, `-9007199254740993`, `1e309`, `{"a":1,"a":2}`, `[1`, ``} {
		if got, err := manifests.CanonicalJSON([]byte(doc)); abi.CodeOf(err) != abi.Invalid || got != nil {
			t.Errorf("%s: got %s, %v", doc, got, err)
		}
	}
}

func TestParsePackFromManyGoroutines(t *testing.T) {
	t.Parallel()
	src, p := fromCase(t, "full")
	want := p.Digest()
	var wg sync.WaitGroup
	for range 8 {
		wg.Go(func() {
			again, err := manifests.ParsePack("pack.toml", src)
			if err != nil || again.Digest() != want || p.Digest() != want {
				t.Errorf("got %v, %v", again, err)
			}
		})
	}
	wg.Wait()
}

// fence finds the TOML examples of a page: whole manifests.
var fence = regexp.MustCompile("(?ms)^```toml\n(.*?)^```$")

func TestExamplesOfTheSpecificationAreAccepted(t *testing.T) {
	t.Parallel()
	page, err := os.ReadFile("../docs/spec/manifest.md")
	if err != nil {
		t.Fatal(err)
	}
	blocks := fence.FindAllSubmatch(page, -1)
	if len(blocks) < 2 {
		t.Fatalf("found %d examples, expected more", len(blocks))
	}
	for i, block := range blocks {
		p, err := manifests.ParsePack("manifest.md", block[1])
		if err != nil {
			t.Errorf("%s\n%v", block[1], err)
		} else if i == 0 && !strings.Contains(string(page), "\n    "+p.Digest()+"\n") {
			t.Errorf("the page does not give the digest of its first example, %s", p.Digest())
		}
	}
}

// What the page says about keys and limits must be what the parser does; the words are looked up, not the sense.
func TestSpecificationNamesEveryKey(t *testing.T) {
	t.Parallel()
	page, err := os.ReadFile("../docs/spec/manifest.md")
	if err != nil {
		t.Fatal(err)
	}
	var schema struct {
		Properties map[string]any                                 `json:"properties"`
		Defs       map[string]struct{ Properties map[string]any } `json:"$defs"`
	}
	if err := json.Unmarshal(manifests.PackSchema(), &schema); err != nil {
		t.Fatal(err)
	}
	check := func(keys map[string]any) {
		for key := range keys {
			if !strings.Contains(string(page), "`"+key+"`") {
				t.Errorf("the page does not mention the key `%s`", key)
			}
		}
	}
	check(schema.Properties)
	for _, def := range schema.Defs {
		check(def.Properties)
	}
}

func BenchmarkParsePack(b *testing.B) {
	src, _ := fromCase(b, "full")
	b.ReportAllocs()
	for b.Loop() {
		if _, err := manifests.ParsePack("pack.toml", src); err != nil {
			b.Fatal(err)
		}
	}
}

func BenchmarkDigest(b *testing.B) {
	_, p := fromCase(b, "full")
	b.ReportAllocs()
	for b.Loop() {
		_ = p.Digest()
	}
}
