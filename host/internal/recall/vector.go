package recall

import (
	"context"
	"math"
	"math/bits"
	"math/rand/v2"
	"strings"
	"sync"

	"github.com/arw-project/arw/host/internal/infer/lexical"
)

// lexicalVector counts the words of a question that carry its meaning, in the form in which they are compared.
func lexicalVector(text string) Vector {
	engine := lexical.Models()[lexical.Hash]
	content := wordsOf(text).content
	if len(content) == 0 {
		return Vector{}
	}
	v, err := engine.Embed(context.Background(), []string{strings.Join(content, " ")}) // it asks nobody
	if err != nil || len(v.Values) != 1 {
		return Vector{}
	}
	return Vector{Engine: engine.Info().Engine, Values: v.Values[0]}
}

// unit makes the length of a vector 1; one of no length is none.
func unit(v []float32) []float32 {
	sum := 0.0
	for _, x := range v {
		sum += float64(x) * float64(x)
	}
	if sum == 0 || math.IsNaN(sum) || math.IsInf(sum, 0) {
		return nil
	}
	out := make([]float32, len(v))
	for i, x := range v {
		out[i] = float32(float64(x) / math.Sqrt(sum))
	}
	return out
}

// cosine of two vectors of length 1; -1 for those of two widths.
func cosine(a, b []float32) float64 {
	if len(a) != len(b) {
		return -1
	}
	sum := 0.0
	for i := range a {
		sum += float64(a[i]) * float64(b[i])
	}
	return min(sum, 1)
}

// planes are hyperplanes by width: 64 rows of numbers each, drawn when the width is first seen, the same on every machine.
type planes struct{ rows sync.Map }

func (p *planes) of(width int) []float32 {
	if got, ok := p.rows.Load(width); ok {
		return got.([]float32)
	}
	rnd := rand.New(rand.NewPCG(0x61727720, 0x72656361))
	rows := make([]float32, 64*width)
	for i := range rows {
		rows[i] = float32(rnd.NormFloat64())
	}
	got, _ := p.rows.LoadOrStore(width, rows)
	return got.([]float32)
}

// simhash says of 64 hyperplanes on which side a vector lies: of two vectors as many bits differ, in the mean, as their angle is
// of a half turn (Charikar, 2002).
func (p *planes) simhash(v []float32) (sum uint64) {
	if len(v) == 0 {
		return 0
	}
	rows := p.of(len(v))
	for bit := range 64 {
		side := float32(0)
		for i, x := range v {
			side += x * rows[bit*len(v)+i]
		}
		if side > 0 {
			sum |= 1 << bit
		}
	}
	return sum
}

func distance(a, b uint64) int { return bits.OnesCount64(a ^ b) }

// reachOf is how many bits may differ for a cosine that is still near: the mean and four deviations more, so that of ten
// thousand that are near one at most is not looked at.
func reachOf(near float64) int {
	p := math.Acos(min(near, 1)) / math.Pi
	return int(math.Ceil(64*p + 4*math.Sqrt(64*p*(1-p))))
}
