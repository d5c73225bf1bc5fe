package main

import (
	"encoding/binary"
	"encoding/hex"
	"strings"
	"time"

	"github.com/arw-project/arw/sdk/go/guest"
)

const idPrefix = "note_"

// newID makes a UUIDv7 (RFC 9562) whose text sorts by time: 48 bits of milliseconds, 12 bits of the rest of the
// millisecond, 62 of chance. It sorts behind the id named last, even where the clock was set back since.
func newID(c *guest.Call, now time.Time, last string) (string, error) {
	tick := uint64(now.UnixMilli())<<12 | uint64(now.Nanosecond()%1e6)<<12/1e6
	if t, ok := tickOf(last); ok && tick <= t {
		tick = t + 1
	}
	var b [16]byte
	if err := c.Random(b[8:]); err != nil {
		return "", err
	}
	binary.BigEndian.PutUint64(b[:], tick>>12<<16|7<<12|tick&0xfff)
	b[8] = b[8]&0x3f | 0x80
	h := hex.EncodeToString(b[:])
	return idPrefix + h[:8] + "-" + h[8:12] + "-" + h[12:16] + "-" + h[16:20] + "-" + h[20:], nil
}

// tickOf reads the time of an id back; not ok for a text that is none.
func tickOf(id string) (uint64, bool) {
	b, err := hex.DecodeString(strings.ReplaceAll(strings.TrimPrefix(id, idPrefix), "-", ""))
	if err != nil || len(b) != 16 {
		return 0, false
	}
	head := binary.BigEndian.Uint64(b)
	return head>>16<<12 | head&0xfff, true
}
