package guest_test

import (
	"errors"
	"io"
	"strings"
	"testing"
	"testing/iotest"

	"github.com/arw-project/arw/abi"
	"github.com/arw-project/arw/sdk/go/guest"
)

func TestMemoryStreams(t *testing.T) {
	t.Parallel()
	m := &guest.Memory{Input: iotest.OneByteReader(strings.NewReader("hello"))}
	c := m.Call()
	if n, err := io.Copy(c.Output(), c.Input()); n != 5 || err != nil {
		t.Fatal(n, err)
	}
	if err := c.Output().Send(map[string]int{"done": 5}); err != nil {
		t.Fatal(err)
	}
	if string(m.Streamed()) != "hello" || len(m.Parts) != 6 || string(m.Parts[5].Body) != `{"done":5}` || m.Parts[5].Kind != abi.FrameJSON {
		t.Errorf("parts %q", m.Parts)
	}
	if err := errors.Join(c.Input().Close(), c.Output().Close()); err != nil {
		t.Error(err)
	}
	buf := make([]byte, 8)
	_, readErr := c.Input().Read(buf)
	_, writeErr := c.Output().Write(buf)
	for what, err := range map[string]error{"read": readErr, "write": writeErr, "close": c.Output().Close(), "send": c.Output().SendRaw([]byte("1"))} {
		if abi.CodeOf(err) != abi.Invalid {
			t.Errorf("%s after close: %v", what, err)
		}
	}
	if _, err := m.Call().Output().Write(buf); err != nil {
		t.Errorf("the next call's stream: %v", err)
	}
}

func TestMemoryWithoutStreams(t *testing.T) {
	t.Parallel()
	c := (&guest.Memory{NoOutput: true}).Call()
	_, readErr := c.Input().Read(make([]byte, 8))
	_, writeErr := c.Output().Write([]byte("x"))
	for what, err := range map[string]error{"read": readErr, "write": writeErr, "send": c.Output().Send(1), "close in": c.Input().Close(), "close out": c.Output().Close()} {
		if abi.CodeOf(err) != abi.NotFound {
			t.Errorf("%s: %v", what, err)
		}
	}
	if err := c.Output().SendRaw([]byte("{")); abi.CodeOf(err) == abi.OK {
		t.Error("half a document went out")
	}
}
