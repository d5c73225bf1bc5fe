package host_test

import (
	"net"
	"strings"
	"testing"
	"time"

	"github.com/arw-project/arw/abi"
	"github.com/arw-project/arw/host"
	"github.com/arw-project/arw/host/api"
	"github.com/arw-project/arw/host/hosttest"
	"github.com/arw-project/arw/host/internal/action"
	"github.com/arw-project/arw/host/internal/journal"
	"github.com/arw-project/arw/host/internal/queue"
	"github.com/arw-project/arw/sdk/go/client"
)

// A policy that forbids a tool forbids it through every door and at every time, whatever words it gives as its reason: those
// that sound like a question to be answered, too. It is asked when the tool is to run, not when the action was taken in.
func TestADenyHoldsThroughEveryDoor(t *testing.T) {
	t.Parallel()
	h := hosttest.New(t, hosttest.Options{Stopped: true, Config: func(c *host.Config) {
		c.Schedules = []host.Schedule{{Name: "beat", Every: time.Second, Tool: "sink.echo", Missed: "once"}}
	}})
	h.Install(hosttest.SinkPack(t))
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	h.ServeAt(ln)
	token, err := h.Token()
	if err != nil {
		t.Fatal(err)
	}
	d := &doors{t: t, h: h, http: client.New("http://"+ln.Addr().String(), token)}
	d.acts = h.Services().Actions
	hosttest.Eventually(t, "it works", func() bool { return d.acts.Stats().Working })
	h.MustCall("sink.echo", `{}`)

	for _, why := range []string{
		`@reason("no")`, `@reason("lease required")`, `@reason("ask the operator")`, `@reason("allow")`, `@reason("dry run") @obligation("log")`, `@x_code("explicit_allow")`, ``,
	} {
		t.Run(why, func(t *testing.T) {
			d.t = t
			d.tick("the schedule's tick runs", "actions.completed", "sink.echo")
			waiting, dead := d.before()
			h.WriteState("policy/no.cedar", `@id("local.no_echo") `+why+` forbid (principal, action == Action::"call", resource == Tool::"test/sink:sink.echo");`)
			if _, err := h.ReloadPolicy(t.Context(), "", "operator"); err != nil {
				t.Fatal(err)
			}
			from := h.Services().Journal.Last()
			d.denied("what waited before", waiting, nil)
			again, err := d.http.Requeue(t.Context(), dead)
			d.denied("a dead letter that is requeued", again.ID, err)
			for _, actor := range []string{"operator", "agent:mcp", "agent:local", "person:ann"} {
				a, _, err := d.acts.Submit(t.Context(), action.Request{Kind: "sink.echo", Actor: actor})
				d.denied(actor, a.ID, err)
			}
			a, err := d.http.Submit(t.Context(), api.SubmitAction{Kind: "test/sink:sink.echo", Priority: "high"}, false)
			d.denied("HTTP and the command line", a.ID, err)
			a, err = d.http.Retry(t.Context(), a.ID)
			d.denied("a retry", a.ID, err)
			b, _, err := d.acts.Submit(t.Context(), action.Request{Kind: "sink.call", Actor: "operator", Input: []byte(`{"tool":"sink.echo","input":"{}"}`)})
			d.denied("a pack that calls", b.ID, err)
			d.tick("the schedule's tick is refused", "actions.failed", `"code":"denied"`)
			for _, r := range h.Events(journal.Filter{Prefixes: []string{"actions.completed"}}) {
				if r.ID > from && strings.Contains(string(r.Body), "sink.echo") {
					t.Fatalf("it ran: %s", r.Body)
				}
			}
			h.WriteState("policy/no.cedar", "")
			if _, err := h.ReloadPolicy(t.Context(), "", "operator"); err != nil {
				t.Fatal(err)
			}
			h.MustCall("sink.echo", `{}`)
		})
	}
}

type doors struct {
	t    *testing.T
	h    *hosttest.Host
	http *client.Client
	acts *action.Executor
}

// tick waits until an action of the schedule ends in a way, from here on.
func (d *doors) tick(what, kind, says string) {
	d.t.Helper()
	from := d.h.Services().Journal.Last()
	hosttest.Eventually(d.t, what, func() bool {
		for _, r := range d.h.Events(journal.Filter{Prefixes: []string{kind}, Actor: "agent:schedule.beat"}) {
			if r.ID > from && strings.Contains(string(r.Body), says) {
				return true
			}
		}
		return false
	})
}

// before leaves an action waiting and another dead, while both are allowed, in a queue that is paused.
func (d *doors) before() (waiting, dead string) {
	d.t.Helper()
	if _, err := d.acts.Pause(d.t.Context(), "operator", ""); err != nil {
		d.t.Fatal(err)
	}
	w, _, err := d.acts.Submit(d.t.Context(), action.Request{Kind: "sink.echo", Actor: "operator"})
	if err != nil {
		d.t.Fatal(err)
	}
	late, _, err := d.acts.Submit(d.t.Context(), action.Request{Kind: "sink.echo", Actor: "operator", Deadline: time.Now().Add(20 * time.Millisecond)})
	if err != nil {
		d.t.Fatal(err)
	}
	hosttest.Eventually(d.t, "its deadline passes", func() bool {
		jobs, err := d.acts.Jobs(d.t.Context(), queue.Dead, "", 100)
		return err == nil && len(jobs) > 0 && jobs[len(jobs)-1].ID == late.ID
	})
	return w.ID, late.ID
}

// denied asserts that an action was refused, when it was taken in or when it was to run, by the policy.
func (d *doors) denied(door, id string, err error) {
	d.t.Helper()
	if err != nil {
		if abi.CodeOf(err) != abi.Denied {
			d.t.Fatalf("%s: %v", door, err)
		}
		return
	}
	if d.acts.Stats().Paused {
		if _, err := d.acts.Unpause(d.t.Context(), "operator"); err != nil {
			d.t.Fatal(err)
		}
	}
	a, err := d.acts.Wait(d.t.Context(), id)
	if err != nil || a.State != action.Failed || a.Failure.Code != abi.Denied {
		d.t.Fatalf("%s: %+v %+v, %v", door, a, a.Failure, err)
	}
}
