package host_test

import (
	"strings"
	"testing"

	"github.com/arw-project/arw/abi"
	"github.com/arw-project/arw/host/hosttest"
	"github.com/arw-project/arw/host/internal/action"
	"github.com/arw-project/arw/host/internal/egress"
	"github.com/arw-project/arw/host/internal/infer/infertest"
	"github.com/arw-project/arw/host/internal/journal"
	"github.com/arw-project/arw/host/internal/lease"
	"github.com/arw-project/arw/host/internal/vault"
)

// far is a host whose model "far" is on a server of somebody else, which wants a key.
func far(t *testing.T, policies map[string]string) (*hosttest.Host, *hosttest.Net, *infertest.Server) {
	t.Helper()
	s := infertest.New("openai")
	s.Key = "sk-far-0123456789abcdef"
	n := hosttest.NewNet()
	n.Serve(t, "api.example.com", "93.184.216.34", s)
	h := hosttest.New(t, hosttest.Options{Policies: policies, Config: n.Config})
	h.WriteState("runtimes.toml", "[profile.cloud]\nruntime = \"remote\"\nurl = \"https://api.example.com\"\nmodel = \"fake\"\nsecret = \"far.key\"\n")
	h.WriteState("models.toml", "[model.far]\nprofile = \"cloud\"\nprice_in = 1000000\nprice_out = 2000000\n")
	return h, n, s
}

// A remote model is asked through the guard, with a row of the ledger, a price, and a secret that nobody sees.
func TestARemoteModelIsAskedThroughTheGuard(t *testing.T) {
	t.Parallel()
	h, n, s := far(t, nil)
	ask := `{"model":"far","prompt":"one two","max_tokens":4}`
	h.FailCall("infer.generate", ask, abi.NotFound) // the secret is not there yet
	store(t, h, vault.Secret{Name: "far.key", Kind: vault.Token, Audience: []string{"https://api.example.com"}}, s.Key)
	before := len(s.Bodies())
	p := h.MustCall("infer.preview", ask)
	if !strings.Contains(p, `"remote":true`) || !strings.Contains(p, "api.example.com") || !strings.Contains(p, `"most_usd_micros":79`) || !strings.Contains(p, `"secret":"far.key"`) || len(s.Bodies()) != before {
		t.Errorf("preview %s", p)
	}
	got := h.MustCall("infer.generate", ask)
	if !strings.Contains(got, `"engine":"openai"`) || !strings.Contains(got, `"model":"far"`) || !strings.Contains(got, `"completion_tokens":4`) {
		t.Errorf("got %s", got)
	}
	rows, err := h.Services().Egress.Rows(t.Context(), egress.Query{Decision: "allow"})
	if err != nil || rows[0].Caller.Actor != "operator" || rows[0].Caller.Action == "" || rows[0].Scope != "POST https://api.example.com" || rows[0].Outcome == nil {
		t.Errorf("rows %+v, %v", rows, err)
	}
	es := h.Events(journal.Filter{Prefixes: []string{"infer.done"}})
	if len(es) != 1 || !strings.Contains(string(es[0].Body), `"usd_micros":11`) { // 3 in at 1, 4 out at 2
		t.Errorf("events %+v", es)
	}
	for _, e := range h.Events(journal.Filter{}) {
		if strings.Contains(string(e.Body), s.Key) {
			t.Errorf("%s holds the key", e.Kind)
		}
	}
	if len(n.Dialled()) == 0 || s.Bodies()[len(s.Bodies())-1]["prompt"] != "one two" {
		t.Errorf("dialled %q", n.Dialled())
	}
}

// What stands above the network stands above models, too: policies, the posture, the place of the profile, and the effects of a tool.
func TestARemoteModelReachesNothingElse(t *testing.T) {
	t.Parallel()
	h, n, s := far(t, map[string]string{"site.cedar": `
@id("site.bob")
@reason("bob sends nothing away")
forbid (principal == Agent::"bob", action == Action::"egress", resource);`})
	store(t, h, vault.Secret{Name: "far.key", Kind: vault.Token, Audience: []string{"https://api.example.com"}}, s.Key)
	ask := map[string]any{"model": "far", "prompt": "a", "max_tokens": 1}
	if a := asOperator(t, h, "infer.generate", ask, "agent:bob"); a.Failure == nil || a.Failure.Code != abi.Denied || len(n.Dialled()) != 0 {
		t.Errorf("bob: %s %+v", a.Output, a.Failure)
	}
	if a := asOperator(t, h, "infer.generate", ask, "agent:ann"); a.State != action.Completed {
		t.Errorf("ann: %+v", a.Failure)
	}
	s.Break(infertest.Redirects)
	if a := asOperator(t, h, "infer.generate", ask, "agent:ann"); a.State == action.Completed {
		t.Errorf("a redirect was followed: %s", a.Output)
	}
	s.Break("")
	h.Install(hosttest.Thinker(t))
	grant(t, h, lease.Budget{}, "far")
	if a := h.FailCall("thinker.think", `{"model":"far","prompt":"a"}`, abi.Denied); !strings.Contains(a.Failure.Message, "somebody else's server") {
		t.Errorf("a tool that only reads: %+v", a.Failure)
	}
	if err := h.Services().Egress.SetPosture(t.Context(), egress.Cause{Actor: "operator"}, egress.Off); err != nil {
		t.Fatal(err)
	}
	dialled := len(n.Dialled())
	if a := asOperator(t, h, "infer.generate", ask, "agent:ann"); a.Failure == nil || a.Failure.Code != abi.Denied || len(n.Dialled()) != dialled {
		t.Errorf("with the network off: %s %+v", a.Output, a.Failure)
	}
	h.WriteState("models.toml", "[model.far]\nprofile = \"cloud\"\nfile = \"/x\"\n")
	if got := h.MustCall("runtimes.doctor", `{}`); !strings.Contains(got, "a remote model has no file here") {
		t.Errorf("doctor %s", got)
	}
}
