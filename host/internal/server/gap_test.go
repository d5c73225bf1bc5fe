package server_test

import (
	"fmt"
	"net/http"
	"strings"
	"testing"

	"github.com/arw-project/arw/host/internal/journal"
	"github.com/arw-project/arw/host/internal/server"
)

// data gives the data line of the next frame of a kind.
func (s *stream) data(kind string) string {
	s.t.Helper()
	for found := false; ; {
		line, err := s.r.ReadString('\n')
		if err != nil {
			s.t.Fatal(err)
		}
		if strings.TrimSpace(line) == "event: "+kind {
			found = true
		}
		if text, ok := strings.CutPrefix(line, "data: "); ok && found {
			return strings.TrimSpace(text)
		}
	}
}

func TestAStreamIsToldWhatItDoesNotGet(t *testing.T) {
	t.Parallel()
	e := still(t, server.Options{})
	j := e.Services().Journal
	for range 3 {
		e.note("test.a", "test.b")
	}
	if _, err := j.Checkpoint(t.Context()); err != nil {
		t.Fatal(err)
	}
	floor := j.Last()
	kept := e.note("test.c", "other.c", "test.d")
	if _, err := j.Prune(t.Context(), journal.Retention{Count: 1}, j.Last()); err != nil || j.Floor() != floor {
		t.Fatal(j.Floor(), err)
	}
	// Who resumes behind what was removed is told which it was, then gets the rest, by its filter.
	s := e.events("?after=2&prefix=test.")
	if got, want := s.data("bus.gap"), fmt.Sprintf(`{"from":3,"to":%d,"count":%d,"reason":"pruned"}`, floor, floor-2); got != want {
		t.Errorf("gap %s, want %s", got, want)
	}
	s.want([]journal.Record{kept[0], kept[2]})
	// At any id still kept, nothing is missing.
	s = e.events("?prefix=test.", "Last-Event-ID", fmt.Sprint(kept[0].ID))
	s.want([]journal.Record{kept[2]})
	// Who bounds how far behind it may be is told what it skipped, and can have it all the same.
	s = e.events(fmt.Sprintf("?after=%d&max_lag=2", floor))
	if got, want := s.data("bus.gap"), fmt.Sprintf(`{"from":%d,"to":%d,"count":%d,"reason":"lagged"}`, floor+1, j.Last()-2, j.Last()-2-floor); got != want {
		t.Errorf("gap %s, want %s", got, want)
	}
	e.events(fmt.Sprintf("?after=%d", floor)).want(kept)
	resp := e.ask("GET", "/events?max_lag=x", "")
	if resp.StatusCode != http.StatusBadRequest {
		t.Errorf("max_lag=x answered %d", resp.StatusCode)
	}
	text := bodyOf(t, e.ask("GET", "/metrics", ""))
	for _, want := range []string{"arw_bus_gaps_total 2", "arw_events_sse_gaps_total 2", "arw_bus_published_total", "arw_bus_delivered_total", "arw_bus_lagged_total", "arw_tool_cache_hits_total 0", "arw_tool_cache_latency_saved_ms_total 0"} {
		if !strings.Contains(text, want) {
			t.Errorf("no %q in the metrics", want)
		}
	}
}

// TestAStreamShowsWhatStandsNow holds that frames kept for many clients do not outlive a redaction.
func TestAStreamShowsWhatStandsNow(t *testing.T) {
	t.Parallel()
	e := still(t, server.Options{})
	recs, err := e.Services().Journal.Append(t.Context(), journal.Event{Kind: "test.note", Body: map[string]string{"token": "hunter2-and-more"}})
	if err != nil {
		t.Fatal(err)
	}
	at := fmt.Sprintf("?after=%d", recs[0].ID-1)
	if got := e.events(at).data("test.note"); !strings.Contains(got, "hunter2") {
		t.Fatal(got)
	}
	resp := e.ask("POST", "/admin/journal/redact", fmt.Sprintf(`{"id":%d,"path":"/token"}`, recs[0].ID), "Authorization", "Bearer "+e.token)
	if resp.StatusCode != http.StatusOK {
		t.Fatal(resp.Status)
	}
	if got := e.events(at).data("test.note"); strings.Contains(got, "hunter2") || !strings.Contains(got, journal.Mark) {
		t.Error(got)
	}
	for sent, status := range map[string]int{
		`{}`: 400, `{"id":1}`: 400, `{"value":"x"}`: 400, `{"id":1,"path":"/a","value":"long enough"}`: 400, `{"id":99999,"path":"/a"}`: 404, `{"value":"nowhere to be found"}`: 200,
	} {
		if resp := e.ask("POST", "/admin/journal/redact", sent, "Authorization", "Bearer "+e.token); resp.StatusCode != status {
			t.Errorf("%s answered %s", sent, resp.Status)
		}
	}
	if resp := e.ask("POST", "/admin/journal/redact", `{"value":"long enough"}`); resp.StatusCode == http.StatusOK {
		t.Error("anybody may redact")
	}
}
