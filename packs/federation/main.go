// Command federation is the pack arw/federation: it describes this node to others. The description's stable part, the
// node's id and when it was made, is written once under the key "node" and never changes.
package main

import (
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"time"

	"github.com/arw-project/arw/abi"
	"github.com/arw-project/arw/sdk/go/guest"
)

func main() { guest.Tool("federation.node.describe", describe) }

// Node is what never changes of a node.
type Node struct {
	ID      string    `json:"node_id"`
	Created time.Time `json:"created"`
}

// Manifest is the description. Digest is the SHA-256 of the manifest's JSON with an empty digest, so that a reader can
// tell whether it changed without comparing it.
type Manifest struct {
	Schema       int       `json:"schema"`
	NodeID       string    `json:"node_id"`
	ABI          string    `json:"abi"`
	Created      time.Time `json:"created"`
	Tools        []string  `json:"tools"`
	Capabilities []string  `json:"capabilities"`
	Digest       string    `json:"digest"`
}

func describe(c *guest.Call, _ struct{}) (Manifest, error) {
	node, err := identity(c)
	if err != nil {
		return Manifest{}, err
	}
	m := Manifest{
		Schema: 1, NodeID: node.ID, ABI: abi.Version, Created: node.Created,
		Tools: []string{"federation.node.describe"}, Capabilities: []string{},
	}
	for _, f := range abi.Functions {
		if name := string(f.Capability); len(m.Capabilities) == 0 || m.Capabilities[len(m.Capabilities)-1] != name {
			m.Capabilities = append(m.Capabilities, name)
		}
	}
	raw, err := json.Marshal(m)
	if err != nil {
		return Manifest{}, err
	}
	sum := sha256.Sum256(raw)
	m.Digest = "sha256:" + hex.EncodeToString(sum[:])
	return m, nil
}

// identity reads the node's id, making it the first time.
func identity(c *guest.Call) (Node, error) {
	const key = "node"
	var n Node
	raw, err := c.KV().Get(key)
	if err == nil {
		if err = json.Unmarshal(raw, &n); err != nil {
			return n, guest.Errorf(abi.Corrupt, "read the node's id: %w", err)
		}
		return n, nil
	}
	if abi.CodeOf(err) != abi.NotFound {
		return n, err
	}
	var id [16]byte
	if err := c.Random(id[:]); err != nil {
		return n, err
	}
	now, err := c.Now()
	if err != nil {
		return n, err
	}
	n = Node{ID: "node_" + hex.EncodeToString(id[:]), Created: now.Truncate(time.Millisecond)}
	if raw, err = json.Marshal(n); err != nil {
		return n, err
	}
	if err := c.KV().Put(key, raw); err != nil {
		return n, err
	}
	return n, c.Emit("federation.node.created", n)
}
