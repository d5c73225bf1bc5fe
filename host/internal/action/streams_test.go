package action_test

import (
	"context"
	"io"
	"slices"
	"testing"

	"github.com/arw-project/arw/abi"
	"github.com/arw-project/arw/host/internal/action"
)

// pipe copies its input stream to its output and claims a record when one was asked for.
var pipe = tool{streams: []string{"input", "output"}, run: func(ctx context.Context, job action.Job) (action.Result, error) {
	res := action.Result{Kind: abi.FrameJSON, Body: []byte("1")}
	if job.Action.Record != nil {
		res.Record = &action.Recording{Digest: "sha256:rec", Module: "sha256:mod", Bytes: 5, Calls: 2}
	}
	if job.Streams == nil || job.Streams.In == nil || job.Streams.Out == nil {
		return res, nil
	}
	buf := make([]byte, 4)
	for {
		n, err := job.Streams.In.Read(ctx, buf)
		if err == io.EOF {
			return res, nil
		}
		if err != nil {
			return res, err
		}
		if err := job.Streams.Out.Write(ctx, abi.FrameBytes, slices.Clone(buf[:n])); err != nil {
			return res, err
		}
	}
}}

func TestStreamsBelongToOneAction(t *testing.T) {
	t.Parallel()
	b := start(t, action.Config{})
	b.tools.set("p:pipe", pipe)
	ctx := t.Context()
	act, _, err := b.Submit(ctx, action.Request{Kind: "pipe", Streams: []string{"input", "output"}})
	if err != nil {
		t.Fatal(err)
	}
	ends, err := b.Streams(ctx, act.ID)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := ends.In.Give(ctx, 0, []byte("through"), true); err != nil {
		t.Fatal(err)
	}
	var got []byte
	for {
		p, err := ends.Out.Next(ctx)
		if err == io.EOF {
			break
		}
		if err != nil {
			t.Fatal(err)
		}
		got = append(got, p.Body...)
	}
	if string(got) != "through" {
		t.Errorf("%q came out", got)
	}
	// Whoever sees the stream end finds the action final.
	if end, err := b.Get(ctx, act.ID); err != nil || end.State != action.Completed || !slices.Equal(end.Streams, act.Streams) {
		t.Errorf("%+v %v", end, err)
	}
	plain, _, err := b.Submit(ctx, action.Request{Kind: "pipe"})
	if err != nil {
		t.Fatal(err)
	}
	if _, err := b.Streams(ctx, plain.ID); abi.CodeOf(err) != abi.Conflict {
		t.Errorf("streams of an action without: %v", err)
	}
	if _, err := b.Streams(ctx, "act_none"); abi.CodeOf(err) != abi.NotFound {
		t.Errorf("streams of no action: %v", err)
	}
}

func TestStreamsEndWithTheHost(t *testing.T) {
	t.Parallel()
	dir, tools := t.TempDir(), &tools{}
	tools.set("p:pipe", pipe)
	before := open(t, dir, tools, action.Config{})
	act, _, err := before.Submit(t.Context(), action.Request{Kind: "pipe", Streams: []string{"input"}})
	if err != nil {
		t.Fatal(err)
	}
	if err := before.db.Close(); err != nil {
		t.Fatal(err)
	}
	after := open(t, dir, tools, action.Config{})
	after.start(t)
	end, err := after.Wait(t.Context(), act.ID)
	if err != nil || end.State != action.Failed || end.Failure.Code != abi.Interrupted {
		t.Errorf("%+v %v", end, err)
	}
}

func TestARecordIsKeptByItsAction(t *testing.T) {
	t.Parallel()
	b := start(t, action.Config{})
	b.tools.set("p:pipe", pipe)
	act, _, err := b.Submit(t.Context(), action.Request{Kind: "pipe", Record: true})
	if err != nil {
		t.Fatal(err)
	}
	if _, err := b.Wait(t.Context(), act.ID); err != nil {
		t.Fatal(err)
	}
	end, err := b.Get(t.Context(), act.ID)
	if err != nil || end.Record == nil || *end.Record != (action.Recording{Digest: "sha256:rec", Module: "sha256:mod", Bytes: 5, Calls: 2}) {
		t.Fatalf("%+v %v", end.Record, err)
	}
	for digest, want := range map[string]bool{"sha256:rec": true, "sha256:mod": true, "sha256:other": false, "": false} {
		if got := b.Keeps(digest); got != want {
			t.Errorf("keeps %q: %t", digest, got)
		}
	}
	if err := b.db.Close(); err != nil {
		t.Fatal(err)
	}
	if !b.Keeps("sha256:other") {
		t.Error("in doubt a blob is to be kept")
	}
}
