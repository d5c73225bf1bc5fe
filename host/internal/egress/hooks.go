package egress

import (
	"context"
	"database/sql"
	"strings"
	"time"

	"github.com/arw-project/arw/abi"
	"github.com/arw-project/arw/host/internal/dnsguard"
	"github.com/arw-project/arw/manifests/reach"
)

// Anomaly is what is odd about names.
type Anomaly = dnsguard.Anomaly

// who names an asker for the detector.
func (c Caller) who() string {
	if c.Pack != "" {
		return "pack:" + c.Pack
	}
	return c.Actor
}

// asking tells the detector of a question, before it is put.
func (g *Guard) asking(h *hop, j *judged) error {
	odd, told := g.odd.Question(time.Now(), h.caller.who(), h.dest.Host)
	g.alarm(h.caller, told)
	return g.checkOdd(h, j, odd)
}

// named reports whether an entry of a lease names its host, rather than many.
func named(scope string) bool {
	e, err := reach.Parse(scope)
	return err == nil && !strings.HasPrefix(e.Host(), "*")
}

// answered is told of every answer of the resolver; err says that it leads where nobody may go.
func (g *Guard) answered(h *hop, err error) {
	g.alarm(h.caller, g.odd.Answer(time.Now(), h.caller.who(), h.dest.Host, true, err == nil))
}

func (g *Guard) unanswered(h *hop, err error) {
	if abi.CodeOf(err) == abi.NotFound {
		g.alarm(h.caller, g.odd.Answer(time.Now(), h.caller.who(), h.dest.Host, false, false))
	}
}

// alarm journals what is odd, in the undertaking of whoever asked.
func (g *Guard) alarm(c Caller, found []Anomaly) {
	for _, a := range found {
		if g.cfg.Alarm != nil {
			g.cfg.Alarm(a)
		}
		err := g.db.Write(context.Background(), func(tx *sql.Tx) error { return g.tell(tx, KindAnomaly, c, a) })
		if err != nil {
			g.log.Error("journal an anomaly of names", "reason", a.Reason, "error", err)
		}
	}
}
