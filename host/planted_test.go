package host_test

import (
	"archive/zip"
	"bytes"
	"compress/gzip"
	"context"
	"encoding/base64"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"io"
	"io/fs"
	"iter"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"net/url"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"

	"github.com/arw-project/arw/abi"
	"github.com/arw-project/arw/host"
	"github.com/arw-project/arw/host/api"
	"github.com/arw-project/arw/host/hosttest"
	"github.com/arw-project/arw/host/internal/action"
	"github.com/arw-project/arw/host/internal/infer"
	"github.com/arw-project/arw/host/internal/journal"
	"github.com/arw-project/arw/host/internal/logic"
	"github.com/arw-project/arw/host/internal/pack"
	"github.com/arw-project/arw/host/internal/prompt"
	"github.com/arw-project/arw/host/internal/vault"
)

// planted is a value of the vault as it is met: it has what JSON and URLs escape.
const planted = `pl4nted/s3cret+"value"&0123456789`

// forms are the spellings of a value that must be nowhere.
func forms(value string) map[string]string {
	quoted, _ := json.Marshal(value)
	return map[string]string{
		"plain": value, "JSON": string(quoted[1 : len(quoted)-1]), "query": url.QueryEscape(value), "path": url.PathEscape(value),
		"hex": hex.EncodeToString([]byte(value)), "HEX": strings.ToUpper(hex.EncodeToString([]byte(value))),
		// What follows the last whole group depends on the neighbours.
		"base64": base64.RawStdEncoding.EncodeToString([]byte(value))[:len(value)/3*4], "base64url": base64.RawURLEncoding.EncodeToString([]byte(value))[:len(value)/3*4],
	}
}

// halved is a text that only a guest puts together: no input, and nothing that is made of one, has it.
func halved(text string) string {
	var b strings.Builder
	for len(text) > 4 {
		b.WriteString(text[:4] + "|")
		text = text[4:]
	}
	return b.String() + text
}

// parrot is a model that says the planted value, cut in two.
type parrot struct{ infer.Model }

func (parrot) Info() infer.Info {
	return infer.Info{Engine: infer.Engine{Name: "parrot", Kind: infer.Neural}, Can: infer.Can{Generate: true, Chat: true}}
}

func (parrot) Generate(context.Context, *infer.Request) iter.Seq2[infer.Part, error] {
	return func(yield func(infer.Part, error) bool) {
		for _, text := range []string{"it is ", planted[:9], planted[9:], " indeed"} {
			if !yield(infer.Part{Text: text}, nil) {
				return
			}
		}
		yield(infer.Part{Finish: infer.Stopped, Usage: &infer.Usage{Prompt: 1, Output: 4}}, nil)
	}
}

// collected is everything that was sent to a collector of traces.
type collected struct {
	mu  sync.Mutex
	raw []byte
}

func (c *collected) ServeHTTP(_ http.ResponseWriter, r *http.Request) {
	body := io.Reader(r.Body)
	if r.Header.Get("Content-Encoding") == "gzip" {
		body, _ = gzip.NewReader(body)
	}
	raw, _ := io.ReadAll(body)
	c.mu.Lock()
	defer c.mu.Unlock()
	c.raw = append(c.raw, raw...)
}

// house is a host with everything through which a secret could leave, and what was seen to leave it.
type house struct {
	*hosttest.Host
	base   string
	token  string
	files  string // a folder that the pack may use
	logs   *safeBuffer
	traces *collected
	stop   func()
	seen   map[string][]byte // by the place it was seen at
}

func open(t *testing.T) *house {
	t.Helper()
	h := &house{logs: &safeBuffer{}, traces: &collected{}, files: t.TempDir(), seen: map[string][]byte{}}
	collector := httptest.NewServer(h.traces)
	t.Cleanup(collector.Close)
	net := hosttest.NewNet()
	net.Serve(t, "mirror.example.com", "93.184.216.34", http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.URL.Path == "/away" {
			http.Redirect(w, r, "https://mirror.example.com/here/"+url.PathEscape(planted), http.StatusFound)
			return
		}
		w.Header().Set("X-Mirror", planted)
		for i := 0; i < len(planted); i += 5 { // in pieces
			_, _ = io.WriteString(w, planted[i:min(i+5, len(planted))])
			w.(http.Flusher).Flush()
		}
	}))
	h.Host = hosttest.New(t, hosttest.Options{
		Stopped:  true,
		Policies: map[string]string{"ask.cedar": `@id("local.ask") @mode("ask") @hold("5m") @ttl("2h") permit (principal, action == Action::"link", resource == Capability::"http");`},
		Config: func(c *host.Config) {
			net.Config(c)
			c.Log = slog.New(slog.NewJSONHandler(h.logs, &slog.HandlerOptions{Level: slog.LevelDebug}))
			c.Telemetry.Endpoint = collector.URL + "/v1/traces"
			c.Models = map[string]infer.Model{"parrot": parrot{}}
		},
	})
	h.Install(hosttest.Keeper(t))
	h.Install(hosttest.Reader(t)) // it brings documents of the configuration
	h.Grant(keeperName, abi.Action, "*/*:*")
	h.Grant(keeperName, abi.FS, "read:"+h.files, "write:"+h.files)
	store(t, h.Host, vault.Secret{Name: "planted", Kind: vault.Token, Audience: []string{"https://nowhere.example.com"}}, planted)
	h.base, h.stop = serveAll(t, h.Host)
	var err error
	if h.token, err = h.Token(); err != nil {
		t.Fatal(err)
	}
	return h
}

// ask sends a request as the operator and keeps what comes back.
func (h *house) ask(t *testing.T, method, path, body string) (int, []byte) {
	t.Helper()
	req, err := http.NewRequestWithContext(t.Context(), method, h.base+path, strings.NewReader(body))
	if err != nil {
		t.Fatal(err)
	}
	req.Header.Set("Authorization", "Bearer "+h.token)
	req.Header.Set("Content-Type", "application/json")
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	raw, err := io.ReadAll(resp.Body)
	if err != nil {
		t.Fatal(err)
	}
	var head bytes.Buffer
	_ = resp.Header.Write(&head)
	h.see(method+" "+path, append(head.Bytes(), raw...))
	return resp.StatusCode, raw
}

func (h *house) see(where string, what []byte) { h.seen[where] = append(h.seen[where], what...) }

// run has the pack take steps and keeps what it answers; a whole step puts its text together first.
func (h *house) run(t *testing.T, steps ...hosttest.Step) action.Action {
	t.Helper()
	a, _, err := h.Services().Actions.Submit(t.Context(), action.Request{Kind: "keeper.run", Actor: "operator", Input: hosttest.Steps(steps...)})
	if err != nil {
		t.Fatal(err)
	}
	return h.Wait(a.ID)
}

// lookAround reads everything that can be read: every GET route, the stream of all events, the log, the traces, and, when the
// host has stopped, every byte of its folder.
func (h *house) lookAround(t *testing.T, ids ...string) {
	t.Helper()
	_, raw := h.ask(t, "GET", "/spec/openapi.json", "")
	var doc struct {
		Paths map[string]map[string]any `json:"paths"`
	}
	if err := json.Unmarshal(raw, &doc); err != nil || len(doc.Paths) < 40 {
		t.Fatalf("%d paths, %v", len(doc.Paths), err)
	}
	for path, ops := range doc.Paths {
		if ops["get"] == nil || strings.Contains(path, "/stream") || path == "/events" {
			continue
		}
		if path == "/actions/{id}" {
			for _, id := range ids {
				h.ask(t, "GET", "/actions/"+id, "")
			}
		}
		for _, p := range []struct{ name, value string }{
			{"{ns}", "test"}, {"{name}", "keeper"}, {"{id}", "keeper.doc"}, {"{version}", "1"}, {"{digest}", "none"}, {"{sha256}", "none"}, {"{host}", "mirror.example.com"},
		} {
			path = strings.ReplaceAll(path, p.name, p.value)
		}
		h.ask(t, "GET", path, "")
	}
	h.ask(t, "GET", "/state/keeper.doc", "")
	h.follow(t)
	h.stop()
	h.Stop()
	h.see("log", []byte(h.logs.String()))
	h.traces.mu.Lock()
	h.see("traces", h.traces.raw)
	h.traces.mu.Unlock()
	err := filepath.WalkDir(h.State, func(path string, d fs.DirEntry, err error) error {
		if err != nil || !d.Type().IsRegular() {
			return err
		}
		raw, err := os.ReadFile(path)
		h.see("file "+filepath.Base(path), raw)
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
}

// follow reads the events from the beginning to the last one there is.
func (h *house) follow(t *testing.T) {
	t.Helper()
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	req, err := http.NewRequestWithContext(ctx, "GET", h.base+"/events?after=0", nil)
	if err != nil {
		t.Fatal(err)
	}
	req.Header.Set("Authorization", "Bearer "+h.token)
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	end := fmt.Appendf(nil, "id: %d\n", h.Services().Journal.Last())
	var got []byte
	buf := make([]byte, 32<<10)
	for !bytes.Contains(got, end) {
		n, err := resp.Body.Read(buf)
		got = append(got, buf[:n]...)
		if err != nil {
			t.Fatalf("the stream of events ended: %v", err)
		}
	}
	h.see("events", got)
}

// found is how much was found at a place, by outcome.
func (h *house) found(where, outcome string) (n uint64) {
	for _, c := range h.Services().Redact.Counts() {
		if c.Where == where && c.Outcome == outcome {
			n += c.Count
		}
	}
	return n
}

// TestAPlantedValueOfTheVaultIsNowhere lets a value of the vault in by every door there is, in every spelling, and looks for it
// everywhere that anybody can read.
func TestAPlantedValueOfTheVaultIsNowhere(t *testing.T) {
	t.Parallel()
	h := open(t)
	var ids []string
	kept := func(a action.Action) action.Action { ids = append(ids, a.ID); return a }
	refused := func(door string, err error) {
		t.Helper()
		if abi.CodeOf(err) != abi.Denied || !strings.Contains(abi.HintOf(err), `named secret "planted"`) {
			t.Errorf("%s: %v", door, err)
		}
	}

	// What a person or program outside hands in.
	for name, form := range forms(planted) {
		in, _ := json.Marshal(map[string]any{"steps": []map[string]string{{"op": "log", "value": "it is " + form}}})
		_, _, err := h.Services().Actions.Submit(t.Context(), action.Request{Kind: "keeper.run", Actor: "operator", Input: in})
		refused("tool input, "+name, err)
		body, _ := json.Marshal(map[string]any{"kind": "keeper.run", "input": json.RawMessage(in)})
		if code, _ := h.ask(t, "POST", "/actions", string(body)); code != http.StatusForbidden {
			t.Errorf("POST /actions, %s: %d", name, code)
		}
	}
	a, _, err := h.Services().Actions.Submit(t.Context(), action.Request{Kind: "keeper.run", Actor: "operator", Corr: planted, Session: "", IdemKey: planted, Input: hosttest.Steps()})
	if err != nil {
		t.Fatal(err)
	}
	again, reused, err := h.Services().Actions.Submit(t.Context(), action.Request{Kind: "keeper.run", Actor: "operator", IdemKey: planted, Input: hosttest.Steps()})
	if err != nil || !reused || again.ID != kept(h.Wait(a.ID)).ID {
		t.Errorf("a key that is a secret: %v %v", reused, err)
	}
	_, err = h.Services().Logic.Edit(t.Context(), logic.Workspace, "recipes/retrieval", "merge", map[string]any{"api": map[string]any{"header": planted}}, logic.How{By: "operator"})
	if refused("config patch", err); !strings.Contains(err.Error(), `"/api/header"`) {
		t.Errorf("the patch's pointer: %v", err)
	}
	_, err = h.Services().Logic.Install(t.Context(), []byte(fmt.Sprintf("schema = 1\nid = \"test.unit\"\nversion = \"1.0.0\"\ncategory = \"retrieval\"\ntitle = \"a\"\ndescription = %q\n[[patches]]\ntarget = \"recipes/retrieval\"\nop = \"merge\"\nvalue = { k = 1 }\n", planted)), logic.Installed, "file", "operator", "")
	refused("unit manifest", err)
	for _, req := range [][3]string{
		{"POST", "/patch/apply", `{"target":"recipes/retrieval","op":"merge","value":{"a":%s}}`}, {"POST", "/leases", `{"pack":"test/keeper","capability":"http","scope":["https://x.example.com"],"reason":%s}`},
		{"POST", "/egress/preview", `{"url":"https://x.example.com/","headers":[["X-A",%s]]}`}, {"PUT", "/egress/scopes/x", `{"hosts":["x.example.com"],"description":%s}`}, {"POST", "/projects", `{"id":"p","title":%s}`},
	} {
		value, _ := json.Marshal(planted)
		if code, raw := h.ask(t, req[0], req[1], fmt.Sprintf(req[2], value)); code != http.StatusForbidden {
			t.Errorf("%s %s: %d %s", req[0], req[1], code, raw)
		}
	}
	if code, _ := h.ask(t, "GET", "/state/actions?corr_id="+url.QueryEscape(planted), ""); code != http.StatusForbidden {
		t.Errorf("an address with it: %d", code)
	}

	// What a guest says that knows it from somewhere.
	for name, form := range forms(planted) {
		text := halved(form)
		doc, _ := json.Marshal(map[string]string{"text": form, form: "name"})
		done := kept(h.run(t,
			hosttest.Step{"whole log", "", text}, hosttest.Step{"whole emit", "keeper.said", halved(string(doc))}, hosttest.Step{"whole show", "keeper.doc", halved(string(doc))},
			hosttest.Step{"whole put", "k", text}, hosttest.Step{"whole put", text, "v"}, hosttest.Step{"whole batch", "b", text}, hosttest.Step{"whole say", "", text},
			hosttest.Step{"whole read", halved(h.files + "/" + strings.ReplaceAll(form, "/", "_")), ""}, hosttest.Step{"whole config", "recipes/" + text, ""},
		))
		var out struct{ Got []string }
		if err := json.Unmarshal(done.Output, &out); err != nil || len(out.Got) != 9 {
			t.Fatalf("%s: %s %+v", name, done.Output, done.Failure)
		}
		for _, i := range []int{3, 4, 5} {
			if out.Got[i] != "!denied" {
				t.Errorf("%s: a key was kept: %q", name, out.Got)
			}
		}
		if strings.Trim(out.Got[6], "*") != "" || len(out.Got[6]) == 0 {
			t.Errorf("%s: the answer is %q", name, out.Got[6])
		}
		failed := kept(h.run(t, hosttest.Step{"whole fail", "token", halved("cannot use " + form)}))
		if failed.State != action.Failed || !strings.Contains(failed.Failure.Message, "cannot use ***") {
			t.Errorf("%s: the tool's error is %+v", name, failed.Failure)
		}
	}
	plantArchive(t, h)
	kept(h.run(t, hosttest.Step{"unpack", h.files + "/a.zip", h.files + "/out"}))

	// What a guest sends, and what comes back.
	path := halved("https://mirror.example.com/at/" + url.PathEscape(planted))
	asked := h.Submit("keeper.run", string(hosttest.Steps(hosttest.Step{"whole fetch", path, ""})))
	var p prompt.Prompt
	hosttest.Eventually(t, "a person is asked", func() bool {
		all, err := h.Services().Prompts.List(t.Context(), prompt.Pending)
		if err == nil && len(all) == 1 {
			p = all[0]
		}
		return p.ID != ""
	})
	shown, _ := json.Marshal(p)
	h.see("prompt", shown)
	h.ask(t, "GET", "/state/policy", "")
	if _, err := h.Services().Packs.Answer(t.Context(), "", "operator", p.ID, false, "", "no", nil); err != nil {
		t.Fatal(err)
	}
	kept(h.Wait(asked.ID))
	h.Grant(keeperName, abi.HTTP, "GET,POST https://mirror.example.com")
	sent := kept(h.run(t, hosttest.Step{"whole fetch", path, ""}, hosttest.Step{"whole post", "https://mirror.example.com/", halved(planted)}, hosttest.Step{"fetch", "https://mirror.example.com/away", ""}))
	if got := string(sent.Output); strings.Count(got, strings.Repeat("*", len(planted))) != 3 {
		t.Errorf("the guest was answered %s", got)
	}
	seen, err := h.Services().Packs.Foresee(t.Context(), keeperName, "keeper.run", abi.HTTPRequest{Method: "POST", URL: "https://mirror.example.com/" + url.PathEscape(planted), Headers: [][2]string{{"X-Said", planted}}}, []byte("body "+planted))
	preview, _ := json.Marshal(seen)
	if h.see("preview", preview); err != nil || !strings.Contains(string(preview), "***") {
		t.Errorf("the preview is %s, %v", preview, err)
	}

	// What a model says.
	_, _, err = h.Services().Actions.Submit(t.Context(), action.Request{Kind: "infer.generate", Actor: "operator", Input: []byte(`{"model":"parrot","prompt":"` + forms(planted)["JSON"] + `"}`)})
	refused("prompt of a model", err)
	told := kept(h.Call("infer.generate", `{"model":"parrot","prompt":"say it"}`))
	if told.State != action.Completed || !strings.Contains(string(told.Output), "it is ***") {
		t.Errorf("the model's answer: %s %+v", told.Output, told.Failure)
	}
	if _, raw := h.ask(t, "POST", "/v1/chat/completions", `{"model":"parrot","stream":true,"messages":[{"role":"user","content":"say it"}]}`); !strings.Contains(string(raw), "****") || !strings.Contains(string(raw), "indeed") {
		t.Errorf("the model's stream: %s", raw)
	}
	h.Services().Log.Error("the host says "+planted, "error", fmt.Errorf("with %q", planted))

	h.lookAround(t, ids...)
	for where, what := range h.seen {
		for name, form := range forms(planted) {
			if i := bytes.Index(what, []byte(form)); i >= 0 {
				t.Errorf("%s has it, %s: %q", where, name, what[max(0, i-200):min(len(what), i+len(form)+60)])
			}
		}
	}
	for where, outcomes := range map[string][]string{
		"input": {"refused"}, "request": {"refused"}, "kv": {"refused"}, "config": {"refused"}, "name": {"redacted"}, "log": {"redacted"}, "event": {"redacted"}, "state": {"redacted"}, "output": {"redacted"}, "error": {"redacted"},
		"prompt": {"redacted"}, "egress": {"redacted"}, "stream": {"redacted"},
	} {
		for _, outcome := range outcomes {
			if h.found(where, outcome) == 0 {
				t.Errorf("nothing was %s at %q", outcome, where)
			}
		}
	}
	checkFound(t, h)
}

// checkFound holds the events against the counts: what was found is told, once for each place and rule, and in all.
func checkFound(t *testing.T, h *house) {
	t.Helper()
	h.Start()
	totals := map[string]uint64{}
	for _, r := range h.Events(journal.Filter{Prefixes: []string{"secrets.found"}}) {
		var f api.SecretsFound
		if err := json.Unmarshal(r.Body, &f); err != nil || r.Actor != "host" || f.Count == 0 {
			t.Fatalf("told: %s %v", r.Body, err)
		}
		key := f.Where + " " + f.Rule + " " + f.Outcome
		if totals[key] += f.Count; totals[key] != f.Total {
			t.Errorf("%s: told %d in all, and says %d", key, totals[key], f.Total)
		}
	}
	for _, key := range []string{"kv vault:planted refused", "log vault:planted redacted", "output vault:planted redacted"} {
		if totals[key] == 0 {
			t.Errorf("nobody was told of %q: %v", key, totals)
		}
	}
}

// plantArchive writes an archive with an entry of the secret's name that leads out of the folder.
func plantArchive(t *testing.T, h *house) {
	t.Helper()
	var b bytes.Buffer
	z := zip.NewWriter(&b)
	if _, err := z.Create("../" + url.PathEscape(planted)); err != nil {
		t.Fatal(err)
	}
	if err := z.Close(); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(h.files+"/a.zip", b.Bytes(), 0o600); err != nil {
		t.Fatal(err)
	}
}

// TestWhatLooksLikeASecret is the table of what rules and entropy take out of what is told, in every place where something is
// told; data (a tool's input and answer, a pack's own keys) stays as it is and is counted.
func TestWhatLooksLikeASecret(t *testing.T) {
	t.Parallel()
	h := open(t)
	h.Grant(keeperName, abi.HTTP, "GET,POST https://mirror.example.com")
	shapes := []struct {
		rule, text, secret string
		alone              bool
	}{
		{"aws_access_key", "id AKIAD5ZZZZG6ZDMEN4KH", "AKIAD5ZZZZG6ZDMEN4KH", true},
		{"github_token", "with ghp_VvQe1sKhBN88hXJsi6BwhTp3Fs2QhX6KWxOi", "ghp_VvQe1sKhBN88hXJsi6BwhTp3Fs2QhX6KWxOi", true},
		{"private_key", "-----BEGIN PRIVATE KEY-----\nU8JZpDE0iGXlD6gNCFbaEPFjbD0kH8Oool8DklZDOCj2ISaJiHkTj0rL\n-----END PRIVATE KEY-----", "U8JZpDE0iGXlD6gNCFbaEPFjbD0kH8Oool8DklZDOCj2ISaJiHkTj0rL", false},
		{"jwt", "as eyJIoQhobswHGETh8lMYQOy.eyJmAAiTdR9Up14PehPjPB9atpTDBMf4rpaFQOqb7XO.Tx0MOdOQw4SG8nfnL5Ofa6qD8mJ7ZDNBm", "eyJIoQhobswHGETh8lMYQOy.eyJmAAiTdR9Up14PehPjPB9atpTDBMf4rpaFQOqb7XO.Tx0MOdOQw4SG8nfnL5Ofa6qD8mJ7ZDNBm", true},
		{"bearer", "Authorization: Bearer 4UuHF7KVMLp7hvdCTquY1XVcKGAFRF", "4UuHF7KVMLp7hvdCTquY1XVcKGAFRF", false},
		{"url_password", "at postgres://app:hunter2-9x-long@db.example/app", "hunter2-9x-long", false},
		{"entropy", "db_password=7f3Kq9ZrT2mXw8Lc", "7f3Kq9ZrT2mXw8Lc", false},
	}
	var ids []string
	for _, s := range shapes {
		text, path := halved(s.text), "plain"
		if s.alone { // it is known by itself; others by what stands beside them, which a path escapes
			path = s.secret
		}
		doc, _ := json.Marshal(map[string]any{"text": s.text, "deep": map[string]any{"list": []string{s.text}}})
		ids = append(ids, h.run(t,
			hosttest.Step{"whole log", "", text}, hosttest.Step{"whole emit", "keeper.said", halved(string(doc))}, hosttest.Step{"whole show", "keeper.doc", halved(string(doc))},
			hosttest.Step{"whole fetch", halved("https://mirror.example.com/" + path), ""},
			hosttest.Step{"whole read", halved(h.files + "/" + s.text), ""},
		).ID)
		ids = append(ids, h.run(t, hosttest.Step{"whole fail", "why", text}).ID)
		seen, err := h.Services().Packs.Foresee(t.Context(), keeperName, "keeper.run", abi.HTTPRequest{Method: "POST", URL: "https://mirror.example.com/"}, []byte(s.text))
		if err != nil {
			t.Fatal(err)
		}
		preview, _ := json.Marshal(seen)
		h.see("preview", preview)
		h.Services().Log.Error("the host says " + s.text)
		if _, err := h.Services().Packs.Grant(t.Context(), "", "operator", pack.Grant{Pack: keeperName, Capability: abi.HTTP, Scope: []string{"https://other.example.com"}, Reason: s.text}); err != nil {
			t.Fatal(err)
		}
	}
	sources := map[string]any{"sources": []string{shapes[1].text}}
	plan, err := h.Services().Logic.Edit(t.Context(), logic.Workspace, "recipes/retrieval", "merge", sources, logic.How{By: "operator"})
	if abi.CodeOf(err) != abi.Conflict || !strings.Contains(err.Error(), "secret_marker") {
		t.Fatalf("what looks like a secret joins the configuration: %v", err)
	}
	if _, err := h.Services().Logic.Edit(t.Context(), logic.Workspace, "recipes/retrieval", "merge", sources, logic.How{By: "operator", Excuse: plan.SafetyDigest}); err != nil {
		t.Fatal(err)
	}
	h.ask(t, "GET", "/state/config?target=recipes/retrieval", "")
	h.lookAround(t, ids...)
	// The configuration's own tables hold what a person wrote, and so does nothing that is shown of it. A pack's keys, and inputs
	// and answers, would be data.
	for where, what := range h.seen {
		for _, s := range shapes {
			if !bytes.Contains(what, []byte(s.secret)) || strings.HasPrefix(where, "file arw.db") && s.rule == "github_token" {
				continue
			}
			i := bytes.Index(what, []byte(s.secret))
			t.Errorf("%s has %s: %q", where, s.rule, what[max(0, i-200):min(len(what), i+len(s.secret)+60)])
		}
	}
}
