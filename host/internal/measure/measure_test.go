package measure

import (
	"encoding/json"
	"fmt"
	"math"
	"testing"

	"github.com/arw-project/arw/abi"
	"github.com/arw-project/arw/host/internal/journal"
)

func rec(kind, pack, body string) *journal.Record {
	return &journal.Record{Kind: kind, Pack: pack, Body: json.RawMessage(body)}
}

// Every metric of the list, over one journal.
func TestMetrics(t *testing.T) {
	t.Parallel()
	records := []*journal.Record{
		rec("actions.submitted", "", `{"kind":"a"}`),
		rec("actions.completed", "", `{"kind":"a","ran_ms":10,"usage":{"gas":100}}`),
		rec("actions.completed", "", `{"kind":"a","ran_ms":20,"usage":{"gas":300}}`),
		rec("actions.failed", "", `{"kind":"a","ran_ms":90}`),
		rec("actions.completed", "", `{"kind":"b","ran_ms":5000,"usage":{"gas":9}}`),
		rec("infer.done", "", `{"model":"m","prompt_tokens":7,"completion_tokens":3,"ms":40,"usd_micros":1500000}`),
		rec("infer.failed", "", `{"model":"m","prompt_tokens":5,"completion_tokens":0,"ms":60,"usd_micros":500000}`),
		rec("infer.done", "", `{"model":"other","prompt_tokens":1000,"ms":1}`),
		rec("policy.denied", "acme/x", `{}`),
		rec("policy.denied", "acme/y", `{}`),
	}
	want := map[string]struct {
		of    string
		value float64
		n     int
	}{
		"actions.count": {"a", 3, 3}, "actions.failed_ratio": {"a", 1.0 / 3, 3}, "actions.gas_mean": {"a", 200, 2}, "actions.ran_ms_mean": {"a", 40, 3},
		"actions.ran_ms_p95": {"a", 90, 3}, "infer.count": {"m", 2, 2}, "infer.failed_ratio": {"m", 0.5, 2}, "infer.ms_mean": {"m", 50, 2},
		"infer.tokens": {"m", 15, 2}, "infer.usd": {"m", 2, 2}, "policy.denied_count": {"acme/x", 1, 1},
	}
	for _, m := range Metrics() {
		w, listed := want[m.Name]
		s, err := New(m.Name, w.of, nil)
		if err != nil || !listed {
			t.Fatalf("%s: %v, %v", m.Name, err, listed)
		}
		if v, n := s.Value(); v != 0 || n != 0 {
			t.Errorf("%s of nothing is %v of %d", m.Name, v, n)
		}
		for _, r := range records {
			s.Add(r)
		}
		if v, n := s.Value(); math.Abs(v-w.value) > 1e-9 || n != w.n {
			t.Errorf("%s is %v of %d, want %v of %d", m.Name, v, n, w.value, w.n)
		}
	}
	if _, err := New("joy", "", nil); abi.CodeOf(err) != abi.Invalid {
		t.Errorf("joy can be measured: %v", err)
	}
}

func TestPercentileForgetsTheOldest(t *testing.T) {
	t.Parallel()
	s, err := New("actions.ran_ms_p95", "", func(r *journal.Record) bool { return r.Project == "p" })
	if err != nil {
		t.Fatal(err)
	}
	for i := range 3 * maxValues {
		r := rec("actions.completed", "", fmt.Sprintf(`{"ran_ms":%d}`, i))
		if r.Project = "p"; i%2 == 0 {
			r.Project = "q"
		}
		s.Add(r)
	}
	// 1.5·maxValues were of p; the newest maxValues of them are 4097, 4099, …, 12287.
	if v, n := s.Value(); n != 3*maxValues/2 || v != 4097+2*(math.Ceil(0.95*maxValues)-1) {
		t.Errorf("it is %v of %d", v, n)
	}
}
