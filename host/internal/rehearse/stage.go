package rehearse

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"strconv"
	"strings"
	"sync/atomic"
	"time"

	"github.com/arw-project/arw/abi"
	"github.com/arw-project/arw/host/internal/wasm"
	"github.com/arw-project/arw/manifests"
)

// Stage is a loaded pack on which cases are played.
type Stage struct {
	man      *manifests.Pack
	program  *wasm.Program
	sessions atomic.Int64
}

// Result is what came of one call.
type Result struct {
	Name      string        `json:"name"` // "greet", "greet#2", "example:hello.greet#1"
	File      string        `json:"file,omitempty"`
	Tool      string        `json:"tool"`
	OK        bool          `json:"ok"`
	Skipped   string        `json:"skipped,omitempty"` // why it was not judged
	Problems  []Problem     `json:"problems,omitempty"`
	Gas       uint64        `json:"gas"`
	HostCalls int           `json:"host_calls"`
	Memory    int64         `json:"memory_bytes"`
	Wall      time.Duration `json:"wall_ns"`
}

// Problem is one way in which a result is not what was expected.
type Problem struct {
	Line int    `json:"line,omitempty"` // in the file of the case
	What string `json:"what"`
	Diff string `json:"diff,omitempty"` // lines that begin with "-" were expected, with "+" came
}

// Load makes a pack ready, on the interpreter for good or on the compiler. Errors are those of the engine.
func Load(ctx context.Context, e *wasm.Engine, man *manifests.Pack, digest string, module []byte, interpret bool) (*Stage, error) {
	l := wasm.Limits{}
	for _, t := range man.Tools {
		l.MemoryBytes = max(l.MemoryBytes, t.Limits.Memory)
		if t.Limits.Memory == 0 {
			l.MemoryBytes = max(l.MemoryBytes, wasm.DefaultLimits().MemoryBytes)
		}
	}
	p, err := e.Load(ctx, wasm.Spec{Name: man.Name, Digest: digest, Module: module, Runtime: man.Module.Runtime, Limits: l, Interpret: interpret})
	if err != nil {
		return nil, err
	}
	return &Stage{man: man, program: p}, nil
}

// Close frees the program; no call may be running.
func (s *Stage) Close(ctx context.Context) error { return s.program.Close(ctx) }

// played is a call and its outcome.
type played struct {
	Result
	kind  abi.FrameKind
	body  []byte
	err   error
	taken *taken // what it streamed out; nil when the caller takes nothing
}

// call makes one call as a host does: the input must fit before, the output after.
func (s *Stage) call(ctx context.Context, w *world, id string, st *step, session string) played {
	input := st.input
	p := played{Result: Result{Tool: id}}
	t, ok := s.man.Tool(id)
	if !ok {
		p.err = abi.Errorf(abi.NotFound, "call %q: the pack has no such tool", id)
		return p
	}
	if p.err = t.Input.Validate(input); p.err != nil {
		return p
	}
	w.calls, w.events, w.log = nil, nil, nil
	clear(w.refused)
	l := t.Limits
	c := wasm.Call{
		Tool: id, Input: input, Session: session, Effects: t.Effects, Gate: w, Host: w.host(),
		Limits: wasm.Limits{MemoryBytes: l.Memory, Gas: l.Gas, Time: l.Time, Input: l.Input, Output: l.Output, Streamed: l.Stream},
	}
	if st.stream != nil {
		c.In = st.stream.source(w)
	}
	if st.takes {
		p.taken = &taken{world: w, keep: st.keeps}
		c.Out = p.taken
	}
	reply, err := s.program.Call(ctx, c)
	u := reply.Usage
	p.Gas, p.HostCalls, p.Memory, p.Wall = u.Gas, u.HostCalls, u.MemoryBytes, u.Wall
	p.kind, p.body, p.err = reply.Kind, reply.Body, err
	switch {
	case err != nil && reply.Kind == abi.FrameError:
		p.err = w.own(err)
	case err == nil && reply.Kind == abi.FrameJSON:
		if bad := t.Output.Validate(reply.Body); bad != nil {
			p.err = abi.Errorf(abi.ToolFailed, "the output of %q breaks its own schema: %w", id, bad)
		}
	}
	return p
}

// Play plays a case. With update, goldens that differ are replaced in the case's text (see Text) instead of counted.
func (s *Stage) Play(ctx context.Context, c *Case, update bool) []Result {
	w := c.world(s.man)
	run := strconv.FormatInt(s.sessions.Add(1), 36)
	var results []Result
	for i := range c.steps {
		st := &c.steps[i]
		session := st.Session
		if session != "" {
			session = run + "/" + session // no case continues another's
		}
		p := s.call(ctx, w, st.Tool, st, session)
		p.Name, p.File = c.Name, c.file
		if st.prefix != "" {
			p.Name += "#" + strconv.Itoa(i+1)
		}
		j := judge{Case: c, step: st, at: i, world: w, played: &p, update: update}
		j.outcome()
		j.streamed()
		j.bounds()
		j.traces()
		if i == len(c.steps)-1 {
			j.end()
		}
		p.OK = len(p.Problems) == 0
		results = append(results, p.Result)
	}
	return results
}

// Text is the file as it stands: as it was read, unless Play with update replaced goldens.
func (c *Case) Text() []byte { return c.text.bytes() }

// Examples plays the examples of the manifest, each in a world with nothing in it. One that needs a folder or another
// tool is skipped, as a host does when it admits the pack.
func (s *Stage) Examples(ctx context.Context, keep func(name string) bool) []Result {
	var results []Result
	for i := range s.man.Tools {
		t := &s.man.Tools[i]
		for n, ex := range t.Examples {
			name := fmt.Sprintf("example:%s#%d", t.ID, n+1)
			if !keep(name) {
				continue
			}
			w := newWorld(s.man)
			w.bare = true
			p := s.call(ctx, w, t.ID, &step{input: ex.Input}, "")
			p.Name = name
			s.example(w, &p, ex)
			p.OK = len(p.Problems) == 0
			results = append(results, p.Result)
		}
	}
	return results
}

func (s *Stage) example(w *world, p *played, ex manifests.Example) {
	switch {
	case p.err != nil && w.lacking:
		p.Skipped = "it needs a folder or another tool; write a case for it in tests/"
	case p.err != nil:
		p.Problems = append(p.Problems, Problem{What: failure(p.err)})
	case ex.Output != nil && p.kind != abi.FrameJSON:
		p.Problems = append(p.Problems, Problem{What: "it answers with bytes, the manifest states JSON"})
	case ex.Output != nil:
		if got, err := manifests.CanonicalJSON(p.body); err != nil {
			p.Problems = append(p.Problems, Problem{What: err.Error()})
		} else if !bytes.Equal(got, ex.Output) {
			p.Problems = append(p.Problems, Problem{What: "the answer is not the one that pack.toml states", Diff: diff(pretty(ex.Output), pretty(got))})
		}
	}
}

func failure(err error) string {
	text := fmt.Sprintf("it fails with %s: %s", abi.CodeOf(err), err)
	if hint := abi.HintOf(err); hint != "" && !strings.Contains(text, hint) {
		text += "; " + hint
	}
	return text
}

// pretty writes JSON for people: keys sorted, two spaces, one value a line.
func pretty(doc []byte) string {
	canonical, err := manifests.CanonicalJSON(doc)
	if err != nil {
		return string(doc)
	}
	var out bytes.Buffer
	if err := json.Indent(&out, canonical, "", "  "); err != nil {
		return string(doc)
	}
	return out.String() + "\n"
}
