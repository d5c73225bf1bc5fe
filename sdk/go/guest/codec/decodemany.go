package codec

import (
	"reflect"
	"unsafe"
)

// object reads a struct. Members usually come in the order of the fields, so the next field's name is tried first.
func (d *decoder) object(n *node, p unsafe.Pointer) error {
	if d.peek() != '{' {
		return d.mismatch("an object")
	}
	closed, err := d.enter('}')
	next := 0
	for more := !closed; err == nil && more; {
		var f *field
		var name string
		if next < len(n.fields) && d.have(n.fields[next].quoted) {
			f = &n.fields[next]
			name = f.name
			next++
			d.space()
		} else if name, err = d.key(); err != nil {
			return err
		} else if f = n.lookup(name); f != nil {
			next = int(uintptr(unsafe.Pointer(f))-uintptr(unsafe.Pointer(unsafe.SliceData(n.fields))))/int(unsafe.Sizeof(*f)) + 1
		}
		if f == nil {
			err = d.skip()
		} else {
			err = d.value(f.node, f.set(p))
		}
		if err != nil {
			return within(err, name)
		}
		more, err = d.more('}')
	}
	return err
}

// have passes text if it stands here.
func (d *decoder) have(text string) bool {
	if len(d.data)-d.pos < len(text) || string(d.data[d.pos:d.pos+len(text)]) != text {
		return false
	}
	d.pos += len(text)
	return true
}

type sliceHeader struct {
	data     unsafe.Pointer
	len, cap int
}

func (d *decoder) slice(n *node, p unsafe.Pointer) error {
	if d.peek() != '[' {
		return d.mismatch("an array")
	}
	h := (*sliceHeader)(p)
	closed, err := d.enter(']')
	i := 0
	for more := !closed; err == nil && more; i++ {
		if i >= h.cap {
			grow(n, p, max(4, 2*i))
		}
		if i >= h.len {
			h.len = i + 1
		}
		if err = d.value(n.elem, unsafe.Add(h.data, uintptr(i)*n.elem.size)); err != nil {
			return withinIndex(err, i)
		}
		more, err = d.more(']')
	}
	if err != nil {
		return err
	}
	if h.len = i; i == 0 {
		reflect.NewAt(n.typ, p).Elem().Set(reflect.MakeSlice(n.typ, 0, 0))
	}
	return nil
}

// grow makes room for capacity elements, all but the first len of them zero.
func grow(n *node, p unsafe.Pointer, capacity int) {
	old := reflect.NewAt(n.typ, p).Elem()
	bigger := reflect.MakeSlice(n.typ, old.Len(), capacity)
	reflect.Copy(bigger, old)
	old.Set(bigger)
}

func (d *decoder) array(n *node, p unsafe.Pointer) error {
	if d.peek() != '[' {
		return d.mismatch("an array")
	}
	closed, err := d.enter(']')
	i := 0
	for more := !closed; err == nil && more; i++ {
		if i < n.length {
			err = d.value(n.elem, unsafe.Add(p, uintptr(i)*n.elem.size))
		} else {
			err = d.skip()
		}
		if err != nil {
			return withinIndex(err, i)
		}
		more, err = d.more(']')
	}
	if err != nil {
		return err
	}
	for ; i < n.length; i++ {
		reflect.NewAt(n.elem.typ, unsafe.Add(p, uintptr(i)*n.elem.size)).Elem().SetZero()
	}
	return nil
}

func (d *decoder) mapping(n *node, p unsafe.Pointer) error {
	if d.peek() != '{' {
		return d.mismatch("an object")
	}
	m := reflect.NewAt(n.typ, p).Elem()
	if m.IsNil() {
		m.Set(reflect.MakeMap(n.typ))
	}
	elem := reflect.New(n.elem.typ)
	closed, err := d.enter('}')
	for more := !closed; err == nil && more; {
		name, err := d.key()
		if err != nil {
			return err
		}
		elem.Elem().SetZero()
		if err := d.value(n.elem, elem.UnsafePointer()); err != nil {
			return within(err, name)
		}
		m.SetMapIndex(reflect.ValueOf(name).Convert(n.typ.Key()), elem.Elem())
		if more, err = d.more('}'); err != nil {
			return err
		}
	}
	return err
}
