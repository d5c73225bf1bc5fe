package server

import (
	"net/url"
	"strconv"
	"strings"
	"time"

	"github.com/gofiber/fiber/v2"

	"github.com/arw-project/arw/abi"
	"github.com/arw-project/arw/host/api"
	"github.com/arw-project/arw/host/internal/journal"
	"github.com/arw-project/arw/host/internal/lease"
	"github.com/arw-project/arw/host/internal/logic"
	"github.com/arw-project/arw/host/internal/models"
	"github.com/arw-project/arw/host/internal/pack"
	"github.com/arw-project/arw/host/internal/project"
	"github.com/arw-project/arw/host/internal/spec"
	"github.com/arw-project/arw/host/internal/view"
)

// modelRoutes are the read models and the journal behind them. The documents of /state are followed as
// state.read.model.patch events; lists that are filtered and paged stand beside them, without /state.
func (s *Server) modelRoutes() []route {
	return []route{
		{"GET", "/packs", stateRead, s.getPacks, doc{Summary: "Installed packs", Out: api.List[pack.Info]{}}},
		{"GET", "/leases", stateRead, s.getLeases, doc{Summary: "Leases and what is left of them", Query: "pack digest state project", Out: api.List[lease.Wire]{}}},
		{"GET", "/actions", stateRead, s.getActions, doc{Summary: "Actions, the newest first", Query: "state kind pack corr_id parent before limit since project", Out: actionPage{}}},
		{"GET", "/state", stateRead, s.getViews, doc{Summary: "The read models there are, with their versions", Query: "prefix project", Out: api.List[view.Head]{}}},
		{"GET", "/state/episode/:id/snapshot", stateRead, s.getEpisode, doc{Summary: "All that belongs to one correlation id, with the configuration in force", Query: "limit project", Out: api.EpisodeSnapshot{}}},
		{"GET", "/state/:id", stateRead, s.getView, doc{Summary: "A read model; its patches are events of kind state.read.model.patch", Query: "project", Out: spec.Any{}}},
		{"GET", "/admin/events/journal", eventRead, s.getJournal, doc{Summary: "Records of the journal, page by page", Query: "after limit prefix corr_id pack action actor project since until", Out: api.JournalPage{}}},
	}
}

// getViews names the documents there are, with their versions.
func (s *Server) getViews(c *fiber.Ctx) error {
	in, err := s.about(c)
	if err != nil {
		return err
	}
	prefix := c.Query("prefix")
	if in != nil && *in != "" {
		if from, _ := project.OfDoc(prefix); from != *in {
			prefix = project.DocID(*in, prefix)
		}
	}
	heads, err := s.svc.View.List(s.ctx, prefix)
	if err != nil {
		return err
	}
	return stateJSON(c, "views", api.List[view.Head]{Version: s.svc.Journal.Last(), Items: heads})
}

// getView answers one document. Its ETag is the version that a patch event names, so a client knows from which patch on
// it must follow.
func (s *Server) getView(c *fiber.Ctx) error {
	id, err := url.PathUnescape(c.Params("id"))
	if err != nil {
		return abi.Errorf(abi.Invalid, "read document %q: %w", c.Params("id"), err)
	}
	if id, err = s.seen(c, id); err != nil {
		return err
	}
	return s.showView(c, id)
}

func (s *Server) showView(c *fiber.Ctx, id string) error {
	doc, err := s.svc.View.Get(s.ctx, id)
	if err != nil {
		return err
	}
	c.Set(api.HeaderVersion, strconv.FormatInt(doc.Version, 10))
	return validated(c, doc.ETag, doc.Body)
}

// getEpisode answers everything that belongs to one correlation id, summed up from the journal itself: it knows episodes
// that the document "episodes" has forgotten. The summary counts what is listed.
func (s *Server) getEpisode(c *fiber.Ctx) error {
	limit, err := queryInt(c, "limit", 1000, 1, 2000)
	if err != nil {
		return err
	}
	id, err := url.PathUnescape(c.Params("id"))
	if err != nil {
		return abi.Errorf(abi.Invalid, "read episode %q: %w", c.Params("id"), err)
	}
	snap := api.EpisodeSnapshot{Version: s.svc.Journal.Last(), Items: []api.Event{}}
	in, err := s.about(c)
	if err != nil {
		return err
	}
	f := journal.Filter{Corr: id}
	if in != nil {
		f.Project = project.Name(*in)
	}
	var ep models.Episode
	for after := int64(0); len(snap.Items) < limit && !snap.Truncated; {
		page, err := s.svc.Journal.Read(s.ctx, after, limit-len(snap.Items), f)
		if err != nil {
			return err
		}
		if len(page) == 0 {
			break
		}
		for i := range page {
			ep.Add(&page[i])
			snap.Items = append(snap.Items, wireEvent(&page[i]))
		}
		after = page[len(page)-1].ID
		snap.Truncated = len(snap.Items) == limit
	}
	if ep.Count == 0 {
		return abi.Errorf(abi.NotFound, "read episode %q: no event has that correlation id", id)
	}
	snap.Episode = ep
	if err := s.inForce(&snap, &ep); err != nil {
		return err
	}
	return stateJSON(c, "episode", snap)
}

// inForce adds the configuration that packs could read when the episode began.
func (s *Server) inForce(snap *api.EpisodeSnapshot, ep *models.Episode) error {
	if s.svc.Logic == nil {
		return nil
	}
	began, err := time.Parse(time.RFC3339Nano, ep.Start)
	if err != nil {
		return abi.Errorf(abi.Corrupt, "read episode %q: it began at %q: %w", ep.ID, ep.Start, err)
	}
	if snap.ConfigVersion, err = s.svc.Logic.VersionAt(s.ctx, began); err != nil {
		return err
	}
	docs, err := s.svc.Logic.AllAt(s.ctx, snap.ConfigVersion, ep.ID, scopesOf(ep)...)
	switch abi.CodeOf(err) {
	case abi.OK:
		snap.Config = docs
	case abi.Conflict, abi.Invalid:
		snap.ConfigProblem = err.Error()
	default:
		return err
	}
	return nil
}

// scopesOf are those of the one project and the one agent of an episode. A name that no scope can have has no configuration
// of its own.
func scopesOf(ep *models.Episode) (scopes []logic.Scope) {
	if len(ep.Projects) == 1 {
		if scope, err := logic.ParseScope("project/" + ep.Projects[0]); err == nil {
			scopes = append(scopes, scope)
		}
	}
	var agents []string
	for _, actor := range ep.Actors {
		if name, ok := strings.CutPrefix(actor, "agent:"); ok {
			agents = append(agents, name)
		}
	}
	if len(agents) == 1 {
		if scope, err := logic.ParseScope("agent/" + agents[0]); err == nil {
			scopes = append(scopes, scope)
		}
	}
	return scopes
}

// getJournal reads the journal page by page, forwards from after.
func (s *Server) getJournal(c *fiber.Ctx) error {
	limit, err := queryInt(c, "limit", 200, 1, 1000)
	if err != nil {
		return err
	}
	after, err := strconv.ParseInt(c.Query("after", "0"), 10, 64)
	if err != nil || after < 0 {
		return abi.Errorf(abi.Invalid, "read journal: after=%q is not the id of a record", c.Query("after"))
	}
	f := journal.Filter{
		Prefixes: prefixes(c), Corr: c.Query("corr_id"), Pack: c.Query("pack"), Action: c.Query("action"),
		Actor: c.Query("actor"),
	}
	in, err := s.about(c)
	if err != nil {
		return err
	}
	if in != nil {
		f.Project = project.Name(*in)
	}
	for key, into := range map[string]*time.Time{"since": &f.Since, "until": &f.Until} {
		if given := c.Query(key); given != "" {
			if *into, err = time.Parse(time.RFC3339Nano, given); err != nil {
				return abi.Errorf(abi.Invalid, "read journal: %s=%q is not an RFC 3339 time", key, given)
			}
		}
	}
	page, err := s.svc.Journal.Read(s.ctx, after, limit, f)
	if err != nil {
		return err
	}
	out := api.JournalPage{Last: s.svc.Journal.Last(), Next: after, Items: make([]api.Event, 0, len(page))}
	for i := range page {
		out.Items = append(out.Items, wireEvent(&page[i]))
		out.Next = page[i].ID
	}
	return c.JSON(out)
}
