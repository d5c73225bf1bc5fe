package server

import (
	"encoding/json"
	"strconv"

	"github.com/gofiber/fiber/v2"

	"github.com/arw-project/arw/abi"
	"github.com/arw-project/arw/host/api"
	"github.com/arw-project/arw/host/internal/logic"
	"github.com/arw-project/arw/host/internal/logic/tree"
	"github.com/arw-project/arw/host/internal/pack"
	"github.com/arw-project/arw/manifests"
)

func (s *Server) logicRoutes() []route {
	return []route{
		{"GET", "/state/logic_units", stateRead, s.getUnits, doc{Summary: "Logic units and where they are active", Out: unitsDoc{}}},
		{"GET", "/state/config", stateRead, s.getConfig, doc{Summary: "The configuration as a project and an agent see it", Query: "target project agent version origins", Out: configDoc{}}},
		{"GET", "/state/config/snapshots", stateRead, s.getSnapshots, doc{Summary: "Versions of the configuration that can come back", Query: "limit", Out: api.List[logic.Snapshot]{}}},
		{"GET", "/state/config/snapshots/:version", stateRead, s.getSnapshot, doc{Summary: "One version of the configuration and the workspace's documents in it", Out: snapshotDoc{}, Codes: []abi.Code{abi.NotFound}}},
		{"GET", "/state/schema_map", stateRead, s.getSchemaMap, doc{Summary: "Which documents can be patched, and their schemas", Out: schemasDoc{}}},
		{"GET", "/logic/units/:id", stateRead, s.getUnit, doc{Summary: "One logic unit", Out: logic.Unit{}}},
		{"GET", "/logic/matrix", stateRead, s.getMatrix, doc{Summary: "Which installed units do not go together, and why", Out: api.List[logic.Pair]{}}},
		{"POST", "/logic/units", logicChange, s.postUnit, doc{Summary: "Make a logic unit known", In: api.InstallUnit{}, Out: logic.Unit{}, Status: 201, Codes: packCodes}},
		{"POST", "/logic/units/test", stateRead, s.testUnit, doc{Summary: "Run a unit's own tests; nothing is kept", In: api.TestUnit{}, Out: logic.TestReport{}, Codes: []abi.Code{abi.NotFound}}},
		{"POST", "/logic/apply", logicChange, s.applyUnits, doc{Summary: "Put units in force, or show what that would change", In: api.ChangeLogic{}, Out: logic.Plan{}, Codes: []abi.Code{abi.Conflict, abi.NotFound}}},
		{"POST", "/logic/revert", logicChange, s.revertUnit, doc{Summary: "Take a unit's patches back", In: api.ChangeLogic{}, Out: logic.Plan{}, Codes: []abi.Code{abi.Conflict, abi.NotFound}}},
		{"POST", "/logic/promote", logicChange, s.promoteUnit, doc{Summary: "Make a tried unit the default", In: api.ChangeLogic{}, Out: logic.Plan{}, Codes: []abi.Code{abi.Conflict, abi.NotFound}}},
		{"POST", "/patch/validate", stateRead, s.validatePatch, doc{Summary: "Show what a change by hand would do", In: api.ChangeConfig{}, Out: logic.Plan{}, Codes: []abi.Code{abi.Conflict, abi.NotFound}}},
		{"POST", "/patch/apply", logicChange, s.applyPatch, doc{Summary: "Change a document by hand", In: api.ChangeConfig{}, Out: logic.Plan{}, Codes: []abi.Code{abi.Conflict, abi.NotFound}}},
		{"POST", "/patch/revert", logicChange, s.revertPatch, doc{Summary: "Take changes by hand back", In: api.RevertConfig{}, Out: logic.Plan{}, Codes: []abi.Code{abi.Conflict, abi.NotFound}}},
	}
}

// unitsDoc and schemasDoc are the read models of units and documents.
type (
	unitsDoc struct {
		Items map[string]logic.Unit `json:"items"`
	}
	schemasDoc struct {
		Items map[string]logic.Target `json:"items"`
	}
)

func (s *Server) getUnits(c *fiber.Ctx) error     { return s.showView(c, logic.UnitsView) }
func (s *Server) getSchemaMap(c *fiber.Ctx) error { return s.showView(c, logic.SchemaView) }

func (s *Server) getUnit(c *fiber.Ctx) error {
	u, err := s.svc.Logic.Unit(c.Params("id"))
	if err != nil {
		return err
	}
	return c.JSON(u)
}

// getMatrix answers which installed units do not go together, and why.
func (s *Server) getMatrix(c *fiber.Ctx) error {
	pairs, err := s.svc.Logic.Matrix(s.ctx)
	if err != nil {
		return err
	}
	return c.JSON(api.List[logic.Pair]{Version: s.svc.Logic.Version(), Items: pairs})
}

// configDoc is GET /state/config: the documents asked for as the scopes see them.
type configDoc struct {
	Version int64       `json:"version"`
	Items   []logic.Doc `json:"items"`
}

// getConfig answers the read model or, asked for anything in particular, every document, or the one named by target, with
// the origins of its values as project and agent see it; version is one of the past.
func (s *Server) getConfig(c *fiber.Ctx) error {
	if len(c.Queries()) == 0 {
		return s.showView(c, logic.ConfigView)
	}
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
	then := int64(c.QueryInt("version", -1))
	doc, err := s.configAt(then, c.Query("target"), scopes)
	if err != nil {
		return err
	}
	return s.configJSON(c, "config", doc)
}

// configJSON is stateJSON for documents of the configuration, in which a person may have written what looks like a secret.
func (s *Server) configJSON(c *fiber.Ctx, id string, doc any) error {
	raw, err := json.Marshal(doc)
	if err != nil {
		return err
	}
	return stateJSON(c, id, json.RawMessage(s.svc.Redact.At("config").JSON(raw)))
}

// configAt makes the documents of a version of the past, or of now when then is below 0.
func (s *Server) configAt(then int64, want string, scopes []logic.Scope) (configDoc, error) {
	doc := configDoc{Version: s.svc.Logic.Version(), Items: []logic.Doc{}}
	for _, t := range s.svc.Logic.Targets() {
		if want != "" && want != t.Name {
			continue
		}
		d, err := s.svc.Logic.Get(t.Name, scopes...)
		if then >= 0 {
			doc.Version = then
			d, err = s.svc.Logic.At(s.ctx, then, t.Name, scopes...)
		}
		if err != nil {
			return doc, err
		}
		doc.Items = append(doc.Items, d)
	}
	if len(doc.Items) == 0 {
		_, err := s.svc.Logic.Get(want)
		return doc, err
	}
	return doc, nil
}

func (s *Server) getSnapshots(c *fiber.Ctx) error {
	list, err := s.svc.Logic.Snapshots(s.ctx, min(max(c.QueryInt("limit", 100), 1), 1000))
	if err != nil {
		return err
	}
	return stateJSON(c, "config_snapshots", api.List[logic.Snapshot]{Version: s.svc.Logic.Version(), Items: list})
}

// snapshotDoc is GET /state/config/snapshots/{version}: one version, and what the workspace's documents were in it.
type snapshotDoc struct {
	logic.Snapshot
	Items []logic.Doc `json:"items"`
}

func (s *Server) getSnapshot(c *fiber.Ctx) error {
	version, err := strconv.ParseInt(c.Params("version"), 10, 64)
	if err != nil {
		return abi.Errorf(abi.Invalid, "find version %q of the configuration: it is no number", c.Params("version"))
	}
	v, err := s.svc.Logic.Snapshot(s.ctx, version)
	if err != nil {
		return err
	}
	doc, err := s.configAt(version, "", nil)
	if err != nil {
		return err
	}
	return s.configJSON(c, "config_snapshot", snapshotDoc{v, doc.Items})
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
	u, err := s.installUnit(c, body, state)
	if err != nil {
		return err
	}
	return c.Status(fiber.StatusCreated).JSON(u)
}

// installUnit makes a unit known by its text or from a registry.
func (s *Server) installUnit(c *fiber.Ctx, body api.InstallUnit, state string) (logic.Unit, error) {
	if (body.Source == "") == (body.Ref == "") {
		return logic.Unit{}, abi.Errorf(abi.Invalid, "install unit: the body holds the text of one or names one in a registry").WithHint(`send {"source":"…"} or {"ref":"NAMESPACE/NAME"}`)
	}
	if body.Ref == "" {
		if body.Origin == "" {
			body.Origin = "unit.toml"
		}
		return s.svc.Logic.InstallOverride(s.ctx, []byte(body.Source), body.OverrideUnsigned, state, body.Origin, s.actor(c), corr(c))
	}
	got, err := s.svc.Packs.FetchUnit(s.ctx, body.Ref, pack.Options{By: s.actor(c), Corr: corr(c), OverrideUnsigned: body.OverrideUnsigned})
	if err != nil {
		return logic.Unit{}, err
	}
	return s.svc.Logic.FromRegistry(s.ctx, got.Source, got.Ref, state, s.actor(c), got.Verdict.Corr)
}

// testUnit runs the tests of a unit that is known or whose text is sent. Nothing is kept, so it needs no authority.
func (s *Server) testUnit(c *fiber.Ctx) error {
	var body api.TestUnit
	if err := decode(c, &body); err != nil {
		return err
	}
	if (body.Source == "") == (body.Unit == "") {
		return abi.Errorf(abi.Invalid, "test unit: the body names one or holds the text of one").WithHint(`send {"unit":"ID"} or {"source":"…"}`)
	}
	if body.Unit != "" {
		u, err := s.svc.Logic.Unit(body.Unit)
		if err != nil {
			return err
		}
		return c.JSON(s.svc.Logic.Test(s.ctx, u.Manifest))
	}
	man, err := manifests.ParseUnit("unit.toml", []byte(body.Source))
	if err != nil {
		return err
	}
	return c.JSON(s.svc.Logic.Test(s.ctx, man))
}

// changeLogic reads a change and its scope.
func (s *Server) changeLogic(c *fiber.Ctx) (body api.ChangeLogic, scope logic.Scope, how logic.How, err error) {
	if err = decode(c, &body); err != nil {
		return body, "", how, err
	}
	scope, err = logic.ParseScope(body.Scope)
	return body, scope, logic.How{DryRun: body.DryRun, KeepHand: body.KeepHand, Accept: body.Accept, Excuse: body.Findings, Share: body.Share, Shadow: body.Shadow, If: body.IfVersion, By: s.actor(c), Corr: corr(c)}, err
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

func (s *Server) applyPatch(c *fiber.Ctx) error { return s.changeConfig(c, false) }

// validatePatch plans a change by hand and makes none, whatever its body says: it needs no authority.
func (s *Server) validatePatch(c *fiber.Ctx) error { return s.changeConfig(c, true) }

func (s *Server) changeConfig(c *fiber.Ctx, dry bool) error {
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
	plan, err := s.svc.Logic.Edit(s.ctx, scope, body.Target, body.Op, value, logic.How{DryRun: dry || body.DryRun, Excuse: body.Findings, If: body.IfVersion, By: s.actor(c), Corr: corr(c)})
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
	how := logic.How{DryRun: body.DryRun, Accept: body.Accept, Excuse: body.Findings, By: s.actor(c), Corr: corr(c)}
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
