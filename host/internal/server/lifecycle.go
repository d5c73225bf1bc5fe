package server

import (
	"encoding/json"
	"strings"

	"github.com/gofiber/fiber/v2"

	"github.com/arw-project/arw/abi"
	"github.com/arw-project/arw/host/api"
	"github.com/arw-project/arw/host/internal/pack"
	"github.com/arw-project/arw/manifests/lockfile"
	"github.com/arw-project/arw/registry"
)

// lifecycleRoutes are what happens to a pack between its install and its removal.
func (s *Server) lifecycleRoutes() []route {
	return []route{
		{"GET", "/packs/:ns/:name/history", stateRead, s.getHistory, doc{Summary: "What happened to a pack, the newest first", Query: "limit", Out: api.List[pack.Change]{}}},
		{"POST", "/packs/:ns/:name/upgrade", packInstall, s.postUpgrade, doc{Summary: "Put another version in place, or tell what that would change", In: api.UpgradePack{}, Optional: true, Out: json.RawMessage{}, Codes: packCodes}},
		{"POST", "/packs/:ns/:name/rollback", packInstall, s.postRollback, doc{Summary: "Go back to a version that was replaced", In: api.RollbackPack{}, Optional: true, Out: pack.Change{}, Codes: []abi.Code{abi.Conflict}}},
		{"POST", "/packs/:ns/:name/suspend", packControl, s.postSuspend, doc{Summary: "Let a pack answer no calls", In: api.SuspendPack{}, Optional: true, Out: pack.Info{}, Codes: []abi.Code{abi.Conflict}}},
		{"POST", "/packs/:ns/:name/resume", packControl, s.postResume, doc{Summary: "Let a suspended pack answer again", In: api.SuspendPack{}, Optional: true, Out: pack.Info{}, Codes: []abi.Code{abi.Conflict}}},
		{"POST", "/packs/:ns/:name/accept", leaseGrant, s.postAccept, doc{Summary: "Accept what an upgrade widened", In: api.AcceptHeld{}, Optional: true, Out: api.List[pack.Item]{}, Codes: []abi.Code{abi.Conflict}}},
		{"GET", "/lock", stateRead, s.getLock, doc{Summary: "The lock file of what is installed", Media: "application/toml"}},
		{"POST", "/sync", packInstall, s.postSync, doc{Summary: "Make what is installed equal to a lock file", In: api.SyncPacks{}, Out: api.List[pack.Synced]{}, Codes: packCodes}},
	}
}

func (s *Server) getHistory(c *fiber.Ctx) error {
	changes, err := s.svc.Packs.History(s.ctx, packName(c), c.QueryInt("limit"))
	if err != nil {
		return err
	}
	return c.JSON(api.List[pack.Change]{Version: s.svc.Journal.Last(), Items: changes})
}

// maybe decodes a body that may be absent.
func maybe(c *fiber.Ctx, into any) error {
	if len(c.Body()) == 0 {
		return nil
	}
	return decode(c, into)
}

// upgradeRef is the reference that an upgrade means: the one given, or the pack in the registry it came from.
func (s *Server) upgradeRef(name string, body api.UpgradePack) (string, error) {
	info, err := s.svc.Packs.Get(name)
	if err != nil {
		return "", err
	}
	ref := body.Ref
	if ref == "" {
		ref = name
		if from := info.Verdict; from != nil && from.Registry != "" {
			ref = strings.TrimSuffix(from.Registry, "/") + "/" + name
			if strings.HasPrefix(from.Registry, "dir:") {
				ref = from.Registry + "//" + name
			}
		}
		if body.To != "" {
			ref += ":" + body.To
		}
	}
	parsed, err := registry.ParseRef(ref, "none") // a reference without a registry gets one when it is resolved
	if err != nil {
		return "", err
	}
	if parsed.Name != name {
		return "", abi.Errorf(abi.Invalid, "upgrade pack %q: %q is a reference to another pack", name, ref).WithHint("install it: arw install %s", ref)
	}
	return ref, nil
}

func (s *Server) postUpgrade(c *fiber.Ctx) error {
	var body api.UpgradePack
	if err := maybe(c, &body); err != nil {
		return err
	}
	ref, err := s.upgradeRef(packName(c), body)
	if err != nil {
		return err
	}
	opts := pack.Options{
		By: s.actor(c), Corr: corr(c), Downgrade: body.Downgrade, AcceptSigner: body.AcceptSigner, Again: body.Again,
		Accept: body.Accept, Why: body.Reason, OverrideUnsigned: body.AllowUnsigned,
	}
	if !body.DryRun {
		return s.install(c, ref, opts, fiber.StatusOK)
	}
	plan, err := s.svc.Packs.Preview(s.ctx, ref, opts)
	if err != nil {
		return err
	}
	return c.JSON(plan)
}

func (s *Server) postRollback(c *fiber.Ctx) error {
	var body api.RollbackPack
	if err := maybe(c, &body); err != nil {
		return err
	}
	o := pack.RollbackOptions{By: s.actor(c), Corr: corr(c), Reason: body.Reason, Version: body.To}
	if strings.HasPrefix(body.To, "sha256:") {
		o.Version, o.Digest = "", body.To
	}
	change, err := s.svc.Packs.Rollback(s.ctx, packName(c), o)
	if err != nil {
		return err
	}
	return c.JSON(change)
}

func (s *Server) postSuspend(c *fiber.Ctx) error {
	var body api.SuspendPack
	if err := maybe(c, &body); err != nil {
		return err
	}
	if err := s.svc.Packs.Suspend(s.ctx, packName(c), pack.Suspension{Reason: body.Reason, By: s.actor(c)}, corr(c)); err != nil {
		return err
	}
	return s.getPack(c)
}

func (s *Server) postResume(c *fiber.Ctx) error {
	var body api.SuspendPack
	if err := maybe(c, &body); err != nil {
		return err
	}
	if err := s.svc.Packs.Resume(s.ctx, packName(c), s.actor(c), body.Reason, corr(c)); err != nil {
		return err
	}
	return s.getPack(c)
}

func (s *Server) postAccept(c *fiber.Ctx) error {
	var body api.AcceptHeld
	if err := maybe(c, &body); err != nil {
		return err
	}
	items, err := s.svc.Packs.Accept(s.ctx, corr(c), s.actor(c), packName(c), body.Items...)
	if err != nil {
		return err
	}
	return c.JSON(api.List[pack.Item]{Version: s.svc.Journal.Last(), Items: items})
}

// getLock answers the lock file's text.
func (s *Server) getLock(c *fiber.Ctx) error {
	text, err := s.svc.Packs.Lock().Format()
	if err != nil {
		return err
	}
	c.Set(fiber.HeaderContentType, "application/toml")
	return c.Send(text)
}

func (s *Server) postSync(c *fiber.Ctx) error {
	var body api.SyncPacks
	if err := decode(c, &body); err != nil {
		return err
	}
	lock, err := lockfile.Parse(lockfile.FileName, []byte(body.Lock))
	if err != nil {
		return err
	}
	report, err := s.svc.Packs.Sync(s.ctx, lock, pack.SyncOptions{
		By: s.actor(c), Corr: corr(c), DryRun: body.DryRun, Prune: body.Prune, Registry: body.Registry, Override: body.AllowUnsigned,
	})
	if err != nil {
		return &abi.Error{Code: abi.CodeOf(err), Msg: err.Error(), Hint: abi.HintOf(err), Detail: report, Err: err}
	}
	return c.JSON(api.List[pack.Synced]{Version: s.svc.Journal.Last(), Items: report})
}
