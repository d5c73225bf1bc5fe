package quota

import (
	"time"
)

// key names a counter: the rule and on whose account.
type key struct{ quota, subject string }

// What has been told of a window.
const (
	toldNearing uint8 = 1 << iota
	toldExhausted
)

// counter is one account in its present window; Book.mu guards it. A window begins with the first use after the one before ended, so
// its end is a time of the monotonic clock and nobody's to move.
type counter struct {
	key  key
	rule *Rule // the one in force that last counted; nil after a restart until one does

	seq   int64         // of the window, from 1
	began stamp         // of the window
	at    time.Duration // when it began, by the monotonic clock of this process; negative when before its start

	used     [sides]int64
	reserved [sides]int64 // what the database holds as used
	told     uint8        // what is told, or about to be
	written  uint8        // what is told
	refused  int64        // since the window began, in this process
}

// full is the side on which an amount does not fit, -1 when it fits. A side that is used up refuses whatever the amount.
func (c *counter) full(amount [sides]int64) int {
	for i, limit := range sidesOf(c.rule.Limit) {
		if limit > 0 && (c.used[i] >= limit || amount[i] > limit-c.used[i]) {
			return i
		}
	}
	return -1
}

func (c *counter) add(amount [sides]int64, sign int64) {
	for i, n := range amount {
		c.used[i] = max(0, c.used[i]+sign*n)
	}
}

// level says whether a side has come near its end, and whether one has reached it.
func (c *counter) level() (near, full bool) {
	for i, limit := range sidesOf(c.rule.Limit) {
		if limit > 0 {
			near = near || float64(c.used[i]) >= float64(limit)*float64(c.rule.Near)/100
			full = full || c.used[i] >= limit
		}
	}
	return near, full
}

// tell notes that something is to be told; false when it was.
func (c *counter) tell(what uint8) bool {
	was := c.told&what != 0
	c.told |= what
	return !was
}

// overdrawn reports whether more is used than the database knows of.
func (c *counter) overdrawn() bool {
	for i, limit := range sidesOf(c.rule.Limit) {
		if limit > 0 && c.used[i] > c.reserved[i] {
			return true
		}
	}
	return false
}

// want is what to write as used: a sixteenth of the limit ahead, the most that a crash can take.
func (c *counter) want() [sides]int64 {
	out := c.used
	for i, limit := range sidesOf(c.rule.Limit) {
		if limit > 0 {
			out[i] = max(c.used[i], c.reserved[i], min(limit, c.used[i]+max(1, limit/16)))
		}
	}
	return out
}
