package server

import (
	"github.com/gofiber/fiber/v2"

	"github.com/arw-project/arw/abi"
	"github.com/arw-project/arw/host/api"
	"github.com/arw-project/arw/host/internal/lease"
	"github.com/arw-project/arw/host/internal/pack"
	"github.com/arw-project/arw/host/internal/prompt"
)

// policyDoc is GET /state/policy: what decides here, by digest and in full.
type policyDoc struct {
	Version  int64          `json:"version"`
	Digest   string         `json:"digest"`
	Sources  []policySource `json:"sources"`
	Trust    string         `json:"trust_digest,omitempty"`
	Fallback string         `json:"without_a_rule"`
	Posture  string         `json:"posture"`
	Stale    string         `json:"stale,omitempty"` // why the files are not in force as they are now
	Prompts  any            `json:"prompts"`         // that wait for a person
	Leases   any            `json:"leases"`          // that are live
}

type policySource struct {
	Name string `json:"name"`
	Text string `json:"text"`
}

func (s *Server) getPolicy(c *fiber.Ctx) error {
	doc := policyDoc{
		Version: s.svc.Journal.Last(), Digest: s.svc.Policy.Digest(), Trust: s.svc.TrustDigest, Fallback: "deny",
	}
	if s.svc.Authority.State != nil {
		doc.Posture, doc.Stale = s.svc.Authority.State()
	}
	if s.svc.Prompts != nil {
		waiting, err := s.svc.Prompts.List(s.ctx, prompt.Pending)
		if err != nil {
			return err
		}
		doc.Prompts = waiting
	}
	doc.Leases = s.svc.Leases.List(lease.Filter{State: lease.Live})
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
	if s.svc.Authority.State != nil {
		if _, stale := s.svc.Authority.State(); stale != "" {
			h.Status = "degraded"
		}
	}
	for _, p := range s.svc.Packs.List() {
		h.Packs++
		if p.State == pack.Broken || p.State == pack.Halted {
			h.Status = "degraded"
		}
	}
	return c.JSON(h)
}
