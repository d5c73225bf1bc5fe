package server

import (
	"github.com/gofiber/fiber/v2"

	"github.com/arw-project/arw/host/api"
	"github.com/arw-project/arw/host/internal/vault"
)

// secretRoutes: names, kinds and audiences of secrets. No route gives a value.
func (s *Server) secretRoutes() []route {
	return []route{
		{"GET", "/secrets", secretManage, s.getSecrets, doc{Summary: "What may be known of all secrets", Out: api.List[vault.Secret]{}}},
		{"GET", "/secrets/:name", secretManage, s.getSecret, doc{Summary: "What may be known of a secret", Out: vault.Secret{}}},
		{"PUT", "/secrets/:name", secretManage, s.putSecret, doc{Summary: "Store a secret, or give it a new value", In: api.PutSecret{}, Out: vault.Secret{}}},
		{"DELETE", "/secrets/:name", secretManage, s.deleteSecret, doc{Summary: "Remove a secret"}},
	}
}

func (s *Server) getSecrets(c *fiber.Ctx) error {
	return c.JSON(api.List[vault.Secret]{Version: s.svc.Journal.Last(), Items: s.svc.Vault.List()})
}

func (s *Server) getSecret(c *fiber.Ctx) error {
	got, err := s.svc.Vault.Get(c.Params("name"))
	if err != nil {
		return err
	}
	return c.JSON(got)
}

func (s *Server) putSecret(c *fiber.Ctx) error {
	var body api.PutSecret
	if err := decode(c, &body); err != nil {
		return err
	}
	defer clear(body.Value)
	got, err := s.svc.Vault.Put(s.ctx, corr(c), s.actor(c), vault.Secret{
		Name: c.Params("name"), Kind: body.Kind, Audience: body.Audience, Place: body.Place, Note: body.Note,
	}, body.Value)
	if err != nil {
		return err
	}
	return c.JSON(got)
}

func (s *Server) deleteSecret(c *fiber.Ctx) error {
	if err := s.svc.Vault.Remove(s.ctx, corr(c), s.actor(c), c.Params("name")); err != nil {
		return err
	}
	return c.SendStatus(fiber.StatusNoContent)
}
