// Package infertest keeps one promise: every adapter is held to the same suite, against real runtimes and a fake one alike.
//
// Server is the fake: it speaks the HTTP dialect of llama-server, vLLM and plain OpenAI servers, answers with words chosen by
// prompt and seed, and misbehaves on request. It is for tests only and no model: nothing of a host imports this package.
package infertest

import (
	"encoding/json"
	"fmt"
	"hash/fnv"
	"net/http"
	"regexp"
	"slices"
	"strings"
	"sync"
	"time"
)

// Fault is how the server misbehaves.
type Fault string

// The faults. Each strikes after a few parts of a stream, unless it says otherwise.
const (
	Dies        Fault = "dies"         // the connection breaks
	Ends        Fault = "ends"         // the stream ends politely, without a reason
	Hangs       Fault = "hangs"        // nothing more comes
	Floods      Fault = "floods"       // tokens without end
	Babbles     Fault = "babbles"      // an event that is not JSON
	LongLine    Fault = "long-line"    // a line of 10 MB
	LiesUp      Fault = "lies-up"      // usage of billions of tokens
	LiesDown    Fault = "lies-down"    // usage of no tokens, or less
	Silent      Fault = "silent"       // no usage
	Changes     Fault = "changes"      // another version in mid-stream
	Complains   Fault = "complains"    // an error as an event
	Stalls      Fault = "stalls"       // no head of an answer either
	Redirects   Fault = "redirects"    // to somewhere else
	Whole       Fault = "whole"        // one JSON answer where a stream was asked for
	Ignores     Fault = "ignores"      // grammar, schema and salt are accepted and have no effect
	Overload    Fault = "overload"     // 429
	HugeBody    Fault = "huge-body"    // an answer of 64 MB that is no stream
	Misnumbered Fault = "misnumbered"  // vectors and scores with wrong indexes
	Two         Fault = "two-answers"  // two choices
	AfterEnd    Fault = "after-end"    // text behind the finish reason
	Poison      Fault = "poison-index" // an index that is negative
)

// Server is the fake runtime. Set the fields before its first request; Fault may be changed between requests by Break.
type Server struct {
	Dialect string // llama, vllm or openai
	Model   string
	Context int // tokens; zero means 512
	Slots   int // zero means 2
	Key     string
	Embeds  bool // embeds and reranks instead of generating
	Pace    time.Duration
	// Says, where it is set, is what the model says to a prompt with a seed (0: none was given); nil says words by chance of both.
	Says    func(prompt string, seed int64) string
	Slotted string // folder of slot files; with it a request may name a slot, whose memory is its own

	mu     sync.Mutex
	fault  Fault
	busy   chan struct{}
	cached map[string]bool
	slots  map[int]string // what each remembers
	seen   []map[string]any
	freed  chan struct{} // one per stream whose client went away
}

// New makes a fake server of a dialect.
func New(dialect string) *Server {
	return &Server{Dialect: dialect, Model: "fake", Context: 512, Slots: 2, cached: map[string]bool{}, freed: make(chan struct{}, 1024)}
}

// Break makes the next requests fail in a way; the empty Fault mends it.
func (s *Server) Break(f Fault) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.fault = f
}

// Bodies are the requests so far.
func (s *Server) Bodies() []map[string]any {
	s.mu.Lock()
	defer s.mu.Unlock()
	return slices.Clone(s.seen)
}

// Freed gives one value for every stream that ended because its client left.
func (s *Server) Freed() <-chan struct{} { return s.freed }

func (s *Server) state() Fault {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.busy == nil {
		s.busy = make(chan struct{}, s.Slots)
	}
	return s.fault
}

// ServeHTTP implements http.Handler.
func (s *Server) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	fault := s.state()
	if s.Key != "" && r.Header.Get("Authorization") != "Bearer "+s.Key && r.URL.Path != "/health" {
		say(w, 401, map[string]any{"error": map[string]any{"message": "Invalid API Key", "type": "authentication_error", "code": 401}})
		return
	}
	body := map[string]any{}
	if r.Method == http.MethodPost {
		if err := json.NewDecoder(r.Body).Decode(&body); err != nil {
			say(w, 400, map[string]any{"error": map[string]any{"message": err.Error()}})
			return
		}
		s.mu.Lock()
		s.seen = append(s.seen, body)
		s.mu.Unlock()
	}
	switch fault {
	case Stalls:
		<-r.Context().Done()
		return
	case Redirects:
		http.Redirect(w, r, "http://192.0.2.1/elsewhere", http.StatusTemporaryRedirect)
		return
	case Overload:
		say(w, 429, map[string]any{"error": map[string]any{"message": "too many"}})
		return
	case HugeBody:
		w.Header().Set("Content-Type", "application/json")
		for range 64 {
			if _, err := w.Write(make([]byte, 1<<20)); err != nil {
				return
			}
		}
		return
	}
	s.route(w, r, fault, body)
}

func (s *Server) route(w http.ResponseWriter, r *http.Request, fault Fault, body map[string]any) {
	llama, vllm := s.Dialect == "llama", s.Dialect == "vllm"
	switch path := r.URL.Path; {
	case path == "/health":
		say(w, 200, map[string]any{"status": "ok"})
	case path == "/v1/models":
		say(w, 200, map[string]any{"data": []any{map[string]any{"id": s.Model, "max_model_len": s.Context}}})
	case path == "/props" && llama:
		say(w, 200, map[string]any{"default_generation_settings": map[string]any{"n_ctx": s.Context}, "total_slots": s.Slots, "build_info": "b1-fake"})
	case path == "/version" && vllm:
		say(w, 200, map[string]any{"version": "0.0-fake"})
	case path == "/tokenize" && (llama || vllm):
		text, _ := body["content"].(string)
		if vllm {
			text = s.prompt(body)
		}
		say(w, 200, map[string]any{"tokens": tokens(text)})
	case path == "/apply-template" && llama:
		say(w, 200, map[string]any{"prompt": s.prompt(body)})
	case path == "/v1/embeddings" && s.Embeds:
		s.embed(w, fault, body)
	case path == "/v1/rerank" && s.Embeds:
		s.rerank(w, fault, body)
	case strings.HasPrefix(path, "/slots/") && llama && s.Slotted != "":
		s.slot(w, r, body)
	case (path == "/v1/completions" || path == "/v1/chat/completions") && !s.Embeds:
		s.generate(w, r, fault, body)
	default:
		say(w, 501, map[string]any{"error": map[string]any{"message": "This server does not support " + path, "code": 501, "type": "not_supported_error"}})
	}
}

func say(w http.ResponseWriter, status int, v any) {
	w.Header().Set("Content-Type", "application/json")
	w.WriteHeader(status)
	_ = json.NewEncoder(w).Encode(v) // a test's client that is gone needs no answer
}

// prompt is what the model would read.
func (s *Server) prompt(body map[string]any) string {
	if text, ok := body["prompt"].(string); ok {
		return text
	}
	var b strings.Builder
	turns, _ := body["messages"].([]any)
	for _, t := range turns {
		m, _ := t.(map[string]any)
		fmt.Fprintf(&b, "<%v> %v\n", m["role"], m["content"])
	}
	return b.String() + "<assistant>"
}

// tokens cuts a text into words; the first stands for its beginning.
func tokens(text string) []int32 {
	out := []int32{1}
	for _, w := range strings.Fields(text) {
		out = append(out, int32(hash(w)%30000)+2)
	}
	return out
}

func hash(parts ...any) uint32 {
	h := fnv.New32a()
	fmt.Fprint(h, parts...)
	return h.Sum32()
}

var words = strings.Fields("amber birch cedar delta ember flint grove heath inlet jetty knoll larch maple niche ochre pearl quill river stone thyme umber vale wheat yarrow")

// answer is the words of an answer without end, chosen by prompt and seed.
func answer(prompt string, seed any) func(i int) string {
	return func(i int) string { return " " + words[int(hash(prompt, seed, i))%len(words)] }
}

var quoted = regexp.MustCompile(`"([^"]*)"`)

// shaped is an answer in the form a request asks for; false when it asks for none.
func (s *Server) shaped(body map[string]any) ([]string, bool) {
	grammar, _ := body["grammar"].(string)
	if so, ok := body["structured_outputs"].(map[string]any); ok && s.Dialect == "vllm" {
		grammar, _ = so["grammar"].(string)
	}
	if grammar != "" && s.Dialect != "openai" {
		return letters(quoted.FindStringSubmatch(grammar)[1]), true
	}
	schema, _ := body["json_schema"].(map[string]any)
	if f, ok := body["response_format"].(map[string]any); ok && schema == nil {
		inner, _ := f["json_schema"].(map[string]any)
		schema, _ = inner["schema"].(map[string]any)
	}
	if schema == nil {
		return nil, false
	}
	var v any
	switch {
	case schema["const"] != nil:
		v = schema["const"]
	case schema["enum"] != nil:
		v = schema["enum"].([]any)[0]
	default:
		n, _ := schema["minLength"].(float64)
		v = strings.Repeat("x", int(n))
	}
	text, _ := json.Marshal(v)
	return letters(string(text)), true
}

func letters(s string) []string {
	return strings.Split(s, "")
}
