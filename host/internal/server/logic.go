package server

import (
	"github.com/gofiber/fiber/v2"

	"github.com/arw-project/arw/abi"
	"github.com/arw-project/arw/host/api"
	"github.com/arw-project/arw/host/internal/logic"
	"github.com/arw-project/arw/host/internal/logic/tree"
)

func (s *Server) logicRoutes() []route {
	return []route{
		{"GET", "/state/logic_units", stateRead, s.getUnits, doc{Summary: "Logic units and where they are active", Out: api.List[logic.Unit]{}}},
		{"GET", "/state/config", stateRead, s.getConfig, doc{Summary: "The configuration as a project and an agent see it", Query: "target project agent version", Out: configDoc{}}},
		{"GET", "/state/config/snapshots", stateRead, s.getSnapshots, doc{Summary: "Versions of the configuration that can come back", Query: "limit", Out: api.List[logic.Snapshot]{}}},
		{"GET", "/state/schema_map", stateRead, s.getSchemaMap, doc{Summary: "Which documents can be patched, and their schemas", Out: api.List[logic.Target]{}}},
		{"GET", "/logic/units/:id", stateRead, s.getUnit, doc{Summary: "One logic unit", Out: logic.Unit{}}},
		{"POST", "/logic/units", logicChange, s.postUnit, doc{Summary: "Make a logic unit known", In: api.InstallUnit{}, Out: logic.Unit{}, Status: 201}},
		{"POST", "/logic/apply", logicChange, s.applyUnits, doc{Summary: "Put units in force, or show what that would change", In: api.ChangeLogic{}, Out: logic.Plan{}, Codes: []abi.Code{abi.Conflict, abi.NotFound}}},
		{"POST", "/logic/revert", logicChange, s.revertUnit, doc{Summary: "Take a unit's patches back", In: api.ChangeLogic{}, Out: logic.Plan{}, Codes: []abi.Code{abi.Conflict, abi.NotFound}}},
		{"POST", "/logic/promote", logicChange, s.promoteUnit, doc{Summary: "Make a tried unit the default", In: api.ChangeLogic{}, Out: logic.Plan{}, Codes: []abi.Code{abi.Conflict, abi.NotFound}}},
		{"POST", "/patch/apply", logicChange, s.applyPatch, doc{Summary: "Change a document by hand", In: api.ChangeConfig{}, Out: logic.Plan{}, Codes: []abi.Code{abi.Conflict, abi.NotFound}}},
		{"POST", "/patch/revert", logicChange, s.revertPatch, doc{Summary: "Take changes by hand back", In: api.RevertConfig{}, Out: logic.Plan{}, Codes: []abi.Code{abi.Conflict, abi.NotFound}}},
	}
}

func (s *Server) getUnits(c *fiber.Ctx) error {
	return stateJSON(c, "logic_units", api.List[logic.Unit]{Version: s.svc.Journal.Last(), Items: s.svc.Logic.Units()})
}

func (s *Server) getUnit(c *fiber.Ctx) error {
	u, err := s.svc.Logic.Unit(c.Params("id"))
	if err != nil {
		return err
	}
	return c.JSON(u)
}

// configDoc is GET /state/config: the documents asked for as the scopes see them.
type configDoc struct {
	Version int64       `json:"version"`
	Items   []logic.Doc `json:"items"`
}

// getConfig answers every document, or the one named by target, as project and agent see it; version is one of the past.
func (s *Server) getConfig(c *fiber.Ctx) error {
	var scopes []logic.Scope
	for _, kind := range []string{"project", "agent"} {
		if id := c.Query(kind); id != "" {
			scope, err := logic.ParseScope(kind + "/" + id)
			if err != nil {
				return err
			}
			scopes = append(scopes, scope)
		}
	}
	doc := configDoc{Version: s.svc.Logic.Version(), Items: []logic.Doc{}}
	then := int64(c.QueryInt("version", -1))
	for _, t := range s.svc.Logic.Targets() {
		if want := c.Query("target"); want != "" && want != t.Name {
			continue
		}
		d, err := s.svc.Logic.Get(t.Name, scopes...)
		if then >= 0 {
			doc.Version = then
			d, err = s.svc.Logic.At(s.ctx, then, t.Name, scopes...)
		}
		if err != nil {
			return err
		}
		doc.Items = append(doc.Items, d)
	}
	if len(doc.Items) == 0 {
		_, err := s.svc.Logic.Get(c.Query("target"))
		return err
	}
	return stateJSON(c, "config", doc)
}

func (s *Server) getSnapshots(c *fiber.Ctx) error {
	list, err := s.svc.Logic.Snapshots(s.ctx, min(max(c.QueryInt("limit", 100), 1), 1000))
	if err != nil {
		return err
	}
	return stateJSON(c, "config_snapshots", api.List[logic.Snapshot]{Version: s.svc.Logic.Version(), Items: list})
}

func (s *Server) getSchemaMap(c *fiber.Ctx) error {
	return stateJSON(c, "schema_map", api.List[logic.Target]{Items: s.svc.Logic.Targets()})
}

func (s *Server) postUnit(c *fiber.Ctx) error {
	var body api.InstallUnit
	if err := decode(c, &body); err != nil {
		return err
	}
	state := logic.Installed
	if body.Suggest {
		state = logic.Suggested
	}
	if body.Origin == "" {
		body.Origin = "unit.toml"
	}
	u, err := s.svc.Logic.Install(s.ctx, []byte(body.Source), state, body.Origin, s.actor(c), corr(c))
	if err != nil {
		return err
	}
	return c.Status(fiber.StatusCreated).JSON(u)
}

// changeLogic reads a change and its scope.
func (s *Server) changeLogic(c *fiber.Ctx) (body api.ChangeLogic, scope logic.Scope, how logic.How, err error) {
	if err = decode(c, &body); err != nil {
		return body, "", how, err
	}
	scope, err = logic.ParseScope(body.Scope)
	return body, scope, logic.How{DryRun: body.DryRun, KeepHand: body.KeepHand, If: body.IfVersion, By: s.actor(c), Corr: corr(c)}, err
}

func (s *Server) applyUnits(c *fiber.Ctx) error {
	body, scope, how, err := s.changeLogic(c)
	if err != nil {
		return err
	}
	if len(body.Units) == 0 {
		return abi.Errorf(abi.Invalid, "apply units: the body names none").WithHint(`send {"units":[{"unit":"ID"}]}`)
	}
	uses := make([]logic.Use, len(body.Units))
	for i, u := range body.Units {
		uses[i] = logic.Use(u)
	}
	plan, err := s.svc.Logic.Apply(s.ctx, scope, uses, how)
	return planned(c, plan, err)
}

func (s *Server) revertUnit(c *fiber.Ctx) error {
	body, scope, how, err := s.changeLogic(c)
	if err != nil {
		return err
	}
	plan, err := s.svc.Logic.Revert(s.ctx, body.Unit, scope, how)
	return planned(c, plan, err)
}

func (s *Server) promoteUnit(c *fiber.Ctx) error {
	body, scope, how, err := s.changeLogic(c)
	if err != nil {
		return err
	}
	plan, err := s.svc.Logic.Promote(s.ctx, body.Unit, scope, how)
	return planned(c, plan, err)
}

func (s *Server) applyPatch(c *fiber.Ctx) error {
	var body api.ChangeConfig
	if err := decode(c, &body); err != nil {
		return err
	}
	scope, err := logic.ParseScope(body.Scope)
	if err != nil {
		return err
	}
	value, err := tree.Parse(body.Value)
	if err != nil {
		return err
	}
	if body.Op == "" {
		body.Op = "merge"
	}
	plan, err := s.svc.Logic.Edit(s.ctx, scope, body.Target, body.Op, value, logic.How{DryRun: body.DryRun, If: body.IfVersion, By: s.actor(c), Corr: corr(c)})
	return planned(c, plan, err)
}

func (s *Server) revertPatch(c *fiber.Ctx) error {
	var body api.RevertConfig
	if err := decode(c, &body); err != nil {
		return err
	}
	scope, err := logic.ParseScope(body.Scope)
	if err != nil {
		return err
	}
	how := logic.How{DryRun: body.DryRun, By: s.actor(c), Corr: corr(c)}
	if body.Version != nil {
		plan, err := s.svc.Logic.RevertTo(s.ctx, *body.Version, how)
		return planned(c, plan, err)
	}
	plan, err := s.svc.Logic.Unedit(s.ctx, scope, body.Target, how)
	return planned(c, plan, err)
}

func planned(c *fiber.Ctx, plan logic.Plan, err error) error {
	if err != nil {
		return err
	}
	return c.JSON(plan)
}
