package server_test

import (
	"encoding/json"
	"io"
	"net/http"
	"strings"
	"testing"

	"github.com/arw-project/arw/abi"
	"github.com/arw-project/arw/host/api"
	"github.com/arw-project/arw/host/hosttest"
	"github.com/arw-project/arw/host/internal/pack"
	"github.com/arw-project/arw/host/internal/server"
)

// order sends a request as the operator and decodes a success.
func (e *edge) order(method, path, body string, into any) *http.Response {
	e.t.Helper()
	headers := []string{"Authorization", "Bearer " + e.token}
	if body != "" {
		headers = append(headers, "Content-Type", "application/json")
	}
	resp := e.ask(method, path, body, headers...)
	if into == nil {
		return resp
	}
	raw, err := io.ReadAll(resp.Body)
	if err != nil || resp.StatusCode >= 300 {
		e.t.Fatalf("%s %s: %s, %v\n%s", method, path, resp.Status, err, raw)
	}
	if err := json.Unmarshal(raw, into); err != nil {
		e.t.Fatalf("%s %s: %v\n%s", method, path, err, raw)
	}
	return resp
}

func TestAPacksLifeOverHTTP(t *testing.T) {
	t.Parallel()
	e := start(t, server.Options{})
	e.Install(hosttest.SinkPack(t))
	const at = "/packs/test/sink"
	_, digest := e.Publish(hosttest.Artifact{Module: hosttest.Sink(t), TOML: hosttest.SinkTOML("1.1.0")})

	var plan pack.Plan
	e.order("POST", at+"/upgrade", `{"dry_run":true}`, &plan)
	if plan.To.Digest != digest || plan.From.Version != "1.0.0" || plan.Diff.Class != pack.Same {
		t.Fatalf("plan: %+v", plan)
	}
	var v pack.Verdict
	e.order("POST", at+"/upgrade", `{"ref":"`+plan.Ref+`","reason":"newer"}`, &v)
	if !v.Allowed || v.Version != "1.1.0" {
		t.Fatalf("verdict: %+v", v)
	}
	if p := problem(t, e.order("POST", at+"/upgrade", `{"ref":"test/other:1.0.0"}`, nil)); p.Code != abi.Invalid.String() {
		t.Errorf("a reference to another pack: %+v", p)
	}
	if p := problem(t, e.order("POST", at+"/upgrade", `{"to":"1.0.0"}`, nil)); p.Code != abi.Conflict.String() || !strings.Contains(p.Next, "--downgrade") {
		t.Errorf("a downgrade: %+v", p)
	}
	var c pack.Change
	e.order("POST", at+"/rollback", "", &c)
	if c.Version != "1.0.0" || c.From != digest {
		t.Fatalf("change: %+v", c)
	}
	var info pack.Info
	e.order("POST", at+"/suspend", `{"reason":"look"}`, &info)
	if info.State != pack.Halted {
		t.Fatalf("info: %+v", info)
	}
	if p := problem(t, e.order("POST", "/actions", `{"kind":"sink.echo","input":{}}`, nil)); p.Code != abi.Denied.String() || p.Data == nil {
		t.Errorf("a call: %+v", p)
	}
	var health api.Health
	if e.order("GET", "/healthz", "", &health); health.Status != "degraded" {
		t.Errorf("health: %+v", health)
	}
	e.order("POST", at+"/resume", "", &info)
	var items api.List[pack.Item]
	e.order("POST", at+"/accept", "", &items)
	var history api.List[pack.Change]
	e.order("GET", at+"/history?limit=3", "", &history)
	if len(history.Items) != 3 || history.Items[0].Change != pack.Resumed {
		t.Fatalf("history: %+v", history)
	}

	resp := e.order("GET", "/lock", "", nil)
	lock, err := io.ReadAll(resp.Body)
	if err != nil || resp.StatusCode != 200 || !strings.Contains(string(lock), info.Digest) {
		t.Fatalf("lock: %s %s, %v", resp.Status, lock, err)
	}
	body, err := json.Marshal(api.SyncPacks{Lock: string(lock)})
	if err != nil {
		t.Fatal(err)
	}
	var synced api.List[pack.Synced]
	e.order("POST", "/sync", string(body), &synced)
	if len(synced.Items) != 1 || synced.Items[0].Do != pack.SyncSame {
		t.Fatalf("sync: %+v", synced)
	}
	body, err = json.Marshal(api.SyncPacks{Lock: strings.ReplaceAll(string(lock), "bundle = \"sha256:", "bundle = \"sha256:x")})
	if err != nil {
		t.Fatal(err)
	}
	if p := problem(t, e.order("POST", "/sync", string(body), nil)); p.Code != abi.Invalid.String() {
		t.Errorf("a bad lock: %+v", p)
	}

	// The verdict route and the manager have one record.
	want, err := e.Services().Packs.Why(t.Context(), "test/sink")
	if err != nil {
		t.Fatal(err)
	}
	wantJSON, err := json.Marshal(want)
	if err != nil {
		t.Fatal(err)
	}
	got, err := io.ReadAll(e.ask("GET", at+"/verdict", "").Body)
	if err != nil || string(got) != string(wantJSON) {
		t.Errorf("why:\n%s\n%s, %v", got, wantJSON, err)
	}
}
