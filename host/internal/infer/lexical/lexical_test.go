package lexical_test

import (
	"math"
	"strings"
	"testing"

	"github.com/arw-project/arw/abi"
	"github.com/arw-project/arw/host/internal/infer"
	"github.com/arw-project/arw/host/internal/infer/lexical"
)

func cosine(a, b []float32) (sum float64) {
	for i := range a {
		sum += float64(a[i]) * float64(b[i])
	}
	return sum
}

func TestVectorsOfWords(t *testing.T) {
	t.Parallel()
	m := lexical.Models()[lexical.Hash]
	v, err := infer.Embed(t.Context(), m, []string{"The lease of a pack ends.", "the lease of a PACK ends", "a pack's lease", "rivers are long", "…"})
	if err != nil || v.Name != "lexical-hash-v1" || v.Kind != infer.Lexical || len(v.Values[0]) != lexical.Width {
		t.Fatalf("%+v, %v", v.Engine, err)
	}
	same, near, far := cosine(v.Values[0], v.Values[1]), cosine(v.Values[0], v.Values[2]), cosine(v.Values[0], v.Values[3])
	if math.Abs(same-1) > 1e-6 || near <= far || near >= same {
		t.Errorf("same %f, near %f, far %f", same, near, far)
	}
	if v.Values[0][0] != v.Values[1][0] {
		t.Error("the same words have other vectors")
	}
}

func TestScoresOfWords(t *testing.T) {
	t.Parallel()
	m := lexical.Models()[lexical.BM25]
	s, err := infer.Rerank(t.Context(), m, "lease expiry", []string{"rivers are long", "the lease", "lease expiry ends the lease", "a very long text about a lease and many other things that matter less to whoever asks"})
	if err != nil || s.Name != "bm25" || s.Kind != infer.Lexical {
		t.Fatalf("%+v, %v", s, err)
	}
	if v := s.Values; v[0] != 0 || v[2] <= v[1] || v[1] <= v[3] || v[3] <= 0 {
		t.Errorf("scores %v", v)
	}
}

// Nothing here pretends to be a model.
func TestWhatItCannotItRefuses(t *testing.T) {
	t.Parallel()
	for name, m := range lexical.Models() {
		if m.Info().Kind != infer.Lexical || m.Info().Name != name {
			t.Errorf("%s is %+v", name, m.Info())
		}
		if _, err := infer.Collect(m.Info().Engine, infer.Generate(t.Context(), m, &infer.Request{Prompt: infer.Prompt{Text: "say something"}})); abi.CodeOf(err) != abi.Unsupported {
			t.Errorf("%s generates: %v", name, err)
		}
		if _, err := infer.Tokenize(t.Context(), m, infer.Prompt{Text: "a"}); abi.CodeOf(err) != abi.Unsupported {
			t.Errorf("%s has tokens: %v", name, err)
		}
	}
}

const report = "A lease ends when its time is over. Rivers are long!  The lease of a pack is a promise\nof the host. \n\nIs it? Grüße. The lease"

func TestASummaryQuotes(t *testing.T) {
	t.Parallel()
	s := lexical.Shorten(report, "lease pack", 2)
	if s.Of != 6 || len(s.Sentences) != 2 || s.Name != "extract-v1" || s.Kind != infer.Lexical {
		t.Fatalf("%+v", s)
	}
	if !strings.HasPrefix(s.Sentences[0].Text, "The lease of a pack") {
		t.Errorf("%+v", s.Sentences)
	}
	if all := lexical.Shorten(report, "", 100); len(all.Sentences) != 6 {
		t.Errorf("%+v", all)
	}
}

func FuzzShorten(f *testing.F) {
	f.Add(report, "lease", 2)
	f.Add("\xff. \xc3 é! ", "", 1)
	f.Add("", "x", -1)
	f.Fuzz(func(t *testing.T, text, query string, n int) {
		last := 0
		for _, s := range lexical.Shorten(text, query, n).Sentences {
			if s.From < last || s.To > len(text) || text[s.From:s.To] != s.Text || s.Text == "" {
				t.Fatalf("%+v is no quotation of %q behind %d", s, text, last)
			}
			last = s.To
		}
	})
}
