package lease_test

import (
	"context"
	"path"
	"regexp"
	"strings"
	"testing"

	"github.com/arw-project/arw/abi"
	"github.com/arw-project/arw/host/internal/lease"
)

func TestCovers(t *testing.T) {
	t.Parallel()
	for name, tc := range map[string]struct {
		capability     abi.Capability
		manifest, want []string
		code           abi.Code
	}{
		"nothing":                     {abi.KV, nil, nil, abi.OK},
		"the same":                    {abi.FS, []string{"read:/srv"}, []string{"read:/srv"}, abi.OK},
		"a folder below":              {abi.FS, []string{"read:/srv"}, []string{"read:/srv/docs"}, abi.OK},
		"a folder above":              {abi.FS, []string{"read:/srv/docs"}, []string{"read:/srv"}, abi.Denied},
		"a neighbour":                 {abi.FS, []string{"read:/srv/docs"}, []string{"read:/srv/docs2"}, abi.Denied},
		"any folder asked":            {abi.FS, []string{"read:*"}, []string{"read:/srv", "read:/opt"}, abi.OK},
		"any folder wanted":           {abi.FS, []string{"read:/srv"}, []string{"read:*"}, abi.Denied},
		"the root for any":            {abi.FS, []string{"read:/"}, []string{"read:*"}, abi.Denied},
		"write for read":              {abi.FS, []string{"read:*"}, []string{"write:/srv"}, abi.Denied},
		"read for write":              {abi.FS, []string{"write:*"}, []string{"read:/srv"}, abi.OK},
		"one of two lies outside":     {abi.FS, []string{"read:/srv"}, []string{"read:/srv/a", "read:/etc"}, abi.Denied},
		"two halves make no whole":    {abi.FS, []string{"read:/a", "write:/b"}, []string{"write:/a"}, abi.Denied},
		"a narrower beginning":        {abi.Event, []string{"research."}, []string{"research.done."}, abi.OK},
		"an exact kind":               {abi.Event, []string{"research."}, []string{"research.done"}, abi.OK},
		"a wider beginning":           {abi.Event, []string{"research.done."}, []string{"research."}, abi.Denied},
		"a beginning for a kind":      {abi.Event, []string{"research.done"}, []string{"research."}, abi.Denied},
		"a read model":                {abi.State, []string{"a.b", "a.c"}, []string{"a.c"}, abi.OK},
		"one tool of all":             {abi.Action, []string{"arw/research:*"}, []string{"arw/research:research.search"}, abi.OK},
		"all tools for one":           {abi.Action, []string{"arw/research:research.search"}, []string{"arw/research:*"}, abi.Denied},
		"narrower stars":              {abi.Action, []string{"arw/*:*"}, []string{"arw/re*:research.*"}, abi.OK},
		"another namespace":           {abi.Action, []string{"arw/*:*"}, []string{"*/research:*"}, abi.Denied},
		"one of the folders":          {abi.FS, []string{"read:/home/*/docs"}, []string{"read:/home/ann/docs/x"}, abi.OK},
		"narrower starred folders":    {abi.FS, []string{"read:/home/*/docs"}, []string{"read:/home/a*/docs/*"}, abi.OK},
		"wider starred folders":       {abi.FS, []string{"read:/home/a*/docs"}, []string{"read:/home/*/docs"}, abi.Denied},
		"stars for one folder":        {abi.FS, []string{"read:/home/ann"}, []string{"read:/home/*"}, abi.Denied},
		"stars below one folder":      {abi.FS, []string{"read:/home"}, []string{"read:/home/*/docs"}, abi.OK},
		"two stars at once":           {abi.FS, []string{"read:*"}, []string{"read:/home/**"}, abi.Invalid},
		"conditions on what is free":  {abi.Action, []string{"arw/*:*"}, []string{`arw/mail:mail.send where /to like "*@a.com"`}, abi.OK},
		"narrower conditions":         {abi.Action, []string{`arw/mail:* where /to like "*@a.com"`}, []string{`arw/mail:mail.send where /n is 1 and /to is "x@a.com"`}, abi.OK},
		"no conditions for some":      {abi.Action, []string{`arw/mail:* where /to like "*@a.com"`}, []string{"arw/mail:mail.send"}, abi.Denied},
		"other conditions":            {abi.Action, []string{`arw/mail:* where /to like "*@a.com"`}, []string{`arw/mail:mail.send where /cc is 1`}, abi.Denied},
		"conditions that read ill":    {abi.Action, []string{"arw/*:*"}, []string{`arw/mail:mail.send where /to`}, abi.Invalid},
		"conditions on a document":    {abi.Config, []string{"*"}, []string{`recipes where /to is 1`}, abi.Invalid},
		"no scope wanted":             {abi.FS, []string{"read:*"}, nil, abi.Invalid},
		"no scope asked":              {abi.FS, nil, []string{"read:/srv"}, abi.Invalid},
		"nonsense wanted":             {abi.FS, []string{"read:*"}, []string{"srv"}, abi.Invalid},
		"a capability of no host":     {"net", nil, nil, abi.Invalid},
		"kv takes no scope of anyone": {abi.KV, nil, []string{"x"}, abi.Invalid},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			err := lease.Covers(tc.capability, tc.manifest, tc.want)
			if abi.CodeOf(err) != tc.code {
				t.Errorf("got %v, want %v", err, tc.code)
			}
			if tc.code == abi.Denied && !strings.Contains(err.Error(), tc.want[len(tc.want)-1]) {
				t.Errorf("%v does not name the entry", err)
			}
		})
	}
	if err := lease.CheckScope(abi.FS, []string{"read:/srv", "write:/tmp"}); err != nil {
		t.Error(err)
	}
	if err := lease.CheckScope(abi.FS, []string{"read:/srv", "tmp"}); abi.CodeOf(err) != abi.Invalid {
		t.Error(err)
	}
}

// TestConditionsOnArguments: the lease whose conditions the arguments fulfil serves and is counted, and no other; what fulfils none
// is refused, and the refusal tells neither the arguments nor what they would have to be beyond the scope.
func TestConditionsOnArguments(t *testing.T) {
	t.Parallel()
	h := open(t, t.TempDir())
	inside := h.grant(t, withBudget(grantOf(abi.Action, `arw/mail:mail.send where /to like "*@a.com" and /n in 1..3`), 2, 0))
	draft := h.grant(t, grantOf(abi.Action, `arw/mail:mail.send where /draft is true`))
	seat, ctx := h.holder().At(lease.Where{}), t.Context()
	for _, c := range []struct {
		args string
		want string
	}{
		{`{"to":"x@a.com","n":1}`, inside.ID},
		{`{"draft":true,"to":"x@b.com"}`, draft.ID},
		{`{"draft":true,"to":"x@a.com","n":2}`, draft.ID}, // unlimited ones serve first
		{`{"to":"x@a.com","n":4}`, ""},
		{`{"to":"x@b.com","n":1}`, ""},
		{`{"to":"x@a.com","to":"x@b.com","n":1}`, ""},
		{`not JSON`, ""},
		{``, ""},
		{`{"to":"x@a.com","n":3}`, inside.ID},
	} {
		_, id, err := seat.TakeWith(ctx, abi.Action, "arw/mail:mail.send", []byte(c.args), len(c.args))
		if id != c.want || (err == nil) != (c.want != "") {
			t.Errorf("%s is served by %q, %v; want %q", c.args, id, err, c.want)
		}
		if err != nil && (abi.CodeOf(err) != abi.Denied || c.args != "" && strings.Contains(err.Error(), c.args)) {
			t.Errorf("%s is refused with %v", c.args, err)
		}
	}
	if _, _, err := seat.TakeWith(ctx, abi.Action, "arw/mail:mail.send", []byte(`{"to":"x@a.com","n":1}`), 1); abi.CodeOf(err) != abi.BudgetExhausted {
		t.Errorf("a third use of two: %v", err)
	}
	if _, _, err := seat.TakeWith(ctx, abi.Action, "arw/mail:mail.list", []byte(`{"draft":true}`), 1); abi.CodeOf(err) != abi.Denied {
		t.Errorf("another tool: %v", err)
	}
}

// FuzzScope: an entry that the manifest's covers serves no target that the manifest's would not, a path is never served
// outside of the folder of the entry that Use returns, and a tool reference is served as a regular expression would.
func FuzzScope(f *testing.F) {
	for _, seed := range [][4]string{
		{"fs", "read:/srv", "read:/srv/docs", "read:/srv/docs/../../etc/passwd"},
		{"fs", "write:*", "read:/a/b", "write:/a/b/./c//d/"},
		{"fs", "read:/", "read:/..a", "read:/..a/b"},
		{"event", "research.", "research.done", "research.done"},
		{"state", "a.", "a.b.", "a.b.c"},
		{"action", "arw/*:*", "arw/r*:*s*", "arw/research:x.s"},
		{"action", "*/*", "a/b", "a/b:c"},
		{"kv", "", "", ""},
		{"http", "GET,POST https://*.a.com", "https://b.a.com/v1", "GET https://b.a.com/v1/x?q=1"},
		{"secret", "github.*", "github.a*", "github.ab"},
		{"config", "recipes/*", "recipes/re*", "recipes/retrieval"},
		{"fs", "read:/home/*/docs", "read:/home/a*/docs", "read:/home/ann/docs/x"},
		{"action", `a/b:* where /n in 1..2`, `a/b:c where /n is 1`, "a/b:c"},
		{"infer", "local/*", "local/llama:*", "local/llama:8b/q4"},
	} {
		f.Add(seed[0], seed[1], seed[2], seed[3])
	}
	f.Fuzz(func(t *testing.T, capability, manifest, want, target string) {
		c := abi.Capability(capability)
		holders := map[string]*lease.Holder{}
		for _, entry := range []string{manifest, want} {
			h, err := lease.HolderOf(c, entry)
			if err != nil {
				if code := abi.CodeOf(err); code != abi.Invalid {
					t.Fatalf("%q: %v", entry, err)
				}
				return
			}
			holders[entry] = h
		}
		scope, err := holders[want].Use(context.Background(), c, target, 0)
		if err != nil {
			if abi.CodeOf(err) != abi.Denied {
				t.Fatalf("use: %v", err)
			}
		} else {
			confined(t, c, scope, target)
		}
		if lease.Covers(c, []string{manifest}, []string{want}) == nil && err == nil {
			if _, err := holders[manifest].Use(context.Background(), c, target, 0); err != nil {
				t.Fatalf("%q lies within %q, which refuses %q: %v", want, manifest, target, err)
			}
		}
		if c == abi.Action && !strings.Contains(want, " where ") {
			re := regexp.MustCompile(`\A(?s:` + strings.ReplaceAll(regexp.QuoteMeta(want), `\*`, `[^/:]*`) + `)\z`)
			if (re.MatchString(target) && reference.MatchString(target)) != (err == nil) {
				t.Fatalf("%q on %q: %v", want, target, err)
			}
		}
	})
}

// reference is what names a tool, or a pack.
var reference = regexp.MustCompile(`\A[^/:]+/[^/:]+(:[^/:]+)?\z`)

// confined checks a path that was served against the folder it was served under, in the plainest way.
func confined(t *testing.T, c abi.Capability, scope, target string) {
	t.Helper()
	if c != abi.FS {
		return
	}
	mode, folder, _ := strings.Cut(scope, ":")
	wanted, name, _ := strings.Cut(target, ":")
	if wanted == "write" && mode != "write" {
		t.Fatalf("%q serves %q", scope, target)
	}
	clean := path.Clean(name)
	if strings.Contains(folder, "*") && folder != "*" {
		re := regexp.MustCompile(`\A(?s:` + strings.ReplaceAll(regexp.QuoteMeta(folder), `\*`, `[^/]*`) + `)(?s:/.*)?\z`)
		if !path.IsAbs(name) || !re.MatchString(clean) {
			t.Fatalf("%q serves %q", scope, target)
		}
		return
	}
	if !path.IsAbs(name) || (folder != "*" && folder != "/" && clean != folder && !strings.HasPrefix(clean, folder+"/")) {
		t.Fatalf("%q serves %q", scope, target)
	}
}
