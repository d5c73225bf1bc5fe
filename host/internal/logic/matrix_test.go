package logic

import (
	"fmt"
	"testing"
)

func TestMatrix(t *testing.T) {
	t.Parallel()
	s := open(t, t.TempDir(), nil)
	budget := merge("policies/budget", `{"cost_usd":1}`)
	install(t, s, text("a", 50, `slots = ["retrieval"]`, merge("recipes/retrieval", `{"k":9}`)))
	install(t, s, text("b", 50, `slots = ["retrieval"]`, merge("recipes/retrieval", `{"ranking":"rrf"}`)))
	install(t, s, text("c", 60, "", merge("recipes/retrieval", `{"k":10}`)))
	install(t, s, text("d", 50, "[compat]\nconflicts = [\"c\"]\nrequires = [\"nobody\"]", budget))
	install(t, s, text("e", 50, "", merge("context/assembly", `{"slots":{"n":1}}`)))
	pairs, err := s.Matrix(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	var got []string
	for _, p := range pairs {
		kinds := ""
		for _, c := range p.Conflicts {
			kinds += " " + c.Kind
		}
		got = append(got, fmt.Sprintf("%s-%s:%s, %d notes", p.A, p.B, kinds, len(p.Notes)))
	}
	want := []string{"a-b: slot, 0 notes", "a-c:, 1 notes", "c-d: declared, 0 notes", "d-: requires, 0 notes"}
	if fmt.Sprint(got) != fmt.Sprint(want) {
		t.Errorf("the matrix is\n%v, want\n%v", got, want)
	}
}

// What the matrix says of two units is what happens when they are applied together.
func TestMatrixTellsWhatAnApplyDoes(t *testing.T) {
	t.Parallel()
	s := open(t, t.TempDir(), nil)
	for i := range 12 {
		slots := ""
		if i%3 == 0 {
			slots = fmt.Sprintf("slots = [\"s%d\"]", i%2)
		}
		install(t, s, text(fmt.Sprintf("u%02d", i), 50+i%2, slots, merge("context/assembly", fmt.Sprintf(`{"slots":{"n%d":1}}`, i%5))))
	}
	pairs, err := s.Matrix(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	bad := map[string]bool{}
	for _, p := range pairs {
		bad[p.A+p.B] = len(p.Conflicts) > 0
	}
	for i := range 12 {
		for k := range i {
			a, b := fmt.Sprintf("u%02d", k), fmt.Sprintf("u%02d", i)
			p, err := s.Apply(t.Context(), Workspace, []Use{{Unit: a}, {Unit: b}}, How{DryRun: true, By: "operator"})
			if err != nil {
				t.Fatal(err)
			}
			if (len(p.Conflicts) > 0) != bad[a+b] {
				t.Errorf("%s with %s: the matrix says %v, the plan %v", a, b, bad[a+b], p.Conflicts)
			}
		}
	}
}
