// Command streamer is a pack whose tools stream, well and badly, and one whose calls are worth a record.
package main

import (
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"io"

	"github.com/arw-project/arw/abi"
	"github.com/arw-project/arw/sdk/go/guest"
)

type none struct{}

type total struct {
	Bytes  int64  `json:"bytes"`
	SHA256 string `json:"sha256,omitempty"`
	Note   string `json:"note,omitempty"`
}

// release changes what the tools do from one version of the pack to the next; a test replaces it.
const release = 1

func main() {
	guest.Tool("streams.copy", func(c *guest.Call, _ none) (total, error) {
		n, err := io.Copy(c.Output(), c.Input())
		return total{Bytes: n}, err
	})
	guest.Tool("streams.sum", sum)
	guest.Tool("streams.endless", func(c *guest.Call, _ none) (none, error) {
		part := make([]byte, guest.Chunk)
		for {
			if _, err := c.Output().Write(part); err != nil {
				return none{}, err
			}
		}
	})
	guest.Tool("streams.early", func(c *guest.Call, _ none) (total, error) {
		var b [3]byte
		n, err := io.ReadFull(c.Input(), b[:])
		return total{Bytes: int64(n), Note: string(b[:n])}, err
	})
	guest.Tool("streams.after", after)
	guest.Tool("streams.visit", visit)
	guest.Prepare[total]()
}

// sum reads everything and tells of its progress.
func sum(c *guest.Call, _ none) (total, error) {
	h, buf, t := sha256.New(), make([]byte, guest.Chunk), total{}
	for {
		n, err := c.Input().Read(buf)
		if err == io.EOF {
			t.SHA256 = hex.EncodeToString(h.Sum(nil))
			return t, nil
		}
		if err != nil {
			return t, err
		}
		h.Write(buf[:n])
		if t.Bytes += int64(n); t.Bytes/100_000 != (t.Bytes-int64(n))/100_000 {
			if err := c.Output().Send(t); err != nil && abi.CodeOf(err) != abi.NotFound {
				return t, err
			}
		}
	}
}

// after does what is no longer possible once a stream is closed.
func after(c *guest.Call, _ none) (total, error) {
	if _, err := c.Output().Write([]byte("before")); err != nil {
		return total{}, err
	}
	if err := c.Output().Close(); err != nil {
		return total{}, err
	}
	_, err := c.Output().Write([]byte("after"))
	return total{Note: fmt.Sprintf("%s %s", abi.CodeOf(err), abi.CodeOf(c.Output().Close()))}, nil
}

type visitor struct {
	Name string `json:"name"`
}

type visited struct {
	Times int    `json:"times"`
	At    int64  `json:"at"`
	Token string `json:"token"`
}

// visit asks the world for everything that is never the same twice.
func visit(c *guest.Call, in visitor) (v visited, err error) {
	v.Times = release
	if old, err := c.KV().Get(in.Name); err == nil {
		v.Times += int(old[0])
	} else if abi.CodeOf(err) != abi.NotFound {
		return v, err
	}
	if err := c.KV().Put(in.Name, []byte{byte(v.Times)}); err != nil {
		return v, err
	}
	now, err := c.Now()
	if err != nil {
		return v, err
	}
	v.At = now.UnixNano()
	var dice [8]byte
	if err := c.Random(dice[:]); err != nil {
		return v, err
	}
	v.Token = hex.EncodeToString(dice[:])
	c.Log(guest.Info, "visit of "+in.Name)
	return v, nil
}
