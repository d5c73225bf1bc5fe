package queuetest

import (
	"slices"
	"testing"
	"time"

	"github.com/arw-project/arw/abi"
	"github.com/arw-project/arw/host/internal/queue"
)

func testOrder(t *testing.T, r *rig) {
	if err := r.Hold(t.Context(), true, nil); err != nil { // so that the order of putting in does not matter to who is first
		t.Fatal(err)
	}
	r.put(
		queue.Job{ID: "l1", Lane: "greedy", Priority: queue.Low},
		queue.Job{ID: "g1", Lane: "greedy"}, queue.Job{ID: "g2", Lane: "greedy"}, queue.Job{ID: "g3", Lane: "greedy"},
		queue.Job{ID: "m1", Lane: "modest"}, queue.Job{ID: "m2", Lane: "modest"},
		queue.Job{ID: "h1", Lane: "greedy", Priority: queue.High},
	)
	if err := r.Hold(t.Context(), false, nil); err != nil {
		t.Fatal(err)
	}
	var got []string
	for range 7 {
		l := r.take(queue.Ask{})
		got = append(got, l.ID)
		r.end(l, queue.End{How: queue.Done})
	}
	if got[0] != "h1" || got[6] != "l1" {
		t.Fatalf("priorities: %v", got)
	}
	lanes := ""
	var greedy, modest []string
	for _, id := range got[1:6] {
		if lanes += id[:1]; id[0] == 'g' {
			greedy = append(greedy, id)
		} else {
			modest = append(modest, id)
		}
	}
	if lanes != "gmgmg" && lanes != "mgmgg" {
		t.Fatalf("turns: %v", got)
	}
	if !slices.Equal(greedy, []string{"g1", "g2", "g3"}) || !slices.Equal(modest, []string{"m1", "m2"}) {
		t.Fatalf("first in first out: %v", got)
	}
}

func testSlots(t *testing.T, r *rig) {
	r.put(queue.Job{ID: "f1", Lane: "full"}, queue.Job{ID: "f2", Lane: "full"}, queue.Job{ID: "o1", Lane: "open"})
	only := func(lane string) func(string) bool { return func(l string) bool { return l == lane } }
	if l := r.take(queue.Ask{Slot: only("open")}); l.ID != "o1" {
		t.Fatalf("took %q", l.ID)
	}
	got, err := r.Take(t.Context(), queue.Ask{Max: 5, Slot: only("open")})
	if err != nil || len(got) != 0 {
		t.Fatalf("took %+v, %v", got, err)
	}
	room, freed := 2, 0
	ask := queue.Ask{Max: 5, Slot: func(string) bool { room--; return room >= 0 }, Free: func(string) { freed++ }}
	n := 0
	for n < 2 {
		ls, err := r.Take(t.Context(), ask)
		if err != nil {
			t.Fatal(err)
		}
		if n += len(ls); len(ls) == 0 {
			r.t.Fatalf("took %d of 2", n)
		}
	}
	if room > 0 && freed == 0 {
		t.Fatalf("room %d", room)
	}
}

func testAgain(t *testing.T, r *rig) {
	r.put(job("a"))
	l := r.take(queue.Ask{})
	begin := time.Now()
	r.end(l, queue.End{How: queue.Again, Delay: 300 * time.Millisecond, Why: "not now"})
	r.none()
	again := r.take(queue.Ask{})
	if again.Attempt != 2 || again.Token <= l.Token {
		t.Fatalf("again %+v", again)
	}
	if early := 300*time.Millisecond - time.Since(begin); early > 0 {
		t.Fatalf("%s early", early)
	}
	_, err := r.End(t.Context(), l, queue.End{How: queue.Done})
	r.wantCode(err, abi.Conflict)
	r.end(again, queue.End{How: queue.Done})
}

func testUncounted(t *testing.T, r *rig) {
	r.put(queue.Job{ID: "a", Lane: "a", Attempts: 1})
	for range 3 {
		l := r.take(queue.Ask{})
		if l.Attempt != 1 {
			t.Fatalf("attempt %d", l.Attempt)
		}
		r.end(l, queue.End{How: queue.Again, Uncounted: true})
	}
	r.end(r.take(queue.Ask{}), queue.End{How: queue.Done})
}

func testAttempts(t *testing.T, r *rig) {
	r.put(queue.Job{ID: "a", Lane: "a", Attempts: 2})
	for i := range 2 {
		l := r.take(queue.Ask{})
		if l.Attempt != i+1 || l.Last() != (i == 1) {
			t.Fatalf("attempt %d, last %v", l.Attempt, l.Last())
		}
		r.end(l, queue.End{How: queue.Again, Why: "failed"})
	}
	r.none()
	infos, err := r.List(t.Context(), queue.Dead, "", 10)
	if err != nil || len(infos) != 1 || infos[0].Attempt != 2 || infos[0].Why != "failed" || infos[0].Attempts != 2 {
		t.Fatalf("dead %+v, %v", infos, err)
	}
}

func testDead(t *testing.T, r *rig) {
	for _, id := range []string{"a", "b", "c"} {
		r.put(queue.Job{ID: id, Lane: "a", Payload: []byte(id)})
		r.end(r.take(queue.Ask{}), queue.End{How: queue.Bury, Why: "no good"})
	}
	r.want(queue.Dead, "a", "b", "c")
	page, err := r.List(t.Context(), queue.Dead, "a", 1)
	if err != nil || len(page) != 1 || page[0].ID != "b" {
		t.Fatalf("page %+v, %v", page, err)
	}
	if s := r.Stats(); s.Dead != 3 {
		t.Fatalf("stats %+v", s)
	}
	if err := r.Drop(t.Context(), "b", nil); err != nil {
		t.Fatal(err)
	}
	r.wantCode(r.Drop(t.Context(), "b", nil), abi.NotFound)
	if err := r.Requeue(t.Context(), "a", queue.Job{ID: "a", Lane: "a", Payload: []byte("new")}, nil); err != nil {
		t.Fatal(err)
	}
	r.wantCode(r.Requeue(t.Context(), "a", job("a"), nil), abi.Conflict)
	r.wantCode(r.Requeue(t.Context(), "nobody", job("nobody"), nil), abi.NotFound)
	r.wantCode(r.Drop(t.Context(), "a", nil), abi.Conflict)
	r.wantCode(r.Requeue(t.Context(), "c", job("a"), nil), abi.Conflict) // that one is in the queue
	l := r.take(queue.Ask{})
	if l.ID != "a" || l.Attempt != 1 || string(l.Payload) != "new" {
		t.Fatalf("again %+v", l)
	}
	if err := r.Requeue(t.Context(), "c", queue.Job{ID: "c2", Lane: "a"}, nil); err != nil {
		t.Fatal(err)
	}
	r.want(queue.Dead)
	if l := r.take(queue.Ask{}); l.ID != "c2" {
		t.Fatalf("took %q", l.ID)
	}
}

func testExpiry(t *testing.T, r *rig) {
	r.put(job("a"))
	l := r.take(queue.Ask{For: r.lease()})
	again := r.take(queue.Ask{For: time.Minute})
	if again.ID != "a" || again.Attempt != 2 || again.Token <= l.Token {
		t.Fatalf("again %+v after %+v", again, l)
	}
	if lost, err := r.Renew(t.Context(), time.Minute, l, again); err != nil || len(lost) != 1 || lost[0].Token != l.Token {
		t.Fatalf("lost %+v, %v", lost, err)
	}
	for _, how := range []queue.Move{queue.Done, queue.Again, queue.Bury} {
		_, err := r.End(t.Context(), l, queue.End{How: how})
		r.wantCode(err, abi.Conflict)
	}
	r.end(again, queue.End{How: queue.Done})
}

func testRenew(t *testing.T, r *rig) {
	r.put(job("kept"), job("left"))
	length := r.lease()
	kept := r.take(queue.Ask{For: length})
	left := r.take(queue.Ask{For: length})
	beat := time.NewTicker(length / 4)
	defer beat.Stop()
	end := time.After(patience)
	for left.Attempt == 1 { // the other runs out; several lengths of it pass
		select {
		case <-beat.C:
		case <-end:
			t.Fatal("timed out")
		}
		if lost, err := r.Renew(t.Context(), length, kept); err != nil || len(lost) != 0 {
			t.Fatalf("lost %+v, %v", lost, err)
		}
		ls, err := r.Take(t.Context(), queue.Ask{Max: 2, For: length})
		if err != nil {
			t.Fatal(err)
		}
		for _, l := range ls {
			if left = l; l.ID != "left" {
				t.Fatalf("%q was given on though it was renewed", l.ID)
			}
		}
	}
	r.end(kept, queue.End{How: queue.Done})
}

func testLost(t *testing.T, r *rig) {
	r.put(queue.Job{ID: "a", Lane: "a", Attempts: 2})
	for range 2 {
		r.take(queue.Ask{For: r.lease()})
	}
	r.until("it is buried", func() bool { return r.Stats().Dead == 1 })
	r.none()
	r.want(queue.Dead, "a")
	if got := r.told(); len(got) != 1 || got[0] != (told{"a", abi.Interrupted}) {
		t.Fatalf("told %+v", got)
	}
}

func testDeadline(t *testing.T, r *rig) {
	held := r.Hold(t.Context(), true, nil)
	if held != nil {
		t.Fatal(held)
	}
	r.put(queue.Job{ID: "late", Lane: "a", Deadline: time.Now().Add(150 * time.Millisecond)}, queue.Job{ID: "free", Lane: "a", Deadline: time.Now().Add(time.Hour)})
	r.until("it is buried", func() bool { return r.Stats().Dead == 1 })
	r.want(queue.Dead, "late")
	if got := r.told(); len(got) != 1 || got[0] != (told{"late", abi.Deadline}) {
		t.Fatalf("told %+v", got)
	}
	if err := r.Hold(t.Context(), false, nil); err != nil {
		t.Fatal(err)
	}
	if l := r.take(queue.Ask{}); l.ID != "free" {
		t.Fatalf("took %q", l.ID)
	}
}

func testNotBefore(t *testing.T, r *rig) {
	when := time.Now().Add(300 * time.Millisecond)
	r.put(queue.Job{ID: "later", Lane: "a", NotBefore: when}, job("now"))
	if l := r.take(queue.Ask{}); l.ID != "now" {
		t.Fatalf("took %q", l.ID)
	}
	r.none()
	if s := r.Stats(); s.Delayed != 1 || s.Ready != 0 {
		t.Fatalf("stats %+v", s)
	}
	if l := r.take(queue.Ask{}); l.ID != "later" || time.Now().Before(when) {
		t.Fatalf("took %q at %s", l.ID, time.Now())
	}
}
