package strict

import (
	"encoding"
	"fmt"
	"maps"
	"math"
	"reflect"
	"slices"
	"strconv"
	"strings"
	"time"
)

// Unmarshaler is a type that reads a TOML value itself: string, int64, float64, bool, time.Time, []any, map[string]any.
// Its error is shown behind the key, so it says what was expected and what was found and nothing about where.
type Unmarshaler interface {
	UnmarshalTOML(value any) error
}

// decoder fills Go values from a tree and collects what does not fit instead of stopping at it.
type decoder struct {
	lines    *Lines
	problems Problems
}

func (d *decoder) problem(path []any, hint, format string, args ...any) {
	d.problems = append(d.problems, d.lines.Problem(fmt.Sprintf(format, args...), hint, path...))
}

func (d *decoder) mismatch(path []any, want string, value any) {
	d.problem(path, "", "expected %s, found %s", want, Describe(value))
}

var (
	textUnmarshaler = reflect.TypeFor[encoding.TextUnmarshaler]()
	tomlUnmarshaler = reflect.TypeFor[Unmarshaler]()
	timeType        = reflect.TypeFor[time.Time]()
)

func (d *decoder) value(path []any, value any, into reflect.Value) {
	if into.Kind() == reflect.Pointer {
		if into.IsNil() {
			into.Set(reflect.New(into.Type().Elem()))
		}
		into = into.Elem()
	}
	switch pointer := into.Addr(); {
	case pointer.Type().Implements(tomlUnmarshaler):
		if err := pointer.Interface().(Unmarshaler).UnmarshalTOML(value); err != nil {
			d.problem(path, "", "%s", err)
		}
		return
	case into.Type() == timeType:
		d.time(path, value, into)
		return
	case pointer.Type().Implements(textUnmarshaler):
		if text, ok := value.(string); !ok {
			d.mismatch(path, "a string", value)
		} else if err := pointer.Interface().(encoding.TextUnmarshaler).UnmarshalText([]byte(text)); err != nil {
			d.problem(path, "", "%s", err)
		}
		return
	}
	switch into.Kind() {
	case reflect.Struct, reflect.Map:
		if table, ok := value.(map[string]any); !ok {
			d.mismatch(path, "a table", value)
		} else if into.Kind() == reflect.Struct {
			d.table(path, table, into)
		} else {
			d.dictionary(path, table, into)
		}
	case reflect.Slice:
		d.list(path, value, into)
	case reflect.Interface:
		into.Set(reflect.ValueOf(value))
	default:
		d.scalar(path, value, into)
	}
}

func (d *decoder) time(path []any, value any, into reflect.Value) {
	if moment, ok := value.(time.Time); ok {
		into.Set(reflect.ValueOf(moment))
	} else {
		d.mismatch(path, "a date and time such as 2026-01-31T12:00:00Z", value)
	}
}

// table fills a struct: known keys in, unknown keys and missing required ones into the problems.
func (d *decoder) table(path []any, table map[string]any, into reflect.Value) {
	known := fields(into.Type())
	for _, key := range slices.Sorted(maps.Keys(table)) {
		if f, ok := known[key]; ok {
			d.value(below(path, key), table[key], into.FieldByIndex(f.index))
		} else {
			d.problem(below(path, key), didYouMean(key, slices.Sorted(maps.Keys(known))), "unknown key")
		}
	}
	for _, key := range slices.Sorted(maps.Keys(known)) {
		if _, ok := table[key]; !ok && known[key].required {
			d.problem(below(path, key), "", "this key is required")
		}
	}
}

func (d *decoder) dictionary(path []any, table map[string]any, into reflect.Value) {
	into.Set(reflect.MakeMapWithSize(into.Type(), len(table)))
	for _, key := range slices.Sorted(maps.Keys(table)) {
		element := reflect.New(into.Type().Elem()).Elem()
		d.value(below(path, key), table[key], element)
		into.SetMapIndex(reflect.ValueOf(key).Convert(into.Type().Key()), element)
	}
}

func (d *decoder) list(path []any, value any, into reflect.Value) {
	items := reflect.ValueOf(value)
	if items.Kind() != reflect.Slice {
		want := "an array"
		if into.Type().Elem().Kind() == reflect.Struct && len(path) > 0 {
			want = fmt.Sprintf("an array of tables ([[%s]])", Path(path...))
		}
		d.mismatch(path, want, value)
		return
	}
	into.Set(reflect.MakeSlice(into.Type(), items.Len(), items.Len()))
	for i := range items.Len() {
		d.value(below(path, i), items.Index(i).Interface(), into.Index(i))
	}
}

func (d *decoder) scalar(path []any, value any, into reflect.Value) {
	switch kind := into.Kind(); {
	case kind == reflect.String:
		if text, ok := value.(string); ok {
			into.SetString(text)
		} else {
			d.mismatch(path, "a string", value)
		}
	case kind == reflect.Bool:
		if truth, ok := value.(bool); ok {
			into.SetBool(truth)
		} else {
			d.mismatch(path, "true or false", value)
		}
	case into.CanInt() || into.CanUint():
		d.integer(path, value, into)
	case into.CanFloat():
		switch number := value.(type) {
		case float64:
			into.SetFloat(number)
		case int64:
			into.SetFloat(float64(number))
		default:
			d.mismatch(path, "a number", value)
		}
	default:
		panic(fmt.Sprintf("strict: a field of type %s cannot hold TOML", into.Type()))
	}
}

func (d *decoder) integer(path []any, value any, into reflect.Value) {
	number, ok := value.(int64)
	switch {
	case !ok:
		d.mismatch(path, "an integer", value)
	case into.CanInt() && !into.OverflowInt(number):
		into.SetInt(number)
	case into.CanUint() && number >= 0 && !into.OverflowUint(uint64(number)):
		into.SetUint(uint64(number))
	case into.CanUint() && number < 0:
		d.problem(path, "", "expected an integer of at least 0, found %d", number)
	default:
		d.problem(path, "", "the integer %d does not fit in %d bits", number, into.Type().Bits())
	}
}

// below is path with one more part, in memory of its own.
func below(path []any, part any) []any { return append(slices.Clip(path), part) }

type field struct {
	index    []int
	required bool
}

// fields maps the keys of a struct to its fields; those of an untagged embedded struct count as its own.
func fields(t reflect.Type) map[string]field {
	known := map[string]field{}
	for _, f := range reflect.VisibleFields(t) {
		name, options, _ := strings.Cut(f.Tag.Get("toml"), ",")
		if !f.IsExported() || name == "-" || f.Anonymous && name == "" {
			continue
		}
		if name == "" {
			name = strings.ToLower(f.Name)
		}
		known[name] = field{index: f.Index, required: options == "required"}
	}
	return known
}

// Describe names a TOML value as problems do: the integer 42, the string "x", an array, a table.
func Describe(value any) string {
	switch v := value.(type) {
	case string:
		if len(v) > 40 {
			return "a string"
		}
		return "the string " + strconv.Quote(v)
	case int64:
		return fmt.Sprintf("the integer %d", v)
	case float64:
		if math.IsInf(v, 0) || math.IsNaN(v) {
			return "the float " + strings.ToLower(strconv.FormatFloat(v, 'g', -1, 64))
		}
		return "the float " + strconv.FormatFloat(v, 'g', -1, 64)
	case bool:
		return strconv.FormatBool(v)
	case time.Time:
		return "a date or time"
	case []map[string]any:
		return "an array of tables"
	case []any:
		return "an array"
	case map[string]any:
		return "a table"
	}
	return fmt.Sprintf("a %T", value)
}
