package lease_test

import (
	"context"
	"encoding/json"
	"errors"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/arw-project/arw/abi"
	"github.com/arw-project/arw/host/internal/lease"
)

func TestScope(t *testing.T) {
	t.Parallel()
	for name, tc := range map[string]struct {
		capability abi.Capability
		scope      []string
		target     string
		want       string // the scope entry, "-" for a refusal
	}{
		"kv":                          {abi.KV, nil, "", ""},
		"kv with a target":            {abi.KV, nil, "key", "-"},
		"the folder itself":           {abi.FS, []string{"read:/srv/docs"}, "read:/srv/docs", "read:/srv/docs"},
		"a file below":                {abi.FS, []string{"read:/srv/docs"}, "read:/srv/docs/a/b.md", "read:/srv/docs"},
		"a neighbour of like name":    {abi.FS, []string{"read:/srv/docs"}, "read:/srv/docs2/a", "-"},
		"the folder above":            {abi.FS, []string{"read:/srv/docs"}, "read:/srv", "-"},
		"the second folder":           {abi.FS, []string{"read:/a", "read:/b"}, "read:/b/c", "read:/b"},
		"writing needs write":         {abi.FS, []string{"read:/srv"}, "write:/srv/x", "-"},
		"write includes read":         {abi.FS, []string{"write:/srv"}, "read:/srv/x", "write:/srv"},
		"write":                       {abi.FS, []string{"write:/srv"}, "write:/srv/x", "write:/srv"},
		"any folder":                  {abi.FS, []string{"read:*"}, "read:/etc/passwd", "read:*"},
		"any folder, but for reading": {abi.FS, []string{"read:*"}, "write:/etc/passwd", "-"},
		"the root":                    {abi.FS, []string{"read:/"}, "read:/etc", "read:/"},
		"dots out":                    {abi.FS, []string{"read:/srv/docs"}, "read:/srv/docs/../../etc/passwd", "-"},
		"dots out at the end":         {abi.FS, []string{"read:/srv/docs"}, "read:/srv/docs/..", "-"},
		"dots that stay in":           {abi.FS, []string{"read:/srv/docs"}, "read:/srv/docs/a/../b", "read:/srv/docs"},
		"dots in from outside":        {abi.FS, []string{"read:/srv/docs"}, "read:/etc/../srv/docs/x", "read:/srv/docs"},
		"doubled slashes":             {abi.FS, []string{"read:/srv/docs"}, "read://srv//docs//x", "read:/srv/docs"},
		"a slash at the end":          {abi.FS, []string{"read:/srv/docs"}, "read:/srv/docs/", "read:/srv/docs"},
		"a hidden file":               {abi.FS, []string{"read:/srv/docs"}, "read:/srv/docs/.git/config", "read:/srv/docs"},
		"a relative path":             {abi.FS, []string{"read:*"}, "read:etc/passwd", "-"},
		"an empty path":               {abi.FS, []string{"read:*"}, "read:", "-"},
		"no mode":                     {abi.FS, []string{"read:*"}, "/etc/passwd", "-"},
		"another mode":                {abi.FS, []string{"read:*"}, "exec:/etc/passwd", "-"},
		"no target":                   {abi.FS, []string{"read:*"}, "", "-"},
		"a kind by its beginning":     {abi.Event, []string{"research."}, "research.ingested", "research."},
		"the beginning alone":         {abi.Event, []string{"research."}, "research.", "-"},
		"a kind that only looks so":   {abi.Event, []string{"research."}, "researchers.met", "-"},
		"a kind exactly":              {abi.Event, []string{"research.done"}, "research.done", "research.done"},
		"a kind below an exact one":   {abi.Event, []string{"research.done"}, "research.done.twice", "-"},
		"a read model":                {abi.State, []string{"research.corpora"}, "research.corpora", "research.corpora"},
		"another read model":          {abi.State, []string{"research.corpora"}, "research.corpora2", "-"},
		"a tool":                      {abi.Action, []string{"arw/research:research.search"}, "arw/research:research.search", "arw/research:research.search"},
		"all tools of a pack":         {abi.Action, []string{"arw/research:*"}, "arw/research:research.search", "arw/research:*"},
		"tools by their beginning":    {abi.Action, []string{"arw/*:research.*"}, "arw/x:research.a.b", "arw/*:research.*"},
		"a tool of another pack":      {abi.Action, []string{"arw/research:*"}, "evil/research:x", "-"},
		"a star does not cross parts": {abi.Action, []string{"arw/*"}, "arw/research:research.search", "-"},
		"a pack without a tool":       {abi.Action, []string{"arw/research"}, "arw/research", "arw/research"},
		"a tool of a bare pack":       {abi.Action, []string{"arw/research"}, "arw/research:x", "-"},
		"a folder of each":            {abi.FS, []string{"read:/home/*/docs"}, "read:/home/ann/docs/a.md", "read:/home/*/docs"},
		"not above a star's folder":   {abi.FS, []string{"read:/home/*/docs"}, "read:/home/ann", "-"},
		"a star is one segment":       {abi.FS, []string{"read:/home/*/docs"}, "read:/home/ann/bob/docs", "-"},
		"dots through a star":         {abi.FS, []string{"read:/home/*/docs"}, "read:/home/ann/docs/../../../etc/docs", "-"},
		"writing through a star":      {abi.FS, []string{"read:/home/*/docs"}, "write:/home/ann/docs/a", "-"},
		"a condition without a call":  {abi.Action, []string{`arw/research:* where /limit in 1..10`}, "arw/research:x", "-"},
		"two stars in one part":       {abi.Action, []string{"arw/*ab*:x"}, "arw/aaabb:x", "arw/*ab*:x"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			h := open(t, t.TempDir())
			h.grant(t, grantOf(tc.capability, tc.scope...))
			scope, err := h.holder().Use(t.Context(), tc.capability, tc.target, 1)
			switch {
			case tc.want == "-" && abi.CodeOf(err) != abi.Denied:
				t.Errorf("got %q, %v; want a denial", scope, err)
			case tc.want != "-" && (err != nil || scope != tc.want):
				t.Errorf("got %q, %v; want %q", scope, err, tc.want)
			}
		})
	}
}

func TestUseNeedsNoLeaseForIO(t *testing.T) {
	t.Parallel()
	if _, err := open(t, t.TempDir()).holder().Use(t.Context(), abi.IO, "", 5); err != nil {
		t.Error(err)
	}
}

// A lease of one version, pack or capability is worth nothing to another.
func TestLeasesAreNotShared(t *testing.T) {
	t.Parallel()
	h := open(t, t.TempDir())
	h.grant(t, grantOf(abi.KV))
	for name, use := range map[string]func() (string, error){
		"another version":    func() (string, error) { return h.Holder(pack, digest[:70]+"1").Use(t.Context(), abi.KV, "", 0) },
		"another pack":       func() (string, error) { return h.Holder("arw/other", digest).Use(t.Context(), abi.KV, "", 0) },
		"another capability": func() (string, error) { return h.holder().Use(t.Context(), abi.Log, "", 0) },
		"no capability":      func() (string, error) { return h.holder().Use(t.Context(), "net", "", 0) },
	} {
		if _, err := use(); abi.CodeOf(err) != abi.Denied {
			t.Errorf("%s: %v", name, err)
		}
	}
	if _, err := h.holder().Use(t.Context(), abi.KV, "", -1); abi.CodeOf(err) != abi.Invalid {
		t.Errorf("negative: %v", err)
	}
}

// Each refusal is typed, says which lease ended how, and gives the next command.
func TestRefusals(t *testing.T) {
	t.Parallel()
	h := open(t, t.TempDir())
	ctx := t.Context()
	for name, tc := range map[string]struct {
		capability abi.Capability
		prepare    func(t *testing.T) string // returns the id of the lease that the refusal names
		target     string
		code       abi.Code
		msg, hint  string
	}{
		"never held": {abi.FS, nil, "read:/srv/docs", abi.Denied,
			`use "fs" on "read:/srv/docs" for pack "p/never-held": it holds no lease for this`,
			"arw lease grant p/never-held fs --scope read:/srv/docs (the manifest must ask for it: [capabilities.fs] in pack.toml)"},
		"never held, without scope": {abi.KV, nil, "", abi.Denied,
			`use "kv" for pack "p/never-held--without-scope": it holds no lease for this`, "arw lease grant p/never-held--without-scope kv ("},
		"outside": {abi.FS, func(t *testing.T) string {
			h.grant(t, of("p/outside", grantOf(abi.FS, "read:/srv", "read:/opt")))
			return ""
		}, "read:/etc/passwd", abi.Denied, `it lies outside the leased scope ("read:/srv", "read:/opt")`, "arw lease grant p/outside fs --scope read:/etc/passwd"},
		"no path": {abi.FS, func(t *testing.T) string {
			h.grant(t, of("p/no-path", grantOf(abi.FS, "read:*")))
			return ""
		}, "read:x", abi.Denied, "that is no target of this capability", "fs wants an absolute path"},
		"revoked": {abi.FS, func(t *testing.T) string {
			l := h.grant(t, of("p/revoked", grantOf(abi.FS, "read:/srv")))
			if _, err := h.Revoke(ctx, "cor_r", l.ID, "operator", "enough now"); err != nil {
				t.Fatal(err)
			}
			return l.ID
		}, "read:/srv/x", abi.LeaseRevoked, `was revoked by "operator": enough now`, "arw lease grant p/revoked fs --scope read:/srv/x"},
		"exhausted": {abi.KV, func(t *testing.T) string {
			l := h.grant(t, of("p/exhausted", withBudget(grantOf(abi.KV), 1, 0)))
			if _, err := h.Holder("p/exhausted", digest).Use(ctx, abi.KV, "", 10); err != nil {
				t.Fatal(err)
			}
			return l.ID
		}, "", abi.BudgetExhausted, "has spent its budget of 1 calls (used 1 calls, 10 bytes)", "arw lease grant p/exhausted kv"},
		"a target that would run in a shell": {abi.FS, nil, "read:/x; rm -rf '~'", abi.Denied, `"read:/x; rm -rf '~'"`,
			`--scope 'read:/x; rm -rf '\''~'\''' (`},
		"a target that would cheat a terminal": {abi.FS, nil, "read:/x\x1b[2J\n", abi.Denied, `"read:/x\x1b[2J\n"`, "--scope read:/path ("},
		"a target without end":                 {abi.Event, nil, strings.Repeat("x", 1<<20), abi.Denied, "xxx…\"", "--scope research. ("},
		"a capability of no host":              {"net", nil, "example.org", abi.Denied, "this host leases no such capability", "there are log, kv"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			pack := "p/" + strings.NewReplacer(" ", "-", ",", "-").Replace(name)
			id := ""
			if tc.prepare != nil {
				id = tc.prepare(t)
			}
			_, err := h.Holder(pack, digest).Use(ctx, tc.capability, tc.target, 0)
			e, _ := errors.AsType[*abi.Error](err)
			if e == nil || e.Code != tc.code || !strings.Contains(e.Msg, tc.msg) || !strings.Contains(e.Hint, tc.hint) {
				t.Fatalf("code %v\nmessage %v\nhint %v", abi.CodeOf(err), err, abi.HintOf(err))
			}
			if len(e.Msg)+len(e.Hint) > 2000 {
				t.Errorf("a guest makes the message %d bytes long", len(e.Msg)+len(e.Hint))
			}
			r, ok := e.Detail.(lease.Refusal)
			if !ok || r.Lease != id || r.Pack != pack || r.Capability != string(tc.capability) || (id == "") != r.Ended.IsZero() {
				t.Errorf("detail: %+v", e.Detail)
			}
			if _, err := json.Marshal(e.Detail); err != nil {
				t.Error(err)
			}
		})
	}
}

func of(pack string, g lease.Grant) lease.Grant {
	g.Pack = pack
	return g
}

// Of several ended leases the one that ended last speaks: the pack was living on that one.
func TestTheLastEndedLeaseSpeaks(t *testing.T) {
	t.Parallel()
	h := open(t, t.TempDir())
	ctx := t.Context()
	first := h.grant(t, grantOf(abi.FS, "read:/srv"))
	second := h.grant(t, withBudget(grantOf(abi.FS, "read:/srv/docs"), 1, 0))
	if _, err := h.Revoke(ctx, "", first.ID, "operator", "x"); err != nil {
		t.Fatal(err)
	}
	for range 2 {
		_, _ = h.holder().Use(ctx, abi.FS, "read:/srv/docs/a", 0)
	}
	for target, want := range map[string]struct {
		code abi.Code
		id   string
	}{
		"read:/srv/docs/a": {abi.BudgetExhausted, second.ID},
		"read:/srv/b":      {abi.LeaseRevoked, first.ID}, // the second never covered this
		"read:/etc":        {abi.Denied, ""},
	} {
		_, err := h.holder().Use(ctx, abi.FS, target, 0)
		e, _ := errors.AsType[*abi.Error](err)
		if e == nil || e.Code != want.code || e.Detail.(lease.Refusal).Lease != want.id {
			t.Errorf("%s: %v", target, err)
		}
	}
}

// Any live lease that covers the target serves; unlimited ones first, then the one that ends first.
func TestSeveralLeases(t *testing.T) {
	t.Parallel()
	h := open(t, t.TempDir())
	ctx := t.Context()
	long := withBudget(grantOf(abi.FS, "read:/srv"), 2, 0)
	long.TTL = 2 * time.Hour
	later := h.grant(t, long)
	sooner := h.grant(t, withBudget(grantOf(abi.FS, "read:/srv"), 2, 0))
	narrow := h.grant(t, grantOf(abi.FS, "read:/srv/docs"))
	used := func(l lease.Lease) int64 {
		now, err := h.Get(l.ID)
		if err != nil {
			t.Fatal(err)
		}
		return now.Used.Calls
	}
	for i, step := range []struct {
		target                string
		sooner, later, narrow int64
	}{
		{"read:/srv/docs/a", 0, 0, 1},
		{"read:/srv/a", 1, 0, 1},
		{"read:/srv/a", 2, 0, 1},
		{"read:/srv/a", 2, 1, 1},
	} {
		if _, err := h.holder().Use(ctx, abi.FS, step.target, 0); err != nil {
			t.Fatal(err)
		}
		if used(sooner) != step.sooner || used(later) != step.later || used(narrow) != step.narrow {
			t.Errorf("step %d: sooner %d, later %d, narrow %d", i, used(sooner), used(later), used(narrow))
		}
	}
}

// A bounded budget is spent to the last unit and not one further, whoever asks at once; its end is journaled once.
func TestBudgetUnderContention(t *testing.T) {
	t.Parallel()
	for name, tc := range map[string]struct {
		calls, bytes int64
		n            int
		want         int64
	}{
		"calls":         {1000, 0, 7, 1000},
		"bytes":         {0, 5000, 5, 1000},
		"bytes uneven":  {0, 5003, 5, 1000},
		"calls first":   {100, 5000, 5, 100},
		"bytes first":   {5000, 100, 5, 20},
		"a tiny budget": {3, 0, 0, 3},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			h := open(t, t.TempDir())
			h.run(t)
			l := h.grant(t, withBudget(grantOf(abi.KV), tc.calls, tc.bytes))
			holder := h.holder()
			var served atomic.Int64
			var wg sync.WaitGroup
			for range 8 {
				wg.Go(func() {
					for {
						_, err := holder.Use(context.Background(), abi.KV, "", tc.n)
						if err != nil {
							if abi.CodeOf(err) != abi.BudgetExhausted {
								t.Error(err)
							}
							return
						}
						served.Add(1)
					}
				})
			}
			wg.Wait()
			if served.Load() != tc.want {
				t.Errorf("served %d, want %d", served.Load(), tc.want)
			}
			now, _ := h.Get(l.ID)
			if now.State != lease.Exhausted || now.Used != (lease.Budget{Calls: tc.want, Bytes: tc.want * int64(tc.n)}) {
				t.Errorf("lease: %+v", now)
			}
			until(t, "the end is journaled", func() bool { return h.kinds(t, l.ID) == "granted exhausted" })
		})
	}
}

// A use that does not fit what is left ends the lease, although a smaller one would have fitted: what was promised cannot
// be kept any more, and guessing how much is left shall not pay.
func TestUseThatDoesNotFit(t *testing.T) {
	t.Parallel()
	h := open(t, t.TempDir())
	l := h.grant(t, withBudget(grantOf(abi.KV), 10, 100))
	for _, step := range []struct {
		n    int
		code abi.Code
	}{{60, abi.OK}, {41, abi.BudgetExhausted}, {1, abi.BudgetExhausted}} {
		if _, err := h.holder().Use(t.Context(), abi.KV, "", step.n); abi.CodeOf(err) != step.code {
			t.Errorf("%d bytes: %v", step.n, err)
		}
	}
	if now, _ := h.Get(l.ID); now.Used != (lease.Budget{Calls: 1, Bytes: 60}) || now.State != lease.Exhausted {
		t.Errorf("lease: %+v", now)
	}
}

// After Revoke has returned, no use that begins succeeds, from whatever goroutine.
func TestRevokeHammer(t *testing.T) {
	t.Parallel()
	h := open(t, t.TempDir())
	h.run(t)
	holder := h.holder()
	for round := range 10 {
		g := grantOf(abi.KV)
		if round%2 == 0 {
			g = withBudget(g, 1<<40, 0)
		}
		l := h.grant(t, g)
		var revoked, stop atomic.Bool
		var late, served atomic.Int64
		var wg sync.WaitGroup
		for range 8 {
			wg.Go(func() {
				for !stop.Load() {
					before := revoked.Load()
					if _, err := holder.Use(context.Background(), abi.KV, "", 1); err == nil {
						served.Add(1)
						if before {
							late.Add(1)
						}
					} else if abi.CodeOf(err) != abi.LeaseRevoked {
						t.Error(err)
						return
					}
				}
			})
		}
		until(t, "the lease is in use", func() bool { return served.Load() > 100 })
		if _, err := h.Revoke(context.Background(), "", l.ID, "operator", "test"); err != nil {
			t.Fatal(err)
		}
		revoked.Store(true)
		after := served.Load()
		for range 100 {
			if _, err := holder.Use(context.Background(), abi.KV, "", 1); err == nil {
				t.Error("a use after the revocation succeeded")
			}
		}
		stop.Store(true)
		wg.Wait()
		if late.Load() > 0 {
			t.Fatalf("%d uses began after the revocation and succeeded (%d before)", late.Load(), after)
		}
	}
}

// A budget that cannot be reserved is not used: the use fails, and is not counted.
func TestUseWithoutDatabase(t *testing.T) {
	t.Parallel()
	h := open(t, t.TempDir())
	l := h.grant(t, withBudget(grantOf(abi.KV), 1000, 0))
	if _, err := h.holder().Use(t.Context(), abi.KV, "", 0); err != nil {
		t.Fatal(err)
	}
	if err := h.db.Close(); err != nil {
		t.Fatal(err)
	}
	served := int64(1)
	for range 1000 {
		_, err := h.holder().Use(t.Context(), abi.KV, "", 0)
		if err == nil {
			served++
		} else if abi.CodeOf(err) != abi.Unavailable {
			t.Fatal(err)
		}
	}
	if served != 126 { // an eighth was reserved ahead
		t.Errorf("served %d", served)
	}
	if now, _ := h.Get(l.ID); now.Used.Calls != served {
		t.Errorf("used %d", now.Used.Calls)
	}
	late, err := tryOpen(filepath.Dir(h.db.Path()))
	if err != nil {
		t.Fatal(err)
	}
	defer late.db.Close()
	if again, _ := late.Get(l.ID); again.Used.Calls != served {
		t.Errorf("after a restart used %d, want %d", again.Used.Calls, served)
	}
}

// A use that waits for its reservation ends with its caller.
func TestUseIsCancelled(t *testing.T) {
	t.Parallel()
	h := open(t, t.TempDir())
	h.grant(t, withBudget(grantOf(abi.Log), 100, 0))
	if _, err := h.holder().Use(t.Context(), abi.Log, "", 0); err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	var codes []abi.Code
	for range 14 {
		_, err := h.holder().Use(ctx, abi.Log, "", 0)
		codes = append(codes, abi.CodeOf(err))
	}
	if codes[11] != abi.OK || codes[12] != abi.Cancelled || codes[13] != abi.Cancelled {
		t.Errorf("codes: %v", codes)
	}
}
