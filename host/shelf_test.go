package host_test

import (
	"bytes"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/arw-project/arw/abi"
	"github.com/arw-project/arw/host/api"
	"github.com/arw-project/arw/host/hosttest"
	"github.com/arw-project/arw/host/internal/action"
	"github.com/arw-project/arw/host/internal/egress"
	"github.com/arw-project/arw/host/internal/infer/infertest"
	"github.com/arw-project/arw/host/internal/journal"
)

// pulling is a host with a profile, and a network in which models.example.com has a file and /moved leads to cdn.example.com.
func pulling(t *testing.T, policies map[string]string) (h *hosttest.Host, n *hosttest.Net, digest string) {
	t.Helper()
	file := infertest.TinyGGUF(1)
	sum := sha256.Sum256(file)
	serve := http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.URL.Path == "/moved" {
			http.Redirect(w, r, "https://cdn.example.com/file", http.StatusFound)
			return
		}
		w.Header().Set("ETag", `"one"`)
		http.ServeContent(w, r, "", time.Time{}, bytes.NewReader(file))
	})
	n = hosttest.NewNet()
	n.Serve(t, "models.example.com", "93.184.216.34", serve)
	n.Serve(t, "cdn.example.com", "93.184.216.35", serve)
	h = hosttest.New(t, hosttest.Options{Policies: policies, Config: n.Config})
	h.WriteState("runtimes.toml", "[profile.small]\nruntime = \"llama\"\nbinary = \"/bin/true\"\n")
	return h, n, "sha256:" + hex.EncodeToString(sum[:])
}

func asOperator(t *testing.T, h *hosttest.Host, kind string, in any, actor string) action.Action {
	t.Helper()
	raw, err := json.Marshal(in)
	if err != nil {
		t.Fatal(err)
	}
	a, _, err := h.Services().Actions.Submit(t.Context(), action.Request{Kind: kind, Input: raw, Actor: actor})
	if err != nil {
		t.Fatal(err)
	}
	return h.Wait(a.ID)
}

// A model comes through the guard, under a lease of its own that is gone afterwards, and can be asked without a restart.
func TestAModelIsPulledThroughTheGuard(t *testing.T) {
	t.Parallel()
	h, n, digest := pulling(t, nil)
	want := api.PullModel{Name: "tiny", URL: "https://models.example.com/file?token=hidden", Digest: digest, Profile: "small", Default: true}
	for _, actor := range []string{"", "agent:bob"} {
		if a := asOperator(t, h, "models.pull", want, actor); a.Failure == nil || a.Failure.Code != abi.Denied || len(n.Dialled()) != 0 {
			t.Fatalf("as %q: %s %+v", actor, a.Output, a.Failure)
		}
	}
	a := asOperator(t, h, "models.pull", want, "operator")
	if a.State != action.Completed || !strings.Contains(string(a.Output), `"quantisation":"F32"`) {
		t.Fatalf("%s %+v", a.Output, a.Failure)
	}
	if got := h.MustCall("infer.models", `{}`); !strings.Contains(got, `"name":"tiny"`) || !strings.Contains(got, `"default":true`) || !strings.Contains(got, digest) {
		t.Errorf("models %s", got)
	}
	kinds := map[string]int{}
	for _, e := range h.Events(journal.Filter{Prefixes: []string{"models.", "egress.token.", "egress.ledger."}}) {
		kinds[e.Kind]++
		if strings.HasPrefix(e.Kind, "models.") && (e.Action != a.ID || strings.Contains(string(e.Body), "hidden")) {
			t.Errorf("%s of %s: %s", e.Kind, e.Action, e.Body)
		}
	}
	if kinds["models.pulled"] != 1 || kinds["models.pull.progress"] < 2 || kinds["egress.token.issued"] != 1 || kinds["egress.token.revoked"] != 1 || kinds["egress.ledger.settled"] != 2 { // the name, and the file
		t.Errorf("events %v", kinds)
	}
	rows, err := h.Services().Egress.Rows(t.Context(), egress.Query{})
	if err != nil || len(rows) != 2 || rows[0].Caller.Actor != "process:models" || rows[0].Caller.Action != a.ID {
		t.Errorf("rows %+v, %v", rows, err)
	}
	if left := h.Services().Egress.Tokens(); len(left) != 0 {
		t.Errorf("tokens in force: %+v", left)
	}
	if b := asOperator(t, h, "models.pull", want, "operator"); b.Failure == nil || b.Failure.Code != abi.Conflict {
		t.Errorf("again: %+v", b.Failure)
	}
	// What models.toml names stays; what it names no more goes, and can be had again.
	if b := asOperator(t, h, "models.sweep", struct{}{}, "person:ann"); !strings.HasSuffix(string(b.Output), `"removed":[]}`) {
		t.Errorf("swept %s %+v", b.Output, b.Failure)
	}
	if err := os.WriteFile(filepath.Join(h.Config().StateDir, "models.toml"), nil, 0o600); err != nil {
		t.Fatal(err)
	}
	h.FailCall("infer.generate", `{"prompt":"a"}`, abi.NoModel)
	if b := asOperator(t, h, "models.sweep", struct{}{}, "operator"); !strings.Contains(string(b.Output), digest) || !strings.Contains(string(b.Output), `"bytes":0`) {
		t.Errorf("swept %s %+v", b.Output, b.Failure)
	}
}

// A redirect is a place of its own; a policy of the operator stands above the lease; a wrong digest is not kept.
func TestAPullReachesNothingElse(t *testing.T) {
	t.Parallel()
	h, n, digest := pulling(t, map[string]string{"site.cedar": `
@id("site.no_models")
@reason("nobody fetches from the shelf /private")
forbid (principal, action == Action::"egress", resource) when { context.path like "/private*" };`})
	pull := func(edit func(*api.PullModel)) action.Action {
		in := api.PullModel{Name: "tiny", URL: "https://models.example.com/file", Digest: digest, Profile: "small"}
		edit(&in)
		return asOperator(t, h, "models.pull", in, "operator")
	}
	for name, tc := range map[string]struct {
		edit func(*api.PullModel)
		code abi.Code
	}{
		"a redirect":       {func(p *api.PullModel) { p.URL = "https://models.example.com/moved" }, abi.Denied},
		"a policy":         {func(p *api.PullModel) { p.URL = "https://models.example.com/private/file" }, abi.Denied},
		"this machine":     {func(p *api.PullModel) { p.URL = "https://127.0.0.1/file" }, abi.Denied},
		"plain text":       {func(p *api.PullModel) { p.URL = "http://models.example.com/file" }, abi.Invalid},
		"no profile":       {func(p *api.PullModel) { p.Profile = "none" }, abi.Invalid},
		"another digest":   {func(p *api.PullModel) { p.Digest = "sha256:" + strings.Repeat("0", 64) }, abi.DigestMismatch},
		"no name":          {func(p *api.PullModel) { p.Name = "" }, abi.Invalid},
		"a name with odds": {func(p *api.PullModel) { p.Name = "a]b" }, abi.Invalid},
	} {
		a := func() action.Action {
			in := api.PullModel{Name: "tiny", URL: "https://models.example.com/file", Digest: digest, Profile: "small"}
			tc.edit(&in)
			body, err := json.Marshal(in)
			if err != nil {
				t.Fatal(err)
			}
			v, _, err := h.Services().Actions.Submit(t.Context(), action.Request{Kind: "models.pull", Input: body, Actor: "operator"})
			if err != nil {
				return action.Action{Failure: &action.Failure{Code: abi.CodeOf(err)}}
			}
			return h.Wait(v.ID)
		}()
		if a.Failure == nil || a.Failure.Code != tc.code {
			t.Errorf("%s: %s %+v", name, a.Output, a.Failure)
		}
	}
	if got := h.MustCall("infer.models", `{}`); got != `{"models":[]}` {
		t.Errorf("models %s", got)
	}
	before := len(n.Dialled())
	if a := pull(func(p *api.PullModel) {
		p.URL, p.Also = "https://models.example.com/moved", []string{"GET https://cdn.example.com"}
	}); a.State != action.Completed {
		t.Errorf("with the place it leads to: %+v", a.Failure)
	}
	if got := fmt.Sprint(n.Dialled()[before:]); !strings.Contains(got, "93.184.216.35:443") {
		t.Errorf("dialled %s", got)
	}
}
