// Command federation is the pack arw/federation: it describes this node to others. The description's stable part, the
// node's id and when it was made, is written once under the key "node" and never changes.
package main

import (
	"crypto/sha256"
	"encoding/hex"
	"slices"
	"time"

	"github.com/arw-project/arw/abi"
	"github.com/arw-project/arw/sdk/go/guest"
	"github.com/arw-project/arw/sdk/go/guest/codec"
)

func main() {
	guest.Tool("federation.node.describe", describe)
	guest.Prepare[Node]()
}

// Node is what never changes of a node.
type Node struct {
	ID      string    `json:"node_id"`
	Created time.Time `json:"created"`
}

// Manifest is the description. Digest is the SHA-256 of the manifest's JSON, as it is answered, with an empty digest, so
// that a reader can tell whether it changed without comparing it.
type Manifest struct {
	Schema       int       `json:"schema"`
	NodeID       string    `json:"node_id"`
	ABI          string    `json:"abi"`
	Created      time.Time `json:"created"`
	Tools        []string  `json:"tools"`
	Capabilities []string  `json:"capabilities"`
	Digest       string    `json:"digest"`
}

var (
	nodeJSON     = codec.For[Node]()
	manifestJSON = codec.For[Manifest]()
)

// schemaVersion is the version of Manifest's form.
const schemaVersion = 1

// describe answers with the same bytes at every call, as long as host and pack stay the same. The tools are those the node
// offers to others through this pack; the capabilities are the host functions of its contract.
func describe(c *guest.Call, _ struct{}) (Manifest, error) {
	node, err := identity(c)
	if err != nil {
		return Manifest{}, err
	}
	m := Manifest{Schema: schemaVersion, NodeID: node.ID, ABI: abi.Version, Created: node.Created, Capabilities: []string{}}
	for _, info := range guest.Describe() {
		m.Tools = append(m.Tools, info.ID)
	}
	for _, f := range abi.Functions {
		if name := string(f.Capability); !slices.Contains(m.Capabilities, name) {
			m.Capabilities = append(m.Capabilities, name)
		}
	}
	raw, err := manifestJSON.Append(nil, &m)
	if err != nil {
		return Manifest{}, err
	}
	sum := sha256.Sum256(raw)
	m.Digest = "sha256:" + hex.EncodeToString(sum[:])
	return m, nil
}
