package registry

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"hash"
	"io"

	"github.com/arw-project/arw/abi"
)

// fetch copies a blob to w and fails unless what came has the blob's digest and size. What w got before that is not to be
// used.
func (r *Registry) fetch(ctx context.Context, repo string, d descriptor, w io.Writer, what string, p Progress) error {
	src := r.steady(ctx, repo, d, 0)
	defer src.Close()
	g := &gauge{hash: sha256.New(), d: d, what: what, p: p}
	if _, err := io.CopyBuffer(io.MultiWriter(w, g), src, make([]byte, 128<<10)); err != nil {
		return fmt.Errorf("fetch %q: %w", what, err)
	}
	return g.check()
}

// steady opens a blob for reading through breaks.
func (r *Registry) steady(ctx context.Context, repo string, d descriptor, at int64) *steady {
	open := func(at int64) (io.ReadCloser, error) { return r.store.blob(ctx, repo, d, at) }
	return &steady{ctx: ctx, open: open, size: d.Size, at: at, retries: r.opts.Retries}
}

// steady is a blob's bytes, exactly as many as announced. When the transfer breaks it opens the blob again where it
// stopped; attempts are counted from the last byte that came.
type steady struct {
	ctx     context.Context
	open    source
	rc      io.ReadCloser
	at      int64
	opened  int64 // where it stood when rc was opened
	size    int64
	tries   int
	retries int
}

func (s *steady) Read(p []byte) (int, error) {
	for {
		n, err := s.step(p)
		if n > 0 || errors.Is(err, io.EOF) {
			return n, err
		}
		if err == nil {
			continue
		}
		s.Close()
		if s.ctx.Err() != nil || s.tries >= s.retries || !s.worthwhile(err) {
			return 0, err
		}
		if err := pause(s.ctx, s.tries); err != nil {
			return 0, err
		}
		s.tries++
	}
}

// worthwhile reports whether to open the blob again. Silence has had its time, unless something came before it.
func (s *steady) worthwhile(err error) bool {
	if _, ok := errors.AsType[*stalled](err); ok {
		return s.at > s.opened
	}
	return breaks(err)
}

// step reads once. Its io.EOF is the blob's end; one that comes too early is io.ErrUnexpectedEOF.
func (s *steady) step(p []byte) (int, error) {
	if s.rc == nil {
		rc, err := s.open(s.at)
		if err != nil {
			return 0, err
		}
		s.rc, s.opened = rc, s.at
	}
	if s.at >= s.size {
		n, err := s.rc.Read(make([]byte, 1))
		if n > 0 {
			return 0, abi.Errorf(abi.DigestMismatch, "more than the %d bytes of the manifest came", s.size).
				WithHint("do not use it; fetch it from another registry or ask the publisher")
		}
		return 0, err
	}
	n, err := s.rc.Read(p[:min(int64(len(p)), s.size-s.at)])
	if s.at += int64(n); n > 0 {
		s.tries = 0
		return n, nil
	}
	if errors.Is(err, io.EOF) {
		err = fmt.Errorf("the transfer ended after %d of %d bytes: %w", s.at, s.size, io.ErrUnexpectedEOF)
	}
	return 0, err
}

// Close lets go of the transfer under way.
func (s *steady) Close() error {
	if s.rc == nil {
		return nil
	}
	rc := s.rc
	s.rc = nil
	return rc.Close()
}

// gauge hashes and counts what passes.
type gauge struct {
	hash hash.Hash
	d    descriptor
	done int64
	what string
	p    Progress
}

func (g *gauge) Write(b []byte) (int, error) {
	g.hash.Write(b)
	g.done += int64(len(b))
	g.p.report(g.what, g.done, g.d.Size)
	return len(b), nil
}

func (g *gauge) check() error {
	if got := "sha256:" + hex.EncodeToString(g.hash.Sum(nil)); got != g.d.Digest {
		return abi.Errorf(abi.DigestMismatch, "fetch %q: the manifest says %s and what came is %s", g.what, g.d.Digest, got).
			WithHint("do not use it; fetch it from another registry or ask the publisher")
	}
	return nil
}

// breaks reports whether another attempt may help: the transfer broke off, and neither the registry nor we refused it.
func breaks(err error) bool {
	if _, ok := errors.AsType[*stalled](err); ok {
		return false // it has had its time
	}
	if _, ok := asRefusal(err); ok {
		return false // what is worth repeating has been, one level down
	}
	code, _ := codeOf(err)
	return code == abi.Unavailable
}
