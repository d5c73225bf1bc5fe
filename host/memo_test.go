package host_test

import (
	"encoding/json"
	"sync"
	"testing"

	"github.com/arw-project/arw/host/hosttest"
	"github.com/arw-project/arw/host/internal/journal"
)

// A hundred equal calls that come at once through the door are one call of the guest: one missed, the others were given its
// answer.
func TestAHundredEqualCallsOverHTTPAreOne(t *testing.T) {
	t.Parallel()
	h := hosttest.New(t, hosttest.Options{Stopped: true})
	h.Install(hosttest.SinkPack(t))
	base, stop := serveAll(t, h)
	var wg sync.WaitGroup
	for range 100 {
		wg.Go(func() { submit(t, base, `{"kind":"sink.echo","input":{"n":7}}`) })
	}
	wg.Wait()
	stop()
	got := map[string]int{}
	for _, r := range h.Events(journal.Filter{Prefixes: []string{"tool.cache"}}) {
		var body struct{ Tool, Outcome string }
		if err := json.Unmarshal(r.Body, &body); err != nil {
			t.Fatal(err)
		}
		if body.Tool == "sink.echo" {
			got[body.Outcome]++
		}
	}
	if got["miss"] != 1 || got["hit"]+got["coalesced"] != 99 {
		t.Errorf("the outcomes are %v", got)
	}
	if done := len(h.Events(journal.Filter{Prefixes: []string{"actions.completed"}})); done != 100 {
		t.Errorf("%d of 100 callers have their answer", done)
	}
}
