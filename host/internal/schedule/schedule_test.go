package schedule_test

import (
	"context"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/arw-project/arw/abi"
	"github.com/arw-project/arw/host/internal/db"
	"github.com/arw-project/arw/host/internal/journal"
	"github.com/arw-project/arw/host/internal/schedule"
)

func TestNext(t *testing.T) {
	t.Parallel()
	for _, c := range []struct{ expr, zone, after, want string }{
		{"* * * * *", "", "2026-01-01T00:00:30Z", "2026-01-01T00:01:00Z"},
		{"30 6 * * *", "", "2026-01-01T06:30:00Z", "2026-01-02T06:30:00Z"},
		{"*/15 9-17 * * mon-fri", "", "2026-01-02T17:50:00Z", "2026-01-05T09:00:00Z"}, // a Friday
		{"0 0 1,15 * *", "", "2026-01-15T00:00:00Z", "2026-02-01T00:00:00Z"},
		{"0 0 13 * fri", "", "2026-02-01T00:00:00Z", "2026-02-06T00:00:00Z"}, // either is enough
		{"0 0 29 feb *", "", "2026-01-01T00:00:00Z", "2028-02-29T00:00:00Z"},
		{"5/20 * * * *", "", "2026-01-01T00:05:00Z", "2026-01-01T00:25:00Z"},
		{"0 12 * * 7", "", "2026-01-01T00:00:00Z", "2026-01-04T12:00:00Z"},
		{"@weekly", "", "2026-01-01T00:00:00Z", "2026-01-04T00:00:00Z"},
		{"0 8 * * *", "Europe/Berlin", "2026-07-01T00:00:00Z", "2026-07-01T06:00:00Z"},
		// The clocks go from 2 to 3 on 29 March 2026: what was for half past two comes at three.
		{"30 2 * * *", "Europe/Berlin", "2026-03-28T12:00:00Z", "2026-03-29T01:00:00Z"},
		{"30 2 * * *", "Europe/Berlin", "2026-03-29T01:00:00Z", "2026-03-30T00:30:00Z"},
		{"30 3 * * *", "Europe/Berlin", "2026-03-28T12:00:00Z", "2026-03-29T01:30:00Z"},
		// They go from 3 to 2 on 25 October: what names its hour comes once, what does not comes on.
		{"30 2 * * *", "Europe/Berlin", "2026-10-24T12:00:00Z", "2026-10-25T00:30:00Z"},
		{"30 2 * * *", "Europe/Berlin", "2026-10-25T00:30:00Z", "2026-10-26T01:30:00Z"},
		{"30 * * * *", "Europe/Berlin", "2026-10-25T00:30:00Z", "2026-10-25T01:30:00Z"},
		{"0 0 * * *", "America/Sao_Paulo", "2018-11-03T12:00:00Z", "2018-11-04T03:00:00Z"}, // a midnight that is left out
	} {
		after, err := time.Parse(time.RFC3339, c.after)
		if err != nil {
			t.Fatal(err)
		}
		got, err := schedule.Next(c.expr, c.zone, after)
		if err != nil || got.Format(time.RFC3339) != c.want {
			t.Errorf("%q in %q after %s: %s, %v; want %s", c.expr, c.zone, c.after, got.Format(time.RFC3339), err, c.want)
		}
	}
}

func TestWhatIsNoSchedule(t *testing.T) {
	t.Parallel()
	b := newBench(t)
	for _, c := range []struct {
		e    schedule.Entry
		says string
	}{
		{schedule.Entry{Name: "A", Tool: "t", Cron: "* * * * *"}, "a name"},
		{schedule.Entry{Name: "a", Cron: "* * * * *"}, "no tool"},
		{schedule.Entry{Name: "a", Tool: "t"}, "either cron or every"},
		{schedule.Entry{Name: "a", Tool: "t", Cron: "* * * * *", Every: time.Hour}, "either cron or every"},
		{schedule.Entry{Name: "a", Tool: "t", Every: time.Millisecond}, "below a second"},
		{schedule.Entry{Name: "a", Tool: "t", Cron: "* * * *"}, "4 fields"},
		{schedule.Entry{Name: "a", Tool: "t", Cron: "60 * * * *"}, `minute "60"`},
		{schedule.Entry{Name: "a", Tool: "t", Cron: "* 5-4 * * *"}, "ends before it begins"},
		{schedule.Entry{Name: "a", Tool: "t", Cron: "*/0 * * * *"}, "step"},
		{schedule.Entry{Name: "a", Tool: "t", Cron: "* * 31 feb *"}, "never comes"},
		{schedule.Entry{Name: "a", Tool: "t", Cron: "* * * * *", Zone: "Mars/Base"}, "zone"},
		{schedule.Entry{Name: "a", Tool: "t", Cron: "* * * * *", Missed: "maybe"}, "no policy"},
		{schedule.Entry{Name: "a", Tool: "t", Cron: "* * * * *", Input: []byte("{")}, "not JSON"},
	} {
		_, err := b.open(c.e)
		if abi.CodeOf(err) != abi.Invalid || !strings.Contains(err.Error(), c.says) {
			t.Errorf("%+v: %v, want %q", c.e, err, c.says)
		}
	}
	if _, err := b.open(hourly(""), hourly("")); abi.CodeOf(err) != abi.Invalid {
		t.Errorf("the same name twice: %v", err)
	}
}

func FuzzCron(f *testing.F) {
	for _, seed := range []string{"* * * * *", "*/15 9-17 * * mon-fri", "0 0 29 feb *", "@daily", "5/20 1,2,3 1-31/2 jan-dec sun", "0 0 31 2 *", "-1 * * * *", "* * * * 7-7"} {
		f.Add(seed)
	}
	from := time.Date(2026, 3, 28, 23, 59, 0, 0, time.UTC)
	f.Fuzz(func(t *testing.T, expr string) {
		next, err := schedule.Next(expr, "Europe/Berlin", from)
		if err != nil {
			if abi.CodeOf(err) != abi.Invalid {
				t.Fatalf("%q: %v", expr, err)
			}
			return
		}
		if !next.After(from) || next.Second() != 0 {
			t.Fatalf("%q: the next is %s", expr, next)
		}
	})
}

// bench is a place for books, whose clock the test sets, and whose submissions it sees.
type bench struct {
	t    *testing.T
	db   *db.DB
	jrn  *journal.Journal
	now  time.Time
	fail error
	got  []schedule.Tick
	ids  map[string]string // by key, as the executor does it
}

func newBench(t *testing.T) *bench {
	t.Helper()
	ctx := context.Background()
	d, err := db.Open(ctx, filepath.Join(t.TempDir(), "arw.db"), []db.Migration{{Owner: "journal", Steps: journal.Schema}, {Owner: "schedule", Steps: schedule.Schema}})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { d.Close() })
	j, err := journal.Open(ctx, d)
	if err != nil {
		t.Fatal(err)
	}
	return &bench{t: t, db: d, jrn: j, now: time.Date(2026, 1, 1, 0, 30, 0, 0, time.UTC), ids: map[string]string{}}
}

func (b *bench) open(entries ...schedule.Entry) (*schedule.Book, error) {
	return schedule.Open(b.t.Context(), b.db, b.jrn, entries, func(_ context.Context, tick schedule.Tick) (string, error) {
		if b.fail != nil {
			return "", b.fail
		}
		if id, ok := b.ids[tick.Key]; ok {
			return id, nil
		}
		b.got = append(b.got, tick)
		b.ids[tick.Key] = "act_" + tick.Key
		return b.ids[tick.Key], nil
	}, schedule.Options{Now: func() time.Time { return b.now }})
}

func (b *bench) must(entries ...schedule.Entry) *schedule.Book {
	b.t.Helper()
	book, err := b.open(entries...)
	if err != nil {
		b.t.Fatal(err)
	}
	return book
}

// came are the times of what was submitted since the last look.
func (b *bench) came() string {
	var out []string
	for _, tick := range b.got {
		out = append(out, tick.At.Format("15:04"))
	}
	b.got = nil
	return strings.Join(out, " ")
}

func (b *bench) want(what, want string) {
	b.t.Helper()
	if got := b.came(); got != want {
		b.t.Fatalf("%s: submitted %q, want %q", what, got, want)
	}
}

// events are the kinds and bodies of the schedules' events since the last look.
func (b *bench) events() string {
	b.t.Helper()
	rs, err := b.jrn.Read(b.t.Context(), 0, 10000, journal.Filter{Prefixes: []string{"schedule."}})
	if err != nil {
		b.t.Fatal(err)
	}
	var out []string
	for _, r := range rs {
		out = append(out, r.Kind+" "+string(r.Body))
	}
	return strings.Join(out, "\n")
}

func hourly(m schedule.Missed) schedule.Entry {
	return schedule.Entry{Name: "clean", Cron: "0 * * * *", Tool: "t", Missed: m, Input: []byte(`{"a":1}`), Project: "p"}
}

func TestATickIsSubmittedOnce(t *testing.T) {
	t.Parallel()
	b := newBench(t)
	book := b.must(hourly(""))
	if wait := book.Step(t.Context()); wait != 30*time.Second { // it looks at the clock more often than it must
		t.Fatalf("waits %s", wait)
	}
	b.want("before its time", "")
	b.now = b.now.Add(30 * time.Minute)
	for range 3 {
		book.Step(t.Context())
	}
	tick := b.got[0]
	b.want("at its time", "01:00")
	if tick.Key != "schedule:clean@2026-01-01T01:00:00Z" || string(tick.Input) != `{"a":1}` || tick.Project != "p" {
		t.Fatalf("%+v", tick)
	}
	if st := book.List(); len(st) != 1 || st[0].Action == "" || st[0].Next.Format("15:04") != "02:00" || st[0].Last.Format("15:04") != "01:00" {
		t.Fatalf("%+v", st)
	}
	b.now = b.now.Add(-20 * time.Hour) // the clock is set back: no tick comes twice
	book.Step(t.Context())
	b.now = b.now.Add(20 * time.Hour)
	book.Step(t.Context())
	b.want("a clock that was set back", "")
	if ev := b.events(); !strings.HasPrefix(ev, schedule.EventFired+" ") || strings.Count(ev, "\n") != 0 {
		t.Fatalf("events: %s", ev)
	}
}

func TestMissedTicks(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		policy schedule.Missed
		down   time.Duration
		want   string
		told   string
	}{
		{"", 5*time.Hour + 20*time.Minute, "", `"count":5`},
		{schedule.Skip, 5*time.Hour + 30*time.Minute, "06:00", `"count":5`}, // that one is not late
		{schedule.Once, 5*time.Hour + 20*time.Minute, "05:00", `"count":4`},
		{schedule.All, 5*time.Hour + 20*time.Minute, "01:00 02:00 03:00 04:00 05:00", ""},
	} {
		t.Run(string(c.policy), func(t *testing.T) {
			b := newBench(t)
			b.must(hourly(c.policy)) // and the host stops
			b.now = b.now.Add(c.down)
			book := b.must(hourly(c.policy))
			book.Step(t.Context())
			b.want("after it was down", c.want)
			ev := b.events()
			if missed := strings.Contains(ev, schedule.EventMissed); missed != (c.told != "") || !strings.Contains(ev, c.told) {
				t.Fatalf("events: %s", ev)
			}
			book.Step(t.Context())
			b.want("again", "")
		})
	}
}

func TestAllMakesUpForAHundred(t *testing.T) {
	t.Parallel()
	b := newBench(t)
	e := schedule.Entry{Name: "beat", Every: time.Second, Tool: "t", Missed: schedule.All}
	b.must(e)
	b.now = b.now.Add(24 * time.Hour)
	b.must(e).Step(t.Context())
	if n := len(b.got); n != schedule.MaxMissed+1 || !b.got[n-1].At.Equal(b.now) {
		t.Fatalf("%d ticks", n)
	}
	if ev := b.events(); !strings.Contains(ev, `"count":86299`) {
		t.Fatalf("events: %.300s", ev)
	}
}

func TestABusyHostIsAskedAgain(t *testing.T) {
	t.Parallel()
	b := newBench(t)
	book := b.must(hourly(""))
	b.now = b.now.Add(30 * time.Minute)
	b.fail = abi.Errorf(abi.Busy, "full")
	if wait := book.Step(t.Context()); wait > 10*time.Second {
		t.Fatalf("waits %s", wait)
	}
	b.now = b.now.Add(5 * time.Minute) // longer than a tick may be late by itself
	b.fail = nil
	book.Step(t.Context())
	b.want("with room again", "01:00")
}

func TestARefusalIsToldAndTheNextTickComes(t *testing.T) {
	t.Parallel()
	b := newBench(t)
	book := b.must(hourly(""))
	b.now = b.now.Add(30 * time.Minute)
	b.fail = abi.Errorf(abi.NotFound, "no such tool")
	book.Step(t.Context())
	if ev := b.events(); !strings.Contains(ev, schedule.EventFailed) || !strings.Contains(ev, `"code":"not_found"`) {
		t.Fatalf("events: %s", ev)
	}
	if st := book.List(); st[0].Error == "" || st[0].Action != "" {
		t.Fatalf("%+v", st)
	}
	b.fail = nil
	book.Step(t.Context())
	b.want("the refused tick", "")
	b.now = b.now.Add(time.Hour)
	book.Step(t.Context())
	b.want("the next", "02:00")
}

// A host that dies between submitting and remembering submits the tick again, under the same key.
func TestACrashBetweenSubmittingAndRemembering(t *testing.T) {
	t.Parallel()
	b := newBench(t)
	book := b.must(hourly(""))
	b.now = b.now.Add(30 * time.Minute)
	ctx, cancel := context.WithCancel(t.Context())
	crash := func(_ context.Context, tick schedule.Tick) (string, error) {
		b.got = append(b.got, tick)
		b.ids[tick.Key] = "act_1"
		cancel() // what would remember it finds its context ended
		return "act_1", nil
	}
	dying, err := schedule.Open(t.Context(), b.db, b.jrn, []schedule.Entry{hourly("")}, crash, schedule.Options{Now: func() time.Time { return b.now }})
	if err != nil {
		t.Fatal(err)
	}
	dying.Step(ctx)
	b.want("the first time", "01:00")
	book = b.must(hourly(""))
	book.Step(t.Context())
	b.want("the second time", "") // the key is known
	if st := book.List(); st[0].Action != "act_1" {
		t.Fatalf("%+v", st)
	}
}
