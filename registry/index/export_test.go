package index

import (
	"context"

	"github.com/theupdateframework/go-tuf/v2/metadata"
)

// ForgeTarget has a namespace's own key sign for a pack that is not the namespace's.
func ForgeTarget(ctx context.Context, p *Publisher, ns, name string) {
	err := p.change(ctx, func(s *state) error {
		role := s.roles[roleOf(ns)]
		var f *metadata.TargetFiles
		for _, f = range role.Signed.Targets {
		}
		role.Signed.Targets[pagePath(name)] = f
		return p.signRole(s, ns)
	})
	if err != nil {
		panic(err)
	}
}
