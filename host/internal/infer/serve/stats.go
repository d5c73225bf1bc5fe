package serve

import (
	"os"
	"sync"

	"github.com/arw-project/arw/abi"
	"github.com/arw-project/arw/host/internal/infer/gguf"
)

// Counted is what was asked since the start. Tokens are those of what failed, too.
type Counted struct {
	Done, Failed, Refused          int64
	Prompt, Cached, Output, Micros int64
}

// counters count by model; "" is what found none.
type counters struct {
	mu sync.Mutex
	by map[string]Counted
}

// maxCounted bounds the models that are told apart.
const maxCounted = 200

func (c *counters) add(o *Outcome, refused, failed bool) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.by == nil {
		c.by = map[string]Counted{}
	}
	name := o.Model.Name
	if _, known := c.by[name]; !known && len(c.by) >= maxCounted {
		name = "other"
	}
	n := c.by[name]
	switch {
	case refused:
		n.Refused++
	case failed:
		n.Failed++
	default:
		n.Done++
	}
	n.Prompt, n.Cached, n.Output, n.Micros = n.Prompt+o.Usage.Prompt, n.Cached+o.Usage.Cached, n.Output+o.Usage.Output, n.Micros+o.Cost
	c.by[name] = n
}

// Stats is what each model was asked since the start.
func (s *Service) Stats() map[string]Counted {
	s.counted.mu.Lock()
	defer s.counted.mu.Unlock()
	out := make(map[string]Counted, len(s.counted.by))
	for name, n := range s.counted.by {
		out[name] = n
	}
	return out
}

// serving is the model behind a name, if this host runs it. Errors: NoModel, NotFound; Unsupported
// for a model that somebody else keeps running.
func (s *Service) serving(name string) (Model, error) {
	m, err := s.Find(name)
	if err == nil {
		if _, given := s.given[m.Name]; given || m.Remote {
			err = abi.Errorf(abi.Unsupported, "start model %q: it is not this host that runs it", m.Name)
		}
	}
	return m, err
}

// Window is how many tokens of prompt and answer together a model takes, without starting it: what its runtime said where
// somebody else keeps it running, else what its profile gives it, and no more than its file says it was trained for. Zero is
// unknown: a file that cannot be read is refused when it is loaded, not here.
func (s *Service) Window(m Model) int64 {
	if given, ok := s.given[m.Name]; ok {
		return int64(given.Info().Context)
	}
	profile := s.table().profiles[m.Profile]
	window := int64(profile.Context)
	if profile.Runtime != "llama" {
		return window
	}
	f, err := os.Open(m.File)
	if err != nil {
		return window
	}
	defer f.Close()
	if head, err := gguf.Read(f, -1); err == nil && head.Context > 0 && head.Context < uint64(window) {
		return int64(head.Context)
	}
	return window
}
