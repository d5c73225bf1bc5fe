package quota_test

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/arw-project/arw/abi"
	"github.com/arw-project/arw/host/api"
	"github.com/arw-project/arw/host/internal/db"
	"github.com/arw-project/arw/host/internal/journal"
	"github.com/arw-project/arw/host/internal/quota"
)

// machine is what a book measures time with: a wall clock that anybody may set, and the machine's own count that nobody can.
type machine struct {
	wall, up time.Duration // since the test began
	boot     string
	base     time.Duration // up when the process began
}

func (m *machine) pass(d time.Duration) { m.wall += d; m.up += d }

func (m *machine) clock() quota.Clock {
	m.base = m.up
	return quota.Clock{
		Wall: func() time.Time { return time.Date(2026, 11, 24, 12, 0, 0, 0, time.UTC).Add(m.wall) },
		Mono: func() time.Duration { return m.up - m.base },
		Boot: func() (string, time.Duration) { return m.boot, m.up },
	}
}

type house struct {
	*quota.Book
	t       testing.TB
	dir     string
	db      *db.DB
	journal *journal.Journal
	m       *machine
	rules   *quota.Rules
}

const head = "schema = 1\n"

func rules(t testing.TB, text string) *quota.Rules {
	t.Helper()
	r, err := quota.Parse("quotas.toml", []byte(head+text))
	if err != nil {
		t.Fatal(err)
	}
	return r
}

func open(t testing.TB, text string) *house {
	h := &house{t: t, dir: t.TempDir(), m: &machine{boot: "first"}, rules: rules(t, text)}
	h.open()
	t.Cleanup(func() { h.db.Close() })
	return h
}

func (h *house) open() {
	h.t.Helper()
	ctx := context.Background()
	var err error
	if h.db, err = db.Open(ctx, filepath.Join(h.dir, "arw.db"), []db.Migration{{Owner: "journal", Steps: journal.Schema}, {Owner: "quota", Steps: quota.Schema}}); err != nil {
		h.t.Fatal(err)
	}
	if h.journal, err = journal.Open(ctx, h.db); err != nil {
		h.t.Fatal(err)
	}
	if h.Book, err = quota.Open(ctx, quota.Parts{DB: h.db, Journal: h.journal, Rules: h.rules, Clock: h.m.clock()}); err != nil {
		h.t.Fatal(err)
	}
}

// crash opens the database again as it stands: what was in memory alone is gone.
func (h *house) crash() {
	h.t.Helper()
	if err := h.db.Close(); err != nil {
		h.t.Fatal(err)
	}
	h.open()
}

// stop ends in good order, then opens again.
func (h *house) stop() {
	h.t.Helper()
	ctx, cancel := context.WithCancel(context.Background())
	cancel()
	if err := h.Run(ctx); err != nil {
		h.t.Fatal(err)
	}
	h.crash()
}

var ann = quota.Who{Pack: "acme/mail", Publishers: []string{"acme", "auditor"}, Actor: "person:ann", Project: "alpha", Corr: "cor_1"}

func calls(n int64) quota.Amount { return quota.Amount{Calls: n} }

// take uses one call n times and wants that many to pass.
func (h *house) take(who quota.Who, n, want int) {
	h.t.Helper()
	passed := 0
	for range n {
		err := h.Take(context.Background(), quota.Call, &who, calls(1))
		if err == nil {
			passed++
		} else if abi.CodeOf(err) != abi.BudgetExhausted {
			h.t.Fatal(err)
		}
	}
	if passed != want {
		h.t.Fatalf("%d of %d uses passed, want %d", passed, n, want)
	}
}

func (h *house) kinds() (out []string) {
	h.t.Helper()
	rs, err := h.journal.Read(context.Background(), 0, 1000, journal.Filter{Prefixes: []string{"quota."}})
	if err != nil {
		h.t.Fatal(err)
	}
	for _, r := range rs {
		var q api.Quota
		if err := json.Unmarshal(r.Body, &q); err != nil {
			h.t.Fatal(err)
		}
		out = append(out, strings.TrimPrefix(r.Kind, "quota.")+" "+q.ID+" "+q.Subject)
	}
	return out
}

func (h *house) want(kinds ...string) {
	h.t.Helper()
	if got := h.kinds(); strings.Join(got, ", ") != strings.Join(kinds, ", ") {
		h.t.Fatalf("journal: %q, want %q", got, kinds)
	}
}

const tenCalls = "[[quota]]\nid = \"ten\"\non = \"call\"\nper = \"%s\"\nwindow = \"1h\"\ncalls = 10\nreason = \"ten are enough\"\n"

func TestEachAccountHasItsOwn(t *testing.T) {
	t.Parallel()
	other := quota.Who{Pack: "acme/other", Publishers: []string{"auditor"}, Actor: "agent:bot", Project: "beta"}
	for per, want := range map[string]struct {
		other   int // of ten calls of the other, after ten of ann's
		account string
	}{
		"pack": {10, "acme/mail"}, "person": {10, "person:ann"}, "project": {10, "alpha"}, "publisher": {0, "acme"}, "host": {0, "host"},
	} {
		t.Run(per, func(t *testing.T) {
			t.Parallel()
			h := open(t, fmt.Sprintf(tenCalls, per))
			h.take(ann, 12, 10)
			h.take(other, 10, want.other)
			list := h.List()
			i := slices.IndexFunc(list, func(q api.Quota) bool { return q.Subject == want.account })
			if i < 0 || list[i].Used.Calls != 10 || !list[i].Exhausted || list[i].Refused < 2 {
				t.Errorf("%+v", list)
			}
			if per == "project" {
				h.take(quota.Who{Actor: "person:ann"}, 12, 12) // who is in no project is on no project's account
			}
		})
	}
}

func TestAQuotaCountsWhatItIsOnAlone(t *testing.T) {
	t.Parallel()
	h := open(t, `[[quota]]
id = "http"
on = "http"
per = "pack"
of = "acme/*"
window = "1h"
bytes = "1KiB"
reason = "r"
`)
	ctx := t.Context()
	for _, c := range []struct {
		on     string
		who    quota.Who
		bytes  int64
		passes bool
	}{
		{"kv", ann, 1 << 20, true},
		{"http", quota.Who{Pack: "other/mail"}, 1 << 20, true},
		{"http", ann, 1025, false}, // does not fit, and leaves what is there
		{"http", ann, 1000, true},
		{"http", ann, 25, false},
		{"http", ann, 24, true},
		{"http", ann, 0, false}, // used up
	} {
		err := h.Take(ctx, c.on, &c.who, quota.Amount{Calls: 1, Bytes: c.bytes})
		if (err == nil) != c.passes {
			t.Fatalf("%+v: %v", c, err)
		}
	}
}

func TestARefusalSaysWhichAndUntilWhen(t *testing.T) {
	t.Parallel()
	h := open(t, fmt.Sprintf(tenCalls, "person"))
	h.take(ann, 10, 10)
	h.m.pass(20 * time.Minute)
	err := h.Take(t.Context(), quota.Call, &ann, calls(1))
	e, ok := errors.AsType[*abi.Error](err)
	if !ok || e.Code != abi.BudgetExhausted {
		t.Fatal(err)
	}
	d, ok := e.Detail.(api.QuotaRefusal)
	if !ok || d.Side != "calls" || d.Quota.ID != "ten" || d.Quota.Subject != "person:ann" || d.Quota.Resets.Sub(time.Date(2026, 11, 24, 13, 0, 0, 0, time.UTC)) != 0 {
		t.Errorf("detail: %+v", e.Detail)
	}
}

// TestAnyQuotaRefuses: one that has room left does not outweigh one that has none, and what one refuses is on nobody's account.
func TestAnyQuotaRefuses(t *testing.T) {
	t.Parallel()
	h := open(t, fmt.Sprintf(tenCalls, "person")+strings.ReplaceAll(strings.ReplaceAll(fmt.Sprintf(tenCalls, "host"), `"ten"`, `"many"`), "calls = 10", "calls = 100"))
	h.take(ann, 15, 10)
	for _, q := range h.List() {
		if q.Used.Calls != 10 {
			t.Errorf("%+v", q)
		}
	}
}

func TestNearingAndExhaustedAreToldOncePerWindow(t *testing.T) {
	t.Parallel()
	h := open(t, fmt.Sprintf(tenCalls, "host"))
	h.take(ann, 7, 7)
	h.want()
	h.take(ann, 1, 1)
	h.want("nearing ten host")
	h.take(ann, 5, 2)
	h.want("nearing ten host", "exhausted ten host")
	h.crash() // what was told is not told again
	h.take(ann, 5, 0)
	h.want("nearing ten host", "exhausted ten host")
	h.m.pass(time.Hour)
	h.take(ann, 11, 10)
	h.want("nearing ten host", "exhausted ten host", "nearing ten host", "exhausted ten host")
}

func TestWhatHappenedAlreadyCountsAndRefusesTheNext(t *testing.T) {
	t.Parallel()
	h := open(t, "[[quota]]\nid = \"gas\"\non = \"call\"\nper = \"pack\"\nwindow = \"1h\"\ngas = 1000\nreason = \"r\"\n")
	h.take(ann, 2, 2)
	for _, gas := range []int64{900, 50} {
		if err := h.Add(t.Context(), quota.Call, &ann, quota.Amount{Gas: gas}); err != nil {
			t.Fatal(err)
		}
	}
	h.take(ann, 1, 1) // 950 of 1,000
	if err := h.Add(t.Context(), quota.Call, &ann, quota.Amount{Gas: 500}); err != nil {
		t.Fatal(err)
	}
	h.take(ann, 1, 0)
	h.crash()
	h.take(ann, 1, 0)
	h.want("nearing gas acme/mail", "exhausted gas acme/mail")
}

// TestSpendEndsWhatGoesBeyond: what a use comes to on its way is counted, also the part that is too much, which ends it.
func TestSpendEndsWhatGoesBeyond(t *testing.T) {
	t.Parallel()
	h := open(t, "[[quota]]\nid = \"tokens\"\non = \"infer\"\nper = \"pack\"\nwindow = \"1h\"\ntokens = 100\nreason = \"r\"\n")
	ctx, tokens := t.Context(), func(n int64) quota.Amount { return quota.Amount{Tokens: n} }
	if err := errors.Join(h.Take(ctx, "infer", &ann, calls(1)), h.Spend(ctx, "infer", &ann, tokens(60)), h.Spend(ctx, "infer", &ann, tokens(40))); err != nil {
		t.Fatal(err)
	}
	if err := h.Spend(ctx, "infer", &ann, tokens(1)); abi.CodeOf(err) != abi.BudgetExhausted {
		t.Fatal(err)
	}
	if err := h.Take(ctx, "infer", &ann, calls(1)); abi.CodeOf(err) != abi.BudgetExhausted {
		t.Fatal(err)
	}
	if l := h.List(); l[0].Used.Tokens != 101 {
		t.Errorf("%+v", l)
	}
}

func TestRestartKeepsWhatWasUsed(t *testing.T) {
	t.Parallel()
	h := open(t, strings.ReplaceAll(fmt.Sprintf(tenCalls, "host"), "calls = 10", "calls = 160"))
	h.take(ann, 33, 33)
	h.stop()
	if l := h.List(); len(l) != 1 || l[0].Used.Calls != 33 {
		t.Fatalf("an orderly stop: %+v", l)
	}
	h.take(ann, 1, 1)
	h.crash()
	used := h.List()[0].Used.Calls
	if used < 34 || used > 34+10 {
		t.Fatalf("a crash: %d used, want 34 to a sixteenth more", used)
	}
	h.take(ann, 200, int(160-used))
}

// TestNoClockGivesBudget: the window ends when its time has passed, whatever the wall clock says meanwhile.
func TestNoClockGivesBudget(t *testing.T) {
	t.Parallel()
	for name, set := range map[string]func(h *house){
		"set ahead":                        func(h *house) { h.m.wall += 48 * time.Hour },
		"set back":                         func(h *house) { h.m.wall -= 48 * time.Hour },
		"set ahead over a restart":         func(h *house) { h.m.wall += 48 * time.Hour; h.crash() },
		"set back over a restart":          func(h *house) { h.m.wall -= 48 * time.Hour; h.stop() },
		"set ahead while the host is down": func(h *house) { h.crash(); h.m.wall += 48 * time.Hour; h.crash() },
		"set back over a restart of the machine": func(h *house) {
			h.m.wall, h.m.up, h.m.boot = h.m.wall-48*time.Hour, 0, "second"
			h.crash()
		},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			h := open(t, fmt.Sprintf(tenCalls, "host"))
			h.take(ann, 10, 10)
			h.m.pass(30 * time.Minute)
			set(h)
			h.take(ann, 1, 0)
			h.m.pass(29 * time.Minute)
			h.take(ann, 1, 0)
			h.m.pass(time.Hour)
			h.take(ann, 11, 10)
		})
	}
	// Over a restart of the machine the wall clock is all there is.
	h := open(t, fmt.Sprintf(tenCalls, "host"))
	h.take(ann, 10, 10)
	h.m.up, h.m.boot = 0, "second"
	h.m.pass(59 * time.Minute)
	h.crash()
	h.take(ann, 1, 0)
	h.m.pass(time.Minute)
	h.take(ann, 1, 1)
}

func TestOtherRulesGoOnWithTheirCounters(t *testing.T) {
	t.Parallel()
	h := open(t, fmt.Sprintf(tenCalls, "host"))
	h.take(ann, 8, 8)
	h.Replace(rules(t, strings.ReplaceAll(fmt.Sprintf(tenCalls, "host"), "calls = 10", "calls = 9")))
	h.take(ann, 3, 1)
	h.Replace(rules(t, ""))
	h.take(ann, 20, 20)
	if len(h.List()) != 0 {
		t.Errorf("%+v", h.List())
	}
	h.Replace(rules(t, fmt.Sprintf(tenCalls, "host")))
	h.take(ann, 3, 1) // nine were used
	h.Replace(rules(t, strings.ReplaceAll(fmt.Sprintf(tenCalls, "host"), `"1h"`, `"30m"`)))
	h.m.pass(31 * time.Minute)
	h.take(ann, 11, 10)
}

func TestReset(t *testing.T) {
	t.Parallel()
	h := open(t, fmt.Sprintf(tenCalls, "person"))
	bob := quota.Who{Actor: "person:bob"}
	h.take(ann, 10, 10)
	h.take(bob, 10, 10)
	if _, err := h.Reset(t.Context(), "cor_r", "operator", "none", ""); abi.CodeOf(err) != abi.NotFound {
		t.Error(err)
	}
	if _, err := h.Reset(t.Context(), "cor_r", "operator", "ten", "person:eve"); abi.CodeOf(err) != abi.NotFound {
		t.Error(err)
	}
	was, err := h.Reset(t.Context(), "cor_r", "operator", "ten", "person:ann")
	if err != nil || len(was) != 1 || was[0].Used.Calls != 10 {
		t.Fatalf("%+v, %v", was, err)
	}
	h.take(bob, 1, 0)
	h.take(ann, 4, 4)
	h.crash()
	h.take(ann, 20, 6)
	if got := h.kinds(); got[len(got)-3] != "reset ten person:ann" {
		t.Errorf("%q", got)
	}
}

func TestUnderContention(t *testing.T) {
	t.Parallel()
	h := open(t, strings.ReplaceAll(fmt.Sprintf(tenCalls, "person"), "calls = 10", "calls = 500")+strings.ReplaceAll(strings.ReplaceAll(fmt.Sprintf(tenCalls, "host"), `"ten"`, `"all"`), "calls = 10", "calls = 700"))
	var passed atomic.Int64
	var wg sync.WaitGroup
	for g := range 4 {
		who := ann
		who.Actor = fmt.Sprintf("person:%d", g%2)
		wg.Go(func() {
			for range 400 {
				if h.Take(context.Background(), quota.Call, &who, calls(1)) == nil {
					passed.Add(1)
				}
			}
		})
	}
	wg.Wait()
	if passed.Load() != 700 {
		t.Fatalf("%d passed, want 700", passed.Load())
	}
}

// TestWithoutTheDatabaseNothingIsGiven: a use that cannot be written down did not happen, and takes nothing.
func TestWithoutTheDatabaseNothingIsGiven(t *testing.T) {
	t.Parallel()
	h := open(t, fmt.Sprintf(tenCalls, "host"))
	h.take(ann, 1, 1)
	used := h.List()[0].Used.Calls
	h.db.Close()
	for range 3 {
		_ = h.Take(t.Context(), quota.Call, &ann, calls(1)) // what is reserved already may pass
	}
	err := h.Take(t.Context(), quota.Call, &ann, calls(5))
	if abi.CodeOf(err) != abi.Unavailable {
		t.Fatalf("%v", err)
	}
	if now := h.List()[0].Used.Calls; now > used+1 {
		t.Errorf("%d used, %d before", now, used)
	}
	h.open()
}

func TestCountersAreBounded(t *testing.T) {
	t.Parallel()
	h := open(t, "[[quota]]\nid = \"p\"\non = \"call\"\nper = \"project\"\nwindow = \"1h\"\ncalls = 9\nreason = \"r\"\n")
	h.Fill(quota.MaxCounters)
	who := quota.Who{Project: "one more"}
	if err := h.Take(t.Context(), quota.Call, &who, calls(1)); abi.CodeOf(err) != abi.Busy {
		t.Fatal(err)
	}
	h.m.pass(time.Hour)
	if err := h.Sweep(t.Context()); err != nil {
		t.Fatal(err)
	}
	if err := h.Take(t.Context(), quota.Call, &who, calls(1)); err != nil {
		t.Fatal(err)
	}
}

func TestFileIsReadStrictly(t *testing.T) {
	t.Parallel()
	good := "[[quota]]\nid = \"a\"\non = \"call\"\nper = \"pack\"\nwindow = \"1h\"\ncalls = 1\nreason = \"r\"\n"
	for name, c := range map[string]struct{ text, want string }{
		"a misspelt key":       {strings.Replace(good, "calls", "cals", 1), "cals"},
		"no window":            {strings.Replace(good, "window = \"1h\"\n", "", 1), "window"},
		"a window of nothing":  {strings.Replace(good, `"1h"`, `"0s"`, 1), "window"},
		"an account of nobody": {strings.Replace(good, `"pack"`, `"packs"`, 1), "per is one of"},
		"on nothing":           {strings.Replace(good, `"call"`, `"io"`, 1), "on is"},
		"tokens of calls":      {strings.Replace(good, "calls = 1", "tokens = 1", 1), "tokens are not counted"},
		"gas of host calls":    {strings.Replace(strings.Replace(good, "calls = 1", "gas = 1", 1), `"call"`, `"kv"`, 1), "gas are not counted"},
		"no bound":             {strings.Replace(good, "calls = 1\n", "", 1), "at least one"},
		"less than nothing":    {strings.Replace(good, "calls = 1", "calls = -1", 1), "calls is"},
		"no reason":            {strings.Replace(good, `"r"`, `" "`, 1), "reason"},
		"twice the same id":    {good + good, "twice"},
		"near more than all":   {good + "near = 101\n", "percentage"},
		"near nothing":         {good + "near = 0\n", "percentage"},
		"money that is none":   {strings.Replace(strings.Replace(strings.Replace(good, "calls = 1", `usd = "-1"`, 1), `"call"`, `"infer"`, 1), `"pack"`, `"person"`, 1), "dollars"},
		"another schema":       {"", "schema 1"},
	} {
		text := head + c.text
		if c.text == "" {
			text = "schema = 2\n"
		}
		r, err := quota.Parse("quotas.toml", []byte(text))
		if abi.CodeOf(err) != abi.Invalid || r != nil || !strings.Contains(err.Error(), c.want) || !strings.Contains(err.Error(), "quotas.toml:") {
			t.Errorf("%s: %v", name, err)
		}
	}
}

// TestThePageIsRead: the file that docs/spec/quotas.md shows is one.
func TestThePageIsRead(t *testing.T) {
	t.Parallel()
	page, err := os.ReadFile("../../../docs/spec/quotas.md")
	if err != nil {
		t.Fatal(err)
	}
	_, text, _ := strings.Cut(string(page), "```toml\n")
	text, _, _ = strings.Cut(text, "```")
	r, err := quota.Parse("quotas.toml", []byte(text))
	if err != nil {
		t.Fatal(err)
	}
	h := open(t, "")
	h.Replace(r)
	if got := h.Rules(); len(got) != 3 || got[1].Limit.Bytes != 64<<20 || got[1].Near != 50 || got[2].Limit.Money != 20_000_000 || got[2].Window != 30*24*time.Hour {
		t.Errorf("%+v", got)
	}
}

func FuzzFile(f *testing.F) {
	f.Add(fmt.Sprintf(head+tenCalls, "pack"))
	f.Add(head + "[[quota]]\nid = \"m\"\non = \"infer\"\nper = \"person\"\nwindow = \"7d\"\nusd = \"5.00\"\ntokens = 9\nnear = 50\nof = \"person:*\"\nreason = \"r\"\n")
	f.Fuzz(func(t *testing.T, text string) {
		r, err := quota.Parse("quotas.toml", []byte(text))
		if (r == nil) == (err == nil) || err != nil && abi.CodeOf(err) != abi.Invalid {
			t.Fatalf("%v, %v", r, err)
		}
	})
}

func BenchmarkTake(b *testing.B) {
	h := open(b, strings.ReplaceAll(fmt.Sprintf(tenCalls, "pack"), "calls = 10", "calls = 1000000000000"))
	for _, on := range []string{"kv", quota.Call} {
		b.Run(on, func(b *testing.B) {
			b.ReportAllocs()
			for b.Loop() {
				if err := h.Take(context.Background(), on, &ann, calls(1)); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}
