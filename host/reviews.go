package host

import (
	"cmp"
	"context"
	"encoding/json"
	"slices"
	"strings"

	"github.com/arw-project/arw/abi"
	"github.com/arw-project/arw/host/api"
	"github.com/arw-project/arw/host/internal/action"
	"github.com/arw-project/arw/host/internal/kv"
	"github.com/arw-project/arw/host/internal/project"
	"github.com/arw-project/arw/host/internal/review"
)

// openReviews makes the book of what waits for a person.
func (h *Host) openReviews() {
	s := &h.parts
	s.Reviews = review.Open(review.Parts{
		DB: h.db, Journal: s.Journal, KV: kv.Open(h.db), View: s.View, Doc: project.DocID, TTL: h.cfg.Limits.Review,
		Fits:   func(pack string, c api.Change) error { return s.Packs.Fits(pack, c) },
		Redact: s.Redact.At("review").Bytes,
	})
}

// reviews is the document of what waits of a kind.
func (h *Host) reviews(kind string) func(context.Context) (any, error) {
	return func(ctx context.Context) (any, error) {
		items := map[string]any{}
		for _, state := range []string{review.Queued, review.Conflict} {
			all, err := h.parts.Reviews.List(ctx, kind, state, nil, shownReviews)
			if err != nil {
				return nil, err
			}
			for _, one := range all {
				one.Changes = slices.Clone(one.Changes[:min(len(one.Changes), 4)])
				items[one.ID] = one
			}
		}
		return map[string]any{"items": items}, nil
	}
}

// shownReviews is how many of what waits a document shows, the newest; the lists have all of it.
const shownReviews = 50

// worldPack stands where an action names its pack: the queue of diffs belongs to the host. Its one tool lets packs, agents and
// people propose; no tool decides.
const (
	worldPack    = "arw/world"
	worldPropose = "world.propose"
)

// proposals is the tool world.propose.
type proposals struct{ book *review.Book }

func (p proposals) tool(kind string) (action.Tool, bool) {
	if strings.TrimPrefix(kind, worldPack+":") != worldPropose {
		return action.Tool{}, false
	}
	return action.Tool{Kind: worldPropose, Pack: worldPack, Effects: abi.Writes, Validate: func(input []byte) error {
		_, err := readDiff(input)
		return err
	}}, true
}

func readDiff(input []byte) (in api.QueueDiff, err error) {
	dec := json.NewDecoder(strings.NewReader(string(input)))
	dec.DisallowUnknownFields()
	if err := dec.Decode(&in); err != nil {
		return in, abi.Errorf(abi.Invalid, "propose a diff: %w", err).WithHint(`{"pack","summary","changes":[{"op","store","name","value"}]}`)
	}
	return in, nil
}

// run lets the diff wait. It is about the project of the action, whatever the input says, and about the pack that proposes where it
// names none.
func (p proposals) run(ctx context.Context, a action.Action) (action.Result, error) {
	in, err := readDiff(a.Input)
	if err != nil {
		return action.Result{}, err
	}
	if given, err := project.Of(in.Project); err != nil || in.Project != "" && given != a.Project {
		return action.Result{}, abi.Errorf(abi.Denied, "propose a diff for project %q: the call belongs to project %q", in.Project, project.Name(a.Project))
	}
	proposer, _ := strings.CutPrefix(a.Actor, "pack:")
	if proposer == a.Actor {
		proposer = ""
	}
	h, err := p.book.Queue(ctx, api.Held{
		Kind: review.World, Project: a.Project, Pack: cmp.Or(in.Pack, proposer), Source: "tool", From: cmp.Or(a.Actor, anyone), Corr: a.Corr, Action: a.ID,
		Summary: in.Summary, Provenance: api.Provenance{From: from(in.From)},
	}, in.Changes)
	if err != nil {
		return action.Result{}, err
	}
	body, err := json.Marshal(map[string]any{"id": h.ID, "state": h.State, "expires": h.Expires})
	return action.Result{Kind: abi.FrameJSON, Body: body}, err
}

func from(node string) []string {
	if node == "" {
		return nil
	}
	return []string{node}
}
