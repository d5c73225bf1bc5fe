package pack

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"strings"
	"time"

	"github.com/arw-project/arw/abi"
	"github.com/arw-project/arw/host/internal/egress"
	"github.com/arw-project/arw/host/internal/prompt"
	"github.com/arw-project/arw/manifests"
)

// PromptPreview is what a person looks at before saying yes to a prompt: the question, the policies in force, and what would leave or be
// read. Digest names all of it, so that a yes is to what was seen.
type PromptPreview struct {
	Prompt     string          `json:"prompt"`
	Pack       string          `json:"pack"`
	Version    string          `json:"version"`
	PackDigest string          `json:"pack_digest"`
	Tool       string          `json:"tool"`
	Capability string          `json:"capability"`
	Target     string          `json:"target,omitempty"`
	Scope      []string        `json:"scope"`
	Project    string          `json:"project,omitempty"`
	Policies   string          `json:"policies"`         // the digest of the set in force
	Egress     *egress.Preview `json:"egress,omitempty"` // of http: where it would go and what the host says of it
	Config     json.RawMessage `json:"config,omitempty"` // of config: the document as it would be read
	Digest     string          `json:"digest"`           // sha256 of the canonical JSON of the rest
}

// PreviewPrompt tells what saying yes to a prompt that waits would be about; nothing is sent, counted or changed. Errors: NotFound;
// Conflict when another version of the pack has taken the place of the one that asks.
func (m *Manager) PreviewPrompt(ctx context.Context, id string) (PromptPreview, error) {
	if m.Prompts == nil {
		return PromptPreview{}, abi.Errorf(abi.NotFound, "preview prompt %q: this host asks nobody", id)
	}
	p, err := m.Prompts.Get(ctx, id)
	if err != nil {
		return PromptPreview{}, err
	}
	return m.foreseePrompt(ctx, &p)
}

func (m *Manager) foreseePrompt(ctx context.Context, p *prompt.Prompt) (PromptPreview, error) {
	s := m.index.Load().packs[p.Pack]
	if s == nil || s.current() == nil || s.current().row.Digest != p.Digest {
		return PromptPreview{}, abi.Errorf(abi.Conflict, "preview prompt %q: the version of the pack %q that asks is not in force any more", p.ID, p.Pack).
			WithHint("deny it: arw prompts deny %s", p.ID)
	}
	out := PromptPreview{
		Prompt: p.ID, Pack: p.Pack, Version: p.Version, PackDigest: p.Digest, Tool: p.Tool, Capability: string(p.Capability), Target: p.Target,
		Scope: p.Scope, Project: p.Project, Policies: m.Policy.Current().Digest(),
	}
	switch {
	case p.Capability == abi.HTTP && m.Egress != nil:
		method, url, _ := strings.Cut(p.Target, " ")
		n := (*network)(&world{m: m, v: s.current(), t: s.current().tools[p.Tool], c: &Call{Pack: p.Pack, Tool: p.Tool, Project: p.Project}})
		seen := m.Egress.Preview(ctx, n.caller(), n, egress.Request{Method: method, URL: url})
		seen.Expires, seen.Row.Time, seen.Row.ID = time.Time{}, time.Time{}, "" // which say when it was looked at, not at what
		out.Egress = &seen
	case p.Capability == abi.Config && m.Config != nil:
		agent, isAgent := strings.CutPrefix(p.Actor, "agent:")
		if !isAgent {
			agent = ""
		}
		doc, err := m.Config.Effective(ctx, p.Target, p.Project, agent, p.Corr)
		if err != nil && abi.CodeOf(err) != abi.NotFound {
			return PromptPreview{}, err
		}
		out.Config = doc
	}
	raw, err := json.Marshal(out)
	if err == nil {
		raw, err = manifests.CanonicalJSON(raw)
	}
	if err != nil {
		return PromptPreview{}, abi.Errorf(abi.Internal, "preview prompt %q: %w", p.ID, err)
	}
	sum := sha256.Sum256(raw)
	out.Digest = "sha256:" + hex.EncodeToString(sum[:])
	return out, nil
}

// looked refuses a yes of somebody who has not looked at what it is to, where the policies want that.
func (m *Manager) looked(ctx context.Context, p *prompt.Prompt, a prompt.Answer) error {
	if !p.Preview && a.Seen == "" {
		return nil
	}
	now, err := m.foreseePrompt(ctx, p)
	if err != nil {
		return err
	}
	switch {
	case a.Seen == "":
		err := abi.Errorf(abi.Conflict, "answer prompt %q: the policies %q want whoever says yes to have looked at the preview", p.ID, p.Policies)
		return err.WithHint("look, then name its digest: arw prompts preview %s; arw prompts allow %s --preview sha256:…", p.ID, p.ID)
	case a.Seen != now.Digest:
		return abi.Errorf(abi.Conflict, "answer prompt %q: what it is about is not what was looked at any more", p.ID).
			WithHint("look again: arw prompts preview %s", p.ID).WithDetail(now)
	}
	return nil
}
