package server_test

import (
	"encoding/base64"
	"encoding/json"
	"fmt"
	"io"
	"strings"
	"testing"
	"time"

	"github.com/arw-project/arw/host/api"
	"github.com/arw-project/arw/host/hosttest"
	"github.com/arw-project/arw/host/internal/capsule"
	"github.com/arw-project/arw/host/internal/server"
	"github.com/arw-project/arw/signing"
)

func (e *edge) envelope(id string, key *signing.Key, denies ...string) string {
	e.t.Helper()
	now := time.Now().UTC().Truncate(time.Second)
	env, err := capsule.Sign(capsule.Capsule{
		ID: id, Version: 1, Issuer: "test", IssuedAt: now, LeaseUntil: now.Add(time.Hour), HopTTL: 2, Propagate: "peers", Denies: denies,
	}, key.Signer())
	if err != nil {
		e.t.Fatal(err)
	}
	text, err := env.Encode()
	if err != nil {
		e.t.Fatal(err)
	}
	return string(text)
}

func TestCapsulesOverHTTP(t *testing.T) {
	t.Parallel()
	e := start(t, server.Options{})
	e.Install(hosttest.SinkPack(t))
	e.WriteState("capsules.toml", fmt.Sprintf("schema = 1\n[[issuer]]\nid = \"test\"\npublic_key = '''\n%s'''\n", e.Key.PublicPEM()))
	if _, err := e.ReloadPolicy(t.Context(), "", "operator"); err != nil {
		t.Fatal(err)
	}
	stranger, err := signing.GenerateKey()
	if err != nil {
		t.Fatal(err)
	}
	call := `{"kind":"sink.echo","input":{}}`
	submit := func(carried string) int {
		t.Helper()
		return e.ask("POST", "/actions", call, "Content-Type", "application/json", api.HeaderCapsule, carried).StatusCode
	}
	other := e.envelope("other", e.Key, "action:other.*")
	quiet := e.envelope("quiet", e.Key, "action:sink.*")
	for _, c := range []struct {
		name, header string
		want         int
	}{
		{"not a capsule", "{}", 400},
		{"not base64", "?", 400},
		{"a stranger's", e.envelope("quiet", stranger, "action:sink.*"), 403},
		{"about something else, raw", other, 202},
		{"in base64", base64.StdEncoding.EncodeToString([]byte(other)), 202},
		{"about this very action", quiet, 403},
		{"none, but held already", "", 403},
	} {
		if got := submit(c.header); got != c.want {
			t.Errorf("%s: %d, want %d", c.name, got, c.want)
		}
	}

	p := problem(t, e.ask("POST", "/actions", call, "Content-Type", "application/json", api.HeaderGate, "{}"))
	if p.Status != 410 || p.Code != "capsule_header_legacy" || !strings.Contains(p.Next, api.HeaderCapsule) {
		t.Errorf("the old header: %+v", p)
	}

	hosttest.Eventually(t, "the read model has both", func() bool {
		resp := e.ask("GET", "/state/policy/capsules", "")
		body, _ := io.ReadAll(resp.Body)
		var doc struct{ Items map[string]api.Capsule }
		return resp.StatusCode == 200 && json.Unmarshal(body, &doc) == nil && len(doc.Items) == 2 && doc.Items["quiet"].ExpiresInMS == 3_600_000
	})
	auth := []string{"Content-Type", "application/json", "Authorization", "Bearer " + e.token}
	for _, path := range []string{"/policy/capsules", "/policy/capsules/teardown", "/policy/capsules/quiet/forward"} {
		if got := e.ask("POST", path, "{}", "Content-Type", "application/json").StatusCode; got != 401 {
			t.Errorf("%s without a token: %d", path, got)
		}
	}
	onward, err := capsule.Parse(readAll(t, e.ask("POST", "/policy/capsules/quiet/forward", `{"to":"peer"}`, auth...).Body))
	if err != nil || len(onward.Path) != 1 {
		t.Fatal(onward, err)
	}
	if got := e.ask("POST", "/policy/capsules/teardown", `{"ids":["quiet"],"reason":"over"}`, auth...).StatusCode; got != 200 {
		t.Fatal(got)
	}
	if got := submit(""); got != 202 {
		t.Errorf("after the teardown: %d", got)
	}
	if got := submit(quiet); got != 403 { // nobody but the operator brings it back
		t.Errorf("again: %d", got)
	}
	if got := submit(""); got != 202 {
		t.Errorf("after that: %d", got)
	}
	if got := e.ask("POST", "/policy/capsules", `{"capsule":`+quiet+`}`, auth...).StatusCode; got != 200 {
		t.Errorf("by the operator: %d", got)
	}
	var ledger api.List[api.CapsuleEntry]
	if err := json.Unmarshal(readAll(t, e.ask("GET", "/policy/capsules/audit?id=quiet", "").Body), &ledger); err != nil {
		t.Fatal(err)
	}
	var told []string
	for _, entry := range ledger.Items {
		told = append(told, entry.Decision)
	}
	if got := strings.Join(told, " "); got != "adopted refused torn_down forwarded adopted refused" {
		t.Error(got)
	}
}

func readAll(t *testing.T, r io.Reader) []byte {
	t.Helper()
	body, err := io.ReadAll(r)
	if err != nil {
		t.Fatal(err)
	}
	return body
}
