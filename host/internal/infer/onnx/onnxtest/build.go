package onnxtest

import (
	"encoding/binary"
	"fmt"
	"math"
	"strconv"
)

// builder writes a GraphProto.
type builder struct{ body wire }

// attr is an attribute of a node that is a number; a real one when float is set.
type attr struct {
	name  string
	value int64
	float float32
}

func with(name string, value int64) []attr { return []attr{{name: name, value: value}} }

// network writes all up to the last layer's output, whose name it gives, as models exported from PyTorch spell it.
func (g *builder) network(m *Model) string {
	for name, w := range map[string][][]float32{"word": m.Word, "place": m.Place, "type": m.Type} {
		g.floats(name, w...)
	}
	places := make([]int64, Most)
	for i := range places {
		places[i] = int64(i)
	}
	g.ints("places", places...)
	g.ints("zero.at", 0)
	g.ints("one", 1)
	g.ints("two", 2)
	g.scalar("root", float32(math.Sqrt(float64(m.width()))))
	g.scalar("sqrt2", math.Sqrt2)
	g.scalar("half", 0.5)
	g.scalar("unit", 1)
	g.scalar("far", -1e9)
	// Position numbers are cut from a table by the length of the input.
	g.node("Shape", "shape", nil, "input_ids")
	g.node("Slice", "length", nil, "shape", "one", "two", "zero.at")
	g.node("Slice", "at", nil, "places", "zero.at", "length", "zero.at")
	g.node("Gather", "e.word", nil, "word", "input_ids")
	g.node("Gather", "e.place", nil, "place", "at")
	g.node("Gather", "e.type", nil, "type", "token_type_ids")
	g.node("Add", "e0", nil, "e.word", "e.place")
	g.node("Add", "x", nil, "e0", "e.type")
	// 0 where a token counts, far below zero where it does not.
	g.node("Unsqueeze", "mask3", nil, "attention_mask", "one")
	g.node("Cast", "maskf", with("to", 1), "mask3")
	g.node("Sub", "masked", nil, "unit", "maskf")
	g.node("Mul", "bias", nil, "masked", "far")
	x := "x"
	for i := range m.Layers {
		x = g.layer(&m.Layers[i], fmt.Sprintf("l%d.", i), x)
	}
	return x
}

// layer writes one, with p before every name.
func (g *builder) layer(l *Layer, p, x string) string {
	for name, w := range map[string][][]float32{"q": l.Q, "k": l.K, "v": l.V, "o": l.O, "up": l.Up, "down": l.Down} {
		g.floats(p+name, w...)
	}
	for name, row := range map[string][]float32{"up.b": l.BiasUp, "down.b": l.BiasDown, "n1.w": l.Scale1, "n1.b": l.Shift1, "n2.w": l.Scale2, "n2.b": l.Shift2} {
		g.floats(p+name, row)
	}
	for _, part := range []string{"q", "k", "v"} {
		g.node("MatMul", p+"x."+part, nil, x, p+part)
	}
	g.transpose(p+"k.t", p+"x.k")
	g.node("MatMul", p+"dots", nil, p+"x.q", p+"k.t")
	g.node("Div", p+"scaled", nil, p+"dots", "root")
	g.node("Add", p+"biased", nil, p+"scaled", "bias")
	g.node("Softmax", p+"weights", with("axis", -1), p+"biased")
	g.node("MatMul", p+"mixed", nil, p+"weights", p+"x.v")
	g.node("MatMul", p+"attended", nil, p+"mixed", p+"o")
	g.node("Add", p+"sum1", nil, x, p+"attended")
	eps := []attr{{name: "axis", value: -1}, {name: "epsilon", float: 1e-12}}
	g.node("LayerNormalization", p+"h", eps, p+"sum1", p+"n1.w.row", p+"n1.b.row")
	g.node("MatMul", p+"u0", nil, p+"h", p+"up")
	g.node("Add", p+"u", nil, p+"u0", p+"up.b.row")
	g.node("Div", p+"u1", nil, p+"u", "sqrt2")
	g.node("Erf", p+"u2", nil, p+"u1")
	g.node("Add", p+"u3", nil, p+"u2", "unit")
	g.node("Mul", p+"u4", nil, p+"u", p+"u3")
	g.node("Mul", p+"gelu", nil, p+"u4", "half")
	g.node("MatMul", p+"d0", nil, p+"gelu", p+"down")
	g.node("Add", p+"d", nil, p+"d0", p+"down.b.row")
	g.node("Add", p+"sum2", nil, p+"h", p+"d")
	g.node("LayerNormalization", p+"hidden", eps, p+"sum2", p+"n2.w.row", p+"n2.b.row")
	return p + "hidden"
}

// node adds one with a single output.
func (g *builder) node(op, out string, attrs []attr, in ...string) {
	var n wire
	for _, name := range in {
		n.text(1, name)
	}
	n.text(2, out)
	n.text(3, "n."+out)
	n.text(4, op)
	for _, a := range attrs {
		var w wire
		w.text(1, a.name)
		if a.float != 0 {
			w = append(w, 2<<3|5)
			w = binary.LittleEndian.AppendUint32(w, math.Float32bits(a.float))
			w.number(20, 1)
		} else {
			w.number(3, uint64(a.value))
			w.number(20, 2)
		}
		n.bytes(5, w)
	}
	g.body.bytes(1, n)
}

func (g *builder) transpose(out, in string) {
	var n, a, perm wire
	n.text(1, in)
	n.text(2, out)
	n.text(3, "n."+out)
	n.text(4, "Transpose")
	a.text(1, "perm")
	for _, p := range []uint64{0, 2, 1} {
		perm = binary.AppendUvarint(perm, p)
	}
	a.bytes(8, perm)
	a.number(20, 7)
	n.bytes(5, a)
	g.body.bytes(1, n)
}

// floats adds a matrix; one row alone is a vector, and is named NAME.row.
func (g *builder) floats(name string, rows ...[]float32) {
	var data []byte
	for _, row := range rows {
		for _, x := range row {
			data = binary.LittleEndian.AppendUint32(data, math.Float32bits(x))
		}
	}
	dims := []int{len(rows), len(rows[0])}
	if len(rows) == 1 {
		name, dims = name+".row", dims[1:]
	}
	g.tensor(name, 1, dims, data)
}

func (g *builder) scalar(name string, x float32) {
	g.tensor(name, 1, nil, binary.LittleEndian.AppendUint32(nil, math.Float32bits(x)))
}

func (g *builder) ints(name string, values ...int64) {
	var data []byte
	for _, v := range values {
		data = binary.LittleEndian.AppendUint64(data, uint64(v))
	}
	g.tensor(name, 7, []int{len(values)}, data)
}

func (g *builder) tensor(name string, kind uint64, dims []int, data []byte) {
	var t wire
	for _, d := range dims {
		t.number(1, uint64(d))
	}
	t.number(2, kind)
	t.text(8, name)
	t.bytes(9, data)
	g.body.bytes(5, t)
}

// value adds an input (field 11) or output (12). A dimension that is no number is a name.
func (g *builder) value(field int, name string, kind uint64, dims ...string) {
	var v, typ, tensor, shape wire
	for _, d := range dims {
		var w wire
		if n, err := strconv.Atoi(d); err == nil {
			w.number(1, uint64(n))
		} else {
			w.text(2, d)
		}
		shape.bytes(1, w)
	}
	tensor.number(1, kind)
	tensor.bytes(2, shape)
	typ.bytes(1, tensor)
	v.text(1, name)
	v.bytes(2, typ)
	g.body.bytes(field, v)
}
