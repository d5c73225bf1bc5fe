// Command conformance is the Go kit's conformance guest: the tools that abi/abitest asks for.
package main

import (
	"io"
	"slices"

	"github.com/arw-project/arw/abi"
	"github.com/arw-project/arw/sdk/go/guest"
	"github.com/arw-project/arw/sdk/go/guest/codec"
)

type none struct{}

type typed struct {
	Name  *string  `json:"name"`
	Count *int64   `json:"count"`
	Ratio float64  `json:"ratio"`
	On    bool     `json:"on"`
	Tags  []string `json:"tags"`
	Note  *string  `json:"note,omitempty"`
}

type failure struct {
	Code    uint32    `json:"code"`
	Message string    `json:"message"`
	Detail  codec.Raw `json:"detail,omitempty"`
}

type size struct {
	Size int `json:"size"`
}

type counted struct {
	Count int `json:"count"`
}

type text struct {
	Text string `json:"text"`
}

type texts struct {
	Texts []string `json:"texts"`
}

var (
	count int
	kept  []string
	taken [][]byte
)

func main() {
	guest.Bytes("conform.echo", func(_ *guest.Call, in []byte) ([]byte, error) { return in, nil })
	guest.Bytes("conform.size", func(_ *guest.Call, in []byte) ([]byte, error) {
		var s size
		if err := codec.DecodeAny(in, &s); err != nil {
			return nil, guest.Errorf(abi.Invalid, "read the size: %w", err)
		}
		out := make([]byte, s.Size)
		for i := range out {
			out[i] = byte(i*7 + i>>8)
		}
		return out, nil
	})
	guest.Tool("conform.json", func(_ *guest.Call, in any) (any, error) { return in, nil })
	guest.Tool("conform.typed", echoTyped)
	guest.Tool("conform.fail", fail)
	guest.Tool("conform.do", do)
	guest.Tool("conform.count", func(*guest.Call, none) (counted, error) {
		count++
		return counted{count}, nil
	})
	guest.Tool("conform.keep", func(_ *guest.Call, in text) (texts, error) {
		kept = append(kept, in.Text)
		return texts{kept}, nil
	})
	guest.Tool("conform.spin", func(*guest.Call, none) (none, error) {
		for {
			count++
		}
	})
	guest.Tool("conform.grow", func(*guest.Call, none) (none, error) {
		for {
			taken = append(taken, make([]byte, 1<<20))
		}
	})
	guest.Tool("conform.recurse", func(*guest.Call, none) (counted, error) { return counted{recurse(1)}, nil })
	guest.Tool("conform.pump", pump)
	guest.Prepare[pumped]()
	guest.Tool("conform.trap", func(*guest.Call, none) (counted, error) { return counted{len(kept[count+5])}, nil })
}

type pumped struct {
	Bytes int64 `json:"bytes"`
}

func pump(c *guest.Call, _ none) (pumped, error) {
	n, err := io.Copy(c.Output(), c.Input())
	if err != nil {
		return pumped{}, err
	}
	if err := c.Output().Send(pumped{n}); err != nil {
		return pumped{}, err
	}
	return pumped{n}, c.Output().Close()
}

func recurse(n int) int { return recurse(n+1) + n }

func echoTyped(_ *guest.Call, in typed) (typed, error) {
	switch {
	case in.Name == nil:
		return in, guest.Errorf(abi.Invalid, "name is missing")
	case in.Count == nil:
		return in, guest.Errorf(abi.Invalid, "count is missing")
	}
	if in.Tags == nil {
		in.Tags = []string{}
	}
	return in, nil
}

func fail(_ *guest.Call, in failure) (none, error) {
	err := guest.Errorf(abi.Code(in.Code), "%s", in.Message)
	if len(in.Detail) > 0 {
		err = err.WithDetail(codec.Raw(slices.Clone(in.Detail)))
	}
	return none{}, err
}
