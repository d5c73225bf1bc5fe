package server

import (
	"github.com/gofiber/fiber/v2"

	"github.com/arw-project/arw/abi"
	"github.com/arw-project/arw/host/api"
	"github.com/arw-project/arw/host/internal/action"
	"github.com/arw-project/arw/host/internal/project"
)

// confined are the routes that keep whoever asks to one project, by asking within or mine; a token that is confined to a
// project reaches no other. What is about a host, and not about what somebody wrote, is among them where it tells nothing of a
// project.
var confined = map[string]bool{
	"POST /actions": true, "GET /actions": true, "GET /actions/:id": true, "POST /actions/:id/cancel": true,
	"PUT /actions/:id/stream": true, "GET /actions/:id/stream": true,
	"GET /events": true, "GET /admin/events/journal": true, "GET /state": true, "GET /state/:id": true, "GET /state/episode/:id/snapshot": true,
	"POST /v1/chat/completions": true, "POST /v1/completions": true, "POST /v1/embeddings": true, "GET /v1/models": true,
	"POST /admin/memory/quarantine": true, "POST /admin/world_diffs/queue": true,
	"GET /packs": true, "GET /packs/:ns/:name": true, "GET /packs/:ns/:name/verdict": true,
}

// projectRoutes are about projects and what one lets another read.
func (s *Server) projectRoutes() []route {
	return []route{
		{"GET", "/projects", stateRead, s.getProjects, doc{Summary: "Projects", Out: api.List[api.Project]{}}},
		{"POST", "/projects", projectManage, s.postProject, doc{Summary: "Make a project", In: api.CreateProject{}, Out: api.Project{}, Status: 201, Codes: []abi.Code{abi.Conflict, abi.Busy}}},
		{"GET", "/projects/exports", stateRead, s.getExports, doc{Summary: "What projects let each other read", Query: "state", Out: api.List[api.ProjectExport]{}}},
		{"POST", "/projects/exports", projectManage, s.postExport, doc{Summary: "Let a pack read in one project what it wrote in another", In: api.CreateExport{}, Out: api.ProjectExport{}, Status: 201, Codes: []abi.Code{abi.Conflict}}},
		{"DELETE", "/projects/exports/:id", projectManage, s.deleteExport, doc{Summary: "Take an export back", Query: "reason", Out: api.ProjectExport{}, Codes: []abi.Code{abi.Conflict}}},
		{"POST", "/projects/:id/archive", projectManage, s.closeProject(true), doc{Summary: "Close a project: no call enters it, and what it keeps stays", Out: api.Project{}, Codes: []abi.Code{abi.Conflict}}},
		{"POST", "/projects/:id/restore", projectManage, s.closeProject(false), doc{Summary: "Open a closed project again", Out: api.Project{}, Codes: []abi.Code{abi.Conflict}}},
		{"GET", "/projects/:id", stateRead, s.getProject, doc{Summary: "A project, what it lets others read and what it may read", Out: api.ShowProject{}}},
	}
}

func (s *Server) getProjects(c *fiber.Ctx) error {
	return c.JSON(api.List[api.Project]{Version: s.svc.Journal.Last(), Items: s.svc.Projects.List()})
}

func (s *Server) postProject(c *fiber.Ctx) error {
	var body api.CreateProject
	if err := decode(c, &body); err != nil {
		return err
	}
	p, err := s.svc.Projects.Create(s.ctx, corr(c), s.actor(c), body)
	if err != nil {
		return err
	}
	return c.Status(fiber.StatusCreated).JSON(p)
}

func (s *Server) getProject(c *fiber.Ctx) error {
	p, err := s.svc.Projects.Show(c.Params("id"))
	if err != nil {
		return err
	}
	return c.JSON(p)
}

func (s *Server) closeProject(closed bool) fiber.Handler {
	return func(c *fiber.Ctx) error {
		p, err := s.svc.Projects.Archive(s.ctx, corr(c), s.actor(c), c.Params("id"), closed)
		if err != nil {
			return err
		}
		return c.JSON(p)
	}
}

func (s *Server) getExports(c *fiber.Ctx) error {
	return c.JSON(api.List[api.ProjectExport]{Version: s.svc.Journal.Last(), Items: s.svc.Projects.Exports(c.Query("state"))})
}

func (s *Server) postExport(c *fiber.Ctx) error {
	var body api.CreateExport
	if err := decode(c, &body); err != nil {
		return err
	}
	e, err := s.svc.Projects.Export(s.ctx, corr(c), s.actor(c), body)
	if err != nil {
		return err
	}
	return c.Status(fiber.StatusCreated).JSON(e)
}

func (s *Server) deleteExport(c *fiber.Ctx) error {
	e, err := s.svc.Projects.Revoke(s.ctx, corr(c), s.actor(c), c.Params("id"), c.Query("reason"))
	if err != nil {
		return err
	}
	return c.JSON(e)
}

// only is the project that whoever asks is confined to, "" when to none.
func (s *Server) only(c *fiber.Ctx) string {
	p, err := s.who(c)
	if err != nil {
		return ""
	}
	return p.Project
}

// within is the project of what a request does: the one it names, or the only one that whoever asks has to do with.
func (s *Server) within(c *fiber.Ctx, given string) (string, error) {
	in, err := project.Of(given)
	if err != nil {
		return "", err
	}
	switch only := s.only(c); {
	case only == "" || only == in:
		return in, nil
	case given == "":
		return only, nil
	default:
		return "", abi.Errorf(abi.Denied, "%s %s: the token has to do with the project %q alone, not with %q", c.Method(), c.Path(), only, project.Name(in))
	}
}

// about is the project that a request wants to see something of; nil when of all.
func (s *Server) about(c *fiber.Ctx) (*string, error) {
	given := c.Query("project")
	in, err := s.within(c, given)
	if err != nil || given == "" && in == "" {
		return nil, err
	}
	return &in, nil
}

// mine finds an action of the project that the request is about; of another one it is as if there were none.
func (s *Server) mine(c *fiber.Ctx) (action.Action, error) {
	id := c.Params("id")
	in, err := s.about(c)
	if err != nil {
		return action.Action{}, err
	}
	a, err := s.svc.Actions.Get(s.ctx, id)
	if err == nil && in != nil && a.Project != *in {
		return action.Action{}, abi.Errorf(abi.NotFound, "read action %q: there is none", id)
	}
	return a, err
}

// seen is the name, among all documents, of the one that a request means. One that is confined sees what packs show in its
// project, and nothing of the host.
func (s *Server) seen(c *fiber.Ctx, id string) (string, error) {
	in, err := s.about(c)
	if err != nil || in == nil {
		return id, err
	}
	from, name := project.OfDoc(id)
	if from == "" {
		from = *in
	}
	if from != *in {
		return "", abi.Errorf(abi.NotFound, "read document %q: there is none of that name", id)
	}
	return project.DocID(from, name), nil
}
