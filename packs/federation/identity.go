package main

import (
	"encoding/binary"
	"encoding/hex"
	"strings"
	"time"

	"github.com/arw-project/arw/abi"
	"github.com/arw-project/arw/sdk/go/guest"
)

const (
	nodeKey  = "node"
	claims   = "claim/"
	claimAge = 15 * time.Second // above the tool's time limit: an older claim belongs to a call that was cut off
)

// identity reads the node's id, making it the first time.
func identity(c *guest.Call) (Node, error) {
	n, err := stored(c)
	if abi.CodeOf(err) != abi.NotFound {
		return n, err
	}
	return create(c)
}

func stored(c *guest.Call) (n Node, err error) {
	raw, err := c.KV().Get(nodeKey)
	if err != nil {
		return n, err
	}
	if err := nodeJSON.Decode(raw, &n); err != nil {
		return n, guest.Errorf(abi.Corrupt, "read the node's id: %w", err)
	}
	return n, nil
}

// create makes the id. Calls run beside each other and there is no compare-and-swap, so each that wants to create first
// puts a claim of its own and then looks for others: of two that come together at least one sees the other and gives way.
// Behind its claim it looks once more whether somebody was quicker.
func create(c *guest.Call) (Node, error) {
	var random [24]byte
	if err := c.Random(random[:]); err != nil {
		return Node{}, err
	}
	now, err := c.Now()
	if err != nil {
		return Node{}, err
	}
	claim := claims + hex.EncodeToString(random[16:])
	if err := c.KV().Put(claim, binary.LittleEndian.AppendUint64(nil, uint64(now.UnixNano()))); err != nil {
		return Node{}, err
	}
	n, err := createAlone(c, claim, now, "node_"+hex.EncodeToString(random[:16]))
	if derr := c.KV().Delete(claim); err == nil {
		err = derr
	}
	return n, err
}

func createAlone(c *guest.Call, claim string, now time.Time, id string) (Node, error) {
	if err := alone(c.KV(), claim, now); err != nil {
		return Node{}, err
	}
	n, err := stored(c)
	if abi.CodeOf(err) != abi.NotFound {
		return n, err
	}
	n = Node{ID: id, Created: now.Truncate(time.Millisecond)}
	raw, err := nodeJSON.Append(nil, &n)
	if err != nil {
		return n, err
	}
	// The event goes first: one too many, if the call is cut off here, is better than none for the id that stays.
	if err := c.Emit("federation.node.created", n); err != nil {
		return n, err
	}
	return n, c.KV().Put(nodeKey, raw)
}

// alone answers busy while another call's claim stands, and clears away those of calls that were cut off.
func alone(kv guest.KV, claim string, now time.Time) error {
	for key, err := range kv.All(claims) {
		if err != nil {
			return err
		}
		if key.Name == claim {
			continue
		}
		raw, err := kv.Get(key.Name)
		switch {
		case abi.CodeOf(err) == abi.NotFound:
			continue
		case err != nil:
			return err
		}
		if len(raw) == 8 && now.Sub(time.Unix(0, int64(binary.LittleEndian.Uint64(raw)))).Abs() < claimAge {
			return guest.Errorf(abi.Busy, "make the node's id: the call %q is making it; call again", strings.TrimPrefix(key.Name, claims))
		}
		if err := kv.Delete(key.Name); err != nil {
			return err
		}
	}
	return nil
}
