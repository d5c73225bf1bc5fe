package infertest

import (
	"encoding/json"
	"fmt"
	"net/http"
	"strings"
	"time"
)

// generate streams an answer as the real servers do.
func (s *Server) generate(w http.ResponseWriter, r *http.Request, fault Fault, body map[string]any) {
	prompt := s.prompt(body)
	in := len(tokens(prompt))
	if in >= s.Context {
		s.overflow(w, in)
		return
	}
	s.mu.Lock()
	busy := s.busy
	s.mu.Unlock()
	select {
	case busy <- struct{}{}:
		defer func() { <-busy }()
	case <-r.Context().Done():
		return
	}
	limit, _ := body["max_tokens"].(float64)
	n := min(int(limit), s.Context-in)
	st := &streamed{s: s, w: w, r: r, fault: fault, chat: strings.Contains(r.URL.Path, "chat"), in: in}
	form, shaped := s.shaped(body)
	if s.Says != nil && !shaped {
		seed, _ := body["seed"].(float64)
		form, shaped = strings.SplitAfter(s.Says(prompt, int64(seed)), " "), true
	}
	if fault == Ignores {
		shaped = false
	}
	if fault == Whole {
		say(w, 200, map[string]any{"choices": []any{map[string]any{"text": "all at once", "finish_reason": "stop"}}})
		return
	}
	st.cached = s.lookUp(prompt, body, fault)
	w.Header().Set("Content-Type", "text/event-stream")
	word := answer(prompt, body["seed"])
	pieces, finish := []string{}, "length"
	for i := 0; i < n; i++ {
		if shaped && i == len(form) {
			break
		}
		if shaped {
			pieces = append(pieces, form[i])
			continue
		}
		pieces = append(pieces, word(i))
	}
	if shaped && len(pieces) == len(form) {
		finish = "stop"
	}
	if at, found := stopAt(strings.Join(pieces, ""), body); found {
		pieces, finish = cut(pieces, at), "stop"
	}
	for i := 0; i < len(pieces) || fault == Floods; i++ {
		next := word(i)
		if i < len(pieces) {
			next = pieces[i]
		}
		if !st.part(i, next) {
			return
		}
		st.out++
	}
	st.end(finish)
}

// stopAt finds the first of a request's stop texts.
func stopAt(text string, body map[string]any) (first int, found bool) {
	stops, _ := body["stop"].([]any)
	for _, s := range stops {
		if at := strings.Index(text, fmt.Sprint(s)); at >= 0 && (!found || at < first) {
			first, found = at, true
		}
	}
	return first, found
}

// cut leaves the first n bytes.
func cut(pieces []string, n int) []string {
	for i, p := range pieces {
		if n < len(p) {
			return append(pieces[:i:i], p[:n])
		}
		n -= len(p)
	}
	return pieces
}

// lookUp is the prompt cache: whole prompts, apart by salt where the dialect has one.
func (s *Server) lookUp(prompt string, body map[string]any, fault Fault) int {
	if n, named := body["id_slot"].(float64); named && s.Slotted != "" {
		return s.inSlot(int(n), prompt, body["cache_prompt"] != false)
	}
	key := prompt
	if s.Dialect == "vllm" && fault != Ignores {
		key = fmt.Sprint(body["cache_salt"], prompt)
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	hit := s.cached[key]
	s.cached[key] = true
	if hit && body["cache_prompt"] != false {
		return len(tokens(prompt)) - 1
	}
	return 0
}

func (s *Server) overflow(w http.ResponseWriter, in int) {
	e := map[string]any{"code": 400, "message": fmt.Sprintf("This model's maximum context length is %d tokens. However, you requested %d tokens.", s.Context, in), "type": "BadRequestError"}
	if s.Dialect == "llama" {
		e = map[string]any{"code": 400, "message": fmt.Sprintf("request (%d tokens) exceeds the available context size (%d tokens), try increasing it", in, s.Context),
			"type": "exceed_context_size_error", "n_prompt_tokens": in, "n_ctx": s.Context}
	}
	say(w, 400, map[string]any{"error": e})
}

type streamed struct {
	s               *Server
	w               http.ResponseWriter
	r               *http.Request
	fault           Fault
	chat            bool
	in, out, cached int
}

func (st *streamed) send(v any) bool {
	data, _ := json.Marshal(v)
	return st.raw("data: " + string(data) + "\n\n")
}

func (st *streamed) raw(text string) bool {
	_, err := st.w.Write([]byte(text))
	st.w.(http.Flusher).Flush()
	if err != nil || st.r.Context().Err() != nil {
		st.s.freed <- struct{}{}
		return false
	}
	return true
}

func (st *streamed) choice(text, finish string) map[string]any {
	c := map[string]any{"index": 0, "finish_reason": nil}
	if finish != "" {
		c["finish_reason"] = finish
	}
	if st.chat {
		c["delta"] = map[string]any{"content": text}
	} else {
		c["text"] = text
	}
	choices := []any{c}
	if st.fault == Two {
		choices = append(choices, c)
	}
	ev := map[string]any{"choices": choices, "object": "text_completion", "model": st.s.Model}
	if st.s.Dialect == "llama" {
		ev["system_fingerprint"] = "b1-fake"
	}
	if st.fault == Changes && st.out > 1 {
		ev["system_fingerprint"] = "b2-fake"
	}
	return ev
}

// part sends one token; false ends the stream where it is.
func (st *streamed) part(i int, text string) bool {
	if i == 3 {
		switch st.fault {
		case Dies:
			panic(http.ErrAbortHandler)
		case Ends:
			return false
		case Hangs:
			<-st.r.Context().Done()
			st.s.freed <- struct{}{}
			return false
		case Babbles:
			return st.raw("data: {\"choices\": [\n\n")
		case LongLine:
			return st.raw("data: " + strings.Repeat("x", 10<<20) + "\n\n")
		case Complains:
			return st.send(map[string]any{"error": map[string]any{"message": "out of memory", "code": 500}})
		}
	}
	if st.s.Pace > 0 {
		select {
		case <-time.After(st.s.Pace):
		case <-st.r.Context().Done():
		}
	}
	return st.send(st.choice(text, ""))
}

func (st *streamed) end(finish string) {
	if !st.send(st.choice("", finish)) {
		return
	}
	if st.fault == AfterEnd && !st.send(st.choice("more", "")) {
		return
	}
	u := map[string]any{"prompt_tokens": st.in, "completion_tokens": st.out, "prompt_tokens_details": map[string]any{"cached_tokens": st.cached}}
	switch st.fault {
	case LiesUp:
		u["prompt_tokens"], u["completion_tokens"] = int64(1)<<50, int64(1)<<50
	case LiesDown:
		u["prompt_tokens"], u["completion_tokens"] = -7, 0
	}
	if st.fault != Silent {
		st.send(map[string]any{"choices": []any{}, "usage": u})
	}
	st.raw("data: [DONE]\n\n")
}

func (s *Server) embed(w http.ResponseWriter, fault Fault, body map[string]any) {
	texts, _ := body["input"].([]any)
	var data []any
	n := 0
	for i, t := range texts {
		v := make([]float32, 8)
		for k := range v {
			v[k] = float32(hash(t, k)%1000)/1000 + 0.001
		}
		n += len(tokens(fmt.Sprint(t)))
		// The last comes first: the order is the index's, not the list's.
		data = append([]any{map[string]any{"index": pick(fault, i), "embedding": v}}, data...)
	}
	say(w, 200, map[string]any{"data": data, "usage": map[string]any{"prompt_tokens": n}})
}

// pick is the index of the i-th result.
func pick(fault Fault, i int) int {
	switch fault {
	case Misnumbered:
		return 0
	case Poison:
		return -1 - i
	}
	return i
}

func (s *Server) rerank(w http.ResponseWriter, fault Fault, body map[string]any) {
	docs, _ := body["documents"].([]any)
	query := strings.Fields(fmt.Sprint(body["query"]))
	var results []any
	for i, d := range docs {
		score := 0.0
		for _, q := range query {
			score += float64(strings.Count(fmt.Sprint(d), q))
		}
		results = append([]any{map[string]any{"index": pick(fault, i), "relevance_score": score}}, results...)
	}
	say(w, 200, map[string]any{"results": results, "usage": map[string]any{"prompt_tokens": 3}})
}
