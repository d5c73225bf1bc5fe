package pack

import (
	"context"

	"github.com/arw-project/arw/host/internal/wasm"
	"github.com/arw-project/arw/manifests"
)

// TryTwice runs a manifest's examples as an install does that serves soon: on the first program, and later on another.
func TryTwice(ctx context.Context, man *manifests.Pack, first, later *wasm.Program, between func()) error {
	v := &version{man: man, tools: map[string]*tool{}, models: map[string]*manifests.State{}}
	for i := range man.Tools {
		v.tools[man.Tools[i].ID] = &tool{Tool: &man.Tools[i], limits: limitsOf(&man.Tools[i])}
	}
	var links []Link
	for _, c := range man.Capabilities {
		links = append(links, Link{Capability: string(c.Name), Outcome: Granted})
	}
	t := newTrying(v, links)
	if err := t.run(ctx, first, ""); err != nil {
		return err
	}
	between()
	close(t.done)
	return t.compare(ctx, later)
}

// Running is the program that serves a pack; nil when there is none.
func (m *Manager) Running(name string) *wasm.Program {
	s := m.index.Load().packs[name]
	if s == nil {
		return nil
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.cur.prog
}
