package journal_test

import (
	"context"
	"database/sql"
	"encoding/json"
	"errors"
	"fmt"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/arw-project/arw/abi"
	"github.com/arw-project/arw/host/internal/db"
	"github.com/arw-project/arw/host/internal/journal"
)

var schema = []db.Migration{{Owner: "journal", Steps: journal.Schema}}

// open opens a journal in dir; the database is closed with the test.
func open(t testing.TB, dir string) (*db.DB, *journal.Journal) {
	t.Helper()
	d, err := db.Open(context.Background(), filepath.Join(dir, "arw.db"), schema)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = d.Close() })
	j, err := journal.Open(context.Background(), d)
	if err != nil {
		t.Fatal(err)
	}
	return d, j
}

func add(t testing.TB, j *journal.Journal, kinds ...string) []journal.Record {
	t.Helper()
	events := make([]journal.Event, len(kinds))
	for i, k := range kinds {
		events[i] = journal.Event{Kind: k, Body: map[string]int{"n": i}}
	}
	records, err := j.Append(context.Background(), events...)
	if err != nil {
		t.Fatal(err)
	}
	return records
}

func wantCode(t *testing.T, err error, code abi.Code, parts ...string) {
	t.Helper()
	if abi.CodeOf(err) != code {
		t.Fatalf("error %v has code %v, want %v", err, abi.CodeOf(err), code)
	}
	for _, p := range parts {
		if !strings.Contains(err.Error(), p) {
			t.Errorf("error %q does not mention %q", err, p)
		}
	}
}

func wantChain(t *testing.T, j *journal.Journal, count int64) {
	t.Helper()
	rep, err := j.Verify(t.Context())
	if err != nil || !rep.OK || rep.Count != count {
		t.Errorf("verify: %+v, %v; want %d good records", rep, err, count)
	}
}

func TestAppendGivesBackWhatIsRead(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	d, j := open(t, dir)
	full := journal.Event{Kind: "research.ingest.completed", Corr: "cor_1", Actor: "ada", Project: "p", Pack: "arw/research", Action: "act_1",
		Body: map[string]string{"html": "<b>&", "text": "Grüße, \u2028 世界"}}
	got, err := j.Append(t.Context(), full, journal.Event{Kind: "service.start"})
	if err != nil {
		t.Fatal(err)
	}
	if got[0].ID != 1 || got[1].ID != 2 || got[1].Prev != got[0].Hash || got[0].Prev != "sha256:"+strings.Repeat("0", 64) {
		t.Errorf("the chain does not begin as specified: %+v", got)
	}
	if string(got[1].Body) != "{}" {
		t.Errorf("no body became %s", got[1].Body)
	}
	if err := d.Close(); err != nil {
		t.Fatal(err)
	}
	_, j = open(t, dir)
	back, err := j.Read(t.Context(), 0, 0, journal.Filter{})
	if err != nil {
		t.Fatal(err)
	}
	a, _ := json.Marshal(got)
	b, _ := json.Marshal(back)
	if string(a) != string(b) {
		t.Errorf("appended %s\nread     %s", a, b)
	}
	more := add(t, j, "service.stop")
	if more[0].ID != 3 || more[0].Prev != got[1].Hash {
		t.Errorf("after reopening the chain goes on with %+v", more[0])
	}
	wantChain(t, j, 3)
}

func TestTimesAreWholeMillisecondsInUTC(t *testing.T) {
	t.Parallel()
	_, j := open(t, t.TempDir())
	r := add(t, j, "a")[0]
	if r.Time.Nanosecond()%1_000_000 != 0 || r.Time.Location().String() != "UTC" {
		t.Errorf("time %v", r.Time)
	}
	r.Time = r.Time.Truncate(time.Second)
	wire, err := json.Marshal(r)
	if want := r.Time.Format(`"time":"2006-01-02T15:04:05.000Z"`); err != nil || !strings.Contains(string(wire), want) {
		t.Errorf("%s, %v; want %s in it", wire, err, want)
	}
}

func TestEventsThatBreakTheRules(t *testing.T) {
	t.Parallel()
	_, j := open(t, t.TempDir())
	raw := func(s string) any { return json.RawMessage(s) }
	cases := []struct {
		name  string
		event journal.Event
		code  abi.Code
		says  string
	}{
		{"empty kind", journal.Event{}, abi.Invalid, "empty word"},
		{"upper case", journal.Event{Kind: "packs.Installed"}, abi.Invalid, `'I'`},
		{"hyphen", journal.Event{Kind: "packs.in-stalled"}, abi.Invalid, `'-'`},
		{"double dot", journal.Event{Kind: "packs..installed"}, abi.Invalid, "empty word"},
		{"dot at the end", journal.Event{Kind: "packs."}, abi.Invalid, "empty word"},
		{"not ASCII", journal.Event{Kind: "påcks"}, abi.Invalid, "not allowed"},
		{"long kind", journal.Event{Kind: strings.Repeat("a", 129)}, abi.Invalid, "129 bytes"},
		{"control character", journal.Event{Kind: "a", Actor: "ada\n"}, abi.Invalid, "actor"},
		{"name not UTF-8", journal.Event{Kind: "a", Pack: "\xff"}, abi.Invalid, "pack"},
		{"long name", journal.Event{Kind: "a", Corr: strings.Repeat("c", 257)}, abi.TooLarge, "257"},
		{"array", journal.Event{Kind: "a", Body: []int{1}}, abi.Invalid, "not a JSON object"},
		{"bytes", journal.Event{Kind: "a", Body: []byte("{}")}, abi.Invalid, "not a JSON object"},
		{"null", journal.Event{Kind: "a", Body: raw("null")}, abi.Invalid, "not a JSON object"},
		{"no JSON", journal.Event{Kind: "a", Body: raw(`{"a":}`)}, abi.Invalid, "not JSON"},
		{"empty JSON", journal.Event{Kind: "a", Body: raw(``)}, abi.Invalid, "not JSON"},
		{"two values", journal.Event{Kind: "a", Body: raw(`{}{}`)}, abi.Invalid, "not JSON"},
		{"not UTF-8", journal.Event{Kind: "a", Body: raw("{\"a\":\"\xff\"}")}, abi.Invalid, "not UTF-8"},
		{"name twice", journal.Event{Kind: "a", Body: raw(`{"b":[{"x":1,"y":2,"\u0078":3}]}`)}, abi.Invalid, "twice"},
		{"does not marshal", journal.Event{Kind: "a", Body: map[string]any{"f": func() {}}}, abi.Invalid, "does not marshal"},
		{"large", journal.Event{Kind: "a", Body: map[string]string{"s": strings.Repeat("x", journal.MaxBody)}}, abi.TooLarge, "1048576"},
	}
	for _, c := range cases {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			_, err := j.Append(t.Context(), journal.Event{Kind: "fine"}, c.event)
			wantCode(t, err, c.code, c.says)
		})
	}
	t.Cleanup(func() {
		if j.Last() != 0 {
			t.Errorf("%d events of refused calls were written", j.Last())
		}
	})
}

func TestBodiesThatKeepTheRules(t *testing.T) {
	t.Parallel()
	_, j := open(t, t.TempDir())
	for in, want := range map[string]string{
		` { "a" : [ 1 , { "a" : "a" } , { "a" : 1 } ] } `: `{"a":[1,{"a":"a"},{"a":1}]}`,
		`{"a":{"b":1},"b":{"a":",\"b\":"}}`:               `{"a":{"b":1},"b":{"a":",\"b\":"}}`,
		`{"":0,"\"":1,"\\":2}`:                            `{"":0,"\"":1,"\\":2}`,
		`{"<":"a&b\u2028","\u003c2":0}`:                   `{"\u003c":"a\u0026b\u2028","\u003c2":0}`,
		`{"n":1e400,"m":12345678901234567890.10}`:         `{"n":1e400,"m":12345678901234567890.10}`,
	} {
		r, err := j.Append(t.Context(), journal.Event{Kind: "a", Body: json.RawMessage(in)})
		if err != nil {
			t.Errorf("%s: %v", in, err)
		} else if string(r[0].Body) != want {
			t.Errorf("%s became %s", in, r[0].Body)
		}
	}
}

func TestAppendTxSharesTheFateOfItsTransaction(t *testing.T) {
	t.Parallel()
	d, j := open(t, t.TempDir())
	boom := errors.New("boom")
	err := d.Write(t.Context(), func(tx *sql.Tx) error {
		if _, err := j.AppendTx(tx, journal.Event{Kind: "a"}, journal.Event{Kind: "b"}); err != nil {
			return err
		}
		return boom
	})
	if !errors.Is(err, boom) {
		t.Fatal(err)
	}
	if j.Last() != 0 {
		t.Errorf("last is %d after a rollback", j.Last())
	}
	if r := add(t, j, "c"); r[0].ID != 1 {
		t.Errorf("the number of an undone event was not given out again: %d", r[0].ID)
	}
	wantChain(t, j, 1)
}

// TestChainHoldsThroughFailures mixes writers whose transactions succeed, fail alone, and take their whole group down.
func TestChainHoldsThroughFailures(t *testing.T) {
	t.Parallel()
	d, j := open(t, t.TempDir())
	boom := errors.New("boom")
	var mu sync.Mutex
	acked := map[int64]string{}
	var wg sync.WaitGroup
	for w := range 32 {
		wg.Go(func() {
			for i := range 30 {
				var got []journal.Record
				err := d.Write(t.Context(), func(tx *sql.Tx) (err error) {
					if got, err = j.AppendTx(tx, journal.Event{Kind: "a", Body: map[string]int{"w": w, "i": i}}); err != nil {
						return err
					}
					switch (w + i) % 10 {
					case 3, 4:
						return boom
					case 7:
						if i%3 == 0 {
							return tx.Rollback()
						}
					}
					return nil
				})
				if err == nil {
					mu.Lock()
					acked[got[0].ID] = got[0].Hash
					mu.Unlock()
				}
			}
		})
	}
	wg.Wait()
	wantChain(t, j, int64(len(acked)))
	n := int64(0)
	for r, err := range j.Follow(t.Context(), 0, journal.Filter{}) {
		if err != nil {
			t.Fatal(err)
		}
		if n++; r.ID != n || acked[n] != r.Hash {
			t.Fatalf("record %d is not the one that was acknowledged as %d", r.ID, n)
		}
		if n == j.Last() {
			break
		}
	}
	if n != int64(len(acked)) {
		t.Errorf("%d records, %d acknowledged", n, len(acked))
	}
}

func TestFilters(t *testing.T) {
	t.Parallel()
	_, j := open(t, t.TempDir())
	for _, e := range []journal.Event{
		{Kind: "packs"}, {Kind: "packs.installed", Pack: "a/b", Corr: "c1"}, {Kind: "packsaddle.x", Corr: "c1"}, {Kind: "packs.a.b", Action: "act_1"},
		{Kind: "leases.granted", Pack: "a/b"}, {Kind: "packs_x.y"}, {Kind: "leases", Corr: "c1", Action: "act_1"},
	} {
		if _, err := j.Append(t.Context(), e); err != nil {
			t.Fatal(err)
		}
	}
	cases := []struct {
		name string
		f    journal.Filter
		want string
	}{
		{"all", journal.Filter{}, "1 2 3 4 5 6 7"},
		{"word", journal.Filter{Prefixes: []string{"packs"}}, "1 2 4"},
		{"word with dot", journal.Filter{Prefixes: []string{"packs."}}, "2 4"},
		{"two prefixes", journal.Filter{Prefixes: []string{"packs.a", "leases."}}, "4 5"},
		{"empty prefix", journal.Filter{Prefixes: []string{""}}, "1 2 3 4 5 6 7"},
		{"part of a word", journal.Filter{Prefixes: []string{"pack"}}, ""},
		{"corr", journal.Filter{Corr: "c1"}, "2 3 7"},
		{"pack", journal.Filter{Pack: "a/b"}, "2 5"},
		{"action", journal.Filter{Action: "act_1"}, "4 7"},
		{"prefix and corr", journal.Filter{Prefixes: []string{"packs"}, Corr: "c1"}, "2"},
		{"like is not a wildcard", journal.Filter{Prefixes: []string{"%", "pack_"}}, ""},
	}
	for _, c := range cases {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			records, err := j.Read(t.Context(), 0, 0, c.f)
			if err != nil {
				t.Fatal(err)
			}
			var read, matched []string
			for _, r := range records {
				read = append(read, fmt.Sprint(r.ID))
			}
			all, err := j.Read(t.Context(), 0, 0, journal.Filter{})
			if err != nil {
				t.Fatal(err)
			}
			for _, r := range all {
				if c.f.Match(&r) {
					matched = append(matched, fmt.Sprint(r.ID))
				}
			}
			if got := strings.Join(read, " "); got != c.want {
				t.Errorf("the table gives %q, want %q", got, c.want)
			}
			if got := strings.Join(matched, " "); got != c.want {
				t.Errorf("Match gives %q, want %q", got, c.want)
			}
		})
	}
}

func TestReadPages(t *testing.T) {
	t.Parallel()
	_, j := open(t, t.TempDir())
	kinds := make([]string, 25)
	for i := range kinds {
		kinds[i] = "k"
	}
	add(t, j, kinds...)
	var ids []int64
	for after := int64(0); ; {
		page, err := j.Read(t.Context(), after, 10, journal.Filter{})
		if err != nil {
			t.Fatal(err)
		}
		if len(page) == 0 {
			break
		}
		if len(page) > 10 {
			t.Fatalf("a page of %d", len(page))
		}
		for _, r := range page {
			ids = append(ids, r.ID)
		}
		after = ids[len(ids)-1]
	}
	if len(ids) != 25 || ids[24] != 25 {
		t.Errorf("ids %v", ids)
	}
}

func TestAPageIsBoundedInBytes(t *testing.T) {
	t.Parallel()
	_, j := open(t, t.TempDir())
	big := map[string]string{"s": strings.Repeat("x", 1<<20-100)}
	for range 8 {
		if _, err := j.Append(t.Context(), journal.Event{Kind: "big", Body: big}); err != nil {
			t.Fatal(err)
		}
	}
	page, err := j.Read(t.Context(), 0, 0, journal.Filter{})
	if err != nil || len(page) == 0 || len(page) > 6 {
		t.Errorf("a page of %d records of 1 MiB, %v", len(page), err)
	}
}
