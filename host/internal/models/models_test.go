package models_test

import (
	"context"
	"encoding/json"
	"fmt"
	"path/filepath"
	"reflect"
	"testing"
	"time"

	"github.com/arw-project/arw/host/internal/db"
	"github.com/arw-project/arw/host/internal/journal"
	"github.com/arw-project/arw/host/internal/models"
	"github.com/arw-project/arw/host/internal/view"
)

// tell gives the documents that these records make.
func tell(t *testing.T, records ...journal.Record) map[string]map[string]any {
	t.Helper()
	d, err := db.Open(t.Context(), filepath.Join(t.TempDir(), "arw.db"), []db.Migration{{Owner: "journal", Steps: journal.Schema}, {Owner: "view", Steps: view.Schema}})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = d.Close() })
	j, err := journal.Open(t.Context(), d)
	if err != nil {
		t.Fatal(err)
	}
	v := view.Open(d, j)
	docs := map[string]map[string]any{}
	for _, p := range models.All() {
		l, err := v.Live(t.Context(), p.ID)
		if err != nil {
			t.Fatal(err)
		}
		f := journal.Filter{Prefixes: p.Kinds}
		for i := range records {
			if !f.Match(&records[i]) {
				continue
			}
			if err := l.Change(func(e *view.Edit) error { return p.Fold(e, &records[i]) }); err != nil {
				t.Fatalf("%s: %v", p.ID, err)
			}
		}
		if err := l.Flush(context.Background()); err != nil {
			t.Fatal(err)
		}
		if doc, err := v.Get(t.Context(), p.ID); err == nil {
			var into map[string]any
			if err := json.Unmarshal(doc.Body, &into); err != nil {
				t.Fatal(err)
			}
			docs[p.ID] = into
		}
	}
	return docs
}

// at reads a member.
func at(t *testing.T, doc any, path ...string) any {
	t.Helper()
	for _, key := range path {
		m, ok := doc.(map[string]any)
		if !ok {
			return nil
		}
		doc = m[key]
	}
	return doc
}

// log numbers records and gives each a second.
func log(rs ...journal.Record) []journal.Record {
	for i := range rs {
		rs[i].ID, rs[i].Time = int64(i+1), time.Unix(int64(i+1), 0)
		if rs[i].Body == nil {
			rs[i].Body = json.RawMessage("{}")
		}
	}
	return rs
}

func body(format string, args ...any) json.RawMessage {
	return json.RawMessage(fmt.Sprintf(format, args...))
}

func TestActionsFollowTheirStates(t *testing.T) {
	docs := tell(t, log(
		journal.Record{Kind: "actions.submitted", Action: "act_1", Corr: "c", Pack: "a/b", Body: body(`{"id":"act_1","kind":"b.t","state":"queued"}`)},
		journal.Record{Kind: "actions.running", Action: "act_1", Corr: "c", Pack: "a/b", Body: body(`{"id":"act_1","kind":"b.t","state":"running","waited_ms":7}`)},
		journal.Record{Kind: "actions.failed", Action: "act_1", Corr: "c", Pack: "a/b", Body: body(`{"id":"act_1","kind":"b.t","state":"failed","code":"denied","message":"no","ran_ms":9}`)},
		journal.Record{Kind: "actions.completed", Action: "act_0", Body: body(`{"id":"act_0","kind":"b.t","state":"completed"}`)},
	)...)
	want := map[string]any{
		"id": "act_1", "kind": "b.t", "state": "failed", "pack": "a/b", "corr_id": "c", "created": "1970-01-01T00:00:01.000Z",
		"changed": "1970-01-01T00:00:03.000Z", "waited_ms": 7.0, "ran_ms": 9.0, "code": "denied", "message": "no",
	}
	if got := at(t, docs["actions"], "items"); !reflect.DeepEqual(got, map[string]any{"act_1": want}) {
		t.Errorf("got %v\nwant %v; an end whose beginning is out of the window must not come back", got, want)
	}
}

func TestEpisodesSumUp(t *testing.T) {
	docs := tell(t, log(
		journal.Record{Kind: "actions.submitted", Corr: "c1", Actor: "me", Project: "p"},
		journal.Record{Kind: "leases.denied", Corr: "c1", Pack: "a/b"},
		journal.Record{Kind: "tool.result", Corr: "c1", Body: body(`{"status":"error"}`)},
		journal.Record{Kind: "actions.submitted", Corr: "c2"},
		journal.Record{Kind: "actions.completed", Corr: "c1", Body: body(`{"error":null}`)},
		journal.Record{Kind: "service.start"},
	)...)
	got := at(t, docs["episodes"], "items", "c1")
	want := map[string]any{
		"id": "c1", "start": "1970-01-01T00:00:01.000Z", "last": "1970-01-01T00:00:05.000Z", "duration_ms": 4000.0, "count": 4.0, "errors": 2.0,
		"first_event": 1.0, "last_event": 5.0, "first_kind": "actions.submitted", "last_kind": "actions.completed",
		"projects": []any{"p"}, "actors": []any{"me"}, "packs": []any{"a/b"},
		"kinds": []any{"actions.submitted", "leases.denied", "tool.result", "actions.completed"},
	}
	if !reflect.DeepEqual(got, want) {
		t.Errorf("got  %v\nwant %v", got, want)
	}
}

func TestClockThatStepsBackTakesNothingOff(t *testing.T) {
	var ep models.Episode
	for i, sec := range []int64{100, 110, 50} {
		ep.Add(&journal.Record{ID: int64(i + 1), Kind: "a.b", Corr: "c", Time: time.Unix(sec, 0)})
	}
	if ep.DurationMS != 10_000 || ep.LastID != 3 || ep.Count != 3 {
		t.Errorf("got %+v", ep)
	}
}

func TestEpisodesForgetTheOneThatRestedLongest(t *testing.T) {
	var rs []journal.Record
	for i := range models.MaxEpisodes {
		rs = append(rs, journal.Record{Kind: "a.b", Corr: fmt.Sprintf("c%03d", i)})
	}
	rs = append(rs, journal.Record{Kind: "a.b", Corr: "c000"}, journal.Record{Kind: "a.b", Corr: "new"})
	items := at(t, tell(t, log(rs...)...)["episodes"], "items").(map[string]any)
	if len(items) != models.MaxEpisodes || items["c001"] != nil || items["c000"] == nil || items["new"] == nil {
		t.Errorf("%d episodes; c001 %v", len(items), items["c001"])
	}
}

func TestEventsAreAWindowAndCounts(t *testing.T) {
	var rs []journal.Record
	for i := range models.MaxKinds + 50 {
		rs = append(rs, journal.Record{Kind: fmt.Sprintf("k.n%d", i)})
	}
	doc := tell(t, log(rs...)...)["events"]
	items, kinds := at(t, doc, "items").(map[string]any), at(t, doc, "kinds").(map[string]any)
	if len(items) != models.MaxEvents || items[view.Ordinal(models.MaxKinds+50)] == nil {
		t.Errorf("%d items", len(items))
	}
	if len(kinds) != models.MaxKinds+1 || kinds["other"] != 50.0 || at(t, doc, "total") != float64(models.MaxKinds+50) {
		t.Errorf("%d kinds, other %v, total %v", len(kinds), kinds["other"], at(t, doc, "total"))
	}
}

func TestObservationsShowSmallPayloadsAndNotTheHostItself(t *testing.T) {
	doc := tell(t, log(
		journal.Record{Kind: "service.start"},
		journal.Record{Kind: "tool.called", Pack: "a/b", Body: body(`{"x":1}`)},
		journal.Record{Kind: "tool.called", Action: "act_1", Body: body(`{"x":%q}`, make([]byte, 2000))},
	)...)["observations"]
	items := at(t, doc, "items").(map[string]any)
	if len(items) != 2 {
		t.Fatalf("%d observations, want 2", len(items))
	}
	if got := at(t, items, view.Ordinal(2)); at(t, got, "payload", "x") != 1.0 || at(t, got, "subject") != "a/b" {
		t.Errorf("small: %v", got)
	}
	if got := at(t, items, view.Ordinal(3)); at(t, got, "payload") != nil || at(t, got, "subject") != "act_1" || at(t, got, "payload_bytes").(float64) < 2000 {
		t.Errorf("large: %v", got)
	}
}

func TestBeliefsAndIntents(t *testing.T) {
	docs := tell(t, log(
		journal.Record{Kind: "acme.beliefs.updated", Pack: "acme/p", Body: body(`{"id":"b","claim":"x","confidence":7}`)},
		journal.Record{Kind: "other.beliefs.updated", Pack: "other/p", Body: body(`{"id":"b","claim":"y","confidence":0.5}`)},
		journal.Record{Kind: "other.beliefs.removed", Pack: "other/p", Body: body(`{"id":"b"}`)},
		journal.Record{Kind: "acme.beliefs.updated", Pack: "acme/p", Body: body(`{"id":7}`)},
		journal.Record{Kind: "acme.beliefs.updated", Body: body(`{"id":"of nobody"}`)},
		journal.Record{Kind: "intents.approved", Body: body(`{"id":"never proposed"}`)},
		journal.Record{Kind: "intents.proposed", Body: body(`{"id":"i","title":"do it"}`)},
		journal.Record{Kind: "intents.rejected", Actor: "me", Body: body(`{"id":"i","reason":"no"}`)},
	)...)
	beliefs := at(t, docs["beliefs"], "items").(map[string]any)
	if len(beliefs) != 1 || at(t, beliefs, "acme/p#b", "confidence") != 1.0 || at(t, beliefs, "acme/p#b", "claim") != "x" {
		t.Errorf("beliefs %v", beliefs)
	}
	intents := at(t, docs["intents"], "items").(map[string]any)
	if got := at(t, intents, "i"); len(intents) != 1 || at(t, got, "status") != "rejected" || at(t, got, "title") != "do it" || at(t, got, "actor") != "me" {
		t.Errorf("intents %v", intents)
	}
}
