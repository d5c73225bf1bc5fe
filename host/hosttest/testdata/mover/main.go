// Command mover moves files of any size through little memory.
package main

import (
	"io"

	"github.com/arw-project/arw/abi"
	"github.com/arw-project/arw/sdk/go/guest"
)

type paths struct {
	From string `json:"from"`
	To   string `json:"to,omitempty"`
}

type moved struct {
	Bytes int64  `json:"bytes"`
	Code  string `json:"code"`
}

// move copies a file by handle, piece by piece.
func move(c *guest.Call, in paths) (out moved, err error) {
	from, err := c.FS().OpenFile(in.From)
	if err != nil {
		return out, err
	}
	to, err := c.FS().Create(in.To)
	if err != nil {
		return out, err
	}
	if out.Bytes, err = io.Copy(to, from); err != nil {
		return out, err
	}
	out.Code = "ok"
	return out, to.Commit()
}

// again reads a file by handle over and over, until it is refused, and says how.
func again(c *guest.Call, in paths) (out moved, err error) {
	buf := make([]byte, 1024)
	for {
		from, err := c.FS().OpenFile(in.From)
		for err == nil {
			var n int
			n, err = from.Read(buf)
			out.Bytes += int64(n)
		}
		if err == io.EOF {
			err = from.Close()
		}
		if err != nil {
			out.Code = abi.CodeOf(err).String()
			return out, nil
		}
	}
}

func main() {
	guest.Tool("mover.move", move)
	guest.Tool("mover.again", again)
	guest.Prepare[moved]()
}
