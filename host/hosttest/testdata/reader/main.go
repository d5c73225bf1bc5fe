// Command reader tells what its configuration is.
package main

import "github.com/arw-project/arw/sdk/go/guest"

type in struct {
	Name string `json:"name"`
}

type doc struct {
	K int `json:"k"`
}

func read(c *guest.Call, in in) (d doc, err error) {
	err = c.Config(in.Name, &d)
	return d, err
}

func main() {
	guest.Tool("reader.read", read)
	guest.Tool("reader.pure", read)
}
