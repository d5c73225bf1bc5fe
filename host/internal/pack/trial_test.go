package pack_test

import (
	"os"
	"strings"
	"testing"

	"github.com/arw-project/arw/abi"
	"github.com/arw-project/arw/host"
	"github.com/arw-project/arw/host/hosttest"
	"github.com/arw-project/arw/host/internal/pack"
	"github.com/arw-project/arw/host/internal/wasm"
	"github.com/arw-project/arw/manifests"
)

// TestInstallSoon: an install that serves soon has run the examples before it serves, and refuses as any other does. The
// interpreter answers first (its compiled code is held against the examples that the interpreter has answered, so it cannot
// have served before), and compiled code takes over.
func TestInstallSoon(t *testing.T) {
	t.Parallel()
	cache := t.TempDir() // no compiled code waits in it
	h := hosttest.New(t, hosttest.Options{Config: func(c *host.Config) { c.CacheDir = cache }})
	toml, module := hosttest.SinkTOML("1.0.0"), hosttest.Sink(t)
	ref, _ := h.Publish(hosttest.Artifact{TOML: withExamples(t, toml, "{ n = 2 }"), Module: module})
	v, err := h.TryInstall(ref, pack.Options{Soon: true})
	refused(t, h, v, err, "examples", abi.ToolFailed)
	absent(t, h, sinkName)
	h.Stop() // and with it the compiler of what was refused
	if err := os.RemoveAll(cache); err != nil {
		t.Fatal(err)
	}
	h.Start()
	ref, _ = h.Publish(hosttest.Artifact{TOML: withExamples(t, change(t, toml, "1.0.0", "1.0.1"), "{ n = 1 }"), Module: module})
	if v, err = h.TryInstall(ref, pack.Options{Soon: true}); err != nil || v.Examples != 2 {
		t.Fatalf("%v, %s", err, asJSON(t, v))
	}
	p := h.Services().Packs.Running(sinkName)
	first := p.Stats()
	if first.Interpreted < 2 || first.Calls < 2 {
		t.Errorf("the examples were not answered by the interpreter: %+v", first)
	}
	if in := h.MustCall("sink.echo", `{"n":7}`); in != `{"n":7}` {
		t.Errorf("it answered %s", in)
	}
	if err := p.Settle(t.Context()); err != nil {
		t.Fatal(err)
	}
	settled := p.Stats()
	if in := h.MustCall("sink.echo", `{"n":8}`); in != `{"n":8}` {
		t.Errorf("compiled code answered %s", in)
	}
	last := p.Stats()
	if !last.Compiled || last.Calls != settled.Calls+1 || last.Interpreted != settled.Interpreted {
		t.Errorf("compiled code did not take over: %+v, then %+v", settled, last)
	}
	if h.Services().Packs.Running(sinkName) != p {
		t.Error("another program serves")
	}
}

// TestCompiledCodeMustAgree: what compiled code answers to the examples is held against what the interpreter answered.
func TestCompiledCodeMustAgree(t *testing.T) {
	t.Parallel()
	man, err := manifests.ParsePack("pack.toml", []byte(withExamples(t, hosttest.SinkTOML("1.0.0"), "{ n = 1 }")))
	if err != nil {
		t.Fatal(err)
	}
	e, err := wasm.Open(wasm.Options{Interpret: true})
	if err != nil {
		t.Fatal(err)
	}
	p, err := e.Load(t.Context(), wasm.Spec{Name: sinkName, Module: hosttest.Sink(t)})
	if err != nil {
		t.Fatal(err)
	}
	defer p.Close(t.Context())
	if err := pack.TryTwice(t.Context(), man, p, p, func() {}); err != nil {
		t.Errorf("the same answers: %v", err)
	}
	err = pack.TryTwice(t.Context(), man, p, p, func() { // from here on the tool answers as if it were miscompiled
		for i := range man.Tools {
			if ex := man.Tools[i].Examples; len(ex) > 0 && string(ex[0].Input) == `{"n":1}` {
				ex[0].Input, ex[0].Output = []byte(`{"n":3}`), nil
			}
		}
	})
	if abi.CodeOf(err) != abi.Incompatible || !strings.Contains(err.Error(), "two engines disagree") {
		t.Errorf("other answers: %v", err)
	}
}
