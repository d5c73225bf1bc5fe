package wasm

import "github.com/arw-project/arw/abi"

func configGet(c *call, a []uint64) abi.Status {
	if _, fits := c.room(a, 2); !fits {
		return c.outside("out")
	}
	name, ok := c.text(a, 0)
	if !ok {
		return c.badText("name")
	}
	if _, err := c.use(abi.Config, name, 0); err != nil {
		return c.refuse(err)
	}
	doc, err := c.host.Config.Get(c, name)
	if err != nil {
		return c.refuse(err)
	}
	return c.reply(a, 2, doc)
}
