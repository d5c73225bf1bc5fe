package server

import (
	"github.com/gofiber/fiber/v2"

	"github.com/arw-project/arw/abi"
	"github.com/arw-project/arw/host/api"
	"github.com/arw-project/arw/host/internal/pack"
)

// policyDoc is GET /state/policy: what decides here, by digest and in full.
type policyDoc struct {
	Version  int64          `json:"version"`
	Digest   string         `json:"digest"`
	Sources  []policySource `json:"sources"`
	Trust    string         `json:"trust_digest,omitempty"`
	Fallback string         `json:"without_a_rule"`
}

type policySource struct {
	Name string `json:"name"`
	Text string `json:"text"`
}

func (s *Server) getPolicy(c *fiber.Ctx) error {
	doc := policyDoc{
		Version: s.svc.Journal.Last(), Digest: s.svc.Policy.Digest(), Trust: s.svc.TrustDigest, Fallback: "deny",
	}
	for _, src := range s.svc.Policy.Current().Sources() {
		doc.Sources = append(doc.Sources, policySource{Name: src.Name, Text: string(src.Text)})
	}
	return stateJSON(c, "policy", doc)
}

// getView answers a read model that a pack contributes.
func (s *Server) getView(c *fiber.Ctx) error {
	doc, err := s.svc.View.Get(s.ctx, c.Params("id"))
	if err != nil {
		return err
	}
	return validated(c, doc.ETag, doc.Body)
}

func (s *Server) getHealth(c *fiber.Ctx) error {
	h := api.Health{Status: "ok", Version: s.opts.Version, ABI: abi.Version, Events: s.svc.Journal.Last()}
	for _, p := range s.svc.Packs.List() {
		h.Packs++
		if p.State == pack.Broken || p.State == pack.Halted {
			h.Status = "degraded"
		}
	}
	return c.JSON(h)
}
