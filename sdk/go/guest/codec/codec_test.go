package codec_test

import (
	"bytes"
	"encoding/json"
	"math"
	"math/rand/v2"
	"reflect"
	"strings"
	"testing"
	"time"

	"github.com/arw-project/arw/sdk/go/guest/codec"
)

type inner struct {
	X int    `json:"x"`
	Y string `json:"y,omitempty"`
}

type Base struct {
	ID   string `json:"id"`
	Kind string
	Hide int `json:"-"`
}

type Deep struct {
	Base
	Level int8 `json:"level"`
}

type name string

// all has every kind of thing that the codec takes.
type all struct {
	*Deep
	inner
	Kind   string             `json:"kind,omitempty"`
	B      bool               `json:"b"`
	I      int                `json:"i"`
	I8     int8               `json:"i8,omitempty"`
	I16    int16              `json:"i16"`
	I32    int32              `json:"i32"`
	I64    int64              `json:"i64"`
	U      uint               `json:"u"`
	U8     uint8              `json:"u8"`
	U16    uint16             `json:"u16,omitempty"`
	U32    uint32             `json:"u32"`
	U64    uint64             `json:"u64"`
	F32    float32            `json:"f32"`
	F64    float64            `json:"f64,omitempty"`
	S      string             `json:"s"`
	N      name               `json:"n,omitempty"`
	Bytes  []byte             `json:"bytes"`
	Time   time.Time          `json:"time"`
	Zero   time.Time          `json:"zero,omitzero"`
	ZeroP  *time.Time         `json:"zerop,omitzero"`
	Raw    codec.Raw          `json:"raw"`
	RawE   codec.Raw          `json:"rawe,omitempty"`
	Std    json.RawMessage    `json:"std"`
	Any    any                `json:"any"`
	AnyE   any                `json:"anye,omitempty"`
	Ptr    *int               `json:"ptr"`
	PtrS   **inner            `json:"ptrs,omitempty"`
	List   []int              `json:"list"`
	Names  []name             `json:"names,omitempty"`
	Inners []inner            `json:"inners"`
	Ptrs   []*inner           `json:"ptrs2"`
	Arr    [3]int             `json:"arr"`
	ArrS   [2]string          `json:"arrs,omitempty"`
	Map    map[string]inner   `json:"map"`
	MapE   map[name][]float64 `json:"mape,omitempty"`
	Self   *all               `json:"self,omitempty"`
	Nested []map[string][]any `json:"nested"`
	Quote  string             `json:"a\"b,omitempty"` // not a valid name: the field's own is used
	Odd    int                `json:"ö/~,omitempty"`
}

// check decodes with both, compares, and where it worked encodes with both and compares.
func check[T any](t *testing.T, c *codec.Codec[T], data []byte) {
	t.Helper()
	var ours, theirs T
	err := c.Decode(bytes.Clone(data), &ours)
	if err != nil && strings.Contains(err.Error(), "nested deeper") {
		return
	}
	theirErr := json.Unmarshal(data, &theirs)
	if (err == nil) != (theirErr == nil) {
		t.Fatalf("decode %s into %T: %v; encoding/json says %v", data, ours, err, theirErr)
	}
	if err != nil {
		return
	}
	if !reflect.DeepEqual(ours, theirs) {
		t.Fatalf("decode %s:\n got %+v\nwant %+v", data, ours, theirs)
	}
	compareEncoding(t, c, &ours)
}

func compareEncoding[T any](t *testing.T, c *codec.Codec[T], v *T) {
	t.Helper()
	got, err := c.Append([]byte("head"), v)
	var want bytes.Buffer
	want.WriteString("head")
	enc := json.NewEncoder(&want)
	enc.SetEscapeHTML(false)
	wantErr := enc.Encode(v)
	if (err == nil) != (wantErr == nil) {
		t.Fatalf("encode %+v: %v; encoding/json says %v", *v, err, wantErr)
	}
	if w := strings.TrimSuffix(want.String(), "\n"); err == nil && string(got) != w {
		t.Fatalf("encode:\n got %s\nwant %s", got, w)
	}
	if err != nil && string(got) != "head" {
		t.Fatalf("after the error %v the destination is %q", err, got)
	}
}

var (
	allJSON = codec.For[all]()
	anyJSON = codec.For[any]()
)

// documents are the seeds of the comparison and of the fuzzer.
var documents = []string{
	`null`, `{}`, `[]`, ` { } `, `true`, `12`, `"x"`, ``, `{`, `{"s"`, `{"s":}`, `{"s":"a",}`, `[1,]`, `{"s":"a"}x`, `{"s" : "a" , "i":7}`,
	`{"i":1.0}`, `{"i":1e2}`, `{"i":-0}`, `{"u":-0}`, `{"u":-1}`, `{"i":01}`, `{"i":-}`, `{"i":9223372036854775807}`, `{"i":9223372036854775808}`,
	`{"i":-9223372036854775808}`, `{"i8":127}`, `{"i8":128}`, `{"i8":-129}`, `{"u8":255}`, `{"u8":256}`, `{"u64":18446744073709551615}`,
	`{"u64":18446744073709551616}`, `{"i32":2147483648}`, `{"i":123456789012345678}`, `{"i":1234567890123456789}`, `{"i":1E}`, `{"i":1.}`,
	`{"f64":1e400}`, `{"f32":1e39}`, `{"f32":3.4028235e38}`, `{"f64":1e21,"f32":1e-7}`, `{"f64":0.000001,"f32":16777217}`, `{"f64":-0}`, `{"f64":1.5E+3}`,
	`{"s":"\u00e9\ud83d\ude00\"\\\/\b\f\n\r\t"}`, `{"s":"\ud800"}`, `{"s":"\ud800\u0041"}`, `{"s":"\udc00\ud800"}`, `{"s":"\ud800\ud83d\ude00"}`, `{"s":"\u12"}`, `{"s":"\x"}`,
	"{\"s\":\"a\x01\"}", "{\"s\":\"\xff\xfe ok \xc3\"}", "{\"s\":\"\xed\xa0\x80\"}", "{\"s\":\"plain text of more than eight bytes \xff and then some\"}",
	`{"s":"<a href='x'>&</a>\u2028\u2029"}`, "{\"s\":\"\u2028é漢字\U0001F600\x7f\"}", `{"s":null,"b":null,"i":null,"f64":null,"time":null,"arr":null}`,
	`{"bytes":"AQID"}`, `{"bytes":"AQI="}`, `{"bytes":"AQI"}`, `{"bytes":""}`, `{"bytes":[1,2,255]}`, `{"bytes":[256]}`, `{"bytes":null}`, `{"bytes":"AQ\nID"}`,
	`{"time":"2026-11-24T03:04:05.678Z"}`, `{"time":"2026-11-24T03:04:05+01:00"}`, `{"time":"yesterday"}`, `{"time":7}`, `{"time":"\u0032026-11-24T03:04:05Z"}`,
	`{"zero":"2026-11-24T03:04:05Z","zerop":"0001-01-01T00:00:00Z"}`,
	`{"raw":{"a" : [ 1 , "x y\" " , null ] }}`, `{"raw":null,"rawe":null}`, `{"raw":"a\\","std":[ {} ]}`, `{"raw":[1,}`, `{"std":"\ud800"}`,
	`{"any":{"a":[1,2.5,"x",true,null,{"b":{}}],"c":[]}}`, `{"any":1e999}`, `{"any":"\u0000"}`, `{"any":[`, `{"any":nul}`, `{"any":tru}`,
	`{"ptr":5,"ptrs":{"x":1}}`, `{"ptr":null,"ptrs":null}`, `{"ptr":5,"ptr":null}`, `{"list":[1,2,3,4,5,6,7,8,9]}`, `{"list":[]}`, `{"list":null}`, `{"list":[1,null,2]}`, `{"list":[1,"x"]}`, `{"list":{}}`,
	`{"list":[1,2,3],"list":[4],"list":[null,null]}`, `{"inners":[{"x":1,"y":"a"}],"inners":[{"x":2}]}`, `{"ptrs2":[{"x":1},null],"ptrs2":[{"y":"z"}]}`,
	`{"arr":[1,2,3,4,"x"]}`, `{"arr":[1]}`, `{"arr":[1,2,3],"arr":[9]}`, `{"arrs":["a"]}`, `{"arr":{}}`,
	`{"map":{"b":{"x":1},"a":{"y":"q"}}}`, `{"map":{"a":{"x":1},"a":{"y":"z"}}}`, `{"map":{}}`, `{"map":null}`, `{"map":[]}`, `{"mape":{"k":[1.5]}}`, `{"map":{"a":1}}`, `{"map":{"a\u0000<":{}}}`,
	`{"id":"embedded","Kind":"k","kind":"K2","level":3,"x":4,"y":"Y"}`, `{"KIND":"folded","S":"upper","\u017f":"long s","LIST":[1]}`, `{"level":"x"}`,
	`{"Hide":3,"-":4,"unknown":{"deep":[1,{"a":"\ud83d"}],"b":-1.5e-3},"s":"after"}`, `{"unknown":[1,2`, `{"unknown":"\q"}`, `{"unknown":01}`, `{"unknown":{"a" 1}}`, `{"unknown":{1:2}}`,
	`{"self":{"self":{"s":"deep"}}}`, `{"nested":[{"a":[1,"b"]},null]}`, `{"Quote":"q","ö/~":5}`, "\ufeff{}", "{\"s\":\"a\"}\x00", `{"s":"a"}` + "\v", `[{"s":"a"}]`,
}

func TestDecodesAndEncodesAsEncodingJSONDoes(t *testing.T) {
	t.Parallel()
	for _, doc := range documents {
		check(t, allJSON, []byte(doc))
		check(t, anyJSON, []byte(doc))
		check(t, codec.For[[]inner](), []byte(doc))
		check(t, codec.For[map[string]codec.Raw](), []byte(doc))
		check(t, codec.For[*string](), []byte(doc))
	}
}

func FuzzDecode(f *testing.F) {
	for _, doc := range documents {
		f.Add([]byte(doc))
	}
	f.Fuzz(func(t *testing.T, data []byte) {
		check(t, allJSON, data)
		check(t, anyJSON, data)
		if codec.Valid(data) != json.Valid(data) && bytes.Count(data, []byte("["))+bytes.Count(data, []byte("{")) < codec.MaxDepth {
			t.Fatalf("Valid(%q) = %v", data, codec.Valid(data))
		}
	})
}

// TestEncodesRandomValues compares values that no JSON text would lead to.
func TestEncodesRandomValues(t *testing.T) {
	t.Parallel()
	r := rand.New(rand.NewPCG(1, 2))
	for range 2000 {
		v := randomAll(r, 2)
		compareEncoding(t, allJSON, v)
		data, err := json.Marshal(v)
		if err != nil {
			continue
		}
		check(t, allJSON, data)
	}
	for _, f := range []float64{math.NaN(), math.Inf(1), 1e-7, 1e20, 1e21, math.MaxFloat64, math.SmallestNonzeroFloat64, math.Copysign(0, -1), 1.0 / 3} {
		compareEncoding(t, allJSON, &all{F64: f, F32: float32(f), Any: f})
	}
	for _, v := range []any{uint8(3), int64(-5), []string{"a"}, map[string]int{"b": 1, "a": 2}, &inner{X: 1}, inner{}, name("n"), time.Unix(0, 0).UTC(), codec.Raw(`[1]`), []any{nil}, (*inner)(nil)} {
		compareEncoding(t, anyJSON, &v)
	}
}

func randomAll(r *rand.Rand, depth int) *all {
	pick := func() bool { return r.IntN(2) == 0 }
	text := func() string {
		var b []byte
		for range r.IntN(30) {
			b = append(b, []string{"a", "b c", "\"", "\\", "\n", "\x00", "é", "漢", "😀", "\xff", "\u2028", "<&>", "plain ascii text", "\x7f"}[r.IntN(14)]...)
		}
		return string(b)
	}
	v := &all{
		Kind: text(), B: pick(), I: int(r.Int64()), I8: int8(r.Int()), I16: int16(r.Int()), I32: int32(r.Int()), I64: -r.Int64(),
		U: uint(r.Uint64()), U8: uint8(r.Uint32()), U16: uint16(r.IntN(2)), U32: r.Uint32(), U64: r.Uint64(),
		F32: float32(r.NormFloat64() * math.Pow(10, float64(r.IntN(60)-30))), F64: r.NormFloat64() * math.Pow(10, float64(r.IntN(80)-40)),
		S: text(), N: name(text()), Time: time.Unix(r.Int64N(1<<34), r.Int64N(1e9)).UTC(), List: []int{}, Arr: [3]int{r.IntN(9)},
	}
	if pick() {
		v.Deep = &Deep{Base: Base{ID: text(), Kind: text()}, Level: int8(r.Int())}
		v.Bytes, v.Raw, v.Std = []byte(text()), codec.Raw(` {"a" : "\" \\" } `), json.RawMessage(`[ 1 ]`)
		v.Map = map[string]inner{text(): {X: 1}, text(): {Y: text()}, "": {}}
		v.MapE = map[name][]float64{"x": {1, 2.5}, "w": nil}
		p := &v.inner
		v.PtrS, v.Ptr = &p, &v.I
		v.Inners, v.Ptrs = []inner{{1, text()}, {}}, []*inner{nil, p}
		v.Any = map[string]any{"k": []any{1.5, text(), nil, true}, text(): map[string]any{}}
		v.Nested = []map[string][]any{nil, {"a": {text()}}}
		at := v.Time.Add(time.Hour)
		v.ZeroP = &at
	}
	if depth > 0 && pick() {
		v.Self = randomAll(r, depth-1)
	}
	return v
}

func TestErrorsNameThePlace(t *testing.T) {
	t.Parallel()
	for _, tc := range []struct{ name, doc, pointer, msg string }{
		{"a member", `{"i":"x"}`, "/i", "expected an integer, found a string"},
		{"deep inside", `{"self":{"inners":[{"x":1},{"x":true}]}}`, "/self/inners/1/x", "expected an integer, found a boolean"},
		{"a map's key, escaped", `{"map":{"a/b~c":{"x":[]}}}`, "/map/a~1b~0c/x", "expected an integer, found an array"},
		{"out of range", `{"u8":300}`, "/u8", "300 is outside the range of uint8"},
		{"a fraction", `{"i":1.5}`, "/i", "expected an integer, found 1.5"},
		{"the end", `{"list":[1,2`, "/list", "the document ends"},
		{"a broken time", `{"time":"soon"}`, "/time", `expected a time as in RFC 3339, found "soon"`},
		{"inside what is skipped", `{"nobody":[1,{"a":tru}]}`, "/nobody", "expected a JSON value, found 't'"},
		{"the whole document", `[]`, "", "expected an object, found an array"},
		{"behind the document", `{} {}`, "", "expected the end of the document, found '{'"},
		{"any", `{"any":{"a":[0,1e999]}}`, "/any/a/1", "outside the range"},
	} {
		t.Run(tc.name, func(t *testing.T) {
			t.Parallel()
			var v all
			err := allJSON.Decode([]byte(tc.doc), &v)
			e, ok := err.(*codec.Error)
			if !ok || e.Pointer != tc.pointer || !strings.Contains(e.Error(), tc.msg) {
				t.Errorf("got %v, want %q at %q", err, tc.msg, tc.pointer)
			}
		})
	}
	_, err := allJSON.Append(nil, &all{Inners: []inner{}, Any: map[string]any{"k": []any{1, math.NaN()}}})
	if e, ok := err.(*codec.Error); !ok || e.Pointer != "/any/k/1" {
		t.Errorf("encoding a NaN: %v", err)
	}
}

func TestNestingIsBounded(t *testing.T) {
	t.Parallel()
	doc := []byte(strings.Repeat("[", 1e6))
	var v any
	if err := anyJSON.Decode(doc, &v); err == nil || !strings.Contains(err.Error(), "nested deeper than 1000") {
		t.Errorf("decode: %.200v", err)
	}
	if codec.Valid(doc) {
		t.Error("a million open brackets are valid")
	}
	deep := []byte(strings.Repeat("[", codec.MaxDepth) + strings.Repeat("]", codec.MaxDepth))
	if err := anyJSON.Decode(deep, &v); err != nil {
		t.Errorf("as deep as allowed: %.200v", err)
	}
	loop := &all{}
	loop.Self = loop
	if _, err := allJSON.Append(nil, loop); err == nil || !strings.Contains(err.Error(), "nested deeper") {
		t.Errorf("encode a cycle: %.200v", err)
	}
}

type stringer struct{}

func (stringer) MarshalText() ([]byte, error) { return nil, nil }

type hidden struct{ A int }

func TestTypesWithoutJSONFormPanicAtOnce(t *testing.T) {
	t.Parallel()
	for _, tc := range []struct {
		name string
		make func()
		want string
	}{
		{"a function", func() { codec.For[struct{ F func() }]() }, "F: func() has no JSON form"},
		{"a channel in a list", func() { codec.For[struct{ L []chan int }]() }, "L[]: chan int has no JSON form"},
		{"an interface", func() { codec.For[struct{ E error }]() }, "only any is"},
		{"a map with numbers as keys", func() { codec.For[map[int]string]() }, "keys of a map must be plain strings"},
		{"a map with text of its own", func() { codec.For[map[stringer]string]() }, "keys of a map"},
		{"a type with text of its own", func() { codec.For[[]stringer]() }, "has a JSON form of its own"},
		{"json.Number", func() { codec.For[json.Number]() }, "json.Number is not supported"},
		{"the string option", func() {
			codec.For[struct {
				A int `json:",string"`
			}]()
		}, `",string"`},
		{"an unexported embedded pointer", func() { codec.For[struct{ *hidden }]() }, "could never be set"},
		{"a complex number", func() { codec.For[complex128]() }, "complex128 has no JSON form"},
	} {
		t.Run(tc.name, func(t *testing.T) {
			t.Parallel()
			defer func() {
				if r, _ := recover().(string); !strings.Contains(r, tc.want) {
					t.Errorf("panic %q does not say %q", r, tc.want)
				}
			}()
			tc.make()
		})
	}
	if _, err := codec.AppendAny(nil, map[string]any{"f": func() {}}); err == nil || !strings.Contains(err.Error(), `at "/f"`) {
		t.Errorf("a function inside an any: %v", err)
	}
}

func TestDecodeAnyWantsAPointer(t *testing.T) {
	t.Parallel()
	var v inner
	if err := codec.DecodeAny([]byte(`{"x":3}`), &v); err != nil || v.X != 3 {
		t.Errorf("%v, %v", v, err)
	}
	for _, into := range []any{v, nil, (*inner)(nil), new(chan int)} {
		if err := codec.DecodeAny([]byte(`{}`), into); err == nil {
			t.Errorf("decoding into %T works", into)
		}
	}
}

func TestDecodedStringsShareTheInput(t *testing.T) {
	data := []byte(`{"s":"a string of some length"}`)
	v := struct {
		S string `json:"s"`
	}{}
	c := codec.For[struct {
		S string `json:"s"`
	}]()
	if n := testing.AllocsPerRun(100, func() { _ = c.Decode(data, &v) }); n > 1 {
		t.Errorf("%v allocations", n)
	}
}
