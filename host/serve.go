package host

import (
	"context"
	"net"
	"os"
	"path/filepath"
	"strings"

	"golang.org/x/sync/errgroup"

	"github.com/arw-project/arw/abi"
	"github.com/arw-project/arw/host/internal/policy"
	"github.com/arw-project/arw/host/internal/server"
)

// Serve is Run with the HTTP API on a listener, which it closes. The API stops first, so that nobody is told an answer
// that is not kept.
func (h *Host) Serve(ctx context.Context, ln net.Listener) error {
	p := h.parts
	edge := server.New(server.Services{
		Actions: p.Actions, Packs: p.Packs, Leases: p.Leases, Journal: p.Journal, View: p.View, Policy: p.Policy, Prompts: p.Prompts, Logic: p.Logic, Experiments: p.Experiments, Vault: p.Vault, Redact: p.Redact, Egress: p.Egress, Shelf: p.Shelf, Models: p.Models, Runtimes: p.Runtimes, Capsules: p.Capsules, Quotas: p.Quotas,
		TrustDigest: p.Trust.Digest(), Access: p.Access, Memo: p.Memo, Recall: p.Recall, RecallNow: h.RecallNow, ForgetRecall: h.ForgetRecall, Snappy: p.Snappy, Projects: p.Projects, Reviews: p.Reviews, Schedules: h.listSchedules, RefreshIndex: h.refreshForEdge, MCP: h.describeTools, Safe: h.SafeMode, LeaveSafe: h.LeaveSafeMode, Authority: h.authorityForEdge(),
	}, server.Options{Version: p.Version, Log: p.Log, Names: h.cfg.Edge.Names, NeedToken: h.cfg.Edge.NeedToken, Trace: h.tracer})
	lns := []net.Listener{ln}
	if h.cfg.Edge.Socket {
		sock, err := h.socket()
		if err != nil {
			_ = ln.Close()
			return err
		}
		lns = append(lns, sock)
	}
	g, ctx := errgroup.WithContext(ctx)
	below, stop := context.WithCancel(context.WithoutCancel(ctx))
	g.Go(func() error {
		defer stop()
		return edge.Run(ctx, lns...)
	})
	g.Go(func() error { return h.Run(below) })
	return g.Wait()
}

// Token reads the operator's credential from the state directory, which only its owner can.
func (h *Host) Token() (string, error) {
	raw, err := os.ReadFile(filepath.Join(h.cfg.StateDir, "operator.token"))
	if err != nil {
		return "", abi.Errorf(abi.Unavailable, "read operator token: %w", err)
	}
	return strings.TrimSpace(string(raw)), nil
}

// refreshForEdge is RefreshIndex for a caller that only passes the answer on.
func (h *Host) refreshForEdge(ctx context.Context) (any, error) { return h.RefreshIndex(ctx) }

// authorityForEdge lets the edge reach what decides.
func (h *Host) authorityForEdge() server.Authority {
	return server.Authority{
		State:  func() (string, string) { s := h.PolicyState(); return s.Posture, s.Stale },
		Reload: func(ctx context.Context, corr, by string) (any, error) { return h.ReloadPolicy(ctx, corr, by) },
		Diff:   func(files []policy.Source, cases []policy.Case) (any, error) { return h.DiffPolicy(files, cases) },
		Posture: func(ctx context.Context, corr, by, name string, dry bool) (any, error) {
			return h.SetPosture(ctx, corr, by, name, dry)
		},
	}
}
