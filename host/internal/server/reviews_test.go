package server_test

import (
	"encoding/json"
	"strings"
	"testing"

	"github.com/arw-project/arw/abi"
	"github.com/arw-project/arw/host/api"
	"github.com/arw-project/arw/host/hosttest"
	"github.com/arw-project/arw/host/internal/access"
	"github.com/arw-project/arw/host/internal/server"
)

// Anybody who may submit actions lets something wait; nobody but the operator decides, and what waits is nowhere until then.
func TestOnlyTheOperatorDecidesAboutWhatWaits(t *testing.T) {
	t.Parallel()
	e := start(t, server.Options{})
	e.Install(hosttest.Keeper(t))
	op := []string{"Authorization", "Bearer " + e.token, "Content-Type", "application/json"}
	doc := []string{"Content-Type", "application/json"}
	for _, tc := range []struct{ queue, list, decide, yes, state string }{
		{"/admin/memory/quarantine", "/admin/memory/quarantine", "/admin/memory/quarantine/admit", "admit", "admitted"},
		{"/admin/world_diffs/queue", "/admin/world_diffs", "/admin/world_diffs/decision", "apply", "applied"},
	} {
		var h api.Held
		resp := e.ask("POST", tc.queue, `{"pack":"test/keeper","project":"notes","summary":"s","changes":[{"op":"put","store":"kv","name":"`+tc.yes+`","value":"<script>"}]}`, doc...)
		if err := json.NewDecoder(resp.Body).Decode(&h); err != nil || resp.StatusCode != 202 || h.State != "queued" || h.From != "agent:local" {
			t.Fatalf("queue: %d %+v %v", resp.StatusCode, h, err)
		}
		answer := `{"id":"` + h.ID + `","decision":"` + tc.yes + `"}`
		tokens := [][]string{nil}
		for _, role := range []access.Role{access.User, access.Guest, access.Pack} {
			tok, err := e.Services().Access.Create(t.Context(), "c", "operator", string(role)+"-"+tc.yes, role, 0, "")
			if err != nil {
				t.Fatal(err)
			}
			tokens = append(tokens, []string{"Authorization", "Bearer " + tok.Secret})
		}
		for _, headers := range tokens {
			for _, ask := range [][3]string{{"POST", tc.decide, answer}, {"GET", tc.list, ""}, {"GET", tc.list + "/" + h.ID, ""}} {
				if resp := e.ask(ask[0], ask[1], ask[2], append(headers, doc...)...); resp.StatusCode != 401 && resp.StatusCode != 403 {
					t.Errorf("%s %s as %v: %d", ask[0], ask[1], headers, resp.StatusCode)
				}
			}
		}
		read := hosttest.Step{"get", tc.yes}
		if got := e.Keep("notes", read)[0]; got != "!not_found" {
			t.Errorf("before it is decided: %q", got)
		}
		if got := bodyOf(t, e.ask("GET", tc.list+"?state=queued&project=notes", "", op...)); !strings.Contains(got, h.ID) {
			t.Errorf("list: %s", got)
		}
		if got := bodyOf(t, e.ask("GET", tc.list+"?project=other", "", op...)); strings.Contains(got, h.ID) {
			t.Errorf("list of another project: %s", got)
		}
		if p := problem(t, e.ask("POST", tc.decide, `{"id":"`+h.ID+`","decision":"maybe"}`, op...)); p.Code != abi.Invalid.String() {
			t.Errorf("no decision: %+v", p)
		}
		if p := problem(t, e.ask("POST", tc.decide, `{"id":"held_x","decision":"reject"}`, op...)); p.Code != abi.NotFound.String() {
			t.Errorf("nothing: %+v", p)
		}
		if resp := e.ask("POST", tc.decide, answer, op...); resp.StatusCode != 200 || !strings.Contains(bodyOf(t, resp), `"state":"`+tc.state+`"`) {
			t.Errorf("decide: %d", resp.StatusCode)
		}
		if got := e.Keep("notes", read)[0]; got != "<script>" {
			t.Errorf("afterwards: %q", got)
		}
		if p := problem(t, e.ask("POST", tc.decide, answer, op...)); p.Code != abi.Conflict.String() {
			t.Errorf("twice: %+v", p)
		}
	}
	// The documents of what waits are empty again.
	hosttest.Eventually(t, "nothing waits", func() bool {
		return bodyOf(t, e.ask("GET", "/state/memory/quarantine", "")) == `{"items":{}}` && bodyOf(t, e.ask("GET", "/state/world_diffs", "")) == `{"items":{}}`
	})
}
