package manifests

import (
	"strings"
	"time"

	"github.com/arw-project/arw/abi"
)

// Bounds of [tools.recall].
const (
	leastNear  = 0.5
	maxRecall  = 24 * time.Hour
	maxPointer = 256 // bytes
)

// recall checks what a tool says about giving its answers again; nil where it says nothing.
func (c *checker) recall(where at, t *Tool, raw *rawRecall) *Recall {
	if raw == nil {
		return nil
	}
	switch {
	case t.Effects > abi.Reads:
		c.bad(where, `only a tool of effects "pure" or "reads" may have its answers given again`, "a call of this tool changes something: an answer that is given again would not")
	case t.Isolation == "session" || len(t.Streams) > 0:
		c.bad(where, "remove it, or the streams and the session", "answers of sessions and streams are never given again")
	}
	c.pointer(where.key("question"), raw.Question, true)
	c.pointer(where.key("empty"), raw.Empty, false)
	c.pointer(where.key("same"), raw.Same, false)
	if raw.Near != 0 && !(raw.Near >= leastNear && raw.Near < 1) {
		c.bad(where.key("near"), "0.92 is a good beginning; leave it out to answer equal inputs alone", "is not between %g and 1", leastNear)
	}
	if ttl := time.Duration(raw.TTL); ttl < time.Second || ttl > maxRecall {
		c.bad(where.key("ttl"), "", "must be 1s to 1d")
	}
	return &Recall{Question: raw.Question, Near: raw.Near, Empty: raw.Empty, Same: raw.Same, TTL: time.Duration(raw.TTL)}
}

// pointer checks a JSON pointer (RFC 6901) to something inside a document.
func (c *checker) pointer(where at, p string, required bool) {
	if p == "" && !required {
		return
	}
	rest := strings.NewReplacer("~0", "", "~1", "").Replace(p)
	if !strings.HasPrefix(p, "/") || len(p) > maxPointer || strings.Contains(rest, "~") {
		c.bad(where, `write it as "/query"`, "is not a JSON pointer of at most %d bytes", maxPointer)
	}
}
