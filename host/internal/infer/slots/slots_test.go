package slots_test

import (
	"bytes"
	"context"
	"fmt"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"

	"github.com/arw-project/arw/abi"
	"github.com/arw-project/arw/host/internal/infer"
	"github.com/arw-project/arw/host/internal/infer/infertest"
	"github.com/arw-project/arw/host/internal/infer/openai"
	"github.com/arw-project/arw/host/internal/infer/slots"
)

// bench is a fake server with slots, which like the real one takes whatever a file holds.
type bench struct {
	t      *testing.T
	server *infertest.Server
	store  string
	*slots.Pool
}

func start(t *testing.T, store string, facts ...string) *bench {
	t.Helper()
	s := infertest.New("llama")
	s.Slotted = t.TempDir()
	srv := httptest.NewServer(s)
	t.Cleanup(func() { srv.CloseClientConnections(); srv.Close() })
	c, err := openai.Open(t.Context(), openai.Config{Base: srv.URL, Transport: http.DefaultTransport.(*http.Transport).Clone(), Model: s.Model, Dialect: openai.Llama})
	if err != nil {
		t.Fatal(err)
	}
	p, err := slots.New(c, slots.Config{Slots: s.Slots, Dir: s.Slotted, Store: store, Quota: 1 << 20, Facts: append([]string{"model"}, facts...), Least: 16})
	if err != nil {
		t.Fatal(err)
	}
	return &bench{t, s, store, p}
}

// ask gives the cached tokens of an answer, and how many there were.
func (b *bench) ask(scope, prompt string) (cached, all int64) {
	b.t.Helper()
	for part, err := range b.Generate(b.t.Context(), &infer.Request{Prompt: infer.Prompt{Text: prompt}, MaxTokens: 2, Scope: scope}) {
		if err != nil {
			b.t.Fatal(err)
		}
		if part.Usage != nil {
			cached, all = part.Usage.Cached, part.Usage.Prompt
		}
	}
	return cached, all
}

func (b *bench) files(pattern string) []string {
	b.t.Helper()
	names, err := filepath.Glob(filepath.Join(b.store, "*", pattern))
	if err != nil {
		b.t.Fatal(err)
	}
	return names
}

var scaffold = strings.Repeat("you are careful and answer in few words ", 10)

// A repeated scaffold is not computed again, and no other scope profits from it.
func TestAScopesPromptsAreItsOwn(t *testing.T) {
	t.Parallel()
	b := start(t, "")
	if cached, _ := b.ask("a", scaffold+"first"); cached != 0 {
		t.Errorf("a cold prompt: %d cached", cached)
	}
	if cached, all := b.ask("a", scaffold+"second"); float64(cached) < .95*float64(all) {
		t.Errorf("a repeated scaffold: %d of %d cached", cached, all)
	}
	for i := range 5 { // more scopes than slots: each takes over somebody's
		if cached, _ := b.ask(fmt.Sprint("b", i), scaffold+"first"); cached != 0 {
			t.Errorf("scope %d got %d tokens of another one's", i, cached)
		}
	}
	if cached, _ := b.ask("a", scaffold+"first"); cached != 0 {
		t.Errorf("a taken slot: %d cached", cached)
	}
	if st := b.Stats(); st.Emptied != 5 || st.Saved+st.Restored != 0 {
		t.Errorf("%+v", st)
	}
	if !b.Info().Can.Salt {
		t.Error("it does not say that scopes are apart")
	}
}

// What a scope loses to another it gets back from disk, also after a restart; others do not.
func TestMemoriesComeBack(t *testing.T) {
	t.Parallel()
	store := t.TempDir()
	b := start(t, store)
	b.ask("a", scaffold+"first")
	b.ask("b", "other "+scaffold)
	b.ask("c", "third "+scaffold)
	if cached, all := b.ask("a", scaffold+"second"); float64(cached) < .95*float64(all) {
		t.Errorf("back from disk: %d of %d", cached, all)
	}
	if st := b.Stats(); st.Restored != 1 || st.Saved < 2 || st.Spoiled != 0 {
		t.Errorf("%+v", st)
	}
	b.Park(t.Context())
	again := start(t, store)
	if cached, all := again.ask("a", scaffold+"third"); float64(cached) < .95*float64(all) {
		t.Errorf("after a restart: %d of %d", cached, all)
	}
	if cached, _ := again.ask("d", scaffold+"third"); cached != 0 {
		t.Errorf("a stranger got %d tokens", cached)
	}
	for _, name := range again.files("*.json") {
		if text, err := os.ReadFile(name); err != nil || bytes.Contains(text, []byte(`"a"`)) {
			t.Errorf("%s names the scope: %s, %v", name, text, err)
		}
	}
	if left, _ := os.ReadDir(again.server.Slotted); len(left) != 0 {
		t.Errorf("left with the server: %v", left)
	}
}

// Whatever was done to a file, or whatever else changed, nothing of it reaches the server.
func TestWhatIsNotTheMemoryIsNeverRestored(t *testing.T) {
	t.Parallel()
	edit := func(pattern string, change func([]byte) []byte) func(*bench) {
		return func(b *bench) {
			for _, name := range b.files(pattern) {
				raw, err := os.ReadFile(name)
				if err != nil {
					b.t.Fatal(err)
				}
				if err := os.WriteFile(name, change(raw), 0o600); err != nil {
					b.t.Fatal(err)
				}
			}
		}
	}
	for name, tc := range map[string]struct {
		spoil   func(*bench)
		facts   []string
		spoiled int64
	}{
		"a bit":             {edit("*.bin", func(b []byte) []byte { b[7] ^= 1; return b }), nil, 1},
		"a shorter file":    {edit("*.bin", func(b []byte) []byte { return b[:len(b)-1] }), nil, 1},
		"a longer file":     {edit("*.bin", func(b []byte) []byte { return append(b, 'x') }), nil, 1},
		"another's file":    {edit("*.bin", func([]byte) []byte { return []byte(strings.Repeat("made by other weights ", 20)) }), nil, 1},
		"no file":           {func(b *bench) { _ = os.Remove(b.files("*.bin")[0]) }, nil, 1},
		"other tokens":      {edit("*.json", func(b []byte) []byte { return bytes.Replace(b, []byte(`"tokens":[1,`), []byte(`"tokens":[2,`), 1) }), nil, 0},
		"another scope":     {edit("*.json", func(b []byte) []byte { i := bytes.Index(b, []byte(`"scope":"`)) + 9; b[i] ^= 1; return b }), nil, 0},
		"nonsense":          {edit("*.json", func([]byte) []byte { return []byte("{") }), nil, 0},
		"another runtime":   {func(*bench) {}, []string{"binary 2"}, 0},
		"another argument":  {func(*bench) {}, []string{"--ctx-size 8"}, 0},
		"split differently": {func(*bench) {}, []string{""}, 0},
	} {
		t.Run(name, func(t *testing.T) {
			store := t.TempDir()
			b := start(t, store)
			b.ask("a", scaffold+"first")
			b.Park(t.Context())
			if len(b.files("*.bin")) != 1 {
				t.Fatalf("kept %q", b.files("*"))
			}
			tc.spoil(b)
			again := start(t, store, tc.facts...)
			if cached, _ := again.ask("a", scaffold+"first"); cached != 0 {
				t.Errorf("%d tokens came from it", cached)
			}
			if st := again.Stats(); st.Restored != 0 || st.Spoiled != tc.spoiled {
				t.Errorf("%+v", st)
			}
		})
	}
}

// A runtime that refuses to take a memory back, or to forget, is not trusted with the next scope.
func TestARuntimeThatDoesNotForget(t *testing.T) {
	t.Parallel()
	b := start(t, "")
	stubborn := &forgetful{Server: openaiOf(t, b)}
	p, err := slots.New(stubborn, slots.Config{Slots: 1, Dir: b.server.Slotted})
	if err != nil {
		t.Fatal(err)
	}
	ask := func() error {
		for _, err := range p.Generate(t.Context(), &infer.Request{Prompt: infer.Prompt{Text: scaffold}, MaxTokens: 1, Scope: "a"}) {
			if err != nil {
				return err
			}
		}
		return nil
	}
	stubborn.refuse = true
	if err := ask(); abi.CodeOf(err) != abi.Unavailable {
		t.Errorf("got %v", err)
	}
	stubborn.refuse = false
	if err := ask(); err != nil {
		t.Errorf("the slot is lost: %v", err)
	}
}

type forgetful struct {
	slots.Server
	refuse bool
}

func (f *forgetful) EraseSlot(ctx context.Context, n int) error {
	if f.refuse {
		return abi.Errorf(abi.Unavailable, "it does not")
	}
	return f.Server.EraseSlot(ctx, n)
}

func openaiOf(t *testing.T, b *bench) slots.Server {
	t.Helper()
	return b.Pool.Server
}

// Many scopes at once: every slot is one request's, nobody waits for ever, and what is cached was asked by the same scope.
func TestManyScopesAtOnce(t *testing.T) {
	t.Parallel()
	b := start(t, t.TempDir())
	var wg sync.WaitGroup
	var mu sync.Mutex
	asked := map[string][]string{}
	for i := range 40 {
		wg.Go(func() {
			scope, prompt := fmt.Sprint(i%4), fmt.Sprintf("%d %s %d", i%4, scaffold, i)
			mu.Lock()
			asked[scope] = append(asked[scope], prompt)
			mu.Unlock()
			for _, err := range b.Generate(t.Context(), &infer.Request{Prompt: infer.Prompt{Text: prompt}, MaxTokens: 2, Scope: scope}) {
				if err != nil {
					t.Error(err)
				}
			}
		})
	}
	wg.Wait()
	named := map[float64]int{}
	for _, body := range b.server.Bodies() {
		if n, ok := body["id_slot"].(float64); ok {
			named[n]++
		}
	}
	if len(named) != 2 || named[0]+named[1] != 40 {
		t.Errorf("slots %v", named)
	}
	if st := b.Stats(); st.Prompt == 0 || slices.Max([]int64{st.Cached, 0}) >= st.Prompt {
		t.Errorf("%+v", st)
	}
}
