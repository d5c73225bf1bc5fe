package server_test

import (
	"bufio"
	"context"
	"encoding/base64"
	"encoding/json"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"github.com/arw-project/arw/abi"
	"github.com/arw-project/arw/host"
	"github.com/arw-project/arw/host/api"
	"github.com/arw-project/arw/host/hosttest"
	"github.com/arw-project/arw/host/internal/action"
	"github.com/arw-project/arw/host/internal/infer"
	"github.com/arw-project/arw/host/internal/infer/infertest"
	"github.com/arw-project/arw/host/internal/infer/openai"
	"github.com/arw-project/arw/host/internal/journal"
	"github.com/arw-project/arw/host/internal/server"
)

// model is a fake runtime behind the host's own adapter.
func model(t *testing.T, s *infertest.Server) infer.Model {
	t.Helper()
	srv := httptest.NewServer(s)
	t.Cleanup(func() { srv.CloseClientConnections(); srv.Close() })
	m, err := openai.Open(t.Context(), openai.Config{Base: srv.URL, Transport: http.DefaultTransport.(*http.Transport).Clone(), Model: s.Model, Dialect: openai.Dialect(s.Dialect)})
	if err != nil {
		t.Fatal(err)
	}
	return m
}

// asking is a host that has a model "talker" and a model "embedder".
func asking(t *testing.T, policies map[string]string) (*edge, *infertest.Server) {
	t.Helper()
	talker, embedder := infertest.New("llama"), infertest.New("llama")
	embedder.Embeds = true
	models := map[string]infer.Model{"talker": model(t, talker), "embedder": model(t, embedder)}
	h := hosttest.New(t, hosttest.Options{Policies: policies, Config: func(c *host.Config) { c.Models = models; c.ModelsEvery = time.Millisecond }})
	return before(t, h, server.Options{}), talker
}

// send is what a client of OpenAI's dialect does.
func (e *edge) send(ctx context.Context, method, path, body string, headers ...string) *http.Response {
	e.t.Helper()
	req, err := http.NewRequestWithContext(ctx, method, e.base+path, strings.NewReader(body))
	if err != nil {
		e.t.Fatal(err)
	}
	req.Header.Set("Content-Type", "application/json")
	for i := 0; i+1 < len(headers); i += 2 {
		req.Header.Set(headers[i], headers[i+1])
	}
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		e.t.Fatal(err)
	}
	wire := resp.Body
	e.t.Cleanup(func() { wire.Close() })
	return resp
}

func read[T any](t *testing.T, resp *http.Response, status int) (out T) {
	t.Helper()
	raw, err := io.ReadAll(resp.Body)
	if err != nil {
		t.Fatal(err)
	}
	if resp.StatusCode != status {
		t.Fatalf("status %d, want %d: %s", resp.StatusCode, status, raw)
	}
	if err := json.Unmarshal(raw, &out); err != nil {
		t.Fatalf("%s: %v", raw, err)
	}
	return out
}

// chunksOf reads a stream to its end as the official clients do: comments are skipped, "[DONE]" ends it, an error is raised.
func chunksOf(t *testing.T, r io.Reader) (out []api.OpenAIAnswer, failed *api.OpenAIError, done bool) {
	t.Helper()
	lines := bufio.NewScanner(r)
	for lines.Scan() {
		data, ok := strings.CutPrefix(lines.Text(), "data: ")
		if !ok {
			continue
		}
		if data == "[DONE]" {
			done = true
			continue
		}
		if done {
			t.Errorf("%q behind the end", data)
		}
		if strings.HasPrefix(data, `{"error"`) {
			failed = &api.OpenAIError{}
			if err := json.Unmarshal([]byte(data), failed); err != nil {
				t.Fatal(err)
			}
			continue
		}
		var c api.OpenAIAnswer
		if err := json.Unmarshal([]byte(data), &c); err != nil {
			t.Fatalf("%q: %v", data, err)
		}
		out = append(out, c)
	}
	return out, failed, done
}

const chat = `"model":"talker","messages":[{"role":"developer","content":"be brief"},{"role":"user","content":[{"type":"text","text":"say something"}]}],"seed":7,"max_completion_tokens":6`

func TestOpenAIChat(t *testing.T) {
	t.Parallel()
	e, _ := asking(t, nil)
	whole := read[api.OpenAIAnswer](t, e.send(t.Context(), "POST", "/v1/chat/completions", `{`+chat+`,"n":1,"user":"somebody","temperature":null}`, "OpenAI-Project", "blue"), 200)
	c := whole.Choices[0]
	if whole.Object != "chat.completion" || whole.Model != "talker" || c.Message.Role != "assistant" || *c.Finish != "length" || whole.Usage.Output != 6 || whole.Usage.Total != whole.Usage.Prompt+6 || whole.Usage.Prompt == 0 {
		t.Errorf("got %+v", whole)
	}
	acts, err := e.Services().Actions.List(t.Context(), action.Filter{Kind: "infer.generate"})
	if err != nil || len(acts.Items) != 1 || acts.Items[0].Project != "blue" || acts.Items[0].Actor != "agent:local" || "chatcmpl-"+acts.Items[0].ID != whole.ID {
		t.Errorf("it was no action like others: %+v, %v", acts.Items, err)
	}

	resp := e.send(t.Context(), "POST", "/v1/chat/completions", `{`+chat+`,"stream":true,"stream_options":{"include_usage":true}}`)
	if ct := resp.Header.Get("Content-Type"); ct != "text/event-stream" {
		t.Errorf("content type %q", ct)
	}
	parts, failed, done := chunksOf(t, resp.Body)
	if failed != nil || !done || len(parts) != 1+6+1+1 {
		t.Fatalf("%d chunks, error %v, done %v", len(parts), failed, done)
	}
	var text strings.Builder
	for _, p := range parts[:8] {
		if p.Object != "chat.completion.chunk" || p.ID != parts[0].ID || p.Usage != nil {
			t.Errorf("chunk %+v", p)
		}
		if d := p.Choices[0].Delta; d.Text != nil {
			text.WriteString(*d.Text)
		}
	}
	last := parts[8]
	if parts[0].Choices[0].Delta.Role != "assistant" || *parts[7].Choices[0].Finish != "length" || len(last.Choices) != 0 || last.Usage.Output != 6 {
		t.Errorf("first %+v, last %+v", parts[0], last)
	}
	if text.String() != *c.Message.Text {
		t.Errorf("the stream says %q, the whole %q", text.String(), *c.Message.Text)
	}
}

func TestOpenAICompletionsEmbeddingsModels(t *testing.T) {
	t.Parallel()
	e, talker := asking(t, nil)
	got := read[api.OpenAIAnswer](t, e.send(t.Context(), "POST", "/v1/completions", `{"model":"talker","prompt":["go on"],"max_tokens":3,"stop":"never"}`), 200)
	if got.Object != "text_completion" || *got.Choices[0].Text == "" || got.Usage.Output != 3 {
		t.Errorf("got %+v", got)
	}
	bodies := talker.Bodies()
	if stop, _ := bodies[len(bodies)-1]["stop"].([]any); len(stop) != 1 || stop[0] != "never" {
		t.Errorf("the runtime was asked %v", bodies[len(bodies)-1])
	}
	resp := e.send(t.Context(), "POST", "/v1/completions", `{"model":"talker","prompt":"go on","max_tokens":3,"stream":true}`)
	if parts, failed, done := chunksOf(t, resp.Body); failed != nil || !done || len(parts) != 4 || *parts[3].Choices[0].Finish != "length" {
		t.Errorf("chunks %+v, %v, %v", parts, failed, done)
	}
	plain := read[api.OpenAIVectors](t, e.send(t.Context(), "POST", "/v1/embeddings", `{"model":"embedder","input":["a","b"]}`), 200)
	packed := read[api.OpenAIVectors](t, e.send(t.Context(), "POST", "/v1/embeddings", `{"model":"embedder","input":"a","encoding_format":"base64"}`), 200)
	raw, err := base64.StdEncoding.DecodeString(packed.Data[0].Embedding.(string))
	if err != nil || len(plain.Data) != 2 || plain.Data[1].Index != 1 || len(raw) != 4*len(plain.Data[0].Embedding.([]any)) {
		t.Errorf("%v: %+v and %+v", err, plain, packed)
	}
	list := read[api.OpenAIModels](t, e.send(t.Context(), "GET", "/v1/models", ""), 200)
	if len(list.Data) != 2 || list.Data[0].ID != "embedder" || list.Data[1].Object != "model" {
		t.Errorf("models %+v", list)
	}
}

func TestOpenAIRefusals(t *testing.T) {
	t.Parallel()
	e, _ := asking(t, nil)
	const user = `"messages":[{"role":"user","content":"a"}]`
	for _, c := range []struct {
		name, path, body string
		status           int
		code, param      string
	}{
		{"tools", "chat/completions", `{"model":"talker",` + user + `,"tools":[{"type":"function"}]}`, 400, "unsupported_parameter", "tools"},
		{"several answers", "chat/completions", `{"model":"talker",` + user + `,"n":2}`, 400, "unsupported_parameter", "n"},
		{"a word nobody knows", "chat/completions", `{"model":"talker",` + user + `,"temprature":1}`, 400, "unsupported_parameter", "temprature"},
		{"pictures", "chat/completions", `{"model":"talker","messages":[{"role":"user","content":[{"type":"image_url"}]}]}`, 400, "unsupported_parameter", "messages.content"},
		{"calls of tools", "chat/completions", `{"model":"talker","messages":[{"role":"assistant","content":"","tool_calls":[1]}]}`, 400, "unsupported_parameter", "messages.tool_calls"},
		{"no messages", "chat/completions", `{"model":"talker"}`, 400, "invalid", "messages"},
		{"wrong type", "chat/completions", `{"model":7,` + user + `}`, 400, "invalid", "model"},
		{"out of range", "chat/completions", `{"model":"talker",` + user + `,"temperature":9}`, 400, "invalid", ""},
		{"not JSON", "chat/completions", `{`, 400, "invalid", ""},
		{"another model", "chat/completions", `{"model":"gpt-4o",` + user + `}`, 404, "not_found", ""},
		{"another model, streamed", "chat/completions", `{"model":"gpt-4o",` + user + `,"stream":true}`, 404, "not_found", ""},
		{"too long, streamed", "completions", `{"model":"talker","prompt":"` + strings.Repeat("word ", 600) + `","stream":true}`, 413, "too_large", ""},
		{"a suffix", "completions", `{"model":"talker","prompt":"a","suffix":"b"}`, 400, "unsupported_parameter", "suffix"},
		{"two prompts", "completions", `{"model":"talker","prompt":["a","b"]}`, 400, "unsupported_parameter", "prompt"},
		{"tokens", "embeddings", `{"model":"embedder","input":[1,2]}`, 400, "unsupported_parameter", "input"},
		{"dimensions", "embeddings", `{"model":"embedder","input":"a","dimensions":3}`, 400, "unsupported_parameter", "dimensions"},
		{"no such route", "images", `{}`, 404, "not_found", ""},
	} {
		t.Run(c.name, func(t *testing.T) {
			got := read[api.OpenAIError](t, e.send(t.Context(), "POST", "/v1/"+c.path, c.body), c.status)
			param := ""
			if got.Error.Param != nil {
				param = *got.Error.Param
			}
			if got.Error.Code != c.code || param != c.param || got.Error.Message == "" || got.Error.Type == "" {
				t.Errorf("got %+v, param %q", got.Error, param)
			}
		})
	}
	got := read[api.OpenAIError](t, e.send(t.Context(), "GET", "/v1/models", "", "Authorization", "Bearer sk-made-up"), 401)
	if got.Error.Code != "invalid_api_key" {
		t.Errorf("got %+v", got)
	}
}

// Whoever leaves frees the runtime's slot, whether the answer is streamed or waited for.
func TestOpenAIHangup(t *testing.T) {
	t.Parallel()
	for _, stream := range []string{"true", "false"} {
		t.Run("stream "+stream, func(t *testing.T) {
			t.Parallel()
			e, talker := asking(t, nil)
			talker.Break(infertest.Hangs)
			ctx, leave := context.WithCancel(t.Context())
			body := `{` + chat + `,"stream":` + stream + `}`
			if stream == "true" {
				resp := e.send(ctx, "POST", "/v1/chat/completions", body)
				if _, err := resp.Body.Read(make([]byte, 1)); err != nil {
					t.Fatal(err)
				}
			} else {
				req, _ := http.NewRequestWithContext(ctx, "POST", e.base+"/v1/chat/completions", strings.NewReader(body))
				seen := len(talker.Bodies())
				ended := make(chan error, 1)
				go func() { _, err := http.DefaultClient.Do(req); ended <- err }()
				for len(talker.Bodies()) == seen { // it has reached the runtime
					if t.Context().Err() != nil {
						t.Fatal("nothing arrived")
					}
				}
				defer func() { <-ended }()
			}
			leave()
			acts, err := e.Services().Actions.List(context.Background(), action.Filter{Kind: "infer.generate"})
			if err != nil || len(acts.Items) != 1 {
				t.Fatalf("%+v, %v", acts, err)
			}
			if act := e.Wait(acts.Items[0].ID); act.State != action.Cancelled {
				t.Errorf("the action is %s", act.State)
			}
			<-talker.Freed()
			events := e.Events(journal.Filter{Prefixes: []string{"infer."}})
			if len(events) != 1 || events[0].Kind != "infer.failed" || !strings.Contains(string(events[0].Body), `"code":"cancelled"`) {
				t.Errorf("events %+v", events)
			}
		})
	}
}

// A stream that breaks off ends with an error and without [DONE].
func TestOpenAIBrokenStream(t *testing.T) {
	t.Parallel()
	e, talker := asking(t, nil)
	talker.Break(infertest.Dies)
	parts, failed, done := chunksOf(t, e.send(t.Context(), "POST", "/v1/chat/completions", `{`+chat+`,"stream":true}`).Body)
	if len(parts) == 0 || failed == nil || done || failed.Error.Type != "server_error" {
		t.Errorf("%d chunks, %+v, %v", len(parts), failed, done)
	}
}

const onlyTalker = `@id("quiet") @reason("only the talker, and few words")
@budget_tokens("20")
permit (principal, action == Action::"infer", resource == Model::"talker");
@id("nobody")
@reason("not this one")
forbid (principal is Agent, action == Action::"infer", resource == Model::"embedder");`

// Cedar decides over actions and /v1 alike; what is refused is not named either, and everything is accounted for.
func TestInferencePolicyAndAccounting(t *testing.T) {
	t.Parallel()
	e, _ := asking(t, map[string]string{"infer.cedar": onlyTalker})
	got := read[api.OpenAIError](t, e.send(t.Context(), "POST", "/v1/embeddings", `{"model":"embedder","input":"a"}`), 403)
	if got.Error.Type != "permission_error" || !strings.Contains(got.Error.Message, "not this one") {
		t.Errorf("got %+v", got)
	}
	list := read[api.OpenAIModels](t, e.send(t.Context(), "GET", "/v1/models", ""), 200)
	if len(list.Data) != 1 || list.Data[0].ID != "talker" {
		t.Errorf("models %+v", list)
	}
	read[api.OpenAIVectors](t, e.send(t.Context(), "POST", "/v1/embeddings", `{"model":"embedder","input":"a"}`, "Authorization", "Bearer "+e.token), 200)
	read[api.OpenAIAnswer](t, e.send(t.Context(), "POST", "/v1/chat/completions", `{`+chat+`}`, "OpenAI-Project", "blue"), 200)
	a := e.Call("infer.generate", `{"model":"talker","prompt":"`+strings.Repeat("word ", 30)+`","max_tokens":5}`)
	if a.Failure == nil || a.Failure.Code != abi.BudgetExhausted {
		t.Errorf("a request over its budget: %+v", a)
	}
	kinds := ""
	for _, r := range e.Events(journal.Filter{Prefixes: []string{"infer."}}) {
		kinds += r.Kind + " "
	}
	if kinds != "infer.refused infer.done infer.done infer.failed " {
		t.Errorf("events %s", kinds)
	}
	var sums api.ModelUsage
	for sums.Total.Failed == 0 { // the document follows the journal
		if t.Context().Err() != nil {
			t.Fatal("the document does not come")
		}
		resp := e.send(t.Context(), "GET", "/state/usage", "")
		if resp.StatusCode == 200 {
			sums = read[api.ModelUsage](t, resp, 200)
		}
	}
	if sums.Total.Calls != 2 || sums.Total.Refused != 1 || sums.Projects["blue"].Calls != 1 || sums.Projects["blue"].Output != 6 || sums.Actors["operator"].Calls != 1 || sums.Models["talker"].Failed != 1 || len(sums.Days) == 0 {
		t.Errorf("usage %+v", sums)
	}
}

func TestMetricsCountWhatModelsWereAsked(t *testing.T) {
	t.Parallel()
	e, talker := asking(t, nil)
	read[map[string]any](t, e.send(t.Context(), "POST", "/v1/completions", `{"model":"talker","prompt":"one two","max_tokens":4}`), 200)
	talker.Break(infertest.Dies)
	_ = e.send(t.Context(), "POST", "/v1/completions", `{"model":"talker","prompt":"one two","max_tokens":4}`)
	text, err := io.ReadAll(e.ask("GET", "/metrics", "", "Authorization", "Bearer "+e.token).Body)
	if err != nil {
		t.Fatal(err)
	}
	for _, line := range []string{
		`arw_infer_requests_total{model="talker",outcome="done"} 1`, `arw_infer_requests_total{model="talker",outcome="failed"} 1`,
		`arw_infer_tokens_total{kind="prompt",model="talker"} 3`, `arw_model_files_bytes 0`,
	} {
		if !strings.Contains(string(text), line+"\n") {
			t.Errorf("no %s", line)
		}
	}
}
