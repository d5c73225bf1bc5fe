package manifests

import (
	"cmp"
	"fmt"
	"math/big"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"unicode/utf8"

	"github.com/santhosh-tekuri/jsonschema/v6"
	"github.com/santhosh-tekuri/jsonschema/v6/kind"

	"github.com/arw-project/arw/abi"
)

// maxFaults is how many faults a message lists.
const maxFaults = 5

// Fault is one place where a document does not fit a schema.
type Fault struct {
	Pointer string `json:"pointer"` // JSON pointer (RFC 6901); "" is the whole document
	Msg     string `json:"msg"`
}

// String is the pointer and the message; the whole document is written as (root).
func (f Fault) String() string {
	if f.Pointer == "" {
		return "(root): " + f.Msg
	}
	return f.Pointer + ": " + f.Msg
}

// Misfit is the Detail of the error of Validate: the first faults in the order of their pointers, and how many there are.
type Misfit struct {
	Faults []Fault `json:"faults"`
	Total  int     `json:"total"`
}

func misfit(doing string, faults []Fault) *abi.Error {
	words := make([]string, len(faults))
	for i, f := range faults {
		words[i] = f.String()
	}
	return abi.Errorf(abi.Invalid, "%s: %s", doing, strings.Join(words, "; ")).WithDetail(Misfit{Faults: faults, Total: len(faults)})
}

// listFaults flattens the library's tree of causes: leaves only, each once, sorted by place, the first limit of them. A
// choice of which no branch fits counts as one fault, since its branches contradict each other.
func listFaults(err *jsonschema.ValidationError, limit int) ([]Fault, int) {
	var all []Fault
	collect(err, &all)
	slices.SortFunc(all, func(a, b Fault) int {
		return cmp.Or(strings.Compare(a.Pointer, b.Pointer), strings.Compare(a.Msg, b.Msg))
	})
	all = slices.Compact(all)
	return slices.Clone(all[:min(len(all), limit)]), len(all)
}

func collect(err *jsonschema.ValidationError, all *[]Fault) {
	switch k := err.ErrorKind.(type) {
	case *kind.AnyOf:
		*all = append(*all, Fault{pointer(err.InstanceLocation), noneFits("anyOf", err)})
	case *kind.OneOf:
		if len(k.Subschemas) > 0 {
			*all = append(*all, Fault{pointer(err.InstanceLocation), fmt.Sprintf("fits alternatives %d and %d of oneOf, and may fit only one", k.Subschemas[0], k.Subschemas[1])})
			return
		}
		*all = append(*all, Fault{pointer(err.InstanceLocation), noneFits("oneOf", err)})
	case *kind.Required:
		for _, name := range k.Missing {
			*all = append(*all, Fault{pointer(err.InstanceLocation), fmt.Sprintf("the key %q is missing", name)})
		}
	case *kind.AdditionalProperties:
		for _, name := range k.Properties {
			*all = append(*all, Fault{pointer(append(slices.Clone(err.InstanceLocation), name)), "this key is not allowed here"})
		}
	default:
		if len(err.Causes) == 0 {
			*all = append(*all, Fault{pointer(err.InstanceLocation), words(err)})
		}
		for _, cause := range err.Causes {
			collect(cause, all)
		}
	}
}

// noneFits tells the nearest complaint of each of the first branches.
func noneFits(keyword string, err *jsonschema.ValidationError) string {
	var branches []string
	for _, cause := range err.Causes {
		var faults []Fault
		if collect(cause, &faults); len(faults) == 0 {
			continue
		}
		first := slices.MinFunc(faults, func(a, b Fault) int { return strings.Compare(a.Pointer+a.Msg, b.Pointer+b.Msg) })
		text := first.Msg
		if first.Pointer != pointer(err.InstanceLocation) {
			text = first.String()
		}
		if !slices.Contains(branches, text) {
			branches = append(branches, text)
		}
	}
	return clip("fits no alternative of " + keyword + " (" + strings.Join(branches, "; ") + ")")
}

// words says what is wrong at one place. The library's own sentences format numbers for a locale, so those about
// numbers are ours.
func words(err *jsonschema.ValidationError) string {
	switch k := err.ErrorKind.(type) {
	case *kind.Type:
		return "expected " + strings.Join(k.Want, " or ") + ", found " + k.Got
	case *kind.FalseSchema:
		return "nothing is allowed here"
	case *kind.Minimum:
		return "expected at least " + number(k.Want) + ", found " + number(k.Got)
	case *kind.Maximum:
		return "expected at most " + number(k.Want) + ", found " + number(k.Got)
	case *kind.ExclusiveMinimum:
		return "expected more than " + number(k.Want) + ", found " + number(k.Got)
	case *kind.ExclusiveMaximum:
		return "expected less than " + number(k.Want) + ", found " + number(k.Got)
	case *kind.MultipleOf:
		return "expected a multiple of " + number(k.Want) + ", found " + number(k.Got)
	case *kind.MinLength:
		return fmt.Sprintf("expected at least %d characters, found %d", k.Want, k.Got)
	case *kind.MaxLength:
		return fmt.Sprintf("expected at most %d characters, found %d", k.Want, k.Got)
	case *kind.MinItems:
		return fmt.Sprintf("expected at least %d items, found %d", k.Want, k.Got)
	case *kind.MaxItems:
		return fmt.Sprintf("expected at most %d items, found %d", k.Want, k.Got)
	case *kind.MinProperties:
		return fmt.Sprintf("expected at least %d keys, found %d", k.Want, k.Got)
	case *kind.MaxProperties:
		return fmt.Sprintf("expected at most %d keys, found %d", k.Want, k.Got)
	case *kind.UniqueItems:
		return fmt.Sprintf("items %d and %d are equal", k.Duplicates[0], k.Duplicates[1])
	}
	bare := jsonschema.ValidationError{SchemaURL: err.SchemaURL, ErrorKind: err.ErrorKind}
	return clip(strings.TrimPrefix(bare.Error(), "at '': "))
}

func number(n *big.Rat) string {
	if n.IsInt() {
		return clip(n.Num().String())
	}
	f, _ := n.Float64()
	return strconv.FormatFloat(f, 'g', -1, 64)
}

// clip keeps a message readable when a schema lists a thousand values or a document holds a long string.
func clip(s string) string {
	const limit = 240
	if len(s) <= limit {
		return s
	}
	end := limit
	for !utf8.RuneStart(s[end]) {
		end--
	}
	return s[:end] + "…"
}

func pointer(tokens []string) string {
	escape := strings.NewReplacer("~", "~0", "/", "~1")
	var b strings.Builder
	for _, token := range tokens {
		b.WriteString("/" + escape.Replace(token))
	}
	return b.String()
}

// pointerOf is the place of a part inside its schema document.
func pointerOf(s *jsonschema.Schema) string {
	_, fragment, _ := strings.Cut(s.Location, "#")
	if plain, err := url.PathUnescape(fragment); err == nil {
		return plain
	}
	return fragment
}
