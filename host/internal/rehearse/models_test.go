package rehearse_test

import (
	"context"
	"strings"
	"testing"

	"github.com/arw-project/arw/abi"
	"github.com/arw-project/arw/host/hosttest"
	"github.com/arw-project/arw/host/internal/rehearse"
	"github.com/arw-project/arw/host/internal/wasm"
	"github.com/arw-project/arw/manifests"
)

// TestModels plays a case whose models are data, and shows that one fails whose models were asked otherwise.
func TestModels(t *testing.T) {
	t.Parallel()
	a := hosttest.Thinker(t)
	man, err := manifests.ParsePack("pack.toml", []byte(a.TOML))
	if err != nil {
		t.Fatal(err)
	}
	e, err := wasm.Open(wasm.Options{})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = e.Close() })
	s, err := rehearse.Load(t.Context(), e, man, "sha256:0", a.Module, false)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = s.Close(context.Background()) })
	const name = "testdata/models/answers.txtar"
	c := parse(t, man, name)
	for _, r := range s.Play(t.Context(), c, *update) {
		if !r.OK {
			t.Errorf("%s", tell([]rehearse.Result{r}))
		}
	}
	golden(t, name, string(c.Text()))
	const ask = "tool = \"thinker.think\"\n%-- input.json --\n{\"prompt\": \"x\"}\n"
	for head, want := range map[string]string{
		"": "no_model_configured",
		"[[model]]\nasked = \"y\"\ntext = \"z\"\n":                                 "has no [[model]] left for that",
		"[[model]]\ntext = \"z\"\n[[model]]\nmodel = \"b\"\ntext = \"z\"\n":        "this answer of a model is left over",
		"[world]\nwithout = [\"infer\"]\n[[model]]\ntext = \"z\"\n":                "denied",
		"error = \"unavailable\"\n[[model]]\nerror = \"unavailable\"\ntimes = 2\n": "left over",
	} {
		c, err := rehearse.ParseCase("x.txtar", []byte(strings.Replace(ask, "%", head, 1)), man)
		if err != nil {
			t.Fatal(head, err)
		}
		if said := tell(s.Play(t.Context(), c, false)); !strings.Contains(said, want) {
			t.Errorf("%q: %s", head, said)
		}
	}
	for head, want := range map[string]string{
		"[[model]]\n": "0 ways",
		"[[model]]\ntext = \"a\"\nscores = [1]\n":         "2 ways",
		"[[model]]\nvectors = \"a\"\n":                    "not numbers",
		"[[model]]\ntext = \"a\"\nfinish = \"perhaps\"\n": "ends in no way",
		"[[model]]\nerror = \"ok\"\n":                     "no code",
	} {
		_, err := rehearse.ParseCase("x.txtar", []byte(strings.Replace(ask, "%", head, 1)), man)
		if abi.CodeOf(err) != abi.Invalid || !strings.Contains(err.Error(), want) {
			t.Errorf("%q: %v", head, err)
		}
	}
}
