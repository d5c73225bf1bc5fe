package redact

// minWord is the shortest word that makes the search of a rule cheap; a rule with a shorter one always runs.
const minWord = 3

// words finds where any of the rules' words stands, in one pass over a text and without folding a copy of it.
type words struct {
	bits [wordBits / 64]uint64
	by   map[uint32][]word // the first three letters, folded
	fold [256]byte
}

type word struct {
	text []byte // folded
	rule int
}

const wordBits = 1 << 15

func (w *words) index(rules []rule) {
	w.by = map[uint32][]word{}
	for i := range w.fold {
		w.fold[i] = byte(i)
		if i >= 'A' && i <= 'Z' {
			w.fold[i] += 'a' - 'A'
		}
	}
	for i := range rules {
		for _, text := range rules[i].words {
			key := uint32(text[0])<<16 | uint32(text[1])<<8 | uint32(text[2])
			w.by[key] = append(w.by[key], word{text, i})
			h := wordSlot(key)
			w.bits[h/64] |= 1 << (h % 64)
		}
	}
}

func wordSlot(key uint32) uint32 { return key * 0x9E3779B1 >> 17 }

// scan is one search of one text.
type scan struct {
	text []byte
	done []int // by rule: what lies before is part of a match
	end  int   // where the next "-----END" stands: see pemEnd
}

func (w *words) find(spans []span, text []byte, rules []rule) []span {
	if len(text) < minWord {
		return spans
	}
	s := scan{text: text, end: -1}
	key := uint32(w.fold[text[0]])<<8 | uint32(w.fold[text[1]])
	for i := 2; i < len(text); i++ {
		key = (key<<8 | uint32(w.fold[text[i]])) & 0xffffff
		if h := wordSlot(key); w.bits[h/64]&(1<<(h%64)) == 0 {
			continue
		}
		for _, one := range w.by[key] {
			if w.stands(one.text, text[i-2:]) {
				spans = s.try(spans, rules, one.rule, i-2)
			}
		}
	}
	return spans
}

func (w *words) stands(word, text []byte) bool {
	if len(text) < len(word) {
		return false
	}
	for i := minWord; i < len(word); i++ {
		if w.fold[text[i]] != word[i] {
			return false
		}
	}
	return true
}

// try asks a rule whether it matches around a word of its own.
func (s *scan) try(spans []span, rules []rule, rule, at int) []span {
	if s.done == nil {
		s.done = make([]int, len(rules))
	}
	if at < s.done[rule] {
		return spans
	}
	r := &rules[rule]
	if r.head != nil {
		return s.pem(spans, r, rule, at)
	}
	from := at
	if !r.starts {
		from = max(at-lead, s.done[rule])
	}
	m, end := r.near(s.text, from, at)
	if m == nil {
		return spans
	}
	s.done[rule] = max(s.done[rule], end)
	return r.take(spans, s.text, m, from, rule)
}
