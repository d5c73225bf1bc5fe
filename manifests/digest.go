package manifests

import (
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"github.com/arw-project/arw/abi"
	"strconv"
	"time"
)

// Canonical is the manifest with all defaults filled in as RFC 8785 JSON: the same bytes for every way of writing the
// same manifest, in any implementation. The form is specified in docs/spec/manifest.md. The caller owns the bytes.
func (p *Pack) Canonical() []byte {
	canonical, err := appendCanonical(nil, p.tree())
	if err != nil {
		panic("manifests: a pack that ParsePack did not make: " + err.Error())
	}
	return canonical
}

// Digest is "sha256:" and the hash of Canonical in hexadecimal.
func (p *Pack) Digest() string {
	sum := sha256.Sum256(p.Canonical())
	return "sha256:" + hex.EncodeToString(sum[:])
}

// MarshalJSON implements json.Marshaler with the members of the canonical form; encoding/json adds its own escapes.
func (p *Pack) MarshalJSON() ([]byte, error) { return p.Canonical(), nil }

func (p *Pack) tree() map[string]any {
	capabilities := map[string]any{}
	for _, c := range p.Capabilities {
		capabilities[string(c.Name)] = map[string]any{
			"scope": listOf(c.Scope, func(s string) any { return s }), "reason": c.Reason, "ask": c.Ask, "optional": c.Optional,
			"ttl_ms": millis(c.TTL), "budget": c.Budget.tree(),
		}
	}
	return map[string]any{
		"schema": integer(1), "name": p.Name, "version": p.Version, "description": p.Description, "license": p.License,
		"authors":  listOf(p.Authors, func(s string) any { return s }),
		"homepage": p.Homepage, "repository": p.Repository,
		"module":       map[string]any{"file": p.Module.File, "runtime": p.Module.Runtime, "abi": p.Module.ABI},
		"tools":        listOf(p.Tools, Tool.tree),
		"capabilities": capabilities,
		"units":        listOf(p.Units, func(u Unit) any { return fileTree(u.ID, u.Title, u.File) }),
		"recipes":      listOf(p.Recipes, func(r Recipe) any { return fileTree(r.ID, r.Title, r.File) }),
		"panels":       listOf(p.Panels, func(v Panel) any { return fileTree(v.ID, v.Title, v.File) }),
		"state": listOf(p.State, func(s State) any {
			return map[string]any{"id": s.ID, "description": s.Description, "schema": s.Schema.doc}
		}),
	}
}

// tree leaves tokens and money out where they are 0: they are younger than the first manifests.
func (b Budget) tree() map[string]any {
	tree := map[string]any{"calls": integer(b.Calls), "bytes": integer(b.Bytes)}
	if b.Tokens > 0 {
		tree["tokens"] = integer(b.Tokens)
	}
	if b.Money > 0 {
		tree["usd_micros"] = integer(b.Money)
	}
	return tree
}

func (t Tool) tree() any {
	tree := map[string]any{
		"id": t.ID, "title": t.Title, "description": t.Description, "input": t.Input.doc, "output": t.Output.doc,
		"effects": t.Effects.String(), "isolation": t.Isolation,
		"limits": map[string]any{
			"memory": integer(t.Limits.Memory), "gas": integer(int64(t.Limits.Gas)), "time_ms": millis(t.Limits.Time),
			"input": integer(t.Limits.Input), "output": integer(t.Limits.Output),
		},
		"examples": listOf(t.Examples, func(e Example) any {
			tree := map[string]any{"title": e.Title, "input": reread(e.Input)}
			if e.Output != nil {
				tree["output"] = reread(e.Output)
			}
			return tree
		}),
	}
	// Younger than the first manifests: absent where nothing is said, so that their digests stay what they are.
	if t.Capabilities != nil {
		tree["capabilities"] = listOf(t.Capabilities, func(c abi.Capability) any { return string(c) })
	}
	if len(t.Streams) > 0 {
		tree["streams"] = listOf(t.Streams, func(s string) any { return s })
	}
	if r := t.Recall; r != nil {
		tree["recall"] = map[string]any{
			"question": r.Question, "near": json.Number(strconv.FormatFloat(r.Near, 'g', -1, 64)), "empty": r.Empty, "same": r.Same, "ttl_ms": millis(r.TTL),
		}
	}
	if t.Limits.Stream > 0 {
		tree["limits"].(map[string]any)["stream"] = integer(t.Limits.Stream)
	}
	return tree
}

func fileTree(id, title, file string) any {
	return map[string]any{"id": id, "title": title, "file": file}
}

func listOf[T any](items []T, tree func(T) any) []any {
	trees := make([]any, len(items))
	for i, item := range items {
		trees[i] = tree(item)
	}
	return trees
}

func integer(n int64) json.Number { return json.Number(strconv.FormatInt(n, 10)) }

func millis(d time.Duration) json.Number { return integer(d.Milliseconds()) }

// reread gives the tree of canonical bytes that we wrote.
func reread(canonical []byte) any {
	tree, err := readJSON(canonical)
	if err != nil {
		panic("manifests: an example that ParsePack did not make: " + err.Error())
	}
	return tree
}
