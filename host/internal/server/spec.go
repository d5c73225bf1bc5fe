package server

import (
	"encoding/json"
	"maps"
	"slices"
	"strings"

	"github.com/gofiber/fiber/v2"

	"github.com/arw-project/arw/abi"
	"github.com/arw-project/arw/host/api"
	"github.com/arw-project/arw/host/internal/spec"
)

// specRoutes are the host's own description, made on request out of the tables that serve.
func (s *Server) specRoutes() []route {
	return []route{
		{"GET", "/spec/openapi.json", "", s.getOpenAPI, doc{Summary: "This API, in OpenAPI 3.1", Out: spec.Any{}}},
		{"GET", "/spec/asyncapi.json", "", s.getAsyncAPI, doc{Summary: "The events, in AsyncAPI 3", Out: spec.Any{}}},
		{"GET", "/spec/mcp.json", stateRead, s.getMCP, doc{Summary: "The tools as MCP clients see them now", Out: spec.Any{}, Codes: []abi.Code{abi.NotFound}}},
		{"GET", "/spec/schemas", "", s.getSchemas, doc{Summary: "Names of the JSON Schemas", Out: api.List[string]{}}},
		{"GET", "/spec/schemas/:name", "", s.getSchema, doc{Summary: "One JSON Schema: of a kind of event or of a body", Out: spec.Any{}}},
	}
}

// Operations are the routes as the specification has them.
func (s *Server) Operations() []spec.Op {
	rows := s.routes()
	ops := make([]spec.Op, len(rows))
	for i, r := range rows {
		ops[i] = r.doc
		ops[i].Method, ops[i].Path, ops[i].Need = r.method, r.path, string(r.need)
	}
	return ops
}

func (s *Server) getOpenAPI(c *fiber.Ctx) error {
	raw, err := spec.OpenAPI(api.Revision, s.Operations())
	return document(c, raw, err)
}

func (s *Server) getAsyncAPI(c *fiber.Ctx) error {
	raw, err := spec.AsyncAPI(api.Revision, api.Events())
	return document(c, raw, err)
}

func (s *Server) getMCP(c *fiber.Ctx) error {
	if s.svc.MCP == nil {
		return abi.Errorf(abi.NotFound, "describe the tools for MCP: this host offers none")
	}
	raw, err := s.svc.MCP(s.ctx)
	return document(c, raw, err)
}

func (s *Server) getSchemas(c *fiber.Ctx) error {
	names := slices.Sorted(maps.Keys(spec.Schemas(s.Operations(), api.Events())))
	return c.JSON(api.List[string]{Items: names})
}

func (s *Server) getSchema(c *fiber.Ctx) error {
	name := strings.TrimSuffix(c.Params("name"), ".json")
	v, ok := spec.Schemas(s.Operations(), api.Events())[name]
	if !ok {
		return abi.Errorf(abi.NotFound, "find schema %q: there is none", name).WithHint("GET /spec/schemas lists them")
	}
	raw, err := json.Marshal(spec.Document(name, v))
	return document(c, raw, err)
}

func document(c *fiber.Ctx, raw []byte, err error) error {
	if err != nil {
		return err
	}
	c.Set(fiber.HeaderContentType, fiber.MIMEApplicationJSON)
	return c.Send(raw)
}

// Route is a route as it is served.
type Route struct{ Method, Path string }

// Routes are those that the framework really has, read from it and not from the table.
func (s *Server) Routes() []Route {
	var out []Route
	for _, r := range s.app.GetRoutes(true) {
		if r.Method != fiber.MethodHead { // what GET says of it
			out = append(out, Route{r.Method, r.Path})
		}
	}
	return out
}
