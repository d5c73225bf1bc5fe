// Package rehearse calls tools in worlds that are made of data: what a pack does when its key space, its folders, its
// clock and the tools it calls are as a file says, on the real engine and under the tool's real limits. Its promise: the
// same file, module and manifest give the same answer and the same gas everywhere, and nothing outside of the file's
// world is reached.
//
// The format of the files is docs/spec/pack-tests.md. A Stage is safe for concurrent use; a Case is not.
package rehearse

import (
	"fmt"
	"path"
	"slices"
	"strconv"
	"strings"

	"github.com/arw-project/arw/abi"
	"github.com/arw-project/arw/manifests"
	"github.com/arw-project/arw/manifests/strict"
)

// Case is one file of cases: a world and the calls that are made in it, one after another.
type Case struct {
	Name  string
	file  string
	text  *archive
	lines *strict.Lines
	head  rawCase
	steps []step
	kv    map[string][]byte
	state map[string][]byte
	files map[string][]byte
	wants []want

	models []modelAnswer
}

// step is one call and what is expected of it.
type step struct {
	rawStep
	prefix string // of its files in the archive: "" or "2/"
	input  []byte
	stream *given   // what the caller streams in; nil: nothing
	takes  bool     // the caller takes what the tool streams out
	keeps  bool     // and its bytes are looked at
	code   abi.Code // OK: the tool answers
}

// want is a file that must be there in the end.
type want struct{ kind, name, section string }

// The head as it is written.
type rawCase struct {
	Title string `toml:"title"`
	rawStep
	Steps     []rawStep     `toml:"step"`
	World     rawWorld      `toml:"world"`
	Refuse    []rawRefuse   `toml:"refuse"`
	Answers   []rawAnswer   `toml:"answer"`
	Responses []rawResponse `toml:"response"`
	Models    []rawModel    `toml:"model"`
}

type rawStep struct {
	Tool      string      `toml:"tool"`
	Error     string      `toml:"error"`
	Message   string      `toml:"message"`
	Session   string      `toml:"session"`
	MaxGas    uint64      `toml:"max_gas"`
	MaxMemory strict.Size `toml:"max_memory"`
	MaxCalls  int64       `toml:"max_calls"`

	StreamBase64 string      `toml:"stream_base64"`
	StreamTimes  int64       `toml:"stream_times"`
	StreamPiece  strict.Size `toml:"stream_piece"`
	Take         bool        `toml:"take"`
}

// ParseCase reads a file of cases for a pack. The error is Invalid, with every problem and its line.
func ParseCase(file string, src []byte, man *manifests.Pack) (*Case, error) {
	text, err := parseArchive(src)
	if err != nil {
		return nil, abi.Errorf(abi.Invalid, "read cases: %s:%w", file, err)
	}
	c := &Case{file: file, text: text, Name: strings.TrimSuffix(path.Base(file), path.Ext(file)),
		kv: map[string][]byte{}, state: map[string][]byte{}, files: map[string][]byte{}}
	lines, err := strict.Decode(file, text.head, &c.head)
	problems, ok := err.(strict.Problems)
	if err != nil && !ok {
		return nil, abi.Errorf(abi.Internal, "read cases %q: %w", file, err)
	}
	if lines != nil {
		c.lines = lines
		k := &checker{Case: c, man: man, problems: problems}
		k.check()
		problems = k.problems
	}
	if err := problems.Err(); err != nil {
		return nil, abi.Errorf(abi.Invalid, "read cases:\n%w", err).WithDetail(err).WithHint("docs/spec/pack-tests.md describes the format")
	}
	return c, nil
}

// checker collects what is wrong with the meaning of a file.
type checker struct {
	*Case
	man      *manifests.Pack
	problems strict.Problems
}

func (k *checker) bad(hint string, where []any, format string, args ...any) {
	k.problems = append(k.problems, k.lines.Problem(fmt.Sprintf(format, args...), hint, where...))
}

// badFile complains about a file of the archive.
func (k *checker) badFile(s *section, hint, format string, args ...any) {
	k.problems = append(k.problems, strict.Problem{File: k.file, Line: s.line, Key: s.name, Msg: fmt.Sprintf(format, args...), Hint: hint})
}

func (k *checker) check() {
	k.stepList()
	k.world()
	k.refusals()
	k.answers()
	k.responses()
	k.modelAnswers()
	for i := range k.text.files {
		k.place(&k.text.files[i])
	}
	for i := range k.steps {
		k.inputOf(&k.steps[i])
		k.streamsOf(&k.steps[i], i)
	}
}

func (k *checker) stepList() {
	switch {
	case len(k.head.Steps) == 0 && k.head.Tool == "":
		k.bad(`add tool = "…", or [[step]] tables with one each`, []any{"tool"}, "no call is described")
	case len(k.head.Steps) > 0 && k.head.rawStep != (rawStep{}):
		k.bad("move it into the steps", []any{"step"}, "there are steps, and keys of a single call above them")
	case len(k.head.Steps) == 0:
		k.steps = []step{{rawStep: k.head.rawStep}}
	}
	for i, raw := range k.head.Steps {
		k.steps = append(k.steps, step{rawStep: raw, prefix: strconv.Itoa(i+1) + "/"})
	}
	for i := range k.steps {
		k.step(&k.steps[i], i)
	}
}

// at is where a key of the step stands.
func (s *step) at(i int, key string) []any {
	if s.prefix == "" {
		return []any{key}
	}
	return []any{"step", i, key}
}

func (k *checker) step(s *step, i int) {
	at := func(key string) []any { return s.at(i, key) }
	t, known := k.man.Tool(s.Tool)
	switch {
	case s.Tool == "" && s.prefix != "":
		k.bad("", at("tool"), "the tool is missing")
	case s.Tool != "" && !known:
		k.bad("the tools are "+toolNames(k.man), at("tool"), "the pack has no tool %q", s.Tool)
	case known && s.Session != "" && t.Isolation != "session":
		k.bad(`leave it out, or set isolation = "session" in pack.toml`, at("session"), "%q keeps no sessions", s.Tool)
	}
	if s.Message != "" && s.Error == "" {
		k.bad("add error = \"…\"", at("message"), "a message is expected but no error")
	}
	if s.Error != "" {
		s.code = k.code(s.Error, at("error"))
	}
	if s.MaxCalls < 0 {
		k.bad("", at("max_calls"), "it is negative")
	}
}

func (k *checker) code(word string, where []any) abi.Code {
	c, ok := abi.CodeByName(word)
	if !ok || c == abi.OK || c == abi.More {
		k.bad("docs/spec/errors.md lists them", where, "%q is no code of an error", word)
		return abi.ToolFailed
	}
	return c
}

// stepFiles are those that belong to one call.
var stepFiles = []string{"input.json", "input.txt", "output.json", "output.txt", "calls", "events", "log", "stream.in", "stream.out", "frames"}

// place puts a file of the archive where it belongs.
func (k *checker) place(s *section) {
	folder, rest, _ := strings.Cut(s.name, "/")
	switch {
	case slices.ContainsFunc(k.steps, func(p step) bool {
		return slices.Contains(stepFiles, strings.TrimPrefix(s.name, p.prefix)) && strings.HasPrefix(s.name, p.prefix)
	}):
	case folder == "kv" && rest != "":
		if _, twice := k.kv[rest]; twice {
			k.badFile(s, "", "the key is in the head too")
		}
		k.kv[rest] = s.value()
	case folder == "state" && strings.HasSuffix(rest, ".json"):
		k.state[strings.TrimSuffix(rest, ".json")] = k.json(s)
	case folder == "fs" && rest != "":
		if _, twice := k.files[path.Clean("/"+rest)]; twice {
			k.badFile(s, "", "the file is there already")
		}
		k.files[path.Clean("/"+rest)] = slices.Clone(s.data)
	case folder == "after":
		k.after(s, rest)
	default:
		k.badFile(s, "files are "+strings.Join(stepFiles, ", ")+" (behind N/ where there are steps), kv/KEY, state/NAME.json, fs/PATH and after/…", "this file has no meaning here")
	}
}

func (k *checker) after(s *section, name string) {
	kind, rest, _ := strings.Cut(name, "/")
	switch {
	case rest == "":
	case kind == "kv", kind == "fs":
		k.wants = append(k.wants, want{kind, rest, s.name})
		return
	case kind == "state" && strings.HasSuffix(rest, ".json"):
		k.wants = append(k.wants, want{kind, strings.TrimSuffix(rest, ".json"), s.name})
		return
	}
	k.badFile(s, "write after/kv/KEY, after/fs/PATH or after/state/NAME.json", "this file has no meaning here")
}

func (k *checker) json(s *section) []byte {
	doc, err := manifests.CanonicalJSON(s.data)
	if err != nil {
		k.badFile(s, "", "%v", err)
	}
	return doc
}

func (k *checker) inputOf(s *step) {
	asJSON, hasJSON := k.text.file(s.prefix + "input.json")
	asText, hasText := k.text.file(s.prefix + "input.txt")
	switch {
	case hasJSON && hasText:
		k.badFile(asText, "keep one of the two", "there is an input.json too")
	case hasJSON:
		s.input = k.json(asJSON)
	case hasText:
		s.input = asText.value()
	default:
		s.input = []byte("{}")
	}
	if s.code == abi.OK {
		return
	}
	for _, name := range []string{"output.json", "output.txt"} {
		if f, ok := k.text.file(s.prefix + name); ok {
			k.badFile(f, "keep one of the two", "an output is expected, and an error too")
		}
	}
}

func toolNames(man *manifests.Pack) string {
	var names []string
	for _, t := range man.Tools {
		names = append(names, t.ID)
	}
	return strings.Join(names, ", ")
}

func capabilityNames(man *manifests.Pack) string {
	var names []string
	for _, c := range man.Capabilities {
		names = append(names, string(c.Name))
	}
	if len(names) == 0 {
		return "nothing"
	}
	return strings.Join(names, ", ")
}

func knownFunction(name string) bool {
	return slices.ContainsFunc(abi.Functions, func(f abi.Func) bool {
		return f.Capability != abi.IO && (name == string(f.Capability) || name == string(f.Capability)+"."+f.Name)
	})
}
