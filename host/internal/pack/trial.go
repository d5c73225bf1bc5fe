package pack

import (
	"bytes"
	"context"
	"fmt"
	"math/rand/v2"
	"slices"
	"strings"
	"time"

	"github.com/arw-project/arw/abi"
	"github.com/arw-project/arw/host/internal/wasm"
	"github.com/arw-project/arw/manifests"
)

// examples is step 10: every example of the manifest is called once, in a scratch world of its own that nobody else sees.
// With a second engine each answer must be the same on both: compilers have bugs, and a pack's own examples find them. A
// program that serves from the interpreter meets its second engine later, when its code is compiled.
func (in *install) examples(ctx context.Context) error {
	defer close(in.trying.done)
	if err := in.trying.run(ctx, in.version.prog, ""); err != nil {
		return err
	}
	in.verdict.Examples = len(in.trying.answers)
	if in.Second == nil || !in.version.prog.Stats().Compiled || !in.trying.any() {
		return nil
	}
	second, err := in.Second.Load(ctx, in.version.spec(in.module, 1))
	if err != nil {
		return wrap(err, "load on the second engine")
	}
	defer second.Close(context.WithoutCancel(ctx))
	return in.trying.run(ctx, second, " on the second engine")
}

// trying runs the examples of one version, on one engine and then on another. It has a copy of all that changes about the
// version, since the second run may come when others use it already.
type trying struct {
	v       *version
	links   []Link
	answers map[string][]byte // of the first run, by the example's name; it is written before done is closed
	done    chan struct{}
}

func newTrying(v *version, links []Link) *trying {
	return &trying{v: v, links: slices.Clone(links), answers: map[string][]byte{}, done: make(chan struct{})}
}

func (t *trying) any() bool {
	return slices.ContainsFunc(t.v.man.Tools, func(tool manifests.Tool) bool { return len(tool.Examples) > 0 })
}

// compare is the second run, on compiled code, once the first is over. An install that ends before that ends the program,
// and with it ctx.
func (t *trying) compare(ctx context.Context, compiled *wasm.Program) error {
	select {
	case <-t.done:
		return t.run(ctx, compiled, " on compiled code")
	case <-ctx.Done():
		return ctx.Err()
	}
}

// run runs all examples: the first time it keeps the answers, after that they must be the same.
func (t *trying) run(ctx context.Context, p *wasm.Program, where string) error {
	first := where == ""
	for i := range t.v.man.Tools {
		tool := &t.v.man.Tools[i]
		for n, ex := range tool.Examples {
			name := fmt.Sprintf("run example %d of %q", n+1, tool.ID)
			before, ran := t.answers[name]
			if !first && !ran {
				continue
			}
			got, ran, err := t.try(ctx, p, tool, ex)
			switch {
			case err != nil:
				return wrap(err, "%s%s", name, where)
			case first && ran:
				t.answers[name] = got
			case !first && !bytes.Equal(before, got):
				return abi.Errorf(abi.Incompatible, "%s: two engines disagree: %s and %s", name, clip(before), clip(got)).
					WithHint("report it with the module: one of the engines miscompiles it, or the tool is not deterministic")
			}
		}
	}
	return nil
}

// try runs one example and returns its answer; false when it needs what no scratch world has (files, other tools), which
// says nothing about the pack.
func (t *trying) try(ctx context.Context, p *wasm.Program, tool *manifests.Tool, ex manifests.Example) ([]byte, bool, error) {
	w := &scratch{keys: map[string][]byte{}, docs: map[string][]byte{}, rand: rand.NewChaCha8([32]byte{}), models: t.v.models, links: t.links}
	r, err := p.Call(ctx, wasm.Call{
		Tool: tool.ID, Input: ex.Input, Effects: tool.Effects, Limits: t.v.tools[tool.ID].limits, Gate: w,
		Host: wasm.Host{Log: w, KV: scratchKeys{w}, Event: w, State: scratchDocs{w}, FS: nowhere{}, Clock: w, Rand: w.rand, Action: nowhere{}, Secret: nowhere{}, Archive: nowhere{}, Config: nowhere{}, HTTP: nowhere{w: w}, Infer: nowhere{w: w}},
	})
	switch {
	case err != nil && w.lacking:
		return nil, false, nil
	case err != nil:
		return nil, false, err
	case r.Kind != abi.FrameJSON:
		if ex.Output != nil {
			return nil, false, abi.Errorf(abi.ToolFailed, "it answered with bytes, not with %s", clip(ex.Output))
		}
		return r.Body, true, nil
	}
	if err := tool.Output.Validate(r.Body); err != nil {
		return nil, false, wrap(err, "it breaks its own output schema")
	}
	got, err := manifests.CanonicalJSON(r.Body)
	if err != nil {
		return nil, false, err
	}
	if ex.Output != nil && !bytes.Equal(got, ex.Output) {
		return nil, false, abi.Errorf(abi.ToolFailed, "it answered %s, the manifest says %s", clip(got), clip(ex.Output)).
			WithHint("mend the tool or the example in pack.toml")
	}
	return got, true, nil
}

func clip(b []byte) string {
	if len(b) > 200 {
		return string(b[:200]) + "…"
	}
	return string(b)
}

// scratch is a world made for one example: empty, in memory, with a clock that stands still and dice that always fall
// the same way, so that two engines see the same one.
type scratch struct {
	keys, docs map[string][]byte
	rand       *rand.ChaCha8
	models     map[string]*manifests.State
	links      []Link
	lacking    bool
}

type (
	scratchKeys struct{ *scratch }
	scratchDocs struct{ *scratch }
)

// Use implements wasm.Gate: the example may use what the real calls may, except what lies outside the pack.
func (w *scratch) Use(_ context.Context, c abi.Capability, target string, _ int) (string, error) {
	for _, l := range w.links {
		if l.Capability != string(c) || l.Outcome == Denied {
			continue
		}
		if beyondScratch(c) {
			break
		}
		if len(l.Scope) == 0 || slices.ContainsFunc(l.Scope, func(s string) bool {
			return s == target || strings.HasSuffix(s, ".") && strings.HasPrefix(target, s)
		}) {
			return "", nil
		}
	}
	w.lacking = w.lacking || beyondScratch(c)
	return "", abi.Errorf(abi.Denied, "use %q on %q: an example runs without it", c, target)
}

// beyondScratch reports whether a capability reaches what no scratch world has.
func beyondScratch(c abi.Capability) bool {
	return c == abi.FS || c == abi.Action || c == abi.HTTP || c == abi.Secret || c == abi.Archive || c == abi.Config || c == abi.Infer
}

// nowhere stands for what lies outside the pack, so that the gate is asked and can say that an example goes without.
type nowhere struct {
	wasm.FS
	wasm.Action
	wasm.Secret
	wasm.Archive
	wasm.Config
	w *scratch
}

// Open implements wasm.HTTP.
func (n nowhere) Open(ctx context.Context, req abi.HTTPRequest, _ []byte, _ bool) (wasm.Exchange, error) {
	_, err := n.w.Use(ctx, abi.HTTP, req.URL, 0)
	return nil, err
}

// Connect implements wasm.HTTP.
func (n nowhere) Connect(ctx context.Context, req abi.HTTPRequest) (wasm.Socket, error) {
	_, err := n.w.Use(ctx, abi.HTTP, req.URL, 0)
	return nil, err
}

// Generate implements wasm.Infer; every function of it asks first, so that an example goes without.
func (n nowhere) Generate(ctx context.Context, req abi.InferRequest) (wasm.Answer, error) {
	return nil, n.asks(ctx, req.Model)
}

// Embed implements wasm.Infer.
func (n nowhere) Embed(ctx context.Context, req abi.InferEmbed) (abi.InferVectors, error) {
	return abi.InferVectors{}, n.asks(ctx, req.Model)
}

// Rerank implements wasm.Infer.
func (n nowhere) Rerank(ctx context.Context, req abi.InferRerank) (abi.InferScores, error) {
	return abi.InferScores{}, n.asks(ctx, req.Model)
}

// Tokenize implements wasm.Infer.
func (n nowhere) Tokenize(ctx context.Context, req abi.InferTokenize) (abi.InferTokens, error) {
	return abi.InferTokens{}, n.asks(ctx, req.Model)
}

func (n nowhere) asks(ctx context.Context, model string) error {
	_, err := n.w.Use(ctx, abi.Infer, model, 0)
	return err
}

// Write implements wasm.Log.
func (w *scratch) Write(context.Context, int, string) error { return nil }

// Emit implements wasm.Event.
func (w *scratch) Emit(_ context.Context, kind string, body []byte) error {
	return checkBody(kind, body)
}

// Now implements wasm.Clock.
func (w *scratch) Now() time.Time { return time.Date(2026, 1, 1, 0, 0, 0, 0, time.UTC) }

// Monotonic implements wasm.Clock.
func (w *scratch) Monotonic() time.Duration { return 0 }

func (k scratchKeys) Get(_ context.Context, key []byte) ([]byte, error) {
	if val, ok := k.keys[string(key)]; ok {
		return val, nil
	}
	return nil, abi.Errorf(abi.NotFound, "read key %q: there is none", key)
}

func (k scratchKeys) Put(_ context.Context, key, val []byte) error {
	k.keys[string(key)] = bytes.Clone(val)
	return nil
}

func (k scratchKeys) Delete(_ context.Context, key []byte) error {
	delete(k.keys, string(key))
	return nil
}

func (k scratchKeys) Batch(ctx context.Context, ops []abi.KVOp) error {
	for _, op := range ops {
		if op.Delete {
			delete(k.keys, string(op.Key))
			continue
		}
		k.keys[string(op.Key)] = bytes.Clone(op.Val)
	}
	return nil
}

func (k scratchKeys) List(_ context.Context, prefix, after []byte, limit int) (keys []abi.KVEntry, more bool, err error) {
	if limit <= 0 || limit > 1000 {
		limit = 1000
	}
	var names []string
	for name := range k.keys {
		if strings.HasPrefix(name, string(prefix)) && name > string(after) {
			names = append(names, name)
		}
	}
	slices.Sort(names)
	if more = len(names) > limit; more {
		names = names[:limit]
	}
	for _, name := range names {
		keys = append(keys, abi.KVEntry{Key: []byte(name), Size: len(k.keys[name])})
	}
	return keys, more, nil
}

func (d scratchDocs) Get(_ context.Context, name string) ([]byte, error) {
	if doc, ok := d.docs[name]; ok {
		return doc, nil
	}
	return nil, abi.Errorf(abi.NotFound, "read model %q: there is none yet", name)
}

func (d scratchDocs) Put(_ context.Context, name string, doc []byte) error {
	model := d.models[name]
	if model == nil {
		return noModel(name)
	}
	if err := model.Schema.Validate(doc); err != nil {
		return err
	}
	d.docs[name] = bytes.Clone(doc)
	return nil
}
