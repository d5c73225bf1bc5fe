package host_test

import (
	"encoding/json"
	"testing"

	"github.com/arw-project/arw/host"
	"github.com/arw-project/arw/host/hosttest"
	"github.com/arw-project/arw/host/internal/logic"
	"github.com/arw-project/arw/host/internal/snappy"
)

// What governor/hints says is what the host holds itself to, from the next judgement on and without a restart; what nobody set there
// leaves the operator's budgets.
func TestHintsGovernTheHost(t *testing.T) {
	t.Parallel()
	h := hosttest.New(t, hosttest.Options{Config: func(c *host.Config) { c.Snappy.Budgets = snappy.Budgets{snappy.Full: 7e9} }})
	s := h.Services()
	budgets := func() (held map[string]float64) {
		t.Helper()
		if err := s.Snappy.Judge(t.Context()); err != nil {
			t.Fatal(err)
		}
		raw, err := json.Marshal(s.Snappy.Document().(map[string]any)["budgets"])
		if err == nil {
			err = json.Unmarshal(raw, &held)
		}
		if err != nil {
			t.Fatal(err)
		}
		return held
	}
	if b := budgets(); b["full_result_ms"] != 7000 || b["i2f_ms"] != 50 {
		t.Errorf("the operator's budgets are %v", b)
	}
	if _, err := s.Logic.Edit(t.Context(), logic.Workspace, "governor/hints", "merge", map[string]any{"feedback_ms": 20, "full_ms": 3000}, logic.How{By: "operator"}); err != nil {
		t.Fatal(err)
	}
	if b := budgets(); b["full_result_ms"] != 3000 || b["i2f_ms"] != 20 || b["first_partial_ms"] != 150 {
		t.Errorf("with hints they are %v", b)
	}
	if _, err := s.Logic.Unedit(t.Context(), logic.Workspace, "governor/hints", logic.How{By: "operator"}); err != nil {
		t.Fatal(err)
	}
	if b := budgets(); b["full_result_ms"] != 7000 || b["i2f_ms"] != 50 {
		t.Errorf("with the hints taken back they are %v", b)
	}
}
