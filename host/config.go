package host

import (
	"context"

	"github.com/arw-project/arw/host/internal/logic"
	"github.com/arw-project/arw/host/internal/project"
)

// effective is the configuration as a pack may read it.
type effective struct{ logic *logic.Store }

// Effective implements pack.Config. A project or an agent whose name is no scope's has no layers of its own.
func (e effective) Effective(_ context.Context, name, in, agent, run string) ([]byte, error) {
	var scopes []logic.Scope
	for _, of := range [][2]string{{"project/", project.Name(in)}, {"agent/", agent}} {
		if s, err := logic.ParseScope(of[0] + of[1]); err == nil {
			scopes = append(scopes, s)
		}
	}
	doc, err := e.logic.Run(name, run, scopes...)
	return doc.Body, err
}
