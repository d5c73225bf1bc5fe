package api_test

import (
	"encoding/json"
	"errors"
	"fmt"
	"strings"
	"testing"

	"github.com/arw-project/arw/abi"
	"github.com/arw-project/arw/host/api"
)

func TestProblemTravels(t *testing.T) {
	t.Parallel()
	cause := abi.Errorf(abi.Untrusted, "install pack %q: no trusted signature", "a/b").
		WithHint("add a rule").WithDetail(map[string]any{"needed": 1.0})
	p := api.ProblemOf(fmt.Errorf("outer: %w", cause), "cor_1")
	wire, err := json.Marshal(p)
	if err != nil {
		t.Fatal(err)
	}
	var back api.Problem
	if err := json.Unmarshal(wire, &back); err != nil {
		t.Fatal(err)
	}
	got := back.Err()
	if abi.CodeOf(got) != abi.Untrusted || abi.HintOf(got) != "add a rule" || !strings.Contains(got.Error(), `"a/b"`) {
		t.Errorf("after the wire: code %v, hint %q, message %q", abi.CodeOf(got), abi.HintOf(got), got)
	}
	if p.Status != 403 || p.Type != "urn:arw:error:untrusted" || p.Corr != "cor_1" {
		t.Errorf("problem = %s", wire)
	}
}

func TestInternalErrorsKeepTheirTextToThemselves(t *testing.T) {
	t.Parallel()
	p := api.ProblemOf(errors.New("open /secret/path: permission denied"), "cor_2")
	if p.Status != 500 || strings.Contains(p.Detail, "secret") {
		t.Errorf("problem = %+v, want status 500 and no text of the cause", p)
	}
}

func TestEveryCodeSurvivesTheWire(t *testing.T) {
	t.Parallel()
	for _, row := range abi.Codes {
		if row.Code == abi.OK || row.Code == abi.More {
			continue
		}
		p := api.ProblemOf(&abi.Error{Code: row.Code, Msg: "m"}, "")
		if got := abi.CodeOf(p.Err()); got != row.Code {
			t.Errorf("%s came back as %s", row.Name, got)
		}
		if p.Status < 400 || row.Doc == "" {
			t.Errorf("%s has status %d and text %q", row.Name, p.Status, row.Doc)
		}
	}
}
