package abitest_test

import (
	"context"
	"encoding/json"
	"fmt"
	"strings"
	"testing"

	"github.com/arw-project/arw/abi"
	"github.com/arw-project/arw/abi/abitest"
)

// TestSuiteIsSound holds the cases themselves: unique names, tools that README.md lists, codes that exist.
func TestSuiteIsSound(t *testing.T) {
	t.Parallel()
	suite, err := abitest.Suite()
	if err != nil {
		t.Fatal(err)
	}
	names := map[string]bool{}
	for _, c := range suite {
		if names[c.Name] {
			t.Errorf("two cases are called %q", c.Name)
		}
		names[c.Name] = true
		if len(c.Steps) == 0 {
			t.Errorf("%s: %q has no steps", c.Topic, c.Name)
		}
		for _, s := range c.Steps {
			if !strings.HasPrefix(s.Tool, "conform.") {
				t.Errorf("%q calls %q", c.Name, s.Tool)
			}
			for _, code := range s.Code {
				if _, ok := abi.CodeByName(code); !ok {
					t.Errorf("%q expects the code %q, which there is not", c.Name, code)
				}
			}
		}
	}
	if len(suite) < 50 {
		t.Errorf("there are only %d cases", len(suite))
	}
}

// answers is a program that answers every call alike.
type answers struct {
	reply abitest.Reply
	err   error
}

func (a answers) Call(context.Context, abitest.Call) (abitest.Reply, error) { return a.reply, a.err }

// TestSuiteRefuses plays every case against guests that answer the same whatever they are asked. None of them conforms, and
// each case must see that in at least one.
func TestSuiteRefuses(t *testing.T) {
	t.Parallel()
	suite, err := abitest.Suite()
	if err != nil {
		t.Fatal(err)
	}
	liars := []answers{
		{reply: abitest.Reply{Kind: abi.FrameJSON, Body: []byte(`{"count":1}`)}},
		{reply: abitest.Reply{Kind: abi.FrameBytes, Body: []byte("x")}},
		{err: abi.Errorf(abi.Conflict, "m")},
		{err: abi.Errorf(abi.NotFound, "conform.none")},
		{err: fmt.Errorf("wrapped: %w", abi.Errorf(abi.Trap, "m"))},
	}
	for _, c := range suite {
		caught := 0
		for _, l := range liars {
			if c.Run(t.Context(), l) != nil {
				caught++
			}
		}
		if caught < len(liars)-1 {
			t.Errorf("%q holds for %d of %d guests that are all wrong", c.Name, len(liars)-caught, len(liars))
		}
	}
}

// TestMatch is what expectations mean, by one-step cases.
func TestMatch(t *testing.T) {
	t.Parallel()
	tests := []struct {
		got, want string
		holds     bool
	}{
		{`{"a":1}`, `{"a":1.0}`, true},
		{`{"a":1}`, `{"a":2}`, false},
		{`{"a":1,"b":2}`, `{"a":1}`, false},
		{`{"a":1}`, `{"a":1,"b":2}`, false},
		{`["xay"]`, `["~a"]`, true},
		{`["xay"]`, `["~b"]`, false},
		{`[5]`, `["*"]`, true},
		{`[1,2]`, `[1]`, false},
		{`{"code":4}`, `{"code":"denied"}`, true},
		{`{"code":3}`, `{"code":"denied"}`, false},
		{`{"n":9223372036854775808}`, `{"n":9223372036854775807}`, false},
		{`{"n":9223372036854775807}`, `{"n":9223372036854775807}`, true},
		{`"aaa"`, `{"$repeat":["a",3]}`, true},
		{`"aa"`, `{"$repeat":["a",3]}`, false},
		{`[[[]]]`, `{"$nest":3}`, true},
		{`null`, `null`, true},
		{`0`, `null`, false},
		{`[1] [2]`, `[1]`, false},
	}
	for _, tt := range tests {
		c := abitest.Case{Steps: []abitest.Step{{Tool: "conform.json", Want: json.RawMessage(tt.want)}}}
		err := c.Run(t.Context(), answers{reply: abitest.Reply{Kind: abi.FrameJSON, Body: []byte(tt.got)}})
		if (err == nil) != tt.holds {
			t.Errorf("%s against %s: %v", tt.got, tt.want, err)
		}
	}
}

// TestDiffer holds that replies that must differ are seen when they do not.
func TestDiffer(t *testing.T) {
	t.Parallel()
	c := abitest.Case{Differ: true, Steps: []abitest.Step{{Tool: "a"}, {Tool: "b"}}}
	if c.Run(t.Context(), answers{reply: abitest.Reply{Kind: abi.FrameJSON, Body: []byte(`1`)}}) == nil {
		t.Error("two equal replies pass for different ones")
	}
}

// TestWorldIsLookedAt holds that a case sees what the guest left outside.
func TestWorldIsLookedAt(t *testing.T) {
	t.Parallel()
	suite, err := abitest.Suite()
	if err != nil {
		t.Fatal(err)
	}
	for _, c := range suite {
		if c.World == nil {
			continue
		}
		c.Steps = []abitest.Step{{Tool: "conform.echo"}}
		if c.Run(t.Context(), answers{}) == nil {
			t.Errorf("%q does not miss what nobody did", c.Name)
		}
	}
}
