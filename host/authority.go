package host

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/arw-project/arw/abi"
	"github.com/arw-project/arw/host/internal/capsule"
	"github.com/arw-project/arw/host/internal/journal"
	"github.com/arw-project/arw/host/internal/lease"
	"github.com/arw-project/arw/host/internal/pack"
	"github.com/arw-project/arw/host/internal/policy"
	"github.com/arw-project/arw/host/internal/prompt"
	"github.com/arw-project/arw/host/internal/quota"
)

// postureFile holds the name of the posture that was chosen.
const postureFile = "posture"

// The kinds of events about the policies in force.
const (
	kindReloaded     = "policy.reloaded"
	kindReloadFailed = "policy.reload.failed"
)

// PolicyState says which policies are in force, and what is wrong with the files when they could not be read again.
type PolicyState struct {
	Posture string    `json:"posture"`
	Digest  string    `json:"digest"`
	Loaded  time.Time `json:"loaded"`
	Stale   string    `json:"stale,omitempty"` // why the files are not in force as they are now
}

// authority is what decides, as it was last read.
type authority struct {
	mu    sync.Mutex // one reload at a time
	state atomic.Pointer[PolicyState]
}

// rulings are the files that decide, as they were read.
type rulings struct {
	set    *policy.Set
	grants *prompt.Grants
	quotas *quota.Rules
}

// readAuthority reads what decides: posture, policies, declared grants and quotas. All of it, or an error.
func (h *Host) readAuthority(posture string) (r rulings, err error) {
	base, err := policy.Posture(posture)
	if err != nil {
		return r, err
	}
	if r.set, err = loadPolicy(h.cfg.PolicyDir, base); err != nil {
		return r, err
	}
	if r.grants, err = loadGrants(h.cfg.StateDir); err != nil {
		return r, err
	}
	r.quotas, err = loadQuotas(h.cfg.StateDir)
	return r, err
}

// posture reads which one was chosen; a missing file is the base.
func (h *Host) posture() (string, error) {
	text, err := os.ReadFile(filepath.Join(h.cfg.StateDir, postureFile))
	if errors.Is(err, fs.ErrNotExist) {
		return policy.Base, nil
	}
	if err != nil {
		return "", abi.Errorf(abi.Unavailable, "read the posture: %w", err)
	}
	return strings.TrimSpace(string(text)), nil
}

// loadAuthority is for the start: any fault stops it.
func (h *Host) loadAuthority() error {
	posture, err := h.posture()
	if err != nil {
		return err
	}
	r, err := h.readAuthority(posture)
	if err != nil {
		return err
	}
	h.grants, h.quotas, h.parts.Policy = r.grants, r.quotas, policy.NewLive(r.set)
	h.authority.state.Store(&PolicyState{Posture: posture, Digest: r.set.Digest(), Loaded: time.Now().UTC()})
	return nil
}

// PolicyState says which policies are in force.
func (h *Host) PolicyState() PolicyState { return *h.authority.state.Load() }

// ReloadPolicy reads posture, policies and grants again and puts them in force, all or none: with a fault in any file the last
// good ones stay, which the journal, PolicyState and /healthz say. Packs and leases are held to the new ones before it returns.
func (h *Host) ReloadPolicy(ctx context.Context, corr, by string) (PolicyState, error) {
	h.authority.mu.Lock()
	defer h.authority.mu.Unlock()
	posture, err := h.posture()
	if err != nil {
		return h.PolicyState(), err
	}
	return h.reload(ctx, corr, by, posture)
}

func (h *Host) reload(ctx context.Context, corr, by, posture string) (PolicyState, error) {
	s, was := &h.parts, h.PolicyState()
	r, err := h.readAuthority(posture)
	var issuers *capsule.Issuers
	if err == nil {
		issuers, err = loadIssuers(h.cfg.StateDir)
	}
	if err != nil {
		if was.Stale != err.Error() {
			was.Stale = err.Error()
			h.authority.state.Store(&was)
			h.tell(ctx, kindReloadFailed, corr, by, map[string]any{"error": err.Error(), "in_force": was.Digest})
		}
		return was, err
	}
	now := PolicyState{Posture: posture, Digest: r.set.Digest(), Loaded: time.Now().UTC()}
	s.Policy.Swap(r.set)
	s.Packs.Declare(r.grants)
	s.Quotas.Replace(r.quotas)
	h.authority.state.Store(&now)
	if now.Digest != was.Digest || was.Stale != "" {
		h.tell(ctx, kindReloaded, corr, by, map[string]any{"digest": now.Digest, "before": was.Digest, "posture": posture})
	}
	return now, errors.Join(s.Capsules.Trust(ctx, issuers), s.Packs.Repolicy(ctx, corr))
}

func (h *Host) tell(ctx context.Context, kind, corr, by string, body any) {
	if _, err := h.parts.Journal.Append(context.WithoutCancel(ctx), journal.Event{Kind: kind, Corr: corr, Actor: by, Body: body}); err != nil {
		h.cfg.Log.Error("journal a change of policies", "kind", kind, "error", err)
	}
}

// PostureChange is what choosing a posture changes.
type PostureChange struct {
	From   string       `json:"from"`
	To     string       `json:"to"`
	DryRun bool         `json:"dry_run"`
	Digest string       `json:"digest"` // of the policies with it
	Shifts []pack.Shift `json:"shifts"`
}

// SetPosture chooses one of policy.Postures and puts it in force; with dry it only tells what would change. Invalid.
func (h *Host) SetPosture(ctx context.Context, corr, by, name string, dry bool) (PostureChange, error) {
	h.authority.mu.Lock()
	defer h.authority.mu.Unlock()
	r, err := h.readAuthority(name)
	if err != nil {
		return PostureChange{}, err
	}
	out := PostureChange{From: h.PolicyState().Posture, To: name, DryRun: dry, Digest: r.set.Digest(), Shifts: h.parts.Packs.Foretell(r.set)}
	if dry {
		return out, nil
	}
	if err := writeWhole(filepath.Join(h.cfg.StateDir, postureFile), []byte(name+"\n")); err != nil {
		return out, err
	}
	_, err = h.reload(ctx, corr, by, name)
	return out, err
}

// PolicyDiff is what other policy files would change.
type PolicyDiff struct {
	policy.Difference
	Posture string       `json:"posture"`
	Shifts  []pack.Shift `json:"shifts"` // answers about installed packs
	// Recorded is what would have become of decisions that the journal tells of.
	Recorded pack.Retold `json:"recorded"`
}

// mostRecorded is how many of the last events a diff looks through at most, and unless it is told how many.
const mostRecorded = 20_000

// DiffPolicy says what other files of the operator's would change, under the posture of now, for the installed packs, for cases, and for
// the decisions that the last events of the journal tell of (0: as many as there may be). Nothing changes. Invalid.
func (h *Host) DiffPolicy(ctx context.Context, files []policy.Source, cases []policy.Case, events int) (PolicyDiff, error) {
	state := h.PolicyState()
	base, err := policy.Posture(state.Posture)
	if err != nil {
		return PolicyDiff{}, err
	}
	set, err := policy.Load(append(base, files...))
	if err != nil {
		return PolicyDiff{}, err
	}
	records, err := h.recorded(ctx, events)
	if err != nil {
		return PolicyDiff{}, err
	}
	retold := h.parts.Packs.Retell(set, records, func(id string) []byte {
		a, err := h.parts.Actions.Get(ctx, id)
		if err != nil {
			return nil
		}
		return a.Input
	})
	return PolicyDiff{policy.Diff(h.parts.Policy.Current(), set, cases), state.Posture, h.parts.Packs.Foretell(set), retold}, nil
}

// recorded are those of the last events that tell of decisions.
func (h *Host) recorded(ctx context.Context, events int) ([]journal.Record, error) {
	if events <= 0 || events > mostRecorded {
		events = mostRecorded
	}
	j := h.parts.Journal
	after := max(j.Floor(), j.Last()-int64(events))
	var all []journal.Record
	for {
		page, err := j.Read(ctx, after, 1000, journal.Filter{Prefixes: pack.RetellPrefixes})
		if err != nil || len(page) == 0 {
			return all, err
		}
		all = append(all, page...)
		after = page[len(page)-1].ID
	}
}

// writeWhole replaces a small file durably.
func writeWhole(path string, text []byte) error {
	f, err := os.CreateTemp(filepath.Dir(path), "."+filepath.Base(path)+"-*") // mode 0600
	if err != nil {
		return abi.Errorf(abi.Unavailable, "write %q: %w", path, err)
	}
	_, err = f.Write(text)
	if err = errors.Join(err, f.Sync(), f.Close()); err == nil {
		err = os.Rename(f.Name(), path)
	}
	if err != nil {
		os.Remove(f.Name())
		return abi.Errorf(abi.Unavailable, "write %q: %w", path, err)
	}
	return nil
}

// lookEvery is how often the files that decide are looked at.
const lookEvery = 2 * time.Second

// followAuthority reads the files again when they change, until ctx ends.
func (h *Host) followAuthority(ctx context.Context) error {
	seen := h.fingerprint()
	tick := time.NewTicker(lookEvery)
	defer tick.Stop()
	for {
		select {
		case <-ctx.Done():
			return nil
		case <-tick.C:
		}
		if now := h.fingerprint(); now != seen {
			seen = now
			if _, err := h.ReloadPolicy(ctx, lease.NewID("cor_"), "host"); err != nil {
				h.cfg.Log.Error("read the policies again; the last good ones stay in force", "error", err)
			}
		}
	}
}

// fingerprint tells one state of the files that decide from another, by names, sizes and times.
func (h *Host) fingerprint() string {
	var b strings.Builder
	note := func(name string) {
		if st, err := os.Stat(name); err == nil {
			fmt.Fprintf(&b, "%s %d %d\n", name, st.Size(), st.ModTime().UnixNano())
		}
	}
	files, _ := filepath.Glob(filepath.Join(h.cfg.PolicyDir, "*.cedar"))
	for _, name := range append(files, filepath.Join(h.cfg.StateDir, postureFile), filepath.Join(h.cfg.StateDir, prompt.GrantsFile), filepath.Join(h.cfg.StateDir, quota.File), filepath.Join(h.cfg.StateDir, capsule.IssuersFile)) {
		note(name)
	}
	return b.String()
}

// loadGrants reads the declared grants; a missing file declares none.
func loadGrants(dir string) (*prompt.Grants, error) {
	file := filepath.Join(dir, prompt.GrantsFile)
	src, err := readOwn("grants", file)
	if src == nil {
		return &prompt.Grants{}, err
	}
	return prompt.ParseGrants(file, src)
}

// loadQuotas reads the quotas; a missing file has none.
func loadQuotas(dir string) (*quota.Rules, error) {
	file := filepath.Join(dir, quota.File)
	src, err := readOwn("quotas", file)
	if src == nil {
		return &quota.Rules{}, err
	}
	return quota.Parse(file, src)
}

// readOwn reads a file of the state directory that only its owner may write; nil when it is missing.
func readOwn(what, file string) ([]byte, error) {
	info, err := os.Stat(file)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil
	}
	if err != nil {
		return nil, abi.Errorf(abi.Unavailable, "read %s %q: %w", what, file, err)
	}
	if info.Mode().Perm()&0o022 != 0 {
		return nil, abi.Errorf(abi.Invalid, "read %s %q: others may write it (mode %04o)", what, file, info.Mode().Perm()).WithHint("chmod go-w %s", file)
	}
	src, err := os.ReadFile(file)
	if err != nil {
		return nil, abi.Errorf(abi.Unavailable, "read %s %q: %w", what, file, err)
	}
	return append([]byte{}, src...), nil
}

// openPrompts makes the book of questions that only a person answers.
func (h *Host) openPrompts(ctx context.Context) (err error) {
	s := &h.parts
	s.Prompts, err = prompt.Open(ctx, h.db, s.Journal, s.View)
	return err
}
