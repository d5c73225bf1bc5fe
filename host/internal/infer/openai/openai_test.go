package openai_test

import (
	"context"
	"errors"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"github.com/arw-project/arw/abi"
	"github.com/arw-project/arw/host/internal/infer"
	"github.com/arw-project/arw/host/internal/infer/infertest"
	"github.com/arw-project/arw/host/internal/infer/openai"
)

func open(t testing.TB, s *infertest.Server, change func(*openai.Config)) *openai.Client {
	t.Helper()
	srv := httptest.NewServer(s)
	t.Cleanup(func() { srv.CloseClientConnections(); srv.Close() })
	cfg := openai.Config{Base: srv.URL, Transport: http.DefaultTransport.(*http.Transport).Clone(), Model: s.Model, Dialect: openai.Dialect(s.Dialect), Key: s.Key}
	if change != nil {
		change(&cfg)
	}
	c, err := openai.Open(t.Context(), cfg)
	if err != nil {
		t.Fatal(err)
	}
	return c
}

func ask() *infer.Request {
	return &infer.Request{Prompt: infer.Prompt{Text: "tell me something"}, MaxTokens: 20}
}

func TestConformance(t *testing.T) {
	t.Parallel()
	for _, dialect := range []string{"llama", "vllm", "openai"} {
		t.Run(dialect, func(t *testing.T) {
			t.Parallel()
			s := infertest.New(dialect)
			s.Key = "secret-key"
			infertest.Run(t, open(t, s, nil))
		})
		t.Run(dialect+" embedder", func(t *testing.T) {
			t.Parallel()
			s := infertest.New(dialect)
			s.Embeds = true
			infertest.Run(t, open(t, s, nil))
		})
	}
}

// What a runtime claims by its name is not believed: it is tried.
func TestAbilitiesAreTried(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		dialect string
		fault   infertest.Fault
		want    infer.Can
	}{
		{"llama", "", infer.Can{Generate: true, Chat: true, Tokenize: true, Schema: true, Grammar: true}},
		{"llama", infertest.Ignores, infer.Can{Generate: true, Chat: true, Tokenize: true}},
		{"vllm", "", infer.Can{Generate: true, Chat: true, Tokenize: true, Schema: true, Grammar: true, Salt: true}},
		{"vllm", infertest.Ignores, infer.Can{Generate: true, Chat: true, Tokenize: true}},
		{"openai", "", infer.Can{Generate: true, Chat: true, Schema: true}},
	} {
		s := infertest.New(c.dialect)
		s.Break(c.fault)
		if got := open(t, s, nil).Info().Can; got != c.want {
			t.Errorf("%s that %q: %+v, want %+v", c.dialect, c.fault, got, c.want)
		}
	}
}

// Whatever a server does wrong costs one error in bounded time, and the next request is served.
func TestABrokenServer(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		fault infertest.Fault
		code  abi.Code
		says  string
	}{
		{infertest.Dies, abi.Unavailable, "broke off"},
		{infertest.Ends, abi.Unavailable, "broke off"},
		{infertest.Hangs, abi.Unavailable, "hangs"},
		{infertest.Stalls, abi.Unavailable, "hangs"},
		{infertest.Floods, abi.Unavailable, "more than the 20 tokens"},
		{infertest.Babbles, abi.Unavailable, "not JSON"},
		{infertest.LongLine, abi.Unavailable, "more than 1048576 bytes"},
		{infertest.Changes, abi.Unavailable, `was "b1-fake" and is "b2-fake"`},
		{infertest.Complains, abi.Unavailable, "out of memory"},
		{infertest.Redirects, abi.Unavailable, "307"},
		{infertest.Whole, abi.Unavailable, "stream of events"},
		{infertest.HugeBody, abi.Unavailable, "stream of events"},
		{infertest.Overload, abi.Busy, "too many"},
		{infertest.Two, abi.Unavailable, "2 answers"},
		{infertest.AfterEnd, abi.Unavailable, "behind the end"},
	} {
		t.Run(string(c.fault), func(t *testing.T) {
			t.Parallel()
			s := infertest.New("llama")
			client := open(t, s, func(cfg *openai.Config) { cfg.Idle, cfg.First = 200*time.Millisecond, 400*time.Millisecond })
			s.Break(c.fault)
			_, err := infer.Collect(client.Info().Engine, infer.Generate(t.Context(), client, ask()))
			if abi.CodeOf(err) != c.code || !strings.Contains(err.Error(), c.says) {
				t.Fatalf("got %v (%v), want %v that says %q", err, abi.CodeOf(err), c.code, c.says)
			}
			s.Break("")
			if _, err := infer.Collect(client.Info().Engine, infer.Generate(t.Context(), client, ask())); err != nil {
				t.Errorf("the next request: %v", err)
			}
		})
	}
}

func TestUsageThatCannotBeTrueIsReplaced(t *testing.T) {
	t.Parallel()
	for _, fault := range []infertest.Fault{infertest.LiesUp, infertest.LiesDown, infertest.Silent} {
		s := infertest.New("llama")
		client := open(t, s, nil)
		s.Break(fault)
		a, err := infer.Collect(client.Info().Engine, infer.Generate(t.Context(), client, ask()))
		if err != nil {
			t.Fatal(err)
		}
		if u := a.Usage; !u.Doubtful || u.Output != 20 || u.Prompt < 0 || u.Prompt > 100 {
			t.Errorf("%s: usage %+v", fault, u)
		}
	}
}

func TestVectorsAndScoresBelongToTheirTexts(t *testing.T) {
	t.Parallel()
	for _, fault := range []infertest.Fault{infertest.Misnumbered, infertest.Poison, infertest.HugeBody} {
		s := infertest.New("llama")
		s.Embeds = true
		client := open(t, s, nil)
		s.Break(fault)
		if _, err := infer.Embed(t.Context(), client, []string{"a", "b"}); abi.CodeOf(err) != abi.Unavailable {
			t.Errorf("%s: embed: %v", fault, err)
		}
		if _, err := infer.Rerank(t.Context(), client, "a", []string{"a", "b"}); abi.CodeOf(err) != abi.Unavailable {
			t.Errorf("%s: rerank: %v", fault, err)
		}
	}
}

func TestAClientThatLeavesFreesTheSlot(t *testing.T) {
	t.Parallel()
	s := infertest.New("llama")
	s.Pace = time.Millisecond
	client := open(t, s, nil)
	r := ask()
	r.MaxTokens = 400
	for range infer.Generate(t.Context(), client, r) {
		break
	}
	<-s.Freed()
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	var err error
	for _, err = range infer.Generate(ctx, client, r) {
		cancel()
	}
	if abi.CodeOf(err) != abi.Cancelled {
		t.Errorf("a cancelled request ends with %v", err)
	}
	<-s.Freed()
}

func TestCachesAreKeptApart(t *testing.T) {
	t.Parallel()
	sent := func(dialect, scope string) map[string]any {
		s := infertest.New(dialect)
		client := open(t, s, nil)
		r := ask()
		r.Scope = scope
		if _, err := infer.Collect(client.Info().Engine, infer.Generate(t.Context(), client, r)); err != nil {
			t.Fatal(err)
		}
		all := s.Bodies()
		return all[len(all)-1]
	}
	a, b, again := sent("vllm", "pack-a/x"), sent("vllm", "pack-b/x"), sent("vllm", "pack-a/x")
	if a["cache_salt"] == nil || a["cache_salt"] == b["cache_salt"] || a["cache_salt"] != again["cache_salt"] {
		t.Errorf("salts %v, %v and %v", a["cache_salt"], b["cache_salt"], again["cache_salt"])
	}
	if strings.Contains(a["cache_salt"].(string), "pack") {
		t.Error("the salt tells the scope")
	}
	if got := sent("llama", "pack-a/x")["cache_prompt"]; got != false {
		t.Errorf("cache_prompt %v for a scope", got)
	}
}

func TestWithoutAWayOutNothingIsAsked(t *testing.T) {
	t.Parallel()
	_, err := openai.Open(t.Context(), openai.Config{Base: "https://api.example.com", Model: "m", Dialect: openai.Remote})
	if abi.CodeOf(err) != abi.Denied {
		t.Fatalf("error %v, want denied", err)
	}
}

func TestAKeyIsInNoError(t *testing.T) {
	t.Parallel()
	s := infertest.New("openai")
	s.Key = "right"
	srv := httptest.NewServer(s)
	defer srv.Close()
	_, err := openai.Open(t.Context(), openai.Config{Base: srv.URL, Transport: http.DefaultTransport, Model: s.Model, Dialect: openai.Remote, Key: "wrong-secret"})
	if abi.CodeOf(err) != abi.Denied || strings.Contains(err.Error(), "wrong-secret") {
		t.Fatalf("error %v, want denied without the key", err)
	}
}

func TestAModelThatIsNotThere(t *testing.T) {
	t.Parallel()
	srv := httptest.NewServer(infertest.New("openai"))
	defer srv.Close()
	_, err := openai.Open(t.Context(), openai.Config{Base: srv.URL, Transport: http.DefaultTransport, Model: "other", Dialect: openai.Remote})
	if e, ok := errors.AsType[*abi.Error](err); !ok || e.Code != abi.NotFound || !strings.Contains(e.Msg, "fake") {
		t.Fatalf("error %v, want not_found that names what there is", err)
	}
}
