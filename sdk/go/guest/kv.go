package guest

import (
	"encoding/binary"
	"encoding/json"

	"github.com/arw-project/arw/abi"
)

// KV is the pack's own durable key space, shared by all its tools and calls. Needs [capabilities.kv].
type KV struct{ sys system }

// KV gives the key space.
func (c *Call) KV() KV { return KV{c.sys} }

// Get reads a value; an absent key is an error with code not_found.
func (k KV) Get(key string) ([]byte, error) { return k.sys.kvGet([]byte(key)) }

// Put stores a value; it is durable when Put returns. Several puts cost less as one Batch.
func (k KV) Put(key string, val []byte) error { return k.sys.kvPut([]byte(key), val) }

// Delete removes a key; one that is not there is no error.
func (k KV) Delete(key string) error { return k.sys.kvDelete([]byte(key)) }

// Key is one key of a list and the size of its value in bytes.
type Key struct {
	Name string `json:"key"`
	Size int    `json:"size"`
}

// List gives keys that start with prefix and stand behind after, in byte order, at most limit of them (0: 1,000), and
// whether there are more.
func (k KV) List(prefix, after string, limit int) (keys []Key, more bool, err error) {
	req, err := json.Marshal(struct {
		Prefix string `json:"prefix"`
		After  string `json:"after"`
		Limit  int    `json:"limit"`
	}{prefix, after, limit})
	if err != nil {
		return nil, false, err
	}
	raw, err := k.sys.kvList(req)
	if err != nil {
		return nil, false, err
	}
	var list struct {
		Keys []Key `json:"keys"`
		More bool  `json:"more"`
	}
	err = decode(raw, &list)
	return list.Keys, list.More, err
}

// Batch collects puts and deletes that happen together or not at all.
type Batch struct{ ops []byte }

// Put adds a put.
func (b *Batch) Put(key string, val []byte) {
	b.ops = append(b.ops, 1)
	b.ops = binary.LittleEndian.AppendUint32(b.ops, uint32(len(key)))
	b.ops = append(b.ops, key...)
	b.ops = binary.LittleEndian.AppendUint32(b.ops, uint32(len(val)))
	b.ops = append(b.ops, val...)
}

// Delete adds a removal.
func (b *Batch) Delete(key string) {
	b.ops = append(b.ops, 2)
	b.ops = binary.LittleEndian.AppendUint32(b.ops, uint32(len(key)))
	b.ops = append(b.ops, key...)
}

// Size is the bytes collected, for deciding when to write.
func (b *Batch) Size() int { return len(b.ops) }

// Apply writes a batch durably and empties it; an empty one costs nothing.
func (k KV) Apply(b *Batch) error {
	if len(b.ops) == 0 {
		return nil
	}
	err := k.sys.kvBatch(b.ops)
	if err == nil {
		b.ops = b.ops[:0]
	}
	return err
}

// State is the pack's read models, which others see at /state/{id}. Needs [capabilities.state] and a [[state]] entry.
type State struct{ sys system }

// State gives the read models.
func (c *Call) State() State { return State{c.sys} }

// Get reads a read model into a value; one never written is not_found.
func (s State) Get(id string, into any) error {
	raw, err := s.sys.stateGet(id)
	if err != nil {
		return err
	}
	return decode(raw, into)
}

// Put replaces a read model.
func (s State) Put(id string, doc any) error {
	raw, err := json.Marshal(doc)
	if err != nil {
		return abi.Errorf(abi.Invalid, "write state %q: %w", id, err)
	}
	return s.sys.statePut(id, raw)
}

// Emit journals an event; its kind starts with a prefix of [capabilities.event], its body is an object.
func (c *Call) Emit(kind string, body any) error {
	raw, err := json.Marshal(body)
	if err != nil {
		return abi.Errorf(abi.Invalid, "emit event %q: %w", kind, err)
	}
	return c.sys.emit(kind, raw)
}
