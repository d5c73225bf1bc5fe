package server

import (
	"bufio"
	"encoding/json"
	"strings"
	"sync"
	"time"

	"github.com/gofiber/fiber/v2"

	"github.com/arw-project/arw/abi"
	"github.com/arw-project/arw/host/api"
	"github.com/arw-project/arw/host/internal/pack"
)

func (s *Server) getPacks(c *fiber.Ctx) error {
	return stateJSON(c, "packs", api.List[pack.Info]{Version: s.svc.Journal.Last(), Items: s.svc.Packs.List()})
}

func (s *Server) getPack(c *fiber.Ctx) error {
	info, err := s.svc.Packs.Get(packName(c))
	if err != nil {
		return err
	}
	return c.JSON(info)
}

func (s *Server) getVerdict(c *fiber.Ctx) error {
	why, err := s.svc.Packs.Why(s.ctx, packName(c))
	if err != nil {
		return err
	}
	return c.JSON(why)
}

// postIndexRefresh asks the signed index for news; what it revoked is suspended when the answer comes.
func (s *Server) postIndexRefresh(c *fiber.Ctx) error {
	if s.svc.RefreshIndex == nil {
		return abi.Errorf(abi.NotFound, "refresh the index: this host has none")
	}
	state, err := s.svc.RefreshIndex(s.ctx)
	if err != nil {
		return err
	}
	return c.JSON(state)
}

func packName(c *fiber.Ctx) string { return c.Params("ns") + "/" + c.Params("name") }

func (s *Server) deletePack(c *fiber.Ctx) error {
	purge := c.QueryBool("purge")
	if err := s.svc.Packs.Remove(s.ctx, packName(c), pack.Options{By: s.actor(c), Corr: corr(c), Purge: purge}); err != nil {
		return err
	}
	return c.SendStatus(fiber.StatusNoContent)
}

// postPack installs. A client that accepts newline-delimited JSON sees the progress as it happens; once the first line
// is out the status is 200, and a refusal is the last line's problem.
func (s *Server) postPack(c *fiber.Ctx) error {
	var body api.InstallPack
	if err := decode(c, &body); err != nil {
		return err
	}
	if body.Ref == "" {
		return abi.Errorf(abi.Invalid, "install pack: the body has no \"ref\"").WithHint(`send {"ref":"arw/research:0.1.0"}`)
	}
	return s.install(c, body.Ref, pack.Options{By: s.actor(c), Corr: corr(c), OverrideUnsigned: body.AllowUnsigned}, fiber.StatusCreated)
}

func (s *Server) install(c *fiber.Ctx, ref string, opts pack.Options, status int) error {
	if !strings.Contains(c.Get(fiber.HeaderAccept), "application/x-ndjson") {
		verdict, err := s.svc.Packs.Install(s.ctx, ref, opts)
		if err != nil {
			return err
		}
		return c.Status(status).JSON(verdict)
	}
	c.Set(fiber.HeaderContentType, "application/x-ndjson")
	id := corr(c)
	c.Context().SetBodyStreamWriter(func(w *bufio.Writer) { s.streamInstall(w, ref, id, opts) })
	return nil
}

// progressEvery bounds how often a line of progress is written.
const progressEvery = 50 * time.Millisecond

func (s *Server) streamInstall(w *bufio.Writer, ref, corrID string, opts pack.Options) {
	lines := lineWriter{w: w}
	opts.Progress = func(what string, done, total int64) {
		lines.progress(api.Progress{What: what, Done: done, Total: total})
	}
	verdict, err := s.svc.Packs.Install(s.ctx, ref, opts)
	if err != nil {
		lines.write(api.InstallStep{Problem: api.ProblemOf(err, corrID)})
		return
	}
	raw, err := json.Marshal(verdict)
	if err != nil {
		lines.write(api.InstallStep{Problem: api.ProblemOf(err, corrID)})
		return
	}
	lines.write(api.InstallStep{Verdict: raw})
}

// lineWriter writes one JSON value a line. A client that went away is no reason to stop an install: errors are dropped.
type lineWriter struct {
	mu   sync.Mutex // progress may come from several goroutines
	w    *bufio.Writer
	last time.Time
	what string
}

func (l *lineWriter) progress(p api.Progress) {
	l.mu.Lock()
	now := time.Now()
	skip := p.What == l.what && p.Done != p.Total && now.Sub(l.last) < progressEvery
	if !skip {
		l.last, l.what = now, p.What
	}
	l.mu.Unlock()
	if !skip {
		l.write(api.InstallStep{Progress: &p})
	}
}

func (l *lineWriter) write(step api.InstallStep) {
	l.mu.Lock()
	defer l.mu.Unlock()
	raw, err := json.Marshal(step)
	if err != nil {
		return
	}
	_, _ = l.w.Write(append(raw, '\n'))
	_ = l.w.Flush()
}
