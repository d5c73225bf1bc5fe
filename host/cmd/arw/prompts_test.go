package main

import (
	"testing"

	"github.com/arw-project/arw/host/api"
)

func TestAPromptSaysHowMuchALeaseWouldCover(t *testing.T) {
	for want, b := range map[string]api.Budget{
		"":                                {},
		"1000 tokens, 0.250000 USD":       {Tokens: 1000, Money: 250_000},
		"3 calls, 5 bytes, 12.000001 USD": {Calls: 3, Bytes: 5, Money: 12_000_001},
	} {
		if got := boundWords(b); got != want {
			t.Errorf("%+v: %q, want %q", b, got, want)
		}
	}
}
