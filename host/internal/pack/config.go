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
	if c.c.Config != nil {
		doc, err := c.c.Config(name)
		(*world)(c).said(err)
		return doc, err
	}
	doc, err := c.m.Config.Effective(ctx, name, c.c.Project, agentOf(c.c.Actor), c.c.Corr)
	(*world)(c).standsOn(onConfig, name, digestOfDoc(doc, err), false)
	(*world)(c).said(err)
	return doc, err
}

// agentOf is the name of an actor that is an agent, "" for others.
func agentOf(actor string) string {
	name, ok := strings.CutPrefix(actor, "agent:")
	if !ok {
		return ""
	}
	return name
}
