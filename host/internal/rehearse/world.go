package rehearse

import (
	"bytes"
	"cmp"
	"context"
	"crypto/sha256"
	"encoding/binary"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"math/rand/v2"
	"slices"
	"strconv"
	"strings"
	"time"
	"unicode/utf8"

	"github.com/arw-project/arw/abi"
	"github.com/arw-project/arw/host/internal/vault"
	"github.com/arw-project/arw/host/internal/wasm"
	"github.com/arw-project/arw/manifests"
	"github.com/arw-project/arw/manifests/pattern"
)

// world is everything outside the guest, in memory. One call at a time uses it.
type world struct {
	man    *manifests.Pack
	scopes map[abi.Capability][]string // what is leased; a capability that is not here is linked to nothing
	kv     map[string][]byte
	state  map[string][]byte
	files  map[string][]byte
	keys   map[string]vault.Key
	config map[string][]byte
	start  time.Time
	tick   time.Duration
	read   int64 // how often the clock was read
	dice   *rand.ChaCha8

	refusals  []refusal
	answers   []answer
	responses []response
	answersOf []modelAnswer // of models

	calls    []string // what happened, for the file calls
	events   []string
	log      []string
	problems []string
	refused  map[abi.Code]*abi.Error // what the world refused in this call, the last of each code
	bare     bool                    // an example's: no folder, no other tool
	lacking  bool                    // it was asked for what a bare world does not have
}

type answer struct {
	rawAnswer
	left int64 // -1 for ever
	used bool
}

// defaultNow is where the clock of a world stands unless its file says otherwise.
func defaultNow() time.Time { return time.Date(2026, 1, 1, 0, 0, 0, 0, time.UTC) }

func newWorld(man *manifests.Pack) *world {
	w := &world{man: man, scopes: map[abi.Capability][]string{}, kv: map[string][]byte{}, state: map[string][]byte{},
		files: map[string][]byte{}, keys: map[string]vault.Key{}, config: map[string][]byte{}, start: defaultNow(), dice: rand.NewChaCha8([32]byte{}), refused: map[abi.Code]*abi.Error{}}
	for _, c := range man.Capabilities {
		w.scopes[c.Name] = c.Scope
	}
	return w
}

// world makes the world that the file describes.
func (c *Case) world(man *manifests.Pack) *world {
	w := newWorld(man)
	for key, val := range c.kv {
		w.kv[key] = bytes.Clone(val)
	}
	for name, doc := range c.state {
		w.state[name] = doc
	}
	for name, data := range c.files {
		w.files[name] = bytes.Clone(data)
	}
	h := &c.head.World
	for name, text := range h.Secrets {
		w.keys[name], _ = parseKey(text) // the checker has seen it
	}
	for name, doc := range h.Config {
		w.config[name], _ = json.Marshal(doc) // the checker has seen it
	}
	if !h.Now.IsZero() {
		w.start = h.Now
	}
	w.tick = time.Duration(h.Tick)
	var seed [32]byte
	binary.LittleEndian.PutUint64(seed[:], h.Seed)
	w.dice = rand.NewChaCha8(seed)
	for _, name := range h.Without {
		delete(w.scopes, abi.Capability(name))
	}
	for capability, scope := range map[abi.Capability][]string{abi.FS: h.Folders, abi.Action: h.Tools, abi.HTTP: h.Requests} {
		if _, asked := w.scopes[capability]; asked && scope != nil {
			w.scopes[capability] = scope
		}
	}
	for _, r := range c.head.Refuse {
		code, _ := abi.CodeByName(r.Code)
		w.refusals = append(w.refusals, refusal{rawRefuse: r, code: code})
	}
	for _, a := range c.head.Answers {
		w.answers = append(w.answers, answer{rawAnswer: a, left: timesOf(a.Times)})
	}
	for _, r := range c.head.Responses {
		w.responses = append(w.responses, response{rawResponse: r, left: timesOf(r.Times)})
	}
	w.answersOf = slices.Clone(c.models)
	return w
}

// host links what is leased.
func (w *world) host() wasm.Host {
	var h wasm.Host
	for c := range w.scopes {
		switch c {
		case abi.Log:
			h.Log = w
		case abi.KV:
			h.KV = keys{w}
		case abi.Event:
			h.Event = w
		case abi.State:
			h.State = docs{w}
		case abi.FS:
			h.FS = folders{w}
		case abi.Clock:
			h.Clock = w
		case abi.Rand:
			h.Rand = w
		case abi.Action:
			h.Action = w
		case abi.Secret:
			h.Secret = secrets{w}
		case abi.Archive:
			h.Archive = archives{w}
		case abi.Config:
			h.Config = configs{w}
		case abi.HTTP:
			h.HTTP = network{w}
		case abi.Infer:
			h.Infer = models{w}
		}
	}
	return h
}

// note writes one line of the call log: what was asked, and "!" with the code of a refusal or failure. It returns err.
func (w *world) note(what string, err error) error {
	if err == nil {
		w.calls = append(w.calls, what)
		return nil
	}
	w.calls = append(w.calls, what+" ! "+abi.CodeOf(err).String())
	if e, ok := errors.AsType[*abi.Error](err); ok {
		w.refused[e.Code] = e
	}
	return err
}

// Write implements wasm.Log.
func (w *world) Write(_ context.Context, level int, msg string) error {
	word := [...]string{"debug", "info", "warn", "error"}[min(max(level, 0), 3)]
	err := w.refuse("log.write", msg)
	if err == nil {
		w.log = append(w.log, word+" "+msg)
	}
	return w.note("log.write "+word+" "+show([]byte(msg)), err)
}

// Emit implements wasm.Event.
func (w *world) Emit(_ context.Context, kind string, body []byte) error {
	err := w.refuse("event.emit", kind)
	if t := bytes.TrimLeft(body, " \t\r\n"); err == nil && len(t) > 0 && t[0] != '{' {
		err = abi.Errorf(abi.Invalid, "emit %q: the body is not a JSON object", kind)
	}
	if err == nil {
		w.events = append(w.events, kind+" "+compact(body))
	}
	return w.note("event.emit "+kind+" "+show(body), err)
}

// Now implements wasm.Clock: each reading moves it by a tick.
func (w *world) Now() time.Time {
	now := w.start.Add(time.Duration(w.read) * w.tick)
	w.read++
	_ = w.note("clock.now -> "+now.UTC().Format(time.RFC3339Nano), nil)
	return now
}

// Monotonic implements wasm.Clock.
func (w *world) Monotonic() time.Duration {
	d := time.Duration(w.read) * w.tick
	w.read++
	_ = w.note("clock.monotonic -> "+d.String(), nil)
	return d
}

// Read implements io.Reader, the dice.
func (w *world) Read(p []byte) (int, error) {
	if err := w.note("rand.bytes "+strconv.Itoa(len(p)), w.refuse("rand.bytes", "")); err != nil {
		return 0, err
	}
	return w.dice.Read(p)
}

// Call implements wasm.Action: the first answer of the file that fits.
func (w *world) Call(_ context.Context, tool string, input []byte) (abi.FrameKind, []byte, error) {
	what := "action.call " + tool + " " + show(input)
	if err := w.refuse("action.call", tool); err != nil {
		return 0, nil, w.note(what, err)
	}
	canonical, _ := manifests.CanonicalJSON(input) // input that is not JSON fits answers for any input
	for i := range w.answers {
		a := &w.answers[i]
		if a.left == 0 || !pattern.Glob(a.Tool, tool, "") {
			continue
		}
		if want, ok := a.Input.(json.RawMessage); ok && !bytes.Equal(want, canonical) {
			continue
		}
		a.used = true
		if a.left > 0 {
			a.left--
		}
		return w.answer(what, a)
	}
	w.problems = append(w.problems, fmt.Sprintf("the tool calls %q with %s and the file has no [[answer]] left for that", tool, show(input)))
	return 0, nil, w.note(what, abi.Errorf(abi.NotFound, "call %q: there is no answer for it", tool))
}

func (w *world) answer(what string, a *answer) (abi.FrameKind, []byte, error) {
	if a.Error == "" {
		body, ok := a.Output.(json.RawMessage)
		if !ok {
			body = json.RawMessage("null")
		}
		return abi.FrameJSON, body, w.note(what+" -> "+show(body), nil)
	}
	code, _ := abi.CodeByName(a.Error)
	err := abi.Errorf(code, "%s", cmp.Or(a.Message, "the other tool failed"))
	return abi.FrameError, nil, w.note(what, err)
}

// left tells which refusals and answers of the file nobody met: a case that expects what does not happen proves nothing.
func (c *Case) left(w *world) []Problem {
	var problems []Problem
	add := func(kind string, i int, format string, args ...any) {
		problems = append(problems, Problem{Line: c.lines.At(kind, i), What: fmt.Sprintf(format, args...)})
	}
	for i, r := range w.refusals {
		if !r.used {
			add("refuse", i, "this refusal was never met: %s was called %d times on %q", r.Function, r.met, cmp.Or(r.Target, "*"))
		}
	}
	for i, a := range w.answers {
		if !a.used || a.left > 0 {
			add("answer", i, "this answer is left over: %q was not called so often", a.Tool)
		}
	}
	for i, m := range w.answersOf {
		if !m.used || m.left > 0 {
			add("model", i, "this answer of a model is left over: %q was not asked so often", cmp.Or(m.Model, "*"))
		}
	}
	for i, r := range w.responses {
		if !r.used || r.left > 0 {
			add("response", i, "this response is left over: %q was not sent so often", r.Request)
		}
	}
	return problems
}

// own is the tool's error answer with a code it may use, as a real host gives it: the host's own words stand only where
// the host said them in this call.
func (w *world) own(err error) error {
	e, ok := errors.AsType[*abi.Error](err)
	if !ok {
		return err
	}
	switch e.Code {
	case abi.Invalid, abi.NotFound, abi.TooLarge, abi.Unsupported, abi.Conflict, abi.Busy, abi.Unavailable, abi.ToolFailed:
		return err
	}
	if w.refused[e.Code] != nil {
		return err
	}
	return abi.Errorf(abi.ToolFailed, "the tool answered %s: %s", e.Code, e.Msg)
}

// mostShown is how much of a value a line of the call log shows; the digest stands for the rest.
const mostShown = 160

// show writes a value on one line: JSON as it is but compact, other text quoted, long values cut and named by digest.
func show(b []byte) string {
	text := compact(b)
	if len(text) <= mostShown {
		return text
	}
	sum := sha256.Sum256(b)
	cut := mostShown
	for cut > 0 && !utf8.RuneStart(text[cut]) {
		cut--
	}
	return fmt.Sprintf("%s… (%d bytes, sha256:%s)", text[:cut], len(b), hex.EncodeToString(sum[:6]))
}

func compact(b []byte) string {
	if t := bytes.TrimSpace(b); len(t) > 0 && strings.IndexByte(`{["`, t[0]) >= 0 && json.Valid(t) {
		var out bytes.Buffer
		if json.Compact(&out, t) == nil && !bytes.ContainsAny(out.Bytes(), "\n\r") {
			return out.String()
		}
	}
	return strconv.Quote(string(b))
}
