package rehearse

import (
	"bytes"
	"fmt"
	"path"
	"strconv"
	"strings"
	"unicode/utf8"

	"github.com/arw-project/arw/abi"
	"github.com/arw-project/arw/manifests"
)

// judge compares one call with what its file expects.
type judge struct {
	*Case
	step   *step
	at     int
	world  *world
	played *played
	update bool
}

func (j *judge) fail(line int, format string, args ...any) {
	j.failDiff(line, "", format, args...)
}

func (j *judge) failDiff(line int, diff, format string, args ...any) {
	j.played.Problems = append(j.played.Problems, Problem{Line: line, What: fmt.Sprintf(format, args...), Diff: diff})
}

// key is the line of a key of this step.
func (j *judge) key(name string) int {
	if j.step.prefix == "" {
		return j.lines.At(name)
	}
	return j.lines.At("step", j.at, name)
}

// outcome compares the answer.
func (j *judge) outcome() {
	p, want := j.played, j.step.code
	for _, what := range j.world.problems {
		j.fail(j.key("tool"), "%s", what)
	}
	j.world.problems = nil
	switch {
	case p.err != nil && want == abi.OK:
		j.fail(j.key("tool"), "%s", failure(p.err))
	case p.err == nil && want != abi.OK:
		j.fail(j.key("error"), "it should fail with %s; it answers %s", want, show(p.body))
	case p.err != nil && abi.CodeOf(p.err) != want:
		j.fail(j.key("error"), "it should fail with %s; %s", want, failure(p.err))
	case p.err != nil && !strings.Contains(p.err.Error(), j.step.Message):
		j.fail(j.key("message"), "the message should contain %q; it is %q", j.step.Message, p.err.Error())
	case p.err == nil:
		j.answer()
	}
}

func (j *judge) answer() {
	if f, ok := j.text.file(j.step.prefix + "output.txt"); ok {
		if !bytes.Equal(j.played.body, f.value()) {
			j.golden(f.name, string(j.played.body), "the answer is another")
		}
		return
	}
	if j.played.kind != abi.FrameJSON {
		if _, ok := j.text.file(j.step.prefix + "output.json"); ok || j.update {
			j.golden(j.step.prefix+"output.txt", string(j.played.body), "it answers with bytes")
		}
		return
	}
	got, err := manifests.CanonicalJSON(j.played.body)
	if err != nil {
		j.fail(j.key("tool"), "the answer is no sound JSON: %v", err)
		return
	}
	f, ok := j.text.file(j.step.prefix + "output.json")
	if !ok && !j.update {
		return
	}
	if ok {
		if want, err := manifests.CanonicalJSON(f.data); err == nil && bytes.Equal(want, got) {
			return
		}
	}
	j.golden(j.step.prefix+"output.json", pretty(got), "the answer is another")
}

// golden is what to do about a file whose content is not what came: replace it when goldens are updated, else complain.
func (j *judge) golden(name, got, what string) {
	if j.update {
		j.text.put(name, []byte(got))
		return
	}
	line, want := 0, ""
	if f, ok := j.text.file(name); ok {
		line, want = f.line, string(f.data)
		if strings.HasSuffix(name, ".json") {
			want = pretty(f.data)
		}
	}
	j.failDiff(line, diff(readable(want), readable(got)), "%s (%s)", what, name)
}

// readable is text as it is and anything else quoted, so that a terminal survives it.
func readable(s string) string {
	if utf8.ValidString(s) && !strings.ContainsFunc(s, func(r rune) bool { return r < ' ' && r != '\n' && r != '\t' }) {
		return s
	}
	return strconv.Quote(s)
}

// traces compares what happened on the way, as far as the file says it.
func (j *judge) traces() {
	for _, t := range []struct {
		name, what string
		lines      []string
	}{
		{"calls", "it calls the host otherwise", j.world.calls}, {"events", "it emits other events", j.world.events}, {"log", "it logs other lines", j.world.log},
	} {
		f, ok := j.text.file(j.step.prefix + t.name)
		if !ok {
			continue
		}
		got := lines(t.lines)
		if got != strings.ReplaceAll(string(f.data), "\r\n", "\n") {
			j.golden(f.name, got, t.what)
		}
	}
}

// streamed compares what the tool streamed out: the bytes joined, and the parts one by one.
func (j *judge) streamed() {
	t := j.played.taken
	if t == nil {
		return // the file asks for nothing, or the call was refused before
	}
	if f, ok := j.text.file(j.step.prefix + "stream.out"); ok {
		if got := t.joined; !bytes.Equal(got, f.data) && !bytes.Equal(got, f.value()) {
			j.golden(f.name, string(got), "it streams other bytes out")
		}
	}
	if f, ok := j.text.file(j.step.prefix + "frames"); ok {
		if got := lines(t.parts); got != strings.ReplaceAll(string(f.data), "\r\n", "\n") {
			j.golden(f.name, got, "it gives other parts")
		}
	}
}

// lines is one text of lines, each ended.
func lines(of []string) string {
	if len(of) == 0 {
		return ""
	}
	return strings.Join(of, "\n") + "\n"
}

// bounds holds the call to the numbers of its file.
func (j *judge) bounds() {
	s, p := j.step, j.played
	if s.MaxGas > 0 && p.Gas > s.MaxGas {
		j.fail(j.key("max_gas"), "it used %d gas, more than max_gas = %d", p.Gas, s.MaxGas)
	}
	if s.MaxMemory > 0 && p.Memory > int64(s.MaxMemory) {
		j.fail(j.key("max_memory"), "it used %d bytes of memory, more than max_memory = %d", p.Memory, int64(s.MaxMemory))
	}
	if s.MaxCalls > 0 && int64(p.HostCalls) > s.MaxCalls {
		j.fail(j.key("max_calls"), "it called the host %d times, more than max_calls = %d", p.HostCalls, s.MaxCalls)
	}
}

// end looks at the world that the last call left.
func (j *judge) end() {
	j.played.Problems = append(j.played.Problems, j.left(j.world)...)
	for _, w := range j.wants {
		f, _ := j.text.file(w.section)
		got, ok := j.value(w)
		switch {
		case !ok && j.update:
		case !ok:
			j.fail(f.line, "%s is not there in the end", strings.TrimPrefix(w.section, "after/"))
			continue
		case w.kind == "fs" && (bytes.Equal(got, f.data) || bytes.Equal(got, f.value())), w.kind == "kv" && bytes.Equal(got, f.value()):
			continue
		case w.kind != "fs":
			if a, err := manifests.CanonicalJSON(got); err == nil {
				if b, err := manifests.CanonicalJSON(f.data); err == nil && bytes.Equal(a, b) {
					continue
				}
				got = []byte(pretty(got))
			}
		}
		j.golden(w.section, string(got), "the world ends otherwise")
	}
}

func (j *judge) value(w want) ([]byte, bool) {
	var v []byte
	var ok bool
	switch w.kind {
	case "kv":
		v, ok = j.world.kv[w.name]
	case "state":
		v, ok = j.world.state[w.name]
	case "fs":
		v, ok = j.world.files[path.Clean("/"+w.name)]
	}
	return v, ok
}
