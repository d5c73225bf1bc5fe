package server

import (
	"encoding/json"
	"slices"

	"github.com/gofiber/fiber/v2"

	"github.com/arw-project/arw/abi"
	"github.com/arw-project/arw/host/api"
	"github.com/arw-project/arw/host/internal/journal"
	"github.com/arw-project/arw/host/internal/view"
)

// journalRoutes change what the journal keeps; they are the operator's.
func (s *Server) journalRoutes() []route {
	return []route{
		{"POST", "/admin/journal/redact", accessManage, s.postRedact, doc{Summary: "Take a secret out of the journal, for good", In: api.RedactJournal{}, Out: api.RedactedJournal{}, Codes: []abi.Code{abi.NotFound, abi.Conflict}}},
	}
}

// postRedact takes api.RedactJournal and answers api.RedactedJournal.
func (s *Server) postRedact(c *fiber.Ctx) error {
	var body api.RedactJournal
	if err := decode(c, &body); err != nil {
		return err
	}
	if (body.Value == "") == (body.Path == "" || body.ID == 0) {
		return abi.Errorf(abi.Invalid, "redact: name an event with a place in it, or a value").WithHint(`{"id": 12, "path": "/token"} or {"value": "…"}`)
	}
	by := journal.Author{Actor: s.actor(c), Corr: corr(c), Reason: body.Reason}
	out := api.RedactedJournal{}
	var done []journal.Redaction
	var err error
	if body.Value == "" {
		var one journal.Redaction
		if one, err = s.svc.Journal.RedactPath(s.ctx, by, body.ID, body.Path); err == nil {
			done = append(done, one)
		}
	} else {
		done, err = s.redactValue(by, body.Value, &out)
	}
	if err != nil {
		return err
	}
	// Both forms are one: the journal's is the edge's, word for word.
	raw, err := json.Marshal(done)
	if err == nil {
		err = json.Unmarshal(raw, &out.Redactions)
	}
	if err != nil {
		return err
	}
	if out.Redactions == nil {
		out.Redactions = []api.JournalRedacted{}
	}
	return c.JSON(out)
}

// redactValue cleans the documents first: what they publish of it is in the journal by the time that is searched. And once more as long
// as there is some: a document that was told of a record just before that was redacted has the value again, and publishes it.
func (s *Server) redactValue(by journal.Author, value string, out *api.RedactedJournal) (done []journal.Redaction, err error) {
	if len(value) < journal.MinSecret {
		return s.svc.Journal.RedactValue(s.ctx, by, value) // says why not
	}
	for round := range 4 {
		hit, err := s.svc.View.Scrub(s.ctx, view.Cause{Actor: by.Actor, Corr: by.Corr}, value)
		if err != nil {
			return done, err
		}
		if round > 0 && len(hit) == 0 {
			break
		}
		more, err := s.svc.Journal.RedactValue(s.ctx, by, value)
		done, out.Documents = append(done, more...), union(out.Documents, hit)
		if err != nil {
			return done, err
		}
	}
	out.Left, err = s.svc.Journal.Purge(s.ctx, value)
	return done, err
}

// union is a and what b has beside, in the order of names.
func union(a, b []string) []string {
	all := slices.Concat(a, b)
	slices.Sort(all)
	return slices.Compact(all)
}
