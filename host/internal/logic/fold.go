package logic

import (
	"cmp"
	"crypto/sha256"
	"encoding/binary"
	"encoding/hex"
	"encoding/json"
	"maps"
	"slices"
	"strings"

	"github.com/arw-project/arw/abi"
	"github.com/arw-project/arw/host/internal/logic/tree"
	"github.com/arw-project/arw/manifests"
)

// Doc is a document as one scope sees it.
type Doc struct {
	Target string          `json:"target"`
	Scope  Scope           `json:"scope"`
	Body   json.RawMessage `json:"body"`   // canonical (RFC 8785)
	Digest string          `json:"digest"` // of Body
	// Origins says to what the values are due, by JSON pointer: a value is due to the origin at the longest pointer that
	// leads to it; "" is there always.
	Origins map[string]Origin `json:"origins"`
}

// Get is a document as seen from the workspace and then, in this order, from each scope given: Get(t, project, agent) is
// what an agent has in a project. NotFound for a document there is not.
func (s *Store) Get(target string, scopes ...Scope) (Doc, error) {
	t, err := s.target(target)
	if err != nil {
		return Doc{}, err
	}
	s.mu.RLock()
	defer s.mu.RUnlock()
	return fold(t, s.layers, chain(scopes...))
}

// Run is Get for one run: of units that are on trial for a share of runs, it has those that it was chosen for.
func (s *Store) Run(target, run string, scopes ...Scope) (Doc, error) {
	t, err := s.target(target)
	if err != nil {
		return Doc{}, err
	}
	s.mu.RLock()
	defer s.mu.RUnlock()
	return fold(t, inRun(s.layers, run), chain(scopes...))
}

// inRun are the layers that hold for a run. Chance decides which share of runs a layer has, the same way each time: all
// calls of a run see one configuration, and one can say later which.
func inRun(layers []*layer, run string) []*layer {
	if !slices.ContainsFunc(layers, func(l *layer) bool { return l.share < 100 }) {
		return layers
	}
	return slices.DeleteFunc(slices.Clone(layers), func(l *layer) bool {
		if l.share >= 100 || run == noRun {
			return l.share < 100
		}
		sum := sha256.Sum256([]byte(l.unit + "\x00" + l.digest + "\x00" + run))
		return int(binary.BigEndian.Uint64(sum[:])%100) >= l.share
	})
}

// chain is the order in which scopes build on each other, the workspace first.
func chain(scopes ...Scope) []Scope {
	out := []Scope{Workspace}
	for _, s := range scopes {
		if !slices.Contains(out, s) {
			out = append(out, s)
		}
	}
	return out
}

// order sorts layers as they apply within a scope: units by priority, then by age; people above all units.
func order(layers []*layer) {
	slices.SortStableFunc(layers, func(a, b *layer) int { return cmp.Or(cmp.Compare(a.rank, b.rank), cmp.Compare(a.seq, b.seq)) })
}

// fold makes a document of its layers. The error is Conflict when a layer does not apply any more and Invalid when the
// outcome does not fit the schema; it names the layer.
func fold(t *Target, layers []*layer, scopes []Scope) (Doc, error) {
	root, origins := t.root, map[string]Origin{"": {}}
	last := Origin{}
	for _, scope := range scopes {
		for _, l := range layers {
			if l.scope != scope {
				continue
			}
			for _, p := range l.docs[t.Name] {
				next, err := p.apply(root)
				if err != nil {
					return Doc{}, abi.Errorf(abi.Conflict, "make document %q for %s: the patch of %s does not apply: %w", t.Name, scope, l.origin(), err)
				}
				last = l.origin()
				note(origins, tree.Diff(root, next), last)
				root = next
			}
		}
	}
	body, err := canonical(root)
	if err != nil {
		return Doc{}, abi.Errorf(abi.Invalid, "make document %q: %w", t.Name, err)
	}
	if err := t.Schema.Validate(body); err != nil {
		return Doc{}, abi.Errorf(abi.Invalid, "make document %q for %s: with the patch of %s it does not fit its schema: %s", t.Name,
			scopes[len(scopes)-1], last, strings.TrimPrefix(err.Error(), "validate JSON: "))
	}
	return Doc{Target: t.Name, Scope: scopes[len(scopes)-1], Body: body, Digest: digest(body), Origins: origins}, nil
}

// note gives the changed places to an origin; what was known of places inside them is over.
func note(origins map[string]Origin, changes []tree.Change, o Origin) {
	for _, c := range changes {
		maps.DeleteFunc(origins, func(at string, _ Origin) bool { return strings.HasPrefix(at, c.Path+"/") })
		origins[c.Path] = o
	}
}

// originOf is the origin at the longest pointer that leads to a place.
func (d Doc) originOf(pointer string) Origin {
	for at := pointer; ; at = at[:strings.LastIndexByte(at, '/')] {
		if o, ok := d.Origins[at]; ok || at == "" {
			return o
		}
	}
}

// Due is to what the value at a JSON pointer is due.
func (d Doc) Due(pointer string) Origin { return d.originOf(pointer) }

func (p patch) apply(root any) (any, error) {
	if p.Op == "merge" {
		return tree.Merge(root, p.Value), nil
	}
	ops, err := tree.Ops(p.Value)
	if err != nil {
		return nil, err
	}
	return tree.Apply(root, ops)
}

// touches are the places that a patch may change. An operation on an item of a list touches the list: it moves others.
func (p patch) touches() []string {
	if p.Op == "merge" {
		return tree.Touches(p.Value)
	}
	ops, _ := tree.Ops(p.Value)
	var out []string
	for _, op := range ops {
		if op.Op != "test" {
			out = append(out, listOf(op.Path))
		}
		if op.Op == "move" {
			out = append(out, listOf(op.From))
		}
	}
	return out
}

// listOf is the pointer to the list that a pointer's last token may be an item of, else the pointer.
func listOf(pointer string) string {
	cut := strings.LastIndexByte(pointer, '/')
	if cut < 0 {
		return pointer
	}
	token := pointer[cut+1:]
	if token == "-" || token != "" && strings.Trim(token, "0123456789") == "" {
		return pointer[:cut]
	}
	return pointer
}

func canonical(root any) ([]byte, error) {
	raw, err := json.Marshal(root)
	if err != nil {
		return nil, err
	}
	return manifests.CanonicalJSON(raw)
}

func digest(body []byte) string {
	sum := sha256.Sum256(body)
	return "sha256:" + hex.EncodeToString(sum[:])
}

// noRun is the run that no share is ever chosen for.
const noRun = "\x00none"
