package main

import (
	"context"
	"fmt"
	"path/filepath"
	"time"

	"github.com/arw-project/arw/abi"
	"github.com/arw-project/arw/host/internal/db"
	"github.com/arw-project/arw/host/internal/journal"
	"github.com/arw-project/arw/host/internal/lease"
	"github.com/arw-project/arw/host/internal/wasm"
)

// tableKV looks up in the table.
type tableKV struct{ wasm.KV }

func (tableKV) Get(_ context.Context, key []byte) ([]byte, error) {
	v, ok := table[string(key)]
	if !ok {
		return nil, abi.Errorf(abi.NotFound, "no key %q", key)
	}
	return []byte(v), nil
}

// house is an engine, and a lease on kv from a real book of leases.
type house struct {
	engine *wasm.Engine
	gate   wasm.Gate
	close  func()
}

func openHouse(ctx context.Context, dir string) (*house, error) {
	d, err := db.Open(ctx, filepath.Join(dir, fmt.Sprintf("%d.db", time.Now().UnixNano())), []db.Migration{
		{Owner: "journal", Steps: journal.Schema}, {Owner: "lease", Steps: lease.Schema}})
	if err != nil {
		return nil, err
	}
	j, err := journal.Open(ctx, d)
	if err != nil {
		return nil, err
	}
	book, err := lease.Open(ctx, d, j)
	if err != nil {
		return nil, err
	}
	const pack, digest = "bench/small", "sha256:0000000000000000000000000000000000000000000000000000000000000000"
	if _, err := book.Grant(ctx, "cor_bench", lease.Grant{Pack: pack, Digest: digest, Capability: abi.KV, TTL: time.Hour, By: "operator", Reason: "bench"}); err != nil {
		return nil, err
	}
	e, err := wasm.Open(wasm.Options{})
	if err != nil {
		return nil, err
	}
	return &house{e, book.Holder(pack, digest), func() { e.Close(); d.Close() }}, nil
}

// call is one call of a program, checked.
func (h *house) call(p *wasm.Program, session, tool, in, want string) func() error {
	req := wasm.Call{Tool: tool, Input: []byte(in), Session: session, Effects: abi.Reads, Gate: h.gate, Host: wasm.Host{KV: tableKV{}}}
	return func() error {
		r, err := p.Call(context.Background(), req)
		if err != nil {
			return err
		}
		if want != "" && string(r.Body) != want {
			return fmt.Errorf("answered %q", r.Body)
		}
		return nil
	}
}
