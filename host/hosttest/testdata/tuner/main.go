// Command tuner is a pack whose pure tools compute the patches of logic units, well and badly.
package main

import (
	"github.com/arw-project/arw/sdk/go/guest"
)

func main() {
	guest.Tool("tuner.tune", tune)
	guest.Tool("tuner.peek", peek)
	guest.Tool("tuner.loop", loop)
	guest.Tool("tuner.impure", tune)
	guest.Tool("tuner.count", count)
	guest.Tool("tuner.crash", crash)
}

type in struct {
	Parameters params         `json:"parameters"`
	Documents  map[string]doc `json:"documents"`
}

type params struct {
	Factor int `json:"factor"`
}

type doc struct {
	K int `json:"k"`
}

type out struct {
	Patches []patch `json:"patches"`
}

type patch struct {
	Target string         `json:"target"`
	Value  map[string]int `json:"value"`
}

func answer(k int) out { return out{[]patch{{"recipes/retrieval", map[string]int{"k": k}}}} }

// tune multiplies what the document says.
func tune(_ *guest.Call, i in) (out, error) {
	return answer(i.Documents["recipes/retrieval"].K * i.Parameters.Factor), nil
}

// peek asks for the time, which nobody gives a transform.
func peek(c *guest.Call, i in) (out, error) {
	if _, err := c.Now(); err != nil {
		return out{}, err
	}
	return answer(1), nil
}

func loop(*guest.Call, in) (out, error) {
	for n := 0; ; n++ {
		if n < 0 {
			return answer(n), nil
		}
	}
}

var calls int

// count would tell one call from the next if the guest's state outlived it.
func count(*guest.Call, in) (out, error) {
	calls++
	return answer(calls), nil
}

// crash holds as long as it is allowed what it asks for.
func crash(c *guest.Call, _ struct{}) (map[string]int, error) {
	if err := c.KV().Put("k", []byte("v")); err != nil {
		panic("unprepared")
	}
	return map[string]int{"ok": 1}, nil
}
