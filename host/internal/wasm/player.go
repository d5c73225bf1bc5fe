package wasm

import (
	"context"
	"encoding/binary"
	"encoding/hex"
	"errors"
	"fmt"
	"math/rand/v2"

	"github.com/arw-project/arw/abi"
)

func hexOf(b []byte) string { return hex.EncodeToString(b) }

// player answers a guest's questions out of a record. Nothing of the world is behind it.
type player struct {
	rec     *Record
	loose   bool // another version of the pack: what it asks may differ
	at      int  // strict: the next call of the record
	unused  map[string][]int
	used    []bool
	ending  bool
	diverse *Divergence
	added   []Change
	config  func(name string) ([]byte, bool) // documents in the place of those that were read; nil: none
	// What a loose replay makes up.
	input []byte // what was streamed in and not read yet
	reads bool   // whether the record read a stream
	keys  map[string][]byte
	last  map[string]uint64
	dice  *rand.ChaCha8
}

// Divergence is where a replay left its record.
type Divergence struct {
	Call     int    `json:"call"` // index of the host call, from 0; the number of calls when it is the end that differs
	Expected string `json:"expected"`
	Got      string `json:"got"`
}

// Error says it in a line.
func (d *Divergence) Error() string {
	return fmt.Sprintf("host call %d: the record has %s, the guest asked %s", d.Call, d.Expected, d.Got)
}

// Change is one host call that the version asked for and the record does not have (Added), or the other way round.
type Change struct {
	Added bool   `json:"added"`
	Call  int    `json:"call"` // index in the record; for an added one, how many of the record came before
	Text  string `json:"text"`
}

func newPlayer(rec *Record, loose bool) *player {
	p := &player{rec: rec, loose: loose, used: make([]bool, len(rec.Calls))}
	if !loose {
		return p
	}
	p.unused, p.keys, p.last = map[string][]int{}, map[string][]byte{}, map[string]uint64{}
	p.dice = rand.NewChaCha8([32]byte{1})
	for i, h := range rec.Calls {
		if h.Name == "stream.read" && h.Code == abi.OK && len(h.Args) == 1 && h.Args[0] == abi.HandleInput {
			p.input = append(p.input, h.Data...)
			p.reads, p.used[i] = true, true // read in other pieces is read the same
			continue
		}
		k := looseKey(h)
		p.unused[k] = append(p.unused[k], i)
	}
	return p
}

// looseKey forgets what differs from version to version without meaning anything.
func looseKey(h HostCall) string {
	if h.Name == wasiSleep {
		h.Args = nil
	}
	return h.key()
}

// find is the recorded call that answers a question; nil when a loose replay has none. A strict one ends the call then.
func (p *player) find(c *call, h HostCall) *HostCall {
	if p.loose {
		k := looseKey(h)
		if left := p.unused[k]; len(left) > 0 {
			p.unused[k] = left[1:]
			p.used[left[0]] = true
			p.at = max(p.at, left[0]+1)
			return &p.rec.Calls[left[0]]
		}
		return nil
	}
	if p.at == len(p.rec.Calls) {
		p.diverge(c, "no further call", h.Question())
		return nil
	}
	want := &p.rec.Calls[p.at]
	if want.key() != h.key() || want.Room != h.Room {
		p.diverge(c, withRoom(*want, h), withRoom(h, *want))
		return nil
	}
	p.used[p.at] = true
	p.at++
	return want
}

// withRoom names the room of the out buffer where that is the difference.
func withRoom(h, other HostCall) string {
	if h.key() == other.key() {
		return fmt.Sprintf("%s with room for %d bytes", h.Question(), h.Room)
	}
	return h.Question()
}

// errDiverged ends the guest where it left the record.
var errDiverged = errors.New("the replay left its record")

func (p *player) diverge(c *call, expected, got string) {
	if p.diverse == nil {
		p.diverse = &Divergence{p.at, expected, got}
	}
	if p.ending {
		return
	}
	c.stopped, c.inside = errDiverged, ""
	panic(errDiverged)
}

// hostCall answers one function of the ABI.
func (p *player) hostCall(c *call, f *hostFunc, a []uint64, h HostCall) abi.Status {
	if p.reads && h.Name == "stream.read" {
		if s, ok := p.streamed(c, f, a); ok {
			return s
		}
	}
	if val, ok := p.written(h); ok {
		return c.reply(a, outAt(f), val)
	}
	want := p.find(c, h)
	if p.config != nil && h.Name == "config.get" && len(h.In) == 1 && (want == nil || want.Code == abi.OK || want.Code == abi.More) {
		if doc, ok := p.config(string(h.In[0].Bytes)); ok {
			return c.reply(a, outAt(f), doc)
		}
	}
	if want == nil {
		return p.invent(c, f, a, h)
	}
	return p.give(c, f, a, want)
}

// give passes a recorded answer to the guest, the way the function did.
func (p *player) give(c *call, f *hostFunc, a []uint64, want *HostCall) (s abi.Status) {
	out := outAt(f)
	switch {
	case want.Code != abi.OK && want.Code != abi.More:
		s = c.fail(want.Code, string(want.Data))
	case out < 0:
		c.streams.inClosed = c.streams.inClosed || want.Name == "stream.close" && uint32(a[0]) == abi.HandleInput
		s = c.ok()
	case whole[want.Name] && int64(len(want.Data)) > int64(uint32(a[out+1])):
		p.diverge(c, fmt.Sprintf("room for %d bytes", len(want.Data)), fmt.Sprintf("%s with room for %d", want.Question(), uint32(a[out+1])))
	default:
		s = c.reply(a, out, want.Data)
	}
	c.moved = want.Moved
	return s
}

// whole are the functions that never answer more.
var whole = map[string]bool{"fs.read": true, "rand.bytes": true, "stream.read": true}

// streamed reads on in what was streamed in, in pieces of the guest's choice.
func (p *player) streamed(c *call, f *hostFunc, a []uint64) (abi.Status, bool) {
	b, ok := c.bytes(uint32(a[1]), uint32(a[2]))
	if uint32(a[0]) != abi.HandleInput || !ok || len(b) == 0 || c.streams.inClosed {
		return 0, false
	}
	n := copy(b[:min(len(b), abi.MaxPart)], p.input)
	p.input = p.input[n:]
	c.pending = nil
	c.moved += int64(n)
	return abi.MakeStatus(abi.OK, uint32(n)), true
}

// written is a key that a loose replay put itself, with a value that the record does not know.
func (p *player) written(h HostCall) ([]byte, bool) {
	if !p.loose || h.Name != "kv.get" || len(h.In) != 1 {
		return nil, false
	}
	val, ok := p.keys[string(h.In[0].Bytes)]
	return val, ok && val != nil
}

// invent answers what the record has no answer to, where an answer can be made up without lying about the world: effects
// are taken as done, clocks go on, dice fall. What would have to be known ends the replay.
func (p *player) invent(c *call, f *hostFunc, a []uint64, h HostCall) abi.Status {
	if !p.loose {
		return 0 // ended already
	}
	p.added = append(p.added, Change{true, p.at, h.Question()})
	for _, g := range h.In {
		if g.Outside {
			return c.outside("an input")
		}
	}
	switch h.Name {
	case "log.write", "event.emit", "state.put", "kv.put", "kv.delete", "kv.batch", "fs.write", "fs.remove", "stream.write", "stream.send", "stream.close":
		if h.Name == "kv.put" && len(h.In) == 2 {
			if val, ok := c.arg(a, 2); ok {
				p.keys[string(h.In[0].Bytes)] = val
			}
		}
		for _, g := range h.In {
			c.moved += g.Len
		}
		return c.ok()
	case "clock.now", "clock.monotonic":
		return c.reply(a, 0, binary.LittleEndian.AppendUint64(nil, p.later(h.Name)))
	case "rand.bytes":
		if b, ok := c.view(a, 0); ok {
			_, _ = p.dice.Read(b)
			c.pending = nil
			return abi.MakeStatus(abi.OK, uint32(len(b)))
		}
	}
	p.diverge(c, "no answer to it", h.Question())
	return 0
}

// later is a reading behind the last one of the record, a microsecond on each time.
func (p *player) later(name string) uint64 {
	if _, known := p.last[name]; !known {
		for _, h := range p.rec.Calls {
			if h.Name == name && len(h.Data) == 8 {
				p.last[name] = max(p.last[name], binary.LittleEndian.Uint64(h.Data))
			}
		}
	}
	p.last[name] += 1000
	return p.last[name]
}

// ambient answers what WASI asks.
func (p *player) ambient(c *call, h HostCall) []byte {
	want := p.find(c, h)
	switch {
	case want != nil:
		return want.Data
	case p.ending && !p.loose:
		return nil
	}
	p.added = append(p.added, Change{true, p.at, h.Question()})
	switch h.Name {
	case extismAsks: // what a server would say cannot be made up
		p.diverge(c, "no answer to it", h.Question())
		return nil
	case wasiClock:
		return binary.LittleEndian.AppendUint64(nil, p.later(h.Name))
	case wasiRand:
		b := make([]byte, h.Room)
		_, _ = p.dice.Read(b)
		return b
	}
	return []byte{0}
}

// stops says whether the recorded call was ended from outside just here.
func (p *player) stops(gas uint64) error {
	if p.loose || !p.rec.End.Stopped || gas != p.rec.End.Gas {
		return nil
	}
	if p.rec.End.Code == abi.Deadline.String() {
		return context.DeadlineExceeded
	}
	return context.Canceled
}

// changes are the differences of a loose replay: what is asked for no more, then what is new.
func (p *player) changes() []Change {
	var out []Change
	for i, used := range p.used {
		if !used {
			out = append(out, Change{false, i, p.rec.Calls[i].Question()})
		}
	}
	return append(out, p.added...)
}
