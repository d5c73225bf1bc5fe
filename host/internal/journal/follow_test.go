package journal_test

import (
	"context"
	"database/sql"
	"encoding/json"
	"fmt"
	"runtime"
	"strings"
	"sync"
	"sync/atomic"
	"testing"

	"github.com/arw-project/arw/abi"
	"github.com/arw-project/arw/host/internal/journal"
)

// addMany appends n events, several to a transaction.
func addMany(t testing.TB, j *journal.Journal, n int) {
	t.Helper()
	for n > 0 {
		events := make([]journal.Event, min(n, 1000))
		for i := range events {
			events[i].Kind = "load.event"
		}
		if _, err := j.Append(context.Background(), events...); err != nil {
			t.Fatal(err)
		}
		n -= len(events)
	}
}

// follow checks that records come in order without holes until id last.
func follow(ctx context.Context, j *journal.Journal, after, last int64) error {
	want := after + 1
	for r, err := range j.Follow(ctx, after, journal.Filter{}) {
		if err != nil {
			return err
		}
		if r.ID != want {
			return fmt.Errorf("got event %d, want %d", r.ID, want)
		}
		if want++; r.ID == last {
			return nil
		}
	}
	return fmt.Errorf("the sequence ended at event %d of %d", want-1, last)
}

func TestFollowersGetEverythingInOrder(t *testing.T) {
	t.Parallel()
	_, j := open(t, t.TempDir())
	addMany(t, j, 100)
	const total = 100 + 16*60
	var wg sync.WaitGroup
	for f := range 8 { // from the beginning, from the middle, from the end, while writers write
		after := []int64{0, 50, 99, 100}[f%4]
		wg.Go(func() {
			if err := follow(t.Context(), j, after, total); err != nil {
				t.Errorf("from %d: %v", after, err)
			}
		})
	}
	for range 16 {
		wg.Go(func() {
			for range 60 {
				if _, err := j.Append(t.Context(), journal.Event{Kind: "load.event"}); err != nil {
					t.Error(err)
				}
			}
		})
	}
	wg.Wait()
}

// TestASlowFollowerLosesNothing lets a follower sleep on its first event until far more has happened than memory holds.
func TestASlowFollowerLosesNothing(t *testing.T) {
	t.Parallel()
	_, j := open(t, t.TempDir())
	addMany(t, j, 1)
	const total = 9_000 // memory holds 8,192
	awake := make(chan struct{})
	done := make(chan error)
	go func() {
		want := int64(1)
		for r, err := range j.Follow(t.Context(), 0, journal.Filter{}) {
			if err != nil || r.ID != want {
				done <- fmt.Errorf("event %d, want %d: %v", r.ID, want, err)
				return
			}
			if want++; r.ID == 1 {
				<-awake
			}
			if r.ID == total {
				break
			}
		}
		done <- nil
	}()
	addMany(t, j, total-1)
	close(awake)
	if err := <-done; err != nil {
		t.Error(err)
	}
	if n, bytes := j.Kept(); n > 8192 || bytes > 8<<20 {
		t.Errorf("%d records and %d bytes are kept in memory", n, bytes)
	}
}

func TestMemoryIsBoundedInBytesToo(t *testing.T) {
	t.Parallel()
	_, j := open(t, t.TempDir())
	body := map[string]string{"s": strings.Repeat("x", 1<<20-20)}
	for range 12 {
		if _, err := j.Append(t.Context(), journal.Event{Kind: "big", Body: body}); err != nil {
			t.Fatal(err)
		}
	}
	if n, bytes := j.Kept(); n == 0 || bytes > 8<<20 {
		t.Errorf("%d records and %d bytes are kept in memory", n, bytes)
	}
	if err := follow(t.Context(), j, 0, 12); err != nil {
		t.Error(err)
	}
}

func TestFiltersHoldOnReplayAndLive(t *testing.T) {
	t.Parallel()
	_, j := open(t, t.TempDir())
	add(t, j, "a.x", "b.x")
	addMany(t, j, 9000) // more than memory holds, so the first ones come from the table
	add(t, j, "b.x", "a.x")
	got := make(chan string)
	go func() {
		var all []string
		for r, err := range j.Follow(t.Context(), 0, journal.Filter{Prefixes: []string{"a."}}) {
			if err != nil {
				t.Error(err)
				break
			}
			all = append(all, fmt.Sprintf("%d:%s", r.ID, r.Kind))
			if r.Kind == "a.x" && r.ID > 9_000 { // the replay is over: what comes now comes while it follows
				add(t, j, "b.live", "a.live", "ab.live", "a.last")
			}
			if r.Kind == "a.last" {
				break
			}
		}
		got <- strings.Join(all, " ")
	}()
	if s, want := <-got, "1:a.x 9004:a.x 9006:a.live 9008:a.last"; s != want {
		t.Errorf("got  %s\nwant %s", s, want)
	}
}

func TestHowFollowingEnds(t *testing.T) {
	t.Parallel()
	d, j := open(t, t.TempDir())
	add(t, j, "a", "b", "c")
	collect := func(ctx context.Context, after int64, each func(journal.Record)) (ids []int64, last error) {
		for r, err := range j.Follow(ctx, after, journal.Filter{}) {
			if last = err; err == nil {
				ids = append(ids, r.ID)
				each(r)
			}
		}
		return ids, last
	}
	t.Run("context", func(t *testing.T) {
		ctx, cancel := context.WithCancel(t.Context())
		ids, err := collect(ctx, 0, func(r journal.Record) {
			if r.ID == 2 {
				cancel()
			}
		})
		if len(ids) != 2 || err != nil {
			t.Errorf("%v, %v", ids, err)
		}
	})
	t.Run("context while waiting", func(t *testing.T) {
		ctx, cancel := context.WithCancel(t.Context())
		ids, err := collect(ctx, 2, func(journal.Record) { go cancel() })
		if len(ids) != 1 || err != nil {
			t.Errorf("%v, %v", ids, err)
		}
	})
	t.Run("a number of another journal", func(t *testing.T) {
		for _, after := range []int64{4, -1} {
			_, err := collect(t.Context(), after, nil)
			wantCode(t, err, abi.Conflict, fmt.Sprint(after), "3")
		}
	})
	t.Run("closed", func(t *testing.T) {
		ids, err := collect(t.Context(), 2, func(journal.Record) { go d.Close() })
		wantCode(t, err, abi.Unavailable, "closed")
		if len(ids) != 1 {
			t.Errorf("%v", ids)
		}
	})
}

// TestNothingIsSeenBeforeItIsDurable looks at the journal from inside a transaction that has appended.
func TestNothingIsSeenBeforeItIsDurable(t *testing.T) {
	t.Parallel()
	d, j := open(t, t.TempDir())
	seen := make(chan int64, 10)
	go func() {
		for r := range j.Follow(t.Context(), 0, journal.Filter{}) {
			seen <- r.ID
		}
	}()
	err := d.Write(t.Context(), func(tx *sql.Tx) error {
		if _, err := j.AppendTx(tx, journal.Event{Kind: "a"}); err != nil {
			return err
		}
		records, err := j.Read(t.Context(), 0, 0, journal.Filter{})
		if len(records) != 0 || err != nil || j.Last() != 0 || len(seen) != 0 {
			t.Errorf("visible in mid-transaction: %v, %v, last %d, followers saw %d", records, err, j.Last(), len(seen))
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	if id := <-seen; id != 1 {
		t.Errorf("followers saw %d", id)
	}
}

// BenchmarkFollow measures deliveries to in-process followers of events that are being appended.
func BenchmarkFollow(b *testing.B) {
	for _, followers := range []int{1, 64} {
		b.Run(fmt.Sprintf("followers=%d", followers), func(b *testing.B) {
			_, j := open(b, b.TempDir())
			var wg sync.WaitGroup
			for range followers {
				wg.Go(func() {
					if err := follow(b.Context(), j, 0, int64(b.N)); err != nil {
						b.Error(err)
					}
				})
			}
			b.ResetTimer()
			addMany(b, j, b.N)
			wg.Wait()
			b.ReportMetric(float64(b.N*followers)/b.Elapsed().Seconds(), "deliveries/s")
		})
	}
}

// TestGapsAreExact lets followers of every patience read at random paces under writers: what each got and what gaps named
// is everything, once, in order.
func TestGapsAreExact(t *testing.T) {
	t.Parallel()
	_, j := open(t, t.TempDir())
	const total, followers = 6000, 16
	var wg sync.WaitGroup
	var got, gone atomic.Int64
	for n := range followers {
		wg.Go(func() {
			cur, err := j.From(0, journal.Filter{}, journal.MaxLag(int64(n*n)))
			if err != nil {
				t.Error(err)
				return
			}
			defer cur.Close()
			at := int64(0)
			for at < total {
				page, err := cur.Next(t.Context())
				if err != nil {
					t.Error(err)
					return
				}
				for _, r := range page {
					from, to := r.ID, r.ID
					if r.Kind == journal.GapKind {
						var g journal.Gap
						if err := json.Unmarshal(r.Body, &g); err != nil || g.Reason != journal.GapLagged || g.Count != g.To-g.From+1 || n == 0 {
							t.Errorf("follower %d: gap %s, %v", n, r.Body, err)
						}
						from, to = g.From, g.To
						gone.Add(g.Count)
					} else {
						got.Add(1)
					}
					if from != at+1 {
						t.Errorf("follower %d: %d behind %d", n, from, at)
						return
					}
					at = to
				}
				for range n % 3 {
					runtime.Gosched()
				}
			}
		})
	}
	for range 4 {
		wg.Go(func() {
			for left := total / 4; left > 0; left -= 50 {
				addMany(t, j, 50)
			}
		})
	}
	wg.Wait()
	tr := j.Traffic()
	if tr.Delivered != got.Load() || tr.Missed != gone.Load() || got.Load()+gone.Load() != followers*total || tr.Published != total || tr.Followers != 0 {
		t.Errorf("%+v; got %d, missed %d, of %d", tr, got.Load(), gone.Load(), followers*total)
	}
}
