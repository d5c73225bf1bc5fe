// Command courier is a pack that sends things over the network, in every way there is.
package main

import (
	"encoding/hex"
	"errors"
	"io"
	"net"
	"net/http"
	"os"
	"strconv"
	"syscall"
	"time"

	"github.com/arw-project/arw/abi"
	"github.com/arw-project/arw/sdk/go/guest"
)

func main() {
	guest.Tool("courier.fetch", fetch)
	guest.Tool("courier.upload", upload)
	guest.Tool("courier.read", read)
	guest.Tool("courier.chat", chat)
	guest.Tool("courier.mac", mac)
	guest.Tool("courier.sign", sign)
	guest.Tool("courier.unpack", func(c *guest.Call, in abi.ArchiveUnpack) (abi.ArchiveUnpacked, error) { return c.Unpack(in) })
	guest.Tool("courier.around", around)
	guest.Tool("courier.misuse", misuse)
}

type request struct {
	Method   string      `json:"method,omitempty"`
	URL      string      `json:"url"`
	Headers  [][2]string `json:"headers,omitempty"`
	Body     string      `json:"body,omitempty"`
	Redirect string      `json:"redirect,omitempty"`
	Secrets  []string    `json:"secrets,omitempty"`
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
	resp, err := c.HTTP().Fetch(abi.HTTPRequest{Method: in.Method, URL: in.URL, Headers: in.Headers, Redirect: in.Redirect, Secrets: in.Secrets}, []byte(in.Body))
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
	s, err := c.HTTP().Connect(abi.HTTPRequest{URL: in.URL, Secrets: in.Secrets})
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

type text struct {
	Name   string `json:"name"`
	Data   string `json:"data"`
	Public []byte `json:"public,omitempty"`
}

func mac(c *guest.Call, in text) (text, error) {
	sum, err := c.Secrets().MAC(in.Name, []byte(in.Data))
	return text{Name: in.Name, Data: hex.EncodeToString(sum)}, err
}

func sign(c *guest.Call, in text) (text, error) {
	sig, err := c.Secrets().Sign(in.Name, []byte(in.Data))
	if err != nil {
		return text{}, err
	}
	public, err := c.Secrets().Public(in.Name)
	return text{Name: in.Name, Data: hex.EncodeToString(sig), Public: public}, err
}

// around tries to reach an address without the host, in every way that a Go program knows, and lists the ways that worked.
func around(_ *guest.Call, in request) ([]string, error) {
	worked := []string{}
	try := func(way string, err error) {
		if err == nil {
			worked = append(worked, way)
		}
	}
	conn, err := net.DialTimeout("tcp", in.URL, time.Second)
	if err == nil {
		_, err = conn.Write([]byte("GET / HTTP/1.0\r\n\r\n"))
	}
	try("dial", err)
	packet, err := net.DialTimeout("udp", in.URL, time.Second)
	if err == nil {
		_, err = packet.Write([]byte("x"))
	}
	try("udp", err)
	_, err = (&http.Client{Timeout: time.Second}).Get("http://" + in.URL + "/")
	try("http", err)
	_, err = net.LookupHost("api.example.com")
	try("lookup", err)
	fd, err := syscall.Socket(syscall.AF_INET, syscall.SOCK_STREAM, 0)
	if err == nil {
		err = syscall.Connect(fd, &syscall.SockaddrInet4{Port: 80, Addr: [4]byte{10, 0, 0, 1}})
	}
	try("socket", err)
	for _, file := range []string{"/etc/resolv.conf", "/dev/tcp/10.0.0.1/80", "/proc/net/tcp"} {
		_, err = os.ReadFile(file)
		try(file, err)
	}
	for fd := 3; fd < 16; fd++ {
		_, err = syscall.Write(fd, []byte("x"))
		try("descriptor", err)
	}
	return worked, nil
}

// misuse does with handles what one must not, and lists the codes it gets.
func misuse(c *guest.Call, in request) ([]string, error) {
	var codes []string
	say := func(err error) {
		var e *abi.Error
		switch {
		case err == nil:
			codes = append(codes, "ok")
		case errors.As(err, &e):
			codes = append(codes, e.Code.String())
		}
	}
	resp, err := c.HTTP().Get(in.URL)
	if err != nil {
		return nil, err
	}
	say(resp.Close())
	say(resp.Close()) // twice
	_, err = resp.Read(make([]byte, 8))
	say(err) // after its end
	up, err := c.HTTP().Open(abi.HTTPRequest{Method: "POST", URL: in.URL})
	if err != nil {
		return nil, err
	}
	first, err := up.Response()
	if err != nil {
		return nil, err
	}
	_, err = up.Write([]byte("late"))
	say(err) // behind the end of its body
	again, err := up.Response()
	say(err)
	if again.Status != first.Status {
		codes = append(codes, "another head")
	}
	for i := 1; ; i++ {
		if _, err := c.HTTP().Get(in.URL); err != nil {
			say(err)
			codes = append(codes, "at "+strconv.Itoa(i))
			return codes, nil
		}
	}
}
