package host_test

import (
	"bytes"
	"encoding/json"
	"log/slog"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"

	"github.com/arw-project/arw/host"
	"github.com/arw-project/arw/host/api"
	"github.com/arw-project/arw/host/hosttest"
	"github.com/arw-project/arw/host/internal/journal"
)

// A pack that says a token in its log and in an event leaves it nowhere, and the host tells that it did, without it.
func TestSecretsThatAPackSaysAreTakenOut(t *testing.T) {
	t.Parallel()
	const token = "ghp_16C7e42F292c6912E7710c838347Ae178B4a"
	var logs safeBuffer
	h := hosttest.New(t, hosttest.Options{Config: func(c *host.Config) { c.Log = slog.New(slog.NewTextHandler(&logs, nil)) }})
	h.Install(hosttest.Keeper(t))
	// The input is the operator's own and stands in the record of the action; so the token is put together by the pack.
	got := h.Keep("", hosttest.Step{"joined log", "ghp_16C7e42F292c6912", "E7710c838347Ae178B4a"}, hosttest.Step{"joined emit", "ghp_16C7e42F292c6912", "E7710c838347Ae178B4a"})
	for _, g := range got {
		if g != "" {
			t.Fatalf("got %q", got)
		}
	}
	rs := h.Events(journal.Filter{Prefixes: []string{"secrets.redacted", "keeper."}})
	if len(rs) != 2 || rs[0].Kind != "keeper.said" || !strings.Contains(string(rs[0].Body), "***") {
		t.Fatalf("events: %+v", rs)
	}
	var body api.SecretsRedacted
	if err := json.Unmarshal(rs[1].Body, &body); err != nil || body.Count != 2 || body.Where["log"] != 1 || body.Where["event"] != 1 || len(body.Rules) == 0 {
		t.Errorf("told: %s %v", rs[1].Body, err)
	}
	h.Stop()
	if strings.Contains(logs.String(), token) {
		t.Errorf("the log has it")
	}
	err := filepath.WalkDir(h.State, func(path string, d os.DirEntry, err error) error {
		if err != nil || d.IsDir() || !d.Type().IsRegular() {
			return err
		}
		raw, err := os.ReadFile(path)
		if strings.Contains(string(raw), token) {
			t.Errorf("%s has it", path)
		}
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
}

// safeBuffer is a buffer that several goroutines write to.
type safeBuffer struct {
	mu  sync.Mutex
	buf bytes.Buffer
}

func (b *safeBuffer) Write(p []byte) (int, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.buf.Write(p)
}

func (b *safeBuffer) String() string {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.buf.String()
}
