package models

import (
	"encoding/json"
	"slices"
	"strings"
	"time"

	"github.com/arw-project/arw/host/internal/journal"
	"github.com/arw-project/arw/host/internal/view"
)

// Episode is what belongs to one correlation id, summed up.
type Episode struct {
	ID         string   `json:"id"`
	Start      string   `json:"start"`
	Last       string   `json:"last"`
	DurationMS int64    `json:"duration_ms"` // by the wall clock, never below 0
	Count      int64    `json:"count"`
	Errors     int64    `json:"errors"`
	FirstID    int64    `json:"first_event"`
	LastID     int64    `json:"last_event"`
	FirstKind  string   `json:"first_kind"`
	LastKind   string   `json:"last_kind"`
	Projects   []string `json:"projects,omitempty"`
	Actors     []string `json:"actors,omitempty"`
	Packs      []string `json:"packs,omitempty"`
	Kinds      []string `json:"kinds"` // of each sort of name at most 20
}

// foldEpisode keeps the episodes that something happened in last.
func foldEpisode(e *view.Edit, r *journal.Record) error {
	if r.Corr == "" {
		return nil
	}
	var ep Episode
	if _, err := e.Get(&ep, "items", r.Corr); err != nil {
		return err
	}
	ep.Add(r)
	e.Set(ep, "items", r.Corr)
	return evict(e, MaxEpisodes, r.Corr, r.ID)
}

// Add counts one more record, in the order of the journal.
func (ep *Episode) Add(r *journal.Record) {
	if ep.Count == 0 {
		ep.ID, ep.Start, ep.FirstID, ep.FirstKind = r.Corr, stamp(r.Time), r.ID, r.Kind
	}
	ep.Count++
	ep.Last, ep.LastID, ep.LastKind = stamp(r.Time), r.ID, r.Kind
	if start, err := time.Parse(time.RFC3339Nano, ep.Start); err == nil {
		ep.DurationMS = max(0, ep.DurationMS, r.Time.Sub(start).Milliseconds()) // a clock that steps back takes nothing off
	}
	if IsError(r) {
		ep.Errors++
	}
	ep.Projects, ep.Actors = name(ep.Projects, r.Project), name(ep.Actors, r.Actor)
	ep.Packs, ep.Kinds = name(ep.Packs, r.Pack), name(ep.Kinds, r.Kind)
}

func name(list []string, n string) []string {
	if n == "" || len(list) >= maxNames || slices.Contains(list, n) {
		return list
	}
	return append(list, n)
}

// IsError reports whether an event tells of something that went wrong: a word of its kind says so, or its body has an
// "error" or "err", or a "status" or "severity" that says so.
func IsError(r *journal.Record) bool {
	for w := range strings.SplitSeq(r.Kind, ".") {
		switch w {
		case "error", "failed", "denied", "deny", "panic", "refused":
			return true
		}
	}
	var b struct {
		Error, Err       json.RawMessage
		Status, Severity any
	}
	if json.Unmarshal(r.Body, &b) != nil {
		return false
	}
	has := func(raw json.RawMessage) bool {
		switch string(raw) {
		case "", "null", `""`, "false":
			return false
		}
		return true
	}
	switch b.Status {
	case "error", "failed", "denied", "panic":
		return true
	}
	return b.Severity == "error" || has(b.Error) || has(b.Err)
}
