// Command courier is a pack that sends things over the network, in every way there is.
package main

import (
	"errors"
	"io"

	"github.com/arw-project/arw/abi"
	"github.com/arw-project/arw/sdk/go/guest"
)

func main() {
	guest.Tool("courier.fetch", fetch)
	guest.Tool("courier.upload", upload)
	guest.Tool("courier.read", read)
	guest.Tool("courier.chat", chat)
}

type request struct {
	Method   string      `json:"method,omitempty"`
	URL      string      `json:"url"`
	Headers  [][2]string `json:"headers,omitempty"`
	Body     string      `json:"body,omitempty"`
	Redirect string      `json:"redirect,omitempty"`
}

type reply struct {
	Status int    `json:"status"`
	URL    string `json:"url"`
	Body   string `json:"body"`
	Ledger string `json:"ledger"`
}

func finish(resp *guest.Response) (reply, error) {
	body, err := io.ReadAll(resp)
	return reply{resp.Status, resp.URL, string(body), resp.Ledger}, err
}

func fetch(c *guest.Call, in request) (reply, error) {
	resp, err := c.HTTP().Fetch(abi.HTTPRequest{Method: in.Method, URL: in.URL, Headers: in.Headers, Redirect: in.Redirect}, []byte(in.Body))
	if err != nil {
		return reply{}, err
	}
	defer resp.Close()
	return finish(resp)
}

func upload(c *guest.Call, in request) (reply, error) {
	up, err := c.HTTP().Open(abi.HTTPRequest{Method: "POST", URL: in.URL})
	if err != nil {
		return reply{}, err
	}
	for _, part := range []string{"one ", "two ", "three"} {
		if _, err := io.WriteString(up, part); err != nil {
			return reply{}, err
		}
	}
	resp, err := up.Response()
	if err != nil {
		return reply{}, err
	}
	return finish(resp) // left open: the end of the call closes it
}

type readReply struct {
	Bytes int    `json:"bytes"`
	Code  string `json:"code"`
}

// read reads a body to its end or to the first refusal, and says which.
func read(c *guest.Call, in request) (readReply, error) {
	resp, err := c.HTTP().Get(in.URL)
	if err != nil {
		return readReply{}, err
	}
	out := readReply{Code: "ok"}
	buf := make([]byte, 1024)
	for {
		n, err := resp.Read(buf)
		if out.Bytes += n; err == io.EOF {
			return out, nil
		}
		if err != nil {
			var e *abi.Error
			if errors.As(err, &e) {
				out.Code = e.Code.String()
			}
			return out, nil
		}
	}
}

func chat(c *guest.Call, in request) (reply, error) {
	s, err := c.HTTP().Connect(abi.HTTPRequest{URL: in.URL})
	if err != nil {
		return reply{}, err
	}
	if err := s.SendText(in.Body); err != nil {
		return reply{}, err
	}
	msg, _, err := s.Receive()
	if err != nil {
		return reply{}, err
	}
	return reply{Status: s.Status, URL: s.URL, Body: string(msg), Ledger: s.Ledger}, s.Close()
}
