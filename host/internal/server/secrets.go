package server

import (
	"github.com/gofiber/fiber/v2"

	"github.com/arw-project/arw/host/api"
	"github.com/arw-project/arw/host/internal/vault"
)

// secretRoutes: names, kinds and audiences of secrets. No route gives a value.
func (s *Server) secretRoutes() []route {
	return []route{
		{"GET", "/secrets", true, s.getSecrets},
		{"GET", "/secrets/:name", true, s.getSecret},
		{"PUT", "/secrets/:name", true, s.putSecret},
		{"DELETE", "/secrets/:name", true, s.deleteSecret},
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
	got, err := s.svc.Vault.Put(s.ctx, corr(c), "operator", vault.Secret{
		Name: c.Params("name"), Kind: body.Kind, Audience: body.Audience, Place: body.Place, Note: body.Note,
	}, body.Value)
	if err != nil {
		return err
	}
	return c.JSON(got)
}

func (s *Server) deleteSecret(c *fiber.Ctx) error {
	if err := s.svc.Vault.Remove(s.ctx, corr(c), "operator", c.Params("name")); err != nil {
		return err
	}
	return c.SendStatus(fiber.StatusNoContent)
}
