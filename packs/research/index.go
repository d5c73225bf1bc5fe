package main

import (
	"cmp"
	"encoding/binary"
	"encoding/json"
	"slices"
	"strconv"
	"time"

	"github.com/arw-project/arw/abi"
	"github.com/arw-project/arw/sdk/go/guest"
)

// index is one project's part of the key space.
type index struct {
	kv     guest.KV
	prefix string
	meta   meta
}

// meta is what every call needs; it is small whatever the corpus is.
type meta struct {
	Next    uint32            `json:"next"`   // id of the next passage
	Chunk   uint32            `json:"chunk"`  // number of the next batch
	Loose   int               `json:"loose"`  // batches since the postings were last merged
	Docs    int               `json:"docs"`   // passages that are there
	Tokens  int               `json:"tokens"` // their length in all
	Dead    []span            `json:"dead,omitempty"`
	Corpora map[string]corpus `json:"corpora,omitempty"`
}

// span is a run of passage ids that are gone while postings may still name them.
type span struct {
	First uint32 `json:"first"`
	N     uint32 `json:"n"`
}

// corpus is what is known of one folder.
type corpus struct {
	Files    int       `json:"files"`
	Passages int       `json:"passages"`
	Bytes    int64     `json:"bytes"`
	Time     time.Time `json:"time"` // of the last complete ingest
}

// record is what is kept of a file.
type record struct {
	Size   int64  `json:"size"`
	MTime  int64  `json:"mtime"`
	SHA    string `json:"sha"`
	First  uint32 `json:"first"` // its passages are First … First+N-1
	N      uint32 `json:"n"`
	Tokens int    `json:"tokens"`
}

// stored is a passage as it is kept.
type stored struct {
	passage
	path string
}

func openIndex(c *guest.Call, project string) (*index, error) {
	x := &index{kv: c.KV(), prefix: "p/" + cmp.Or(project, "default") + "/"}
	err := x.get("meta", &x.meta)
	if abi.CodeOf(err) == abi.NotFound {
		err = nil
	}
	if x.meta.Corpora == nil {
		x.meta.Corpora = map[string]corpus{}
	}
	return x, err
}

// get reads a JSON value; not_found when there is none.
func (x *index) get(key string, into any) error {
	raw, err := x.kv.Get(x.prefix + key)
	if err != nil {
		return err
	}
	if err := json.Unmarshal(raw, into); err != nil {
		return guest.Errorf(abi.Corrupt, "read %q: %w", x.prefix+key, err)
	}
	return nil
}

// put adds a JSON value to a batch.
func (x *index) put(b *guest.Batch, key string, val any) error {
	raw, err := json.Marshal(val)
	if err != nil {
		return err
	}
	b.Put(x.prefix+key, raw)
	return nil
}

func hex8(n uint32) string {
	s := strconv.FormatUint(uint64(n), 16)
	return "00000000"[len(s):] + s
}

func (x *index) passageKey(id uint32) string { return x.prefix + "d/" + hex8(id) }

func appendText(dst []byte, s string) []byte {
	return append(binary.AppendUvarint(dst, uint64(len(s))), s...)
}

// appendPassage encodes a passage: path, heading, text (each a length and bytes), first and last line; lengths and
// numbers are uvarints.
func appendPassage(dst []byte, p stored) []byte {
	dst = appendText(appendText(appendText(dst, p.path), p.heading), p.text)
	return binary.AppendUvarint(binary.AppendUvarint(dst, uint64(p.from)), uint64(p.to))
}

// reader takes an encoding apart; after the first fault it gives zero values and says so.
type reader struct {
	rest []byte
	bad  bool
}

func (r *reader) number() int {
	v, n := binary.Uvarint(r.rest)
	if n <= 0 || v > 1<<31-1 {
		r.bad, r.rest = true, nil
		return 0
	}
	r.rest = r.rest[n:]
	return int(v)
}

func (r *reader) text() string {
	n := r.number()
	if n > len(r.rest) {
		r.bad, r.rest = true, nil
		return ""
	}
	s := string(r.rest[:n])
	r.rest = r.rest[n:]
	return s
}

// passage reads a passage back.
func (x *index) passage(id uint32) (stored, error) {
	raw, err := x.kv.Get(x.passageKey(id))
	if err != nil {
		return stored{}, err
	}
	r := reader{rest: raw}
	p := stored{path: r.text()}
	p.heading, p.text, p.from, p.to = r.text(), r.text(), r.number(), r.number()
	if r.bad || len(r.rest) > 0 {
		return stored{}, guest.Errorf(abi.Corrupt, "read passage %d: it is not as it was written", id)
	}
	return p, nil
}

// posting says that a passage of a length holds a term so many times.
type posting struct {
	id            uint32
	count, length int
}

// appendPostings encodes postings in the order of their ids: the distance to the id before, count, length, as uvarints.
func appendPostings(dst []byte, list []posting) []byte {
	last := uint32(0)
	for _, p := range list {
		dst = binary.AppendUvarint(dst, uint64(p.id-last))
		dst = binary.AppendUvarint(dst, uint64(p.count))
		dst = binary.AppendUvarint(dst, uint64(p.length))
		last = p.id
	}
	return dst
}

// readPostings is the inverse; it appends to dst what is alive.
func (x *index) readPostings(dst []posting, raw []byte) ([]posting, error) {
	r := reader{rest: raw}
	id := 0
	for len(r.rest) > 0 {
		id += r.number()
		p := posting{uint32(id), r.number(), r.number()}
		if !r.bad && !x.dead(p.id) {
			dst = append(dst, p)
		}
	}
	if r.bad {
		return nil, guest.Errorf(abi.Corrupt, "read postings: they are not as they were written")
	}
	return dst, nil
}

// dead reports whether a passage is gone; Dead is sorted.
func (x *index) dead(id uint32) bool {
	i, found := slices.BinarySearchFunc(x.meta.Dead, id, func(s span, id uint32) int { return cmp.Compare(s.First, id) })
	return found || i > 0 && id-x.meta.Dead[i-1].First < x.meta.Dead[i-1].N
}

// bury marks a file's passages as gone and takes them out of the counters; joined spans keep the list short.
func (x *index) bury(b *guest.Batch, r record) {
	for id := r.First; id < r.First+r.N; id++ {
		b.Delete(x.passageKey(id))
	}
	x.meta.Docs -= int(r.N)
	x.meta.Tokens -= r.Tokens
	if r.N == 0 {
		return
	}
	i, _ := slices.BinarySearchFunc(x.meta.Dead, r.First, func(s span, id uint32) int { return cmp.Compare(s.First, id) })
	x.meta.Dead = slices.Insert(x.meta.Dead, i, span{r.First, r.N})
	joined := x.meta.Dead[:0]
	for _, s := range x.meta.Dead {
		if n := len(joined); n > 0 && joined[n-1].First+joined[n-1].N == s.First {
			joined[n-1].N += s.N
			continue
		}
		joined = append(joined, s)
	}
	x.meta.Dead = joined
}
