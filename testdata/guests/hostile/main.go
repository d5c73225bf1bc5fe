// Command hostile is a pack that does what packs should not, one tool for each misdeed, so that tests can see the host
// outlive it.
package main

import (
	"encoding/json"
	"os"

	"github.com/arw-project/arw/sdk/go/guest"
)

type nothing struct{}

type anything map[string]any

func main() {
	guest.Tool("hostile.loop", loop)
	guest.Tool("hostile.spin", loop)
	guest.Tool("hostile.recurse", func(*guest.Call, nothing) (int, error) { return recurse(1), nil })
	guest.Tool("hostile.grow", grow)
	guest.Tool("hostile.panic", func(*guest.Call, nothing) (nothing, error) { panic("on purpose") })
	guest.Tool("hostile.exit", func(*guest.Call, nothing) (nothing, error) { os.Exit(3); return nothing{}, nil })
	guest.Bytes("hostile.huge", func(*guest.Call, []byte) ([]byte, error) { return make([]byte, 8<<20), nil })
	guest.Tool("hostile.lie", func(*guest.Call, nothing) (nothing, error) { return nothing{}, nil })
	guest.Tool("hostile.wide", func(c *guest.Call, _ nothing) (nothing, error) { return nothing{}, c.KV().Put("k", nil) })
	guest.Tool("hostile.read", read)
	guest.Tool("hostile.until", until)
	guest.Tool("hostile.ask", ask)
	guest.Tool("hostile.echo", func(_ *guest.Call, in anything) (anything, error) { return in, nil })
}

var sink int

func loop(*guest.Call, nothing) (nothing, error) {
	for {
		sink++
	}
}

func recurse(n int) int { return recurse(n+1) + 1 }

func grow(*guest.Call, nothing) (int, error) {
	var held [][]byte
	for {
		held = append(held, make([]byte, 1<<20))
		held[len(held)-1][0] = 1
	}
}

type file struct {
	Path string `json:"path"`
}

func read(c *guest.Call, in file) (string, error) {
	b, err := c.FS().ReadFile(in.Path)
	return string(b), err
}

type count struct {
	Times int `json:"times"`
}

func until(c *guest.Call, _ nothing) (count, error) {
	for n := 0; ; n++ {
		if _, _, err := c.KV().List("", "", 1); err != nil {
			return count{n}, err
		}
	}
}

type request struct {
	Tool string `json:"tool"`
}

func ask(c *guest.Call, in request) (json.RawMessage, error) {
	return c.Action().CallRaw(in.Tool, []byte("{}"))
}
