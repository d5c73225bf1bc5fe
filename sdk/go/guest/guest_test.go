package guest_test

import (
	"strings"
	"testing"

	"github.com/arw-project/arw/abi"
	"github.com/arw-project/arw/sdk/go/guest"
)

type greeting struct {
	Name string `json:"name"`
}

type reply struct {
	Text string `json:"text"`
}

func TestMain(m *testing.M) {
	guest.Tool("test.greet", func(c *guest.Call, in greeting) (reply, error) {
		switch in.Name {
		case "":
			return reply{}, guest.Errorf(abi.Invalid, "greet: nobody is named")
		case "boom":
			panic("on purpose")
		}
		if err := c.KV().Put("last", []byte(in.Name)); err != nil {
			return reply{}, err
		}
		return reply{"hello " + in.Name}, c.Emit("test.greeted", in)
	})
	guest.Bytes("test.echo", func(_ *guest.Call, in []byte) ([]byte, error) { return in, nil })
	m.Run()
}

func TestToolAnswersThroughFrames(t *testing.T) {
	t.Parallel()
	for name, tc := range map[string]struct {
		tool, in, out, msg string
		deny               error
		code               abi.Code
	}{
		"json":         {tool: "test.greet", in: `{"name":"Ada"}`, out: `{"text":"hello Ada"}`},
		"bytes":        {tool: "test.echo", in: "\x00\xff", out: "\x00\xff"},
		"typed error":  {tool: "test.greet", in: `{}`, code: abi.Invalid, msg: "nobody is named"},
		"bad input":    {tool: "test.greet", in: `{"name":7}`, code: abi.Invalid, msg: "read the input"},
		"panic":        {tool: "test.greet", in: `{"name":"boom"}`, code: abi.Trap, msg: "on purpose"},
		"unknown tool": {tool: "test.none", in: `{}`, code: abi.NotFound, msg: "no such tool"},
		"refusal travels as it is": {tool: "test.greet", in: `{"name":"Ada"}`, code: abi.LeaseExpired, msg: "ran out",
			deny: abi.Errorf(abi.LeaseExpired, "the lease ran out")},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			m := &guest.Memory{Deny: func(string) error { return tc.deny }}
			out, err := m.Run(tc.tool, []byte(tc.in))
			if got := abi.CodeOf(err); got != tc.code {
				t.Fatalf("code %v (%v), want %v", got, err, tc.code)
			}
			if string(out) != tc.out {
				t.Errorf("output %q, want %q", out, tc.out)
			}
			if err != nil && !strings.Contains(err.Error(), tc.msg) {
				t.Errorf("message %q does not say %q", err, tc.msg)
			}
		})
	}
}

func TestBatchIsReadBackAsWritten(t *testing.T) {
	t.Parallel()
	m := &guest.Memory{}
	kv := m.Call().KV()
	if err := kv.Put("gone", []byte("x")); err != nil {
		t.Fatal(err)
	}
	var b guest.Batch
	b.Put("a", []byte{0, 1})
	b.Put("b", nil)
	b.Delete("gone")
	if err := kv.Apply(&b); err != nil || b.Size() != 0 {
		t.Fatalf("apply: %v, %d bytes left", err, b.Size())
	}
	keys, more, err := kv.List("", "", 1)
	if err != nil || !more || len(keys) != 1 || keys[0] != (guest.Key{Name: "a", Size: 2}) {
		t.Errorf("first page = %v, more %v, %v", keys, more, err)
	}
	if _, err := kv.Get("gone"); abi.CodeOf(err) != abi.NotFound {
		t.Errorf("deleted key answers %v", err)
	}
}
