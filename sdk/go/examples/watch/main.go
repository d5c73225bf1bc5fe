// Command watch is an example of a pack that reaches the network: it looks whether pages have changed since it looked last, asks
// for them with their validators, and keeps those and a digest of each page.
package main

import (
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"io"

	"github.com/arw-project/arw/abi"
	"github.com/arw-project/arw/sdk/go/guest"
	"github.com/arw-project/arw/sdk/go/guest/codec"
)

func main() { guest.Tool("watch.look", look) }

type page struct {
	URL string `json:"url"`
}

// seen is what is kept of a page.
type seen struct {
	ETag   string `json:"etag,omitempty"`
	Digest string `json:"digest"`
	Looks  int    `json:"looks"`
}

type report struct {
	Status  int    `json:"status"`
	Changed bool   `json:"changed"`
	Looks   int    `json:"looks"`
	Digest  string `json:"digest"`
	Bytes   int64  `json:"bytes"`
}

var seenJSON = codec.For[seen]()

func look(c *guest.Call, in page) (report, error) {
	before, err := remember(c, in.URL)
	if err != nil {
		return report{}, err
	}
	req := abi.HTTPRequest{URL: in.URL, TimeoutMS: 10_000, MaxBytes: 4 << 20}
	if before.ETag != "" {
		req.Headers = [][2]string{{"If-None-Match", before.ETag}}
	}
	resp, err := c.HTTP().Fetch(req, nil)
	if err != nil {
		return report{}, err
	}
	defer resp.Close()
	now := seen{ETag: resp.Header("Etag"), Digest: before.Digest, Looks: before.Looks + 1}
	out := report{Status: resp.Status, Looks: now.Looks}
	switch {
	case resp.Status == 304 && before.Digest != "":
		now.ETag = before.ETag
	case resp.Status == 200:
		sum := sha256.New()
		if out.Bytes, err = io.Copy(sum, resp); err != nil {
			return report{}, err
		}
		now.Digest = "sha256:" + hex.EncodeToString(sum.Sum(nil))
		out.Changed = now.Digest != before.Digest
	default:
		return report{}, guest.Errorf(abi.Unavailable, "look at %q: it answers with status %d", in.URL, resp.Status)
	}
	out.Digest = now.Digest
	raw, err := seenJSON.Append(nil, &now)
	if err != nil {
		return report{}, err
	}
	return out, c.KV().Put(in.URL, raw)
}

// remember is what is known of a page; nothing is no error.
func remember(c *guest.Call, url string) (s seen, err error) {
	raw, err := c.KV().Get(url)
	var e *abi.Error
	if errors.As(err, &e) && e.Code == abi.NotFound {
		return s, nil
	}
	if err != nil {
		return s, err
	}
	return s, seenJSON.Decode(raw, &s)
}
