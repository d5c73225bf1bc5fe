package supervise

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"io"
	"os"
	"path/filepath"
	"strings"
	"time"

	"github.com/arw-project/arw/host/internal/infer"
	"github.com/arw-project/arw/host/internal/infer/openai"
	"github.com/arw-project/arw/host/internal/infer/slots"
)

// parking is how long memories of prompts may take to be kept when a runtime ends.
const parking = 5 * time.Second

// pooled gives a llama-server's slots to scopes. What a memory depends on: the model's file (with its template), the program, all
// arguments but those that name folders, and the version it says. Where one of them cannot be known nothing is kept.
func (s *Supervisor) pooled(u *unit, p *process, client *openai.Client) (infer.Model, error) {
	prof := u.want.Profile
	cfg := slots.Config{Slots: prof.Slots, Dir: filepath.Join(p.dir, "slots")}
	if sum, err := fileSum(prof.Binary); err == nil && s.cfg.Prompts != "" {
		cfg.Store, cfg.Quota = s.cfg.Prompts, int64(prof.Prompts)
		cfg.Facts = []string{u.want.Digest, sum, client.Info().Version, strings.Join(llamaArgs(&prof, "", "", ""), "\x00")}
	}
	if prof.Embed || prof.Rerank {
		return client, nil
	}
	return slots.New(client, cfg)
}

func fileSum(name string) (string, error) {
	f, err := os.Open(name)
	if err != nil {
		return "", err
	}
	defer f.Close()
	h := sha256.New()
	_, err = io.Copy(h, f)
	return hex.EncodeToString(h.Sum(nil)), err
}

// pool is the one of a ready unit, nil without; the caller holds mu.
func (u *unit) pool() *slots.Pool {
	if l, ok := u.model.(*lent); ok {
		p, _ := l.Model.(*slots.Pool)
		return p
	}
	return nil
}

// park keeps what the slots of a unit hold, before it ends.
func (s *Supervisor) park(u *unit) {
	s.mu.Lock()
	pool := u.pool()
	s.mu.Unlock()
	if pool != nil {
		ctx, cancel := context.WithTimeout(context.Background(), parking)
		defer cancel()
		pool.Park(ctx)
	}
}
