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
