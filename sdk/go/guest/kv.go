package guest

import (
	"encoding/binary"
	"iter"

	"github.com/arw-project/arw/sdk/go/guest/codec"
)

// KV is the pack's own durable key space, shared by all its tools and calls. Keys are UTF-8 text, ordered by their bytes.
// Needs [capabilities.kv].
type KV struct{ c *Call }

// KV gives the key space.
func (c *Call) KV() KV { return KV{c} }

// Get reads a value, which belongs to the caller; an absent key is an error with code not_found.
func (k KV) Get(key string) ([]byte, error) { return k.c.fetch(hostKVGet(k.c, key, k.c.scratch[:])) }

// Put stores a value; it is durable when Put returns. Several puts cost less as one Batch.
func (k KV) Put(key string, val []byte) error { return k.c.stored(hostKVPut(k.c, key, val)) }

// Delete removes a key; one that is not there is no error.
func (k KV) Delete(key string) error { return k.c.stored(hostKVDelete(k.c, key)) }

// Key is one key of a list and the size of its value in bytes.
type Key struct {
	Name string `json:"key"`
	Size int    `json:"size"`
}

type kvListRequest struct {
	Prefix string `json:"prefix"`
	After  string `json:"after"`
	Limit  int    `json:"limit"`
}

type kvListReply struct {
	Keys []Key `json:"keys"`
	More bool  `json:"more"`
}

var (
	kvListRequestJSON = codec.For[kvListRequest]()
	kvListReplyJSON   = codec.For[kvListReply]()
)

// List gives keys that start with prefix and stand behind after, in byte order, at most limit of them (0: 1,000), and
// whether there are more.
func (k KV) List(prefix, after string, limit int) (keys []Key, more bool, err error) {
	req, err := kvListRequestJSON.Append(nil, &kvListRequest{prefix, after, limit})
	if err != nil {
		return nil, false, err
	}
	reply, err := fetchJSON(k.c, hostKVList(k.c, req, k.c.scratch[:]), kvListReplyJSON)
	return reply.Keys, reply.More, err
}

// All gives every key that starts with prefix, in byte order, a thousand per host call. It ends at the first error.
func (k KV) All(prefix string) iter.Seq2[Key, error] {
	return func(yield func(Key, error) bool) {
		for after, more := "", true; more; {
			keys, rest, err := k.List(prefix, after, 0)
			if err != nil {
				yield(Key{}, err)
				return
			}
			for _, key := range keys {
				if !yield(key, nil) {
					return
				}
				after = key.Name
			}
			more = rest && len(keys) > 0
		}
	}
}

// Batch collects puts and deletes that happen together or not at all, in their order: the last one on a key wins.
type Batch struct{ ops []byte }

// Put adds a put; the value is copied.
func (b *Batch) Put(key string, val []byte) {
	b.ops = appendText(append(b.ops, 1), key)
	b.ops = append(binary.LittleEndian.AppendUint32(b.ops, uint32(len(val))), val...)
}

// Delete adds a removal.
func (b *Batch) Delete(key string) { b.ops = appendText(append(b.ops, 2), key) }

func appendText(dst []byte, s string) []byte {
	return append(binary.LittleEndian.AppendUint32(dst, uint32(len(s))), s...)
}

// Size is the bytes collected, for deciding when to write.
func (b *Batch) Size() int { return len(b.ops) }

// Apply writes a batch durably and empties it; an empty one costs nothing. A batch that failed stays as it is.
func (k KV) Apply(b *Batch) error {
	if len(b.ops) == 0 {
		return nil
	}
	err := k.c.stored(hostKVBatch(k.c, b.ops))
	if err == nil {
		b.ops = b.ops[:0]
	}
	return err
}
