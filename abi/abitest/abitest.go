// Package abitest is the conformance suite of the pack ABI: what every guest library and every engine must do, as data.
//
// A guest library proves itself with a conformance guest, a module with the tools of README.md written the way its users
// write theirs. An engine proves itself by running the suite against such a module. The package holds the cases
// (testdata/*.json), the outside world they play in (World) and the runner; it knows no engine. It is safe for concurrent use.
package abitest

import (
	"context"
	"embed"
	"encoding/json"
	"fmt"
	"io/fs"
	"maps"
	"path"
	"strings"
	"sync"
	"time"

	"github.com/arw-project/arw/abi"
)

//go:embed testdata/*.json
var data embed.FS

// Program is a loaded conformance guest, as the engine under test runs it. It must allow calls from several goroutines.
type Program interface {
	Call(ctx context.Context, c Call) (Reply, error)
}

// Call is one call that the suite asks for. Zero limits are the engine's defaults, which must be those of the specification.
type Call struct {
	Tool    string
	Input   []byte
	Session string
	Effects abi.Effect
	Limits  Limits
	World   *World
	In      *In  // the caller's stream in; nil: none
	Out     *Out // the parts taken; nil: the caller takes none
}

// Limits bound a call. A case may lower them.
type Limits struct {
	Gas    uint64 `json:"gas"`
	Memory int64  `json:"memory"`
	TimeMS int    `json:"time_ms"`
	Input  int64  `json:"input"`
	Output int64  `json:"output"`
	Depth  uint32 `json:"depth"`
	Stream int64  `json:"stream"`
}

// Reply is a value frame; errors, also error frames, come as *abi.Error.
type Reply struct {
	Kind abi.FrameKind
	Body []byte
}

// Case is one behaviour: calls that share a world and a session.
type Case struct {
	Name  string
	Topic string `json:"-"` // the file it stands in
	// Withhold names capabilities that nobody granted; Refuse those whose lease answers with a code.
	Withhold []abi.Capability
	Refuse   map[abi.Capability]string
	Revoke   map[abi.Capability]int // the lease is revoked after so many uses
	Parallel int                    // run as so many at once, each in a world and session of its own
	Differ   bool                   // the replies of all steps differ from each other
	Steps    []Step
	World    *wantWorld // what the world holds at the end
}

// Step is one call and what must come of it. README.md tells the forms of inputs and expectations.
type Step struct {
	Tool     string
	Effects  string
	Session  bool
	Limits   Limits
	Input    json.RawMessage // JSON with the forms expanded; nothing: no bytes
	Text     *string         // instead of Input: these bytes
	Fill     int             // instead of Input: so many bytes of a fixed pattern
	StreamIn *int            // so many bytes of the pattern are streamed in, 10,007 at once
	Take     bool            // the caller takes parts
	Streamed *int            // the bytes of all parts are so many of the pattern
	Sent     json.RawMessage // the JSON parts, as a list
	Want     json.RawMessage // a JSON frame that matches
	Bytes    *string         // a bytes frame that is equal
	Filled   *int            // a bytes frame of so many bytes of the pattern
	Code     []string        // an error with one of these codes
	Message  string          // and these words in its message
	Detail   json.RawMessage // and this detail
}

// Suite is every case, by topic and in the order of its file.
func Suite() ([]Case, error) {
	files, err := fs.Glob(data, "testdata/*.json")
	if err != nil {
		return nil, err
	}
	var all []Case
	for _, name := range files {
		src, err := data.ReadFile(name)
		if err != nil {
			return nil, err
		}
		var cases []Case
		dec := json.NewDecoder(strings.NewReader(string(src)))
		dec.DisallowUnknownFields()
		if err := dec.Decode(&cases); err != nil {
			return nil, fmt.Errorf("read cases %q: %w", name, err)
		}
		for _, c := range cases {
			c.Topic = strings.TrimSuffix(path.Base(name), ".json")
			all = append(all, c)
		}
	}
	return all, nil
}

// Run plays a case; nil when it holds.
func (c *Case) Run(ctx context.Context, p Program) error {
	if c.Parallel <= 1 {
		return c.play(ctx, p, c.Name)
	}
	errs := make([]error, c.Parallel)
	var wg sync.WaitGroup
	for i := range errs {
		wg.Go(func() { errs[i] = c.play(ctx, p, fmt.Sprintf("%s %d", c.Name, i)) })
	}
	wg.Wait()
	for _, err := range errs {
		if err != nil {
			return err
		}
	}
	return nil
}

func (c *Case) play(ctx context.Context, p Program, session string) error {
	w := NewWorld(c.Withhold, c.Refuse)
	w.revoked = maps.Clone(c.Revoke)
	seen := map[string]int{}
	for i := range c.Steps {
		s := &c.Steps[i]
		reply, out, err := s.call(ctx, p, w, session)
		err = s.check(reply, err)
		if err == nil && s.Take {
			err = out.check(s)
		}
		if err != nil {
			return fmt.Errorf("step %d (%s): %w", i+1, s.Tool, err)
		}
		if before, same := seen[string(reply.Body)]; same && c.Differ {
			return fmt.Errorf("steps %d and %d answer the same %.80q, and must not", before+1, i+1, reply.Body)
		}
		seen[string(reply.Body)] = i
	}
	return c.World.check(w)
}

func (s *Step) call(ctx context.Context, p Program, w *World, session string) (Reply, *Out, error) {
	call := Call{Tool: s.Tool, Limits: s.Limits, World: w}
	if s.Session {
		call.Session = session
	}
	for e := abi.Pure; e <= abi.OpenWorld; e++ {
		if e.String() == s.Effects {
			call.Effects = e
		}
	}
	if s.StreamIn != nil {
		call.In = &In{left: Pattern(*s.StreamIn)}
	}
	if s.Take {
		call.Out = &Out{}
	}
	switch {
	case s.Text != nil:
		call.Input = []byte(*s.Text)
	case s.Fill > 0:
		call.Input = Pattern(s.Fill)
	case len(s.Input) > 0:
		v, err := expand(s.Input)
		if err != nil {
			return Reply{}, nil, err
		}
		if call.Input, err = marshal(v); err != nil {
			return Reply{}, nil, err
		}
	}
	ctx, cancel := context.WithTimeout(ctx, time.Minute)
	defer cancel()
	reply, err := p.Call(ctx, call)
	return reply, call.Out, err
}

// Pattern is n bytes whose order shows: a guest that mixes up, cuts or pads gives another.
func Pattern(n int) []byte {
	b := make([]byte, n)
	for i := range b {
		b[i] = byte(i*7 + i>>8)
	}
	return b
}
