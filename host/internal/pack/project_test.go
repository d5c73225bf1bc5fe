package pack_test

import (
	"os"
	"path/filepath"
	"slices"
	"testing"

	"github.com/arw-project/arw/abi"
	"github.com/arw-project/arw/host/api"
	"github.com/arw-project/arw/host/hosttest"
	"github.com/arw-project/arw/host/internal/action"
	"github.com/arw-project/arw/host/internal/lease"
	"github.com/arw-project/arw/host/internal/logic"
	"github.com/arw-project/arw/host/internal/pack"
)

const keeperName = "test/keeper"

// kept is a running host with the keeper, which may call others.
func kept(t *testing.T, o hosttest.Options) *hosttest.Host {
	t.Helper()
	h := hosttest.New(t, o)
	h.Install(hosttest.Keeper(t))
	h.Grant(keeperName, abi.Action, "*/*:*")
	return h
}

func grantIn(t *testing.T, h *hosttest.Host, project string, scope ...string) lease.Lease {
	t.Helper()
	l, err := h.Services().Packs.Grant(t.Context(), "", "operator", pack.Grant{
		Pack: keeperName, Capability: abi.FS, Scope: scope, Where: lease.Where{Project: project}, Reason: "for the test",
	})
	if err != nil {
		t.Fatal(err)
	}
	return l
}

func same(t *testing.T, what string, got []string, want ...string) {
	t.Helper()
	if !slices.Equal(got, want) {
		t.Errorf("%s: got %q, want %q", what, got, want)
	}
}

type step = hosttest.Step

// TestProjectsSeeNothingOfEachOther is the table of every store a pack can write to: what was written in one project is, in
// every other, neither there to be read nor changed by what is done there. Each store is tried directly, and through a call
// that one pack makes of another.
func TestProjectsSeeNothingOfEachOther(t *testing.T) {
	t.Parallel()
	h := kept(t, hosttest.Options{})
	dir := t.TempDir()
	for _, p := range []string{"a", "b", ""} {
		must(t, os.Mkdir(filepath.Join(dir, "of-"+p), 0o700))
		grantIn(t, h, p, "read:"+filepath.Join(dir, "of-"+p), "write:"+filepath.Join(dir, "of-"+p))
	}
	file := filepath.Join(dir, "of-a", "note")
	for _, store := range []struct {
		name   string
		write  step
		reads  []step   // by which it would be seen
		blind  []string // what they give in another project
		seen   []string // what they give in its own
		change []step   // by which it would be changed; what they give does not matter
	}{
		{
			"kv", step{"put", "k", "of a"},
			[]step{{"get", "k", ""}, {"list", "", ""}, {"list", "k", ""}, {"get", "//a/k", ""}, {"list", "//a/", ""}},
			[]string{"!not_found", "", "", "!denied", "!denied"}, []string{"of a", "k", "k", "of a", "//a/k"},
			[]step{{"delete", "k", ""}, {"put", "k", "changed"}, {"put", "//a/k", "changed"}, {"delete", "//a/k", ""}, {"batch", "//a/k", "changed"}, {"delete", "k", ""}},
		},
		{
			"state", step{"show", "keeper.doc", `{"of":"a"}`},
			[]step{{"look", "keeper.doc", ""}, {"look", "//a/keeper.doc", ""}},
			[]string{"!not_found", "!denied"}, []string{`{"of":"a"}`, `{"of":"a"}`},
			[]step{{"show", "//a/keeper.doc", `{"of":"b"}`}},
		},
		{
			"files", step{"write", file, "of a"},
			[]step{{"read", file, ""}, {"folder", filepath.Dir(file), ""}},
			[]string{"!denied", "!denied"}, []string{"of a", "note"},
			[]step{{"write", file, "changed"}},
		},
	} {
		through := func(s step) step { return step{"call", "test/keeper:keeper.run", string(hosttest.Steps(s))} }
		same(t, store.name+": write", h.Keep("a", store.write), "")
		same(t, store.name+": in its own project", h.Keep("a", store.reads...), store.seen...)
		for _, other := range []string{"b", "", "default"} {
			same(t, store.name+" in "+other, h.Keep(other, store.reads...), store.blind...)
			for i, s := range store.reads {
				same(t, store.name+" through a call in "+other, h.Keep(other, through(s)), `{"got":["`+store.blind[i]+`"]}`)
			}
			for _, s := range store.change {
				h.Keep(other, s, through(s))
			}
		}
		same(t, store.name+": afterwards", h.Keep("a", store.reads...), store.seen...)
	}
}

// What a host keeps of calls is apart by project too: sessions, keys of repeated requests, kept answers.
func TestWhatIsKeptOfCallsIsApart(t *testing.T) {
	t.Parallel()
	h := kept(t, hosttest.Options{})
	session := func(project string) []string {
		return h.Kept(action.Request{Kind: "keeper.count", Project: project, Actor: "agent:x", Session: "s"})
	}
	same(t, "a session", session("a"), "I")
	same(t, "the same again", session("a"), "II")
	same(t, "its name in another project", session("b"), "I")
	same(t, "and in the default one", session(""), "I")
	same(t, "which has a name", session("default"), "II")

	submit := func(project, value string) (action.Action, bool) {
		a, reused, err := h.Services().Actions.Submit(t.Context(), action.Request{
			Kind: "keeper.pure", Project: project, Actor: "agent:x", IdemKey: "key", Input: hosttest.Steps(step{2: value}),
		})
		if err != nil {
			t.Fatalf("in %q: %v", project, err)
		}
		return h.Wait(a.ID), reused
	}
	first, _ := submit("a", "secret of a")
	if again, reused := submit("a", "secret of a"); !reused || again.ID != first.ID {
		t.Errorf("in its own project: %v %s", reused, again.ID)
	}
	// The same key with another input would be a conflict, and with the same one the other project's answer.
	for _, value := range []string{"other", "secret of a"} {
		if other, reused := submit("b"+value[:1], value); reused || other.ID == first.ID || other.Usage.Cache == "hit" {
			t.Errorf("a key in another project: %v, cache %q", reused, other.Usage.Cache)
		}
	}
}

// A layer of the configuration for one project is seen there alone; the default project can have one too.
func TestConfigurationIsApart(t *testing.T) {
	t.Parallel()
	h := kept(t, hosttest.Options{})
	for scope, k := range map[logic.Scope]int{"project/a": 3, "project/default": 4} {
		if _, err := h.Services().Logic.Edit(t.Context(), scope, "recipes/retrieval", "merge", map[string]any{"k": k}, logic.How{By: "operator"}); err != nil {
			t.Fatal(err)
		}
	}
	read := step{"config", "recipes/retrieval", ""}
	a, b, none := h.Keep("a", read)[0], h.Keep("b", read)[0], h.Keep("", read)[0]
	if a == b || a == none || b == none {
		t.Errorf("got %s, %s and %s", a, b, none)
	}
}

func TestNamesOfProjects(t *testing.T) {
	t.Parallel()
	h := kept(t, hosttest.Options{})
	for _, name := range []string{"A", "a/b", "../a", "a b", "-a", "ä", "a\x00b", string(make([]byte, 64))} {
		_, _, err := h.Services().Actions.Submit(t.Context(), action.Request{Kind: "keeper.pure", Project: name, Input: hosttest.Steps(step{})})
		if abi.CodeOf(err) != abi.Invalid {
			t.Errorf("%q: %v", name, err)
		}
		if _, err := h.Services().Packs.Call(t.Context(), pack.Call{Pack: keeperName, Tool: "keeper.pure", Project: name, Input: hosttest.Steps(step{})}); abi.CodeOf(err) != abi.Invalid {
			t.Errorf("%q, called: %v", name, err)
		}
	}
}

func export(t *testing.T, h *hosttest.Host, in api.CreateExport) api.ProjectExport {
	t.Helper()
	in.From, in.To, in.Pack = "a", "b", keeperName
	e, err := h.Services().Projects.Export(t.Context(), "cor_x", "operator", in)
	if err != nil {
		t.Fatal(err)
	}
	return e
}

// An export lets one pack in one project read what it names, for as long as it holds, and nothing else.
func TestExports(t *testing.T) {
	t.Parallel()
	h := kept(t, hosttest.Options{})
	dir := t.TempDir()
	grantIn(t, h, "a", "read:"+dir, "write:"+dir)
	file := filepath.Join(dir, "out", "note")
	h.Keep("a", step{"put", "out/x", "of a"}, step{"put", "in/x", "private"}, step{"show", "keeper.doc", `{"of":"a"}`}, step{"write", file, "of a"}, step{"write", filepath.Join(dir, "note"), "private"})
	for _, tc := range []struct {
		what  string
		reads []step
		give  []string
		never []step // denied with the export too
	}{
		{
			"kv:out/", []step{{"get", "//a/out/x", ""}, {"list", "//a/out/", ""}}, []string{"of a", "//a/out/x"},
			[]step{{"get", "//a/in/x", ""}, {"list", "//a/", ""}, {"put", "//a/out/x", "b"}, {"delete", "//a/out/x", ""}, {"batch", "//a/out/y", "b"}, {"look", "//a/keeper.doc", ""}, {"get", "//c/out/x", ""}},
		},
		{
			"state:keeper.doc", []step{{"look", "//a/keeper.doc", ""}}, []string{`{"of":"a"}`},
			[]step{{"show", "//a/keeper.doc", `{}`}, {"get", "//a/out/x", ""}},
		},
		{
			"files:" + filepath.Dir(file), []step{{"read", file, ""}, {"folder", filepath.Dir(file), ""}}, []string{"of a", "note"},
			[]step{{"write", file, "b"}, {"read", filepath.Join(dir, "note"), ""}, {"read", filepath.Dir(file) + "/../note", ""}, {"folder", dir, ""}},
		},
	} {
		denied := func(what string, project string, steps ...step) {
			t.Helper()
			for i, got := range h.Keep(project, steps...) {
				if got != "!denied" && got != "!lease_revoked" && got != "!lease_expired" && got != "!budget_exhausted" {
					t.Errorf("%s, %s: %q gives %q", tc.what, what, steps[i], got)
				}
			}
		}
		denied("before", "b", tc.reads...)
		e := export(t, h, api.CreateExport{What: tc.what})
		same(t, tc.what, h.Keep("b", tc.reads...), tc.give...)
		denied("beyond", "b", tc.never...)
		denied("a third project", "c", tc.reads...)
		if _, err := h.Services().Projects.Revoke(t.Context(), "cor_x", "operator", e.ID, "enough"); err != nil {
			t.Fatal(err)
		}
		denied("revoked", "b", tc.reads...)
		uses := len(tc.reads)
		if tc.reads[0][0] == "read" {
			uses++ // until the end of the file
		}
		export(t, h, api.CreateExport{What: tc.what, Calls: int64(uses)})
		same(t, tc.what+" again", h.Keep("b", tc.reads...), tc.give...)
		denied("spent", "b", tc.reads[0])
	}
	same(t, "what a has is as it was", h.Keep("a", step{"get", "out/x", ""}, step{"look", "keeper.doc", ""}, step{"read", file, ""}), "of a", `{"of":"a"}`, "of a")
}

// A running call feels the end of an export at its next read.
func TestRevokedExportEndsInMidCall(t *testing.T) {
	t.Parallel()
	h := kept(t, hosttest.Options{})
	h.Keep("a", step{"put", "k", "v"})
	e := export(t, h, api.CreateExport{What: "kv:"})
	a, _, err := h.Services().Actions.Submit(t.Context(), action.Request{Kind: "keeper.run", Project: "b", Actor: "operator", Input: hosttest.Steps(step{"wait", "//a/k", "v"})})
	if err != nil {
		t.Fatal(err)
	}
	hosttest.Eventually(t, "the call reads", func() bool { return h.Services().Projects.Exports(lease.Live)[0].Calls > 3 })
	if _, err := h.Services().Projects.Revoke(t.Context(), "cor_x", "operator", e.ID, ""); err != nil {
		t.Fatal(err)
	}
	if a = h.Wait(a.ID); string(a.Output) != `{"got":["!lease_revoked"]}` {
		t.Fatalf("got %s %+v", a.Output, a.Failure)
	}
}

// The policies decide about an export when it is made, and again at every read under it.
func TestPoliciesDecideAboutExports(t *testing.T) {
	t.Parallel()
	h := kept(t, hosttest.Options{})
	h.Keep("a", step{"put", "k", "v"})
	create := func(by string) error {
		_, err := h.Services().Projects.Export(t.Context(), "cor_x", by, api.CreateExport{From: "a", To: "b", Pack: keeperName, What: "kv:"})
		return err
	}
	for _, by := range []string{"agent:mcp", "person:ann", "pack:test/keeper"} {
		wantCode(t, create(by), abi.Denied)
	}
	must(t, create("operator"))
	same(t, "while it may", h.Keep("b", step{"get", "//a/k", ""}), "v")
	h.WriteState("policy/apart.cedar", `@id("local.apart") forbid (principal, action == Action::"grant", resource == Capability::"export") when { context.project == Project::"b" };`)
	if _, err := h.ReloadPolicy(t.Context(), "cor_x", "operator"); err != nil {
		t.Fatal(err)
	}
	same(t, "once it may not", h.Keep("b", step{"get", "//a/k", ""}), "!denied")
	wantCode(t, create("operator"), abi.Denied)
}

func must(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}
