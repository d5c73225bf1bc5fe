package pack

import (
	"context"
	"strings"
)

// Documents reads documents of the host's configuration.
type Documents interface {
	// Effective is a document with the layers of the workspace, then the project's and the agent's; "" has none. The bytes
	// are JSON and not changed afterwards. NotFound.
	Effective(ctx context.Context, name, project, agent string) ([]byte, error)
}

// Get implements wasm.Config. The agent is the one that called the tool; a tool that another pack calls has none.
func (c *configs) Get(ctx context.Context, name string) ([]byte, error) {
	agent, _ := strings.CutPrefix(c.c.Actor, "agent:")
	if agent == c.c.Actor {
		agent = ""
	}
	doc, err := c.m.Config.Effective(ctx, name, c.c.Project, agent)
	(*world)(c).said(err)
	return doc, err
}
