// Package slots keeps one promise: what a llama-server remembers of prompts serves the scope that asked them and nobody else,
// and a memory that was put on disk comes back only when its bytes, the model, the runtime, its arguments, the scope and the
// prompt's tokens are what they were.
//
// The server itself promises neither: it shares one cache among all callers, and takes back files of other weights, and
// damaged ones, without a word. So a Pool names the slot of every request, empties a slot before another scope has it, and keeps
// files under a key of all that matters, with a digest of their own that is checked on the bytes that are given to the
// server. On any doubt the prompt is computed.
//
// A Pool is one server's and safe for concurrent use. It owns no goroutine.
package slots

import (
	"context"
	"iter"
	"sync"
	"sync/atomic"
	"time"

	"github.com/arw-project/arw/abi"
	"github.com/arw-project/arw/host/internal/infer"
)

// Server is a model whose slots can be named. Files are names in Config.Dir.
type Server interface {
	infer.Model
	SaveSlot(ctx context.Context, slot int, file string) error
	RestoreSlot(ctx context.Context, slot int, file string) error
	EraseSlot(ctx context.Context, slot int) error
}

// Config of a pool. Slots and Dir are required.
type Config struct {
	Slots int
	Dir   string // where the server writes and reads files of slots; nobody else's
	Store string // where they are kept; "" keeps none
	Quota int64  // bytes in Store; 0 keeps none
	// Facts are all that a memory depends on beside scope and tokens: digests of model and runtime, arguments, version.
	Facts []string
	// Least is the fewest tokens of a prompt that are worth a file; 0 is 64.
	Least int
}

// Stats count since the start.
type Stats struct {
	Saved    int64 `json:"saved"`    // memories put on disk
	Restored int64 `json:"restored"` // and taken back
	Spoiled  int64 `json:"spoiled"`  // files that were not what they were, and are gone
	Emptied  int64 `json:"emptied"`  // slots taken over by another scope
	Prompt   int64 `json:"prompt_tokens"`
	Cached   int64 `json:"cached_tokens"` // of those
}

// Pool gives slots to scopes.
type Pool struct {
	Server
	cfg   Config
	files *files // nil keeps none

	mu    sync.Mutex // guards slots and freed; never held across a request
	slots []slot
	freed chan struct{} // closed when a slot is given back, and replaced

	saved, restored, spoiled, emptied, prompt, cached atomic.Int64
}

// slot is one of the server's.
type slot struct {
	busy   bool
	known  bool // what it holds is scope's; before that it must be emptied
	scope  string
	prompt infer.Prompt // the last one
	used   time.Time
}

// New makes a pool of a server that nobody else asks. Errors: Unavailable for a Store that cannot be used.
func New(s Server, cfg Config) (*Pool, error) {
	if cfg.Least == 0 {
		cfg.Least = 64
	}
	p := &Pool{Server: s, cfg: cfg, slots: make([]slot, cfg.Slots), freed: make(chan struct{})}
	if cfg.Store == "" || cfg.Quota <= 0 {
		return p, nil
	}
	var err error
	p.files, err = openFiles(cfg)
	return p, err
}

// Stats is what was counted.
func (p *Pool) Stats() Stats {
	return Stats{p.saved.Load(), p.restored.Load(), p.spoiled.Load(), p.emptied.Load(), p.prompt.Load(), p.cached.Load()}
}

// Info implements infer.Model: scopes are kept apart here, whatever the server can.
func (p *Pool) Info() infer.Info {
	i := p.Server.Info()
	i.Can.Salt = true
	return i
}

// Generate implements infer.Model.
func (p *Pool) Generate(ctx context.Context, req *infer.Request) iter.Seq2[infer.Part, error] {
	return func(yield func(infer.Part, error) bool) {
		n, err := p.take(ctx, req.Scope, &req.Prompt)
		if err != nil {
			yield(infer.Part{}, err)
			return
		}
		defer p.giveBack(n, &req.Prompt)
		sent := *req
		sent.Slot = &n
		for part, err := range p.Server.Generate(ctx, &sent) {
			if part.Usage != nil {
				p.prompt.Add(part.Usage.Prompt)
				p.cached.Add(part.Usage.Cached)
			}
			if !yield(part, err) {
				return
			}
		}
	}
}

// take waits for a slot and makes it the scope's.
func (p *Pool) take(ctx context.Context, scope string, prompt *infer.Prompt) (int, error) {
	for {
		p.mu.Lock()
		n, ok := p.choose(scope, prompt)
		if ok {
			s := &p.slots[n]
			s.busy = true
			before := *s
			p.mu.Unlock()
			if before.known && before.scope == scope {
				return n, nil
			}
			if err := p.turn(ctx, n, before, scope, prompt); err != nil {
				p.mu.Lock()
				s.known = false
				p.mu.Unlock()
				p.giveBack(n, nil)
				return 0, err
			}
			return n, nil
		}
		wait := p.freed
		p.mu.Unlock()
		select {
		case <-wait:
		case <-ctx.Done():
			return 0, abi.Errorf(abi.CodeOf(ctx.Err()), "wait for a slot of the runtime: %w", context.Cause(ctx))
		}
	}
}

// choose picks a free slot: the scope's own that remembers most of the prompt, else one that nobody needs, else the one that was
// used longest ago. The caller holds mu.
func (p *Pool) choose(scope string, prompt *infer.Prompt) (best int, ok bool) {
	best, score := -1, -1
	for n := range p.slots {
		s := &p.slots[n]
		rank := 0
		switch {
		case s.busy:
			continue
		case s.known && s.scope == scope:
			rank = 2 + common(&s.prompt, prompt)
		case !s.known:
			rank = 1
		}
		if rank > score || rank == 0 && score == 0 && s.used.Before(p.slots[best].used) {
			best, score = n, rank
		}
	}
	return best, best >= 0
}

// common is how many bytes two prompts have in common at their beginning.
func common(a, b *infer.Prompt) int {
	if (a.Messages == nil) != (b.Messages == nil) {
		return 0
	}
	n := prefix(a.Text, b.Text)
	for i := range min(len(a.Messages), len(b.Messages)) {
		if a.Messages[i].Role != b.Messages[i].Role {
			break
		}
		k := prefix(a.Messages[i].Text, b.Messages[i].Text)
		if n += k; k < len(a.Messages[i].Text) || k < len(b.Messages[i].Text) {
			break
		}
	}
	return n
}

func prefix(a, b string) int {
	for i := range min(len(a), len(b)) {
		if a[i] != b[i] {
			return i
		}
	}
	return min(len(a), len(b))
}

// turn gives a slot that this caller has to another scope: its memory is kept if it is worth it, it is emptied, and what the new
// scope had is taken back.
func (p *Pool) turn(ctx context.Context, n int, before slot, scope string, prompt *infer.Prompt) error {
	if before.known {
		p.emptied.Add(1)
		p.keep(ctx, n, before)
	}
	if err := p.EraseSlot(ctx, n); err != nil {
		return err
	}
	if p.files != nil && !p.recall(ctx, n, scope, prompt) {
		if err := p.EraseSlot(ctx, n); err != nil { // what a failed recall left is nobody's
			return err
		}
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	p.slots[n].known, p.slots[n].scope = true, scope
	return nil
}

// giveBack frees a slot.
func (p *Pool) giveBack(n int, prompt *infer.Prompt) {
	p.mu.Lock()
	defer p.mu.Unlock()
	s := &p.slots[n]
	s.busy, s.used = false, time.Now()
	if prompt != nil {
		s.prompt = *prompt
	}
	close(p.freed)
	p.freed = make(chan struct{})
}

// Park keeps what the free slots hold, before the server ends.
func (p *Pool) Park(ctx context.Context) {
	for n := range p.slots {
		p.mu.Lock()
		s := p.slots[n]
		idle := !s.busy && s.known
		if idle {
			p.slots[n].busy = true
		}
		p.mu.Unlock()
		if idle {
			p.keep(ctx, n, s)
			p.giveBack(n, nil)
		}
	}
}

// keep puts a slot's memory on disk. That it fails costs time later and nothing else.
func (p *Pool) keep(ctx context.Context, n int, s slot) {
	if p.files == nil {
		return
	}
	tokens, err := p.Tokenize(ctx, s.prompt)
	if err != nil || len(tokens) < p.cfg.Least || p.files.has(s.scope, tokens) {
		return
	}
	name := fileName()
	if p.SaveSlot(ctx, n, name) == nil && p.files.put(name, s.scope, tokens) == nil {
		p.saved.Add(1)
	}
}

// recall gives a slot the memory of the scope that has most in common with the prompt. It reports false when the slot may now
// hold something that is not that.
func (p *Pool) recall(ctx context.Context, n int, scope string, prompt *infer.Prompt) bool {
	if !p.files.any(scope) {
		return true
	}
	tokens, err := p.Tokenize(ctx, *prompt)
	if err != nil || len(tokens) < p.cfg.Least {
		return true
	}
	name, spoiled, ok := p.files.lend(scope, tokens, p.cfg.Least)
	p.spoiled.Add(int64(spoiled))
	if !ok {
		return true
	}
	defer p.files.drop(name)
	if err := p.RestoreSlot(ctx, n, name); err != nil {
		return false
	}
	p.restored.Add(1)
	return true
}
