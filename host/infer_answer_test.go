package host_test

import (
	"encoding/json"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/arw-project/arw/abi"
	"github.com/arw-project/arw/host"
	"github.com/arw-project/arw/host/hosttest"
	"github.com/arw-project/arw/host/internal/infer"
	"github.com/arw-project/arw/host/internal/infer/infertest"
	"github.com/arw-project/arw/host/internal/journal"
	"github.com/arw-project/arw/host/internal/lease"
	"github.com/arw-project/arw/host/internal/logic"
	"github.com/arw-project/arw/host/internal/pack"
)

// answerOut is what research.answer answers, as far as these tests look.
type answerOut struct {
	Answer  string
	Mode    string
	Model   string
	Samples int
	Steps   []struct{ Search string }
	Tokens  int64
	Budget  string
}

// librarian is a host with the pack Research as it is shipped, a folder that it has read, and a model that speaks over HTTP.
func librarian(t *testing.T, models map[string]infer.Model) (h *hosttest.Host, l lease.Lease) {
	t.Helper()
	h = hosttest.New(t, hosttest.Options{Config: func(c *host.Config) { c.Models = models }})
	h.Install(hosttest.BuildFolder(t, "packs/research"))
	dir := t.TempDir()
	if err := os.WriteFile(filepath.Join(dir, "soup.txt"), []byte("Boil the potatoes for twenty minutes.\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	h.Grant("arw/research", abi.FS, "read:"+dir)
	h.MustCall("research.ingest", `{"dir":"`+dir+`"}`)
	return h, h.Grant("arw/research", abi.Infer, "*")
}

func lookUp(t *testing.T, h *hosttest.Host) (out answerOut) {
	t.Helper()
	raw := h.MustCall("research.answer", `{"question":"how long do potatoes boil"}`)
	if err := json.Unmarshal([]byte(raw), &out); err != nil {
		t.Fatalf("%s: %v", raw, err)
	}
	return out
}

func applyUnits(t *testing.T, h *hosttest.Host, uses ...logic.Use) {
	t.Helper()
	if _, err := h.Services().Logic.Apply(t.Context(), logic.Workspace, uses, logic.How{By: "operator"}); err != nil {
		t.Fatal(err)
	}
}

// The shipped units for sampling and reasoning change what is answered, by a model that answers by its seed; every token is
// charged to the lease, and what they did is gone when they are taken back.
func TestUnitsChangeHowAQuestionIsAnswered(t *testing.T) {
	t.Parallel()
	talker := infertest.New("vllm")
	talker.Says = func(prompt string, seed int64) string {
		if strings.Contains(prompt, "SEARCH:") && !strings.Contains(prompt, "You searched for") {
			return "I look.\nSEARCH: potatoes"
		}
		return "ANSWER: " + []string{"ten minutes", "twenty minutes", "Twenty minutes.", "an hour", "twenty minutes"}[(seed+4)%5]
	}
	h, l := librarian(t, map[string]infer.Model{"talker": hosttest.Model(t, talker)})
	plain := lookUp(t, h)
	if plain.Answer != "ten minutes" || plain.Samples != 1 || plain.Model != "talker" || plain.Mode != "direct" {
		t.Fatalf("without a unit: %+v", plain)
	}
	applyUnits(t, h, logic.Use{Unit: "sampling-self-consistency"}, logic.Use{Unit: "reasoning-react-toggle"})
	both := lookUp(t, h)
	if !strings.EqualFold(both.Answer, "twenty minutes") || both.Samples != 5 || both.Mode != "react" || len(both.Steps) != 2 || both.Steps[0].Search != "potatoes" {
		t.Errorf("with both units: %+v", both)
	}
	if u := used(t, h, l); u.Tokens != plain.Tokens+both.Tokens || u.Calls != 1+2*5 {
		t.Errorf("the lease has used %+v, the answers say %d and %d tokens", u, plain.Tokens, both.Tokens)
	}
	for _, unit := range []string{"sampling-self-consistency", "reasoning-react-toggle"} {
		if _, err := h.Services().Logic.Revert(t.Context(), unit, logic.Workspace, logic.How{By: "operator"}); err != nil {
			t.Fatal(err)
		}
	}
	again := lookUp(t, h)
	if again.Answer != plain.Answer || again.Samples != 1 || again.Tokens != plain.Tokens {
		t.Errorf("with the units reverted: %+v, before them %+v", again, plain)
	}
}

// A bound of tokens is held by the pack between requests and by the host within one; the lease's holds whatever the document says.
func TestBudgetsEndWhatIsAnswered(t *testing.T) {
	t.Parallel()
	talker := infertest.New("vllm")
	talker.Says = func(string, int64) string { return "ANSWER: twenty minutes" }
	h, l := librarian(t, map[string]infer.Model{"talker": hosttest.Model(t, talker)})
	one := lookUp(t, h).Tokens
	applyUnits(t, h, logic.Use{Unit: "sampling-self-consistency"})
	edit := func(hard int64) {
		t.Helper()
		if _, err := h.Services().Logic.Edit(t.Context(), logic.Workspace, "policies/budget", "merge", map[string]any{"tokens_hard": hard}, logic.How{By: "operator"}); err != nil {
			t.Fatal(err)
		}
	}
	edit(one*2 + 1)
	if out := lookUp(t, h); out.Budget != "hard" || out.Samples != 2 || out.Answer != "twenty minutes" || out.Tokens > one*2+1 {
		t.Errorf("with tokens for two samples: %+v", out)
	}
	edit(one / 2)
	h.FailCall("research.answer", `{"question":"how long do potatoes boil"}`, abi.BudgetExhausted)
	edit(0)
	if _, err := h.Services().Leases.Revoke(t.Context(), "", l.ID, "operator", "a narrow one comes"); err != nil {
		t.Fatal(err)
	}
	narrow, err := h.Services().Packs.Grant(t.Context(), "", "operator", pack.Grant{Pack: "arw/research", Capability: abi.Infer, Scope: []string{"talker"}, Budget: lease.Budget{Tokens: one*3 + 1}, TTL: time.Hour})
	if err != nil {
		t.Fatal(err)
	}
	if out := lookUp(t, h); out.Budget != "hard" || out.Samples != 3 {
		t.Errorf("with a lease for three samples: %+v", out)
	}
	if u := used(t, h, narrow); u.Tokens > one*3+1 {
		t.Errorf("the lease has used %+v of %d", u, one*3+1)
	}
}

// Without a model there is no answer, and nothing that looks like one.
func TestWithoutAModelNothingIsAnswered(t *testing.T) {
	t.Parallel()
	h, _ := librarian(t, nil)
	a := h.FailCall("research.answer", `{"question":"how long do potatoes boil"}`, abi.NoModel)
	if !strings.Contains(a.Failure.Hint, "models.toml") {
		t.Errorf("the failure is %+v", a.Failure)
	}
	_, err := h.Services().Logic.Apply(t.Context(), logic.Workspace, []logic.Use{{Unit: "sampling-self-consistency"}}, logic.How{By: "operator"})
	if abi.CodeOf(err) != abi.Conflict || !strings.Contains(err.Error(), "needs a model") {
		t.Errorf("the unit for it: %v", err)
	}
	if n := len(h.Events(journal.Filter{Prefixes: []string{"infer.done"}})); n != 0 {
		t.Errorf("%d requests were answered", n)
	}
}

const wide = `id = "wide"
title = "Wide"
version = "1.0.0"
category = "sampling"
description = "Wants room."
[compat]
models = ["MODEL"]
min_context = 512
[[patches]]
target = "recipes/sampling"
value = { samples = 2 }
`

// A unit that wants room for its prompts is told which models there are and how much they take: in the plan, and when applied.
func TestAUnitThatNeedsRoomIsHeldToTheModels(t *testing.T) {
	t.Parallel()
	small, big := infertest.New("vllm"), infertest.New("vllm")
	small.Context = 511
	h := hosttest.New(t, hosttest.Options{Config: func(c *host.Config) {
		c.Models = map[string]infer.Model{"small": hosttest.Model(t, small), "big": hosttest.Model(t, big)}
	}})
	for name, why := range map[string]string{"big": "", "*": "", "small": `512 tokens in one request are wanted, and "small" takes 511`, "none": `no model "none" is configured`} {
		if _, err := h.Services().Logic.Install(t.Context(), []byte(strings.Replace(wide, "MODEL", name, 1)), logic.Installed, "file", "operator", ""); err != nil {
			t.Fatal(err)
		}
		plan, err := h.Services().Logic.Apply(t.Context(), logic.Workspace, []logic.Use{{Unit: "wide"}}, logic.How{By: "operator", DryRun: true})
		if err != nil || (why == "") != (len(plan.Conflicts) == 0) || why != "" && (plan.Conflicts[0].Kind != "model" || !strings.Contains(plan.Conflicts[0].Text, why)) {
			t.Errorf("with model %q the plan has %+v, %v", name, plan.Conflicts, err)
		}
		_, err = h.Services().Logic.Apply(t.Context(), logic.Workspace, []logic.Use{{Unit: "wide"}}, logic.How{By: "operator"})
		if why == "" && err != nil || why != "" && (abi.CodeOf(err) != abi.Conflict || !strings.Contains(err.Error(), why)) {
			t.Errorf("with model %q it is applied with %v", name, err)
		}
	}
}
