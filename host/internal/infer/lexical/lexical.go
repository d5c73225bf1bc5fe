// Package lexical keeps one promise: what a host can do with texts without a model it does under honest names, and nothing that it
// makes is taken for a model's.
//
// "bm25" scores documents by the words of a query, "lexical-hash-v1" makes vectors of words that are the same, not of meanings,
// and "extract-v1" shortens a text by leaving sentences out: it quotes, with offsets, and writes nothing. All are functions of
// their input alone, the same on every machine. Their kind is infer.Lexical: no index holds their results beside a model's.
package lexical

import (
	"context"
	"hash/fnv"
	"iter"
	"math"
	"slices"
	"strings"
	"unicode"
	"unicode/utf8"

	"github.com/arw-project/arw/host/internal/infer"
)

// The names, of engines and of the models that are always there.
const (
	BM25    = "bm25"
	Hash    = "lexical-hash-v1"
	Extract = "extract-v1"
)

// Width of the vectors of Hash.
const Width = 256

// Models are those that need no file, by name.
func Models() map[string]infer.Model { return map[string]infer.Model{BM25: bm25{}, Hash: hash{}} }

// words are the runs of letters and digits of a text, in lower case.
func words(text string) []string {
	return strings.FieldsFunc(strings.ToLower(text), func(r rune) bool { return !unicode.IsLetter(r) && !unicode.IsDigit(r) })
}

// none refuses what a model that is none cannot do.
type none struct{ info infer.Info }

func (n none) Info() infer.Info { return n.info }

func (n none) Generate(context.Context, *infer.Request) iter.Seq2[infer.Part, error] {
	return func(yield func(infer.Part, error) bool) { yield(infer.Part{}, infer.Lacks(n.info, "generate text")) }
}

func (n none) Embed(context.Context, []string) (infer.Vectors, error) {
	return infer.Vectors{}, infer.Lacks(n.info, "embed")
}

func (n none) Rerank(context.Context, string, []string) (infer.Scores, error) {
	return infer.Scores{}, infer.Lacks(n.info, "rerank")
}

func (n none) Tokenize(context.Context, infer.Prompt) ([]int32, error) {
	return nil, infer.Lacks(n.info, "tokenize")
}

func about(name string, can infer.Can) none {
	return none{infer.Info{Engine: infer.Engine{Name: name, Kind: infer.Lexical, Model: name}, Version: "1", Can: can}}
}

type hash struct{}

func (hash) none() none         { return about(Hash, infer.Can{Embed: true}) }
func (h hash) Info() infer.Info { i := h.none().info; i.Width = Width; return i }
func (h hash) Generate(ctx context.Context, r *infer.Request) iter.Seq2[infer.Part, error] {
	return h.none().Generate(ctx, r)
}
func (h hash) Rerank(ctx context.Context, q string, d []string) (infer.Scores, error) {
	return h.none().Rerank(ctx, q, d)
}
func (h hash) Tokenize(ctx context.Context, p infer.Prompt) ([]int32, error) {
	return h.none().Tokenize(ctx, p)
}

// Embed counts words and pairs of neighbours in Width places, and makes the length 1.
func (h hash) Embed(_ context.Context, texts []string) (infer.Vectors, error) {
	v := infer.Vectors{Engine: h.none().info.Engine}
	for _, text := range texts {
		row, ws := make([]float32, Width), words(text)
		for i, w := range ws {
			place(row, w, 1)
			if i > 0 {
				place(row, ws[i-1]+" "+w, .5)
			}
		}
		v.Values = append(v.Values, unit(row))
	}
	return v, nil
}

func place(row []float32, feature string, weight float32) {
	h := fnv.New64a()
	_, _ = h.Write([]byte(feature)) // it never fails
	sum := h.Sum64()
	if sum>>63 == 1 { // two features in one place cancel out as often as they add up
		weight = -weight
	}
	row[sum%Width] += weight
}

func unit(row []float32) []float32 {
	var sum float64
	for _, x := range row {
		sum += float64(x) * float64(x)
	}
	if sum > 0 {
		for i := range row {
			row[i] = float32(float64(row[i]) / math.Sqrt(sum))
		}
	}
	return row
}

type bm25 struct{}

func (bm25) none() none         { return about(BM25, infer.Can{Rerank: true}) }
func (b bm25) Info() infer.Info { return b.none().info }
func (b bm25) Generate(ctx context.Context, r *infer.Request) iter.Seq2[infer.Part, error] {
	return b.none().Generate(ctx, r)
}
func (b bm25) Embed(ctx context.Context, t []string) (infer.Vectors, error) {
	return b.none().Embed(ctx, t)
}
func (b bm25) Tokenize(ctx context.Context, p infer.Prompt) ([]int32, error) {
	return b.none().Tokenize(ctx, p)
}

// Rerank scores documents as a collection of their own, with k1 = 1.2 and b = 0.75.
func (b bm25) Rerank(_ context.Context, query string, documents []string) (infer.Scores, error) {
	return infer.Scores{Engine: b.none().info.Engine, Values: score(words(query), documents)}, nil
}

func score(query []string, documents []string) []float64 {
	const k1, b = 1.2, 0.75
	counts, lengths, total := make([]map[string]int, len(documents)), make([]float64, len(documents)), 0.0
	in := map[string]int{} // documents that have a word
	for i, d := range documents {
		counts[i] = map[string]int{}
		for _, w := range words(d) {
			if counts[i][w]++; counts[i][w] == 1 {
				in[w]++
			}
			lengths[i]++
		}
		total += lengths[i]
	}
	mean := max(1, total/float64(max(1, len(documents))))
	slices.Sort(query)
	query = slices.Compact(query)
	out := make([]float64, len(documents))
	for i := range documents {
		for _, w := range query {
			tf := float64(counts[i][w])
			idf := math.Log(1 + (float64(len(documents))-float64(in[w])+.5)/(float64(in[w])+.5))
			out[i] += idf * tf * (k1 + 1) / (tf + k1*(1-b+b*lengths[i]/mean))
		}
	}
	return out
}

// Sentence is a quotation: Text is bytes From to To of the text it is from.
type Sentence struct {
	Text string `json:"text"`
	From int    `json:"from"`
	To   int    `json:"to"`
}

// Summary is a text with sentences left out.
type Summary struct {
	infer.Engine
	Sentences []Sentence `json:"sentences"` // in their order
	Of        int        `json:"of"`        // how many there were
}

// Shorten quotes the n sentences of a text that say most about the query; without one, those whose words the text repeats most.
func Shorten(text, query string, n int) Summary {
	all := sentences(text)
	texts := make([]string, len(all))
	for i, s := range all {
		texts[i] = s.Text
	}
	ask := words(query)
	if len(ask) == 0 {
		ask = frequent(text)
	}
	scores := score(ask, texts)
	order := make([]int, len(all))
	for i := range order {
		order[i] = i
	}
	slices.SortStableFunc(order, func(a, b int) int {
		switch {
		case scores[a] > scores[b]:
			return -1
		case scores[a] < scores[b]:
			return 1
		}
		return 0
	})
	order = order[:min(max(n, 0), len(order))]
	slices.Sort(order)
	out := Summary{Engine: infer.Engine{Name: Extract, Kind: infer.Lexical, Model: Extract}, Sentences: []Sentence{}, Of: len(all)}
	for _, i := range order {
		out.Sentences = append(out.Sentences, all[i])
	}
	return out
}

// frequent are the words that a text repeats, short ones left out.
func frequent(text string) (out []string) {
	n := map[string]int{}
	for _, w := range words(text) {
		if utf8.RuneCountInString(w) > 3 {
			if n[w]++; n[w] == 2 {
				out = append(out, w)
			}
		}
	}
	return out
}

// sentences cuts a text behind . ! ? that a space follows, and at empty lines.
func sentences(text string) (out []Sentence) {
	from := 0
	cut := func(to int) {
		s := text[from:to]
		lead := len(s) - len(strings.TrimLeftFunc(s, unicode.IsSpace))
		if s = strings.TrimSpace(s); s != "" {
			out = append(out, Sentence{s, from + lead, from + lead + len(s)})
		}
		from = to
	}
	for i := range len(text) { // bytes: the marks are none of a longer character's
		r, next := text[i], text[i+1:]
		switch {
		case r == '\n' && strings.HasPrefix(next, "\n"):
			cut(i)
		case (r == '.' || r == '!' || r == '?') && (next == "" || next[0] == ' ' || next[0] == '\n' || next[0] == '\t'):
			cut(i + 1)
		}
	}
	cut(len(text))
	return out
}
