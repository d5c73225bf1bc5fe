package journal_test

import (
	"runtime"
	"slices"
	"testing"
	"time"

	"github.com/arw-project/arw/host/internal/journal"
)

// A filter chooses the same records from the table as from memory.
func TestFilterByActorProjectAndTime(t *testing.T) {
	_, j := open(t, t.TempDir())
	for _, e := range []journal.Event{
		{Kind: "a.one", Actor: "ann", Project: "p"}, {Kind: "a.two", Actor: "ben", Project: "p"}, {Kind: "b.one", Actor: "ann"},
	} {
		recs, err := j.Append(t.Context(), e)
		if err != nil {
			t.Fatal(err)
		}
		for time.Now().UnixMilli() == recs[0].Time.UnixMilli() { // the stored time has whole milliseconds
			runtime.Gosched()
		}
	}
	all, err := j.Read(t.Context(), 0, 0, journal.Filter{})
	if err != nil {
		t.Fatal(err)
	}
	second := all[1].Time
	for name, c := range map[string]struct {
		f    journal.Filter
		want []int64
	}{
		"actor":         {journal.Filter{Actor: "ann"}, []int64{1, 3}},
		"project":       {journal.Filter{Project: "p"}, []int64{1, 2}},
		"both":          {journal.Filter{Actor: "ann", Project: "p"}, []int64{1}},
		"since":         {journal.Filter{Since: second}, []int64{2, 3}},
		"just after":    {journal.Filter{Since: second.Add(time.Nanosecond)}, []int64{3}},
		"until":         {journal.Filter{Until: second}, []int64{1}},
		"until, barely": {journal.Filter{Until: second.Add(time.Nanosecond)}, []int64{1, 2}},
		"and a prefix":  {journal.Filter{Prefixes: []string{"a."}, Since: second}, []int64{2}},
	} {
		page, err := j.Read(t.Context(), 0, 0, c.f)
		if err != nil {
			t.Fatal(err)
		}
		var table, memory []int64
		for i := range page {
			table = append(table, page[i].ID)
		}
		for i := range all {
			if c.f.Match(&all[i]) {
				memory = append(memory, all[i].ID)
			}
		}
		if !slices.Equal(table, c.want) || !slices.Equal(memory, c.want) {
			t.Errorf("%s: table %v, memory %v, want %v", name, table, memory, c.want)
		}
	}
}
