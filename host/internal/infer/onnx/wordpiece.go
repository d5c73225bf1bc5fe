package onnx

import (
	"encoding/json"
	"strings"
	"unicode"

	"golang.org/x/text/unicode/norm"

	"github.com/arw-project/arw/abi"
)

// Tokenizer splits texts as BERT does: clean, lower, split at spaces and punctuation, then the longest known pieces of every
// word. It reads the file tokenizer.json of the Hugging Face tokenizers library when its parts are the BERT ones; others are refused by name, for
// a tokenizer that is nearly right makes vectors that are quietly wrong. Unlike that library it takes "[CLS]" in a text for
// five signs of text: what a person writes is never control.
type Tokenizer struct {
	vocab            map[string]int32
	prefix           string
	unknown          int32
	longest          int
	clean, chinese   bool
	lower, strip     bool
	before, between  []int32 // special tokens around the first text, and after it
	pairs            bool
	between2, after2 []int32 // for two texts: between them, and after
}

// maxVocab is how many pieces a vocabulary may have.
const maxVocab = 1 << 20

type tokenizerFile struct {
	Normalizer *struct {
		Type    string `json:"type"`
		Clean   bool   `json:"clean_text"`
		Chinese bool   `json:"handle_chinese_chars"`
		Strip   *bool  `json:"strip_accents"`
		Lower   bool   `json:"lowercase"`
	} `json:"normalizer"`
	Pre *struct {
		Type string `json:"type"`
	} `json:"pre_tokenizer"`
	Post *struct {
		Type    string                       `json:"type"`
		Sep     []any                        `json:"sep"`
		Cls     []any                        `json:"cls"`
		Single  []map[string]json.RawMessage `json:"single"`
		Pair    []map[string]json.RawMessage `json:"pair"`
		Special map[string]struct {
			IDs []int32 `json:"ids"`
		} `json:"special_tokens"`
	} `json:"post_processor"`
	Model struct {
		Type    string          `json:"type"`
		Unknown string          `json:"unk_token"`
		Prefix  string          `json:"continuing_subword_prefix"`
		Longest int             `json:"max_input_chars_per_word"`
		Vocab   json.RawMessage `json:"vocab"` // of another shape in other kinds
	} `json:"model"`
}

func badTokenizer(format string, args ...any) error {
	return abi.Errorf(abi.Unsupported, "read tokenizer: "+format, args...).WithHint("WordPiece tokenizers of the BERT kind are supported")
}

// parseTokenizer reads tokenizer.json. Errors: Corrupt for no JSON, Unsupported for parts that are not BERT's.
func parseTokenizer(text []byte) (*Tokenizer, error) {
	var f tokenizerFile
	if err := json.Unmarshal(text, &f); err != nil {
		return nil, abi.Errorf(abi.Corrupt, "read tokenizer: %w", err)
	}
	switch {
	case f.Model.Type != "WordPiece":
		return nil, badTokenizer("the model is %.40q", f.Model.Type)
	case f.Normalizer == nil || f.Normalizer.Type != "BertNormalizer":
		return nil, badTokenizer("the normalizer is not BertNormalizer")
	case f.Pre == nil || f.Pre.Type != "BertPreTokenizer":
		return nil, badTokenizer("the pre-tokenizer is not BertPreTokenizer")
	}
	vocab := map[string]int32{}
	if err := json.Unmarshal(f.Model.Vocab, &vocab); err != nil {
		return nil, badTokenizer("the vocabulary: %v", err)
	}
	if len(vocab) == 0 || len(vocab) > maxVocab {
		return nil, badTokenizer("a vocabulary of %d pieces, 1 to %d are allowed", len(vocab), maxVocab)
	}
	t := &Tokenizer{vocab: vocab, prefix: f.Model.Prefix, longest: f.Model.Longest,
		clean: f.Normalizer.Clean, chinese: f.Normalizer.Chinese, lower: f.Normalizer.Lower, strip: f.Normalizer.Lower}
	if f.Normalizer.Strip != nil {
		t.strip = *f.Normalizer.Strip
	}
	if t.longest <= 0 {
		t.longest = 100
	}
	var known bool
	if t.unknown, known = t.vocab[f.Model.Unknown]; !known {
		return nil, badTokenizer("the vocabulary has no %.40q for what it does not know", f.Model.Unknown)
	}
	for piece, id := range t.vocab {
		if id < 0 || id >= maxVocab {
			return nil, badTokenizer("the piece %.40q has the number %d", piece, id)
		}
	}
	return t, t.special(&f)
}

// special reads which tokens stand around a text.
func (t *Tokenizer) special(f *tokenizerFile) error {
	post := f.Post
	if post == nil {
		return nil
	}
	switch post.Type {
	case "BertProcessing":
		cls, ok1 := numbered(post.Cls)
		sep, ok2 := numbered(post.Sep)
		if !ok1 || !ok2 {
			return badTokenizer("BertProcessing without cls and sep")
		}
		t.before, t.between, t.pairs = []int32{cls}, []int32{sep}, true
		t.between2, t.after2 = []int32{sep}, []int32{sep}
		return nil
	case "TemplateProcessing":
		ids := map[string][]int32{}
		for name, s := range post.Special {
			ids[name] = s.IDs
		}
		single, err := template(post.Single, ids, "A")
		if err != nil {
			return err
		}
		t.before, t.between = single[0], single[1]
		if pair, err := template(post.Pair, ids, "A", "B"); err == nil && equal(pair[0], t.before) {
			t.pairs, t.between2, t.after2 = true, pair[1], pair[2]
		}
		return nil
	}
	return badTokenizer("the post-processor is %.40q", post.Type)
}

func numbered(pair []any) (int32, bool) {
	if len(pair) != 2 {
		return 0, false
	}
	n, ok := pair[1].(float64)
	return int32(n), ok && n >= 0 && n < maxVocab
}

func equal(a, b []int32) bool { return string(bytesOf(a)) == string(bytesOf(b)) }

func bytesOf(a []int32) (out []rune) {
	for _, x := range a {
		out = append(out, x)
	}
	return out
}

// template gives the special tokens before, between and after the sequences that are to come in that order.
func template(items []map[string]json.RawMessage, ids map[string][]int32, order ...string) ([][]int32, error) {
	out := make([][]int32, len(order)+1)
	at := 0
	for _, item := range items {
		var it struct {
			ID string `json:"id"`
		}
		raw, isSeq := item["Sequence"]
		if !isSeq {
			raw = item["SpecialToken"]
		}
		if err := json.Unmarshal(raw, &it); err != nil {
			return nil, badTokenizer("a template part is neither Sequence nor SpecialToken")
		}
		switch {
		case isSeq && (at >= len(order) || it.ID != order[at]):
			return nil, badTokenizer("the template puts %.40q where it does not belong", it.ID)
		case isSeq:
			at++
		default:
			special, ok := ids[it.ID]
			if !ok {
				return nil, badTokenizer("the template names the token %.40q, which is not listed", it.ID)
			}
			out[at] = append(out[at], special...)
		}
	}
	if at != len(order) {
		return nil, badTokenizer("the template has %d texts, not %d", at, len(order))
	}
	return out, nil
}

// Encode gives the tokens of a text and its special ones.
func (t *Tokenizer) Encode(text string) []int32 {
	out := append([]int32{}, t.before...)
	return append(t.pieces(out, text), t.between...)
}

// EncodePair gives the tokens of two texts, and which of the two each belongs to. Only when Pairs.
func (t *Tokenizer) EncodePair(a, b string) (ids, types []int32) {
	ids = append(t.pieces(append([]int32{}, t.before...), a), t.between2...)
	first := len(ids)
	ids = append(t.pieces(ids, b), t.after2...)
	types = make([]int32, len(ids))
	for i := first; i < len(types); i++ {
		types[i] = 1
	}
	return ids, types
}

// Pairs reports whether the tokenizer says how two texts are joined.
func (t *Tokenizer) Pairs() bool { return t.pairs }

func (t *Tokenizer) pieces(out []int32, text string) []int32 {
	for _, word := range words(t.normal(text)) {
		out = t.word(out, word)
	}
	return out
}

// normal is BertNormalizer.
func (t *Tokenizer) normal(text string) string {
	var b strings.Builder
	for _, r := range text {
		switch {
		case t.clean && (r == 0 || r == unicode.ReplacementChar || control(r)):
		case t.clean && space(r):
			b.WriteByte(' ')
		case t.chinese && ideograph(r):
			b.WriteByte(' ')
			b.WriteRune(r)
			b.WriteByte(' ')
		default:
			b.WriteRune(r)
		}
	}
	text = b.String()
	if t.strip {
		b.Reset()
		for _, r := range norm.NFD.String(text) {
			if !unicode.Is(unicode.Mn, r) {
				b.WriteRune(r)
			}
		}
		text = b.String()
	}
	if t.lower {
		text = strings.ToLower(text)
	}
	return text
}

func space(r rune) bool { return r == '\t' || r == '\n' || r == '\r' || unicode.IsSpace(r) }

func control(r rune) bool {
	return r != '\t' && r != '\n' && r != '\r' && unicode.In(r, unicode.Cc, unicode.Cf, unicode.Co, unicode.Cs)
}

// ideograph is the block test of BERT, which leaves out kana and hangul.
func ideograph(r rune) bool {
	for _, b := range [][2]rune{{0x4E00, 0x9FFF}, {0x3400, 0x4DBF}, {0x20000, 0x2A6DF}, {0x2A700, 0x2B73F}, {0x2B740, 0x2B81F},
		{0x2B820, 0x2CEAF}, {0xF900, 0xFAFF}, {0x2F800, 0x2FA1F}} {
		if r >= b[0] && r <= b[1] {
			return true
		}
	}
	return false
}

// words is BertPreTokenizer: at spaces, which vanish, and around every sign of punctuation.
func words(text string) []string {
	var out []string
	start := -1
	end := func(i int) {
		if start >= 0 {
			out = append(out, text[start:i])
			start = -1
		}
	}
	for i, r := range text {
		switch {
		case unicode.IsSpace(r):
			end(i)
		case r < 128 && r > ' ' && !alphanumeric(r) && r != 127, unicode.IsPunct(r):
			end(i)
			out = append(out, string(r))
		case start < 0:
			start = i
		}
	}
	end(len(text))
	return out
}

func alphanumeric(r rune) bool {
	return r >= '0' && r <= '9' || r >= 'a' && r <= 'z' || r >= 'A' && r <= 'Z'
}

// word is WordPiece: the longest known piece first; a word with a piece that is not known is unknown as a whole.
func (t *Tokenizer) word(out []int32, word string) []int32 {
	runes := []rune(word)
	if len(runes) > t.longest {
		return append(out, t.unknown)
	}
	begin := len(out)
	for at := 0; at < len(runes); {
		id, end := int32(0), len(runes)
		for ; end > at; end-- {
			piece := string(runes[at:end])
			if at > 0 {
				piece = t.prefix + piece
			}
			var ok bool
			if id, ok = t.vocab[piece]; ok {
				break
			}
		}
		if end == at {
			return append(out[:begin], t.unknown)
		}
		out, at = append(out, id), end
	}
	return out
}
