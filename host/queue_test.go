package host_test

import (
	"testing"

	"github.com/arw-project/arw/abi"
	"github.com/arw-project/arw/host"
	"github.com/arw-project/arw/host/hosttest"
	"github.com/arw-project/arw/host/internal/action"
)

// What waits outlives the host, with either backend, and goes over when another is chosen.
func TestWhatWaitsGoesFromBackendToBackend(t *testing.T) {
	t.Parallel()
	var q host.Queue
	h := hosttest.New(t, hosttest.Options{Config: func(c *host.Config) { c.Queue = q }})
	h.Install(hosttest.SinkPack(t))
	nats := host.Queue{Backend: "nats", NATS: host.NATS{Embedded: true, NoSync: true}}
	for _, to := range []host.Queue{{}, nats, nats, {Backend: "sqlite"}} {
		acts := h.Services().Actions
		if _, err := acts.Pause(t.Context(), "operator", ""); err != nil {
			t.Fatal(err)
		}
		a, _, err := acts.Submit(t.Context(), action.Request{Kind: "sink.echo", Actor: "operator", Input: []byte(`{"n":1}`)})
		if err != nil || a.State != action.Queued {
			t.Fatalf("%+v, %v", a, err)
		}
		q = to
		h.Restart()
		acts = h.Services().Actions
		if st := acts.Stats(); !st.Paused || !st.Line.Held || st.Waiting != 1 || st.Line.Ready < 1 { // what went over is left behind, and taken off unrun
			t.Fatalf("with %q: %+v", to.Backend, st)
		}
		if _, err := acts.Unpause(t.Context(), "operator"); err != nil {
			t.Fatal(err)
		}
		if end := h.Wait(a.ID); end.State != action.Completed || end.Attempt != 1 {
			t.Fatalf("with %q: %+v", to.Backend, end)
		}
		if got := h.MustCall("sink.echo", `{"n":2}`); got != `{"n":2}` {
			t.Fatalf("got %s", got)
		}
	}
}

func TestQueuesThatAreNone(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct {
		q    host.Queue
		code abi.Code
	}{
		"no such backend":          {host.Queue{Backend: "redis"}, abi.Invalid},
		"no address":               {host.Queue{Backend: "nats"}, abi.Invalid},
		"both":                     {host.Queue{Backend: "nats", NATS: host.NATS{Embedded: true, URLs: []string{"nats://127.0.0.1:4222"}}}, abi.Invalid},
		"in clear to somewhere":    {host.Queue{Backend: "nats", NATS: host.NATS{URLs: []string{"nats://192.0.2.1:4222"}}}, abi.Denied},
		"a name that is no name":   {host.Queue{Backend: "nats", NATS: host.NATS{Embedded: true, NoSync: true, Name: "a.b"}}, abi.Invalid},
		"nobody is at the address": {host.Queue{Backend: "nats", NATS: host.NATS{URLs: []string{"nats://127.0.0.1:1"}}}, abi.Unavailable},
	} {
		t.Run(name, func(t *testing.T) {
			h, err := host.Open(t.Context(), host.Config{StateDir: t.TempDir(), Queue: c.q})
			if abi.CodeOf(err) != c.code {
				t.Fatalf("got %v, want %s", err, c.code)
			}
			if err == nil {
				h.Close()
			}
		})
	}
}

// A pack that has no room for a call has it waiting and tries again: what never began has not failed.
func TestACallThatFindsNoRoomIsTriedAgain(t *testing.T) {
	t.Parallel()
	h := hosttest.New(t, hosttest.Options{Config: func(c *host.Config) {
		c.Workers, c.Limits.PerPack, c.Limits.Instances = 128, 128, 1
		c.Queue.Attempts = 20
	}})
	h.Install(hosttest.SinkPack(t))
	acts := h.Services().Actions
	if _, err := acts.Pause(t.Context(), "operator", ""); err != nil {
		t.Fatal(err)
	}
	ids := make([]string, 100)
	for i := range ids {
		ids[i] = h.Submit("sink.put", `{"key":"k","val":"v"}`).ID
	}
	if _, err := acts.Unpause(t.Context(), "operator"); err != nil { // all at once
		t.Fatal(err)
	}
	again := 0
	for _, id := range ids {
		end := h.Wait(id)
		if end.State != action.Completed {
			t.Fatalf("%+v %+v", end, end.Failure)
		}
		again += end.Attempt - 1
	}
	if again == 0 {
		t.Fatal("all found room: the test shows nothing")
	}
}
