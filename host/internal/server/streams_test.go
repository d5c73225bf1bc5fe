package server_test

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/arw-project/arw/abi"
	"github.com/arw-project/arw/host/api"
	"github.com/arw-project/arw/host/hosttest"
	"github.com/arw-project/arw/host/internal/action"
	"github.com/arw-project/arw/host/internal/server"
	"github.com/arw-project/arw/sdk/go/client"
	"github.com/arw-project/arw/signing"
)

// streaming is a host with the streamer pack.
func streaming(t *testing.T) (*edge, *client.Client) {
	t.Helper()
	e := start(t, server.Options{})
	e.Install(hosttest.Streamer(t, 1))
	return e, client.New(e.base, e.token)
}

// pattern gives bytes that are different everywhere and the same every time.
type pattern struct{ at, size int64 }

func (p *pattern) Read(b []byte) (int, error) {
	if p.at == p.size {
		return 0, io.EOF
	}
	n := int(min(int64(len(b)), p.size-p.at))
	for i := range b[:n] {
		b[i] = byte((p.at + int64(i)) * 2654435761 >> 13)
	}
	p.at += int64(n)
	return n, nil
}

// TestAHundredMegabytesThroughAPack is the proof of the pack: the file goes in and comes out over HTTP, and the guest
// never had a tenth of it.
func TestAHundredMegabytesThroughAPack(t *testing.T) {
	t.Parallel()
	const size = 100_000_000
	_, c := streaming(t)
	ctx := t.Context()
	act, err := c.Submit(ctx, api.SubmitAction{Kind: "streams.copy", Streams: []string{"input", "output"}}, false)
	if err != nil {
		t.Fatal(err)
	}
	want := sha256.New()
	given := make(chan error, 1)
	go func() { given <- c.StreamIn(ctx, act.ID, io.TeeReader(&pattern{size: size}, want), nil) }()
	got, n := sha256.New(), int64(0)
	act, err = c.StreamOut(ctx, act.ID, func(p client.Part) error {
		n += int64(len(p.Body))
		_, err := got.Write(p.Body)
		return err
	})
	if err := errors.Join(err, <-given); err != nil {
		t.Fatal(err)
	}
	if act.State != api.StateCompleted || string(act.Output) != fmt.Sprintf(`{"bytes":%d}`, size) || n != size {
		t.Fatalf("%s %s %+v, %d bytes came", act.State, act.Output, act.Error, n)
	}
	if !bytes.Equal(got.Sum(nil), want.Sum(nil)) {
		t.Error("other bytes came out")
	}
	if act.Usage.MemoryBytes > size/10 {
		t.Errorf("the guest had %d bytes of memory", act.Usage.MemoryBytes)
	}
	t.Logf("guest memory %d, %.0f ms, gas %d", act.Usage.MemoryBytes, act.Usage.WallMS, act.Usage.Gas)
}

func TestStreamForms(t *testing.T) {
	t.Parallel()
	e, c := streaming(t)
	submit := func(kind string, streams ...string) string {
		act, err := c.Submit(t.Context(), api.SubmitAction{Kind: kind, Streams: streams}, false)
		if err != nil {
			t.Fatal(err)
		}
		return act.ID
	}
	t.Run("events", func(t *testing.T) {
		id := submit("streams.sum", "input", "output")
		go c.StreamIn(t.Context(), id, &pattern{size: 250_000}, nil)
		resp := e.ask("GET", "/actions/"+id+"/stream", "", "Accept", "text/event-stream")
		defer resp.Body.Close()
		raw, err := io.ReadAll(resp.Body)
		if err != nil || !strings.HasPrefix(resp.Header.Get("Content-Type"), "text/event-stream") {
			t.Fatal(err, resp.Header)
		}
		text := string(raw)
		if !strings.Contains(text, "id: 1\nevent: json\ndata: {\"bytes\":") || !strings.Contains(text, "id: 2\n") || !strings.Contains(text, "\nevent: end\ndata: {\"id\":\""+id) {
			t.Errorf("%s", text)
		}
	})
	t.Run("bytes", func(t *testing.T) {
		id := submit("streams.after", "output")
		resp := e.ask("GET", "/actions/"+id+"/stream", "")
		defer resp.Body.Close()
		if raw, err := io.ReadAll(resp.Body); err != nil || string(raw) != "before" {
			t.Errorf("%q %v", raw, err)
		}
		if act := e.Wait(id); string(act.Output) != `{"bytes":0,"note":"invalid invalid"}` {
			t.Errorf("%s %+v", act.Output, act.Failure)
		}
	})
	t.Run("after the call", func(t *testing.T) {
		id := submit("streams.after", "output")
		e.Wait(id)
		var all []byte
		act, err := c.StreamOut(t.Context(), id, func(p client.Part) error { all = append(all, p.Body...); return nil })
		if err != nil || string(all) != "before" || act.State != api.StateCompleted {
			t.Errorf("%q %v %v", all, act.State, err)
		}
	})
	t.Run("guest that wants no more", func(t *testing.T) {
		id := submit("streams.early", "input")
		if err := c.StreamIn(t.Context(), id, &pattern{size: 30_000_000}, nil); err != nil {
			t.Errorf("a guest that has enough is no error: %v", err)
		}
		if act := e.Wait(id); act.State != action.Completed {
			t.Errorf("%s %+v", act.State, act.Failure)
		}
	})
	t.Run("no streams attached", func(t *testing.T) {
		e.FailCall("streams.copy", `{}`, abi.NotFound)
	})
}

func TestATakerThatLeavesStopsTheGuest(t *testing.T) {
	t.Parallel()
	e, c := streaming(t)
	act, err := c.Submit(t.Context(), api.SubmitAction{Kind: "streams.endless", Streams: []string{"output"}}, false)
	if err != nil {
		t.Fatal(err)
	}
	ctx, leave := context.WithCancel(t.Context())
	n := 0
	_, err = c.StreamOut(ctx, act.ID, func(client.Part) error {
		if n++; n == 20 {
			leave()
		}
		return nil
	})
	if abi.CodeOf(err) != abi.Cancelled {
		t.Error(err)
	}
	if got := e.Wait(act.ID); got.State != action.Cancelled || !strings.Contains(got.Failure.Message, "went away") {
		t.Errorf("%s %+v", got.State, got.Failure)
	}
}

func TestAnEndlessGuestWaitsForItsTaker(t *testing.T) {
	t.Parallel()
	e, c := streaming(t)
	act, err := c.Submit(t.Context(), api.SubmitAction{Kind: "streams.endless", Streams: []string{"output"}, DeadlineMS: 400}, false)
	if err != nil {
		t.Fatal(err)
	}
	got := e.Wait(act.ID)
	if got.State != action.Failed || got.Failure.Code != abi.Deadline {
		t.Errorf("%s %+v", got.State, got.Failure)
	}
	// 1 MiB waits, one part more was on its way: at 64 KiB a part, nothing like what it could have written.
	if got.Usage.HostCalls > 40 {
		t.Errorf("%d host calls though nobody took anything", got.Usage.HostCalls)
	}
}

func TestStreamRefusals(t *testing.T) {
	t.Parallel()
	e, c := streaming(t)
	plain := e.Call("streams.visit", `{"name":"a"}`).ID
	both, err := c.Submit(t.Context(), api.SubmitAction{Kind: "streams.sum", Streams: []string{"input", "output"}}, false)
	if err != nil {
		t.Fatal(err)
	}
	late, err := c.Submit(t.Context(), api.SubmitAction{Kind: "streams.endless", Streams: []string{"output"}}, false)
	if err != nil {
		t.Fatal(err)
	}
	taken := e.ask("GET", "/actions/"+late.ID+"/stream", "")
	if _, err := io.ReadFull(taken.Body, make([]byte, 10)); err != nil {
		t.Fatal(err)
	}
	submit := func(body string) [3]string { return [3]string{"POST", "/actions", body} }
	for name, tc := range map[string]struct {
		ask  [3]string
		head []string
		code abi.Code
		says string
	}{
		"a stream the tool has not": {submit(`{"kind":"streams.visit","streams":["input"]}`), nil, abi.Invalid, `no \"input\" stream`},
		"a stream there is not":     {submit(`{"kind":"streams.sum","streams":["sideways"]}`), nil, abi.Invalid, "sideways"},
		"a stream twice":            {submit(`{"kind":"streams.sum","streams":["input","input"]}`), nil, abi.Invalid, "twice"},
		"a key":                     {submit(`{"kind":"streams.sum","streams":["input"],"idem_key":"k"}`), nil, abi.Invalid, "key"},
		"a record without token":    {submit(`{"kind":"streams.visit","record":true}`), nil, abi.Unauthenticated, "operator"},
		"read a record without":     {[3]string{"GET", "/actions/" + plain + "/record", ""}, nil, abi.Unauthenticated, "token"},
		"replay without token":      {[3]string{"POST", "/actions/" + plain + "/replay", ""}, nil, abi.Unauthenticated, "token"},
		"replay without a record":   {[3]string{"POST", "/actions/" + plain + "/replay", ""}, []string{"Authorization", "Bearer " + e.token}, abi.NotFound, "not recorded"},
		"no such action":            {[3]string{"GET", "/actions/act_none/stream", ""}, nil, abi.NotFound, "act_none"},
		"none attached":             {[3]string{"GET", "/actions/" + plain + "/stream", ""}, nil, abi.Conflict, "without streams"},
		"give to one that takes no": {[3]string{"PUT", "/actions/" + late.ID + "/stream", "x"}, nil, abi.Conflict, "without an input"},
		"taken already":             {[3]string{"GET", "/actions/" + late.ID + "/stream", ""}, nil, abi.Conflict, "somebody else"},
		"resume":                    {[3]string{"GET", "/actions/" + both.ID + "/stream", ""}, []string{"Last-Event-ID", "3"}, abi.Unsupported, "resumed"},
		"offset that is none":       {[3]string{"PUT", "/actions/" + both.ID + "/stream?offset=-1", "x"}, nil, abi.Invalid, "offset"},
		"offset in the future":      {[3]string{"PUT", "/actions/" + both.ID + "/stream?offset=5", "x"}, nil, abi.Conflict, `"next":0`},
		"last that is none":         {[3]string{"PUT", "/actions/" + both.ID + "/stream?last=soon", "x"}, nil, abi.Invalid, "last"},
	} {
		t.Run(name, func(t *testing.T) {
			resp := e.ask(tc.ask[0], tc.ask[1], tc.ask[2], tc.head...)
			defer resp.Body.Close()
			raw, _ := io.ReadAll(resp.Body)
			var p api.Problem
			if err := json.Unmarshal(raw, &p); err != nil || p.Code != tc.code.String() || !strings.Contains(string(raw), tc.says) {
				t.Errorf("%d %s", resp.StatusCode, raw)
			}
		})
	}
	taken.Body.Close()
	e.Wait(late.ID)
	if _, err := c.Cancel(t.Context(), both.ID); err != nil {
		t.Error(err)
	}
}

func TestRecordAndReplay(t *testing.T) {
	t.Parallel()
	e, c := streaming(t)
	ctx := t.Context()
	record := func(kind, input string) api.Action {
		act, err := c.Submit(ctx, api.SubmitAction{Kind: kind, Input: json.RawMessage(input), Record: true}, true)
		if err != nil || act.Record == nil || act.Record.Digest == "" || act.Record.Calls < 5 {
			t.Fatalf("%v %+v", err, act)
		}
		return act
	}
	act := record("streams.visit", `{"name":"ada"}`)
	same := func(what, id string) {
		t.Helper()
		r, err := c.Replay(ctx, id, "")
		if err != nil || !r.Equal || r.Divergence != nil || !bytes.Equal(r.Replayed.Output, act.Output) || r.Replayed.Gas != act.Usage.Gas || r.Other {
			t.Errorf("%s: %v %+v", what, err, r)
		}
	}
	events := len(e.note())
	same("at once", act.ID)
	if after := len(e.note()); after != events {
		t.Errorf("the replay wrote %d events", after-events)
	}
	if got := e.MustCall("streams.visit", `{"name":"ada"}`); !strings.Contains(got, `"times":2`) {
		t.Errorf("a replay counted as a visit: %s", got)
	}
	same("when the world has changed", act.ID)

	r, err := c.Replay(ctx, act.ID, "installed")
	if err != nil || !r.Equal || !r.Other || len(r.Changes) > 0 {
		t.Errorf("with the same version by name: %v %+v", err, r)
	}
	ref, _ := e.Publish(hosttest.Streamer(t, 2))
	r, err = c.Replay(ctx, act.ID, ref)
	if err != nil || r.Equal || r.Divergence != nil || len(r.Changes) != 2 || r.Replayed.Version != "2.0.0" {
		t.Fatalf("with another version: %v %+v", err, r)
	}
	if want := `kv.put "ada" "\x01"`; r.Changes[0].Added || r.Changes[0].Text != want {
		t.Errorf("%+v", r.Changes)
	}
	if want := `kv.put "ada" "\x02"`; !r.Changes[1].Added || r.Changes[1].Text != want {
		t.Errorf("%+v", r.Changes)
	}
	if was := strings.Replace(string(act.Output), `"times":1`, `"times":2`, 1); string(r.Replayed.Output) != was {
		t.Errorf("replied %s", r.Replayed.Output)
	}
	if info, err := e.Services().Packs.Get("test/streamer"); err != nil || info.Version != "1.0.0" {
		t.Errorf("a replay installed something: %v %v", info.Version, err)
	}

	unsigned := hosttest.Streamer(t, 2)
	unsigned.TOML, unsigned.Keys = strings.Replace(unsigned.TOML, "2.0.0", "3.0.0", 1), []*signing.Key{}
	ref, _ = e.Publish(unsigned)
	if _, err = c.Replay(ctx, act.ID, ref); abi.CodeOf(err) != abi.Unsigned {
		t.Errorf("with what nobody signed: %v", err)
	}
	e.Install(hosttest.Streamer(t, 2))
	same("after an upgrade", act.ID)
	if _, err := e.Services().CAS.Sweep(ctx, func(d string) bool { return e.Services().Packs.Live(d) || e.Services().Actions.Keeps(d) }, 0); err != nil {
		t.Fatal(err)
	}
	same("after the sweep", act.ID)
	tamper(t, e.State, act.Record.Digest)
	if _, err = c.Replay(ctx, act.ID, ""); abi.CodeOf(err) != abi.Corrupt {
		t.Errorf("a record that was tampered with: %v", err)
	}
}

// tamper flips a bit of a stored record, which the host then refuses.
func tamper(t *testing.T, state, digest string) {
	t.Helper()
	hexed := strings.TrimPrefix(digest, "sha256:")
	if _, err := hex.DecodeString(hexed); err != nil {
		t.Fatal(err)
	}
	path := filepath.Join(state, "cas", "sha256", hexed[:2], hexed)
	raw, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	raw[len(raw)/2] ^= 1
	if err := os.WriteFile(path, raw, 0o600); err != nil {
		t.Fatal(err)
	}
}
