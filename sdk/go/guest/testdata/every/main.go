// Command every calls each host function once, and does what a pack should not.
package main

import (
	"io"

	"encoding/binary"
	"fmt"
	"log/slog"

	"github.com/arw-project/arw/abi"
	"github.com/arw-project/arw/sdk/go/guest"
)

type nothing struct{}

type word struct {
	Word string `json:"word"`
}

type report struct {
	Lines []string `json:"lines"`
}

var kept []string

func main() {
	guest.Tool("every.function", everyFunction)
	guest.Tool("every.keep", keep)
	guest.Tool("every.fail", func(*guest.Call, nothing) (nothing, error) {
		return nothing{}, guest.Errorf(abi.Conflict, "the tide is out").WithHint("come back").WithDetail(map[string]any{"hours": 6})
	})
	guest.Tool("every.panic", func(_ *guest.Call, in []int) (int, error) { return in[3], nil })
	guest.Bytes("every.big", func(_ *guest.Call, in []byte) ([]byte, error) {
		return make([]byte, binary.LittleEndian.Uint32(in)), nil
	})
	guest.Prepare[word]()
}

// keep remembers its inputs, which a session must not mix up.
func keep(_ *guest.Call, in word) (report, error) {
	kept = append(kept, in.Word)
	return report{kept}, nil
}

func everyFunction(c *guest.Call, _ nothing) (r report, err error) {
	say := func(format string, args ...any) { r.Lines = append(r.Lines, fmt.Sprintf(format, args...)) }
	c.Log(guest.Warn, "a line")
	c.Logger().With("a", 1).WithGroup("g").Info("structured", "b", "two words", slog.Group("h", "c", true))

	say("put %v", c.KV().Put("k", []byte("small")))
	val, err := c.KV().Get("k")
	say("get %s %v", val, err)
	big := make([]byte, 100_000)
	big[99_999] = 7
	say("put big %v", c.KV().Put("big", big))
	val, err = c.KV().Get("big")
	say("get big %d %d %v", len(val), val[len(val)-1], err)
	_, err = c.KV().Get("absent")
	say("get absent %v: %v", abi.CodeOf(err), err)
	var b guest.Batch
	b.Put("x", []byte("1"))
	b.Delete("k")
	say("batch %v", c.KV().Apply(&b))
	for key, err := range c.KV().All("") {
		say("key %s %d %v", key.Name, key.Size, err)
	}
	say("delete %v", c.KV().Delete("x"))

	say("emit %v", c.Emit("every.happened", word{"yes"}))
	say("state put %v", c.State().Put("every.state", word{"kept"}))
	var w word
	err = c.State().Get("every.state", &w)
	say("state get %s %v", w.Word, err)

	now, err := c.Now()
	say("now %s %v", now.Format("2006-01-02T15:04:05Z07:00"), err)
	elapsed, err := c.Elapsed()
	say("elapsed %v %v", elapsed, err)
	var dice [4]byte
	say("random %v %x", c.Random(dice[:]), dice)

	entries, more, err := c.FS().List(abi.FSList{Path: "/f"})
	say("list %v %v %v", entries, more, err)
	entry, err := c.FS().Stat("/f/a")
	say("stat %v %v", entry.Size, err)
	data, err := c.FS().ReadFile("/f/a")
	say("read %d %v", len(data), err)
	say("write %v", c.FS().Write("/f/b", []byte("out")))
	say("remove %v", c.FS().Remove("/f/b"))
	held, err := c.FS().OpenFile("/f/a")
	say("open %v %v", held != nil, err)
	draft, err := c.FS().Create("/f/c")
	say("create %v %v", draft != nil, err)

	mac, err := c.Secrets().MAC("hook", []byte("data"))
	say("mac %s %v", mac, err)
	sig, err := c.Secrets().Sign("signer", []byte("data"))
	say("sign %s %v", sig, err)
	pub, err := c.Secrets().Public("signer")
	say("public %s %v", pub, err)
	unpacked, err := c.Unpack(abi.ArchiveUnpack{From: "/f/a.zip", To: "/f/out"})
	say("unpack %+v %v", unpacked, err)

	w = word{"default"}
	say("config %v %s", c.Config("recipes/words", &w), w.Word)

	buf := make([]byte, 8)
	n, err := c.Input().Read(buf)
	say("stream in %s %v", buf[:n], err)
	n, err = c.Input().Read(buf)
	say("stream in %d %v", n, err)
	n, err = c.Output().Write(make([]byte, abi.MaxPart+5))
	say("stream out %d %v", n, err)
	say("send %v", c.Output().Send(word{"part"}))
	say("close %v %v", c.Input().Close(), c.Output().Close())
	say("close again %v", abi.CodeOf(c.Output().Close()))

	err = c.Action().Call("other/pack:tool", word{"in"}, &w)
	say("call %s %v", w.Word, err)
	err = c.Action().Call("other/pack:broken", word{"in"}, &w)
	say("call broken %v: %v", abi.CodeOf(err), err)
	if err := overHTTP(c, say); err != nil {
		return r, err
	}
	return r, models(c, say)
}

func overHTTP(c *guest.Call, say func(string, ...any)) error {
	resp, err := c.HTTP().Fetch(abi.HTTPRequest{Method: "POST", URL: "https://x.example.com/a", Headers: [][2]string{{"A", "b"}}}, []byte("body"))
	if err != nil {
		return err
	}
	body, err := io.ReadAll(resp)
	say("fetch %d %s %q %v", resp.Status, resp.Header("Content-Type"), body, err)
	say("close %v", resp.Close())
	_, err = c.HTTP().Get("https://nowhere.example.com/")
	say("get %v", err)
	up, err := c.HTTP().Open(abi.HTTPRequest{Method: "PUT", URL: "https://x.example.com/b"})
	if err != nil {
		return err
	}
	n, err := up.Write(make([]byte, abi.MaxPart+5))
	say("upload %d %v", n, err)
	resp, err = up.Response()
	if err != nil {
		return err
	}
	say("uploaded %d %v", resp.Status, up.Close())
	ws, err := c.HTTP().Connect(abi.HTTPRequest{URL: "wss://x.example.com/s"})
	if err != nil {
		return err
	}
	say("socket %d %v %v", ws.Status, ws.SendText("hello"), ws.SendBytes([]byte{1}))
	msg, text, err := ws.Receive()
	say("received %s %v %v", msg, text, err)
	_, _, err = ws.Receive()
	say("received %v, close %v", err, ws.Close())
	return nil
}

func models(c *guest.Call, say func(string, ...any)) error {
	text, how, err := c.Infer().Complete(abi.InferRequest{Prompt: "p", MaxTokens: 2})
	say("complete %q %+v %v", text, how, err)
	_, _, err = c.Infer().Complete(abi.InferRequest{Model: "none", Prompt: "p"})
	say("complete %v", err)
	v, err := c.Infer().Embed("m", "a", "b")
	say("embed %v %v", v.Vectors, err)
	s, err := c.Infer().Rerank("", "q", "d")
	say("rerank %v %v", s.Scores, err)
	n, err := c.Infer().Count("", "text")
	say("count %d %v", n, err)
	return nil
}
