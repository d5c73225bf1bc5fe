package main

import (
	"context"
	"errors"
	"io"
	"os"
	"path/filepath"
	"time"

	"github.com/arw-project/arw/abi"
	"github.com/arw-project/arw/host/api"
	"github.com/arw-project/arw/sdk/go/client"
)

// streamFlags are the files of a call's streams.
type streamFlags struct{ in, out string }

// named are the streams that the call attaches.
func (s streamFlags) named() (names []string) {
	if s.in != "" {
		names = append(names, api.StreamInput)
	}
	if s.out != "" {
		names = append(names, api.StreamOutput)
	}
	return names
}

// callStreamed submits a call and moves its streams until it ends. Whatever goes wrong here, or an interrupt, cancels it.
func (a *app) callStreamed(ctx context.Context, c *client.Client, in api.SubmitAction, s streamFlags) (act api.Action, err error) {
	source, size, err := a.openInput(s.in)
	if err != nil {
		return act, err
	}
	defer source.Close()
	sink, err := a.openOutput(s.out)
	if err != nil {
		return act, err
	}
	defer sink.discard()
	if act, err = c.Submit(ctx, in, false); err != nil {
		return act, err
	}
	id := act.ID
	update, done := a.progress()
	defer done()
	// Not waited for: it may sit in a read of standard input. What goes wrong in it ends the rest.
	moving, stop := context.WithCancelCause(ctx)
	defer stop(nil)
	if s.in != "" {
		go func() {
			err := c.StreamIn(moving, id, source, func(n int64) {
				if s.out == "" {
					update("streaming in", n, size)
				}
			})
			if err != nil && abi.CodeOf(err) != abi.Cancelled {
				stop(err)
			}
		}()
	}
	act, err = a.takeOutput(moving, c, id, s, sink, update)
	if err != nil {
		a.cancelLeft(ctx, c, id)
		if cause := context.Cause(moving); cause != nil && ctx.Err() == nil {
			err = cause
		}
		return act, err
	}
	if act.State == api.StateCompleted {
		err = sink.keep()
	}
	return act, err
}

// takeOutput takes parts until the action ends; without an output stream it waits for that.
func (a *app) takeOutput(ctx context.Context, c *client.Client, id string, s streamFlags, sink *sink, update func(string, int64, int64)) (api.Action, error) {
	if s.out == "" {
		return c.Wait(ctx, id)
	}
	total := int64(0)
	return c.StreamOut(ctx, id, func(p client.Part) error {
		if p.Kind == abi.FrameJSON {
			_, err := sink.notes.Write(append(p.Body, '\n'))
			return err
		}
		total += int64(len(p.Body))
		update("streaming out", total, 0)
		_, err := sink.w.Write(p.Body)
		return err
	})
}

// cancelLeft takes back a call whose streams this command gave up.
func (a *app) cancelLeft(ctx context.Context, c *client.Client, id string) {
	ctx, stop := context.WithTimeout(context.WithoutCancel(ctx), 5*time.Second)
	defer stop()
	_, _ = c.Cancel(ctx, id) // it may have ended by itself
}

func (a *app) openInput(name string) (io.ReadCloser, int64, error) {
	switch name {
	case "", "-":
		return io.NopCloser(a.std.in), 0, nil
	}
	f, err := os.Open(name)
	if err != nil {
		return nil, 0, abi.Errorf(abi.Invalid, "open the input %q: %w", name, err)
	}
	st, err := f.Stat()
	if err != nil || st.IsDir() {
		_ = f.Close()
		return nil, 0, abi.Errorf(abi.Invalid, "open the input %q: it is not a file", name)
	}
	return f, st.Size(), nil
}

// sink is where an output stream goes: a file that appears whole or not at all, or standard output.
type sink struct {
	w     io.Writer
	notes io.Writer // JSON parts
	file  *os.File
	name  string
}

func (a *app) openOutput(name string) (*sink, error) {
	switch name {
	case "", "-":
		return &sink{w: a.std.out, notes: a.std.out}, nil
	}
	f, err := os.CreateTemp(filepath.Dir(name), "."+filepath.Base(name)+".*")
	if err != nil {
		return nil, abi.Errorf(abi.Invalid, "make the output %q: %w", name, err)
	}
	return &sink{w: f, notes: a.std.err, file: f, name: name}, nil
}

// keep gives the finished file its name.
func (s *sink) keep() error {
	if s.file == nil {
		return nil
	}
	err := errors.Join(s.file.Chmod(0o644), s.file.Close(), os.Rename(s.file.Name(), s.name))
	if err != nil {
		return abi.Errorf(abi.Invalid, "write the output %q: %w", s.name, err)
	}
	s.file = nil
	return nil
}

// discard removes what was not kept.
func (s *sink) discard() {
	if s.file != nil {
		_ = s.file.Close()
		_ = os.Remove(s.file.Name())
	}
}
