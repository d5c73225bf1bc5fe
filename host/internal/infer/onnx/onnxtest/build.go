package onnxtest

import (
	"encoding/binary"
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

// network writes the layer, as models exported from PyTorch spell it.
func (g *builder) network(m *Model) {
	for name, w := range map[string][][]float32{"word": m.Word, "place": m.Place, "type": m.Type, "q": m.Q, "k": m.K, "v": m.V, "o": m.O, "up": m.Up, "down": m.Down} {
		g.floats(name, w...)
	}
	for name, row := range map[string][]float32{"up.b": m.BiasUp, "down.b": m.BiasDown, "norm1.w": m.Scale1, "norm1.b": m.Shift1, "norm2.w": m.Scale2, "norm2.b": m.Shift2} {
		g.floats(name, row)
	}
	places := make([]int64, Most)
	for i := range places {
		places[i] = int64(i)
	}
	g.ints("places", places...)
	g.ints("zero.at", 0)
	g.ints("one", 1)
	g.ints("two", 2)
	g.scalar("root", float32(math.Sqrt(Width)))
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
	for _, p := range []string{"q", "k", "v"} {
		g.node("MatMul", "x."+p, nil, "x", p)
	}
	g.transpose("k.t", "x.k")
	g.node("MatMul", "dots", nil, "x.q", "k.t")
	g.node("Div", "scaled", nil, "dots", "root")
	g.node("Add", "biased", nil, "scaled", "bias")
	g.node("Softmax", "weights", with("axis", -1), "biased")
	g.node("MatMul", "mixed", nil, "weights", "x.v")
	g.node("MatMul", "attended", nil, "mixed", "o")
	g.node("Add", "sum1", nil, "x", "attended")
	eps := []attr{{name: "axis", value: -1}, {name: "epsilon", float: 1e-12}}
	g.node("LayerNormalization", "h", eps, "sum1", "norm1.w.row", "norm1.b.row")
	g.node("MatMul", "u0", nil, "h", "up")
	g.node("Add", "u", nil, "u0", "up.b.row")
	g.node("Div", "u1", nil, "u", "sqrt2")
	g.node("Erf", "u2", nil, "u1")
	g.node("Add", "u3", nil, "u2", "unit")
	g.node("Mul", "u4", nil, "u", "u3")
	g.node("Mul", "gelu", nil, "u4", "half")
	g.node("MatMul", "d0", nil, "gelu", "down")
	g.node("Add", "d", nil, "d0", "down.b.row")
	g.node("Add", "sum2", nil, "h", "d")
	g.node("LayerNormalization", "hidden", eps, "sum2", "norm2.w.row", "norm2.b.row")
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
