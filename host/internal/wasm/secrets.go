package wasm

import (
	"context"
	"fmt"

	"github.com/arw-project/arw/abi"
)

// maxSecretData is the most that is signed or authenticated at once.
const maxSecretData = 1 << 20

func secretPublic(c *call, a []uint64) abi.Status {
	if _, fits := c.room(a, 2); !fits {
		return c.outside("out")
	}
	name, ok := c.text(a, 0)
	if !ok {
		return c.badText("name")
	}
	if _, err := c.use(abi.Secret, name, 0); err != nil {
		return c.refuse(err)
	}
	key, err := c.host.Secret.Public(c, name)
	if err != nil {
		return c.refuse(err)
	}
	return c.reply(a, 2, key)
}

func secretMAC(c *call, a []uint64) abi.Status {
	return c.secretUse(a, func(s Secret) func(context.Context, string, []byte) ([]byte, error) { return s.MAC })
}

func secretSign(c *call, a []uint64) abi.Status {
	return c.secretUse(a, func(s Secret) func(context.Context, string, []byte) ([]byte, error) { return s.Sign })
}

// secretUse gives data to one of the operations on a named secret.
func (c *call) secretUse(a []uint64, pick func(Secret) func(context.Context, string, []byte) ([]byte, error)) abi.Status {
	data, ok := c.arg(a, 2)
	if _, fits := c.room(a, 4); !ok || !fits {
		return c.outside("data or out")
	}
	name, ok := c.text(a, 0)
	if !ok {
		return c.badText("name")
	}
	if len(data) > maxSecretData {
		return c.fail(abi.TooLarge, fmt.Sprintf("%s: data of %d bytes, at most %d are taken at once; give a digest of it", c.inside, len(data), maxSecretData))
	}
	if _, err := c.use(abi.Secret, name, len(data)); err != nil {
		return c.refuse(err)
	}
	out, err := pick(c.host.Secret)(c, name, data)
	if err != nil {
		return c.refuse(err)
	}
	return c.reply(a, 4, out)
}

func archiveUnpack(c *call, a []uint64) abi.Status {
	var req abi.ArchiveUnpack
	if s, ok := c.request(a, &req); !ok {
		return s
	}
	var err error
	if req.From, err = cleanPath(req.From); err == nil {
		req.To, err = cleanPath(req.To)
	}
	if err != nil {
		return c.fail(abi.Invalid, "archive.unpack: "+err.Error())
	}
	if _, err := c.use(abi.Archive, "", 0); err != nil {
		return c.refuse(err)
	}
	read, err := c.use(abi.FS, "read:"+req.From, 0)
	if err != nil {
		return c.refuse(err)
	}
	write, err := c.use(abi.FS, "write:"+req.To, 0)
	if err != nil {
		return c.refuse(err)
	}
	got, err := c.host.Archive.Unpack(c, read, write, req)
	if err != nil {
		return c.refuse(err)
	}
	return c.replyJSON(a, 2, got)
}
