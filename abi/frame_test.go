package abi_test

import (
	"bytes"
	"encoding/json"
	"testing"

	"github.com/arw-project/arw/abi"
)

// FuzzFrame: whatever a guest answers, reading it gives a value or a clear error; and what a frame says survives being
// written again.
func FuzzFrame(f *testing.F) {
	for _, seed := range []string{
		"", "\x00", "\x00null", "\x01\xff\xfe", "\x02", "\x02\x03\x00\x00\x00\x05\x00\x00\x00wrong", "\x02\x03\x00\x00\x00\x00\x00\x00\x00{\"a\":1}",
		"\x02\x03\x00\x00\x00\xff\xff\xff\xffx", "\x02\xff\xff\xff\xff\x00\x00\x00\x00", "\x02\x00\x00\x00\x00\x00\x00\x00\x00", "\x09x",
		"\x02\x03\x00\x00\x00\x02\x00\x00\x00\xff\xfe",
	} {
		f.Add([]byte(seed))
	}
	f.Fuzz(func(t *testing.T, frame []byte) {
		kind, body, err := abi.ParseFrame(frame)
		switch {
		case err == nil && kind == abi.FrameError:
			t.Fatal("an error frame without an error")
		case err == nil:
			again, same, err := abi.ParseFrame(abi.AppendFrame(nil, kind, body))
			if err != nil || again != kind || !bytes.Equal(same, body) {
				t.Fatalf("%d %q became %d %q: %v", kind, body, again, same, err)
			}
		case abi.CodeOf(err) == abi.OK:
			t.Fatalf("an error with code ok: %v", err)
		case kind == abi.FrameError:
			e := err.(*abi.Error)
			var detail json.RawMessage
			if e.Detail != nil {
				detail, _ = json.Marshal(e.Detail)
			}
			_, _, again := abi.ParseFrame(abi.AppendErrorFrame(nil, e.Code, e.Msg, detail))
			if abi.CodeOf(again) != e.Code || again.Error() != e.Msg {
				t.Fatalf("%v became %v", err, again)
			}
		}
	})
}
