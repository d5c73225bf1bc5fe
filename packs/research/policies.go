package main

import (
	"math"

	"github.com/arw-project/arw/abi"
	"github.com/arw-project/arw/sdk/go/guest"
)

// The documents of the host's configuration that hold answers back.
const (
	abstentionDoc = "policies/abstention"
	budgetDoc     = "policies/budget"
)

// policies are those documents. A search keeps to the bounds of tokens alone: it costs nothing, and the host ends it in time.
type policies struct {
	Threshold  float64 `json:"threshold"` // least confidence for an answer
	Escalate   string  `json:"escalate"`  // "nobody" or "human"
	TokensSoft int     `json:"tokens_soft"`
	TokensHard int     `json:"tokens_hard"`
	MSSoft     int64   `json:"ms_soft"`
	MSHard     int64   `json:"ms_hard"`
	CostUSD    float64 `json:"cost_usd"`
}

// readPolicies reads both; one that may not be read holds nothing back.
func readPolicies(c *guest.Call) (p policies, err error) {
	for _, name := range []string{abstentionDoc, budgetDoc} {
		before := p
		err := c.Config(name, &p)
		switch abi.CodeOf(err) {
		case abi.OK:
		case abi.NotFound, abi.Denied, abi.LeaseExpired, abi.LeaseRevoked, abi.BudgetExhausted:
			p = before
		default:
			return p, err
		}
	}
	return p, nil
}

// leaders is how many of the best passages an answer may stand on.
const leaders = 3

// confidence is the share of the question's weight that the best of the first passages holds: rare words weigh more, and
// those that no passage has weigh most. Between 0 and 1.
func confidence(picked []hit, query []string, weight map[string]float64) (best float64) {
	total := 0.0
	for _, t := range query {
		total += weight[t]
	}
	for _, h := range picked[:min(leaders, len(picked))] {
		held, _ := window(h.heading+"\n"+h.text, query)
		sum := 0.0
		for _, t := range held {
			sum += weight[t]
		}
		best = max(best, sum/max(total, math.SmallestNonzeroFloat64))
	}
	return math.Round(best*1000) / 1000
}

// abstains keeps the answer back when there is too little confidence in it.
func (p policies) abstains(out *SearchOut, picked []hit, query []string, weight map[string]float64) bool {
	if p.Threshold <= 0 {
		return false
	}
	out.Confidence = confidence(picked, query, weight)
	if out.Confidence >= p.Threshold {
		return false
	}
	out.Abstained, out.Escalate = true, p.Escalate
	return true
}

// affords counts a result's tokens, four bytes each as models take English, and refuses one past the hard bound. The first
// always fits: an answer that is cut to nothing would look like none was found.
func (p policies) affords(out *SearchOut, r Result) bool {
	if p.TokensSoft <= 0 && p.TokensHard <= 0 {
		return true
	}
	tokens := out.Tokens + (len(r.Heading)+len(r.Snippet)+3)/4
	if p.TokensHard > 0 && tokens > p.TokensHard && len(out.Results) > 0 {
		out.Budget = "hard"
		return false
	}
	out.Tokens = tokens
	if p.TokensSoft > 0 && tokens > p.TokensSoft {
		out.Budget = "soft"
	}
	return true
}
