package host_test

import (
	"bytes"
	"encoding/json"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/arw-project/arw/host"
	"github.com/arw-project/arw/host/hosttest"
	"github.com/arw-project/arw/host/internal/action"
	"github.com/arw-project/arw/host/internal/journal"
	"github.com/arw-project/arw/host/internal/view"
)

// keepingLittle makes a host sign and prune all the time.
func keepingLittle(c *host.Config) {
	c.ModelsEvery = time.Millisecond
	c.Journal = host.Journal{Events: 20, Every: time.Millisecond, Look: time.Millisecond, Keep: journal.Retention{Count: 50, Least: 50}}
}

// followUntil waits for a record that ok accepts.
func followUntil(t *testing.T, h *hosttest.Host, after int64, ok func(*journal.Record) bool) {
	t.Helper()
	for r, err := range h.Services().Journal.Follow(t.Context(), after, journal.Filter{}) {
		if err != nil {
			t.Fatal(err)
		}
		if ok(&r) {
			return
		}
	}
}

// TestDocumentsOutliveTheRecordsTheyWereToldFrom prunes under a working host, restarts it, and finds every count right.
func TestDocumentsOutliveTheRecordsTheyWereToldFrom(t *testing.T) {
	t.Parallel()
	h := hosttest.New(t, hosttest.Options{Config: keepingLittle})
	j := h.Services().Journal
	const total = 300
	for i := range total {
		if _, err := j.Append(t.Context(), journal.Event{Kind: "acme.note", Corr: "cor_1", Body: map[string]int{"i": i}}); err != nil {
			t.Fatal(err)
		}
	}
	followUntil(t, h, j.Floor(), func(*journal.Record) bool { return j.Floor() > 100 })
	h.Stop()
	rep, err := verifyState(t, h.State)
	if err != nil || rep.Pruned <= 100 || rep.Signed != rep.Last {
		t.Fatalf("%+v, %v", rep, err)
	}
	h.Start()
	j = h.Services().Journal
	if _, err := j.Append(t.Context(), journal.Event{Kind: "acme.note", Corr: "cor_1"}); err != nil {
		t.Fatal(err)
	}
	told := func() int {
		doc, err := h.Services().View.Get(t.Context(), "events")
		if err != nil {
			t.Fatal(err)
		}
		var events struct {
			Kinds map[string]int `json:"kinds"`
		}
		if err := json.Unmarshal(doc.Body, &events); err != nil {
			t.Fatal(err)
		}
		return events.Kinds["acme.note"]
	}
	followUntil(t, h, j.Floor(), func(*journal.Record) bool { return told() >= total+1 })
	if n := told(); n != total+1 {
		t.Errorf("the document has told %d events of %d", n, total+1)
	}
}

func verifyState(t *testing.T, state string) (journal.Report, error) {
	t.Helper()
	keys, err := journal.ReadKeys(filepath.Join(state, journal.PublicFile))
	if err != nil {
		t.Fatal(err)
	}
	return journal.VerifyFile(t.Context(), filepath.Join(state, "arw.db"), keys)
}

// TestDocumentsForgetARedactedValue holds that a value is gone from documents and their stored texts, and that they still
// equal their patches.
func TestDocumentsForgetARedactedValue(t *testing.T) {
	t.Parallel()
	h := hosttest.New(t, hosttest.Options{Stopped: true})
	s := h.Services()
	const secret = "hunter2-and-more"
	if _, err := s.View.Put(t.Context(), view.Cause{}, "acme.doc", json.RawMessage(`{"a":"x `+secret+`","`+secret+`":[1,"`+secret+`"],"b":1}`)); err != nil {
		t.Fatal(err)
	}
	for i := range 3 { // the stored text is of the first version, patches follow
		if _, err := s.View.Put(t.Context(), view.Cause{}, "acme.doc", json.RawMessage(`{"a":"x `+secret+`","`+secret+`":[1,"`+secret+`"],"b":`+string(rune('2'+i))+`}`)); err != nil {
			t.Fatal(err)
		}
	}
	docs, err := s.View.Scrub(t.Context(), view.Cause{Actor: "ann"}, secret)
	if err != nil || len(docs) != 1 || docs[0] != "acme.doc" {
		t.Fatalf("%v, %v", docs, err)
	}
	if _, err := s.Journal.RedactValue(t.Context(), journal.Author{}, secret); err != nil {
		t.Fatal(err)
	}
	if left, err := s.Journal.Purge(t.Context(), secret); err != nil || left {
		t.Errorf("left: %v, %v", left, err)
	}
	h.Stop()
	for _, name := range []string{"arw.db", "arw.db-wal"} {
		if raw, err := os.ReadFile(filepath.Join(h.State, name)); err == nil && bytes.Contains(raw, []byte(secret)) {
			t.Errorf("the value is still in %s", name)
		}
	}
	if rep, err := verifyState(t, h.State); err != nil || rep.Redacted != 2 {
		t.Errorf("%+v, %v", rep, err)
	}
	h.Start()
	doc, err := h.Services().View.Get(t.Context(), "acme.doc")
	if err != nil || strings.Contains(string(doc.Body), secret) || !strings.Contains(string(doc.Body), `"a":"x [redacted]"`) || !strings.Contains(string(doc.Body), `"b":4`) {
		t.Errorf("%s, %v", doc.Body, err)
	}
}

// TestWhatAnUnfinishedActionNeedsIsKept prunes all the time while an action waits for a person, restarts the host between, and
// finds the action's whole story, from its submission to its end; then nothing holds those records any more.
func TestWhatAnUnfinishedActionNeedsIsKept(t *testing.T) {
	t.Parallel()
	h := hosttest.New(t, hosttest.Options{Config: keepingLittle, Policies: map[string]string{"hold.cedar": holdKV}})
	h.Install(hosttest.SinkPack(t))
	noise := func() {
		t.Helper()
		for i := range 200 {
			if _, err := h.Services().Journal.Append(t.Context(), journal.Event{Kind: "acme.note", Corr: "cor_noise", Body: map[string]int{"i": i}}); err != nil {
				t.Fatal(err)
			}
		}
	}
	noise()
	a := h.Submit("sink.put", `{"key":"a","val":"b"}`)
	waiting := func() string {
		t.Helper()
		var id string
		hosttest.Eventually(t, "the question is asked", func() bool {
			list, err := h.Services().Prompts.List(t.Context(), "pending")
			if err != nil {
				t.Fatal(err)
			}
			if len(list) == 1 {
				id = list[0].ID
			}
			return id != ""
		})
		return id
	}
	first := waiting()
	begin := h.Events(journal.Filter{Corr: a.Corr})[0]
	noise()
	h.Restart() // it prunes before anything else, and so does the next one, now with what the first has told
	noise()
	h.Restart()
	if id := waiting(); id != first {
		t.Fatalf("after two restarts another question waits: %s, not %s", id, first)
	}
	if f := h.Services().Journal.Floor(); f == 0 || f >= begin.ID {
		t.Fatalf("records up to %d are gone; the action that waits began at %d", f, begin.ID)
	}
	if _, err := h.Services().Packs.Answer(t.Context(), "", "operator", first, true, "calls=9", "for the test", nil); err != nil {
		t.Fatal(err)
	}
	if end := h.Wait(a.ID); end.State != action.Completed {
		t.Fatalf("%s: %+v", end.State, end.Failure)
	}
	story := map[string]int{}
	for _, r := range h.Events(journal.Filter{Corr: a.Corr}) {
		story[r.Kind]++
	}
	if story["actions.submitted"] != 1 || story["policy.prompt"] != 1 || story["actions.completed"] != 1 {
		t.Errorf("of the action's story %v is left", story)
	}
	hosttest.Eventually(t, "the story of a finished action may go", func() bool {
		noise()
		return h.Services().Journal.Floor() > begin.ID
	})
}
