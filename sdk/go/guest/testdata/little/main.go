// Command little is the smallest pack: it greets.
package main

import "github.com/arw-project/arw/sdk/go/guest"

type greeting struct {
	Name string `json:"name"`
}

type reply struct {
	Text string `json:"text"`
}

func main() { guest.Tool("little.greet", greet) }

func greet(_ *guest.Call, in greeting) (reply, error) { return reply{"Hello, " + in.Name + "!"}, nil }
