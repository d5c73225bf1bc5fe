package server

import (
	"context"
	"strconv"

	"github.com/gofiber/fiber/v2"

	"github.com/arw-project/arw/abi"
	"github.com/arw-project/arw/host/internal/experiment"
	"github.com/arw-project/arw/host/internal/logic"
)

type unitMove func(ctx context.Context, id string, how logic.How) (logic.Unit, error)

// experimentRoutes are about comparing candidates of the configuration.
func (s *Server) experimentRoutes() []route {
	return []route{
		{"GET", "/state/experiments", stateRead, s.getExperiments, doc{Summary: "Experiments and what came of them", Out: experimentsDoc{}}},
		{"POST", "/experiments", logicChange, s.postExperiment, doc{Summary: "Run an experiment; it answers when it is over and changes no configuration", In: experiment.Definition{}, Out: experiment.Summary{}, Status: 201, Codes: []abi.Code{abi.NotFound, abi.Busy, abi.Unavailable, abi.Conflict}}},
		{"GET", "/experiments/:run", stateRead, s.getExperiment, doc{Summary: "One run of an experiment", Out: experiment.Summary{}}},
		{"GET", "/experiments/:run/json", stateRead, s.getReport, doc{Summary: "The report of a run, as it is stored", Media: "application/json"}},
		{"GET", "/experiments/:run/csv", stateRead, s.getReportCSV, doc{Summary: "Every call of a run with its measures", Media: "text/csv"}},
	}
}

// experimentsDoc is the read model.
type experimentsDoc struct {
	Items map[string]experiment.Summary `json:"items"`
}

func (s *Server) getExperiments(c *fiber.Ctx) error { return s.showView(c, experiment.View) }

func (s *Server) postExperiment(c *fiber.Ctx) error {
	var d experiment.Definition
	if err := decode(c, &d); err != nil {
		return err
	}
	sum, err := s.svc.Experiments.Run(s.ctx, d, s.actor(c), corr(c))
	if err != nil {
		return err
	}
	return c.Status(fiber.StatusCreated).JSON(sum)
}

func (s *Server) run(c *fiber.Ctx) (experiment.Summary, error) {
	run, err := strconv.ParseInt(c.Params("run"), 10, 64)
	if err != nil {
		return experiment.Summary{}, abi.Errorf(abi.Invalid, "read run %.40q of an experiment: it is no number", c.Params("run"))
	}
	return s.svc.Experiments.Get(s.ctx, run)
}

func (s *Server) getExperiment(c *fiber.Ctx) error {
	sum, err := s.run(c)
	if err != nil {
		return err
	}
	return c.JSON(sum)
}

func (s *Server) getReport(c *fiber.Ctx) error {
	return s.report(c, fiber.MIMEApplicationJSON, func(sum experiment.Summary) string { return sum.Report })
}

func (s *Server) getReportCSV(c *fiber.Ctx) error {
	return s.report(c, "text/csv; charset=utf-8", func(sum experiment.Summary) string { return sum.CSV })
}

func (s *Server) report(c *fiber.Ctx, media string, which func(experiment.Summary) string) error {
	sum, err := s.run(c)
	if err != nil {
		return err
	}
	digest := which(sum)
	if digest == "" {
		return abi.Errorf(abi.Conflict, "read the report of run %d: it is %s", sum.Run, sum.Status)
	}
	raw, err := s.svc.Packs.CAS.Get(digest)
	if err != nil {
		return err
	}
	c.Set(fiber.HeaderContentType, media)
	return c.Send(raw)
}
