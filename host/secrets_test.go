package host_test

import (
	"archive/zip"
	"bytes"
	"crypto/ed25519"
	"crypto/hmac"
	"crypto/sha256"
	"crypto/x509"
	"encoding/base64"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"

	"github.com/coder/websocket"

	"github.com/arw-project/arw/abi"
	"github.com/arw-project/arw/host"
	"github.com/arw-project/arw/host/hosttest"
	"github.com/arw-project/arw/host/internal/egress"
	"github.com/arw-project/arw/host/internal/journal"
	"github.com/arw-project/arw/host/internal/vault"
)

const token = "t0ken-that-nobody-sees-0123"

func store(t *testing.T, h *hosttest.Host, s vault.Secret, value string) {
	t.Helper()
	if _, err := h.Services().Vault.Put(t.Context(), "cor_store", "operator", s, []byte(value)); err != nil {
		t.Fatal(err)
	}
}

// seen is what a server was told, for a test to look at.
type seen struct {
	mu   sync.Mutex
	auth []string
}

func (s *seen) note(r *http.Request) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.auth = append(s.auth, r.Host+" "+r.Header.Get("Authorization"))
}

func (s *seen) take() string {
	s.mu.Lock()
	defer s.mu.Unlock()
	all := strings.Join(s.auth, "; ")
	s.auth = nil
	return all
}

// TestASecretIsSentAndNotSeen: the server gets the token, the guest, the ledger, the journal and the log do not, not even
// when the server sends it back.
func TestASecretIsSentAndNotSeen(t *testing.T) {
	t.Parallel()
	var s seen
	mirror := http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		s.note(r)
		switch r.URL.Path {
		case "/away":
			http.Redirect(w, r, "https://other.example.com/", http.StatusFound)
		case "/near":
			http.Redirect(w, r, "/mirror", http.StatusFound)
		case "/socket":
			c, err := websocket.Accept(w, r, nil)
			if err != nil {
				return
			}
			defer c.CloseNow()
			_, msg, err := c.Read(r.Context())
			if err == nil {
				_ = c.Write(r.Context(), websocket.MessageText, append(msg, r.Header.Get("Authorization")...))
				_ = c.Close(websocket.StatusNormalClosure, "")
			}
		default:
			w.Header().Set("X-Mirror", r.Header.Get("Authorization"))
			auth := r.Header.Get("Authorization")
			fmt.Fprintf(w, "you sent %s, in base64 %s", auth, base64.StdEncoding.EncodeToString([]byte(auth)))
		}
	})
	var log bytes.Buffer
	h, n := courierHost(t, hosttest.Options{Config: func(c *host.Config) { c.Log = slog.New(slog.NewTextHandler(&log, nil)) }}, mirror)
	n.Serve(t, "other.example.com", "93.184.216.35", mirror)
	store(t, h, vault.Secret{Name: "api.token", Kind: vault.Token, Audience: []string{"https://api.example.com"}}, token)
	h.Grant("test/courier", abi.HTTP, "GET https://*", "GET wss://*")
	in := func(url string) string { return fmt.Sprintf(`{"url":%q,"secrets":["api.token"]}`, url) }

	if a := h.FailCall("courier.fetch", in("https://api.example.com/mirror"), abi.Denied); !strings.Contains(a.Failure.Hint+a.Failure.Message, "secret") || s.take() != "" {
		t.Fatalf("without a lease for the secret: %+v", a.Failure)
	}
	h.Grant("test/courier", abi.Secret, "api.*")
	if out := h.MustCall("courier.fetch", in("https://api.example.com/mirror")); !strings.Contains(out, "you sent Bearer "+strings.Repeat("*", len(token))) {
		t.Errorf("the guest got %s", out)
	}
	if got := s.take(); got != "api.example.com Bearer "+token {
		t.Errorf("the server got %q", got)
	}
	if out := h.MustCall("courier.fetch", in("https://api.example.com/near")); !strings.Contains(out, "****") {
		t.Errorf("the guest got %s", out)
	}
	if got := s.take(); got != strings.Repeat("api.example.com Bearer "+token+"; ", 2)[:2*len("api.example.com Bearer "+token)+2] {
		t.Errorf("after a redirect on the spot the server got %q", got)
	}
	h.MustCall("courier.fetch", in("https://api.example.com/away"))
	if got := s.take(); got != "api.example.com Bearer "+token+"; other.example.com " {
		t.Errorf("after a redirect elsewhere the servers got %q", got)
	}
	if a := h.FailCall("courier.fetch", in("https://other.example.com/mirror"), abi.Denied); !strings.Contains(a.Failure.Message, "not its audience") || s.take() != "" {
		t.Errorf("for another audience: %+v", a.Failure)
	}
	h.FailCall("courier.fetch", `{"url":"https://api.example.com/","secrets":["api.none"]}`, abi.NotFound)
	if out := h.MustCall("courier.chat", `{"url":"wss://api.example.com/socket","body":"hi ","secrets":["api.token"]}`); !strings.Contains(out, "hi Bearer "+strings.Repeat("*", len(token))) {
		t.Errorf("over a socket the guest got %s", out)
	}
	if got := s.take(); got != "api.example.com Bearer "+token {
		t.Errorf("the socket's server got %q", got)
	}
	h.Services().Log.Error("something prints " + token)

	rows, err := h.Services().Egress.Rows(t.Context(), egress.Query{Limit: 100})
	if err != nil {
		t.Fatal(err)
	}
	said, _ := json.Marshal(rows)
	for _, r := range h.Events(journal.Filter{}) {
		said = append(said, r.Body...)
	}
	said = append(said, log.String()...)
	for _, form := range []string{token, base64.StdEncoding.EncodeToString([]byte("Bearer " + token)), hex.EncodeToString([]byte(token))} {
		if bytes.Contains(said, []byte(form)) {
			t.Errorf("ledger, journal or log hold %q", form)
		}
	}
	if !strings.Contains(log.String(), "something prints ***") {
		t.Errorf("the log is %q", log.String())
	}
	uses := h.Events(journal.Filter{Prefixes: []string{vault.KindUsed}})
	if len(uses) != 5 || uses[0].Pack != "test/courier" || uses[0].Action == "" {
		t.Errorf("%d uses were journaled, want 5", len(uses))
	}
}

// TestKeysAreUsedAndNotSeen: macs and signatures hold, a revoked lease ends them.
func TestKeysAreUsedAndNotSeen(t *testing.T) {
	t.Parallel()
	h, _ := courierHost(t, hosttest.Options{}, http.NotFoundHandler())
	store(t, h, vault.Secret{Name: "hook", Kind: vault.HMAC}, "key")
	store(t, h, vault.Secret{Name: "signer", Kind: vault.Ed25519}, "")
	h.FailCall("courier.mac", `{"name":"hook","data":"x"}`, abi.Denied)
	l := h.Grant("test/courier", abi.Secret, "hook", "signer")
	var got struct {
		Data   string
		Public []byte
	}
	m := hmac.New(sha256.New, []byte("key"))
	io.WriteString(m, "x")
	if err := json.Unmarshal([]byte(h.MustCall("courier.mac", `{"name":"hook","data":"x"}`)), &got); err != nil || got.Data != hex.EncodeToString(m.Sum(nil)) {
		t.Errorf("mac %+v, %v", got, err)
	}
	if err := json.Unmarshal([]byte(h.MustCall("courier.sign", `{"name":"signer","data":"x"}`)), &got); err != nil {
		t.Fatal(err)
	}
	key, err := x509.ParsePKIXPublicKey(got.Public)
	sig, _ := hex.DecodeString(got.Data)
	if err != nil || !ed25519.Verify(key.(ed25519.PublicKey), []byte("x"), sig) {
		t.Errorf("the signature does not hold: %v", err)
	}
	h.FailCall("courier.sign", `{"name":"hook","data":"x"}`, abi.Unsupported)
	if _, err := h.Services().Leases.Revoke(t.Context(), "", l.ID, "operator", "enough"); err != nil {
		t.Fatal(err)
	}
	h.FailCall("courier.mac", `{"name":"hook","data":"x"}`, abi.LeaseRevoked)
}

// TestAPackUnpacks: through leased folders only; a hostile archive is blocked, journaled, and leaves nothing.
func TestAPackUnpacks(t *testing.T) {
	t.Parallel()
	h, _ := courierHost(t, hosttest.Options{}, http.NotFoundHandler())
	in, out := t.TempDir(), t.TempDir()
	pack := func(file string, names ...string) string {
		var b bytes.Buffer
		z := zip.NewWriter(&b)
		for _, name := range names {
			w, err := z.Create(name)
			if err != nil {
				t.Fatal(err)
			}
			io.WriteString(w, "body")
		}
		z.Close()
		if err := os.WriteFile(filepath.Join(in, file), b.Bytes(), 0o600); err != nil {
			t.Fatal(err)
		}
		return filepath.Join(in, file)
	}
	ask := func(from, to string) string { return fmt.Sprintf(`{"from":%q,"to":%q}`, from, to) }
	good, bad := pack("good.zip", "a/b.txt"), pack("bad.zip", "a", "../escape")
	to := filepath.Join(out, "new")
	h.FailCall("courier.unpack", ask(good, to), abi.Denied)
	h.Grant("test/courier", abi.FS, "read:"+in)
	h.FailCall("courier.unpack", ask(good, to), abi.Denied)
	h.Grant("test/courier", abi.FS, "write:"+out)
	if got := h.MustCall("courier.unpack", ask(good, to)); got != `{"format":"zip","files":1,"folders":1,"bytes":4,"skipped":0,"depth":1}` {
		t.Errorf("it reported %s", got)
	}
	if data, err := os.ReadFile(filepath.Join(to, "a/b.txt")); string(data) != "body" {
		t.Errorf("it made %q, %v", data, err)
	}
	h.FailCall("courier.unpack", ask(good, to), abi.Conflict)
	if a := h.FailCall("courier.unpack", ask(bad, filepath.Join(out, "other")), abi.Denied); !strings.Contains(a.Failure.Message, "../escape") {
		t.Errorf("it said %+v", a.Failure)
	}
	left, _ := os.ReadDir(out)
	if _, err := os.Stat(filepath.Join(filepath.Dir(out), "escape")); err == nil || len(left) != 1 {
		t.Errorf("the hostile archive left %v", left)
	}
	h.FailCall("courier.unpack", ask(good, filepath.Join(in, "x")), abi.Denied)
	done := h.Events(journal.Filter{Prefixes: []string{"archive.unpacked"}})
	blocked := h.Events(journal.Filter{Prefixes: []string{"archive.blocked"}})
	if len(done) != 1 || len(blocked) != 2 || !strings.Contains(string(blocked[1].Body), `"reason":"escape"`) || !strings.Contains(string(blocked[1].Body), `"entry":"../escape"`) {
		t.Errorf("journaled %d and %d: %v", len(done), len(blocked), blocked)
	}
}
