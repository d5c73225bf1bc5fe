package pack

import (
	"context"
	"strings"
)

// Documents reads documents of the host's configuration.
type Documents interface {
	// Effective is a document with the layers of the workspace, then the project's and the agent's; "" has none. run names
	// what belongs together: of units on trial for a share of runs all calls of one see the same. The bytes are JSON and not
	// changed afterwards. NotFound.
	Effective(ctx context.Context, name, project, agent, run string) ([]byte, error)
}

// Get implements wasm.Config. The agent is the one that called the tool; a tool that another pack calls has none.
func (c *configs) Get(ctx context.Context, name string) ([]byte, error) {
	agent, _ := strings.CutPrefix(c.c.Actor, "agent:")
	if agent == c.c.Actor {
		agent = ""
	}
	if c.c.Config != nil {
		doc, err := c.c.Config(name)
		(*world)(c).said(err)
		return doc, err
	}
	doc, err := c.m.Config.Effective(ctx, name, c.c.Project, agent, c.c.Corr)
	(*world)(c).said(err)
	return doc, err
}
