package abitest

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strings"

	"github.com/arw-project/arw/abi"
)

// check holds what came of a step against what it wants.
func (s *Step) check(r Reply, err error) error {
	if len(s.Code) > 0 {
		return s.checkError(r, err)
	}
	if err != nil {
		return fmt.Errorf("it failed with %s: %w", abi.CodeOf(err), err)
	}
	switch {
	case s.Bytes != nil:
		return sameBytes(r, []byte(*s.Bytes))
	case s.Filled != nil:
		return sameBytes(r, Pattern(*s.Filled))
	case len(s.Want) == 0:
		return nil
	case r.Kind != abi.FrameJSON:
		return fmt.Errorf("it answered with a frame of kind %d, not JSON", r.Kind)
	}
	want, err := expand(s.Want)
	if err != nil {
		return err
	}
	got, err := decode(r.Body)
	if err != nil {
		return fmt.Errorf("its reply is not JSON: %w: %.200q", err, r.Body)
	}
	return match("", got, want)
}

func (s *Step) checkError(r Reply, err error) error {
	if err == nil {
		return fmt.Errorf("it answered %.200q, and must fail with %s", r.Body, strings.Join(s.Code, " or "))
	}
	if code := abi.CodeOf(err).String(); !slices.Contains(s.Code, code) {
		return fmt.Errorf("it failed with %s (%w), and must with %s", code, err, strings.Join(s.Code, " or "))
	}
	if !strings.Contains(err.Error(), s.Message) {
		return fmt.Errorf("its message is %q, and must hold %q", err, s.Message)
	}
	if len(s.Detail) == 0 {
		return nil
	}
	e, ok := errors.AsType[*abi.Error](err)
	for inner := e; ok; { // a runner may have put words of its own around it
		e = inner
		inner, ok = errors.AsType[*abi.Error](e.Err)
	}
	raw, _ := e.Detail.(json.RawMessage)
	got, gotErr := decode(raw)
	want, wantErr := expand(s.Detail)
	if err := errors.Join(gotErr, wantErr); err != nil {
		return fmt.Errorf("its detail is no JSON: %w", err)
	}
	return match("detail", got, want)
}

func sameBytes(r Reply, want []byte) error {
	switch {
	case r.Kind != abi.FrameBytes:
		return fmt.Errorf("it answered with a frame of kind %d, not bytes", r.Kind)
	case !bytes.Equal(r.Body, want):
		at := 0
		for at < min(len(want), len(r.Body)) && r.Body[at] == want[at] {
			at++
		}
		return fmt.Errorf("it answered %d bytes, want %d; they part at %d", len(r.Body), len(want), at)
	}
	return nil
}

// match holds a decoded value against an expectation: "*" is anything, "~x" a text with x in it, a text under the key
// "code" the name of a code; numbers are equal when their values are.
func match(at string, got, want any) error {
	switch w := want.(type) {
	case string:
		g, isText := got.(string)
		switch {
		case w == "*":
			return nil
		case strings.HasPrefix(w, "~") && isText && strings.Contains(g, w[1:]):
			return nil
		case strings.HasSuffix(at, "/code") && !isText:
			if code, ok := abi.CodeByName(w); ok && sameNumber(got, json.Number(fmt.Sprint(uint32(code)))) {
				return nil
			}
		case g == w && isText:
			return nil
		}
	case json.Number:
		if sameNumber(got, w) {
			return nil
		}
	case []any:
		g, ok := got.([]any)
		if ok && len(g) == len(w) {
			for i := range w {
				if err := match(fmt.Sprintf("%s/%d", at, i), g[i], w[i]); err != nil {
					return err
				}
			}
			return nil
		}
	case map[string]any:
		if g, ok := got.(map[string]any); ok {
			return matchObject(at, g, w)
		}
	default:
		if got == want {
			return nil
		}
	}
	return fmt.Errorf("at %q it answered %s, want %s", at, short(got), short(want))
}

func matchObject(at string, got, want map[string]any) error {
	for key, w := range want {
		g, ok := got[key]
		if !ok {
			return fmt.Errorf("at %q its answer lacks %q: %s", at, key, short(got))
		}
		if err := match(at+"/"+key, g, w); err != nil {
			return err
		}
	}
	for key := range got {
		if _, ok := want[key]; !ok {
			return fmt.Errorf("at %q its answer has %q, which nobody asked for: %s", at, key, short(got))
		}
	}
	return nil
}

// sameNumber compares texts first, so that an integer beyond 2^53 must come back digit by digit when it is asked for.
func sameNumber(got any, want json.Number) bool {
	g, ok := got.(json.Number)
	if !ok {
		return false
	}
	if g == want {
		return true
	}
	if _, err := want.Int64(); err == nil && len(want) > 15 {
		return false
	}
	a, errA := g.Float64()
	b, errB := want.Float64()
	return errA == nil && errB == nil && a == b
}

func decode(src []byte) (any, error) {
	dec := json.NewDecoder(bytes.NewReader(src))
	dec.UseNumber()
	var v any
	if err := dec.Decode(&v); err != nil {
		return nil, err
	}
	if dec.More() {
		return nil, fmt.Errorf("something follows the value")
	}
	return v, nil
}

func marshal(v any) ([]byte, error) {
	var b bytes.Buffer
	enc := json.NewEncoder(&b)
	enc.SetEscapeHTML(false)
	err := enc.Encode(v)
	return bytes.TrimSuffix(b.Bytes(), []byte("\n")), err
}

// expand reads JSON in which {"$repeat": ["x", n]} stands for a long text, {"$nest": n} for n arrays in each other and
// {"$list": [v, n]} for an array of n times v.
func expand(src []byte) (any, error) {
	v, err := decode(src)
	if err != nil {
		return nil, err
	}
	return grow(v)
}

func grow(v any) (any, error) {
	switch v := v.(type) {
	case []any:
		for i := range v {
			var err error
			if v[i], err = grow(v[i]); err != nil {
				return nil, err
			}
		}
	case map[string]any:
		for key := range v {
			if len(v) == 1 && strings.HasPrefix(key, "$") {
				return form(key, v[key])
			}
			var err error
			if v[key], err = grow(v[key]); err != nil {
				return nil, err
			}
		}
	}
	return v, nil
}

func form(name string, arg any) (any, error) {
	list, _ := arg.([]any)
	count := func(v any) int {
		n, _ := v.(json.Number)
		i, _ := n.Int64()
		return int(i)
	}
	switch {
	case name == "$repeat" && len(list) == 2:
		text, _ := list[0].(string)
		return strings.Repeat(text, count(list[1])), nil
	case name == "$list" && len(list) == 2:
		return slices.Repeat([]any{list[0]}, count(list[1])), nil
	case name == "$nest":
		v := any([]any{})
		for range count(arg) - 1 {
			v = []any{v}
		}
		return v, nil
	}
	return nil, fmt.Errorf("a case uses the form %q with %s", name, short(arg))
}

func short(v any) string {
	b, _ := marshal(v)
	if len(b) > 300 {
		return fmt.Sprintf("%s… (%d bytes)", b[:300], len(b))
	}
	return string(b)
}
