package view

// Node is a document as a writer holds it.
type Node = node

// Parse and MakePatch are the parts of a change that have no disk in them, for the benchmark and the fuzz test.
func Parse(doc []byte) *Node {
	n, err := parse(doc)
	if err != nil {
		return nil
	}
	return n
}

func MakePatch(root *Node, fn func(*Edit) error) (*Node, []byte) {
	e := &Edit{root: root}
	if fn(e) != nil || e.err != nil {
		return root, nil
	}
	return e.root, appendPatch(make([]byte, 0, patchSize(e.ops)), e.ops)
}

// Text writes a document; Size is what it believes its length to be.
func (n *node) Text() []byte { return n.appendTo(nil) }
func (n *node) Size() int    { return n.size }

// Diff is the patch from one document to another; Apply applies one.
func Diff(from, to *Node) []byte {
	ops := diff(nil, "", from, to)
	b := appendPatch(nil, ops)
	if len(b) != patchSize(ops) {
		panic("patchSize is wrong")
	}
	return b
}

func Apply(root *Node, patch []byte) (*Node, error) { return apply(root, patch) }
