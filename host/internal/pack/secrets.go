package pack

import (
	"context"
	"errors"
	"io"

	"github.com/arw-project/arw/abi"
	"github.com/arw-project/arw/host/internal/archive"
	"github.com/arw-project/arw/host/internal/vault"
)

func (s *secrets) user() vault.User {
	return vault.User{Corr: s.c.Corr, Actor: "pack:" + s.c.Pack, Project: s.c.Project, Pack: s.c.Pack, Action: s.c.Action}
}

// Public implements wasm.Secret.
func (s *secrets) Public(_ context.Context, name string) ([]byte, error) {
	return s.m.Vault.Public(name)
}

// MAC implements wasm.Secret.
func (s *secrets) MAC(ctx context.Context, name string, data []byte) ([]byte, error) {
	return s.m.Vault.MAC(ctx, s.user(), name, data)
}

// Sign implements wasm.Secret.
func (s *secrets) Sign(ctx context.Context, name string, data []byte) ([]byte, error) {
	return s.m.Vault.Sign(ctx, s.user(), name, data)
}

// The events of unpacking.
const (
	kindUnpacked = "archive.unpacked"
	kindBlocked  = "archive.blocked"
)

// Unpack implements wasm.Archive: both paths are held to their leases by the folders, the archive to its bounds.
func (u *unpacker) Unpack(ctx context.Context, readScope, writeScope string, req abi.ArchiveUnpack) (abi.ArchiveUnpacked, error) {
	got, err := u.unpack(ctx, readScope, writeScope, req)
	body := map[string]any{"from": req.From, "to": req.To, "tool": u.t.ID}
	if err == nil {
		body["entries"], body["bytes"], body["format"], body["skipped"] = got.Files+got.Folders, got.Bytes, got.Format, got.Skipped
		u.m.note(ctx, kindUnpacked, u.c, body)
		return got, nil
	}
	body["code"], body["message"] = abi.CodeOf(err).String(), err.Error()
	if e, ok := errors.AsType[*abi.Error](err); ok {
		if d, ok := e.Detail.(archive.Detail); ok {
			body["reason"], body["entry"] = d.Reason, d.Entry
		}
	}
	u.m.note(ctx, kindBlocked, u.c, body)
	(*world)(u).said(err)
	return abi.ArchiveUnpacked{}, err
}

func (u *unpacker) unpack(ctx context.Context, readScope, writeScope string, req abi.ArchiveUnpack) (abi.ArchiveUnpacked, error) {
	src, err := u.m.Files.Open(ctx, whole(readScope), req.From)
	if err != nil {
		return abi.ArchiveUnpacked{}, err
	}
	defer src.Close()
	st, err := src.Stat()
	if err != nil {
		return abi.ArchiveUnpacked{}, abi.Errorf(abi.Unavailable, "unpack %q: %w", req.From, err)
	}
	root, rel, err := u.m.Files.Lend(ctx, whole(writeScope), req.To)
	if err != nil {
		return abi.ArchiveUnpacked{}, err
	}
	defer root.Close()
	return archive.Expand(ctx, io.NewSectionReader(src, 0, st.Size()), root, rel, req)
}
