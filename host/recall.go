package host

import (
	"context"
	"encoding/json"
	"time"

	"github.com/arw-project/arw/abi"
	"github.com/arw-project/arw/host/api"
	"github.com/arw-project/arw/host/internal/action"
	"github.com/arw-project/arw/host/internal/infer"
	"github.com/arw-project/arw/host/internal/infer/serve"
	"github.com/arw-project/arw/host/internal/journal"
	"github.com/arw-project/arw/host/internal/memo"
	"github.com/arw-project/arw/host/internal/quota"
	"github.com/arw-project/arw/host/internal/recall"
)

// openRecall makes the cache of answers to questions that mean the same, empty.
func (h *Host) openRecall() {
	p := h.parts.Memo.Policy()
	h.parts.Recall = recall.New(recall.Options{Limits: recallLimits(p), Journal: h.parts.Journal, Neural: placer{h}})
}

// recallLimits are those of cache.toml.
func recallLimits(p memo.Policy) recall.Limits {
	r := p.Recall
	return recall.Limits{
		Off: p.Off || r.Off, Entries: r.Entries, Bytes: int64(r.Memory), TTL: time.Duration(r.TTL), Audit: r.Audit, Rest: time.Duration(r.Rest), Allowed: p.Caches,
	}
}

// recall journals what becomes of questions, and forgets what may not be remembered: all answers when something was taken out of
// the journal, since any could hold it, and those of a pack that was removed.
func (h *Host) recall(ctx context.Context) error {
	after := h.parts.Journal.Last()
	ended := make(chan struct{})
	go func() {
		defer close(ended)
		for rec, err := range h.parts.Journal.Follow(ctx, after, journal.Filter{Prefixes: []string{journal.RedactedKind, "pack.removed"}}) {
			pack, why := rec.Pack, "the pack was removed"
			if err != nil || rec.Kind != "pack.removed" { // a gap may hide either
				pack, why = "", "something was taken out of the journal"
			}
			if ctx.Err() == nil {
				_, _ = h.ForgetRecall(context.WithoutCancel(ctx), api.RecallForgotten{Pack: pack, Why: why}, "host", rec.Corr)
			}
		}
	}()
	err := h.parts.Recall.Run(ctx)
	<-ended
	return err
}

// ForgetRecall lets the answers go that fit every name which is not empty, and journals how many those were.
func (h *Host) ForgetRecall(ctx context.Context, f api.RecallForgotten, actor, corr string) (api.RecallForgotten, error) {
	fits := func(want, is string) bool { return want == "" || want == is }
	f.Answers = h.parts.Recall.Forget(func(s recall.Space) bool {
		return fits(f.Pack, s.Pack) && fits(f.Project, s.Project) && fits(f.Person, s.Person)
	})
	if f.Answers == 0 && actor == "host" {
		return f, nil
	}
	_, err := h.parts.Journal.Append(ctx, journal.Event{Kind: "recall.forgotten", Actor: actor, Corr: corr, Body: f})
	return f, err
}

// recallDocument is the document recall.
func (h *Host) recallDocument(context.Context) (any, error) { return h.RecallNow(), nil }

// RecallNow tells what is kept for whom, and how often it was wrong.
func (h *Host) RecallNow() api.Recall {
	spaces, all, answers, size := h.parts.Recall.Stats()
	doc := api.Recall{Answers: answers, Bytes: size, All: api.RecallCounts(all), Spaces: []api.RecallSpace{}}
	for _, s := range spaces {
		out := api.RecallSpace{
			Pack: s.Pack, Digest: s.Digest, Tool: s.Tool, Project: s.Project, Person: s.Person, RecallCounts: api.RecallCounts(s.Totals), Answers: s.Entries, Near: s.Threshold,
		}
		if !s.Rests.IsZero() {
			at := s.Rests.UTC()
			out.Rests = &at
		}
		doc.Spaces = append(doc.Spaces, out)
	}
	return doc
}

// placer has questions placed by the model that cache.toml names, as the one who asks: policy and quotas hold for it.
type placer struct{ h *Host }

// placing bounds how long a question waits for its place: a model that loads for longer is worth no cache.
const placing = 5 * time.Second

// Embed implements recall.Embedder.
func (p placer) Embed(ctx context.Context, of recall.Space, corr, question string) (recall.Vector, error) {
	name := p.h.parts.Memo.Policy().Recall.Model
	if name == "" {
		return recall.Vector{}, nil
	}
	input, err := json.Marshal(map[string]any{"model": name, "texts": []string{question}})
	if err != nil {
		return recall.Vector{}, err
	}
	ctx, cancel := context.WithTimeout(ctx, placing)
	defer cancel()
	i := p.h.infer
	who := quota.Who{Pack: of.Pack, Actor: of.Person, Project: of.Project, Corr: corr}
	o, err := i.Ask(ctx, journal.Event{Corr: corr, Actor: of.Person, Project: of.Project, Pack: of.Pack}, serve.Call{
		Kind: serve.Embed, Input: input, Scope: "recall\x00" + of.Project + "\x00" + of.Person,
		May: func(m serve.Model) (infer.Budget, error) {
			if m.Remote { // a question does not leave this machine to save a call
				return infer.Budget{}, abi.Errorf(abi.Denied, "place a question with model %q: it is on somebody else's server", m.Name)
			}
			return i.may(ctx, action.Action{Actor: of.Person, Project: of.Project, Corr: corr}, m)
		},
		Spend: func(tokens, money int64) error {
			return i.quotas.Spend(context.WithoutCancel(ctx), "infer", &who, quota.Amount{Tokens: tokens, Money: money})
		},
	})
	if err != nil {
		return recall.Vector{}, err
	}
	var got infer.Vectors
	if err := json.Unmarshal(o.Body, &got); err != nil || len(got.Values) != 1 {
		return recall.Vector{}, abi.Errorf(abi.Internal, "place a question with model %q: %d vectors", name, len(got.Values))
	}
	return recall.Vector{Engine: got.Engine, Values: got.Values[0]}, nil
}
