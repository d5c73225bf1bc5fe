package main

import (
	"reflect"
	"strings"
	"time"

	"github.com/arw-project/arw/abi"
	"github.com/arw-project/arw/sdk/go/guest"
	"github.com/arw-project/arw/sdk/go/guest/codec"
)

// Tally is what the pack knows of a project beside its notes. Settled and SettledAt belong together and are true for ever:
// so many notes have ids up to that one. So whoever writes a tally last, it is right.
type Tally struct {
	Notes     int       `json:"notes"`
	LastID    string    `json:"last_id"`
	Last      time.Time `json:"last"`
	Settled   int       `json:"settled"`
	SettledAt string    `json:"settled_at"`
}

var tallyJSON = codec.For[Tally]()

// summary is the read model collaboration.notes, by project.
type summary map[string]shown

type shown struct {
	Notes  int       `json:"notes"`
	LastID string    `json:"last_id"`
	Last   time.Time `json:"last"`
}

const tallyPrefix = "p/"

func readTally(kv guest.KV, project string) (t Tally, err error) {
	raw, err := kv.Get(tallyPrefix + project)
	switch {
	case abi.CodeOf(err) == abi.NotFound:
		return t, nil
	case err != nil:
		return t, err
	}
	if err = tallyJSON.Decode(raw, &t); err != nil {
		return t, guest.Errorf(abi.Corrupt, "read the tally of project %q: %w", project, err)
	}
	return t, nil
}

// settleAfter is how many notes are counted one by one before the older ones among them become a number, and settleAge how
// old those are at least: a call that is still writing an older id has ended by then.
const (
	settleAfter = 500
	settleAge   = time.Minute
)

// count counts a project's notes from where its tally was settled.
func count(kv guest.KV, project string, t Tally, now time.Time) (Tally, error) {
	prefix := notePrefix(project)
	t.Notes = t.Settled
	settled, settledAt, fresh := t.Settled, t.SettledAt, 0
	for after, more := prefix+t.SettledAt, true; more; {
		keys, rest, err := kv.List(prefix, after, 0)
		if err != nil {
			return t, err
		}
		for _, k := range keys {
			id := strings.TrimPrefix(k.Name, prefix)
			t.Notes++
			t.LastID, after = id, k.Name
			if fresh++; timeOf(id).Before(now.Add(-settleAge)) {
				settled, settledAt = t.Notes, id
			}
		}
		more = rest && len(keys) > 0
	}
	if fresh > settleAfter {
		t.Settled, t.SettledAt = settled, settledAt
	}
	t.Last = timeOf(t.LastID)
	return t, nil
}

func timeOf(id string) time.Time {
	tick, _ := tickOf(id)
	return time.UnixMilli(int64(tick >> 12)).UTC()
}

// attempts bounds how often show looks again. Whoever gives up has others behind it that show the same.
const attempts = 8

// show brings the tally and the read model up to date. It looks again after it wrote: of calls that come together, the
// last to write sees the notes of all the others.
func show(c *guest.Call, note Note) error {
	var before summary
	for range attempts {
		t, err := readTally(c.KV(), note.Project)
		if err != nil {
			return err
		}
		if t, err = count(c.KV(), note.Project, t, note.Time); err != nil {
			return err
		}
		raw, err := tallyJSON.Append(nil, &t)
		if err != nil {
			return err
		}
		if err := c.KV().Put(tallyPrefix+note.Project, raw); err != nil {
			return err
		}
		now, err := summarise(c.KV())
		if err != nil || before != nil && reflect.DeepEqual(now, before) {
			return err
		}
		if err := c.State().Put("collaboration.notes", now); err != nil {
			return err
		}
		before = now
	}
	return nil
}

// summarise reads the tallies of all projects.
func summarise(kv guest.KV) (summary, error) {
	all := summary{}
	for key, err := range kv.All(tallyPrefix) {
		if err != nil {
			return nil, err
		}
		project := strings.TrimPrefix(key.Name, tallyPrefix)
		t, err := readTally(kv, project)
		if err != nil {
			return nil, err
		}
		all[project] = shown{t.Notes, t.LastID, t.Last}
	}
	return all, nil
}
