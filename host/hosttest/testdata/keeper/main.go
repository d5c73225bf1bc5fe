// Command keeper is a pack that keeps what it is told to in every store there is, step by step.
package main

import (
	"encoding/json"
	"errors"
	"io"
	"strconv"
	"strings"

	"github.com/arw-project/arw/abi"
	"github.com/arw-project/arw/sdk/go/guest"
)

func main() {
	guest.Tool("keeper.run", run)
	guest.Tool("keeper.count", func(*guest.Call, steps) (answers, error) {
		count += "I"
		return answers{[]string{count}}, nil
	})
	guest.Tool("keeper.pure", func(_ *guest.Call, in steps) (answers, error) { return answers{[]string{in.Steps[0].Value}}, nil })
}

var count string

type steps struct {
	Steps []step `json:"steps"`
}

type step struct {
	Op    string `json:"op"`
	Name  string `json:"name,omitempty"`
	Value string `json:"value,omitempty"`
}

type answers struct {
	Got []string `json:"got"`
}

func run(c *guest.Call, in steps) (answers, error) {
	out := answers{Got: []string{}}
	for _, s := range in.Steps {
		if op, ok := strings.CutPrefix(s.Op, "whole "); ok { // a text that no input has: its parts stand with bars between them
			s = step{op, strings.ReplaceAll(s.Name, "|", ""), strings.ReplaceAll(s.Value, "|", "")}
		}
		got, err := take(c, s)
		var e *abi.Error
		switch {
		case s.Op == "fail":
			return out, err
		case errors.As(err, &e):
			got = "!" + e.Code.String()
		case err != nil:
			got = "!" + err.Error()
		}
		out.Got = append(out.Got, got)
	}
	return out, nil
}

func take(c *guest.Call, s step) (string, error) {
	switch s.Op {
	case "put":
		return "", c.KV().Put(s.Name, []byte(s.Value))
	case "get":
		val, err := c.KV().Get(s.Name)
		return string(val), err
	case "wait": // until the key is not what it was told to be; every round is a host call
		for {
			val, err := c.KV().Get(s.Name)
			if err != nil || string(val) != s.Value {
				return string(val), err
			}
		}
	case "delete":
		return "", c.KV().Delete(s.Name)
	case "batch":
		var b guest.Batch
		b.Put(s.Name, []byte(s.Value))
		b.Delete(s.Name + "-")
		return "", c.KV().Apply(&b)
	case "held":
		return strconv.Itoa(c.Held()), nil
	case "list":
		var names []string
		for k, err := range c.KV().All(s.Name) {
			if err != nil {
				return "", err
			}
			names = append(names, k.Name)
		}
		return strings.Join(names, " "), nil
	case "show":
		return "", c.State().Put(s.Name, json.RawMessage(s.Value))
	case "look":
		var doc json.RawMessage
		err := c.State().Get(s.Name, &doc)
		return string(doc), err
	case "write":
		return "", c.FS().Write(s.Name, []byte(s.Value))
	case "read":
		val, err := c.FS().ReadFile(s.Name)
		return string(val), err
	case "folder":
		entries, _, err := c.FS().List(abi.FSList{Path: s.Name})
		var names []string
		for _, e := range entries {
			names = append(names, e.Path[strings.LastIndexByte(e.Path, '/')+1:])
		}
		return strings.Join(names, " "), err
	case "config":
		var doc json.RawMessage
		err := c.Config(s.Name, &doc)
		return string(doc), err
	case "call":
		out, err := c.Action().CallRaw(s.Name, []byte(s.Value))
		return string(out), err
	case "emit":
		return "", c.Emit(s.Name, json.RawMessage(s.Value))
	case "log":
		c.Log(2, s.Value)
		return "", nil
	case "joined log": // a text that no input has
		c.Log(2, "token "+s.Name+s.Value)
		return "", nil
	case "joined emit":
		return "", c.Emit("keeper.said", map[string]string{"text": "token " + s.Name + s.Value})
	case "say":
		return s.Value, nil
	case "fail":
		return "", abi.Errorf(abi.NotFound, "%s", s.Value).WithHint("%s", s.Value).WithDetail(map[string]string{s.Name: s.Value})
	case "unpack":
		_, err := c.Unpack(abi.ArchiveUnpack{From: s.Name, To: s.Value})
		return "", err
	case "post":
		resp, err := c.HTTP().Fetch(abi.HTTPRequest{Method: "POST", URL: s.Name, Headers: [][2]string{{"X-Said", s.Value}}}, []byte(s.Value))
		if err != nil {
			return "", err
		}
		defer resp.Close()
		body, err := io.ReadAll(resp)
		return string(body), err
	case "fetch":
		resp, err := c.HTTP().Get(s.Name)
		if err != nil {
			return "", err
		}
		defer resp.Close()
		body, err := io.ReadAll(resp)
		return string(body), err
	}
	return "", errors.New("no such step: " + s.Op)
}
