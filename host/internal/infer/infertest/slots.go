package infertest

import (
	"net/http"
	"os"
	"path/filepath"
	"strconv"
	"strings"
)

// inSlot is how many tokens of a prompt its slot remembers, which remembers this one from then on.
func (s *Server) inSlot(n int, prompt string, use bool) int {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.slots == nil {
		s.slots = map[int]string{}
	}
	old, now, same := tokens(s.slots[n]), tokens(prompt), 0
	for same < len(old) && same < len(now)-1 && old[same] == now[same] && s.slots[n] != "" {
		same++
	}
	s.slots[n] = prompt
	if !use {
		return 0
	}
	return same
}

// slot saves, restores and erases as llama-server does: whatever a file holds is taken.
func (s *Server) slot(w http.ResponseWriter, r *http.Request, body map[string]any) {
	n, err := strconv.Atoi(strings.TrimPrefix(r.URL.Path, "/slots/"))
	name, _ := body["filename"].(string)
	if err != nil || n < 0 || n >= s.Slots || strings.ContainsAny(name, "/\\") {
		say(w, 400, map[string]any{"error": map[string]any{"message": "Invalid filename or slot"}})
		return
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.slots == nil {
		s.slots = map[int]string{}
	}
	file := filepath.Join(s.Slotted, name)
	switch action := r.URL.Query().Get("action"); action {
	case "save":
		err = os.WriteFile(file, []byte(s.slots[n]), 0o600)
	case "restore":
		var text []byte
		if text, err = os.ReadFile(file); err == nil {
			s.slots[n] = string(text)
		}
	case "erase":
		delete(s.slots, n)
	}
	if err != nil {
		say(w, 400, map[string]any{"error": map[string]any{"message": err.Error()}})
		return
	}
	say(w, 200, map[string]any{"id_slot": n})
}
