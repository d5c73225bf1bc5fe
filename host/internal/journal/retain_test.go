package journal_test

import (
	"context"
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/arw-project/arw/abi"
	"github.com/arw-project/arw/host/internal/journal"
)

// stretches is an open journal of n stretches of 10 records, each behind a checkpoint.
func stretches(t *testing.T, n int, options ...journal.Option) (string, *journal.Journal) {
	t.Helper()
	dir := t.TempDir()
	_, j := openSigned(t, dir, options...)
	sign(t, j)
	for range n {
		addMany(t, j, 10)
		sign(t, j)
	}
	return dir, j
}

func TestPruneKeepsWhatTheLimitsSay(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct {
		r     journal.Retention
		free  int64
		floor int64
	}{
		"nothing set":        {journal.Retention{}, 100, 0},
		"count":              {journal.Retention{Count: 35}, 100, 60},
		"bytes":              {journal.Retention{Bytes: 2 * 35}, 100, 60}, // bodies of two bytes
		"age":                {journal.Retention{Age: 5 * time.Minute}, 100, 50},
		"least holds it":     {journal.Retention{Count: 1, Least: 75}, 100, 20},
		"still needed":       {journal.Retention{Count: 1}, 44, 40},
		"all needed":         {journal.Retention{Count: 1}, 0, 0},
		"the larger of both": {journal.Retention{Count: 35, Bytes: 2 * 15}, 100, 80},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			var mu sync.Mutex
			now := time.Date(2030, 1, 1, 0, 0, 0, 0, time.UTC)
			clock := func() time.Time { mu.Lock(); defer mu.Unlock(); return now }
			dir := t.TempDir()
			d, j := openSigned(t, dir, journal.Clock(clock))
			sign(t, j)
			for range 10 {
				addMany(t, j, 10)
				sign(t, j)
				mu.Lock()
				now = now.Add(time.Minute)
				mu.Unlock()
			}
			now = now.Add(-30 * time.Second) // the last stretch is half a minute old, the one before 1.5 minutes
			done, err := j.Prune(t.Context(), c.r, c.free)
			if err != nil || j.Floor() != c.floor || done.Count != c.floor {
				t.Fatalf("floor %d, %+v, %v; want %d", j.Floor(), done, err, c.floor)
			}
			check := func() {
				t.Helper()
				rep, err := j.Verify(t.Context())
				if err != nil || rep.Pruned != c.floor || rep.Last != j.Last() || rep.Count != j.Last()-c.floor {
					t.Errorf("%+v, %v", rep, err)
				}
			}
			check()
			page, err := j.Read(t.Context(), 0, 1, journal.Filter{})
			if err != nil || page[0].ID != c.floor+1 {
				t.Errorf("the first that is read is %d, %v", page[0].ID, err)
			}
			// A new start knows what was removed, and the chain goes on.
			if err := d.Close(); err != nil {
				t.Fatal(err)
			}
			_, j = openSigned(t, dir)
			addMany(t, j, 5)
			sign(t, j)
			if j.Floor() != c.floor {
				t.Errorf("after a restart the floor is %d", j.Floor())
			}
			check()
		})
	}
}

func TestPruneTellsOfItselfAndGivesRoomBack(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	d, j := openSigned(t, dir)
	body := map[string]string{"s": strings.Repeat("x", 20_000)}
	for range 200 {
		if _, err := j.Append(t.Context(), journal.Event{Kind: "big", Body: body}); err != nil {
			t.Fatal(err)
		}
	}
	sign(t, j)
	addMany(t, j, 600)
	sign(t, j)
	addMany(t, j, 10)
	done, err := j.Prune(t.Context(), journal.Retention{Count: 10}, j.Last())
	if err != nil || done.From != 1 || done.To != 800 || done.Count != 800 {
		t.Fatalf("%+v, %v", done, err)
	}
	told, err := j.Read(t.Context(), 0, 0, journal.Filter{Prefixes: []string{journal.PrunedKind}})
	if err != nil || len(told) != 1 {
		t.Fatal(told, err)
	}
	var body2 journal.Pruned
	if err := json.Unmarshal(told[0].Body, &body2); err != nil || body2 != done {
		t.Errorf("%s, %v", told[0].Body, err)
	}
	if err := d.Close(); err != nil {
		t.Fatal(err)
	}
	if st, err := os.Stat(filepath.Join(dir, "arw.db")); err != nil || st.Size() > 400_000 {
		t.Errorf("the file has %d bytes, of 4 MB that were in it; %v", st.Size(), err)
	}
}

// TestPruneBesideWritersAndFollowers holds that what everybody sees is the whole or a gap that says what is missing.
func TestPruneBesideWritersAndFollowers(t *testing.T) {
	t.Parallel()
	_, j := openSigned(t, t.TempDir())
	const total = 4000
	var wg sync.WaitGroup
	for range 4 { // readers that are always at the beginning
		wg.Go(func() {
			for at := int64(0); at < total; {
				got, missed := int64(0), int64(0)
				for r, err := range j.Follow(t.Context(), at, journal.Filter{}) {
					if err != nil {
						t.Error(err)
						return
					}
					if r.Kind == journal.GapKind {
						var g journal.Gap
						if err := json.Unmarshal(r.Body, &g); err != nil || g.From != at+got+missed+1 || g.Count != g.To-g.From+1 || g.Reason != journal.GapPruned {
							t.Errorf("gap %s behind %d, %v", r.Body, at+got+missed, err)
							return
						}
						missed += g.Count
					} else if got++; r.ID != at+got+missed {
						t.Errorf("event %d, want %d", r.ID, at+got+missed)
						return
					}
					if got+missed >= 500 {
						break
					}
				}
				at += got + missed
			}
		})
	}
	for range 4 {
		wg.Go(func() {
			for range total / 4 {
				if _, err := j.Append(t.Context(), journal.Event{Kind: "load.event"}); err != nil {
					t.Error(err)
				}
			}
		})
	}
	wg.Go(func() {
		for j.Last() < total {
			if _, err := j.Checkpoint(t.Context()); err != nil {
				t.Error(err)
			}
			if _, err := j.Prune(t.Context(), journal.Retention{Count: 300}, j.Last()); err != nil {
				t.Error(err)
			}
			if _, err := j.Verify(t.Context()); err != nil {
				t.Error(err)
			}
		}
	})
	wg.Wait()
	if tr := j.Traffic(); tr.Published < total || tr.Followers != 0 {
		t.Errorf("%+v", tr)
	}
}

// TestAStoppedRemovalGoesOn leaves the rows where a crash would: the anchor is durable, the rows are there.
func TestAStoppedRemovalGoesOn(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	d, j := openSigned(t, dir)
	addMany(t, j, 1000)
	sign(t, j)
	addMany(t, j, 1)
	ctx, cancel := context.WithCancel(t.Context())
	seen := make(chan struct{})
	go func() { // ends the removal as soon as the anchor is there
		defer close(seen)
		for r := range j.Follow(t.Context(), 1001, journal.Filter{}) {
			if r.Kind == journal.PrunedKind {
				cancel()
				return
			}
		}
	}()
	_, _ = j.Prune(ctx, journal.Retention{Count: 1}, j.Last())
	<-seen
	if err := d.Close(); err != nil {
		t.Fatal(err)
	}
	path := filepath.Join(dir, "arw.db")
	if rep, err := journal.VerifyFile(t.Context(), path, keysOf(t, dir)); err != nil || rep.Pruned != 1000 || rep.Count != 2 {
		t.Errorf("%+v, %v", rep, err)
	}
	d, j = openSigned(t, dir)
	if _, err := j.Prune(t.Context(), journal.Retention{}, 0); err != nil {
		t.Fatal(err)
	}
	var n int
	if err := d.Read().QueryRow("SELECT count(*) FROM event").Scan(&n); err != nil || n != 2 {
		t.Errorf("%d rows are left, %v", n, err)
	}
}

func TestKeepSignsAndPrunes(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	_, j := openSigned(t, dir)
	ctx, cancel := context.WithCancel(t.Context())
	ended := make(chan error, 1)
	pruned := make(chan struct{})
	go func() {
		defer close(pruned)
		for r, err := range j.Follow(t.Context(), 0, journal.Filter{Prefixes: []string{journal.PrunedKind}}) {
			if err != nil || r.Kind == journal.PrunedKind {
				return
			}
		}
	}()
	go func() {
		ended <- j.Keep(ctx, journal.Upkeep{Events: 50, Every: time.Millisecond, Look: time.Millisecond, Retention: journal.Retention{Count: 100}})
	}()
	for more := true; more; {
		select {
		case <-pruned:
			more = false
		default:
			addMany(t, j, 20)
		}
	}
	cancel()
	if err := <-ended; err != nil {
		t.Fatal(err)
	}
	if rep, err := j.Verify(t.Context()); err != nil || rep.Checkpoints < 1 || rep.Pruned == 0 {
		t.Errorf("%+v, %v", rep, err)
	}
}

// TestAClockThatJumpsAheadRemovesNothing holds that a wrong clock does not empty the journal by age.
func TestAClockThatJumpsAheadRemovesNothing(t *testing.T) {
	t.Parallel()
	var mu sync.Mutex
	ahead := time.Duration(0)
	clock := func() time.Time { mu.Lock(); defer mu.Unlock(); return time.Now().Add(ahead) }
	_, j := openSigned(t, t.TempDir(), journal.Clock(clock))
	ctx, cancel := context.WithCancel(t.Context())
	looked := make(chan struct{}, 1)
	ended := make(chan error, 1)
	go func() {
		ended <- j.Keep(ctx, journal.Upkeep{
			Every: time.Millisecond, Look: time.Millisecond, Retention: journal.Retention{Age: time.Hour, Count: 1 << 40},
			Free: func(context.Context) (int64, error) {
				select {
				case looked <- struct{}{}:
				default:
				}
				return j.Last(), nil
			},
		})
	}()
	<-looked
	addMany(t, j, 100)
	sign(t, j)
	mu.Lock()
	ahead = 10 * 365 * 24 * time.Hour
	mu.Unlock()
	for range 3 { // two whole looks with the wrong clock
		<-looked
	}
	addMany(t, j, 1)
	mu.Lock()
	ahead = -time.Hour // and back, before what is written already
	mu.Unlock()
	addMany(t, j, 1)
	cancel()
	if err := <-ended; err != nil {
		t.Fatal(err)
	}
	if j.Floor() != 0 {
		t.Errorf("records up to %d were removed", j.Floor())
	}
	rep, err := j.Verify(t.Context())
	if err != nil || rep.Count != 102 {
		t.Errorf("%+v, %v", rep, err)
	}
}

func TestPruneNeedsAKey(t *testing.T) {
	t.Parallel()
	_, j := open(t, t.TempDir())
	_, err := j.Prune(t.Context(), journal.Retention{Count: 1}, 100)
	wantCode(t, err, abi.Unsupported)
	if err := j.Keep(t.Context(), journal.Upkeep{}); err != nil {
		t.Error(err)
	}
}

// TestPruneOfWhatIsNotThereIsRefused holds that no anchor is signed for records that are not those that were.
func TestPruneOfWhatIsNotThereIsRefused(t *testing.T) {
	t.Parallel()
	dir, path := signedDir(t)
	tamper(t, path, "UPDATE event SET hash = zeroblob(32) WHERE id = 10")
	_, j := openSigned(t, dir)
	_, err := j.Prune(t.Context(), journal.Retention{Count: 20}, j.Last())
	wantCode(t, err, abi.Corrupt, fmt.Sprintf("event %d", 10))
	if j.Floor() != 0 {
		t.Error("it was pruned all the same")
	}
}
