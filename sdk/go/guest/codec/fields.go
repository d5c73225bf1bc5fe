package codec

import (
	"cmp"
	"fmt"
	"reflect"
	"slices"
	"strings"
	"unicode"
	"unsafe"
)

// field is one member of a struct's JSON object.
type field struct {
	name      string
	quoted    string // "name": as it is written
	node      *node
	offset    uintptr // in the struct, or in what the last hop leads to
	hops      []hop
	doc       string
	omitEmpty bool
	omitZero  bool
	isZeroer  bool
}

// hop leads through an embedded pointer.
type hop struct {
	offset uintptr
	typ    reflect.Type // what it points to
}

// get finds the field for reading; nil when an embedded pointer on the way is nil.
func (f *field) get(p unsafe.Pointer) unsafe.Pointer {
	for _, h := range f.hops {
		if p = *(*unsafe.Pointer)(unsafe.Add(p, h.offset)); p == nil {
			return nil
		}
	}
	return unsafe.Add(p, f.offset)
}

// set finds the field for writing and makes the embedded structs that are missing on the way.
func (f *field) set(p unsafe.Pointer) unsafe.Pointer {
	for _, h := range f.hops {
		at := (*unsafe.Pointer)(unsafe.Add(p, h.offset))
		if *at == nil {
			*at = reflect.New(h.typ).UnsafePointer()
		}
		p = *at
	}
	return unsafe.Add(p, f.offset)
}

// omitted says whether omitempty or omitzero leave the field out.
func (f *field) omitted(p unsafe.Pointer) bool {
	return f.omitEmpty && f.node.empty(p) || f.omitZero && f.zero(p)
}

func (f *field) zero(p unsafe.Pointer) bool {
	v := reflect.NewAt(f.node.typ, p)
	if !f.isZeroer || f.node.op == opPtr && v.Elem().IsNil() {
		return v.Elem().IsZero()
	}
	if z, ok := v.Elem().Interface().(zeroer); ok {
		return z.IsZero()
	}
	return v.Interface().(zeroer).IsZero()
}

type zeroer interface{ IsZero() bool }

// lookup finds a member: the name as it is, else the first whose name is the same but for case.
func (n *node) lookup(name string) *field {
	if i, ok := n.exact[name]; ok {
		return &n.fields[i]
	}
	for i := range n.fields {
		if strings.EqualFold(n.fields[i].name, name) {
			return &n.fields[i]
		}
	}
	return nil
}

// candidate is a field before it is known which of several with its name wins.
type candidate struct {
	reflect.StructField
	name   string
	tagged bool
	opts   []string
	path   []int // index of each field from the outermost struct
	offset uintptr
	hops   []hop
}

// structFields finds the members of a struct by Go's rules for embedded fields as encoding/json amends them: the
// shallowest wins, at equal depth the tagged one, and a tie hides all.
func (b *builder) structFields(n *node, at string) error {
	found, err := embedded(n.typ, at)
	if err != nil {
		return err
	}
	slices.SortFunc(found, func(x, y candidate) int {
		tag := 0
		if x.tagged != y.tagged {
			tag = 1
			if x.tagged {
				tag = -1
			}
		}
		return cmp.Or(strings.Compare(x.name, y.name), cmp.Compare(len(x.path), len(y.path)), tag, slices.Compare(x.path, y.path))
	})
	var won []candidate
	for i := 0; i < len(found); {
		j := i + 1
		for j < len(found) && found[j].name == found[i].name {
			j++
		}
		if j == i+1 || len(found[i].path) != len(found[i+1].path) || found[i].tagged != found[i+1].tagged {
			won = append(won, found[i])
		}
		i = j
	}
	slices.SortFunc(won, func(x, y candidate) int { return slices.Compare(x.path, y.path) })
	n.exact = make(map[string]int, len(won))
	for i, c := range won {
		f, err := b.field(c, at+"."+c.Name)
		if err != nil {
			return err
		}
		n.fields = append(n.fields, f)
		n.exact[f.name] = i
	}
	return nil
}

func (b *builder) field(c candidate, at string) (field, error) {
	f := field{name: c.name, quoted: string(appendString(nil, c.name)) + ":", offset: c.offset, hops: c.hops, doc: c.Tag.Get("doc")}
	var err error
	if f.node, err = b.node(c.Type, at); err != nil {
		return f, err
	}
	for _, o := range c.opts {
		switch o {
		case "omitempty":
			f.omitEmpty = true
		case "omitzero":
			f.omitZero = true
			z := reflect.TypeFor[zeroer]()
			f.isZeroer = c.Type.Implements(z) || reflect.PointerTo(c.Type).Implements(z)
		case "string":
			return f, fmt.Errorf(`codec: %s: the json option ",string" is not supported; use a string field`, at)
		}
	}
	return f, nil
}

// level is an embedded struct to be searched.
type level struct {
	typ    reflect.Type
	path   []int
	offset uintptr
	hops   []hop
}

// embedded lists the fields of t and of the structs embedded in it, breadth first.
func embedded(t reflect.Type, at string) ([]candidate, error) {
	var found []candidate
	visited := map[reflect.Type]bool{}
	for next := []level{{typ: t}}; len(next) > 0; {
		current := next
		next = nil
		count := map[reflect.Type]int{}
		for _, l := range current {
			count[l.typ]++
		}
		for _, l := range current {
			if visited[l.typ] {
				continue
			}
			visited[l.typ] = true
			for i := range l.typ.NumField() {
				c, inner, err := l.field(i, at)
				switch {
				case err != nil:
					return nil, err
				case inner != nil:
					next = append(next, *inner)
				case c != nil:
					found = append(found, *c)
					if count[l.typ] > 1 { // the same struct embedded twice at this depth: its fields hide each other
						found = append(found, *c)
					}
				}
			}
		}
	}
	return found, nil
}

// field reads field i: a candidate, an embedded struct to search, or neither.
func (l level) field(i int, at string) (*candidate, *level, error) {
	sf := l.typ.Field(i)
	under := sf.Type
	if under.Name() == "" && under.Kind() == reflect.Pointer {
		under = under.Elem()
	}
	isStruct := under.Kind() == reflect.Struct
	tag := sf.Tag.Get("json")
	if tag == "-" || !sf.IsExported() && !(sf.Anonymous && isStruct) {
		return nil, nil, nil
	}
	name, rest, _ := strings.Cut(tag, ",")
	if !validName(name) {
		name = ""
	}
	path := append(slices.Clone(l.path), i)
	if name == "" && sf.Anonymous && isStruct {
		inner := &level{typ: under, path: path, offset: l.offset + sf.Offset, hops: l.hops}
		if sf.Type.Kind() == reflect.Pointer {
			if !sf.IsExported() {
				return nil, nil, fmt.Errorf("codec: %s: the embedded pointer to the unexported struct %s could never be set; embed the struct itself", at, under)
			}
			inner.hops = append(slices.Clone(l.hops), hop{l.offset + sf.Offset, under})
			inner.offset = 0
		}
		return nil, inner, nil
	}
	c := &candidate{StructField: sf, name: name, tagged: name != "", path: path, offset: l.offset + sf.Offset, hops: l.hops}
	if name == "" {
		c.name = sf.Name
	}
	if rest != "" {
		c.opts = strings.Split(rest, ",")
	}
	return c, nil, nil
}

// validName says whether a tag's name is one that encoding/json accepts.
func validName(s string) bool {
	for _, c := range s {
		if !strings.ContainsRune("!#$%&()*+-./:;<=>?@[]^_{|}~ ", c) && !unicode.IsLetter(c) && !unicode.IsDigit(c) {
			return false
		}
	}
	return s != ""
}
